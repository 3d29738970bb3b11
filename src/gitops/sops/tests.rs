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
    // SOPS puts a line between sections.
    assert_eq!(open("settings.ini"), text("plain/settings.ini").replace("[db]", "\n[db]"));
}

#[test]
fn a_key_that_is_split_needs_keys_of_as_many_groups_as_the_file_says() {
    let found = opened("split.yaml", &fixture("split.yaml"), &keys(&["two", "other", "one"])).unwrap().unwrap();
    let found = std::str::from_utf8(&found).unwrap();
    assert_eq!(values("split.yaml", found), values("split.yaml", &text("plain/split.yaml")));
    let two = keys(&["two"]).identities[0].recipient();
    let told = refused("split.yaml", &text("split.yaml"), &["one"]);
    let expected = format!(
        "split.yaml:9:1: the file is encrypted with SOPS: its key is split among 2 groups of keys, and 2 are needed: of \
         group 2, it is for {two}; in the test there is"
    );
    assert!(told.starts_with(&expected), "{told}");
    for (old, new, wrong) in [
        ("shamir_threshold: 2", "shamir_threshold: 3", "shamir_threshold is \"3\": expected a number of its 2 groups"),
        ("shamir_threshold: 2", "shamir_threshold: 1", "cannot be decrypted: it was changed, moved"),
        ("shamir_threshold: 2\n", "mac_only_encrypted: true\n", "the MAC is not that of the values"),
    ] {
        let names: &[&str] = if new.ends_with('1') { &["one"] } else { &["one", "two"] };
        let told = refused("split.yaml", &text("split.yaml").replace(old, new), names);
        assert!(told.contains(wrong), "{told}");
    }
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
    let data = |key: &str| decoded(find("made").value["data"][key].as_str().unwrap());
    assert_eq!(data("blob.bin"), fixture("plain/blob.bin"));
    assert_eq!((data("token"), data("PASSWORD")), (b"hunter2\n".to_vec(), b"hunter2".to_vec()));
    assert_eq!(serde_json::from_slice::<Value>(&data("secret.json")).unwrap()["stringData"]["a"], "hunter2");
    // Everyone may read it.
    assert_eq!(find("open").value["data"]["token.txt"].as_str().unwrap(), text("token.txt"));
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// A Secret whose data holds these files.
fn holding(files: &[(&str, &[u8])]) -> String {
    use base64::Engine;
    let mut secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: holder}\ndata:\n".to_owned();
    for (key, bytes) in files {
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        let lines: Vec<_> = encoded.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).unwrap()).collect();
        secret.push_str(&format!("  {key}: |\n    {}\n", lines.join("\n    ")));
    }
    secret
}

#[test]
fn files_in_the_data_of_a_secret_are_decrypted_too() {
    let sealed =
        ["secret.yaml", "blob.bin", "settings.env", "settings.ini", "secret.json"].map(|name| (name, fixture(name)));
    let files: Vec<(&str, &[u8])> = sealed.iter().map(|(name, bytes)| (*name, &**bytes)).collect();
    let clear = fixture("other.txt");
    let text = holding(&[&files[..], &[("clear", &clear)]].concat());
    let by_kustomize = "resources: [holder.yaml]\nnamePrefix: my-\n";
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("holder.yaml", &*text), ("kustomization.yaml", by_kustomize)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let (disk, inside) = Disk::around(folder.path()).unwrap();
    for snapshot in [Snapshot::kustomized("test", &disk, &inside, &NoRoots), Snapshot::of(&[("a.yaml", &text)])] {
        assert!(has_encrypted(&snapshot));
        let rendered = render(&decrypt(snapshot.clone(), &keys(&["one"])), &FixedKinds::new(&KINDS), "default");
        assert_eq!(rendered.errors, []);
        let holder = &rendered.objects[0];
        let data = |key: &str| decoded(holder.value["data"][key].as_str().unwrap());
        for (name, bytes) in &files {
            assert_eq!(data(name), *opened(name, bytes, &keys(&["one"])).unwrap().unwrap(), "{name}");
        }
        assert!(holder.confidential && data("clear") == clear);
        // Whoever decrypts nothing may well hand encrypted files on.
        let left = render(&snapshot, &FixedKinds::new(&KINDS), "default");
        assert_eq!((left.errors.len(), left.objects.len()), (0, 1));
    }
    let config = text.replace("kind: Secret", "kind: ConfigMap");
    let rendered =
        render(&decrypt(Snapshot::of(&[("a.yaml", &config)]), &keys(&["one"])), &FixedKinds::new(&KINDS), "");
    assert!(!rendered.objects[0].confidential && rendered.errors.is_empty());
}

#[test]
fn what_is_wrong_in_the_data_of_a_secret_is_told_with_its_key() {
    let text = holding(&[("clear", b"hunter2"), ("app.env", &fixture("settings.env"))]);
    let told = |names: &[&str], text: &str| {
        let rendered =
            render(&decrypt(Snapshot::of(&[("a.yaml", text)]), &keys(names)), &FixedKinds::new(&KINDS), "space");
        assert!(rendered.objects.is_empty());
        rendered.errors[0].to_string()
    };
    let expected =
        "a.yaml:7:3: data[app.env] of Secret holder in line 8: the file is encrypted with SOPS: it is for age1";
    assert!(told(&["other"], &text).starts_with(expected));
    let changed = self::text("settings.env").replace("=80", "=81");
    let told = told(&["one"], &holding(&[("app.env", changed.as_bytes())]));
    assert!(told.contains("a.yaml:5:3: data[app.env]") && told.contains("the MAC is not that of the values"), "{told}");
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
