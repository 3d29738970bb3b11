//! Whom a client certificate stands for: its common name is the user, its organizations the groups.
//! That our CA signed it for clients, and when, TLS has checked.

use super::{AUTHENTICATED, User};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The user of a certificate (DER); `None` if it names nobody.
pub fn user(certificate: &[u8]) -> Option<User> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).filter(|name| !name.is_empty())?;
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let groups = groups.chain([AUTHENTICATED]).map(str::to_string).collect();
    Some(User { name: name.into(), groups, ..User::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn names_and_organizations_become_users_and_groups() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.distinguished_name.push(DnType::OrganizationName, "devs");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = user(certificate.der()).unwrap();
        assert_eq!((found.name.as_str(), found.groups), ("alice", vec!["devs".to_string(), AUTHENTICATED.into()]));
        assert_eq!(user(b"nonsense"), None);
    }
}
