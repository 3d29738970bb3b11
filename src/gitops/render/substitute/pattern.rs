//! Patterns of `${NAME#pattern}`: `*` is any text, `?` one character, `[a-z]` and `[^a-z]` one of some.

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Any,
    One,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    /// Whether it takes this character.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(own) => *own == c,
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// `None`: it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Char(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let low = member(&mut chars)?;
                        let high = if chars.next_if_eq(&'-').is_some() { member(&mut chars)? } else { low };
                        ranges.push((low, high));
                    }
                    Token::Class { negated, ranges }
                }
                c => Token::Char(c),
            });
        }
        tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
        Some(Self(tokens))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many characters from the start it takes, at least one: as few as it can, or as many.
    pub fn prefix(&self, text: impl Iterator<Item = char>, longest: bool) -> Option<usize> {
        let end = self.0.len();
        let mut at = vec![false; end + 1];
        at[0] = true;
        self.skip(&mut at);
        let mut found = None;
        for (index, c) in text.enumerate() {
            let mut next = vec![false; end + 1];
            for (state, token) in self.0.iter().enumerate().filter(|(state, token)| at[*state] && token.takes(c)) {
                next[if *token == Token::Any { state } else { state + 1 }] = true;
            }
            self.skip(&mut next);
            at = next;
            if at[end] {
                found = Some(index + 1);
                if !longest {
                    break;
                }
            }
            if !at.contains(&true) {
                break;
            }
        }
        found
    }

    /// The same, from the end.
    pub fn suffix(&self, text: &str, longest: bool) -> Option<usize> {
        Self(self.0.iter().rev().cloned().collect()).prefix(text.chars().rev(), longest)
    }

    /// What takes any text may take none.
    fn skip(&self, at: &mut [bool]) {
        for (state, token) in self.0.iter().enumerate() {
            at[state + 1] |= at[state] && *token == Token::Any;
        }
    }
}

fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(pattern: &str, text: &str, longest: bool) -> Option<usize> {
        Pattern::parse(pattern).and_then(|pattern| pattern.prefix(text.chars(), longest))
    }

    #[test]
    fn patterns_take_as_little_or_as_much_as_they_can() {
        for (pattern, text, short, long) in [
            ("*/", "a/b/c", Some(2), Some(4)),
            ("*", "abc", Some(1), Some(3)),
            ("a?", "abc", Some(2), Some(2)),
            ("[a-c]*", "abcd", Some(1), Some(4)),
            ("[^a]", "abc", None, None),
            ("\\*", "*a", Some(1), Some(1)),
            ("", "abc", None, None),
            ("abcd", "abc", None, None),
            ("**b", "aab", Some(3), Some(3)),
        ] {
            assert_eq!((prefix(pattern, text, false), prefix(pattern, text, true)), (short, long), "{pattern}");
        }
        for malformed in ["[", "[]", "[a", "a\\", "[a-]"] {
            assert_eq!(Pattern::parse(malformed), None, "{malformed}");
        }
        assert_eq!(Pattern::parse(".*").unwrap_or(Pattern(Vec::new())).suffix("a.b.c", false), Some(2));
    }
}
