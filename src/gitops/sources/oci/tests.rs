//! Artifacts on their way to a registry and back.
#![allow(clippy::unwrap_used)]

mod server;

use super::*;
use crate::gitops::sources::Repositories;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use server::{Behaviour, Login, PASSWORD, Server, USER};
use std::path::PathBuf;

fn location(server: &Server, rest: &str) -> OciLocation {
    OciLocation::parse(&format!("oci://{}/team/app{rest}", server.address)).unwrap()
}

fn login(password: &str) -> RegistryAccess {
    let data = [("username", USER), ("password", password)];
    let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
    RegistryAccess::from_secret(&Secret { data: Some(data.into()), ..Secret::default() }).unwrap()
}

fn nobody() -> RegistryAccess {
    RegistryAccess { logins: Some(login::Logins::default()), ..RegistryAccess::default() }
}

fn source(server: &Server, rest: &str, registry: RegistryAccess) -> OciSource {
    let access = Access { registry, timeout: Duration::from_secs(30), ..Access::default() };
    OciSource::new(location(server, rest), &Repositories::new(PathBuf::from("/nowhere")), access)
}

async fn put(server: &Server, tag: &str, access: &RegistryAccess, files: &[(&str, &str)]) -> String {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    let about = [(artifact::REVISION, "main@sha1:0123"), (artifact::SOURCE, "https://me:hush@git.example/r")];
    let about = about.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    push(&location(server, &format!(":{tag}")), access, &files, about).await.unwrap()
}

fn texts(snapshot: &Snapshot) -> Vec<(&str, &str)> {
    snapshot.files.iter().map(|file| (&*file.path, std::str::from_utf8(&file.bytes).unwrap())).collect()
}

#[tokio::test]
async fn what_is_pushed_is_read_again_and_asked_for_only_when_it_changed() {
    let server = Server::start().await;
    let first =
        put(&server, "latest", &nobody(), &[("web.yaml", "a: 1"), ("readme.md", "x"), ("d/e.yml", "b: 1")]).await;
    let source = source(&server, "", nobody());
    let snapshot = source.fetch().await.unwrap();
    assert_eq!(texts(&snapshot), [("d/e.yml", "b: 1"), ("web.yaml", "a: 1")]);
    assert_eq!(snapshot.revision, first);
    assert_eq!(snapshot.commit.unwrap().subject, "main@sha1:0123 of https://***@git.example/r");
    server.asked();
    assert_eq!(source.fetch().await.unwrap().revision, first);
    let asked: Vec<_> = server.asked().into_iter().filter(|line| !line.ends_with("/v2/")).collect();
    assert_eq!(asked, ["HEAD /v2/team/app/manifests/latest"]);

    // The same files make the same artifact; others are another revision.
    assert_eq!(
        put(&server, "again", &nobody(), &[("web.yaml", "a: 1"), ("readme.md", "x"), ("d/e.yml", "b: 1")]).await,
        first
    );
    let second = put(&server, "latest", &nobody(), &[("web.yaml", "a: 2")]).await;
    let snapshot = source.fetch().await.unwrap();
    assert_eq!((texts(&snapshot), &snapshot.revision), (vec![("web.yaml", "a: 2")], &second));
}

#[tokio::test]
async fn what_was_heard_counts_for_the_interval_or_until_somebody_wants_more() {
    let server = Server::start().await;
    put(&server, "latest", &nobody(), &[("a.yaml", "a: 1")]).await;
    let mut source = source(&server, "", nobody());
    source.access.max_age = Duration::from_secs(3600);
    source.fetch().await.unwrap();
    server.asked();
    source.fetch().await.unwrap();
    assert_eq!(server.asked(), Vec::<String>::new());
    source.expire();
    source.fetch().await.unwrap();
    assert!(!server.asked().is_empty());
}

