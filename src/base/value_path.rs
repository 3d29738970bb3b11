//! Where a value is in a chart's values, as `helm --set` writes it: `auth.password`, `hosts[0].name`, `a\.b`.

/// The longest list that an index makes, as of Helm.
const MAX_INDEX: usize = 65_536;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Of a map.
    Key(String),
    /// Of a list.
    Index(usize),
}

/// Reads names with dots in between, each with any indexes behind it. A backslash takes the sign after it for a letter.
/// The error says what a path must be.
pub fn parse(path: &str) -> Result<Vec<Step>, &'static str> {
    const WRONG: &str = "must be names with dots in between, and indexes of lists: auth.password, hosts[0].name";
    let mut steps = Vec::new();
    let mut name = String::new();
    let mut signs = path.chars();
    let mut sign = signs.next();
    loop {
        match sign {
            Some('\\') => name.push(signs.next().ok_or(WRONG)?),
            Some(']' | ',' | '=') => return Err(WRONG),
            Some('.' | '[') | None => {
                if name.is_empty() {
                    return Err(WRONG);
                }
                steps.push(Step::Key(std::mem::take(&mut name)));
                while sign == Some('[') {
                    let rest = signs.as_str();
                    let (digits, rest) = rest.split_once(']').ok_or(WRONG)?;
                    let index = digits.parse().ok().filter(|index| *index <= MAX_INDEX && !digits.starts_with('+'));
                    steps.push(Step::Index(index.ok_or(WRONG)?));
                    signs = rest.chars();
                    sign = signs.next();
                }
                match sign {
                    Some('.') => {}
                    None => return Ok(steps),
                    Some(_) => return Err(WRONG),
                }
            }
            Some(letter) => name.push(letter),
        }
        sign = signs.next();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_what_helm_makes_of_them() {
        let key = |name: &str| Step::Key(name.to_owned());
        assert_eq!(parse("auth.password").unwrap(), [key("auth"), key("password")]);
        assert_eq!(parse("hosts[0].name").unwrap(), [key("hosts"), Step::Index(0), key("name")]);
        assert_eq!(parse("a[1][20]").unwrap(), [key("a"), Step::Index(1), Step::Index(20)]);
        assert_eq!(parse(r"a\.b\[0\].c-d_e").unwrap(), [key("a.b[0]"), key("c-d_e")]);
        for wrong in
            ["", ".", "a.", ".a", "a..b", "[0]", "a[", "a[]", "a[x]", "a[-1]", "a[+1]", "a[0", "a[0]b", "a]", "a=b"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("a,b").is_err() && parse("a\\").is_err() && parse("a[65537]").is_err());
    }
}
