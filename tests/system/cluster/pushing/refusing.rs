//! Pushes that change nothing, or not what whoever pushed may have thought: each with a clear answer.

use super::{Pusher, config_map, curl, greeting, lines_with, repository, status, token};
use crate::daemon::{Daemon, run};
use std::fs::File;

#[test]
fn a_broken_commit_shows_its_line_and_changes_nothing() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    // Of a repository that nothing was pushed to yet, too.
    pusher.write("deploy/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n");
    pusher.commit();
    lines_with(&pusher.refused(&["selkie", "main"]), &["remote: shop: error: deploy/broken.yaml:", "pre-receive"]);
    assert_eq!(pusher.tip(), "");

    std::fs::remove_file(pusher.work().join("deploy/broken.yaml")).unwrap();
    let good = pusher.greet("first");
    pusher.push(&["selkie", "main"]);

    // All that is wrong at once: what cannot be read, and what the API refuses.
    pusher.write("deploy/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n");
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: many\n";
    pusher.write("deploy/web.yaml", deployment);
    pusher.greet("second");
    let said = pusher.refused(&["selkie", "main"]);
    lines_with(&said, &["deploy/broken.yaml:", "deploy/web.yaml:6:3", "nothing of", "what runs stays as it is"]);
    assert_eq!((greeting(&daemon).as_str(), pusher.tip()), ("first", good.clone()));
    assert_eq!(status(&daemon, "{.status.revision}"), good);
    // Nothing of it is kept.
    let left = run("find", &[&repository(&daemon).display().to_string(), "-name", "*tmp_*"]);
    assert_eq!(left, "");

    std::fs::remove_dir_all(pusher.work().join("deploy")).unwrap();
    pusher.commit();
    lines_with(&pusher.push(&["selkie", "main"]), &["~ ConfigMap default/greeting"]);
    assert_eq!(greeting(&daemon), "second");
    let metrics = daemon.kubectl(&["get", "--raw", "/metrics"]);
    lines_with(&metrics, &["selkie_git_pushes_total{outcome=\"accepted\"} 2", "{outcome=\"refused\"} 2"]);
}

#[test]
fn only_the_branch_is_taken() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    pusher.git(&["tag", "v1"]);
    lines_with(&pusher.refused(&["selkie", "HEAD:refs/heads/dev"]), &["shop deploys its branch main", "HEAD:main"]);
    lines_with(&pusher.refused(&["selkie", "v1"]), &["shop deploys its branch main"]);
    let both = pusher.refused(&["selkie", "main", "v1"]);
    lines_with(&both, &["refs/tags/v1 is not kept: main is all that counts here", "is in force", "hidden ref"]);
    assert_eq!(greeting(&daemon), "first");
    let refs = run("git", &["-C", &repository(&daemon).display().to_string(), "for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs.trim(), "refs/heads/main");

    lines_with(&pusher.refused(&["selkie", ":main"]), &["main cannot be deleted", "selkie delete application shop"]);
    assert_eq!(greeting(&daemon), "first");

    // Another history, as git asks for it.
    pusher.write("greeting.yaml", &config_map("greeting", "rewritten"));
    pusher.git(&["commit", "--quiet", "--all", "--amend", "-m", "other"]);
    lines_with(&pusher.refused(&["selkie", "main"]), &["non-fast-forward"]);
    pusher.push(&["--force", "selkie", "main"]);
    assert_eq!(greeting(&daemon), "rewritten");

    // Who has not seen that is told so, also where git would force it on an old lease.
    let other = Pusher::of(&daemon);
    other.greet("late");
    lines_with(&other.refused(&["selkie", "main"]), &["rejected", "fetch first"]);
}

#[test]
fn what_the_prune_guard_holds_needs_a_word() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    for name in ["a", "b", "c", "d", "e"] {
        pusher.write(&format!("{name}.yaml"), &config_map(name, "one"));
    }
    let first = pusher.commit();
    pusher.push(&["selkie", "main"]);
    for name in ["a", "b", "c", "d"] {
        std::fs::remove_file(pusher.work().join(format!("{name}.yaml"))).unwrap();
    }
    pusher.commit();
    let said = pusher.refused(&["selkie", "main"]);
    lines_with(&said, &["4 of 5 objects left the source at once", "git push -o confirm-prune"]);
    assert_eq!(pusher.tip(), first);
    let maps = || daemon.value(&["configmaps", "-l", "selkie.dev/application=shop"], "{.items[*].metadata.name}");
    assert_eq!(maps(), "a b c d e");
    let said = pusher.push(&["-o", "confirm-prune", "selkie", "main"]);
    lines_with(&said, &["4 to delete", "is in force"]);
    assert_eq!(maps(), "e");
    // It is for that commit only.
    std::fs::remove_file(pusher.work().join("e.yaml")).unwrap();
    pusher.commit();
    lines_with(&pusher.refused(&["selkie", "main"]), &["the source is empty"]);
}

#[test]
fn a_suspended_application_keeps_a_push_for_later() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    pusher.push(&["selkie", "main"]);
    daemon.selkie(&["app", "suspend", "shop"]);
    pusher.greet("second");
    lines_with(&pusher.push(&["selkie", "main"]), &["the application is suspended until `selkie app resume shop`"]);
    assert_eq!(greeting(&daemon), "first");
    daemon.selkie(&["app", "resume", "shop"]);
    daemon.wait_for("what was pushed is in force", || greeting(&daemon) == "second");
}

