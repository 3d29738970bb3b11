//! Who may sign commits: public keys that a Secret holds, and whether a commit is signed by one of them.
//! Pure.

mod openpgp;
mod ssh;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use std::fmt;

/// What git puts before a signature of that kind.
const SSH: &str = "-----BEGIN SSH SIGNATURE-----";
const OPENPGP: &str = "-----BEGIN PGP SIGNATURE-----";

/// Those whose signatures count.
#[derive(Clone, PartialEq, Eq)]
pub struct Signers {
    ssh: Vec<ssh::Key>,
    openpgp: Vec<openpgp::Signer>,
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signers({})", self.ssh.len() + self.openpgp.len())
    }
}

impl Signers {
    /// Reads a Secret, each of whose keys holds public keys: of ssh, one a line, as in `id_ed25519.pub` or as in
    /// git's `allowed_signers`; or of OpenPGP, as `gpg --export` writes them. The error says which line is none.
    pub fn from_secret(secret: &Secret) -> Result<Self, String> {
        let mut signers = Self { ssh: Vec::new(), openpgp: Vec::new() };
        for (name, value) in secret.data.iter().flatten() {
            let text = std::str::from_utf8(&value.0);
            if text.map_or(openpgp::is_packet(&value.0), |text| text.contains("-----BEGIN PGP")) {
                signers.openpgp.extend(openpgp::read(&value.0).map_err(|why| format!("{name} {why}"))?);
                continue;
            }
            let text = text.map_err(|_| format!("{name} is not text"))?;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
                    let key = ssh::Key::parse(line).map_err(|why| format!("{name}, line {}: {why}", number + 1))?;
                    signers.ssh.push(key);
                }
            }
        }
        if signers.ssh.is_empty() && signers.openpgp.is_empty() {
            return Err("it holds no public key".to_owned());
        }
        Ok(signers)
    }

    /// Whether one of them signed this; the error says why that does not count.
    pub fn check(&self, signature: Option<&[u8]>, signed: &[u8], now: Timestamp) -> Result<(), String> {
        let Some(signature) = signature else { return Err("is not signed".to_owned()) };
        let text = String::from_utf8_lossy(signature);
        let text = text.trim();
        if text.starts_with(OPENPGP) {
            return openpgp::check(text, signed, &self.openpgp, now.as_second().unsigned_abs());
        }
        if !text.starts_with(SSH) {
            return Err("is signed in a way that is not known".to_owned());
        }
        ssh::check(text, signed, &self.ssh)
    }
}
