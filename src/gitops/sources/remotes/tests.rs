//! Remote bases from repositories made with the git command.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::api::registry::Registry;
use crate::gitops::render::render;
use crate::gitops::sources::git::tests::git;
use crate::gitops::sources::{Location, Signers, Snapshot};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use std::fs;
use std::path::Path;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";

/// Writes files and commits them; the first time in a repository that is made for that.
fn commit(root: &Path, files: &[(&str, &str)]) -> String {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git(root, &["init", "-q"]);
    git(root, &["add", "-A"]);
    git(root, &["commit", "-qm", "more"]);
    git(root, &["rev-parse", "HEAD"])
}

/// Allowed, and looked at anew each time.
async fn read(source: &str, remote_bases: RemoteBases) -> Result<Snapshot, String> {
    let mirrors = tempfile::tempdir().unwrap();
    let access = Access { remote_bases, ..Access::default() };
    let repositories = Repositories::new(mirrors.path().to_path_buf());
    let source = repositories.open(&Location::parse(source).unwrap(), true, access);
    source.fetch().await.map_err(|error| error.to_string())
}

/// What is wrong once it is rendered.
async fn refused(root: &Path, remote_bases: RemoteBases) -> String {
    let snapshot = read(&root.display().to_string(), remote_bases).await.unwrap();
    let rendered = render(&snapshot, &Registry::builtin(), "shop");
    assert!(rendered.objects.is_empty());
    rendered.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    let rendered = render(snapshot, &Registry::builtin(), "shop");
    assert_eq!(rendered.errors, []);
    rendered.objects.iter().map(|object| format!("{} {}", object.origin, object.id.name)).collect()
}

/// A base that names another one, and a kustomization of the first.
struct Chain {
    folder: tempfile::TempDir,
    first: String,
    second: String,
}

