//! Files that were changed, are for others, or mean harm.

use super::*;
use proptest::prelude::*;

#[test]
fn what_was_changed_by_hand_is_refused_with_its_place() {
    const MAC: &str = "the file is encrypted with SOPS: the MAC is not that of the values";
    const MOVED: &str = "cannot be decrypted: it was changed, moved, or encrypted with another file's key";
    let sealed = text("secret.yaml");
    let line = |key: &str| sealed.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
    let (password, like, number) = (line("password:"), line("like:"), line("number:"));
    let key = sealed[..sealed.find("            -----END AGE").unwrap()].lines().last().unwrap();
    let value = |line: &str| line.split_once(": ").unwrap().1.to_owned();
    let edits: [(&str, &str, &str); 13] = [
        ("small: -0.25", "small: -0.5", MAC),
        ("text: \"0644\"", "text: 0644", MAC),
        ("\"off\": false", "\"off\": true", MAC),
        ("            under: 1000\n", "", MAC),
        ("type: Opaque\n", "type: Opaque\nextra: 1\n", MAC),
        (&format!("{number}\n"), "", MAC),
        (&value(password), &value(like), MOVED),
        (
            &value(password),
            "hunter9",
            "secret.yaml:24:15: the value of stringData.password is not encrypted, and has to be",
        ),
        (&value(password), "5", "is not encrypted, and has to be"),
        ("type:str]\n    empty", "type:int]\n    empty", "stringData.password is not of the type that it says"),
        ("type:str]\n    empty", "type:odd]\n    empty", "is of a type that is not known"),
        ("lastmodified: \"2", "lastmodified: \"1", "the MAC cannot be decrypted: it, or lastmodified, was changed"),
        (key, "            AAAA", "the key that is encrypted for age1vazl"),
    ];
    for (old, new, told) in edits {
        assert!(sealed.contains(old), "{old}");
        let found = refused("secret.yaml", &sealed.replacen(old, new, 1), &["one"]);
        assert!(found.contains(told), "{old} -> {new}: {found}");
    }
}

#[test]
fn documents_belong_together() {
    let sealed = text("several.yaml");
    let parts: Vec<&str> = sealed.split("\n---\n").collect();
    let [first, second, third] = parts[..] else { panic!("{} documents", parts.len()) };
    for changed in [[second, first, third].join("\n---\n"), [first, third].join("\n---\n"), first.to_owned()] {
        let told = refused("several.yaml", &changed, &["one"]);
        assert!(told.contains("the MAC is not that of the values"), "{told}");
    }
    // Others may stand in the same file: with a MAC of their own, or with none.
    let more = [&sealed, "kind: Clear\n", &text("only.yaml")].join("\n---\n");
    let found = opened("several.yaml", more.as_bytes(), &keys(&["one"])).unwrap().unwrap();
    assert_eq!(values("several.yaml", std::str::from_utf8(&found).unwrap()).len(), 5);
}

#[test]
fn only_encrypted_values_count_where_the_file_says_so() {
    let sealed = text("only.yaml");
    let changed = sealed.replace("team: shop", "team: other");
    assert!(opened("only.yaml", changed.as_bytes(), &keys(&["one"])).unwrap().is_some());
    for (old, new) in [("    mac_only_encrypted: true\n", ""), ("    encrypted_regex: ^(data|stringData)$\n", "")] {
        refused("only.yaml", &sealed.replace(old, new), &["one"]);
    }
}

#[test]
fn dotenv_files_are_checked_too() {
    let sealed = text("settings.env");
    let told = refused("settings.env", &sealed.replace("=80", "=81"), &["one"]);
    assert!(told.contains("settings.env:8:1: the file is encrypted with SOPS: the MAC is not that"), "{told}");
    let told = refused("settings.env", &sealed.replace("USER=", "OWNER="), &["one"]);
    assert!(told.contains("settings.env:2:1: the value of OWNER cannot be decrypted"), "{told}");
    let told = refused("settings.env", &sealed, &["other"]);
    assert!(told.contains("settings.env:8:1: the file is encrypted with SOPS: it is for age1vazl"), "{told}");
}

#[test]
fn ini_files_are_checked_too() {
    let sealed = text("settings.ini");
    let first = 1 + sealed.lines().position(|line| line == "[sops]").unwrap();
    for (text, names, wrong) in [
        (
            sealed.replace("[db]", "[other]"),
            ["one"],
            "settings.ini:4:1: the value of other.password cannot be decrypted",
        ),
        (
            sealed.replace("[sops]", "[more]\na = 1\n[sops]"),
            ["one"],
            "settings.ini:7:1: the value of more.a is not encrypted",
        ),
        (sealed.lines().skip(1).collect::<Vec<_>>().join("\n"), ["one"], "the MAC is not that of the values"),
        (sealed.replace("[db]", "[db]\nword"), ["one"], "settings.ini:4:1: the line is not NAME = VALUE"),
        (sealed.replace("[db]", "[db]\na = `b"), ["one"], "settings.ini:4:1: the value of a goes over several lines"),
        (
            sealed.clone(),
            ["other"],
            &format!("settings.ini:{first}:1: the file is encrypted with SOPS: it is for age1"),
        ),
    ] {
        let told = refused("settings.ini", &text, &names);
        assert!(told.contains(wrong), "{told}");
    }
    // What only talks of such a section is no such file.
    let inside = format!("text: |\n  {}", sealed.replace('\n', "\n  "));
    assert_eq!(opened("a.yaml", inside.as_bytes(), &Keys::default()), Ok(None));
}

