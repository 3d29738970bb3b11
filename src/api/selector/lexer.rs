//! Words of a label selector in its text form.

/// What a word is where values are expected; `in` and `notin` are operators only after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    End,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Word,
}

/// Reads words one at a time.
#[derive(Clone)]
pub struct Lexer<'a> {
    rest: &'a str,
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next word and what it is; the word is empty at the end.
    pub fn next(&mut self) -> (Token, &'a str) {
        self.rest = self.rest.trim_start_matches(is_space);
        let Some(first) = self.rest.chars().next() else { return (Token::End, "") };
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '>' => (Token::Greater, 1),
            '<' => (Token::Less, 1),
            '=' if self.rest.starts_with("==") => (Token::DoubleEquals, 2),
            '=' => (Token::Equals, 1),
            '!' if self.rest.starts_with("!=") => (Token::NotEquals, 2),
            '!' => (Token::Not, 1),
            _ => {
                let end = self.rest.find(|c| is_special(c) || is_space(c)).unwrap_or(self.rest.len());
                (Token::Word, end)
            }
        };
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        (token, word)
    }

    /// The next word, left in place.
    pub fn peek(&self) -> (Token, &'a str) {
        self.clone().next()
    }
}
