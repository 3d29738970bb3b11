//! How a program other than ours reaches the cluster: what the kubeconfig in force says, as text. Holds a
//! token: not to be shown.

use super::{CliError, Global};
use crate::daemon::paths::Paths;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_yaml::Value;
use std::path::{Path, PathBuf};

pub struct Contact {
    /// The kubeconfig that says so.
    pub file: PathBuf,
    /// `https://host:port`, without a slash at the end.
    pub server: String,
    /// In PEM format; `None`: the system's CAs.
    pub authority: Option<Vec<u8>>,
    pub user: String,
    /// `None`: it says who we are in another way.
    pub token: Option<String>,
}

impl Contact {
    /// The current context of the kubeconfig that the user named, else of the data directory's.
    pub fn read(global: &Global) -> Result<Self, CliError> {
        let file = match global.named_kubeconfig() {
            Some(named) => named,
            None => Paths::new(global.data_dir()?).kubeconfig(),
        };
        let wrong = |what: &str| CliError::new(format!("kubeconfig {}: {what}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|error| wrong(&error.to_string()))?;
        // The parser's words could hold a token.
        let config: Value = serde_yaml::from_str(&text).map_err(|_| wrong("it is not YAML"))?;
        let context = named(&config, "contexts", text_of(&config["current-context"]), "context");
        let context = context.ok_or_else(|| wrong("it has no current context"))?;
        let user = text_of(&context["user"]).to_owned();
        let cluster = named(&config, "clusters", text_of(&context["cluster"]), "cluster");
        let cluster = cluster.ok_or_else(|| wrong("its current context names no cluster"))?;
        let login = named(&config, "users", &user, "user").cloned().unwrap_or_default();
        let content = |data: &str, path: &str| -> Result<Option<Vec<u8>>, CliError> {
            if let Some(data) = cluster[data].as_str() {
                return STANDARD.decode(data).map(Some).map_err(|_| wrong("its CA is not in base64"));
            }
            cluster[path].as_str().map(|path| beside(&file, path)).transpose()
        };
        let authority = content("certificate-authority-data", "certificate-authority")?;
        let token = match (login["token"].as_str(), login["tokenFile"].as_str()) {
            (Some(token), _) => Some(token.to_owned()),
            (None, Some(path)) => Some(String::from_utf8_lossy(&beside(&file, path)?).trim().to_owned()),
            (None, None) => None,
        };
        let server = text_of(&cluster["server"]).trim_end_matches('/').to_owned();
        if server.is_empty() {
            return Err(wrong("its cluster has no server"));
        }
        Ok(Self { file, server, authority, user, token })
    }
}

/// A file that a kubeconfig names, relative to itself.
fn beside(kubeconfig: &Path, path: &str) -> Result<Vec<u8>, CliError> {
    let path = kubeconfig.parent().unwrap_or(Path::new(".")).join(path);
    std::fs::read(&path).map_err(|error| CliError::new(format!("{}: {error}", path.display())))
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `content` of the entry of that name in a list of a kubeconfig.
fn named<'a>(config: &'a Value, list: &str, name: &str, content: &str) -> Option<&'a Value> {
    let entries = config[list].as_sequence()?;
    let entry = entries.iter().find(|entry| entry["name"].as_str() == Some(name))?;
    Some(&entry[content])
}
