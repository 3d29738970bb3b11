//! Kustomizations in repositories: bases from anywhere in the commit, and nothing from elsewhere.

use super::{fetch, git, repository};
use crate::api::registry::Registry;
use crate::gitops::render::{Rendered, render};
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::{Access, Location, Repositories};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

async fn rendered(root: &Path, path: &str) -> Rendered {
    git(root, &["add", "-A"]);
    git(root, &["commit", "-qm", "more"]);
    let snapshot = fetch(&format!("git+{}#main:{path}", root.display())).await.unwrap();
    render(&snapshot, &Registry::builtin(), "shop")
}

/// What is wrong, without the commit.
async fn refused(root: &Path, path: &str) -> String {
    let rendered = rendered(root, path).await;
    assert!(rendered.objects.is_empty());
    rendered.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn bases_are_found_in_the_whole_repository_and_nothing_else_counts() {
    let temp = repository();
    write(
        temp.path(),
        &[
            ("base/kustomization.yaml", "resources: [c.yaml]\n"),
            ("base/c.yaml", MAP),
            ("base/other.yaml", "not: read\n"),
            ("prod/kustomization.yaml", "resources: [../base]\nnamePrefix: prod-\npatches: [{path: link.yaml}]\n"),
            ("prod/real.yaml", &format!("{MAP}data: {{a: b}}\n")),
        ],
    );
    symlink("real.yaml", temp.path().join("prod/link.yaml")).unwrap();
    let rendered = rendered(temp.path(), "prod").await;
    assert_eq!(rendered.errors, []);
    let object = &rendered.objects[0];
    assert_eq!(object.describe(), "ConfigMap shop/prod-c");
    assert_eq!(object.value["data"]["a"], "b");
    assert_eq!(object.origin.to_string(), "base/c.yaml:1:1");
}

#[tokio::test]
async fn several_directories_are_read_and_nothing_beside_them() {
    let temp = repository();
    let map = |name: &str| MAP.replace("name: c", &format!("name: {name}"));
    write(
        temp.path(),
        &[
            ("base/kustomization.yaml", "resources: [c.yaml]\n"),
            ("base/c.yaml", MAP),
            ("plain/a.yaml", &map("a")),
            ("plain/deep/b.yaml", &map("b")),
            ("beside/x.yaml", "not: read\n"),
        ],
    );
    git(temp.path(), &["add", "-A"]);
    git(temp.path(), &["commit", "-qm", "more"]);
    let location = GitLocation::new(temp.path().to_str().unwrap(), "main", "").unwrap();
    let location = location.with_paths(&["base".to_owned(), "plain".to_owned()]).unwrap();
    let source = Repositories::new(temp.path().join("unused")).open(&Location::Git(location), true, Access::default());
    let rendered = render(&source.fetch().await.unwrap(), &Registry::builtin(), "shop");
    assert_eq!(rendered.errors, []);
    let names: Vec<&str> = rendered.objects.iter().map(|object| object.id.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_commit_that_changes_a_base_is_another_revision_of_the_overlay() {
    let temp = repository();
    write(temp.path(), &[("kustomization.yaml", "resources: [deploy/c.yaml]\n"), ("deploy/c.yaml", MAP)]);
    let names = |rendered: &Rendered| rendered.objects.iter().map(|o| o.id.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rendered(temp.path(), "").await), ["c"]);
    write(temp.path(), &[("deploy/c.yaml", &MAP.replace("name: c", "name: d"))]);
    assert_eq!(names(&rendered(temp.path(), "").await), ["d"]);
}

#[tokio::test]
async fn nothing_outside_of_the_repository_is_read() {
    let temp = repository();
    let root = temp.path();
    let over = |resources: &str| write(root, &[("k/kustomization.yaml", &format!("resources: [{resources}]\n"))]);
    over("../../etc");
    assert!(refused(root, "k").await.contains("k/kustomization.yaml:1:13: ../../etc leads out of the source"));
    over("/etc/passwd");
    assert!(refused(root, "k").await.contains("/etc/passwd is an absolute path"));
    for (target, why) in [
        ("/etc/passwd", "the symbolic link leads out of the repository"),
        ("../../secret", "the symbolic link leads out of the repository"),
        ("nowhere", "the symbolic link leads nowhere"),
    ] {
        over("link.yaml");
        let _ = fs::remove_file(root.join("k/link.yaml"));
        symlink(target, root.join("k/link.yaml")).unwrap();
        let error = refused(root, "k").await;
        assert!(error.contains(why), "{error}");
    }
    for remote in ["github.com/a/b", "git@example.com:a/b", "ssh://h/a/b", "git::https://h/a/b"] {
        over(&format!("\"{remote}\""));
        let error = refused(root, "k").await;
        assert!(error.contains("is elsewhere, and remote bases are not allowed"), "{error}");
    }
}

#[tokio::test]
async fn what_multiplies_has_an_end() {
    let temp = repository();
    // Each directory names both of the next level: two to the power of 20 of them.
    for level in 0..20 {
        for side in ["a", "b"] {
            let next = format!("resources: [../../{0}/a, ../../{0}/b]\nnamePrefix: {side}-\n", level + 1);
            write(temp.path(), &[(&format!("{level}/{side}/kustomization.yaml"), &next)]);
        }
    }
    for side in ["a", "b"] {
        let text = format!("namePrefix: {side}-\nresources: [c.yaml]\n");
        write(temp.path(), &[(&format!("20/{side}/kustomization.yaml"), &text), (&format!("20/{side}/c.yaml"), MAP)]);
    }
    let error = refused(temp.path(), "0/a").await;
    assert!(error.contains("more than 2000 kustomizations are used"), "{error}");
    // Each operation doubles the object.
    let operations: String = (0..40).map(|n| format!("- {{op: copy, from: /data, path: /data/x{n}}}\n")).collect();
    let target = "patches: [{path: p.yaml, target: {kind: ConfigMap}}]\nresources: [c.yaml]\n";
    let map = format!("{MAP}data: {{a: b}}\n");
    write(temp.path(), &[("p/kustomization.yaml", target), ("p/p.yaml", &operations), ("p/c.yaml", &map)]);
    let error = refused(temp.path(), "p").await;
    assert!(error.contains("the patch copies more than 100000 values"), "{error}");
    // Each replacement doubles a text.
    let double = "- source: {kind: ConfigMap, fieldPath: data.a}\n  targets: [{select: {kind: ConfigMap}, \
                  fieldPaths: [data.a], options: {delimiter: \",\", index: 9999999}}]\n";
    let text = format!("resources: [c.yaml]\nreplacements:\n{}", double.repeat(60));
    write(temp.path(), &[("p/kustomization.yaml", &text)]);
    let error = refused(temp.path(), "p").await;
    assert!(error.contains("takes more than 128 MiB"), "{error}");
}