impl Chain {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("file://{}", folder.path().join(name).display());
        let second = commit(
            &folder.path().join("second"),
            &[
                ("deep/kustomization.yaml", "resources: [../shared]\n"),
                ("shared/kustomization.yaml", "resources: [c.yaml]\n"),
                ("shared/c.yaml", MAP),
            ],
        );
        let first = format!("resources: ['{}//deep?ref=main']\nnamePrefix: first-\n", at("second"));
        let first = commit(&folder.path().join("first"), &[("base/kustomization.yaml", &first)]);
        let own = format!("# ours\nresources:\n- {}//base?timeout=30s&submodules=true\n", at("first"));
        commit(&folder.path().join("own"), &[("kustomization.yaml", &own)]);
        Self { folder, first, second }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn bases_of_bases_are_fetched_at_one_commit_each() {
    let chain = Chain::new();
    let own = chain.path("own").display().to_string();
    let second = chain.path("second").display().to_string();
    for source in [own.clone(), format!("git+{own}#main")] {
        let snapshot = read(&source, RemoteBases::Allowed).await.unwrap();
        let place = format!("file://{second}#{}:shared/c.yaml:1:1", &chain.second[..7]);
        assert_eq!(names(&snapshot), [format!("{place} first-c")]);
        let bases: Vec<String> = snapshot.bases().into_values().collect();
        assert_eq!(bases, [chain.first.clone(), chain.second.clone()]);
    }
    let before = read(&own, RemoteBases::Allowed).await.unwrap();
    commit(&chain.path("second"), &[("shared/c.yaml", &MAP.replace("name: c", "name: d"))]);
    let after = read(&own, RemoteBases::Allowed).await.unwrap();
    assert!(names(&after)[0].ends_with("first-d"));
    assert_ne!(before.revision, after.revision, "of a directory, all files count");
}

#[tokio::test]
async fn nothing_is_fetched_where_that_is_not_allowed() {
    let chain = Chain::new();
    let error = refused(&chain.path("own"), RemoteBases::Refused).await;
    assert!(
        error.contains("kustomization.yaml:3:3: file:///") && error.contains("spec.kustomize.remoteBases"),
        "{error}"
    );
    // What is pushed is on this machine, and still somebody else's.
    let error = refused(&chain.path("own"), RemoteBases::OfOthers).await;
    assert!(error.contains("may not name repositories of this machine"), "{error}");
    fs::write(chain.path("own/kustomization.yaml"), "resources: [https://h/o/r//../../etc]\n").unwrap();
    let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
    assert!(error.contains("kustomization.yaml:1:13: https://h/o/r//../../etc: its path leads out"), "{error}");
    for (entry, why) in [
        ("https://-oProxyCommand=id/o/r", "starts with a dash"),
        ("https://h/o/r?ref=--upload-pack", "is not a branch"),
        ("ext::https://h/o/r", "known are https"),
        ("https://me:hush@h/o/r/a.yaml", "https://***@h/o/r/a.yaml: single files are not fetched"),
    ] {
        fs::write(chain.path("own/kustomization.yaml"), format!("resources: ['{entry}']\n")).unwrap();
        let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
        assert!(error.contains(why), "{entry}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_fetched_names_the_entry_and_gives_no_snapshot() {
    let chain = Chain::new();
    fs::remove_dir_all(chain.path("second")).unwrap();
    let error = read(&chain.path("own").display().to_string(), RemoteBases::Allowed).await.unwrap_err();
    let place = format!("#{}:base/kustomization.yaml:1:13: git file://", &chain.first[..7]);
    assert!(error.contains(&place) && error.contains("is there a git repository?"), "{error}");
    // A directory that is not there is an error of the entry.
    let entry = format!("resources: ['file://{}//none']\n", chain.path("first").display());
    fs::write(chain.path("own/kustomization.yaml"), entry).unwrap();
    let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
    assert!(error.contains("kustomization.yaml:1:13: there is no file or directory file://"), "{error}");
}

#[tokio::test]
async fn cycles_crowds_and_ways_out_are_refused() {
    let chain = Chain::new();
    let at = |name: &str, rest: &str| format!("file://{}{rest}", chain.path(name).display());
    commit(
        &chain.path("second"),
        &[("deep/kustomization.yaml", &format!("resources: ['{}']\n", at("first", "//base")))],
    );
    let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
    assert!(error.contains("cycle: ") && error.contains("deep/kustomization.yaml:1:13"), "{error}");
    commit(&chain.path("second"), &[("deep/kustomization.yaml", "resources: [../../own]\n")]);
    let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
    assert!(error.contains("../../own leads out of the source"), "{error}");
    commit(&chain.path("second"), &[("deep/kustomization.yaml", "resources: [\"\\0x/c.yaml\"]\n")]);
    let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
    assert!(error.contains("is no path"), "{error}");
    let crowd: String = (0..=MOST).map(|n| format!("- {}\n", at("second", &format!("//shared?ref=t{n}")))).collect();
    fs::write(chain.path("own/kustomization.yaml"), format!("resources:\n{crowd}")).unwrap();
    for n in 0..=MOST {
        commit(&chain.path("second"), &[("shared/c.yaml", &MAP.replace("name: c", &format!("name: c{n}")))]);
        git(&chain.path("second"), &["tag", &format!("t{n}")]);
    }
    let error = refused(&chain.path("own"), RemoteBases::Allowed).await;
    assert!(error.contains("more than 20 repositories are named"), "{error}");
}

#[test]
fn credentials_go_to_the_own_server_only_and_signed_commits_pin_their_bases() {
    let secret = |key: &str, value: &str| {
        let data = [(key.to_owned(), ByteString(value.into()))];
        Secret { data: Some(data.into()), ..Secret::default() }
    };
    let credentials = Credentials::from_secret(&secret("bearerToken", "hush")).unwrap();
    let at = |url: &str| GitLocation::new(url, "", "").unwrap();
    let rules = |remote_bases| Rules {
        own: Some(at("https://h/o/own")),
        local: false,
        access: Access { credentials: credentials.clone(), remote_bases, ..Access::default() },
    };
    let asked_with = |remote_bases, url: &str| rules(remote_bases).access_to(&at(url)).credentials;
    assert!(asked_with(RemoteBases::Allowed, "https://H:443/o/base") == credentials);
    for url in ["http://h/o/base", "https://h:8443/o/base", "https://other/o/base", "git@h:o/base"] {
        assert!(asked_with(RemoteBases::Allowed, url) == Credentials::none(), "{url}");
        assert!(asked_with(RemoteBases::ByUser, url) == Credentials::default(), "{url}");
    }
    assert_ne!(Credentials::none().digest("r"), Credentials::default().digest("r"), "mirrors are not shared");
    assert!(!Credentials::none().is_empty(), "keys of this machine are not tried");

    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKca2F+mC1V43dZyvM8vPjm8qHREbDBtF2eSNPwWePXq";
    let mut strict = rules(RemoteBases::Allowed);
    strict.access.signers = Some(Signers::from_secret(&secret("me.pub", key)).unwrap());
    let named = |reference: &str| {
        let remote = Remote { url: "https://h/o/base".into(), reference: reference.into(), ..Remote::default() };
        strict.admit(None, &remote)
    };
    assert!(named("main").unwrap_err().contains("40 digits"));
    assert!(named(&"a".repeat(40)).is_ok());
}
