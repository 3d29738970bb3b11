//! Resources of pods as a whole, beside those of their containers.

use crate::Server;
use crate::raw::{ask, refused};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, whole: &Value, container: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"resources": whole,
        "containers": [{"name": "c", "image": "i:1", "resources": container}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_say_what_they_have_as_a_whole() {
    let server = Server::start().await;
    let whole = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
    let made = pod("web", &whole, &json!({"requests": {"cpu": "500m"}}));
    let (code, made) = ask(&server, "POST", PODS, &[], made.to_string()).await;
    assert_eq!(code, 201, "{made}");
    let requests = json!({"cpu": "500m", "memory": "1Gi"});
    assert_eq!(made["spec"]["resources"], json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": requests}));
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let same = json!({"cpu": "1", "memory": "1Gi"});
    let made = pod("sure", &json!({"limits": same}), &json!({}));
    let (_, made) = ask(&server, "POST", PODS, &[], made.to_string()).await;
    assert_eq!((&made["status"]["qosClass"], &made["spec"]["resources"]["requests"]), (&json!("Guaranteed"), &same));
    for (whole, why) in [
        (
            json!({"requests": {"cpu": "-1"}}),
            "spec.resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"requests": {"pods": "1"}}),
            "Unsupported value: \"pods\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
        ),
        (json!({"requests": {"cpu": "400m"}}), "must be greater than or equal to aggregate container requests of 500m"),
        (json!({"claims": [{"name": "x"}]}), "claims may not be set for Resources at pod-level"),
    ] {
        let body = pod("bad", &whole, &json!({"requests": {"cpu": "500m"}}));
        refused(&server, ("POST", PODS), "", &body.to_string(), 422, why).await;
        // Templates are checked too, and stay as they are written.
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": body["spec"]});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
        let path = "/apis/apps/v1/namespaces/default/deployments";
        refused(&server, ("POST", path), "", &deployment.to_string(), 422, why).await;
    }
    let template = pod("x", &json!({"limits": {"cpu": "1"}}), &json!({}));
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec":
        {"restartPolicy": "Never", "resources": template["spec"]["resources"], "containers": template["spec"]["containers"]}}}});
    let (code, job) = ask(&server, "POST", "/apis/batch/v1/namespaces/default/jobs", &[], job.to_string()).await;
    assert_eq!((code, &job["spec"]["template"]["spec"]["resources"]), (201, &json!({"limits": {"cpu": "1"}})));
    // kubectl sends protobuf.
    let body = pod("sent", &json!({"limits": {"memory": "2Gi"}}), &json!({}));
    server.ok(&["create", "-f", "-"], &body.to_string());
    let yaml = server.ok(&["get", "pod", "sent", "-o", "yaml"], "");
    server.ok(&["replace", "-f", "-"], &yaml);
    server.says(
        &["get", "pod", "sent", "-o", "jsonpath={.spec.resources}"],
        "",
        r#"{"limits":{"memory":"2Gi"},"requests":{"memory":"2Gi"}}"#,
    );
    let more = r#"{"spec":{"resources":{"limits":{"memory":"3Gi"}}}}"#;
    server.fails(&["patch", "pod", "sent", "-p", more], "", "pod updates may not change fields other than");
    server.ok(&["patch", "pod", "sent", "--subresource", "resize", "-p", more], "");
    server.says(
        &["get", "pod", "sent", "-o", "jsonpath={.spec.resources}"],
        "",
        r#""memory":"3Gi"},"requests":{"memory":"2Gi"}"#,
    );
    let other = r#"{"spec":{"resources":{"limits":{"hugepages-2Mi":"2Mi"},"requests":{"hugepages-2Mi":"2Mi"}}}}"#;
    let why = "only cpu and memory resources are mutable at pod-level";
    server.fails(&["patch", "pod", "sent", "--subresource", "resize", "-p", other], "", why);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_and_limits_count_the_whole() {
    let server = Server::start().await;
    server.ok(&["create", "quota", "q", "--hard=requests.cpu=2,limits.memory=4Gi"], "");
    let whole = json!({"requests": {"cpu": "1500m"}, "limits": {"cpu": "2", "memory": "1Gi"}});
    let body = pod("web", &whole, &json!({}));
    assert_eq!(ask(&server, "POST", PODS, &[], body.to_string()).await.0, 201);
    server.says(&["get", "quota", "q"], "", "requests.cpu: 1500m/2");
    server.says(&["get", "quota", "q"], "", "limits.memory: 1Gi/4Gi");
    let more =
        |cpu: &str| format!(r#"{{"spec":{{"resources":{{"requests":{{"cpu":"{cpu}"}},"limits":{{"cpu":"3"}}}}}}}}"#);
    let over = "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=1500m, limited: requests.cpu=2";
    server.fails(&["patch", "pod", "web", "--subresource", "resize", "-p", &more("2500m")], "", over);
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"},
        "spec": {"limits": [{"type": "Pod", "max": {"cpu": "2500m"}}]}});
    server.ok(&["create", "-f", "-"], &range.to_string());
    let most = "maximum cpu usage per Pod is 2500m, but limit is 3";
    server.fails(&["patch", "pod", "web", "--subresource", "resize", "-p", &more("1600m")], "", most);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_class_of_a_pod_counts_what_it_is_given() {
    let server = Server::start().await;
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}]}});
    server.ok(&["create", "-f", "-"], &range.to_string());
    server.ok(&["run", "a", "--image=i"], "");
    server.says(&["get", "pod", "a", "-o", "jsonpath={.status.qosClass}"], "", "Guaranteed");
    server.ok(&["create", "priorityclass", "usual", "--value=7", "--global-default"], "");
    server.ok(&["run", "b", "--image=i"], "");
    server.says(&["get", "pod", "b", "-o", "jsonpath={.spec.priority} {.spec.priorityClassName}"], "", "7 usual");
}
