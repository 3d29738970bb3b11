//! What generators say, and what they come to. Pure.

use crate::gitops::application::ApplicationSource;
use crate::gitops::previews::{matches, slug};
use crate::gitops::sources::Branch;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<ListGenerator>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitGenerator>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListGenerator {
    /// The parameters of each element.
    pub elements: Vec<BTreeMap<String, String>>,
}

/// Either directories or branches of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitGenerator {
    #[serde(flatten)]
    pub source: ApplicationSource,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<DirectoryPattern>,
    /// As those of previews.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
}

/// Directories from the repository's root: `*` is any text without a slash, `**` any directories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectoryPattern {
    pub path: String,
    /// These not, whatever else takes them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
}

/// What one Application is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Element {
    pub parameters: BTreeMap<String, String>,
    /// The source of an Application whose template names none; else null.
    pub source: Value,
}

impl Element {
    /// For people.
    pub fn show(&self) -> String {
        let pairs: Vec<String> = self.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    }
}

impl ListGenerator {
    pub fn elements(&self) -> Vec<Element> {
        let element =
            |parameters: &BTreeMap<String, String>| Element { parameters: parameters.clone(), source: Value::Null };
        self.elements.iter().map(element).collect()
    }
}

impl GitGenerator {
    /// Of the directories of a commit.
    pub fn of_directories(&self, directories: &[String]) -> Vec<Element> {
        let fits = |path: &str, exclude: bool| {
            self.directories.iter().any(|pattern| pattern.exclude == exclude && is_path(&pattern.path, path))
        };
        let wanted = directories.iter().filter(|path| fits(path, false) && !fits(path, true));
        let element = |path: &String| {
            let name = path.rsplit('/').next().unwrap_or(path);
            let source = ApplicationSource { directory: path.clone(), ..self.source.clone() };
            let parameters =
                [("path", path.clone()), ("path.basename", name.to_owned()), ("path.basenameNormalized", slug(name))];
            Element {
                parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
                source: json!(source),
            }
        };
        wanted.map(element).collect()
    }

    /// Of the branches there are.
    pub fn of_branches(&self, branches: &[Branch]) -> Vec<Element> {
        let wanted =
            branches.iter().filter(|branch| self.branches.iter().any(|pattern| matches(pattern, &branch.name)));
        let element = |branch: &Branch| {
            let source = ApplicationSource { reference: branch.name.clone(), ..self.source.clone() };
            let parameters = [("branch", branch.name.clone()), ("branchNormalized", slug(&branch.name))];
            Element {
                parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
                source: json!(source),
            }
        };
        wanted.map(element).collect()
    }
}

fn is_path(pattern: &str, path: &str) -> bool {
    fn fits(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=path.len()).any(|at| fits(rest, &path[at..])),
            (Some((part, rest)), Some((name, below))) => matches(part, name) && fits(rest, below),
            _ => false,
        }
    }
    let parts = |text: &'_ str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
    };
    let (pattern, path) = (parts(pattern), parts(path));
    let (pattern, path): (Vec<&str>, Vec<&str>) =
        (pattern.iter().map(String::as_str).collect(), path.iter().map(String::as_str).collect());
    fits(&pattern, &path)
}
