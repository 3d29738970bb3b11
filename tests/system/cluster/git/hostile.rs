//! Repositories that mean harm, each followed by an application beside one that is well: every one is
//! refused with its reason, the other goes on, nothing is executed.

use super::Follower;
use crate::git_https::{HttpsServer, PASSWORD, USER};
use crate::repository::{GitRepository, git};
use git2::{ObjectType, Oid, Repository};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const BOMB: &str = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

/// A repository whose objects are written as they are, which the git command would not do.
struct Crafted(Repository);

impl Crafted {
    fn new(root: &Path, name: &str) -> Self {
        Self(Repository::init_bare(root.join(format!("{name}.git"))).unwrap())
    }

    fn write(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.0.odb().unwrap().write(kind, bytes).unwrap()
    }

    /// Entries have to be in order.
    fn tree(&self, entries: &[(&str, &str, Oid)]) -> Oid {
        let entry = |(mode, name, oid): &(&str, &str, Oid)| {
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0", oid.as_bytes()].concat()
        };
        self.write(ObjectType::Tree, &entries.iter().flat_map(entry).collect::<Vec<u8>>())
    }

    fn publish(&self, tree: Oid) {
        let text = format!("tree {tree}\nauthor t <t> 1 +0000\ncommitter t <t> 1 +0000\n\nx\n");
        let commit = self.write(ObjectType::Commit, text.as_bytes());
        self.0.reference("refs/heads/main", commit, true, "").unwrap();
        self.0.set_head("refs/heads/main").unwrap();
    }

    fn file(root: &Path, name: &str, (mode, file, content): (&str, &str, &[u8])) {
        let crafted = Self::new(root, name);
        let blob = crafted.write(ObjectType::Blob, content);
        crafted.publish(crafted.tree(&[(mode, file, blob)]));
    }
}

fn craft(root: &Path) {
    Crafted::file(root, "alias-bomb", ("100644", "bomb.yaml", BOMB.as_bytes()));
    Crafted::file(root, "link", ("120000", "out.yaml", b"../../../../etc/passwd"));
    Crafted::file(root, "absolute-link", ("120000", "out.yaml", b"/etc/passwd"));
    Crafted::file(root, "circle", ("120000", "circle.yaml", b"circle.yaml"));
    Crafted::file(root, "name", ("100644", "a\u{1b}[2J.yaml", map("name").as_bytes()));
    Crafted::file(root, "path", ("100644", "x/../../a.yaml", map("path").as_bytes()));
    Crafted::file(root, "blob", ("100644", "huge.yaml", &vec![b'#'; 40 << 20]));
    let crafted = Crafted::new(root, "tree");
    let mut tree = crafted.tree(&[("100644", "file", crafted.write(ObjectType::Blob, b"x"))]);
    for _ in 0..12 {
        let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
        tree = crafted.tree(&names.iter().map(|name| ("40000", name.as_str(), tree)).collect::<Vec<_>>());
    }
    crafted.publish(tree);
    let crafted = Crafted::new(root, "deep");
    let mut deep = crafted.tree(&[("100644", "a.yaml", crafted.write(ObjectType::Blob, b"a: 1\n"))]);
    // git itself ends at 2048.
    for _ in 0..500 {
        deep = crafted.tree(&[("40000", "d", deep)]);
    }
    crafted.publish(deep);
}

/// A small pack with an object that takes 150 MiB to put together.
fn craft_differences(root: &Path) {
    let work = root.join("difference.git");
    std::fs::create_dir(&work).unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    let mut content = vec![b'x'; 150 << 20];
    for (name, last) in [("one", b'1'), ("two", b'2')] {
        *content.last_mut().unwrap() = last;
        std::fs::write(work.join(name), &content).unwrap();
    }
    std::fs::write(work.join("map.yaml"), map("difference")).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "differences"]);
    git(&work, &["-c", "core.bigFileThreshold=1g", "repack", "-adfq", "--depth=5", "--window=5"]);
}

