//! Encrypted files as people meet them: with their own keys on the command line, and with those of a Secret in an
//! application. Their values are where they belong, and nowhere else.

use crate::daemon::{Daemon, SELKIE};
use crate::repository::GitRepository;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the encrypted value is.
const PLAIN: &str = "hunter2";
const ENCODED: &str = "aHVudGVyMg==";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gitops/sops/fixtures").join(name)
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// selkie for somebody with these keys.
fn selkie(home: &Path, keys: Option<&str>, data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(SELKIE);
    command.args(args).env("HOME", home).env("SELKIE_DATA_DIR", data).env("SELKIE_CONFIG", "/dev/null");
    for name in ["KUBECONFIG", "XDG_CONFIG_HOME", "SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE"] {
        command.env_remove(name);
    }
    command.envs(keys.map(|keys| ("SOPS_AGE_KEY_FILE", fixture(keys)))).env("NO_COLOR", "1");
    command.output().unwrap()
}

#[test]
fn files_are_decrypted_for_those_who_have_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.yaml");
    std::fs::copy(fixture("only.yaml"), &file).unwrap();
    let path = file.display().to_string();
    let daemon = Daemon::start(&["--no-hosts"]);
    let as_one = |args: &[&str]| selkie(folder.path(), Some("one.txt"), &daemon.data, &[args, &["-f", &path]].concat());

    let stranger = selkie(folder.path(), None, &daemon.data, &["plan", "-f", &path]);
    assert_eq!(stranger.status.code(), Some(1));
    let expected = format!("{path}:9:1: the file is encrypted with SOPS: it is for age1vazl");
    assert!(told(&stranger).contains(&expected) && told(&stranger).contains("keys.txt there is none"), "{stranger:?}");

    let planned = as_one(&["plan"]);
    assert!(planned.status.success() && told(&planned).contains("Secret"), "{planned:?}");
    let applied = as_one(&["apply"]);
    assert!(applied.status.success(), "{applied:?}");
    let value = || daemon.value(&["secret", "only"], "{.data.a}");
    assert_eq!(value(), ENCODED);
    daemon.kubectl(&["patch", "secret", "only", "--type=merge", "-p", r#"{"data":{"a":"b3RoZXI="}}"#]);
    let differs = as_one(&["diff"]);
    assert_eq!(differs.status.code(), Some(1), "{differs:?}");
    let adopted = as_one(&["adopt", "--secrets"]);
    assert!(told(&adopted).contains("its file is encrypted: change it with `sops edit`"), "{adopted:?}");
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(fixture("only.yaml")).unwrap());
    let sealed = as_one(&["render"]);
    assert!(told(&sealed).contains("a: ENC[AES256_GCM,"), "{sealed:?}");
    for output in [planned, applied, differs, adopted, sealed] {
        let told = told(&output);
        assert!(!told.contains(PLAIN) && !told.contains(ENCODED), "{told}");
    }
    // Those who ask for it see it.
    assert!(told(&as_one(&["render", "--decrypt"])).contains("a: hunter2\n"));
    let log = daemon.log();
    assert!(!log.contains(PLAIN) && !log.contains(ENCODED), "{log}");
}

#[test]
fn an_application_decrypts_with_the_keys_of_its_secret() {
    let repository = GitRepository::new();
    std::fs::copy(fixture("only.yaml"), repository.work().join("secret.yaml")).unwrap();
    repository.commit("second");
    repository.push();
    let daemon = Daemon::start(&["--no-hosts"]);
    let give = |keys: &str| {
        let from = format!("--from-file=shop.agekey={}", fixture(keys).display());
        daemon.try_kubectl(&["-n", "selkie-system", "delete", "secret", "age", "--ignore-not-found"]);
        daemon.kubectl(&["-n", "selkie-system", "create", "secret", "generic", "age", &from]);
    };
    give("one.txt");
    let source = format!("shop={}#main", repository.bare().display());
    daemon.selkie(&["app", "add", &source, "--decryption-secret", "age", "--interval", "1s"]);
    let value = || daemon.value(&["secret", "only"], "{.data.a}");
    daemon.wait_for("the Secret is there", || value() == ENCODED);

    give("other.txt");
    repository.commit("third");
    repository.push();
    let status = || daemon.kubectl(&["-n", "selkie-system", "get", "application", "shop", "-o", "jsonpath={.status}"]);
    daemon.wait_for("the reason is told", || status().contains("secret.yaml:9:1: the file is encrypted with SOPS"));
    let greeting = || daemon.value(&["configmap", "greeting"], "{.data.text}");
    assert_eq!((value(), greeting()), (ENCODED.to_owned(), "second".to_owned()), "the last good one stays");
    let listed = daemon.selkie(&["app", "list"]);
    give("one.txt");
    daemon.wait_for("it goes on", || greeting() == "third");
    let told = [
        daemon.log(),
        status(),
        listed,
        daemon.selkie(&["status"]),
        daemon.kubectl(&["get", "events", "-A", "-o", "json"]),
    ]
    .concat();
    for hidden in [PLAIN, ENCODED, "AGE-SECRET-KEY"] {
        assert!(!told.contains(hidden), "{told}");
    }
}
