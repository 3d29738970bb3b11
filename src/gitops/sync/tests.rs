//! Syncs of temporary directories and repositories against the API server, in this process. No
//! controllers run: statuses are written by the tests.

#![allow(clippy::unwrap_used)]
mod decrypting;
mod drifting;
mod ending;
mod generating;
mod judging;
mod keeping;
mod moving;
mod ordered;
mod owning;
mod polling;
mod replacing;
mod returning;
mod rig;
mod sharing;
mod substituting;
mod taking;
mod telling;
mod waiting;

use super::engine::{Settings, run};
use super::*;
use crate::apiserver::{ApiServer, Config, User};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::ids::Ids;
use crate::base::wait::{self, Pace};
use crate::client::{Context, in_process, raw};
use crate::gitops::application::{ApplicationSource, LABEL, NAMESPACE};
use crate::gitops::observe;
use crate::gitops::render::render;
use crate::gitops::sources::Snapshot;
use crate::telemetry::Metrics;
use http::Method;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::registry::Registry;

use rig::{Folder, Listener, Rig};

const SHOP: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applications/shop";

/// Where mirrors of repositories are kept, for nothing else: what nobody uses of it is removed. No test is the last one,
/// so that those of earlier processes are removed here.
fn mirrors() -> PathBuf {
    static SWEPT: std::sync::Once = std::sync::Once::new();
    const PREFIX: &str = "selkie-mirrors-";
    SWEPT.call_once(|| {
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.strip_prefix(PREFIX).is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
    std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()))
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  k: {value:?}\n")
}

/// The next event for which `pick` answers.
async fn next<T>(events: &mut mpsc::UnboundedReceiver<Event>, pick: impl Fn(&Event) -> Option<T>) -> T {
    let wait = async {
        loop {
            let event = events.recv().await.unwrap();
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap()
}

fn totals(report: &Report) -> (u64, u64, u64) {
    let totals = report.totals();
    (totals.add, totals.change, totals.delete)
}

fn applied(event: &Event) -> Option<(u64, u64, u64)> {
    if let Event::Applied(report) = event { Some(totals(report)) } else { None }
}

fn drift(event: &Event) -> Option<Report> {
    if let Event::Drift(report) = event { Some(report.clone()) } else { None }
}

fn failed(event: &Event) -> Option<Vec<String>> {
    if let Event::Failed { errors, .. } = event { Some(errors.clone()) } else { None }
}

fn done(event: &Event) -> Option<Summary> {
    if let Event::Done(summary) = event { Some(summary.clone()) } else { None }
}

#[tokio::test]
async fn an_apply_is_whole_or_nothing_and_names_lines() {
    let rig = Rig::new().await;
    let options = Options { application: "shop".into(), prune: true, force: true, ..Options::default() };
    let good = map("a", "1");
    let lost = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: none}\n";
    let typed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: {x: 1}}\nfoo: 1\n";
    let error = rig.apply(&[("a.yaml", &good), ("b.yaml", lost), ("c.yaml", typed)], &options).await.unwrap_err();
    let lines = error.lines();
    assert!(
        lines.iter().any(|line| line.starts_with("b.yaml:3:") && line.contains("\"none\" does not exist")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("c.yaml:") && line.contains("ConfigMap default/c")), "{lines:?}");
    assert!(rig.map("a").await.is_none(), "nothing was applied");

    let outcome = rig.apply(&[("a.yaml", &good)], &options).await.unwrap();
    assert_eq!(totals(&outcome.report), (1, 0, 0));
    let stored = rig.map("a").await.unwrap();
    assert_eq!(stored["metadata"]["labels"][LABEL], "shop");
    assert_eq!(outcome.inventory[0].uid, stored["metadata"]["uid"].as_str().unwrap());
    let again = rig.apply(&[("a.yaml", &good)], &options).await.unwrap();
    assert!(again.report.is_empty());
}

