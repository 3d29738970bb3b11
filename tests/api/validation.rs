//! What is wrong with an object, in Kubernetes' words.

use crate::Server;
use crate::raw::refused;
use serde_json::{Value, json};

const CORE: &str = "/api/v1/namespaces/default";

fn pod(spec: Value) -> String {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (name, value) in spec.as_object().unwrap() {
        pod["spec"][name] = value.clone();
    }
    pod.to_string()
}

fn container(fields: Value) -> String {
    let mut container = json!({"name": "c", "image": "i"});
    for (name, value) in fields.as_object().unwrap() {
        container[name] = value.clone();
    }
    pod(json!({"containers": [container]}))
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_explained() {
    let server = Server::start().await;
    let path = format!("{CORE}/pods");
    let fields = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x.y"}}}]);
    for (body, expected) in [
        (
            container(json!({"resources": {"requests": {"cpux": "1"}}})),
            "spec.containers[0].resources.requests[cpux]: Invalid value: \"cpux\": must be a standard resource type or fully qualified",
        ),
        (container(json!({"env": fields})), "error converting fieldPath: field label not supported: x.y"),
        (
            container(json!({"securityContext": {"runAsUser": -1}})),
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            container(json!({"volumeMounts": [{"name": "x", "mountPath": "/a"}]})),
            "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
        ),
        (
            pod(json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}})),
            "topologyKey: Required value: can not be empty",
        ),
        (
            pod(json!({"dnsConfig": {"nameservers": ["a"]}})),
            "spec.dnsConfig.nameservers[0]: Invalid value: \"a\": must be a valid IP address",
        ),
    ] {
        refused(&server, ("POST", &path), "", &body, 422, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_are_explained() {
    let server = Server::start().await;
    let pod = json!({"containers": [{"name": "c", "image": "i"}]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod});
    let body = |spec: Value| json!({"metadata": {"name": "x"}, "spec": spec}).to_string();
    let other = json!({"matchLabels": {"a": "c"}});
    let cron = |schedule: &str, zone: &str| {
        let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": pod["containers"]}}}});
        body(json!({"schedule": schedule, "timeZone": zone, "jobTemplate": job}))
    };
    let apps = |plural: &str| format!("/apis/apps/v1/namespaces/default/{plural}");
    let cron_jobs = "/apis/batch/v1/namespaces/default/cronjobs".to_string();
    let mismatch =
        "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`";
    for (path, body, expected) in [
        (apps("deployments"), body(json!({"template": template})), mismatch),
        (apps("deployments"), body(json!({"template": template})), "spec.selector: Required value"),
        (apps("statefulsets"), body(json!({"template": template, "selector": other})), mismatch),
        (apps("daemonsets"), body(json!({"template": template, "selector": other})), mismatch),
        (
            cron_jobs.clone(),
            cron("bad", "UTC"),
            "spec.schedule: Invalid value: \"bad\": expected exactly 5 fields, found 1: [bad]",
        ),
        (
            cron_jobs.clone(),
            cron("* * * * *", "Nope/X"),
            "spec.timeZone: Invalid value: \"Nope/X\": unknown time zone Nope/X",
        ),
        (
            cron_jobs,
            cron("TZ=UTC * * * * *", "UTC"),
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
    ] {
        refused(&server, ("POST", &path), "", &body, 422, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_kinds_are_explained() {
    let server = Server::start().await;
    server.ok(&["create", "rolebinding", "b", "--role=r", "--user=u"], "");
    let roles = "cannot change roleRef";
    server.fails(&["patch", "rolebinding", "b", "-p", r#"{"roleRef":{"name":"x"}}"#], "", roles);
    let quota = "spec.hard[bogus]: Invalid value: \"bogus\": must be a standard resource for quota";
    server.fails(&["create", "quota", "q", "--hard=bogus=1"], "", quota);
    let claim = r#"{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c"},"spec":{}}"#;
    server.fails(&["create", "-f", "-"], claim, "spec.accessModes: Required value: at least 1 access mode is required");
    server.ok(&["create", "pdb", "p", "--min-available=1", "--selector=a=b"], "");
    let both = "minAvailable and maxUnavailable cannot be both set";
    server.fails(&["patch", "pdb", "p", "-p", r#"{"spec":{"maxUnavailable":1}}"#], "", both);
    let address = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"clusterIP":"1.2.3","ports":[{"port":80}]}}"#;
    server.fails(
        &["create", "-f", "-"],
        address,
        "spec.clusterIPs[0]: Invalid value: \"1.2.3\": must be a valid IP address",
    );
    let ingress = r#"{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"i"},"spec":{"rules":[{"http":{"paths":[{"path":"x","backend":{}}]}}]}}"#;
    server.fails(
        &["create", "-f", "-"],
        ingress,
        "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_only_kept_are_kept_well() {
    let server = Server::start().await;
    server.ok(&["create", "ingress", "i", "--rule=a.example/x=web:80"], "");
    server.says(&["get", "ingress"], "", "a.example");
    server.ok(&["create", "deploy", "web", "--image=i"], "");
    // kubectl 1.32 speaks v1 here, and reads what is preferred: v2.
    server.ok(&["autoscale", "deploy", "web", "--min=1", "--max=3", "--cpu-percent=50"], "");
    server.says(&["get", "hpa"], "", "Deployment/web   cpu: <unknown>/50%   1         3");
    let target = "jsonpath={.spec.targetCPUUtilizationPercentage}";
    server.says(&["get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o", target], "", "50");
    let applied = r#"{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{"name":"web"},"spec":{"maxReplicas":5,
        "targetCPUUtilizationPercentage":70,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}"#;
    server.ok(&["apply", "--server-side", "--force-conflicts", "-f", "-"], applied);
    server.says(&["get", "hpa"], "", "cpu: <unknown>/70%   1         5");
    server.says(&["describe", "hpa", "web"], "", "resource cpu on pods");
    let prune = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NAME","labels":{"set":"a"}}}"#;
    for name in ["one", "two"] {
        let arguments = ["apply", "-n", "default", "-f", "-", "--prune", "-l", "set=a"];
        server.says(&arguments, &prune.replace("NAME", name), &format!("configmap/{name} created"));
    }
    server.fails(&["get", "cm", "one"], "", "not found");
}
