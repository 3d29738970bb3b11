//! Resources of a pod that exists, changed through its resize subresource.

use crate::Server;

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
