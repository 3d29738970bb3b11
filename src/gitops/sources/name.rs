//! Names of files that somebody else chose, before anybody sees them: they end up in terminals and in
//! documents.

/// A name that is not taken.
pub(super) struct Unreadable {
    /// The name with everything odd written out, e.g. `a\n.yaml`.
    pub shown: String,
    pub what: &'static str,
}

/// The name, if it is one that everybody can read, and just a name.
pub(super) fn readable(name: &[u8]) -> Result<&str, Unreadable> {
    let what = match std::str::from_utf8(name) {
        Err(_) => "the name is not UTF-8",
        Ok(text) if text.chars().any(char::is_control) => "the name has control characters",
        Ok(text) if text.is_empty() || text.contains('/') => "the name has a slash",
        Ok(text) => return Ok(text),
    };
    Err(Unreadable { shown: name.escape_ascii().to_string(), what })
}

/// A text of somebody else, fit to be shown.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 500;
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        assert!(readable("größe.yaml".as_bytes()).is_ok_and(|name| name == "größe.yaml"));
        let cases: [(&[u8], &str, &str); 5] = [
            (b"a\x1b[2J.yaml", "a\\x1b[2J.yaml", "control"),
            (b"a\nb.yaml", "a\\nb.yaml", "control"),
            (b"\xff.yaml", "\\xff.yaml", "UTF-8"),
            (b"a/../b.yaml", "a/../b.yaml", "slash"),
            (b"", "", "slash"),
        ];
        for (name, shown, what) in cases {
            let refused = readable(name).err();
            assert!(refused.is_some_and(|why| why.shown == shown && why.what.contains(what)), "{shown}");
        }
        assert_eq!(shown("a\x1b[2J\nb"), "a[2Jb");
        assert_eq!(shown(&"x".repeat(1000)).len(), 503);
    }
}
