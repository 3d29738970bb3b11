//! Pushes that mean harm: refused with a reason, nothing executed, other applications unaffected.

use super::{Pusher, address, config_map, curl, greeting, lines_with, repository, token};
use crate::daemon::{Daemon, run};
use std::process::{Child, Command, Stdio};

/// git's output on an input.
fn pipe(pusher: &Pusher, args: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = pusher.command(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn hash(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap().trim().to_string()
}

#[test]
fn hostile_commits_are_refused_and_nothing_of_them_is_executed() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let first = pusher.greet("first");
    pusher.push(&["selkie", "main"]);

    // Names that are traps for a checkout.
    let blob = hash(pipe(&pusher, &["hash-object", "-w", "--stdin"], b"x"));
    for name in [".git", "..", ".GIT"] {
        let tree = hash(pipe(&pusher, &["mktree"], format!("100644 blob {blob}\t{name}\n").as_bytes()));
        let commit = hash(pipe(&pusher, &["commit-tree", &tree, "-p", &first, "-m", "trap"], b""));
        lines_with(&pusher.refused(&["selkie", &format!("{commit}:main")]), &["fsck error"]);
    }

    // Links out of the repository, and what is small on the way only.
    std::os::unix::fs::symlink("/etc/passwd", pusher.work().join("link.yaml")).unwrap();
    pusher.commit();
    lines_with(&pusher.refused(&["selkie", "main"]), &["link.yaml: the symbolic link leads out of the repository"]);
    std::fs::remove_file(pusher.work().join("link.yaml")).unwrap();
    std::fs::File::create(pusher.work().join("bomb.yaml")).unwrap().set_len(64 << 20).unwrap();
    pusher.commit();
    lines_with(&pusher.refused(&["selkie", "main"]), &["bomb.yaml: ", "64.0 MiB"]);
    pusher.git(&["rm", "--quiet", "bomb.yaml"]);

    // Programs that a server might run.
    let trace = pusher.folder.path().join("trace");
    for hook in ["hooks/post-receive", "hooks/pre-receive", "githooks/update"] {
        pusher.write(hook, &format!("#!/bin/sh\ntouch {}\n", trace.display()));
    }
    pusher.write(".gitattributes", "* filter=evil diff=evil\n");
    pusher.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/x\n");
    pusher.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},x")]);
    pusher.write("greeting.yaml", &config_map("greeting", "second"));
    pusher.git(&["add", "hooks", "githooks", ".gitattributes", ".gitmodules", "greeting.yaml"]);
    pusher.git(&["commit", "--quiet", "-m", "traps"]);
    lines_with(&pusher.push(&["selkie", "main"]), &["x: submodules are not followed", "is in force"]);
    assert_eq!(greeting(&daemon), "second");
    assert!(!trace.exists());
    let owned = run("find", &[&repository(&daemon).display().to_string(), "-name", "post-receive", "-executable"]);
    assert_eq!(owned, "", "no hook but the daemon's own");
}

/// A request to receive-pack as no git would send it.
fn raw_push(daemon: &Daemon, body: &[u8]) -> String {
    let file = daemon.data.with_extension("body");
    std::fs::write(&file, body).unwrap();
    let (login, data) = (format!("git:{}", token(daemon)), format!("@{}", file.display()));
    let kind = "Content-Type: application/x-git-receive-pack-request";
    curl(daemon, "/git/shop/git-receive-pack", &["-u", &login, "-H", kind, "--data-binary", &data, "-o", "-"]).0
}

#[test]
fn hostile_requests_are_survived() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    let first = pusher.greet("first");
    pusher.push(&["selkie", "main"]);
    let empty = pipe(&pusher, &["pack-objects", "--stdout"], b"");
    for name in ["refs/heads/../../hooks/x", "../../x", "refs/heads/a\nb", "HEAD", "refs/heads/main.lock"] {
        let command = format!("{:040} {first} {name}\0report-status side-band-64k\n", 0);
        let body = [format!("{:04x}{command}0000", command.len() + 4).into_bytes(), empty.clone()].concat();
        let answer = raw_push(&daemon, &body);
        assert!(!answer.contains("ok refs") && !answer.contains("is accepted"), "{name:?}: {answer}");
    }
    for body in [&b"garbage"[..], b"ffff", b"0000", b"", &[0x1f, 0x8b, 0, 1]] {
        raw_push(&daemon, body);
    }
    let refs = run("git", &["-C", &repository(&daemon).display().to_string(), "for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs.trim(), "refs/heads/main");
    pusher.git(&["tag", "t"]);
    let many: Vec<String> = (0..101).map(|n| format!("t:refs/tags/t{n}")).collect();
    let all: Vec<&str> = ["selkie", "main"].into_iter().chain(many.iter().map(String::as_str)).collect();
    pusher.greet("second");
    lines_with(&pusher.refused(&all), &["a push of 102 refs is not looked at"]);
    pusher.push(&["selkie", "main"]);
    assert_eq!(greeting(&daemon), "second");
}

/// A client that begins to send and never goes on.
struct Stuck(Child);

impl Stuck {
    fn start(daemon: &Daemon) -> Self {
        let url = format!("{}/git/shop/git-receive-pack", address(daemon));
        let mut curl = Command::new("curl");
        curl.args(["-sk", "-X", "POST", "-T", "-", "-u", &format!("git:{}", token(daemon)), &url]);
        curl.args(["-H", "Content-Type: application/x-git-receive-pack-request"]);
        Self(curl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_that_hang_keep_nobody_out_for_long() {
    let daemon = Daemon::start(&["--no-hosts"]);
    let pusher = Pusher::start(&daemon, "shop");
    pusher.greet("first");
    let (refs, login) = ("/git/shop/info/refs?service=git-receive-pack", format!("git:{}", token(&daemon)));
    let mut stuck = Vec::new();
    daemon.wait_for("they take all places of the application", || {
        stuck.push(Stuck::start(&daemon));
        curl(&daemon, refs, &["-u", &login]).1 == "503"
    });
    lines_with(&pusher.refused(&["selkie", "main"]), &["too many pushes and fetches at once"]);

    // Of another application nobody notices.
    daemon.selkie(&["app", "add", "other", "--push"]);
    daemon.kubectl(&["create", "namespace", "other"]);
    pusher.git(&["remote", "add", "other", &format!("{}/git/other", address(&daemon))]);
    pusher.write("other.yaml", &config_map("other", "one"));
    pusher.commit();
    lines_with(&pusher.push(&["other", "main"]), &["+ ConfigMap default/other", "is in force"]);
    daemon.wait_for("they are cut off", || curl(&daemon, refs, &["-u", &login]).1 == "200");
    drop(stuck);
}
