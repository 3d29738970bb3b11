//! A watched git branch.

use crate::daemon::run;
use crate::setting::{Folder, Setting, edit};
use std::path::Path;
use std::time::{Duration, Instant};

fn git(directory: &Path, args: &[&str]) -> String {
    let at = directory.display().to_string();
    let mut all = vec!["-C", &at, "-c", "user.name=Test", "-c", "user.email=test@example.com"];
    all.extend(args);
    run("git", &all)
}

#[test]
fn a_commit_is_applied_within_a_second() {
    let folder = Folder::new();
    let work = folder.path().join("work");
    std::fs::create_dir_all(work.join("deploy")).unwrap();
    let manifest = |greeting: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\n  namespace: default\ndata:\n  text: {greeting}\n"
        )
    };
    std::fs::write(work.join("deploy/greeting.yaml"), manifest("first")).unwrap();
    std::fs::write(work.join("not-a-manifest.yaml"), "nothing: here\n").unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "first"]);
    let bare = folder.path().join("repo.git");
    run("git", &["clone", "--quiet", "--bare", &work.display().to_string(), &bare.display().to_string()]);
    git(&work, &["remote", "add", "origin", &bare.display().to_string()]);

    let app = format!("greeting={}#main:deploy/", bare.display());
    let setting = Setting::start(folder, &["--app", &app]);
    let text = || setting.daemon.value(&["configmap", "greeting"], "{.data.text}");
    setting.daemon.wait_for("the first commit is applied", || text() == "first");

    edit(&work.join("deploy/greeting.yaml"), "first", "second");
    git(&work, &["commit", "--quiet", "-am", "second"]);
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    let pushed = Instant::now();
    setting.daemon.wait_for("the push is applied", || text() == "second");
    // One second is the promise; kubectl itself takes a part of what is measured here.
    assert!(pushed.elapsed() < Duration::from_secs(3), "it took {:?}", pushed.elapsed());
    let commit = git(&work, &["rev-parse", "HEAD"]);
    setting.daemon.wait_for("the status names the commit", || {
        setting
            .daemon
            .value(&["applications.selkie.dev", "greeting", "-n", "selkie-system"], "{.status}")
            .contains(commit.trim())
    });

    // A broken commit changes nothing and says where it is broken; the next good one is applied.
    std::fs::write(work.join("deploy/broken.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n").unwrap();
    edit(&work.join("deploy/greeting.yaml"), "second", "third");
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "broken"]);
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    setting.daemon.wait_for("the error is shown", || setting.daemon.log().contains("deploy/broken.yaml:"));
    assert_eq!(text(), "second");
    std::fs::remove_file(work.join("deploy/broken.yaml")).unwrap();
    git(&work, &["commit", "--quiet", "-am", "mended"]);
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]);
    setting.daemon.wait_for("the mended commit is applied", || text() == "third");
}
