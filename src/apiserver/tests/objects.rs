//! Create, read, update, delete, list and watch.

use super::Rig;
use serde_json::{Value, json};
use std::sync::Arc;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"a": value}})
}

#[tokio::test]
async fn an_object_lives_and_dies() {
    let rig = Rig::new().await;
    let (code, made) = rig.post(MAPS, map("one", "1")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["kind"], "ConfigMap");
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
    let path = format!("{MAPS}/one");
    assert_eq!(rig.get(&path).await, (200, made.clone()));
    let (code, again) = rig.post(MAPS, map("one", "1")).await;
    assert_eq!((code, &again["message"]), (409, &json!("configmaps \"one\" already exists")));

    let (code, changed) = rig.put(&path, map("one", "2")).await;
    assert_eq!(code, 200, "{changed}");
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);
    // The same again is no write.
    assert_eq!(rig.put(&path, map("one", "2")).await, (200, changed));
    // An old version loses.
    let (code, stale) = rig.put(&path, made.clone()).await;
    assert_eq!((code, &stale["reason"]), (409, &json!("Conflict")));

    let (code, status) = rig.delete(&path).await;
    assert_eq!((code, &status["details"]["kind"]), (200, &json!("configmaps")));
    let (code, missing) = rig.get(&path).await;
    assert_eq!((code, &missing["message"]), (404, &json!("configmaps \"one\" not found")));
}

/// An apply is never told that the object exists, whoever came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_race_to_create_becomes_a_change() {
    let rig = Arc::new(Rig::new().await);
    for round in 0..40 {
        let requests = (0..8).map(|n| {
            let (rig, name) = (rig.clone(), format!("m{round}"));
            let mut object = map(&name, &n.to_string());
            (object["apiVersion"], object["kind"]) = (json!("v1"), json!("ConfigMap"));
            let path = format!("{MAPS}/{name}?fieldManager=test&force=true");
            tokio::spawn(
                async move { rig.send("PATCH", &path, "application/apply-patch+yaml", object.to_string()).await },
            )
        });
        let requests: Vec<_> = requests.collect();
        for request in requests {
            let (code, answer) = request.await.unwrap();
            assert!(code == 200 || code == 201, "{answer}");
        }
    }
}

#[tokio::test]
async fn refusals_read_as_in_kubernetes() {
    let rig = Rig::new().await;
    let message = |answer: (u16, Value)| (answer.0, answer.1["message"].as_str().unwrap_or_default().to_string());
    let nowhere = rig.post("/api/v1/namespaces/nons/configmaps", map("a", "1")).await;
    assert_eq!(message(nowhere), (404, "namespaces \"nons\" not found".into()));
    let other = rig.post(MAPS, json!({"metadata": {"name": "a", "namespace": "b"}})).await;
    let text = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(message(other), (400, text.into()));
    rig.post(MAPS, map("a", "1")).await;
    let misnamed = rig.put(&format!("{MAPS}/a"), map("b", "1")).await;
    assert_eq!(message(misnamed), (400, "the name of the object (b) does not match the name on the URL (a)".into()));
    let nameless = rig.post(MAPS, json!({})).await;
    let text = "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    assert_eq!(message(nameless), (422, text.into()));
    assert_eq!(rig.get("/api/v1/bogus").await.0, 404);
    assert_eq!(rig.get("/apis/none/v1/things").await, (404, json!("404 page not found\n")));
    assert_eq!(rig.send("PUT", MAPS, "", "{}").await.0, 405);
    assert_eq!(rig.send("POST", MAPS, "text/html", "{}").await.0, 415);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let rig = Rig::new().await;
    for index in 0..5 {
        rig.post(MAPS, map(&format!("m{index}"), "1")).await;
    }
    let (_, page) = rig.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(page["kind"], "ConfigMapList");
    assert_eq!((page["items"].as_array().unwrap().len(), &page["metadata"]["remainingItemCount"]), (2, &json!(3)));
    let token = page["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = rig.get(&format!("{MAPS}?limit=10&continue={token}")).await;
    assert_eq!(rest["items"][0]["metadata"]["name"], "m2");
    assert_eq!(rest["metadata"]["continue"], Value::Null);
    let (_, one) = rig.get(&format!("{MAPS}?labelSelector=app%3Dm3")).await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    let (_, one) = rig.get(&format!("{MAPS}?fieldSelector=metadata.name!%3Dm3")).await;
    assert_eq!(one["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn generated_names_and_dry_runs() {
    let rig = Rig::new().await;
    let (code, made) = rig.post(MAPS, json!({"metadata": {"generateName": "x-"}})).await;
    assert_eq!((code, made["metadata"]["name"].as_str().unwrap().len()), (201, 7));
    let (code, dry) = rig.post(&format!("{MAPS}?dryRun=All"), map("dry", "1")).await;
    assert_eq!((code, &dry["metadata"]["resourceVersion"]), (201, &Value::Null));
    assert_eq!(rig.get(&format!("{MAPS}/dry")).await.0, 404);
}

#[tokio::test]
async fn watches_show_changes_and_selections() {
    let rig = Rig::new().await;
    rig.post(MAPS, map("a", "1")).await;
    let all = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=5"
    );
    let first = rig.watch(&all, 2).await;
    assert_eq!((&first[0]["type"], &first[1]["type"]), (&json!("ADDED"), &json!("BOOKMARK")));
    assert_eq!(first[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let from = first[1]["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    rig.put(&format!("{MAPS}/a"), map("b", "1")).await;
    let mut other = map("a", "1");
    other["metadata"]["labels"]["app"] = json!("other");
    let (_, moved) = rig.put(&format!("{MAPS}/a"), other).await;
    let seen = rig.watch(&format!("{MAPS}?watch=1&resourceVersion={from}&labelSelector=app%3Da"), 1).await;
    assert_eq!(seen[0]["type"], "DELETED");
    assert_eq!(seen[0]["object"]["metadata"]["labels"]["app"], "a");
    assert_eq!(seen[0]["object"]["metadata"]["resourceVersion"], moved["metadata"]["resourceVersion"]);
    let (code, _) = rig.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(code, 422);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_none_yet_is_waited_for() {
    let rig = Rig::new().await;
    for watch in ["", "&watch=1"] {
        let (code, refused) = rig.get(&format!("{MAPS}?resourceVersion=abc{watch}")).await;
        assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")));
        assert!(refused["message"].as_str().unwrap().contains("strconv.ParseUint: parsing \"abc\": invalid syntax"));
    }
    let initial = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for query in ["", initial] {
        let (code, late) = rig.get(&format!("{MAPS}?resourceVersion=9999&{query}")).await;
        assert_eq!((code, &late["reason"]), (504, &json!("Timeout")));
        assert_eq!(late["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    }
    let (_, made) = rig.post(MAPS, map("a", "1")).await;
    let now: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let path = format!("{MAPS}?watch=1&resourceVersion={}", now + 2);
    let (seen, ()) = tokio::join!(rig.watch(&path, 1), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for value in ["2", "3", "4"] {
            rig.put(&format!("{MAPS}/a"), map("a", value)).await;
        }
    });
    assert_eq!(seen[0]["object"]["metadata"]["resourceVersion"], (now + 3).to_string());
}
