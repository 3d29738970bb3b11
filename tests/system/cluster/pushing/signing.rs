//! Only signed commits count, where an application says so: pushed, or followed.

use super::{Pusher, config_map, greeting, lines_with, status};
use crate::daemon::{Daemon, run, write_program};
use std::path::Path;

/// A key pair in the folder; the path of the private one.
fn key(pusher: &Pusher, name: &str) -> String {
    let path = pusher.work().join(".git").join(name).display().to_string();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path]);
    path
}

fn sign(pusher: &Pusher, key: &str, greeting: &str) -> String {
    pusher.write("greeting.yaml", &config_map("greeting", greeting));
    pusher.git(&["add", "--all"]);
    let signing = format!("user.signingkey={key}");
    pusher.git(&["-c", "gpg.format=ssh", "-c", &signing, "commit", "--quiet", "-S", "-m", "signed"]);
    pusher.git(&["rev-parse", "HEAD"]).trim().to_string()
}

#[test]
fn what_is_not_signed_by_somebody_known_is_refused() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let (ann, ben) = (key(&pusher, "ann"), key(&pusher, "ben"));
    let public = format!("--from-file={ann}.pub");
    daemon.kubectl(&["create", "secret", "generic", "signers", "-n", "selkie-system", &public]);
    let patch = r#"{"spec":{"source":{"verify":{"secretRef":{"name":"signers"}}}}}"#;
    let object = ["applications.selkie.dev", "shop", "-n", "selkie-system", "--type=merge", "-p", patch];
    daemon.kubectl(&[&["patch"][..], &object].concat());

    pusher.greet("unsigned");
    lines_with(&pusher.refused(&["selkie", "main"]), &["is not signed", "spec.source.verify"]);
    sign(&pusher, &ben, "from a stranger");
    lines_with(&pusher.refused(&["selkie", "main"]), &["is signed by a key that is not among those", "SHA256:"]);
    let good = sign(&pusher, &ann, "signed");
    lines_with(&pusher.push(&["selkie", "main"]), &["is in force"]);
    assert_eq!((greeting(&daemon).as_str(), status(&daemon, "{.status.revision}")), ("signed", good.clone()));

    // The rule is for what is followed, too: the last good commit stays in force.
    let other = format!("--from-file={ben}.pub");
    daemon.kubectl(&["create", "secret", "generic", "others", "-n", "selkie-system", &other]);
    let patch = patch.replace("signers", "others");
    let object = ["applications.selkie.dev", "shop", "-n", "selkie-system", "--type=merge", "-p", &patch];
    daemon.kubectl(&[&["patch"][..], &object].concat());
    daemon.wait_for("it is refused", || status(&daemon, "{.status.errors}").contains("not among those that count"));
    let reason = "{.status.conditions[?(@.type=='Synced')].reason}";
    assert_eq!(status(&daemon, reason), "SignatureRefused");
    daemon.wait_for("an Event says so", || {
        let events = daemon.kubectl(&["get", "events", "-n", "selkie-system"]);
        events.lines().any(|line| ["Warning", "SignatureRefused"].iter().all(|part| line.contains(part)))
    });
    daemon.kubectl(&["patch", "configmap", "greeting", "--type=merge", "-p", r#"{"data":{"text":"drifted"}}"#]);
    daemon.wait_for("it is in force", || greeting(&daemon) == "signed");
    assert_eq!(status(&daemon, "{.status.revision}"), good);
}

/// gpg with keys of its own, in the pusher's folder; its agent ends with it.
struct Gpg {
    home: String,
}

impl Gpg {
    fn new(pusher: &Pusher) -> Self {
        let home = pusher.work().join(".git/gpg");
        std::fs::create_dir(&home).unwrap();
        run("chmod", &["700", &home.display().to_string()]);
        Self { home: home.display().to_string() }
    }

    fn run(&self, args: &[&str]) -> String {
        let own = ["--homedir", &self.home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        run("gpg", &[&own[..], args].concat())
    }

    /// Makes a key, and a file with its public half.
    fn key(&self, name: &str) -> String {
        self.run(&["--quick-generate-key", name, "ed25519", "sign", "never"]);
        let file = format!("{}/{name}.asc", self.home);
        self.run(&["--armor", "--output", &file, "--export", name]);
        file
    }

    /// Has a git command sign with the key of that name.
    fn git(&self, pusher: &Pusher, name: &str, args: &[&str]) {
        let program = format!("{}/gpg", self.home);
        let script = format!("#!/bin/sh\nexec gpg --homedir {} --batch --pinentry-mode loopback \"$@\"\n", self.home);
        write_program(Path::new(&program), &script);
        let (program, key) = (format!("gpg.program={program}"), format!("user.signingkey={name}"));
        pusher.git(&[&["-c", &program, "-c", &key, "-c", "gpg.format=openpgp"][..], args].concat());
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = std::process::Command::new("gpgconf").args(["--homedir", &self.home, "--kill", "all"]).output();
    }
}

#[test]
fn openpgp_keys_count_next_to_those_of_ssh() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let gpg = Gpg::new(&pusher);
    let (ann, ben) = (gpg.key("ann"), key(&pusher, "ben"));
    gpg.key("mallory");
    let (of_ann, of_ben) = (format!("--from-file={ann}"), format!("--from-file={ben}.pub"));
    daemon.kubectl(&["create", "secret", "generic", "signers", "-n", "selkie-system", &of_ann, &of_ben]);
    let patch = r#"{"spec":{"source":{"verify":{"secretRef":{"name":"signers"}}}}}"#;
    daemon.kubectl(&["patch", "applications.selkie.dev", "shop", "-n", "selkie-system", "--type=merge", "-p", patch]);

    let commit = |name: &str| {
        pusher.write("greeting.yaml", &config_map("greeting", name));
        pusher.git(&["add", "--all"]);
        gpg.git(&pusher, name, &["commit", "--quiet", "-S", "-m", name]);
    };
    commit("mallory");
    lines_with(&pusher.refused(&["selkie", "main"]), &["OpenPGP key that is not among those", "spec.source.verify"]);
    commit("ann");
    lines_with(&pusher.push(&["selkie", "main"]), &["is in force"]);
    sign(&pusher, &ben, "ben");
    lines_with(&pusher.push(&["selkie", "main"]), &["is in force"]);
    // A tag that is signed makes no commit that is not.
    pusher.greet("unsigned");
    gpg.git(&pusher, "ann", &["tag", "-s", "-m", "signed", "v1"]);
    lines_with(&pusher.refused(&["selkie", "v1^{commit}:refs/heads/main"]), &["is not signed"]);
    assert_eq!(greeting(&daemon), "ben");
}