#[tokio::test]
async fn pruning_spares_what_others_made_again_and_what_others_own() {
    let rig = Rig::new().await;
    let options = Options { application: "shop".into(), prune: true, force: true, ..Options::default() };
    let (a, b, c) = (map("a", "1"), map("b", "1"), map("c", "1"));
    let first = rig.apply(&[("a.yaml", &a), ("b.yaml", &b), ("c.yaml", &c)], &options).await.unwrap();
    let path = "/api/v1/namespaces/default/configmaps";
    raw::request(&rig.client, Method::DELETE, &format!("{path}/b"), None).await.unwrap();
    rig.create(path, &json!({"metadata": {"name": "b"}})).await;
    let later = Options { inventory: first.inventory.clone(), ..options.clone() };
    let second = rig.apply(&[("a.yaml", &a)], &later).await.unwrap();
    assert_eq!(totals(&second.report), (0, 0, 1));
    assert!(second.report.warnings[0].contains("ConfigMap default/b was made again"), "{:?}", second.report.warnings);
    assert!(rig.map("b").await.is_some() && rig.map("c").await.is_none());
    assert_eq!(second.inventory.len(), 1);

    let claim = Claim { application: "other".into(), holds: true, wants: true, ..Claim::default() };
    let claim = Claim { id: first.inventory[0].clone(), origin: "web.yaml:3".into(), ..claim };
    let other = Options { claims: vec![claim], ..options };
    let error = rig.apply(&[("a.yaml", &a)], &other).await.unwrap_err().to_string();
    assert!(
        error.starts_with("a.yaml:1:1: ConfigMap default/a belongs to application \"other\" (web.yaml:3)"),
        "{error}"
    );
}

#[tokio::test]
async fn deletions_held_back_show_until_they_are_confirmed() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    next(&mut events, done).await;
    folder.remove("a.yaml");
    let condition = |status: &Value, kind: &str, field: &str| {
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        all.iter().find(|one| one["type"] == kind).map_or(Value::Null, |one| one[field].clone())
    };
    rig.until(async || (condition(&rig.status().await, "Synced", "reason") == "PruneHeld").then_some(())).await;
    assert!(rig.map("a").await.is_some());
    let revision = rig.status().await["revision"].clone();
    rig.patch(SHOP, json!({"metadata": {"annotations": {"selkie.dev/confirm-prune": revision}}})).await;
    rig.until(async || {
        let status = rig.status().await;
        let done =
            condition(&status, "Ready", "status") == "True" && condition(&status, "Synced", "reason") == "Synced";
        done.then_some(())
    })
    .await;
    assert!(rig.map("a").await.is_none());
}

#[tokio::test]
async fn a_one_shot_leaves_an_application_what_it_holds() {
    let rig = Rig::new().await;
    let (_folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    next(&mut events, done).await;

    let same = rig.apply(&[("a.yaml", &map("a", "1"))], &Options::default()).await.unwrap();
    assert!(same.report.is_empty(), "the label stays: {:?}", same.report);
    let planned = rig.diff(&[("a.yaml", &map("a", "2"))], &Options::default()).await.unwrap();
    let expected = "apply will refuse this: application \"shop\" holds ConfigMap default/a, and would set it back \
                    (change the application's source, or take the object over with --adopt; --force-conflicts \
                    changes it and leaves it the application's, which is of use where that is suspended)";
    assert_eq!(planned.report.warnings, [expected]);
    let error = rig.apply(&[("a.yaml", &map("a", "2"))], &Options::default()).await.unwrap_err().to_string();
    let expected = "a.yaml:1:1: ConfigMap default/a belongs to application \"shop\", which would set it back";
    assert!(error.starts_with(expected), "{error}");
    let forced = Options { force: true, ..Options::default() };
    let planned = rig.diff(&[("a.yaml", &map("a", "2"))], &forced).await.unwrap();
    assert!(planned.report.warnings.is_empty(), "{:?}", planned.report);
    assert_eq!(totals(&rig.apply(&[("a.yaml", &map("a", "2"))], &forced).await.unwrap().report), (0, 1, 0));
}

#[tokio::test]
async fn a_directory_is_followed() {
    let rig = Rig::new().await;
    let (folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1")), ("b.yaml", &map("b", "1"))]).await;
    assert_eq!(next(&mut events, applied).await, (2, 0, 0));
    assert_eq!(next(&mut events, done).await.failed, []);

    folder.write("a.yaml", &map("a", "2"));
    assert_eq!(next(&mut events, applied).await, (0, 1, 0));
    folder.remove("b.yaml");
    assert_eq!(next(&mut events, applied).await, (0, 0, 1));
    assert!(rig.map("b").await.is_none());

    // What others change is set right, also while the source is broken.
    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "drift"}})).await;
    let report = next(&mut events, drift).await;
    assert_eq!(report.objects[0].fields.len(), 1);
    folder.write("broken.yaml", "a: [\n");
    let errors = next(&mut events, failed).await;
    assert!(errors[0].contains("broken.yaml:1:4: not valid YAML"), "{errors:?}");
    rig.patch("/api/v1/namespaces/default/configmaps/a", json!({"data": {"k": "again"}})).await;
    next(&mut events, drift).await;
    assert_eq!(rig.map("a").await.unwrap()["data"]["k"], "2");

    // An emptied source prunes nothing until that is confirmed.
    folder.remove("a.yaml");
    folder.remove("broken.yaml");
    let is_guard =
        |event: &Event| matches!(event, Event::Warning(text) if text.contains("confirm-prune")).then_some(());
    next(&mut events, is_guard).await;
    assert!(rig.map("a").await.is_some());
    let text = "the inventory keeps what was held back";
    assert_eq!(rig.status().await["inventory"].as_array().unwrap().len(), 1, "{text}");
}