#[tokio::test]
async fn a_chart_is_what_helm_packs() {
    let server = Server::start().await;
    let files = [
        ("shop/Chart.yaml", "name: shop\n"),
        ("shop/templates/web.yaml", "a: {{ .Values.a }}"),
        ("shop/values.txt", "x"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into();
    let (layer, _) = content::pack(&files).unwrap();
    let (location, access, config) = (location(&server, ":1.0.0"), nobody(), b"{\"name\":\"shop\"}".to_vec());
    let registry = Registry::new(&location, &access, Purpose::Push).await.unwrap();
    let own = Descriptor::of("application/vnd.cncf.helm.config.v1+json", &config);
    let manifest = Manifest::of(own, Descriptor::of(artifact::CHART, &layer), BTreeMap::new());
    registry.upload(&manifest.layers[0], layer).await.unwrap();
    registry.upload(&manifest.config, config).await.unwrap();
    registry.tag("1.0.0", &manifest).await.unwrap();
    for (rest, root) in [("#semver:1.x", "shop"), (":1.0.0#:shop", "shop")] {
        let snapshot = source(&server, rest, nobody()).fetch().await.unwrap();
        let [chart] = &snapshot.charts[..] else { panic!("{snapshot:?}") };
        let paths: Vec<&str> = chart.files.iter().map(|file| &*file.path).collect();
        assert_eq!((&*chart.root, paths), (root, vec!["Chart.yaml", "templates/web.yaml", "values.txt"]));
        assert!(snapshot.files.is_empty() && snapshot.rejected.is_empty());
    }
}

#[tokio::test]
async fn tags_digests_ranges_and_directories() {
    let server = Server::start().await;
    let mut digests = Vec::new();
    for tag in ["1.2.0", "1.10.0", "2.0.0", "nightly"] {
        digests.push(put(&server, tag, &nobody(), &[("x.yaml", tag), ("deploy/y.yaml", tag)]).await);
    }
    let digest = format!("@{}", digests[1]);
    for (rest, tag, count) in [
        (":1.2.0", "1.2.0", 2),
        ("#semver:1.x", "1.10.0", 2),
        ("#semver:*:deploy", "2.0.0", 1),
        (digest.as_str(), "1.10.0", 2),
    ] {
        server.behave(Behaviour { silent: rest == ":1.2.0", ..Behaviour::default() });
        let snapshot = source(&server, rest, nobody()).fetch().await.unwrap();
        assert_eq!(snapshot.files.len(), count, "{rest}: {:?}", texts(&snapshot));
        assert!(snapshot.files.iter().all(|file| file.bytes == tag), "{rest}: {:?}", texts(&snapshot));
    }
    for (rest, part) in [
        (":gone", "there is no tag \"gone\""),
        ("#semver:^3", "no tag is a version in the range"),
        (":1.2.0#:elsewhere", "has no \"elsewhere\""),
    ] {
        let error = source(&server, rest, nobody()).fetch().await.unwrap_err().to_string();
        assert!(error.contains(part) && error.starts_with("oci://127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn logins_are_told_to_the_registry_and_to_nobody_else() {
    let server = Server::start().await;
    for kind in [Login::Basic, Login::Token] {
        server.behave(Behaviour { login: kind, redirects: true, parrots: true, ..Behaviour::default() });
        put(&server, "latest", &login(PASSWORD), &[("a.yaml", &format!("{kind:?}: 1"))]).await;
        assert_eq!(source(&server, "", login(PASSWORD)).fetch().await.unwrap().files.len(), 1, "{kind:?}");
        for (access, part) in [(login("wrong-password"), "does not let \"me\" pull"), (nobody(), "without a login")] {
            let error = source(&server, "", access).fetch().await.unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("spec.source.secretRef"), "{kind:?}: {error}");
            let hidden = ["wrong-password", "bWU6d3JvbmctcGFzc3dvcmQ="];
            assert!(hidden.iter().all(|secret| !error.contains(secret)), "{kind:?}: {error}");
        }
        let rest = location(&server, "");
        let refused = push(&rest, &nobody(), &Files::from([("a".to_owned(), vec![1])]), BTreeMap::new()).await;
        assert!(refused.unwrap_err().hint.contains("podman login"), "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() {
    let server = Server::start().await;
    let digest = put(&server, "latest", &nobody(), &[("aaa.yaml", "a: 1")]).await;
    server.behave(Behaviour { lies: true, ..Behaviour::default() });
    let error = source(&server, "", nobody()).fetch().await.unwrap_err().to_string();
    assert!(error.contains("the manifest is not what its digest says"), "{error}");
    let registry = Registry::new(&location(&server, ""), &nobody(), Purpose::Pull).await.unwrap();
    let manifest = Manifest::parse(&server.manifest(&digest)).unwrap();
    let error = registry.blob(&manifest.layers[0]).await.unwrap_err();
    assert!(error.what.contains("the layer is not what its digest says"), "{error}");
    let huge = Descriptor { size: 1 << 40, ..manifest.layers[0].clone() };
    assert!(registry.blob(&huge).await.unwrap_err().what.contains("more than the 64.0 MiB"));
    // More than was said is not read to its end.
    let short = Descriptor { size: 1, ..manifest.layers[0].clone() };
    assert!(registry.blob(&short).await.unwrap_err().what.contains("more than 1 bytes"));
}

#[tokio::test]
async fn a_registry_that_hangs_is_left_after_the_timeout_and_asked_again() {
    let server = Server::start().await;
    put(&server, "latest", &nobody(), &[("a.yaml", "a: 1")]).await;
    let mut source = source(&server, "", nobody());
    server.behave(Behaviour { hangs: true, ..Behaviour::default() });
    source.access.timeout = Duration::from_millis(300);
    let error = source.fetch().await.unwrap_err().to_string();
    assert!(error.contains("no whole answer"), "{error}");
    server.behave(Behaviour::default());
    source.access.timeout = Duration::from_secs(30);
    assert_eq!(source.fetch().await.unwrap().files.len(), 1);
}

#[tokio::test]
async fn signatures_of_commits_are_not_taken_for_granted() {
    let server = Server::start().await;
    let mut source = source(&server, "", nobody());
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHe2B4xFrBWKfi9LsRfHZFKk4eRx7gSL36QZj0TiQ6yN";
    let data = [("key".to_owned(), ByteString(key.as_bytes().to_vec()))].into();
    let secret = Secret { data: Some(data), ..Secret::default() };
    source.access.signers = Some(crate::gitops::sources::Signers::from_secret(&secret).unwrap());
    assert!(source.fetch().await.unwrap_err().to_string().contains("spec.source.verify is for commits"));
    assert!(server.asked().is_empty());
}
