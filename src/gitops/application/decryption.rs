//! What an Application says about encrypted files of its source; see [`crate::gitops::sops`].

use super::SecretRef;
use serde::{Deserialize, Serialize};

/// As Flux writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Decryption {
    /// `sops`.
    pub provider: String,
    /// Holds the private age keys.
    pub secret_ref: SecretRef,
}

impl Decryption {
    /// By SOPS, with the age keys of a Secret.
    pub fn sops(secret: String) -> Self {
        Self { provider: "sops".to_owned(), secret_ref: SecretRef { name: secret } }
    }
}