#[tokio::test]
async fn a_repository_is_followed_and_readiness_awaited() {
    let rig = Rig::new().await;
    let temp = tempfile::tempdir().unwrap();
    git(temp.path(), &["init", "-q"]);
    commit(temp.path(), "deploy/a.yaml", &map("a", "1"));
    let source = format!("git+{}#main:deploy", temp.path().display());
    let mut events = rig.start(&source).await;
    assert_eq!(next(&mut events, applied).await, (1, 0, 0));
    next(&mut events, done).await;
    commit(temp.path(), "deploy/claim.yaml", CLAIM);
    assert_eq!(next(&mut events, applied).await, (1, 0, 0));
    let waiting = |event: &Event| match event {
        Event::Progress(objects) => objects.first().map(|progress| progress.message.clone()),
        _ => None,
    };
    assert_eq!(next(&mut events, waiting).await, "pending");
    let path = "/api/v1/namespaces/default/persistentvolumeclaims/c/status";
    rig.patch(path, json!({"status": {"phase": "Bound"}})).await;
    let summary = next(&mut events, done).await;
    assert_eq!((summary.ready, summary.failed), (1, vec![]));
    assert_eq!(summary.revision, git(temp.path(), &["rev-parse", "HEAD"]));
}

const CLAIM: &str = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\n\
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";

fn git(directory: &Path, arguments: &[&str]) -> String {
    let settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    let output =
        std::process::Command::new("git").args(settings).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn commit(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    git(directory, &["add", "."]);
    git(directory, &["commit", "-qm", "change"]);
}

#[tokio::test]
async fn what_an_earlier_daemon_waited_for_becomes_ready() {
    let rig = Rig::new().await;
    let directory = tempfile::tempdir().unwrap();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    fs::write(directory.path().join("web.json"), deployment.to_string()).unwrap();
    let mut events = rig.start(directory.path().to_str().unwrap()).await;
    next(&mut events, |event| matches!(event, Event::Progress(_)).then_some(())).await;
    rig.stop.cancel();

    let (sender, mut events) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(2), stop.clone());
    tokio::spawn(run(context, Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)))));
    next(&mut events, |event| matches!(event, Event::Progress(_)).then_some(())).await;
    let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
    rig.patch("/apis/apps/v1/namespaces/default/deployments/web/status", json!({"status": status})).await;
    let summary = next(&mut events, done).await;
    assert_eq!((summary.ready, summary.failed.len()), (1, 0));
    stop.cancel();
}

/// Runs the controllers too: deletions that wait for dependents need the garbage collector.
fn with_controllers(rig: &Rig) {
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(9), rig.stop.clone());
    tokio::spawn(crate::controllers::run(context, crate::controllers::Timing::default()));
}

async fn delete(rig: &Rig, query: &str) {
    raw::request(&rig.client, Method::DELETE, &format!("{SHOP}{query}"), None).await.unwrap();
}

fn ended(event: &Event) -> Option<(usize, Option<String>)> {
    if let Event::Ended { objects, kept } = event { Some((*objects, kept.clone())) } else { None }
}

#[tokio::test]
async fn a_deleted_application_takes_its_objects_with_it_but_those_that_are_to_stay() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let kept = map("b", "1").replace("  name: b\n", "  name: b\n  annotations: {selkie.dev/prune: disabled}\n");
    let (_folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1")), ("b.yaml", &kept)]).await;
    assert_eq!(next(&mut events, applied).await, (2, 0, 0));
    let finalizers = rig.get(SHOP).await.unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers, json!(["selkie.dev/prune"]));

    delete(&rig, "").await;
    assert_eq!(next(&mut events, ended).await, (2, None));
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
    assert!(rig.map("a").await.is_none(), "pruned before the application went");
    assert!(rig.map("b").await.is_some(), "kept by its annotation");
}

