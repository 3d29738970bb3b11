//! Which tag a range of versions means: the highest one in it, by the rules of Masterminds/semver, which
//! Flux uses. Pure.
//!
//! Tags are whole versions (semver.org), with or without a `v`: others are left out. Pre-releases are
//! taken only by comparators that name one. Of versions that differ in their build metadata only, the
//! one whose metadata sorts last counts.

use semver::Version;
use std::cmp::Ordering;

/// What a reference begins with that is a range.
pub const PREFIX: &str = "semver:";

/// Alternatives, each of comparators that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<Vec<Comparator>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// Or, of a version with a wildcard, as `Tilde`.
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Tilde,
    Caret,
}

/// The longer ones first.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparator {
    operator: Operator,
    /// With zeros for what is not given.
    version: Version,
    /// How many of its three numbers are given: the rest may be anything.
    given: usize,
}

impl Range {
    /// Reads `>=1.2.3 <2`, `1.4.x`, `~1.2`, `^1 || 3.0.0-rc.1`, `1.2 - 1.4`; empty or `*` is any release.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split("||").map(alternative).collect::<Result<_, _>>().map(Self)
    }

    pub fn holds(&self, version: &Version) -> bool {
        self.0.iter().any(|all| all.iter().all(|comparator| comparator.holds(version)))
    }

    /// The tag of the highest version in the range.
    pub fn highest<'a>(&self, tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let versions = tags.filter_map(|tag| Some((Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?, tag)));
        versions.filter(|(version, _)| self.holds(version)).max().map(|(_, tag)| tag)
    }
}

/// Parts `REFERENCE:PATH`, where the colon of a reference's own prefix is none before a path.
pub fn reference_and_path<'a>(text: &'a str, prefixes: &[&str]) -> (&'a str, &'a str) {
    let skipped = prefixes.iter().find(|prefix| text.starts_with(**prefix)).map_or(0, |prefix| prefix.len());
    match text[skipped..].find(':') {
        Some(at) => (&text[..skipped + at], &text[skipped + at + 1..]),
        None => (text, ""),
    }
}

fn alternative(text: &str) -> Result<Vec<Comparator>, String> {
    let words: Vec<&str> = text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).collect();
    let mut comparators = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let (operator, rest) = operator(word);
        if let (None, [_, "-", end, ..]) = (operator, &words[at..]) {
            comparators.push(Comparator::parse(Operator::GreaterEqual, word)?);
            comparators.push(Comparator::parse(Operator::LessEqual, end)?);
            at += 3;
            continue;
        }
        // `>= 1.2`
        let (version, taken) = match words.get(at + 1) {
            Some(next) if rest.is_empty() => (*next, 2),
            _ => (rest, 1),
        };
        comparators.push(Comparator::parse(operator.unwrap_or(Operator::Equal), version)?);
        at += taken;
    }
    if comparators.is_empty() {
        comparators.push(Comparator::parse(Operator::Equal, "*")?);
    }
    Ok(comparators)
}

fn operator(word: &str) -> (Option<Operator>, &str) {
    let found = OPERATORS.iter().find_map(|(sign, operator)| Some((Some(*operator), word.strip_prefix(sign)?)));
    found.unwrap_or((None, word))
}

impl Comparator {
    fn parse(operator: Operator, text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no version: expected 1.2.3, with x, X or * for what may be anything");
        let number = text.strip_prefix('v').unwrap_or(text);
        let end = number.find(['-', '+']).unwrap_or(number.len());
        let (numbers, rest) = number.split_at(end);
        let parts: Vec<&str> = numbers.split('.').collect();
        let is_wild = |part: &&str| ["x", "X", "*"].contains(part);
        let given = parts.iter().position(is_wild).unwrap_or(parts.len());
        if parts.len() > 3 || !parts[given..].iter().all(|part| is_wild(part) || is_number(part)) {
            return Err(wrong());
        }
        let part = |index: usize| if index < given { parts[index] } else { "0" };
        let version = Version::parse(&format!("{}.{}.{}{rest}", part(0), part(1), part(2))).map_err(|_| wrong())?;
        Ok(Self { operator, version, given })
    }

