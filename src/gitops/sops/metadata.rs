//! What SOPS writes into a file next to the values: for whom it is encrypted, and which values are. Pure.

use super::cipher::{self, Cipher};
use super::groups::Groups;
use super::keys::Keys;
use crate::gitops::render::tree::Node;
use regex::{Regex, RegexBuilder};

/// The field that holds it.
pub const FIELD: &str = "sops";
/// What a pattern may come to, in bytes.
const MAX_PATTERN: usize = 1 << 20;
/// Which values are encrypted. What a pattern or an ending matches is a key, with all below it.
#[derive(Debug, Clone)]
pub enum Rule {
    /// All but those.
    Except(Match),
    Only(Match),
    /// Comments in the file say it. Here the form of each value does: the MAC tells whether that was meant.
    ByForm,
}

#[derive(Debug, Clone)]
pub enum Match {
    Suffix(String),
    Pattern(Regex),
}

impl Match {
    pub fn is(&self, key: &str) -> bool {
        match self {
            Self::Suffix(suffix) => key.ends_with(suffix.as_str()),
            Self::Pattern(pattern) => pattern.is_match(key),
        }
    }
}

pub struct Metadata {
    pub rule: Rule,
    /// The MAC is of the encrypted values only.
    pub mac_only_encrypted: bool,
    mac: String,
    /// What the MAC itself is bound to.
    last_modified: String,
    groups: Groups,
}

/// The MAC as the file has it. Only where there is one a file is encrypted.
pub fn mac(metadata: &Node) -> Option<&str> {
    metadata.get("mac").map(Node::text).filter(|mac| !mac.is_empty())
}

impl Metadata {
    /// Reads the `sops` field. Lists may be maps whose keys count up.
    pub fn read(node: &Node) -> Result<Self, String> {
        let text = |key: &str| node.get(key).map(Node::text).unwrap_or_default().to_owned();
        Ok(Self {
            rule: rule(node)?,
            mac_only_encrypted: text("mac_only_encrypted") == "true",
            mac: text("mac"),
            last_modified: text("lastmodified"),
            groups: Groups::read(node)?,
        })
    }

    /// What opens the file's values. The error says for whom it is encrypted, and which keys there are.
    pub fn cipher(&self, keys: &Keys) -> Result<Cipher, String> {
        self.groups.key(keys).map(|key| Cipher::new(&key))
    }

    /// Whether the MAC is that of these values' hash.
    pub fn check(&self, cipher: &Cipher, hash: &[u8]) -> Result<(), &'static str> {
        let digits: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        match cipher.open(&self.mac, &self.last_modified) {
            Err(_) => Err("the MAC cannot be decrypted: it, or lastmodified, was changed by hand"),
            Ok(mac) if mac.authenticated() != digits.as_bytes() => {
                Err("the MAC is not that of the values: some were changed, added, moved or removed by hand")
            }
            Ok(_) => Ok(()),
        }
    }
}

impl Rule {
    /// Whether a value is to be encrypted. `matches`: one of the keys that lead to it does.
    pub fn wants(&self, matches: bool, text: &str) -> bool {
        match self {
            Self::Except(_) => !matches,
            Self::Only(_) => matches,
            Self::ByForm => cipher::is_sealed(text),
        }
    }

    pub fn matches(&self, key: &str) -> bool {
        match self {
            Self::Except(found) | Self::Only(found) => found.is(key),
            Self::ByForm => false,
        }
    }
}

fn rule(node: &Node) -> Result<Rule, String> {
    let mut rules = Vec::new();
    for (name, make) in [
        ("unencrypted_suffix", (|text| Ok(Rule::Except(Match::Suffix(text)))) as fn(String) -> Result<Rule, String>),
        ("encrypted_suffix", |text| Ok(Rule::Only(Match::Suffix(text)))),
        ("unencrypted_regex", |text| pattern(&text).map(Rule::Except)),
        ("encrypted_regex", |text| pattern(&text).map(Rule::Only)),
        ("unencrypted_comment_regex", |_| Ok(Rule::ByForm)),
        ("encrypted_comment_regex", |_| Ok(Rule::ByForm)),
    ] {
        let text = node.get(name).map(Node::text).unwrap_or_default();
        if !text.is_empty() {
            rules.push((name, make(text.to_owned()).map_err(|why| format!("{name}: {why}"))?));
        }
    }
    if let [(first, _), (second, _), ..] = rules[..] {
        return Err(format!("it has both {first} and {second}, and only one of them may be there"));
    }
    // What SOPS takes where nothing is said.
    Ok(rules.pop().map_or_else(|| Rule::Except(Match::Suffix("_unencrypted".to_owned())), |(_, rule)| rule))
}

fn pattern(text: &str) -> Result<Match, String> {
    let pattern = RegexBuilder::new(text).size_limit(MAX_PATTERN).build();
    pattern.map(Match::Pattern).map_err(|_| format!("{text:?} is no pattern, or too large"))
}