#[tokio::test]
async fn an_application_deleted_as_an_orphan_leaves_its_objects() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let (_folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    next(&mut events, applied).await;
    delete(&rig, "?propagationPolicy=Orphan").await;
    let (objects, why) = next(&mut events, ended).await;
    assert!(objects == 1 && why.as_ref().is_some_and(|why| why.contains("orphan")), "{objects} {why:?}");
    rig.until(async || rig.get(SHOP).await.is_none().then_some(())).await;
    assert!(rig.map("a").await.is_some_and(|map| map["metadata"]["deletionTimestamp"].is_null()));
}

#[tokio::test]
async fn an_object_that_is_not_to_be_pruned_outlives_its_manifest() {
    let rig = Rig::new().await;
    let options = Options { application: "shop".into(), prune: true, force: true, ..Options::default() };
    let b = map("b", "1").replace("  name: b\n", "  name: b\n  annotations: {selkie.dev/prune: disabled}\n");
    let first = rig.apply(&[("a.yaml", &map("a", "1")), ("b.yaml", &b)], &options).await.unwrap();
    let later = Options { inventory: first.inventory, ..options };
    let second = rig.apply(&[("a.yaml", &map("a", "1"))], &later).await.unwrap();
    assert!(second.report.is_empty(), "{:?}", second.report);
    assert!(second.report.warnings[0].contains("ConfigMap default/b left the source and stays"));
    assert!(rig.map("b").await.is_some() && second.inventory.len() == 1);
}

#[tokio::test]
async fn objects_without_a_namespace_go_to_the_applications() {
    let rig = Rig::new().await;
    rig.create("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await;
    let (_folder, mut events) = rig.follow(&[("a.yaml", &map("a", "1"))]).await;
    next(&mut events, applied).await;
    assert!(rig.map("a").await.is_some());
    rig.patch(SHOP, json!({"spec": {"namespace": "shop"}})).await;
    assert_eq!(next(&mut events, applied).await, (1, 0, 1), "it moves");
    assert!(rig.get("/api/v1/namespaces/shop/configmaps/a").await.is_some() && rig.map("a").await.is_none());
}

#[tokio::test]
async fn a_missing_or_useless_secret_is_named() {
    let rig = Rig::new().await;
    let mut events = rig.start("https://git.invalid/shop.git").await;
    rig.patch(SHOP, json!({"spec": {"source": {"secretRef": {"name": "login"}}}})).await;
    let about = |text: &'static str| {
        move |event: &Event| failed(event).filter(|errors| errors[0].contains(text)).map(|errors| errors[0].clone())
    };
    let missing = next(&mut events, about("does not exist")).await;
    assert!(missing.contains("Secret selkie-system/login (spec.source.secretRef)"), "{missing}");
    let secret = json!({"metadata": {"name": "login"}, "stringData": {"tls.key": "hush"}});
    rig.create("/api/v1/namespaces/selkie-system/secrets", &secret).await;
    let useless = next(&mut events, about("tls.key")).await;
    assert!(!useless.contains("hush"), "{useless}");
}

#[tokio::test]
async fn a_source_may_define_its_own_kinds() {
    let rig = Rig::new().await;
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.org}\n\
        spec:\n  group: example.org\n  scope: Namespaced\n  names: {plural: widgets, kind: Widget}\n  versions:\n  - name: v1\n    \
        served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, \
        properties: {size: {type: integer}}}}}}\n";
    let widget = |size: &str| {
        format!("apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: w}}\nspec:\n  size: {size}\n")
    };
    let options = Options { application: "shop".into(), prune: true, force: true, ..Options::default() };
    let wrong = [("a.yaml", widget("big")), ("b.yaml", definition.to_string())];
    let wrong: Vec<(&str, &str)> = wrong.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let lines = rig.apply(&wrong, &options).await.unwrap_err().lines();
    assert!(lines[0].starts_with("a.yaml:5:") && lines[0].contains("must be of type integer"), "{lines:?}");
    let good = widget("1");
    let outcome = rig.apply(&[("a.yaml", &good), ("b.yaml", definition)], &options).await.unwrap();
    assert_eq!(totals(&outcome.report), (2, 0, 0));
    let path = "/apis/example.org/v1/namespaces/default/widgets/w";
    assert_eq!(rig.get(path).await.unwrap()["spec"]["size"], 1);
    let changed = widget("2");
    let outcome = rig.apply(&[("a.yaml", &changed), ("b.yaml", definition)], &options).await.unwrap();
    assert_eq!((totals(&outcome.report), outcome.to_wait_for(&Health::default()).len()), ((0, 1, 0), 1));
}