    fn holds(&self, version: &Version) -> bool {
        let Self { operator, version: own, given } = self;
        let order = version.cmp_precedence(own);
        if *operator == Operator::NotEqual && *given == 3 {
            return order != Ordering::Equal;
        }
        if !version.pre.is_empty() && own.pre.is_empty() {
            return false;
        }
        let same = [version.major == own.major, version.minor == own.minor, version.patch == own.patch];
        let begins_alike = same.iter().take(*given).all(|same| *same);
        match operator {
            Operator::Equal if *given == 3 => order == Ordering::Equal,
            Operator::Equal => begins_alike,
            Operator::NotEqual => !begins_alike,
            // Past all that the wildcard stands for.
            Operator::Greater if *given < 3 => order == Ordering::Greater && !begins_alike,
            Operator::Greater => order == Ordering::Greater,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::Less => order == Ordering::Less,
            Operator::LessEqual if *given < 3 => order != Ordering::Greater || begins_alike,
            Operator::LessEqual => order != Ordering::Greater,
            // Masterminds takes this for any version.
            Operator::Tilde if *given == 3 && (own.major, own.minor, own.patch) == (0, 0, 0) => order != Ordering::Less,
            Operator::Tilde => order != Ordering::Less && same.iter().take((*given).min(2)).all(|same| *same),
            Operator::Caret => order != Ordering::Less && same.iter().take(self.fixed()).all(|same| *same),
        }
    }

    /// How many numbers a caret keeps as they are: up to the first that is not zero.
    fn fixed(&self) -> usize {
        let numbers = [self.version.major, self.version.minor, self.version.patch];
        let first = numbers.iter().position(|number| *number > 0).map_or(3, |index| index + 1);
        first.min(self.given)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn holds(range: &str, version: &str) -> bool {
        Range::parse(range).unwrap().holds(&Version::parse(version).unwrap())
    }

    /// The documented equivalences, and the library's own cases where they are less obvious.
    #[test]
    fn ranges_mean_what_masterminds_says() {
        for (range, inside, outside) in [
            ("", &["0.0.0", "9.9.9"][..], &["1.0.0-rc.1"][..]),
            ("*", &["1.2.3"], &["1.2.3-a"]),
            ("1.2.3", &["1.2.3", "1.2.3+b"], &["1.2.4", "1.2.3-a"]),
            ("=1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("1.x", &["1.0.0", "1.9.9"], &["2.0.0", "0.9.9"]),
            ("v1.2.x", &["1.2.7"], &["1.3.0"]),
            ("!=1.2.3", &["1.2.4", "1.2.3-a"], &["1.2.3"]),
            ("!=1.x", &["2.0.0"], &["1.5.0", "2.0.0-a"]),
            (">1", &["2.0.0"], &["1.0.0", "1.9.9"]),
            (">1.1", &["1.2.0", "2.0.0"], &["1.1.9"]),
            (">1.1.1", &["1.1.2"], &["1.1.1"]),
            (">=1.1", &["1.1.0"], &["1.0.9"]),
            ("<2", &["1.9.9"], &["2.0.0", "2.0.0-a"]),
            ("<=1", &["1.9.9", "0.1.0"], &["2.0.0"]),
            ("<=1.2", &["1.2.9"], &["1.3.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]),
            ("~1", &["1.0.0", "1.9.0"], &["2.0.0"]),
            ("~>2.0.x", &["2.0.5"], &["2.1.0"]),
            ("~*", &["7.0.0"], &["7.0.0-a"]),
            ("^1.2.3", &["1.2.3", "1.9.0"], &["1.2.2", "2.0.0"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "1.2.3"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            ("^0.0", &["0.0.9"], &["0.1.0"]),
            ("^0", &["0.9.9"], &["1.0.0"]),
            ("1.2 - 1.4.5", &["1.2.0", "1.4.5"], &["1.1.9", "1.4.6"]),
            (">= 1.2, < 3.0.0 || >= 4.2.3", &["1.2.0", "2.9.9", "4.2.3"], &["3.0.0", "4.2.2"]),
            (">=1.0.0-0", &["1.0.0-rc.1", "1.0.0"], &["0.9.9"]),
            ("~1.2.3-beta.2", &["1.2.3-beta.4", "1.2.4-beta.2"], &["1.2.3-beta.1", "1.3.0-a"]),
        ] {
            for version in inside {
                assert!(holds(range, version), "{version} is in {range:?}");
            }
            for version in outside {
                assert!(!holds(range, version), "{version} is not in {range:?}");
            }
        }
    }

    #[test]
    fn the_highest_tag_counts() {
        let tags = ["v1.9.0", "v1.10.0", "v1.10.1-rc.1", "v2.0.0", "release", "v1.11", "1.10.0", "latest"];
        let highest = |range: &str| Range::parse(range).unwrap().highest(tags.into_iter());
        assert!(["v1.10.0", "1.10.0"].contains(&highest("1.x").unwrap()));
        assert_eq!(highest("*"), Some("v2.0.0"));
        assert_eq!(highest(">=1.10.0-0 <2.0.0-0"), Some("v1.10.1-rc.1"));
        assert_eq!(highest("3.x"), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for range in ["abc", "1.2.3.4", ">", "1..2", ">=1.2 || ?", "1.2.3 -", "x.y"] {
            assert!(Range::parse(range).is_err(), "{range}");
        }
    }
}