#[test]
fn metadata_have_an_end() {
    let sealed = text("settings.env");
    let more: String = (0..200_000).map(|number| format!("sops_a{number}=1\n")).collect();
    let began = std::time::Instant::now();
    refused("settings.env", &format!("{more}{sealed}"), &["one"]);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn who_can_decrypt_a_file_is_told() {
    let sealed = text("only.yaml");
    let (one, other) = (keys(&["one"]).identities[0].recipient(), keys(&["other"]).identities[0].recipient());
    let told = refused("only.yaml", &sealed, &["other"]);
    let expected =
        format!("only.yaml:9:1: the file is encrypted with SOPS: it is for {one}; in the test there is {other}");
    assert_eq!(told, expected);
    assert!(refused("only.yaml", &sealed, &[]).ends_with("in the test there is none"));
    for (old, new, what) in [
        ("    age:\n", "    pgp:\n", "it is for PGP, and only age keys are supported"),
        ("    age:\n", "    kms:\n    - arn: a\n    gcp_kms:\n", "it is for AWS KMS, GCP KMS, and only age keys"),
        ("    age:\n", "    none:\n", "it names nobody who can decrypt it"),
        (&one, "ssh-ed25519 AAAA", "it is for ssh-ed25519 AAAA (an ssh key, which is not supported); in"),
        (&one, "age1yubikey1abc", "(a key of an age plugin, which is not supported)"),
        (&one, "age1pq1abc", "(a post-quantum key, which is not supported)"),
        ("    mac:", "    encrypted_suffix: _x\n    mac:", "it has both encrypted_suffix and encrypted_regex"),
        ("^(data", "((data", "encrypted_regex: \"((data|stringData)$\" is no pattern"),
    ] {
        let told = refused("only.yaml", &sealed.replacen(old, new, 1), &["one"]);
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn hostile_files_have_an_end() {
    let sealed = text("only.yaml");
    let (start, end) = (sealed.find("        - recipient").unwrap(), sealed.find("    lastmodified").unwrap());
    let many = format!("{}{}{}", &sealed[..start], sealed[start..end].repeat(300), &sealed[end..]);
    assert!(refused("only.yaml", &many, &["one"]).contains("it is for more than 256 recipients"));
    let large = sealed.replace("^(data|stringData)$", "((((a{1,100}){1,100}){1,100}){1,100})|stringData");
    assert!(refused("only.yaml", &large, &["one"]).contains("is no pattern, or too large"));
    // An alias stands for a value that is somewhere else.
    let value = sealed.lines().find_map(|line| line.strip_prefix("    a: ")).unwrap();
    let anchored = sealed.replace(value, &format!("&x {value}"));
    let told = refused("only.yaml", &anchored.replace("sops:\n", "more: {a: *x}\nsops:\n"), &["one"]);
    assert!(told.contains("only.yaml:9:11: the value of more.a is encrypted, and must not be"), "{told}");
    let listed = sealed.replace(&format!("a: {value}"), &format!("a: [&x {value}, *x]"));
    let listed = listed.replace(&format!("&x {value}"), &format!("&x \"{value}\""));
    let told = refused("only.yaml", &listed, &["one"]);
    assert!(told.contains("is not written as SOPS writes it"), "{told}");
}

#[test]
fn a_long_line_takes_no_longer_than_many_short_ones() {
    // No spaces, so that all of it is one line.
    let item = |number: usize| format!("{{\"n\":{number},\"é\":\"{}\"}}", "x".repeat(20));
    let items = (0..10_000).map(item).collect::<Vec<_>>().join(",");
    let text = format!("[{items}]");
    let file: std::sync::Arc<str> = "a.json".into();
    let documents = tree::documents(&file, &text).unwrap();
    let mut edits = super::super::text::Edits::new(&text);
    let began = std::time::Instant::now();
    for item in documents[0].items() {
        let at = item.get("é").unwrap().at;
        edits.replace(at, &"x".repeat(20), "1".to_owned()).unwrap();
    }
    assert!(edits.finish().unwrap().ends_with("{\"n\":9999,\"é\":1}]"));
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_literal_is_the_text_it_was_made_of(text in "\\PC{0,20}|[\\x00-\\x1f\\u{7f}-\\u{a0}\\u{2028}\\u{2029}\\u{feff}\"'\\\\a ]{0,20}") {
        let written = super::super::text::literal(&text);
        prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), json!(text));
        prop_assert_eq!(&values("a", &format!("a: {written}"))[0]["a"], &json!(text));
    }

    /// Whatever is changed: no panic, and no value in what is told.
    #[test]
    fn damaged_files_are_refused_without_a_word_of_theirs(
        which in 0..12_usize, at in any::<prop::sample::Index>(), length in 0..60_usize, new in "[ -~\\n]{0,8}|[\"'{}\\[\\]]{1,3}",
    ) {
        let names = [&FILES[..], &["settings.env", "token.txt", "split.yaml", "settings.ini"]].concat();
        let mut text = text(names[which]);
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        prop_assume!(text.is_char_boundary(start) && text.is_char_boundary(end));
        text.replace_range(start..end, &new);
        let _ = opened(names[which], text.as_bytes(), &keys(&["one", "two"]));
    }
}
