//! Files that `sops` itself encrypted (see `fixtures/README.md`) come out as they were; what was changed since, or is
//! for others, does not, and nothing of it is told.

#![allow(clippy::unwrap_used)]
mod hostile;

use super::*;
use crate::gitops::kinds::FixedKinds;
use crate::gitops::render::kustomize::NoRoots;
use crate::gitops::render::{render, yaml};
use crate::gitops::sources::disk::Disk;
use serde_json::json;
use std::fs;
use std::path::Path;

/// Files whose values are encrypted, and no names.
const FILES: [&str; 8] = [
    "secret.yaml",
    "types.yaml",
    "suffix.yaml",
    "except.yaml",
    "only.yaml",
    "marked.yaml",
    "several.yaml",
    "secret.json",
];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gitops/sops/fixtures").join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

fn keys(names: &[&str]) -> Keys {
    let mut keys = Keys::of("the test");
    names.iter().for_each(|name| keys.read(name, &text(&format!("{name}.txt"))).unwrap());
    keys
}

fn opened(name: &str, bytes: &[u8], keys: &Keys) -> Result<Option<Bytes>, String> {
    let opened = plain(&name.into(), bytes, keys).map_err(|error| error.to_string());
    if let Err(error) = &opened {
        assert!(error.starts_with(name) && !error.contains("hunter") && !error.contains("AGE-SECRET"), "{error}");
    }
    opened
}

fn open(name: &str) -> String {
    let bytes = opened(name, &fixture(name), &keys(&["one"])).unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Why the file is not decrypted.
fn refused(name: &str, text: &str, names: &[&str]) -> String {
    match opened(name, text.as_bytes(), &keys(names)) {
        Err(error) => error,
        Ok(found) => panic!("{name} was taken: {found:?}"),
    }
}

fn documents(name: &str, text: &str) -> Vec<yaml::Document> {
    yaml::documents(&name.into(), text).unwrap()
}

fn values(name: &str, text: &str) -> Vec<Value> {
    documents(name, text).into_iter().map(|document| document.value).collect()
}

#[test]
fn all_rules_and_types_come_out_as_they_were() {
    for name in FILES {
        assert_eq!(values(name, &open(name)), values(name, &text(&format!("plain/{name}"))), "{name}");
    }
    assert!(serde_json::from_str::<Value>(&open("secret.json")).is_ok());
}

#[test]
fn lines_stay_where_they_are() {
    for name in FILES {
        let (before, after) = (text(name), open(name));
        assert_eq!(before.lines().count(), after.lines().count(), "{name}");
        for (old, new) in documents(name, &before).iter().zip(documents(name, &after)) {
            for field in ["kind", "metadata", "metadata.name", "stringData.a", "data.int", "data.list[2][1].deep"] {
                assert_eq!(old.spans.find(field), new.spans.find(field), "{name}: {field}");
            }
        }
    }
}

#[test]
fn other_formats_come_out_as_they_were() {
    assert_eq!(open("settings.env").trim_end(), text("plain/settings.env").trim_end());
    assert_eq!(open("token.txt"), "hunter2\n");
    let blob = opened("blob.bin", &fixture("blob.bin"), &keys(&["one"])).unwrap().unwrap();
    assert_eq!(blob, fixture("plain/blob.bin"));
}

#[test]
fn any_of_the_recipients_will_do() {
    for key in ["one", "two"] {
        let found = opened("several.yaml", &fixture("several.yaml"), &keys(&["other", key])).unwrap();
        assert!(found.is_some_and(|bytes| memchr::memmem::find(&bytes, b"hunter4").is_some()));
    }
}

#[test]
fn what_is_not_encrypted_is_left_alone() {
    let inside = format!("kind: ConfigMap\ndata:\n  file: |\n    {}", text("only.yaml").replace('\n', "\n    "));
    let own = "kind: Thing\nsops: {mine: true, mac: ''}\nnote: ENC[AES256_GCM,\n";
    for (name, text) in
        [("a.yaml", inside.as_str()), ("b.yaml", own), ("c.yaml", "a: ["), ("d.yaml", "ENC[AES256_GCM,")]
    {
        assert_eq!(opened(name, text.as_bytes(), &Keys::default()), Ok(None), "{name}");
    }
    assert_eq!(opened("e", &[0xff, 0xfe], &Keys::default()), Ok(None));
}

#[test]
fn keys_are_read_and_told_by_their_public_halves() {
    let one = "age1vazlwcxyqz0zf04mpru55dweer7qtlu6zytf8j4zmqzmz8hqdglqsum06f";
    assert_eq!(keys(&["one"]).identities[0].recipient(), one);
    assert_eq!(format!("{:?}", keys(&["one"]).identities), format!("[Identity({one})]"));
    let secret = |data: &[(&str, &str)]| {
        let data = data.iter().map(|(name, text)| ((*name).into(), k8s_openapi::ByteString(text.as_bytes().to_vec())));
        let secret = k8s_openapi::api::core::v1::Secret { data: Some(data.collect()), ..Default::default() };
        Keys::from_secret(&secret, "Secret a").map(|keys| keys.identities.len())
    };
    let (one, two) = (text("one.txt"), text("two.txt"));
    assert_eq!(secret(&[("a.agekey", &one), ("b.agekey", &two), ("c.asc", "other")]), Ok(2));
    assert_eq!(secret(&[("a.agekey", &format!("{one}{two}"))]), Ok(2));
    for (entry, wrong) in [
        ("AGE-SECRET-KEY-1HUNTER2", "a.agekey, line 1: this is no age key: expected AGE-SECRET-KEY-1..."),
        (&one.to_lowercase().replace("# ", ""), "this is no age key"),
        (&format!("\n{}", keys(&["two"]).identities[0].recipient()), "line 2: this is a public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2", "ssh keys are not supported"),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "an encrypted age key"),
        ("AGE-PLUGIN-YUBIKEY-1HUNTER2", "an age plugin"),
        ("AGE-SECRET-KEY-PQ-1HUNTER2", "a post-quantum key"),
        ("# nothing", "it holds no age key: expected an entry NAME.agekey"),
    ] {
        let told = secret(&[("a.agekey", entry)]).unwrap_err();
        assert!(told.contains(wrong) && !told.contains("HUNTER2") && !told.contains("hunter2"), "{told}");
    }
}

