//! Resources of a pod that exists, changed through its resize subresource.

use crate::Server;
use crate::raw::{ask, refused};
use serde_json::json;

fn pod(name: &str, resources: &str, more: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{"containers":[
            {{"name":"c","image":"i:1","resources":{resources}{more}}}]}}}}"#
    )
}

fn patch(resources: &str) -> String {
    format!(r#"{{"spec":{{"containers":[{{"name":"c","resources":{resources}}}]}}}}"#)
}

const BURSTABLE: &str = r#"{"requests":{"cpu":"500m","memory":"64Mi"},"limits":{"memory":"128Mi"}}"#;
const RESOURCES: &str = "jsonpath={.spec.containers[0].resources} {.metadata.generation}";

#[tokio::test(flavor = "multi_thread")]
async fn resources_change_by_resize_alone() {
    let server = Server::start().await;
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let more = patch(r#"{"requests":{"cpu":"1"},"limits":{"memory":"256Mi"}}"#);
    let only = "pod updates may not change fields other than";
    server.fails(&["patch", "pod", "web", "-p", &more], "", only);
    server.says(&["patch", "pod", "web", "--subresource", "resize", "-p", &more], "", "pod/web patched");
    let expected = r#"{"limits":{"memory":"256Mi"},"requests":{"cpu":"1","memory":"64Mi"}} 2"#;
    server.says(&["get", "pod", "web", "-o", RESOURCES], "", expected);
    server.says(&["get", "pod", "web", "--subresource", "resize", "-o", RESOURCES], "", expected);
    let owners = r#"jsonpath={.metadata.managedFields[?(@.subresource=="resize")].manager}"#;
    server.says(&["get", "pod", "web", "--show-managed-fields", "-o", owners], "", "kubectl-patch");
    // Less is tried, and what a resize does not speak of stays.
    let other = r#"{"metadata":{"labels":{"a":"b"}},"spec":{"activeDeadlineSeconds":5,"containers":[{"name":"c","image":"j:2",
        "resources":{"limits":{"memory":"64Mi"}}}]}}"#;
    server.ok(&["patch", "pod", "web", "--subresource", "resize", "-p", other], "");
    let kept = "jsonpath={.spec.containers[0].image} {.spec.containers[0].resources.limits.memory} {.spec.activeDeadlineSeconds}{.metadata.labels.a}";
    server.says(&["get", "pod", "web", "-o", kept], "", "i:1 64Mi ");
    // An editor puts the whole object.
    let editor = server.directory.path().join("edit");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/cpu: \"1\"/cpu: 750m/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let edited =
        server.command(&["edit", "pod", "web", "--subresource", "resize"]).env("KUBE_EDITOR", &editor).output();
    assert!(edited.unwrap().status.success());
    server.says(&["get", "pod", "web", "-o", RESOURCES], "", r#""cpu":"750m","memory":"64Mi"}} 4"#);
    let verbs = server.ok(&["get", "--raw", "/api/v1"], "");
    assert!(verbs.contains(r#""name":"pods/resize""#), "{verbs}");
    let openapi = server.ok(&["get", "--raw", "/openapi/v3/api/v1"], "");
    assert!(openapi.contains("/api/v1/namespaces/{namespace}/pods/{name}/resize"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resize_may_not_do_is_explained() {
    let server = Server::start().await;
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let best_effort = r#"{"requests":{"ephemeral-storage":"1Mi"}}"#;
    server.ok(&["create", "-f", "-"], &pod("free", best_effort, ""));
    let class = "Pod QOS Class may not change as a result of resizing";
    for (name, resources, why) in [
        ("free", r#"{"requests":{"cpu":"1"}}"#, class),
        ("web", r#"{"requests":{"cpu":"1","memory":"128Mi"},"limits":{"cpu":"1","memory":"128Mi"}}"#, class),
        ("web", r#"{"limits":{"memory":null}}"#, "resource limits cannot be removed"),
        ("web", r#"{"requests":{"cpu":null}}"#, "resource requests cannot be removed"),
        ("web", r#"{"requests":{"ephemeral-storage":"1Mi"}}"#, "only cpu and memory resources are mutable"),
        ("web", r#"{"requests":{"memory":"1Gi"}}"#, "must be less than or equal to memory limit of 128Mi"),
    ] {
        server.fails(&["patch", "pod", name, "--subresource", "resize", "-p", &patch(resources)], "", why);
    }
    let never = r#","resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}]"#;
    let never = pod("never", BURSTABLE, never).replace(r#""spec":{"#, r#""spec":{"restartPolicy":"Never","#);
    let why = "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'";
    server.fails(&["create", "-f", "-"], &never, why);
    let unknown = pod("bad", BURSTABLE, r#","resizePolicy":[{"resourceName":"disk","restartPolicy":"NotRequired"}]"#);
    server.fails(
        &["create", "-f", "-"],
        &unknown,
        "Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_takes_its_share_of_quotas_and_keeps_to_limits() {
    let server = Server::start().await;
    server.ok(&["create", "quota", "q", "--hard=requests.cpu=2"], "");
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let resize = |cpu: &str| patch(&format!(r#"{{"requests":{{"cpu":"{cpu}"}}}}"#));
    let over = "exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=500m, limited: requests.cpu=2";
    server.fails(&["patch", "pod", "web", "--subresource", "resize", "-p", &resize("2500m")], "", over);
    server.ok(&["patch", "pod", "web", "--subresource", "resize", "-p", &resize("1500m")], "");
    server.says(&["get", "quota", "q"], "", "requests.cpu: 1500m/2");
    let range = r#"{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"r"},"spec":{"limits":[{"type":"Container",
        "min":{"cpu":"200m"}}]}}"#;
    server.ok(&["create", "-f", "-"], range);
    let least = "minimum cpu usage per Container is 200m, but request is 100m";
    server.fails(&["patch", "pod", "web", "--subresource", "resize", "-p", &resize("100m")], "", least);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_what_is_too_much() {
    let server = Server::start().await;
    server.ok(&["create", "quota", "q", "--hard=requests.cpu=2"], "");
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let range = r#"{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"r"},"spec":{"limits":[{"type":"Container",
        "max":{"cpu":"3"}}]}}"#;
    server.ok(&["create", "-f", "-"], range);
    let path = "/api/v1/namespaces/default/pods/web/resize";
    let merge = "application/strategic-merge-patch+json";
    let both = patch(r#"{"requests":{"cpu":"9","ephemeral-storage":"1Mi"}}"#);
    refused(&server, ("PATCH", path), merge, &both, 422, "only cpu and memory resources are mutable").await;
    let much = patch(r#"{"requests":{"cpu":"3"}}"#);
    refused(&server, ("PATCH", path), merge, &much, 403, "exceeded quota: q").await;
    // What a LimitRange adds comes before all of that: here a limit of cpu.
    server.ok(&["patch", "pod", "web", "--subresource", "resize", "-p", &patch(r#"{"requests":{"cpu":"1"}}"#)], "");
    server.says(&["get", "pod", "web", "-o", RESOURCES], "", r#"{"limits":{"cpu":"3","memory":"128Mi"}"#);
    let made = pod("new", r#"{"requests":{"cpu":"9"},"limits":{"cpu":"8"}}"#, "");
    refused(&server, ("POST", "/api/v1/namespaces/default/pods"), "", &made, 422, "cpu limit of 8").await;
    let other = pod("web", BURSTABLE, "").replace(r#""name":"c""#, r#""name":"d""#);
    let renamed = "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize";
    refused(&server, ("PUT", path), "", &other, 422, renamed).await;
    let two = other.replace(r#""containers":["#, r#""containers":[{"name":"c","image":"i:1"},"#);
    let added = "spec.containers: Forbidden: containers may not be added or removed on resize";
    refused(&server, ("PUT", path), "", &two, 422, added).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_count_what_is_asked_for_now() {
    let server = Server::start().await;
    server.ok(&["create", "quota", "q", "--hard=requests.cpu=4"], "");
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let resize = |name: &str, cpu: &str| {
        let body = patch(&format!(r#"{{"requests":{{"cpu":"{cpu}"}}}}"#));
        server.kubectl(&["patch", "pod", name, "--subresource", "resize", "-p", &body], "")
    };
    let status = json!({"status": {"conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
        "containerStatuses": [{"name": "c", "image": "i:1", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": {"cpu": "500m", "memory": "64Mi"}}]}});
    let status = status.to_string();
    server.ok(&["patch", "pod", "web", "--subresource", "status", "--type", "merge", "-p", &status], "");
    let refused = resize("web", "5");
    assert!(refused.text.contains("exceeded quota: q, requested: requests.cpu=4500m"), "{}", refused.text);
    // Several at once: what is left is shared out once.
    let names: Vec<String> = (0..6).map(|n| format!("p{n}")).collect();
    let small = r#"{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}}"#;
    names.iter().for_each(|name| drop(server.ok(&["create", "-f", "-"], &pod(name, small, ""))));
    let granted = std::thread::scope(|scope| {
        let tries: Vec<_> = names.iter().map(|name| scope.spawn(|| resize(name, "1100m").ok)).collect();
        tries.into_iter().map(|attempt| attempt.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(granted, 2);
    server.says(&["get", "quota", "q"], "", "requests.cpu: 3100m/4");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_applies_a_resize_owns_resources_alone() {
    let server = Server::start().await;
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let intent = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"a":"b"}},"spec":{"nodeName":"n",
        "containers":[{"name":"c","image":"other","resources":{"requests":{"cpu":"1"}}}]}}"#;
    let path = "/api/v1/namespaces/default/pods/web/resize?fieldManager=m&force=true";
    let media = [("Content-Type", "application/apply-patch+yaml")];
    let (code, after) = ask(&server, "PATCH", path, &media, intent).await;
    assert_eq!((code, &after["spec"]["containers"][0]["resources"]["requests"]["cpu"]), (200, &json!("1")), "{after}");
    assert_eq!(after["spec"]["containers"][0]["image"], "i:1");
    assert!(after["spec"]["nodeName"].is_null() && after["metadata"]["labels"].is_null());
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == "m").unwrap();
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("resize")));
    let fields =
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:resources": {"f:requests": {"f:cpu": {}}}}}}});
    assert_eq!(own["fieldsV1"], fields);
    // Whoever applies a status owns no spec.
    let intent = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"nodeName":"n"},"status":{"message":"m"}}"#;
    let path = "/api/v1/namespaces/default/pods/web/status?fieldManager=s";
    let (code, after) = ask(&server, "PATCH", path, &media, intent).await;
    assert_eq!((code, &after["status"]["message"]), (200, &json!("m")), "{after}");
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == "s").unwrap();
    assert_eq!(own["fieldsV1"], json!({"f:status": {"f:message": {}}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_amount_may_be_written_otherwise() {
    let server = Server::start().await;
    server.ok(&["create", "-f", "-"], &pod("web", BURSTABLE, ""));
    let same = patch(r#"{"requests":{"memory":"65536Ki"}}"#);
    let other = patch(r#"{"requests":{"memory":"65537Ki"}}"#);
    server.ok(&["patch", "pod", "web", "-p", &same], "");
    server.fails(&["patch", "pod", "web", "-p", &other], "", "pod updates may not change fields other than");
}
