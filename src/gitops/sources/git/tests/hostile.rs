//! Repositories that mean harm. Their objects are written as they are, which the git command would not do.

use super::{fetch, paths, repository};
use git2::{ObjectType, Oid, Repository};

struct Crafted {
    directory: tempfile::TempDir,
    repository: Repository,
}

impl Crafted {
    fn new() -> Self {
        let directory = repository();
        let repository = Repository::open(directory.path()).unwrap();
        Self { directory, repository }
    }

    fn write(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.repository.odb().unwrap().write(kind, bytes).unwrap()
    }

    fn blob(&self, text: &str) -> Oid {
        self.write(ObjectType::Blob, text.as_bytes())
    }

    /// Entries have to be in order.
    fn tree(&self, entries: &[(&str, &[u8], Oid)]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, oid) in entries {
            bytes.extend([mode.as_bytes(), b" ", name, b"\0", oid.as_bytes()].concat());
        }
        self.write(ObjectType::Tree, &bytes)
    }

    /// Makes the tree what `main` says, and reads it.
    async fn read(&self, tree: Oid) -> Result<super::Snapshot, String> {
        self.commit(&format!("tree {tree}\nauthor t <t> 1 +0000\ncommitter t <t> 1 +0000\n\nx\n")).await
    }

    async fn commit(&self, text: &str) -> Result<super::Snapshot, String> {
        let commit = self.write(ObjectType::Commit, text.as_bytes());
        self.repository.reference("refs/heads/main", commit, true, "").unwrap();
        fetch(&format!("git+{}#main", self.directory.path().display())).await
    }
}