/// A repository with a kustomization of encrypted files.
fn kustomized(extra: &str) -> (tempfile::TempDir, Snapshot) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["secret.yaml", "only.yaml", "settings.env", "blob.bin", "token.txt", "secret.json"] {
        fs::write(folder.path().join(name), fixture(name)).unwrap();
    }
    let kustomization = format!("resources: [secret.yaml]\ngeneratorOptions: {{disableNameSuffixHash: true}}\n{extra}");
    fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
    let (disk, inside) = Disk::around(folder.path()).unwrap();
    let snapshot = Snapshot::kustomized("test", &disk, &inside, &NoRoots);
    (folder, snapshot)
}

const KINDS: [(&str, &str, bool); 2] = [("v1", "Secret", true), ("v1", "ConfigMap", true)];

#[test]
fn kustomizations_are_built_of_what_files_were() {
    let (_folder, snapshot) = kustomized(
        "secretGenerator:\n- {name: made, files: [blob.bin, token=token.txt, secret.json], envs: [settings.env]}\n\
         configMapGenerator:\n- {name: open, files: [token.txt]}\n\
         patches:\n- {path: only.yaml, target: {name: db}}\n",
    );
    let snapshot = decrypt(snapshot, &keys(&["one"]));
    let rendered = render(&snapshot, &FixedKinds::new(&KINDS), "default");
    assert_eq!(rendered.errors, []);
    let find = |name: &str| rendered.objects.iter().find(|manifest| manifest.id.name == name).unwrap();
    let db = find("db");
    assert_eq!(db.value["stringData"]["password"], "hunter2");
    assert_eq!((&db.value["stringData"]["a"], db.value.get("sops")), (&json!("hunter2"), None));
    assert!(db.confidential && !find("open").confidential);
    let data = |key: &str| {
        use base64::Engine;
        let text: String = find("made").value["data"][key].as_str().unwrap().split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    };
    assert_eq!(data("blob.bin"), fixture("plain/blob.bin"));
    assert_eq!((data("token"), data("PASSWORD")), (b"hunter2\n".to_vec(), b"hunter2".to_vec()));
    assert_eq!(serde_json::from_slice::<Value>(&data("secret.json")).unwrap()["stringData"]["a"], "hunter2");
    // Everyone may read it.
    assert_eq!(find("open").value["data"]["token.txt"].as_str().unwrap(), text("token.txt"));
}