#[test]
fn strangers_and_the_powerless_are_told_no_more_than_that() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    let refs = "/git/shop/info/refs?service=git-receive-pack";
    assert_eq!(curl(&daemon, refs, &[]).1, "401");
    assert_eq!(curl(&daemon, refs, &["-u", "x:wrong"]).1, "401");
    assert_eq!(curl(&daemon, refs, &["-u", &format!("anybody:{}", token(&daemon))]).1, "200");
    let wrong = ["-c", "credential.helper=", "push", "https://git:wrong@HOST/git/shop", "main"];
    let url = super::address(&daemon).replace("https://", "https://git:wrong-token@");
    let wrong = wrong.map(|arg| arg.replace("https://git:wrong@HOST", &url));
    let said = pusher.command(&wrong.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
    lines_with(&String::from_utf8_lossy(&said.stderr), &["Authentication failed"]);

    // A service account may when a Role lets it update this application.
    daemon.kubectl(&["create", "serviceaccount", "ci"]);
    let login = format!("ci:{}", daemon.kubectl(&["create", "token", "ci"]).trim());
    let (text, code) = curl(&daemon, refs, &["-u", &login]);
    assert_eq!(code, "403");
    lines_with(&text, &["cannot update resource \"applications\"", "system:serviceaccount:default:ci"]);
    let system = ["-n", "selkie-system"];
    let role =
        ["create", "role", "push", "--verb=update", "--resource=applications.selkie.dev", "--resource-name=shop"];
    daemon.kubectl(&[&role[..], &system].concat());
    let binding = ["create", "rolebinding", "push", "--role=push", "--serviceaccount=default:ci"];
    daemon.kubectl(&[&binding[..], &system].concat());
    assert_eq!(curl(&daemon, refs, &["-u", &login]).1, "200");
    assert_eq!(curl(&daemon, "/git/other/info/refs?service=git-receive-pack", &["-u", &login]).1, "403");

    let admin = format!("git:{}", token(&daemon));
    daemon.selkie(&["app", "add", &format!("local={}", pusher.work().display()), "--suspend"]);
    for (path, code) in [
        ("/git/nobody/info/refs?service=git-receive-pack", "404"),
        ("/git/local/info/refs?service=git-upload-pack", "404"),
        ("/git/../git/shop/info/refs?service=git-receive-pack", "404"),
        ("/git/%2e%2e/info/refs?service=git-receive-pack", "404"),
        ("/git/shop%2Fstatus/info/refs?service=git-receive-pack", "404"),
        ("/git/shop/info/refs?service=git-shell", "404"),
        ("/git/shop/info/refs", "404"),
        ("/git/shop/HEAD", "404"),
        ("/git/shop/objects/info/packs", "404"),
        ("/git/shop/git-receive-pack", "404"),
        ("/git/shop", "404"),
    ] {
        assert_eq!(curl(&daemon, path, &["-u", &admin]).1, code, "{path}");
    }
}

#[test]
fn a_quota_bounds_what_is_pushed() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let first = pusher.greet("first");
    pusher.push(&["selkie", "main"]);
    // Almost all of it is taken.
    let filler = repository(&daemon).join("filler");
    File::create(&filler).unwrap().set_len((1 << 30) - (2 << 20)).unwrap();
    pusher.write("ballast", &noise(4 << 20));
    pusher.greet("second");
    lines_with(&pusher.refused(&["selkie", "main"]), &["exceeds maximum allowed size"]);
    File::create(&filler).unwrap().set_len(1 << 30).unwrap();
    lines_with(&pusher.refused(&["selkie", "main"]), &["takes 1024 MiB, which is all that it may"]);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!((greeting(&daemon).as_str(), pusher.tip()), ("first", first));
    pusher.push(&["selkie", "main"]);
    assert_eq!(greeting(&daemon), "second");
}

/// So many digits that hardly compress.
pub(super) fn noise(bytes: usize) -> String {
    let mut state = 1u64;
    let digit = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (state >> 58) as u8)
    });
    digit.take(bytes * 4 / 3).collect()
}

#[test]
fn a_push_while_a_sync_window_is_closed_is_kept_and_says_until_when() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    lines_with(&pusher.push(&["selkie", "main"]), &["is in force"]);
    // Closed from the last minute on, for almost a day: it cannot open within this test.
    let window =
        r#"{"spec":{"syncWindows":[{"kind":"deny","schedule":"* * * * *","duration":"23h","manualSync":true}]}}"#;
    daemon.kubectl(&["patch", "applications.selkie.dev", "shop", "-n", "selkie-system", "--type=merge", "-p", window]);
    for greeting in ["second", "third"] {
        let commit = pusher.greet(greeting);
        let said = pusher.push(&["selkie", "main"]);
        let held = format!("{} is accepted, and held: the deny window", &commit[..7]);
        lines_with(
            &said,
            &["~ ConfigMap default/greeting", &held, "no end of that is in sight", "`selkie app sync shop`"],
        );
        assert_eq!(pusher.tip(), commit);
    }
    let held = "{.status.conditions[?(@.type=='Synced')].reason}";
    daemon.wait_for("the sync holds it, too", || status(&daemon, held) == "WindowClosed");
    assert_eq!(super::greeting(&daemon), "first");
    daemon.selkie(&["app", "sync", "shop"]);
    assert_eq!(super::greeting(&daemon), "third");
}