fn rejected(snapshot: &super::Snapshot) -> Vec<String> {
    snapshot.rejected.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn links_are_never_followed_out_of_the_tree_nor_in_circles() {
    let crafted = Crafted::new();
    let (file, link) = (crafted.blob("a: 1\n"), |target: &str| crafted.blob(target));
    let inner = crafted.tree(&[("100644", b"a.yaml", file)]);
    let tree = crafted.tree(&[
        ("120000", b"absolute.yaml", link("/etc/passwd")),
        ("120000", b"circle-1.yaml", link("circle-2.yaml")),
        ("120000", b"circle-2.yaml", link("circle-1.yaml")),
        ("120000", b"circle-3", link(".")),
        ("40000", b"dir", inner),
        ("120000", b"dir-link", link("dir")),
        ("120000", b"escaped.yaml", link("\u{1b}[2Jx")),
        ("120000", b"good.yaml", link("dir/a.yaml")),
        ("120000", b"itself.yaml", link("itself.yaml")),
        ("120000", b"out", link("../..")),
        ("120000", b"through.yaml", link("dir-link/a.yaml")),
        ("120000", b"up.yaml", link("dir/../../a.yaml")),
    ]);
    let snapshot = crafted.read(tree).await.unwrap();
    assert_eq!(paths(&snapshot), ["dir/a.yaml", "good.yaml"]);
    let hint = "(put the file itself there)";
    assert_eq!(
        rejected(&snapshot),
        [
            format!("absolute.yaml: the symbolic link leads out of the repository, to /etc/passwd {hint}"),
            format!("circle-1.yaml: the symbolic link leads to another one, circle-2.yaml {hint}"),
            format!("circle-2.yaml: the symbolic link leads to another one, circle-1.yaml {hint}"),
            format!("escaped.yaml: the symbolic link to [2Jx leads to no file {hint}"),
            format!("itself.yaml: the symbolic link leads to another one, itself.yaml {hint}"),
            format!("through.yaml: the symbolic link to dir-link/a.yaml leads to no file {hint}"),
            format!("up.yaml: the symbolic link leads out of the repository, to dir/../../a.yaml {hint}"),
        ]
    );
    assert_eq!(
        snapshot.warnings,
        [
            "circle-3: the symbolic link to . leads to no file",
            "dir-link: the symbolic link to the directory dir is not followed",
            "out: the symbolic link leads out of the repository, to ../..",
        ]
    );
    let name = format!("git+{}#main:dir-link", crafted.directory.path().display());
    assert!(fetch(&name).await.unwrap_err().contains("dir-link is a symbolic link, which is not followed"));
}

#[tokio::test]
async fn odd_names_are_refused_and_shown_harmlessly() {
    let crafted = Crafted::new();
    let file = crafted.blob("a: 1\n");
    let inner = crafted.tree(&[("100644", b"a.yaml", file)]);
    let tree = crafted.tree(&[
        ("40000", b"..", inner),
        ("40000", b".git", inner),
        ("100644", b"../../up.yaml", file),
        ("40000", b"a\nb", inner),
        ("100644", b"a\x1b]0;x\x07.yaml", file),
        ("100644", b"dir/../../up.yaml", file),
        ("100644", b"good.yaml", file),
        ("100644", b"no manifest\x1b", file),
        ("100644", b"\xff\xfe.yaml", file),
    ]);
    let snapshot = crafted.read(tree).await.unwrap();
    assert_eq!(paths(&snapshot), ["good.yaml"]);
    assert_eq!(
        rejected(&snapshot),
        [
            "a\\nb: the name has control characters (rename it)",
            "a\\x1b]0;x\\x07.yaml: the name has control characters (rename it)",
            "dir/../../up.yaml: the name has a slash (rename it)",
            "\\xff\\xfe.yaml: the name is not UTF-8 (rename it)",
        ]
    );
}

#[tokio::test]
async fn trees_without_end_end() {
    let crafted = Crafted::new();
    let file = crafted.blob("a: 1\n");
    // 10 to the power of 12 files in 12 trees: without manifests, and with.
    for (name, expected) in [("file", "more than 200000 files and directories"), ("a.yaml", "more than 10000 manifest")]
    {
        let mut tree = crafted.tree(&[("100644", name.as_bytes(), file)]);
        for _ in 0..12 {
            let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
            let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), tree)).collect();
            tree = crafted.tree(&entries);
        }
        let error = crafted.read(tree).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let mut deep = crafted.tree(&[("100644", b"a.yaml", file)]);
    for _ in 0..20_000 {
        deep = crafted.tree(&[("40000", b"d", deep)]);
    }
    let error = crafted.read(deep).await.unwrap_err();
    assert!(error.contains("nested more than 100 deep"), "{error}");
    let many: Vec<String> = (0..150).map(|n| format!("l{n:03}.yaml")).collect();
    let link = crafted.blob("/etc/passwd");
    let entries: Vec<_> = many.iter().map(|name| ("120000", name.as_bytes(), link)).collect();
    assert_eq!(crafted.read(crafted.tree(&entries)).await.unwrap().rejected.len(), 100);
}

#[tokio::test]
async fn huge_objects_are_not_read() {
    let crafted = Crafted::new();
    let huge = vec![0; 40 << 20];
    let blob = crafted.write(ObjectType::Blob, &huge);
    let tree = crafted.tree(&[("100644", b"huge.yaml", blob), ("100644", b"picture.png", blob)]);
    let snapshot = crafted.read(tree).await.unwrap();
    assert_eq!(
        rejected(&snapshot),
        [
            "huge.yaml: the file has 40.0 MiB, more than the 3.0 MiB a manifest may have (split it, or keep large data out of manifests)"
        ]
    );
    let link = crafted.read(crafted.tree(&[("120000", b"link.yaml", blob)])).await.unwrap_err();
    assert!(link.contains("blob") && link.contains("40.0 MiB, more than"), "{link}");
    let file = crafted.blob("a: 1\n");
    let names: Vec<String> = (0..600_000).map(|n| format!("{n:07}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), file)).collect();
    let wide = crafted.read(crafted.tree(&entries)).await.unwrap_err();
    assert!(wide.contains("tree") && wide.contains("more than the 16.0 MiB it may have"), "{wide}");
    let text = format!("tree {tree}\nauthor t <t> 1 +0000\ncommitter t <t> 1 +0000\n\n{}", "x".repeat(2 << 20));
    let long = crafted.commit(&text).await.unwrap_err();
    assert!(long.contains("commit") && long.contains("more than the 1.0 MiB it may have"), "{long}");
}
