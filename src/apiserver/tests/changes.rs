//! Patches, subresources, deletions, change sets.

use super::Rig;
use crate::api::changeset::{ChangeAction, ChangeSetSpec};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn patches_change_and_count_generations() {
    let rig = Rig::new().await;
    let (code, made) = rig.post(DEPLOYMENTS, deployment("d")).await;
    assert_eq!((code, &made["metadata"]["generation"]), (201, &json!(1)), "{made}");
    assert_eq!(made["status"], json!({}), "clients read its fields without asking whether it is there");
    let path = format!("{DEPLOYMENTS}/d");
    let merge = "application/merge-patch+json";
    let (code, patched) = rig.send("PATCH", &path, merge, r#"{"spec":{"replicas":5}}"#).await;
    assert_eq!((code, &patched["metadata"]["generation"]), (200, &json!(2)), "{patched}");
    assert_eq!(rig.send("PATCH", &path, merge, "{}").await, (200, patched));
    let (code, wrong) = rig.send("PATCH", &path, merge, r#"{"metadata":{"resourceVersion":"1"}}"#).await;
    assert_eq!((code, &wrong["reason"]), (409, &json!("Conflict")));
    let (_, scale) = rig.get(&format!("{path}/scale")).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let (code, scale) = rig.send("PATCH", &format!("{path}/scale"), merge, r#"{"spec":{"replicas":3}}"#).await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(3)), "{scale}");
    assert_eq!(rig.get(&path).await.1["metadata"]["generation"], 3);
    let (code, status) =
        rig.send("PATCH", &format!("{path}/status"), merge, r#"{"status":{"replicas":3},"spec":{"replicas":9}}"#).await;
    assert_eq!(
        (code, &status["status"]["replicas"], &status["spec"]["replicas"]),
        (200, &json!(3), &json!(3)),
        "{status}"
    );
    assert_eq!(status["metadata"]["generation"], 3);
}

#[tokio::test]
async fn who_writes_a_pod_anew_need_not_know_what_it_was_given() {
    let rig = Rig::new().await;
    let (_, made) = rig.post(PODS, pod("web")).await;
    let mut new = made.clone();
    new["spec"]["tolerations"] = json!([{"key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule"}]);
    for name in ["priority", "preemptionPolicy"] {
        new["spec"].as_object_mut().unwrap().remove(name);
    }
    let (code, changed) = rig.put(&format!("{PODS}/web"), new).await;
    assert_eq!((code, &changed["metadata"]["generation"]), (200, &json!(2)), "{changed}");
    assert_eq!(changed["spec"]["tolerations"].as_array().unwrap().len(), 3, "{changed}");
    assert_eq!(changed["spec"]["priority"], made["spec"]["priority"]);
}

#[tokio::test]
async fn pods_are_bound_and_die_in_their_own_time() {
    let rig = Rig::new().await;
    let (code, made) = rig.post(PODS, pod("web")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"][0]["tolerationSeconds"], 300);
    let binding = json!({"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}});
    let (code, bound) = rig.post(&format!("{PODS}/web/binding"), binding.clone()).await;
    assert_eq!((code, &bound["status"]), (201, &json!("Success")), "{bound}");
    assert_eq!(rig.post(&format!("{PODS}/web/binding"), binding).await.0, 409);
    let (_, page) = rig.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);

    let (code, dying) = rig.delete(&format!("{PODS}/web")).await;
    assert_eq!((code, &dying["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(30)), "{dying}");
    let (code, gone) = rig.delete(&format!("{PODS}/web?gracePeriodSeconds=0")).await;
    assert_eq!((code, &gone["kind"]), (200, &json!("Pod")));
    assert_eq!(rig.get(&format!("{PODS}/web")).await.0, 404);
    // Nobody runs an unscheduled pod.
    rig.post(PODS, pod("idle")).await;
    rig.delete(&format!("{PODS}/idle")).await;
    assert_eq!(rig.get(&format!("{PODS}/idle")).await.0, 404);
}

#[tokio::test]
async fn finalizers_hold_objects() {
    let rig = Rig::new().await;
    rig.post(MAPS, json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})).await;
    let path = format!("{MAPS}/held");
    let (code, marked) = rig.delete(&path).await;
    assert!(code == 200 && marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    let merge = "application/merge-patch+json";
    let (code, _) =
        rig.send("PATCH", &path, merge, r#"{"metadata":{"finalizers":["example.com/hold","example.com/b"]}}"#).await;
    assert_eq!(code, 422);
    let (code, _) = rig.send("PATCH", &path, merge, r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!((code, rig.get(&path).await.0), (200, 404));
}

#[tokio::test]
async fn a_namespace_terminates() {
    let rig = Rig::new().await;
    rig.post("/api/v1/namespaces", json!({"metadata": {"name": "short"}})).await;
    let (code, dying) = rig.delete("/api/v1/namespaces/short").await;
    assert_eq!((code, &dying["status"]["phase"]), (200, &json!("Terminating")), "{dying}");
    let (code, refused) = rig.post("/api/v1/namespaces/short/configmaps", json!({"metadata": {"name": "c"}})).await;
    assert_eq!((code, &refused["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")), "{refused}");
    let mut last = dying.clone();
    last["spec"]["finalizers"] = json!([]);
    let (code, _) = rig.put("/api/v1/namespaces/short/finalize", last).await;
    assert_eq!((code, rig.get("/api/v1/namespaces/short").await.0), (200, 404));
    assert_eq!(rig.delete("/api/v1/namespaces/default").await.0, 403);
}

#[tokio::test]
async fn services_get_addresses() {
    let rig = Rig::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service =
        |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let (code, made) = rig.post(services, service("a")).await;
    assert_eq!(code, 201, "{made}");
    assert!(made["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96."));
    assert!(made["spec"]["ports"][0]["nodePort"].as_u64().unwrap() >= 30000);
    let mut clash = service("b");
    clash["spec"]["clusterIP"] = made["spec"]["clusterIP"].clone();
    let (code, refused) = rig.post(services, clash).await;
    assert!(
        code == 422 && refused["message"].as_str().unwrap().contains("provided IP is already allocated"),
        "{refused}"
    );
    let (_, kept) = rig.put(&format!("{services}/a"), service("a")).await;
    assert_eq!(kept["spec"], made["spec"]);
}

#[tokio::test]
async fn a_change_set_is_all_or_nothing() {
    let rig = Rig::new().await;
    let path = "/apis/selkie.dev/v1alpha1/changesets";
    let typed = |version: &str, kind: &str, mut object: Value, namespace: &str| {
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        object
    };
    let map = |name: &str| typed("v1", "ConfigMap", json!({"metadata": {"name": name}, "data": {"a": "1"}}), "new");
    let namespace = typed("v1", "Namespace", json!({"metadata": {"name": "new"}}), "");
    let web = typed("apps/v1", "Deployment", deployment("web"), "new");
    let set =
        |objects: Value, dry: bool| json!({"spec": {"fieldManager": "selkie", "dryRun": dry, "objects": objects}});

    let bad = typed("v1", "ConfigMap", json!({"metadata": {"name": "BAD"}, "bogus": 1}), "new");
    let unknown = typed("x.y/v1", "Thing", json!({"metadata": {"name": "t"}}), "new");
    let (code, answer) = rig.post(path, set(json!([map("a"), namespace, bad, unknown]), false)).await;
    assert_eq!((code, &answer["status"]["applied"]), (200, &json!(false)), "{answer}");
    let actions = |answer: &Value| -> Vec<String> {
        answer["status"]["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["action"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(actions(&answer), ["created", "created", "failed", "failed"]);
    assert_eq!(rig.get("/api/v1/namespaces/new").await.0, 404);

    let (_, dry) = rig.post(path, set(json!([map("a"), namespace, web]), true)).await;
    assert_eq!((&dry["status"]["applied"], rig.get("/api/v1/namespaces/new").await.0), (&json!(true), 404), "{dry}");
    let (_, done) = rig.post(path, set(json!([map("a"), namespace, web]), false)).await;
    assert_eq!(actions(&done), ["created", "created", "created"]);
    let (_, stored) = rig.get("/api/v1/namespaces/new/configmaps/a").await;
    assert_eq!(done["status"]["results"][0]["after"], stored);
    assert_eq!(done["status"]["revision"].to_string(), stored["metadata"]["resourceVersion"].as_str().unwrap());
    let (_, again) = rig.post(path, set(json!([map("a"), namespace, web]), false)).await;
    assert_eq!(actions(&again), ["unchanged", "unchanged", "unchanged"], "{again}");
    // Known to change nothing by now, which holds until somebody writes.
    let (code, _) = rig
        .send("PATCH", "/api/v1/namespaces/new/configmaps/a", "application/merge-patch+json", r#"{"data":{"a":"2"}}"#)
        .await;
    let (_, known) = rig.post(path, set(json!([map("a"), namespace, web]), false)).await;
    assert_eq!(
        (code, actions(&known)),
        (200, ["failed", "unchanged", "unchanged"].map(String::from).to_vec()),
        "{known}"
    );
    let mut forced = set(json!([map("a"), namespace, web]), false);
    forced["spec"]["force"] = json!(true);
    let (_, corrected) = rig.post(path, forced).await;
    assert_eq!(actions(&corrected), ["configured", "unchanged", "unchanged"], "{corrected}");
    let id = json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": "new", "name": "a"});
    let prune = json!({"spec": {"fieldManager": "selkie", "objects": [web], "deletions": [id]}});
    let (_, pruned) = rig.post(path, prune).await;
    assert_eq!(actions(&pruned), ["unchanged", "deleted"]);
    assert_eq!(rig.get("/api/v1/namespaces/new/configmaps/a").await.0, 404);
}

#[tokio::test]
async fn a_large_change_set_does_what_its_objects_do_one_by_one() {
    let rig = Rig::new().await;
    let path = "/apis/selkie.dev/v1alpha1/changesets";
    let object = |number: usize, value: &str| match number % 4 {
        0 => json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("o{number}"), "namespace": "default", "labels": {"v": value}},
            "spec": deployment("d")["spec"]}),
        1 => json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("o{number}"),
            "namespace": "default"}, "spec": {"ports": [{"port": 80}], "selector": {"v": value}}}),
        _ => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("o{number}"),
            "namespace": "default"}, "data": {"v": value}}),
    };
    let set = |objects: &[Value], dry: bool| json!({"spec": {"fieldManager": "s", "dryRun": dry, "objects": objects}});
    let first: Vec<Value> = (0..100).map(|number| object(number, "first")).collect();
    let (_, made) = rig.post(path, set(&first, false)).await;
    assert_eq!(made["status"]["applied"], true, "{made}");
    let mut wanted: Vec<Value> =
        (0..110).map(|number| object(number, if number % 3 == 0 { "second" } else { "first" })).collect();
    wanted[7]["data"] = json!({"v": {"is": "no text"}});
    // It takes a port.
    wanted[25]["spec"]["type"] = "NodePort".into();
    let (_, all) = rig.post(path, set(&wanted, true)).await;
    for (number, intent) in wanted.iter().enumerate() {
        let (_, alone) = rig.post(path, set(std::slice::from_ref(intent), true)).await;
        let (mut together, mut alone) =
            (all["status"]["results"][number].clone(), alone["status"]["results"][0].clone());
        // What chance and the time of day decide.
        for after in [&mut together["after"], &mut alone["after"]].into_iter().filter(|after| after.is_object()) {
            let made_new = number >= 100;
            for entry in after["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
                entry["time"] = Value::Null;
            }
            for port in after["spec"]["ports"].as_array_mut().into_iter().flatten() {
                assert_eq!(port["nodePort"].is_u64(), number == 25);
                port["nodePort"] = Value::Null;
            }
            if made_new {
                after["metadata"]["uid"] = Value::Null;
                after["metadata"]["creationTimestamp"] = Value::Null;
                after["spec"]["clusterIP"] = Value::Null;
                after["spec"]["clusterIPs"] = Value::Null;
            }
        }
        assert_eq!(together, alone, "{number}");
    }
    assert_eq!(all["status"]["results"][7]["action"], "failed");
    wanted.remove(7);
    wanted.push(wanted[3].clone());
    let (_, twice) = rig.post(path, set(&wanted, true)).await;
    let last = &twice["status"]["results"][wanted.len() - 1];
    assert!(last["error"]["message"].as_str().unwrap().contains("more than once"), "{last}");
    wanted.pop();
    let (_, done) = rig.post(path, set(&wanted, false)).await;
    assert_eq!(done["status"]["applied"], true, "{done}");
    for name in ["deployments/o0", "deployments/o4"] {
        let (_, stored) = rig.get(&format!("/apis/apps/v1/namespaces/default/{name}")).await;
        let of_it = |result: &&Value| format!("deployments/{}", result["id"]["name"].as_str().unwrap()) == name;
        let result = done["status"]["results"].as_array().unwrap().iter().find(of_it).unwrap();
        let expected = if name.ends_with("o0") { &stored } else { &Value::Null };
        assert_eq!(&result["after"], expected, "unchanged objects carry nothing");
    }
}

#[tokio::test]
async fn what_a_change_set_was_made_from_is_as_it_was() {
    let rig = Rig::new().await;
    let path = "/apis/selkie.dev/v1alpha1/changesets";
    let map = |name: &str, value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default",
            "annotations": {"a": value}}})
    };
    let expect = |name: &str, value: Value, uid: &str, written: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default", "name": name, "uid": uid});
        json!({"spec": {"fieldManager": "s", "objects": [map("made", written)],
            "expectedAnnotations": [{"object": object, "name": "a", "value": value}]}})
    };
    let (_, other) = rig.post("/api/v1/namespaces/default/configmaps", map("other", "1")).await;
    let uid = other["metadata"]["uid"].as_str().unwrap();
    let cases = [
        ("other", json!("1"), uid, true),
        ("other", json!("1"), "", true),
        ("other", json!("1"), "another", false),
        ("other", json!("2"), "", false),
        ("other", Value::Null, "", false),
        ("absent", Value::Null, "", true),
        ("absent", json!("1"), "", false),
        // Of what it writes itself, what was there before counts.
        ("made", json!("2"), "", false),
        ("made", json!("5"), "", true),
    ];
    for (number, (name, value, uid, holds)) in cases.into_iter().enumerate() {
        let (code, answer) = rig.post(path, expect(name, value.clone(), uid, &number.to_string())).await;
        assert_eq!(
            (code, answer["status"]["applied"] == true),
            (if holds { 200 } else { 409 }, holds),
            "{name} {value}"
        );
        if !holds {
            let said = answer["message"].as_str().unwrap();
            assert!(said.starts_with(&format!("the annotation a of configmaps {name:?} is not what")), "{said}");
        }
    }
    let (_, made) = rig.get("/api/v1/namespaces/default/configmaps/made").await;
    assert_eq!(made["metadata"]["annotations"]["a"], "8");
}