#[test]
fn files_are_known_that_only_decrypted_ones_lead_to() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("base")).unwrap();
    let patch =
        |key: &str| format!("kind: ConfigMap\napiVersion: v1\nmetadata: {{name: types}}\ndata: {{{key}: new}}\n");
    // Its name is encrypted, too.
    write("types.yaml", &text("types.yaml"));
    write("one.yaml", &patch("one"));
    write("base/kustomization.yaml", "resources: [more.yaml]\n");
    write("base/more.yaml", &map("more"));
    write("file.txt", "content");
    write("two.yaml", &patch("two"));
    write(
        "kustomization.yaml",
        "resources: [types.yaml, base]\npatches: [{path: one.yaml}, {path: two.yaml}]\n\
         configMapGenerator: [{name: made, files: [a=file.txt], options: {disableNameSuffixHash: true}}]\n",
    );
    let (disk, inside) = Disk::around(folder.path()).unwrap();
    let snapshot = decrypt(Snapshot::kustomized("test", &disk, &inside, &NoRoots), &keys(&["one"]));
    let rendered = render(&snapshot, &FixedKinds::new(&KINDS), "default");
    assert_eq!(rendered.errors, []);
    let mut names: Vec<_> = rendered.objects.iter().map(|manifest| &*manifest.id.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["made", "more", "types"]);
    let types = rendered.objects.iter().find(|manifest| manifest.id.name == "types").unwrap();
    assert_eq!((&types.value["data"]["one"], &types.value["data"]["two"]), (&json!("new"), &json!("new")));
    assert_eq!(types.value["data"]["int"], -42);
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

#[test]
fn a_kustomization_of_files_for_others_says_which() {
    let (_folder, snapshot) = kustomized("configMapGenerator:\n- {name: open, files: [token.txt]}\n");
    let render = |snapshot: &Snapshot| {
        let rendered = render(snapshot, &FixedKinds::new(&KINDS), "default");
        rendered.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let errors = render(&decrypt(snapshot.clone(), &keys(&["other"])));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.contains("secret.yaml:31:1: the file is encrypted with SOPS: it is for age1vazl"), "{error}");
    let errors = render(&snapshot);
    let [error] = &errors[..] else { panic!("{errors:?}") };
    let told = "secret.yaml:31:1: Secret db is encrypted with SOPS, and nothing says with which keys (name the \
                Secret with its age keys in spec.decryption)";
    assert!(error.ends_with(told), "{error}");
}

#[test]
fn files_that_cannot_be_decrypted_hide_no_others_errors() {
    let file = |name: &str, bytes: Vec<u8>| super::super::sources::File { path: name.into(), bytes: bytes.into() };
    let files = vec![
        file("a.yaml", fixture("only.yaml")),
        file("b.yaml", b"kind: [\n".to_vec()),
        file("c.yaml", fixture("split.yaml")),
    ];
    let snapshot = decrypt(Snapshot::new("test", files, Vec::new()), &keys(&["other"]));
    let rendered = render(&snapshot, &FixedKinds::new(&KINDS), "default");
    let places: Vec<_> = rendered.errors.iter().map(|error| error.origin.file.to_string()).collect();
    assert_eq!((rendered.objects.len(), places), (0, vec!["a.yaml".into(), "b.yaml".into(), "c.yaml".into()]));
}
