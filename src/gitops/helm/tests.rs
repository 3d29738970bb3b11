//! Charts by programs that stand for helm: what they are given, and every way in which they fail. What helm itself
//! makes of a chart is shown where there is one: in the system tests.

#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;
use std::fs;

/// A shell script in the place of helm.
fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PROGRAM);
    // Written by another process: a file that this one has open for writing may be inherited by what other tests start,
    // and cannot be run as long as it is.
    let mut writer = Command::new("sh");
    writer.arg("-c").arg("printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"").arg(&path).arg(text);
    assert!(writer.status().unwrap().success());
    (folder, path)
}

fn chart() -> Snapshot {
    let file = |path: &str, text: &str| File { path: path.into(), bytes: text.to_owned().into() };
    let files = vec![
        file("Chart.yaml", "name: shop\n"),
        file("templates/web.yaml", "text: {{ .Values.x }}\n"),
        file("prod.yaml", "x: 1\n"),
    ];
    Snapshot::of_chart("test", "deploy/shop", files)
}

fn release(options: Option<&Helm>) -> Release<'_> {
    Release { name: "", namespace: "space", options, secret: false, timeout: Duration::from_secs(60) }
}

async fn error(text: &str, options: Option<&Helm>) -> String {
    let (_folder, program) = script(text);
    let rendered = render_by(Some(&program), chart(), release(options)).await;
    assert!(rendered.files.is_empty() && rendered.charts.is_empty());
    rendered.rejected[0].to_string()
}

#[tokio::test]
async fn helm_sees_the_chart_and_nothing_else() {
    let (_folder, program) = script(
        "for a in \"$@\"; do echo \"$a\"; done; env | sort; cat chart/templates/web.yaml values.json; echo; pwd",
    );
    let options = Helm {
        release_name: "-x".into(),
        value_files: vec!["./prod.yaml".into()],
        values: json!({"x": "${y}"}),
        ..Helm::default()
    };
    let rendered = render_by(Some(&program), chart(), release(Some(&options))).await;
    let text = String::from_utf8(rendered.files[0].bytes.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let folder = lines.last().unwrap();
    assert!(!Path::new(folder).exists(), "it is removed");
    let expected = format!(
        "template --include-crds --kube-version {KUBERNETES_VERSION} --namespace space --values {folder}/chart/prod.yaml --values \
         {folder}/values.json -- -x {folder}/chart"
    );
    assert_eq!(lines[..13].join(" "), expected);
    let names: Vec<&str> = lines[13..].iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let known = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME", "PATH", "PWD"];
    // Shells set some of their own.
    assert!(names.iter().all(|name| known.contains(name) || ["_", "OLDPWD", "SHLVL"].contains(name)), "{names:?}");
    assert!(text.contains("text: {{ .Values.x }}") && text.contains("{\"x\":\"${y}\"}"), "{text}");
}

#[tokio::test]
async fn manifests_are_told_by_their_templates() {
    let output = "---\n# Source: shop/templates/web.yaml\na: 1\n---\n# Source: shop/templates/web.yaml\nb: 2\n---\n# Source: shop/charts/db/templates/db.yaml\nc: 3\n";
    let (_folder, program) = script(&format!("cat <<'END'\n{output}END"));
    let rendered = render_by(Some(&program), chart(), release(None)).await;
    let files: Vec<(&str, &[u8])> = rendered.files.iter().map(|file| (&*file.path, &*file.bytes)).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(files[0].0, "deploy/shop/templates/web.yaml as rendered");
    assert_eq!(files[1].0, "deploy/shop/charts/db/templates/db.yaml as rendered");
    assert!(rendered.rejected.is_empty());
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_the_chart() {
    let none = render_by(None, chart(), release(None)).await;
    let text = none.rejected[0].to_string();
    assert!(text.starts_with("deploy/shop/Chart.yaml: this is a Helm chart, and there is no program `helm`"), "{text}");
    assert!(text.contains("https://helm.sh/docs/intro/install"), "{text}");

    let said = error("echo \"Error: $PWD/chart/templates/web.yaml:3:5: nil pointer\" >&2; exit 1", None).await;
    assert_eq!(said, "deploy/shop/Chart.yaml: helm: chart/templates/web.yaml:3:5: nil pointer");
    assert!(error("exit 3", None).await.contains("exit status: 3"));
    let options = Helm { value_files: vec!["../../secret.yaml".into()], ..Helm::default() };
    assert!(error("true", Some(&options)).await.contains("there is no ../../secret.yaml for spec.helm.valueFiles"));
    assert!(error("printf '\\377'", None).await.contains("not UTF-8"));
    assert!(error("cat /dev/zero", None).await.contains("more than 64 MiB"));

    let plain = render_by(None, Snapshot::of(&[("a.yaml", "a: 1")]), release(Some(&Helm::default()))).await;
    assert!(plain.rejected[0].to_string().contains("no Chart.yaml"));
}

#[tokio::test]
async fn secret_values_are_in_nothing_that_is_told() {
    let secret = |options| Release { secret: true, ..release(options) };
    let options = Helm { values: json!({"x": "hunter2"}), ..Helm::default() };
    let (_folder, program) = script(
        "echo \"Error: execution error at (shop/templates/web.yaml:1:9): hunter2 is weak, see /hunter2/prod.yamlx\" >&2\n\
         echo \"$PWD/chart/prod.yaml: $(cat values.json)\" >&2; exit 1",
    );
    let failed = render_by(Some(&program), chart(), secret(Some(&options))).await;
    let expected = "deploy/shop/Chart.yaml: helm fails, at shop/templates/web.yaml:1:9, chart/prod.yaml (it was given values of \
                    Secrets, which its own words could repeat)";
    assert_eq!(failed.rejected[0].to_string(), expected);
    let (_folder, program) = script("printf -- '---\\n# Source: shop/templates/web.yaml\\n'; cat values.json");
    for (release, hidden) in [(secret(Some(&options)), 1), (release(Some(&options)), 0)] {
        let rendered = render_by(Some(&program), chart(), release).await;
        assert_eq!((rendered.files.len(), rendered.decrypted.len()), (1, hidden));
        assert!(rendered.decrypted.iter().all(|path| *path == rendered.files[0].path));
    }
}

#[tokio::test]
async fn a_helm_that_hangs_ends_with_its_children() {
    let (folder, program) = script("sleep 1000 & echo $! > \"${0%/*}/child\"; wait");
    let release = Release { timeout: Duration::from_secs(1), ..release(None) };
    let rendered = render_by(Some(&program), chart(), release).await;
    assert!(rendered.rejected[0].to_string().contains("helm took more than 1 s"), "{:?}", rendered.rejected);
    let child: i32 = fs::read_to_string(folder.path().join("child")).unwrap().trim().parse().unwrap();
    let gone = || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    crate::base::wait::until(
        "the child is gone",
        Default::default(),
        async || if gone() { Ok(()) } else { Err(child) },
    )
    .await;
}

#[test]
fn the_program_is_looked_for_in_absolute_directories() {
    let (folder, program) = script("");
    let directories = ["relative".into(), "/nonexistent".into(), folder.path().to_path_buf()];
    assert_eq!(find(directories.into_iter()), Some(program));
}
