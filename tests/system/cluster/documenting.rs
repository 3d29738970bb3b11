//! Documents for programs: what they hold is what the README says of them.

use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn write(folder: &Path, name: &str, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(folder.join(name), list.to_string()).expect("a manifest");
}

fn workload(kind: &str, name: &str, pod: Value, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod}});
    more.as_object().expect("fields").iter().for_each(|(field, value)| spec[field] = value.clone());
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn pod(image: &str, more: Value) -> Value {
    let mut container = json!({"name": "c", "image": image});
    more.as_object().expect("fields").iter().for_each(|(field, value)| container[field] = value.clone());
    json!({"containers": [container], "terminationGracePeriodSeconds": 1})
}

fn map(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}})
}

/// Every kind of thing that a plan tells of: before, and after.
fn write_before(folder: &Path) {
    let claim = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    let mut cache = pod("web:1", json!({}));
    cache["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    write(folder, "web.json", &[workload("Deployment", "web", pod("web:1", json!({})), json!({"replicas": 2}))]);
    write(folder, "gone.json", &[workload("Deployment", "gone", cache, json!({}))]);
    let set = json!({"serviceName": "db", "volumeClaimTemplates": claim});
    write(folder, "db.json", &[workload("StatefulSet", "db", pod("db:1", json!({})), set)]);
    write(folder, "text.json", &[map("text", "one\ntwo\n")]);
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "s3cret"}});
    write(folder, "key.json", &[secret]);
}

fn write_after(folder: &Path) {
    let labels = json!({"matchLabels": {"app": "web", "tier": "front"}});
    let mut web = workload("Deployment", "web", pod("web:2", json!({"args": ["a"]})), json!({"replicas": 3}));
    (web["spec"]["selector"], web["spec"]["template"]["metadata"]["labels"]) =
        (labels.clone(), labels["matchLabels"].clone());
    write(folder, "web.json", &[web]);
    std::fs::remove_file(folder.join("gone.json")).expect("a manifest");
    std::fs::remove_file(folder.join("db.json")).expect("a manifest");
    write(folder, "text.json", &[map("text", "one\nthree\n")]);
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "0ther"}});
    write(folder, "key.json", &[secret]);
    let huge = pod("huge:1", json!({"resources": {"requests": {"cpu": "4000"}}}));
    write(folder, "huge.json", &[workload("Deployment", "huge", huge, json!({}))]);
    let hook = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "hook",
        "annotations": {"selkie.dev/hook": "PreSync"}}, "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "hook:1"}]}}}});
    write(folder, "hook.json", &[hook]);
}

/// Each field with those it is in: `consequences.pulls.image`. Keys of what manifests hold are theirs.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields(item, at, found)),
        Value::Object(map) => {
            for (name, value) in map {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                let is_of_manifest = ["objects.fields.before", "objects.fields.after"].contains(&path.as_str());
                found.insert(path.clone());
                if !is_of_manifest {
                    fields(value, &path, found);
                }
            }
        }
        _ => {}
    }
}

/// The table below the sentence that names the schema: the words in backquotes of each row, by the path of its row.
fn documented() -> Vec<(Vec<String>, BTreeSet<String>)> {
    let readme = include_str!("../../../README.md");
    let (_, section) = readme.split_once("`-o json` and `yaml` are `selkie.dev/plan/v1`:").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let words =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(|word| word.replace("[]", "")).collect() };
    rows.skip(2)
        .map(|row| {
            let mut cells = row.trim_matches('|').splitn(2, '|');
            let heads = words(cells.next().unwrap_or_default());
            // `consequences.pulls[]`, `.problems[]`: the later ones are in what the first is in.
            let parent = heads[0].rsplit_once('.').map_or("", |(parent, _)| parent).to_owned();
            let heads = heads.into_iter().map(|head| match head.strip_prefix('.') {
                Some(rest) => format!("{parent}.{rest}"),
                None => head,
            });
            let held = words(cells.next().unwrap_or_default()).into_iter();
            let held = held.flat_map(|word| word.split('.').map(str::to_owned).collect::<Vec<_>>()).collect();
            (heads.collect(), held)
        })
        .collect()
}

#[test]
fn every_field_of_a_plan_is_in_the_readme() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&["--hollow-hosts", "2"]);
    write_before(folder.path());
    daemon.selkie(&["app", "add", &format!("shop={}", folder.path().display())]);
    daemon.wait_for("all runs", || {
        daemon.value(&["pods"], "{.items[*].status.phase}") == "Running Running Running Running"
            && daemon.value(&["pvc"], "{.items[*].status.phase}") == "Bound"
    });
    daemon.selkie(&["app", "suspend", "shop"]);
    write_after(folder.path());
    let plan = daemon.try_selkie(&["plan", "--app", "shop", "--replace", "-o", "json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap_or_else(|error| panic!("{error}: {plan:?}"));
    let mut found = BTreeSet::new();
    fields(&plan, "", &mut found);
    // The plan is rich enough to be worth looking at.
    for part in [
        "runs",
        "objects.fields.lines",
        "objects.fields.before",
        "objects.note",
        "consequences.claims.reclaimPolicy",
        "consequences.losses.volumes",
        "consequences.problems.reason",
        "consequences.pulls.hosts",
        "consequences.workloads.steps.verdict.hosts.score",
        "consequences.workloads.steps.verdict.hosts.reasons",
    ] {
        assert!(found.contains(part), "no {part} in {plan:#}");
    }
    let rows = documented();
    // Those of an identity are told once.
    let identity = ["apiVersion", "kind", "namespace", "name", "uid"];
    let is_told = |path: &str| {
        let name = path.rsplit('.').next().unwrap_or(path);
        rows.iter().any(|(heads, held)| {
            heads.iter().any(|head| {
                let is_head = path == head || head.starts_with(&format!("{path}."));
                is_head || path.starts_with(&format!("{head}.")) && held.contains(name)
            })
        })
    };
    let is_of_identity = |path: &str| {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let of_object =
            parent == "objects" || ["id", "object", "claim", "with"].iter().any(|one| parent.ends_with(one));
        of_object && identity.contains(&name) && is_told("objects.apiVersion")
    };
    let untold: Vec<&String> = found.iter().filter(|path| !is_told(path) && !is_of_identity(path)).collect();
    assert!(untold.is_empty(), "the README says nothing of {untold:?}");

    let yaml = daemon.try_selkie(&["plan", "--app", "shop", "--replace", "-o", "yaml"]);
    let yaml: Value = serde_yaml::from_slice(&yaml.stdout).expect("YAML");
    let mut same = BTreeSet::new();
    fields(&yaml, "", &mut same);
    assert_eq!(same, found);
}
