//! `selkie git-credential`: gives git the kubeconfig's token, for the cluster's own address and no other
//! (gitcredentials(7)). `selkie app remote` makes git ask it.

use super::contact::Contact;
use super::{CliError, Global};
use clap::Args;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Give git the kubeconfig's token, for pushes to the cluster's own address
///
/// A credential helper: git runs it with `get`, and reads name and password from its standard output.
#[derive(Args)]
#[command(hide = true)]
pub struct GitCredential {
    /// get; anything else does nothing
    operation: String,
}

impl GitCredential {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        // There is nothing to store or to forget.
        if self.operation != "get" {
            return Ok(ExitCode::SUCCESS);
        }
        let asked = std::io::read_to_string(std::io::stdin())?;
        let contact = Contact::read(&global)?;
        if !is_about(&asked, &contact.server) {
            return Ok(ExitCode::SUCCESS);
        }
        let Some(token) = contact.token else {
            let what = format!("kubeconfig {} has no token, and git takes nothing else", contact.file.display());
            return Err(CliError::new(what).hint("kubectl create token makes one for a service account"));
        };
        println!("username={}\npassword={token}", if contact.user.is_empty() { "selkie" } else { &contact.user });
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether git asks for this server.
fn is_about(asked: &str, server: &str) -> bool {
    let values: BTreeMap<&str, &str> = asked.lines().filter_map(|line| line.split_once('=')).collect();
    let (Some(protocol), Some(host)) = (values.get("protocol"), values.get("host")) else { return false };
    let url = format!("{protocol}://{host}");
    let usual = if *protocol == "https" { ":443" } else { ":80" };
    // Never without encryption.
    *protocol == "https" && url.strip_suffix(usual).unwrap_or(&url) == server.strip_suffix(usual).unwrap_or(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_for_its_own_server_only() {
        let server = "https://127.0.0.1:6443";
        assert!(is_about("protocol=https\nhost=127.0.0.1:6443\npath=git/shop\n", server));
        assert!(is_about("protocol=https\nhost=h:443\n", "https://h"));
        for asked in [
            "protocol=http\nhost=127.0.0.1:6443\n",
            "protocol=https\nhost=127.0.0.1\n",
            "protocol=https\nhost=127.0.0.1:6443.evil.example\n",
            "host=127.0.0.1:6443\n",
            "",
        ] {
            assert!(!is_about(asked, server), "{asked:?}");
        }
    }
}
