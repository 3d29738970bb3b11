//! Readiness by the rules that an Application brings along.

use super::*;

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.example.org}
spec:
  group: example.org
  names: {kind: Database, plural: databases}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {size: {type: integer}}}
            status: {type: object, properties: {phase: {type: string}}}
";
const STORE: &str = "/apis/example.org/v1/namespaces/default/databases/store";

fn database(size: u32) -> String {
    format!(
        "apiVersion: example.org/v1\nkind: Database\nmetadata: {{name: store, annotations: {{selkie.dev/sync-wave: '1'}}}}\n\
         spec: {{size: {size}}}\n"
    )
}

fn checks() -> Value {
    json!([{"apiVersion": "example.org/v1", "kind": "Database", "failed": "status.phase == 'Failed'",
        "current": "status.phase == 'Running'"}])
}

/// Plays the controller.
async fn say(rig: &Rig, phase: &str) {
    rig.patch(&format!("{STORE}/status"), json!({"status": {"phase": phase}})).await;
}

fn told(event: &Event) -> Option<String> {
    if let Event::Progress(objects) = event { Some(objects.first()?.message.clone()) } else { None }
}

/// Status, reason and message of the condition Ready, once `wanted` holds of it.
async fn until_ready(rig: &Rig, wanted: impl Fn(&str, &str, &str) -> bool) {
    rig.until(async || {
        let status = rig.status().await;
        let ready = status["conditions"].as_array()?.iter().find(|one| one["type"] == "Ready")?;
        let text = |field: &str| ready[field].as_str().unwrap_or_default();
        wanted(text("status"), text("reason"), text("message")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_custom_resource_is_ready_when_the_applications_rule_says_so() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let (folder, mut events) = rig.follow(&[("crd.yaml", DEFINITION)]).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"healthChecks": checks()}})).await;
    folder.write(
        "late.yaml",
        &map("late", "1").replace("name: late", "name: late\n  annotations: {selkie.dev/sync-wave: '2'}"),
    );
    folder.write("store.yaml", &database(1));
    assert_eq!(next(&mut events, told).await, "health check failed: no such key: status");
    say(&rig, "Starting").await;
    assert_eq!(next(&mut events, told).await, "not yet so: status.phase == 'Running'");
    assert!(rig.map("late").await.is_none(), "the next wave waits");
    say(&rig, "Running").await;
    assert_eq!(next(&mut events, done).await.failed, []);
    assert!(rig.map("late").await.is_some());

    say(&rig, "Starting").await;
    until_ready(&rig, |status, _, message| {
        status == "False" && message == "Database default/store: not yet so: status.phase == 'Running'"
    })
    .await;
    say(&rig, "Failed").await;
    until_ready(&rig, |status, reason, message| {
        (status, reason) == ("False", "Failed") && message.contains("health check failed: status.phase == 'Failed'")
    })
    .await;
    // What comes right by itself needs no sync.
    let synced = rig.status().await["lastSyncTime"].clone();
    say(&rig, "Running").await;
    until_ready(&rig, |status, _, _| status == "True").await;
    assert_eq!(rig.status().await["lastSyncTime"], synced);
    say(&rig, "Failed").await;
    until_ready(&rig, |_, reason, _| reason == "Failed").await;
    // Other rules judge anew what is there.
    rig.patch(SHOP, json!({"spec": {"healthChecks": []}})).await;
    until_ready(&rig, |status, _, _| status == "True").await;
    let stricter = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.k == 'never'"}]);
    rig.patch(SHOP, json!({"spec": {"healthChecks": stricter}})).await;
    until_ready(&rig, |status, _, message| status == "False" && message.contains("data.k == 'never'")).await;
}

#[tokio::test]
async fn a_rollout_that_the_rule_calls_failed_is_taken_back() {
    let rig = Rig::new().await;
    with_controllers(&rig);
    let (folder, mut events) = rig.follow(&[("crd.yaml", DEFINITION)]).await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"healthChecks": checks()}})).await;
    folder.write("store.yaml", &database(1));
    next(&mut events, told).await;
    say(&rig, "Running").await;
    next(&mut events, done).await;
    rig.patch(SHOP, json!({"spec": {"rollback": "onFailure"}})).await;
    folder.write("store.yaml", &database(2));
    let size = async || rig.get(STORE).await?["spec"]["size"].as_u64();
    rig.until(async || (size().await == Some(2)).then_some(())).await;
    say(&rig, "Failed").await;
    rig.until(async || (size().await == Some(1)).then_some(())).await;
    let quarantine =
        rig.until(async || Some(rig.status().await["quarantine"].clone()).filter(|one| !one.is_null())).await;
    let cause = "Database default/store: health check failed: status.phase == 'Failed'";
    assert_eq!(quarantine["cause"], cause);
}

#[tokio::test]
async fn a_rule_that_does_not_compile_is_refused_with_its_place() {
    let rig = Rig::new().await;
    let check = json!({"apiVersion": "example.org/v1", "kind": "Database", "current": "status.phase = 'x'"});
    let application = json!({"metadata": {"name": "shop"},
        "spec": {"source": {"path": "/nowhere"}, "healthChecks": [check]}});
    let path = format!("/apis/selkie.dev/v1alpha1/namespaces/{NAMESPACE}/applications");
    let body = Some(("application/json", application.to_string().into()));
    let refused = raw::request(&rig.client, Method::POST, &path, body).await.unwrap_err().to_string();
    let expected =
        "spec.healthChecks[0].current: Invalid value: \"status.phase = 'x'\": does not compile: line 1, column 14";
    assert!(refused.contains(expected), "{refused}");
}
