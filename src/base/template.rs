//! Texts with `${name}` in them. There is nothing else: no loops, no conditions, no code.

/// A text whose variables are known to exist. `$$` stands for a dollar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The place of a variable among those given to [`Template::parse`].
    Variable(usize),
}

impl Template {
    /// Says what is wrong with a text that is none.
    pub fn parse(text: &str, variables: &[&str]) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('$') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('{') {
                let (name, after) = inner.split_once('}').ok_or("a \"${\" has no \"}\"; write $$ for a dollar")?;
                let known = variables.iter().position(|known| *known == name.trim());
                let known = known
                    .ok_or_else(|| format!("there is no variable {name:?}; there are {}", variables.join(", ")))?;
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Variable(known));
                rest = after;
            } else {
                plain.push('$');
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    /// The text with `value` of each variable, by its place, as `escape` writes it.
    pub fn render<'a>(&self, value: impl Fn(usize) -> &'a str, escape: impl Fn(&str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(place) => escape(value(*place)),
        });
        parts.collect()
    }
}

/// Whether shells take it for the name of a variable: letters, digits and underscores, not a digit first.
pub fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 2] = ["name", "message"];

    fn render(text: &str) -> String {
        let template = Template::parse(text, &NAMES).unwrap();
        template.render(|place| ["shop", "a ${name} <b>"][place], |text| text.replace('<', "&lt;"))
    }

    #[test]
    fn variables_are_put_in_once_and_escaped() {
        assert_eq!(render("${name}: ${ message }!"), "shop: a ${name} &lt;b>!");
        assert_eq!(render("<$5, $${name}, 5$>"), "<$5, ${name}, 5$>");
        assert_eq!(render(""), "");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| Template::parse(text, &NAMES).unwrap_err();
        assert_eq!(wrong("${nmae}"), "there is no variable \"nmae\"; there are name, message");
        assert!(wrong("${name").contains("no \"}\""));
    }

    proptest! {
        #[test]
        fn text_without_dollars_stays(text in "[^$]*") {
            prop_assert_eq!(render(&text), text);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = Template::parse(&text, &NAMES);
        }
    }
}