/// A local repository that would do something at every turn, if it were let.
fn craft_executing(root: &Path, mark: &str) -> PathBuf {
    let work = root.join("executing");
    std::fs::create_dir(&work).unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(work.join("map.yaml"), map("executing")).unwrap();
    std::fs::write(work.join(".gitattributes"), "* filter=evil diff=evil\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "one"]);
    for key in ["core.fsmonitor", "core.sshCommand", "core.gitProxy", "filter.evil.smudge", "filter.evil.clean"] {
        git(&work, &["config", key, mark]);
    }
    for key in ["uploadpack.packObjectsHook", "core.pager", "core.editor", "credential.helper", "diff.evil.textconv"] {
        git(&work, &["config", key, mark]);
    }
    for hook in ["post-checkout", "post-merge", "pre-receive", "update", "post-update", "reference-transaction"] {
        let path = work.join(".git/hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{mark}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    work
}

fn application(name: &str, url: &str) -> Value {
    json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "selkie-system"},
        "spec": {"source": {"repoURL": url, "secretRef": {"name": "login"}}, "interval": "2s"}})
}

#[test]
fn harmful_repositories_are_refused_and_hold_up_nobody() {
    let repository = GitRepository::new();
    let root = repository.folder.path();
    craft(root);
    craft_differences(root);
    let marker = root.join("marker");
    let mark = format!("touch {}", marker.display());
    let executing = craft_executing(root, &mark);
    // A submodule, next to what is well.
    repository.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../repo.git", "sub"]);
    repository.commit("first");
    repository.push();

    let server = HttpsServer::start(root);
    let login = json!({"ca.crt": server.authority, "username": USER, "password": PASSWORD});
    let follower = Follower::start(&server.url(), login);
    let url = |name: &str| server.url().replace("/repo.git", &format!("/{name}.git"));
    let external = format!("ext::{mark}");
    let option = format!("--upload-pack={mark}");
    let dashed = format!("git@127.0.0.1:{option}");
    let proxy = format!("ssh://-oProxyCommand={}/r", mark.replace(' ', "$IFS"));
    let cases: [(&str, String, &[&str]); 14] = [
        ("alias-bomb", url("alias-bomb"), &["bomb.yaml"]),
        ("link", url("link"), &["out.yaml: the symbolic link leads out of the repository", "etc/passwd"]),
        ("absolute-link", url("absolute-link"), &["out.yaml: the symbolic link leads out of the repository"]),
        ("circle", url("circle"), &["circle.yaml: the symbolic link leads to another one"]),
        ("name", url("name"), &["x1b[2J.yaml: the name has control characters"]),
        ("path", url("path"), &["x/../../a.yaml: the name has a slash"]),
        ("blob", url("blob"), &["huge.yaml: the file has 40.0 MiB, more than the 3.0 MiB"]),
        ("tree", url("tree"), &["more than 200000 files and directories"]),
        ("deep", url("deep"), &["nested more than 100 deep"]),
        ("difference", url("difference"), &["larger than 128 MiB"]),
        ("external", external, &["remote helpers are not supported"]),
        ("option", option, &["starts with a dash"]),
        ("dashed", dashed, &["starts with a dash"]),
        ("proxy", proxy, &["starts with a dash"]),
    ];
    let mut items: Vec<Value> = cases.iter().map(|(name, url, _)| application(name, url)).collect();
    items.push(application("executing", &executing.display().to_string()));
    follower.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    for (name, _, expected) in &cases {
        follower.wait_errors(name, expected);
    }
    let there = || follower.daemon.value(&["configmap", "executing"], "{.metadata.name}") == "executing";
    follower.daemon.wait_for("what wants to execute something is just read", there);
    let submodule = "sub: submodules are not followed";
    follower.daemon.wait_for("the submodule is told", || follower.daemon.log().contains(submodule));

    repository.commit("second");
    repository.push();
    follower.wait_greeting("second");
    for (name, ..) in &cases {
        assert!(follower.daemon.value(&["configmap", name], "{.metadata.name}").is_empty(), "{name} is in force");
    }
    assert!(!marker.exists(), "something was executed");
    assert!(!follower.daemon.log().contains('\u{1b}'), "{}", follower.daemon.log());
    let status = std::fs::read_to_string(format!("/proc/{}/status", follower.daemon.pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most < 800 << 10, "the daemon needed {most} kB");
}