#[tokio::test]
async fn a_change_set_defines_what_it_uses() {
    let rig = Rig::new().await;
    let path = "/apis/selkie.dev/v1alpha1/changesets";
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"size": {"type": "integer", "maximum": 9, "default": 3}}}}}}}]}});
    let widget = |size: Value| {
        json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"},
            "spec": {"size": size}})
    };
    let set = |objects: Value, deletions: Value| json!({"spec": {"fieldManager": "selkie", "objects": objects, "deletions": deletions}});
    let (_, refused) = rig.post(path, set(json!([widget(json!(10)), definition]), json!([]))).await;
    let message = &refused["status"]["results"][0]["error"]["message"];
    assert!(message.as_str().unwrap().contains("should be less than or equal to 9"), "{refused}");
    assert!(rig.get("/apis/example.org/v1/namespaces/default/widgets").await.0 == 404);
    let (_, done) = rig.post(path, set(json!([widget(Value::Null), definition]), json!([]))).await;
    assert_eq!(done["status"]["applied"], true, "{done}");
    assert_eq!(rig.get("/apis/example.org/v1/namespaces/default/widgets/w").await.1["spec"]["size"], 3);
    let one = "/apis/example.org/v1/namespaces/default/widgets/w";
    let (code, refused) = rig.put(one, widget(json!(2))).await;
    assert_eq!(code, 422, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("must be specified for an update"), "{refused}");
    let mut nameless = widget(json!(2));
    nameless["kind"] = Value::Null;
    let (code, refused) = rig.post("/apis/example.org/v1/namespaces/default/widgets", nameless).await;
    assert!(
        code == 400 && refused["message"].as_str().unwrap().starts_with("Object 'Kind' is missing in"),
        "{refused}"
    );
    let (_, again) = rig.post(path, set(json!([definition, widget(Value::Null)]), json!([]))).await;
    let results = again["status"]["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["action"] == "unchanged"), "{again}");
    let id = |version: &str, kind: &str, name: &str, namespace: &str| json!({"apiVersion": version, "kind": kind, "name": name, "namespace": namespace});
    let both = json!([
        id("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.org", ""),
        id("example.org/v1", "Widget", "w", "default")
    ]);
    let (_, gone) = rig.post(path, set(json!([]), both)).await;
    let results = gone["status"]["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["action"] == "deleted"), "{gone}");
    let widgets = "/apis/example.org/v1/namespaces/default/widgets";
    assert_eq!(rig.get(widgets).await.1["items"], json!([]));
    let (code, refused) = rig.post(widgets, widget(json!(1))).await;
    let expected = "create not allowed while custom resource definition is terminating";
    assert_eq!((code, &refused["message"]), (405, &json!(expected)));
}

#[tokio::test]
async fn a_change_set_may_name_classes_after_the_pods_that_use_them() {
    let rig = Rig::new().await;
    let mut user = pod("web");
    (user["apiVersion"], user["kind"]) = (json!("v1"), json!("Pod"));
    user["metadata"]["namespace"] = json!("default");
    (user["spec"]["priorityClassName"], user["spec"]["runtimeClassName"]) = (json!("high"), json!("kata"));
    let priority = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 7});
    let runtime = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
        "handler": "kata", "overhead": {"podFixed": {"cpu": "10m"}}});
    let spec = json!({"fieldManager": "selkie", "objects": [user, runtime, priority]});
    let (_, done) = rig.post("/apis/selkie.dev/v1alpha1/changesets", json!({ "spec": spec })).await;
    assert_eq!(done["status"]["applied"], true, "{done}");
    let (_, made) = rig.get(&format!("{PODS}/web")).await;
    assert_eq!((&made["spec"]["priority"], &made["spec"]["overhead"]["cpu"]), (&json!(7), &json!("10m")), "{made}");
}

