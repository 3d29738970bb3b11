//! Git sources against repositories made with the git command.

#![allow(clippy::unwrap_used)]
mod hostile;
mod kustomized;
mod transfers;

use super::*;
use crate::gitops::sources::Credentials;
use std::fs;
use std::process::Command;
use std::time::Duration;

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn repository() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    git(temp.path(), &["init", "-q"]);
    fs::create_dir_all(temp.path().join("deploy")).unwrap();
    fs::write(temp.path().join("deploy/a.yaml"), "a: 1\n").unwrap();
    fs::write(temp.path().join("README.md"), "x").unwrap();
    git(temp.path(), &["add", "."]);
    git(temp.path(), &["commit", "-qm", "one"]);
    temp
}

fn source(text: &str, repos: &Path) -> GitSource {
    match super::super::Location::parse(text).unwrap() {
        super::super::Location::Git(location) => {
            GitSource::new(location, &Repositories::new(repos.to_path_buf()), Access::default())
        }
        other => panic!("{other:?}"),
    }
}

async fn fetch(text: &str) -> Result<Snapshot, String> {
    let repos = tempfile::tempdir().unwrap();
    source(text, repos.path()).fetch().await.map_err(|e| e.to_string())
}

fn paths(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files.iter().map(|file| &*file.path).collect()
}

#[tokio::test]
async fn branches_tags_commits_and_paths() {
    let temp = repository();
    let url = temp.path().display();
    let first = git(temp.path(), &["rev-parse", "HEAD"]);
    git(temp.path(), &["tag", "-am", "v", "v1"]);
    git(temp.path(), &["checkout", "-qb", "feature/x"]);
    fs::write(temp.path().join("b.yaml"), "b: 1\n").unwrap();
    git(temp.path(), &["add", "."]);
    git(temp.path(), &["commit", "-qm", "two"]);
    let second = git(temp.path(), &["rev-parse", "HEAD"]);

    let head = fetch(&format!("file://{url}")).await.unwrap();
    assert_eq!((head.revision.clone(), paths(&head)), (second.clone(), vec!["b.yaml", "deploy/a.yaml"]));
    for reference in ["main", "v1", first.as_str(), &first[..8], "refs/heads/main"] {
        let snapshot = fetch(&format!("git+{url}#{reference}")).await.unwrap();
        assert_eq!(
            (snapshot.revision.as_str(), paths(&snapshot)),
            (first.as_str(), vec!["deploy/a.yaml"]),
            "{reference}"
        );
    }
    let part = fetch(&format!("git+{url}#feature/x:deploy/")).await.unwrap();
    assert_eq!((part.revision, part.files[0].path.as_ref()), (second, "deploy/a.yaml"));
}

#[tokio::test]
async fn errors_say_what_is_missing() {
    let temp = repository();
    let url = temp.path().display().to_string();
    let error = |text: String| async move { fetch(&text).await.unwrap_err() };
    assert!(error(format!("git+{url}#nope")).await.contains("no branch, tag or commit \"nope\""));
    assert!(error(format!("git+{url}#main:nope")).await.contains("has no \"nope\" (check the path"));
    let inside = error(format!("git+{url}/deploy")).await;
    assert!(inside.contains("is there a git repository?"), "{inside}");
    let empty = tempfile::tempdir().unwrap();
    git(empty.path(), &["init", "-q"]);
    let unborn = error(format!("git+{}", empty.path().display())).await;
    assert!(unborn.contains("no commit yet"), "{unborn}");
}

