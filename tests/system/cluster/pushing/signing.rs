//! Only signed commits count, where an application says so: pushed, or followed.

use super::{Pusher, config_map, greeting, lines_with, status};
use crate::daemon::{Daemon, run};

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
