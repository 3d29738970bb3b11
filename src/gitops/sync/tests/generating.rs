//! ApplicationSets on real repositories: Applications come and go with directories, branches and elements.

use super::*;
use crate::gitops::sets;

const APPLICATIONS: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applications";
const SETS: &str = "/apis/selkie.dev/v1alpha1/namespaces/selkie-system/applicationsets";

/// A set that looks only when something changes.
async fn start(rig: &Rig, spec: Value) -> mpsc::UnboundedReceiver<Event> {
    let mut spec = spec;
    spec["interval"] = "1h".into();
    rig.create(SETS, &json!({"metadata": {"name": "shops"}, "spec": spec})).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let context = Context::new(rig.client.clone(), Clock::System, Ids::seeded(3), rig.stop.clone());
    let settings = Settings::new(mirrors(), rig.registry.clone(), Arc::new(Listener(sender)));
    tokio::spawn(sets::engine::run(context, settings));
    receiver
}

async fn applications(rig: &Rig) -> Vec<String> {
    let list = rig.get(APPLICATIONS).await.unwrap();
    list["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn applications_are(rig: &Rig, wanted: &[&str]) {
    rig.until(async || (applications(rig).await == wanted).then_some(())).await;
}

/// The message of the set's condition once it has this reason.
async fn reason_is(rig: &Rig, wanted: &str) -> String {
    let found = rig.until(async || {
        let condition = rig.get(&format!("{SETS}/shops")).await?["status"]["conditions"][0].clone();
        (condition["reason"] == wanted).then(|| condition["message"].as_str().unwrap().to_owned())
    });
    found.await
}

fn warning(event: &Event) -> Option<String> {
    if let Event::Warning(text) = event { Some(text.clone()) } else { None }
}

fn repository(directories: &[&str]) -> Folder {
    let folder = Folder(tempfile::tempdir().unwrap());
    git(folder.0.path(), &["init", "-q"]);
    for directory in directories {
        commit(folder.0.path(), &format!("{directory}/a.yaml"), &map(directory.rsplit('/').next().unwrap(), "1"));
    }
    folder
}

#[tokio::test]
async fn applications_come_and_go_with_directories() {
    let rig = Rig::new().await;
    let folder = repository(&["apps/a", "apps/b", "apps/old", "other/x"]);
    let path = folder.0.path();
    let directories = json!([{"path": "apps/*"}, {"path": "apps/old", "exclude": true}]);
    let template = json!({"metadata": {"name": "shop-${path.basename}"}, "spec": {"namespace": "${path.basename}"}});
    let generator = json!({"git": {"repoURL": path, "directories": directories}});
    let mut events = start(&rig, json!({"generators": [generator], "template": template})).await;
    applications_are(&rig, &["shop-a", "shop-b"]).await;
    let one = rig.get(&format!("{APPLICATIONS}/shop-a")).await.unwrap();
    assert_eq!(one["spec"]["source"], json!({"repoURL": path, "directory": "apps/a"}));
    assert_eq!((&one["spec"]["namespace"], &one["metadata"]["labels"][sets::LABEL]), (&json!("a"), &json!("shops")));
    assert_eq!(reason_is(&rig, "Generated").await, "2 applications");

    git(path, &["rm", "-rq", "apps/b"]);
    commit(path, "apps/c/a.yaml", &map("c", "1"));
    applications_are(&rig, &["shop-a", "shop-c"]).await;
    // What somebody else deletes or changes is made again.
    raw::request(&rig.client, Method::DELETE, &format!("{APPLICATIONS}/shop-c"), None).await.unwrap();
    rig.patch(&format!("{APPLICATIONS}/shop-a"), json!({"spec": {"namespace": "z"}})).await;
    applications_are(&rig, &["shop-a", "shop-c"]).await;
    rig.until(async || {
        let one = rig.get(&format!("{APPLICATIONS}/shop-a")).await?;
        (one["spec"]["namespace"] == "a").then_some(())
    })
    .await;

    // All gone at once is more often a mistake.
    git(path, &["mv", "apps", "moved"]);
    git(path, &["commit", "-qm", "move"]);
    let held = next(&mut events, warning).await;
    assert!(held.contains("2 of 2 applications would go at once"), "{held}");
    assert_eq!(applications(&rig).await, ["shop-a", "shop-c"]);
    let confirmation = held.rsplit('=').next().unwrap();
    let annotations = json!({"selkie.dev/confirm-prune": confirmation});
    rig.patch(&format!("{SETS}/shops"), json!({"metadata": {"annotations": annotations}})).await;
    applications_are(&rig, &[]).await;
}

#[tokio::test]
async fn a_generator_that_fails_deletes_nothing() {
    let rig = Rig::new().await;
    let folder = repository(&["deploy"]);
    let path = folder.0.path();
    git(path, &["branch", "feature/one"]);
    git(path, &["branch", "feature/two"]);
    let list = json!({"list": {"elements": [{"branchNormalized": "fixed", "branch": "main"}]}});
    let branches = json!({"git": {"repoURL": path, "branches": ["feature/*"]}});
    let source = json!({"repoURL": path, "ref": "${branch}", "directory": "deploy"});
    let template = json!({"metadata": {"name": "${branchNormalized}"}, "spec": {"source": source}});
    let mut events = start(&rig, json!({"generators": [list, branches], "template": template})).await;
    applications_are(&rig, &["feature-one", "feature-two", "fixed"]).await;

    // Two branches of one name: neither, and nothing else is changed.
    git(path, &["branch", "feature/One"]);
    let told = next(&mut events, warning).await;
    assert!(told.contains("\"feature-one\" is made twice") && told.contains("branch=feature/One"), "{told}");
    assert_eq!(reason_is(&rig, "Failed").await, told.strip_prefix("application set: ").unwrap());
    git(path, &["branch", "-D", "feature/two"]);
    assert_eq!(applications(&rig).await, ["feature-one", "feature-two", "fixed"]);
    git(path, &["branch", "-D", "feature/One"]);
    applications_are(&rig, &["feature-one", "fixed"]).await;

    fs::rename(path.join(".git"), path.join("away")).unwrap();
    rig.patch(&format!("{SETS}/shops"), json!({"spec": {"prune": true}})).await;
    let told = next(&mut events, warning).await;
    assert!(told.contains("spec.generators[1].git: git "), "{told}");
    assert_eq!(applications(&rig).await, ["feature-one", "fixed"]);
    fs::rename(path.join("away"), path.join(".git")).unwrap();
    reason_is(&rig, "Generated").await;
}

#[tokio::test]
async fn another_ones_application_is_not_taken_over_and_bad_ones_are_not_made() {
    let rig = Rig::new().await;
    rig.declare(json!({"source": {"path": "/srv/shop"}})).await;
    let generators = json!([{"list": {"elements": [{"name": "shop"}, {"name": "other"}]}}]);
    let template = json!({"metadata": {"name": "${name}"}, "spec": {"source": {"path": "/srv/${name}"}}});
    start(&rig, json!({"generators": generators, "template": template})).await;
    let why = reason_is(&rig, "Failed").await;
    assert!(why.contains("\"shop\" that this set has not made"), "{why}");
    assert_eq!(applications(&rig).await, ["shop"]);
    let generators = json!([{"list": {"elements": [{"name": "Not_A_Name"}, {"name": "other"}]}}]);
    rig.patch(&format!("{SETS}/shops"), json!({"spec": {"generators": generators}})).await;
    rig.until(async || {
        let status = rig.get(&format!("{SETS}/shops")).await?["status"].clone();
        status["errors"][0].as_str()?.contains("Not_A_Name").then_some(())
    })
    .await;
    assert_eq!(applications(&rig).await, ["shop"], "all or nothing");
}
