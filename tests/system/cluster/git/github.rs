//! A repository that a GitHub App's installation may read.

use super::Follower;
use crate::daemon::run;
use crate::git_https::HttpsServer;
use crate::repository::GitRepository;
use ring::signature::{KeyPair, RsaKeyPair};
use rustls::pki_types::PrivatePkcs1KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use std::sync::atomic::Ordering;

/// A private key in PEM format, as GitHub makes them, and its public half.
fn key_pair() -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", path.to_str().unwrap()]);
    let text = std::fs::read_to_string(path).unwrap();
    let der = PrivatePkcs1KeyDer::from_pem_slice(text.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).unwrap();
    (text, pair.public_key().as_ref().to_vec())
}

#[test]
fn tokens_are_exchanged_kept_and_replaced_when_they_end() {
    let repository = GitRepository::new();
    let server = HttpsServer::start(repository.folder.path());
    let (private, public) = key_pair();
    let follower = Follower::start(&server.url(), json!({}));
    let mut login = json!({
        "ca.crt": server.authority, "githubAppID": "42", "githubAppInstallationID": "7", "githubAppPrivateKey": private,
        "githubAppBaseURL": format!("https://{}/api/v3", server.address),
    });
    // The API does not know the App, or not yet.
    follower.secret(login.clone());
    follower.wait_refused(&["GitHub App 42", "401", "JSON web token", "spec.source.secretRef"]);
    *server.app.public_key.lock().unwrap() = public;
    server.app.seconds.store(3600, Ordering::SeqCst);
    follower.wait_greeting("first");

    // One token does for many fetches.
    for greeting in ["second", "third"] {
        repository.commit(greeting);
        repository.push();
        follower.wait_greeting(greeting);
    }
    let given = || server.app.tokens.lock().unwrap().len();
    assert_eq!(given(), 1);

    // It ends before its time: nobody notices.
    server.app.tokens.lock().unwrap().push("revoked".to_owned());
    repository.commit("fourth");
    repository.push();
    follower.wait_greeting("fourth");
    assert_eq!(given(), 3);

    // Those that end soon are not used twice.
    server.app.seconds.store(60, Ordering::SeqCst);
    server.app.tokens.lock().unwrap().push("revoked".to_owned());
    repository.commit("fifth");
    repository.push();
    follower.wait_greeting("fifth");
    let before = given();
    follower.daemon.wait_for("there are new ones", || given() > before + 1);

    login["githubAppPrivateKey"] = "hush".into();
    follower.secret(login);
    follower.wait_refused(&["githubAppPrivateKey is no RSA private key"]);
    assert_eq!(follower.greeting(), "fifth");
    let everything = follower.everything_shown();
    let secrets = ["hush-installation-token", private.lines().nth(1).unwrap()];
    assert!(secrets.iter().all(|secret| !everything.contains(secret)), "{everything}");
}
