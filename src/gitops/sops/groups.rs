//! For whom a file's key is encrypted: one group of keys, each of which opens it, or several groups of which each
//! has a share of it. Pure.

use super::age::{self, Identity};
use super::cipher::KEY;
use super::keys::Keys;
use super::shamir;
use crate::gitops::render::tree::{Body, Node};

/// Age recipients of one file.
const MAX_RECIPIENTS: usize = 256;
/// Shares of a key have numbers of one byte.
const MAX_GROUPS: usize = 255;
/// Key services by their names in a file, and for people.
const SERVICES: [(&str, &str); 6] = [
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "GCP KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
    ("hckms", "Huawei Cloud KMS"),
];

/// All of a file.
pub struct Groups {
    groups: Vec<Group>,
    /// How many of them it takes.
    threshold: usize,
}

struct Group {
    recipients: Vec<Recipient>,
    /// Other key services that have the same, for people.
    services: Vec<&'static str>,
}

/// Someone whom a key, or a share of one, is encrypted for.
struct Recipient {
    name: String,
    sealed: String,
}

impl Groups {
    /// Reads the `sops` field. Lists may be maps whose keys count up.
    pub fn read(node: &Node) -> Result<Self, String> {
        let groups: Vec<Group> = match node.get("key_groups").map(children) {
            Some(groups) => groups.map(Group::read).collect(),
            None => Vec::new(),
        };
        let groups = if groups.is_empty() { vec![Group::read(node)] } else { groups };
        if groups.len() > MAX_GROUPS {
            return Err(format!("its key is split among more than {MAX_GROUPS} groups of keys"));
        }
        if groups.iter().map(|group| group.recipients.len()).sum::<usize>() > MAX_RECIPIENTS {
            return Err(format!("it is for more than {MAX_RECIPIENTS} recipients"));
        }
        let threshold = match node.get("shamir_threshold").map(Node::text).filter(|text| !matches!(*text, "" | "0")) {
            None => groups.len(),
            Some(text) => text.parse().ok().filter(|needed| (1..=groups.len()).contains(needed)).ok_or_else(|| {
                format!("shamir_threshold is {text:?}: expected a number of its {} groups of keys", groups.len())
            })?,
        };
        Ok(Self { groups, threshold })
    }

    /// The key of the file's values. The error says for whom it is encrypted, and which keys there are.
    pub fn key(&self, keys: &Keys) -> Result<[u8; KEY], String> {
        let opened = self.groups.iter().map(|group| group.open(keys));
        if let [_] = self.groups[..] {
            let key = opened.collect::<Result<Vec<_>, _>>()?.concat();
            return key.try_into().map_err(|_| "its key is not of 32 bytes".to_owned());
        }
        let (mut shares, mut problems) = (Vec::new(), Vec::new());
        for (index, opened) in opened.enumerate() {
            match opened {
                Ok(share) => shares.push(share),
                Err(problem) => problems.push(format!("of group {}, {problem}", index + 1)),
            }
        }
        if shares.len() < self.threshold {
            return Err(format!(
                "its key is split among {} groups of keys, and {} are needed: {}",
                self.groups.len(),
                self.threshold,
                problems.join("; ")
            ));
        }
        let key = shamir::combine(&shares).and_then(|key| key.try_into().ok());
        key.ok_or_else(|| "the shares of its key do not belong together".to_owned())
    }
}

impl Group {
    fn read(node: &Node) -> Self {
        let recipients = node.get("age").map(children).into_iter().flatten().map(recipient).collect();
        let has = |name: &str| node.get(name).is_some_and(|list| children(list).next().is_some());
        let services = SERVICES.iter().filter(|(name, _)| has(name)).map(|(_, shown)| *shown).collect();
        Self { recipients, services }
    }

    /// What is encrypted for all of the group.
    fn open(&self, keys: &Keys) -> Result<Vec<u8>, String> {
        if self.recipients.is_empty() {
            return Err(match self.services[..] {
                [] => "it names nobody who can decrypt it".to_owned(),
                _ => format!("it is for {}, and only age keys are supported", self.services.join(", ")),
            });
        }
        let mut damaged = None;
        for recipient in &self.recipients {
            let own = keys.identities.iter().find(|one| one.recipient() == recipient.name);
            let Some(identity) = own else { continue };
            match age::decrypt(&recipient.sealed, identity) {
                Some(opened) => return Ok(opened),
                None => damaged = Some(&recipient.name),
            }
        }
        Err(match damaged {
            Some(name) => format!("the key that is encrypted for {name} is damaged"),
            None => self.for_others(keys),
        })
    }

    fn for_others(&self, keys: &Keys) -> String {
        let shown = |recipient: &Recipient| match age::unsupported(&recipient.name) {
            None => recipient.name.clone(),
            Some(what) => format!("{} ({what}, which is not supported)", recipient.name),
        };
        let mut all: Vec<String> = self.recipients.iter().map(shown).collect();
        all.extend(self.services.iter().map(|name| format!("{name} (which is not supported)")));
        let own: Vec<String> = keys.identities.iter().map(Identity::recipient).collect();
        let own = if own.is_empty() { "there is none".to_owned() } else { format!("there is {}", own.join(", ")) };
        format!("it is for {}; in {} {own}", all.join(", "), keys.place)
    }
}

fn recipient(node: &Node) -> Recipient {
    let text = |key: &str| node.get(key).map(Node::text).unwrap_or_default();
    Recipient { name: text("recipient").trim().to_owned(), sealed: text("enc").to_owned() }
}

fn children(node: &Node) -> impl Iterator<Item = &Node> {
    let entries: &[_] = if let Body::Map(entries) = &node.body { entries } else { &[] };
    node.items().iter().chain(entries.iter().map(|entry| &entry.value))
}
