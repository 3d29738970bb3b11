//! `$(VAR)` references, as Kubernetes expands them in env values, commands and arguments.

/// Replaces `$(NAME)` by what `lookup` knows; leaves unknown references as they are; `$$` is a
/// literal `$` (so `$$(NAME)` stays text).
pub fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_string()),
            "EMPTY" => Some(String::new()),
            "REF" => Some("$(A)".to_string()),
            _ => None,
        };
        assert_eq!(expand(input, lookup), expect, "{input}");
    }

    #[test]
    fn expands_as_kubernetes_does() {
        check("$(A)", "1");
        check("x-$(A)-$(A)", "x-1-1");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$1");
        check("$(NOPE)", "$(NOPE)");
        check("$(EMPTY)|", "|");
        check("$(REF)", "$(A)");
        check("$A $ $(", "$A $ $(");
        check("$(A", "$(A");
        check("price: 5$", "price: 5$");
        check("$()", "$()");
    }
}