/// What has to hold for applies to be remembered: said again, by anybody's reckoning, they change nothing.
#[tokio::test]
async fn what_was_applied_changes_nothing_when_it_is_applied_again() {
    let rig = Rig::new().await;
    let named = |api_version: &str, kind: &str, rest: Value| {
        let mut object = rest;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "a", "namespace": "default", "labels": {"app": "a"}});
        object
    };
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let selector = json!({"matchLabels": {"app": "a"}});
    let spec = |value: &str| {
        json!({"fieldManager": "selkie", "objects": [
            named("v1", "ConfigMap", json!({"data": {"key": value}})),
            named("v1", "Secret", json!({"stringData": {"key": value}, "data": {"other": "dmFsdWU="}})),
            named("v1", "Service", json!({"spec": {"selector": {"app": value}, "ports": [{"port": 80}]}})),
            named("v1", "ServiceAccount", json!({})),
            named("apps/v1", "Deployment", json!({"spec": {"minReadySeconds": value.len(), "selector": selector, "template": template}})),
            named("apps/v1", "DaemonSet", json!({"spec": {"minReadySeconds": value.len(), "selector": selector, "template": template}})),
            named("apps/v1", "StatefulSet", json!({"spec": {"minReadySeconds": value.len(), "serviceName": "a", "selector": selector, "template": template}})),
            named("batch/v1", "CronJob", json!({"spec": {"schedule": "* * * * *", "suspend": value == "one",
                "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}})),
            named("networking.k8s.io/v1", "NetworkPolicy", json!({"spec": {"podSelector": {"matchLabels": {"app": value}}}})),
            named("policy/v1", "PodDisruptionBudget", json!({"spec": {"minAvailable": value.len(), "selector": selector}})),
        ]})
    };
    for value in ["one", "another"] {
        let spec: ChangeSetSpec = serde_json::from_value(spec(value)).unwrap();
        let first = rig.server.change(&spec).await.unwrap();
        assert!(first.applied, "{:?}", first.results.iter().map(|result| &result.error).collect::<Vec<_>>());
        // One that remembers, and one that does not.
        let forgetful = rig.another();
        for server in [&rig.server, &forgetful] {
            let again = server.change(&spec).await.unwrap();
            for result in &again.results {
                assert_eq!(result.action, ChangeAction::Unchanged, "{:?}", result.id);
            }
        }
    }
}
