//! Pod specs, wherever they occur: in pods and in the templates of workloads. Defaults here;
//! validation in the files beside.

mod containers;
mod ephemeral;
mod placement;
mod probes;
mod security;
mod validate;
mod volumes;

pub use placement::node_selector;
pub use validate::{Context, validate, validate_template, validate_template_body, validate_tolerations};

use super::json::{Object, child, ensure, items, put, put_text};
use serde_json::{Value, json};

/// Fills in a pod spec as both pods and templates have it.
pub fn default_spec(spec: &mut Object) {
    put_text(spec, "restartPolicy", "Always");
    put_text(spec, "dnsPolicy", "ClusterFirst");
    put_text(spec, "schedulerName", "default-scheduler");
    put(spec, "terminationGracePeriodSeconds", 30);
    put(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    for volume in items(spec, "volumes") {
        default_volume(volume);
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, kind) {
            default_container(container);
        }
    }
}

/// Fills in `spec.template` of a workload.
pub fn default_template(spec: &mut Object) {
    if let Some(pod) = ensure(spec, "template").and_then(|template| ensure(template, "spec")) {
        default_spec(pod);
    }
}

/// On the network of its host a container's ports are the host's: pods only, so that templates stay as written.
pub fn default_host_ports(spec: &mut Object) {
    if spec.get("hostNetwork") != Some(&Value::Bool(true)) {
        return;
    }
    for kind in ["initContainers", "containers"] {
        for port in items(spec, kind).flat_map(|container| items(container, "ports")) {
            if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0
                && let Some(number) = port.get("containerPort").cloned()
            {
                port.insert("hostPort".into(), number);
            }
        }
    }
}

/// Requests that are absent are the limits: pods only, so that templates stay as written.
pub fn default_requests(spec: &mut Object) {
    for kind in ["initContainers", "containers"] {
        for container in items(spec, kind) {
            let Some(resources) = child(container, "resources") else { continue };
            let Some(limits) = child(resources, "limits").map(|limits| limits.clone()) else { continue };
            if let Some(requests) = ensure(resources, "requests") {
                limits.into_iter().for_each(|(name, limit)| put(requests, &name, limit));
            }
        }
    }
}

/// `serviceAccount` is the deprecated twin of `serviceAccountName`; both are served.
fn mirror_service_account(spec: &mut Object) {
    for (from, to) in [("serviceAccountName", "serviceAccount"), ("serviceAccount", "serviceAccountName")] {
        let name = spec.get(from).and_then(Value::as_str).unwrap_or_default().to_string();
        if !name.is_empty() && (from == "serviceAccountName" || !spec.contains_key(to)) {
            spec.insert(to.into(), name.into());
        }
    }
}

fn default_container(container: &mut Object) {
    put_text(container, "terminationMessagePath", "/dev/termination-log");
    put_text(container, "terminationMessagePolicy", "File");
    put(container, "resources", json!({}));
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    put_text(container, "imagePullPolicy", policy);
    for port in items(container, "ports") {
        put_text(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(source) = child(variable, "valueFrom") {
            default_reference(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child(container, probe) {
            default_probe(probe);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(get) = child(lifecycle, hook).and_then(|hook| child(hook, "httpGet")) {
                default_http(get);
            }
        }
    }
}

/// Always for `:latest` and for no tag at all, which means latest.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    match name.split_once('@') {
        Some(_) => "IfNotPresent",
        None => match name.rsplit_once(':') {
            None | Some((_, "latest")) => "Always",
            Some(_) => "IfNotPresent",
        },
    }
}

fn default_probe(probe: &mut Object) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.get(field).and_then(Value::as_i64).unwrap_or(0) == 0 {
            probe.insert(field.into(), value.into());
        }
    }
    if let Some(get) = child(probe, "httpGet") {
        default_http(get);
    }
    if let Some(grpc) = child(probe, "grpc") {
        put(grpc, "service", "");
    }
}

fn default_http(get: &mut Object) {
    put_text(get, "path", "/");
    put_text(get, "scheme", "HTTP");
}

fn default_reference(source: &mut Object) {
    if let Some(field) = child(source, "fieldRef") {
        put_text(field, "apiVersion", "v1");
    }
    if let Some(resource) = child(source, "resourceFieldRef") {
        put_text(resource, "divisor", "0");
    }
}

fn default_volume(volume: &mut Object) {
    if volume.iter().all(|(field, value)| field == "name" || value.is_null()) {
        volume.insert("emptyDir".into(), json!({}));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child(volume, kind) {
            put(source, "defaultMode", 0o644);
            for file in items(source, "items") {
                default_reference(file);
            }
            for projected in items(source, "sources") {
                default_projection(projected);
            }
        }
    }
    if let Some(path) = child(volume, "hostPath") {
        put(path, "type", "");
    }
    if let Some(image) = child(volume, "image") {
        let policy = pull_policy(image.get("reference").and_then(Value::as_str).unwrap_or_default());
        put_text(image, "pullPolicy", policy);
    }
}

fn default_projection(source: &mut Object) {
    if let Some(token) = child(source, "serviceAccountToken") {
        put(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = child(source, "downwardAPI") {
        for file in items(downward, "items") {
            default_reference(file);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tag_decides_the_pull_policy() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn ports_of_pods_are_those_of_the_host_on_its_network() {
        let mut spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]}]});
        default_spec(spec.as_object_mut().unwrap());
        assert!(spec["containers"][0]["ports"][0]["hostPort"].is_null());
        default_host_ports(spec.as_object_mut().unwrap());
        assert_eq!(spec["containers"][0]["ports"][0]["hostPort"], 80);
        spec["hostNetwork"] = false.into();
        spec["containers"][0]["ports"] = json!([{"containerPort": 80}]);
        default_host_ports(spec.as_object_mut().unwrap());
        assert!(spec["containers"][0]["ports"][0]["hostPort"].is_null());
    }

    #[test]
    fn a_spec_is_filled_in_once() {
        let mut spec = json!({
            "serviceAccountName": "bot",
            "volumes": [{"name": "tmp"}, {"name": "conf", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/x"}}],
            "containers": [{"name": "c", "image": "a:1", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}],
        });
        default_spec(spec.as_object_mut().unwrap());
        default_requests(spec.as_object_mut().unwrap());
        let container = &spec["containers"][0];
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        assert_eq!(
            container["livenessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["volumes"][1]["configMap"]["defaultMode"], 420);
        assert_eq!(spec["volumes"][2]["hostPath"]["type"], "");
        assert_eq!(spec["serviceAccount"], "bot");
        let once = spec.clone();
        default_spec(spec.as_object_mut().unwrap());
        default_requests(spec.as_object_mut().unwrap());
        assert_eq!(spec, once);
    }
}