#[tokio::test]
async fn links_and_submodules_stay_out() {
    let other = repository();
    let temp = repository();
    std::os::unix::fs::symlink("a.yaml", temp.path().join("deploy/in.yaml")).unwrap();
    std::os::unix::fs::symlink("../../etc/passwd.yaml", temp.path().join("deploy/out.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", temp.path().join("deploy/abs.yaml")).unwrap();
    git(temp.path(), &["submodule", "--quiet", "add", other.path().to_str().unwrap(), "sub"]);
    git(temp.path(), &["add", "."]);
    git(temp.path(), &["commit", "-qm", "links"]);
    let snapshot = fetch(&format!("git+{}", temp.path().display())).await.unwrap();
    assert_eq!(paths(&snapshot), ["deploy/a.yaml", "deploy/in.yaml"]);
    assert_eq!(snapshot.files[1].bytes, "a: 1\n");
    let rejected: Vec<_> = snapshot.rejected.iter().map(|e| e.origin.to_string()).collect();
    assert_eq!(rejected, ["deploy/abs.yaml", "deploy/out.yaml"]);
    assert_eq!(snapshot.warnings, ["sub: submodules are not followed; its manifests are left out"]);
}

#[tokio::test]
async fn a_commit_rings() {
    let temp = repository();
    let repos = tempfile::tempdir().unwrap();
    let source = source(&format!("git+{}", temp.path().display()), repos.path());
    let wake = Wake::default();
    let guard = source.watch(wake.clone()).unwrap();
    assert!(guard.is_some());
    git(temp.path(), &["commit", "-q", "--allow-empty", "-m", "two"]);
    tokio::time::timeout(Duration::from_secs(10), wake.wait()).await.unwrap();
    let head = git(temp.path(), &["rev-parse", "HEAD"]);
    assert_eq!(source.fetch().await.unwrap().revision, head);
}

/// What the reference means at a repository that stands for one elsewhere: through libgit2's local
/// transport, into this mirror.
fn mirrored(
    mirror: &Repository,
    remote: &Path,
    references: &[Option<&str>],
) -> Result<Vec<Option<String>>, git2::Error> {
    let location = GitLocation::new(remote.to_str().unwrap(), "", "").unwrap();
    let credentials = Credentials::default();
    let peer = mirror::Peer::new(&location, &credentials, Duration::from_secs(60));
    let wanted: Vec<_> = references.iter().map(|name| name.map(str::to_owned)).collect();
    let mut refused = mirror::Refused::default();
    let found = mirror::update(mirror, &wanted.iter().cloned().collect(), &peer, &mut refused)?;
    Ok(wanted.iter().map(|name| found[name].as_ref().ok().map(ToString::to_string)).collect())
}

#[test]
fn a_mirror_follows_its_remote() {
    let temp = repository();
    let repos = tempfile::tempdir().unwrap();
    let directory = directories::Directory::take(repos.path(), "a").unwrap();
    let repository = directory.open().unwrap();
    let commit = || Some(git(temp.path(), &["rev-parse", "HEAD"]));
    let first = commit();
    assert_eq!(mirrored(&repository, temp.path(), &[Some("main"), Some("nope")]).unwrap(), [first.clone(), None]);
    git(temp.path(), &["commit", "-q", "--allow-empty", "-m", "two"]);
    git(temp.path(), &["branch", "a"]);
    let second = commit();
    let both = [second.clone(), second.clone(), second.clone()];
    assert_eq!(mirrored(&repository, temp.path(), &[None, Some("main"), Some("a")]).unwrap(), both);
    // A branch that stands where another one was a directory, and the other way round.
    git(temp.path(), &["branch", "-m", "a", "a/b"]);
    git(temp.path(), &["checkout", "-q", "a/b"]);
    git(temp.path(), &["commit", "-q", "--allow-empty", "-m", "three"]);
    assert_eq!(mirrored(&repository, temp.path(), &[Some("a/b"), Some("main")]).unwrap(), [commit(), second]);
    let reopened = directories::Directory::take(repos.path(), "a").unwrap().open().unwrap();
    fs::remove_dir_all(temp.path().join(".git")).unwrap();
    let pinned = |name: Option<&str>| mirror::pinned(&reopened, name).map(|oid| oid.to_string());
    assert_eq!(pinned(first.as_deref()), first, "kept without the remote");
    assert_eq!(pinned(Some("main")), None);
    assert!(mirrored(&reopened, temp.path(), &[Some("main")]).is_err());
}

/// It is there or it is not, but never without branches.
#[test]
fn a_repository_that_comes_and_goes_shows_all_of_its_branches_or_none() {
    let temp = repository();
    for number in 0..20 {
        git(temp.path(), &["branch", &format!("feature/{number}")]);
    }
    let (there, away) = (temp.path().join(".git"), temp.path().join("away"));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(&there, &away).unwrap();
                fs::rename(&away, &there).unwrap();
            }
        });
        let seen: Vec<_> =
            (0..300).filter_map(|_| super::local_heads(temp.path()).ok()).map(|heads| heads.len()).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(seen.iter().all(|count| *count == 21), "{seen:?}");
    });
}

#[tokio::test]
async fn branches_and_pull_requests_of_a_repository_here_are_found() {
    let (temp, repos) = (repository(), tempfile::tempdir().unwrap());
    git(temp.path(), &["branch", "feature/a"]);
    for name in ["refs/pull/7/head", "refs/pull/7/merge", "refs/merge-requests/3/head", "refs/tags/t", "refs/notes/n"] {
        git(temp.path(), &["update-ref", name, "HEAD"]);
    }
    let source = source(&format!("git+{}", temp.path().display()), repos.path());
    let mut found: Vec<_> = source.branches().await.unwrap().into_iter().map(|branch| branch.name).collect();
    found.sort();
    assert_eq!(found, ["feature/a", "main", "refs/merge-requests/3/head", "refs/pull/7/head"]);
}
