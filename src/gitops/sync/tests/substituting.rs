//! Variables in an Application's manifests: where they are from, and what happens when they change.

use super::*;

const CONFIG_MAPS: &str = "/api/v1/namespaces/selkie-system/configmaps";
const SECRETS: &str = "/api/v1/namespaces/selkie-system/secrets";

/// The engine on a source whose ConfigMap `a` says `text`.
async fn start(rig: &Rig, text: &str, post_build: Value) -> (Folder, mpsc::UnboundedReceiver<Event>) {
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.write("a.yaml", &map("a", text));
    rig.declare(json!({"source": {"path": folder.0.path()}, "interval": "1h", "postBuild": post_build})).await;
    let events = rig.run(Clock::System);
    (folder, events)
}

async fn value_is(rig: &Rig, wanted: &str) {
    rig.until(async || rig.map("a").await.filter(|found| found["data"]["k"] == wanted)).await;
}

#[tokio::test]
async fn changed_variables_are_put_in_at_once() {
    let rig = Rig::new().await;
    rig.create(CONFIG_MAPS, &json!({"metadata": {"name": "vars"}, "data": {"ENV": "one", "WHO": "map"}})).await;
    rig.create(SECRETS, &json!({"metadata": {"name": "vars"}, "stringData": {"WHO": "secret"}})).await;
    let from = json!([{"kind": "ConfigMap", "name": "vars"}, {"kind": "Secret", "name": "vars"},
        {"kind": "ConfigMap", "name": "later", "optional": true}]);
    let post_build = json!({"substitute": {"INLINE": "inline"}, "substituteFrom": from});
    let (_folder, _events) = start(&rig, "${ENV} ${WHO} ${INLINE} ${NONE:-none} $${ENV}", post_build).await;
    value_is(&rig, "one secret inline none ${ENV}").await;
    rig.patch(&format!("{CONFIG_MAPS}/vars"), json!({"data": {"ENV": "two"}})).await;
    value_is(&rig, "two secret inline none ${ENV}").await;
    // The last one counts, and what is said in the Application itself counts more.
    rig.create(CONFIG_MAPS, &json!({"metadata": {"name": "later"}, "data": {"WHO": "later", "INLINE": "x"}})).await;
    value_is(&rig, "two later inline none ${ENV}").await;
    raw::request(&rig.client, Method::DELETE, &format!("{CONFIG_MAPS}/later"), None).await.unwrap();
    value_is(&rig, "two secret inline none ${ENV}").await;
    rig.patch(SHOP, json!({"spec": {"postBuild": {"substitute": {"INLINE": "other"}}}})).await;
    value_is(&rig, "two secret other none ${ENV}").await;
    // The source is at one revision all the while; the history has each.
    let status = rig.until(async || Some(rig.status().await).filter(|status| status["revisionNumber"] == 5)).await;
    assert_eq!(status["revision"], status["attemptedRevision"]);
}

#[tokio::test]
async fn without_its_variables_an_application_stays_as_it_is() {
    let rig = Rig::new().await;
    rig.create(SECRETS, &json!({"metadata": {"name": "vars"}, "stringData": {"PASSWORD": "hunter2"}})).await;
    let post_build = json!({"strict": true, "substituteFrom": [{"kind": "Secret", "name": "vars"}]});
    let (folder, mut events) = start(&rig, "${PASSWORD}", post_build).await;
    value_is(&rig, "hunter2").await;

    folder.write("a.yaml", &map("a", "${PASSWORD} ${OTHER}"));
    let errors = next(&mut events, failed).await;
    assert!(errors[0].contains("a.yaml:6:6: the variable OTHER is not set"), "{errors:?}");
    raw::request(&rig.client, Method::DELETE, &format!("{SECRETS}/vars"), None).await.unwrap();
    let gone = next(&mut events, failed).await;
    let expected = "Secret selkie-system/vars (spec.postBuild.substituteFrom[0]): it does not exist; create it in the \
                    namespace selkie-system, or set optional: true";
    assert_eq!(gone, [expected]);
    rig.create(SECRETS, &json!({"metadata": {"name": "vars"}, "stringData": {"ca.crt": "hunter2"}})).await;
    let odd = next(&mut events, failed).await;
    assert!(odd[0].contains("\"ca.crt\" is no name of a variable"), "{odd:?}");
    assert_eq!(rig.map("a").await.unwrap()["data"]["k"], "hunter2");
    let told = format!("{errors:?} {gone:?} {odd:?} {}", rig.status().await);
    assert!(!told.contains("hunter2"), "{told}");

    rig.patch(&format!("{SECRETS}/vars"), json!({"data": null, "stringData": {"PASSWORD": "a", "OTHER": "b"}})).await;
    value_is(&rig, "a b").await;
}

#[tokio::test]
async fn values_of_secrets_are_told_by_no_error_and_no_report() {
    let rig = Rig::new().await;
    rig.create(SECRETS, &json!({"metadata": {"name": "vars"}, "stringData": {"PASSWORD": "hunter2"}})).await;
    let post_build = json!({"substituteFrom": [{"kind": "Secret", "name": "vars"}]});
    let (folder, mut events) = start(&rig, "${PASSWORD}", post_build).await;
    value_is(&rig, "hunter2").await;
    rig.patch(&format!("{SECRETS}/vars"), json!({"stringData": {"PASSWORD": "hunter3"}})).await;
    let changed = next(&mut events, |event| match event {
        Event::Applied(report) if report.objects.iter().any(|object| !object.fields.is_empty()) => Some(report.clone()),
        _ => None,
    });
    let changed = changed.await;
    assert_eq!(changed.objects[0].fields[0].path(), "data.k");
    // A label may not have a space.
    let wrong = map("a", "x").replace("  name: a\n", "  name: a\n  labels: {l: \"${PASSWORD} x\"}\n");
    folder.write("a.yaml", &wrong);
    let errors = next(&mut events, failed).await;
    assert!(errors[0].contains("a.yaml:") && errors[0].contains("metadata.labels"), "{wrong}\n{errors:?}");
    let told = format!("{changed:?} {errors:?} {}", rig.status().await);
    assert!(!told.contains("hunter"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_with_other_variables() {
    let rig = Rig::new().await;
    rig.create(CONFIG_MAPS, &json!({"metadata": {"name": "vars"}, "data": {"ENV": "one"}})).await;
    let post_build = json!({"substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]});
    let (_folder, _events) = start(&rig, "${ENV}", post_build).await;
    value_is(&rig, "one").await;
    let status = rig.until(async || Some(rig.status().await).filter(|status| status["inputs"] != json!(null))).await;
    // As a rollout that failed leaves it.
    rig.stop.cancel();
    let quarantine = json!({"revision": status["revision"], "inputs": status["inputs"], "cause": "it crashed"});
    rig.patch(&format!("{SHOP}/status"), json!({"status": {"quarantine": quarantine}})).await;
    let again = Rig {
        client: rig.client.clone(),
        registry: rig.registry.clone(),
        stop: CancellationToken::new(),
        metrics: Metrics::default(),
    };
    let _events = again.run(Clock::System);
    again.patch(&format!("{CONFIG_MAPS}/vars"), json!({"data": {"ENV": "two"}})).await;
    value_is(&again, "two").await;
    again.until(async || again.status().await["quarantine"].is_null().then_some(())).await;
}
