//! Lines of a text that is laid out, by the bytes in them.

use super::Layout;
use std::ops::Range;

impl Layout<'_> {
    pub fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    /// The end of the line, before what breaks it.
    pub fn eol(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
        if end > at && self.text[..end].ends_with('\r') { end - 1 } else { end }
    }

    /// Where the next line begins.
    pub fn next_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    /// Characters before it in its line.
    pub fn column(&self, at: usize) -> usize {
        let line = &self.text[self.line_start(at)..at];
        line.trim_start_matches('\u{feff}').chars().count()
    }

    /// The number of the line, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    pub fn is_first_on_line(&self, at: usize) -> bool {
        self.text[self.line_start(at)..at].trim().is_empty()
    }

    /// The lines of the comments that stand right above a line, as far in as it.
    pub fn comments_above(&self, at: usize) -> Range<usize> {
        let (line, column) = (self.line_start(at), self.column(at));
        let comments = self.comments();
        let mut start = line;
        while start > 0 {
            let above = self.line_start(start - 1);
            let is_one = comments.iter().any(|comment| {
                self.line_start(comment.start) == above
                    && self.is_first_on_line(comment.start)
                    && self.column(comment.start) == column
            });
            if !is_one {
                break;
            }
            start = above;
        }
        start..line
    }

    /// What breaks the lines.
    pub fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }
}
