//! Pushed kustomizations with bases in other repositories.

use super::{Pusher, greeting, status};
use crate::daemon::Daemon;
use crate::git_https::HttpsServer;
use crate::repository::{Base, GitRepository};
use std::sync::atomic::Ordering;

#[test]
fn a_pushed_kustomization_has_the_base_that_it_names() {
    let repository = GitRepository::new();
    let base = Base::beside(&repository);
    let server = HttpsServer::start(repository.folder.path());
    server.open.store(true, Ordering::SeqCst);
    let prelude = format!("export SSL_CERT_FILE='{}'", server.ca().display());
    let daemon = Daemon::start_with(&repository.folder.path().join("data"), &["--no-hosts"], &prelude);
    let first = base.push("first base");
    let pusher = Pusher::start(&daemon, "shop");
    let push = |entry: &str| {
        pusher.write("kustomization.yaml", &format!("resources:\n- {entry}\n"));
        pusher.commit();
    };
    let entry = format!("https://{}/base.git//maps?ref=main", server.address);
    push(&entry);
    let refused = pusher.refused(&["selkie", "main"]);
    assert!(
        refused.contains("kustomization.yaml:2:3") && refused.contains("remote bases are not allowed"),
        "{refused}"
    );
    let allow = r#"{"spec":{"interval":"1s","kustomize":{"remoteBases":true}}}"#;
    daemon.kubectl(&["-n", "selkie-system", "patch", "applications.selkie.dev", "shop", "--type=merge", "-p", allow]);
    pusher.push(&["selkie", "main"]);
    daemon.wait_for("the base is applied", || greeting(&daemon) == "first base");
    daemon.wait_for("the status pins it", || status(&daemon, "{.status.remoteBases}").contains(&first));
    // It moves while nobody pushes.
    base.push("second base");
    daemon.wait_for("the base is followed", || greeting(&daemon) == "second base");
    // Whoever pushes cannot have the daemon read what is on its machine.
    push(&format!("file://{}//maps?ref=main", base.bare.display()));
    let refused = pusher.refused(&["selkie", "main"]);
    assert!(refused.contains("may not name repositories of this machine"), "{refused}");
    assert_eq!(greeting(&daemon), "second base");
}
