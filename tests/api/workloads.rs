//! What kubectl says about pods, budgets, events and concurrent writers.

use crate::raw::{ask, refused};
use crate::{Server, WEB};
use serde_json::json;

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"NAME","labels":{"app":"web"}},
    "spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}}"#;
const READY: &str = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_counted_when_pods_are_evicted() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.ok(&["create", "-f", "-"], &POD.replace("NAME", name));
        server.ok(&["patch", "pod", name, "--subresource=status", "--type=merge", "-p", READY], "");
    }
    server.ok(&["create", "pdb", "p", "--selector=app=web", "--min-available=1"], "");
    let evict = |name: &str| {
        let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
        let body = format!(r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{name}"}}}}"#);
        server.kubectl(&["create", "--raw", &path, "-f", "-"], &body)
    };
    assert!(evict("a").ok);
    let target = r#"jsonpath={.metadata.deletionTimestamp} {.status.conditions[?(@.type=="DisruptionTarget")].reason}"#;
    let gone = server.ok(&["get", "pod", "a", "-o", target], "");
    assert!(gone.starts_with("20") && gone.ends_with(" EvictionByEvictionAPI"), "{gone}");
    let refused = evict("b").text;
    assert!(refused.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{refused}");
    server.says(&["get", "pod", "b"], "", "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_event_apis_print_the_same() {
    let server = Server::start().await;
    let event = r#"{"apiVersion":"v1","kind":"Event","metadata":{"name":"e","namespace":"default"},"reason":"BackOff","type":"Warning",
        "message":"again","involvedObject":{"kind":"Pod","name":"web","namespace":"default"},"lastTimestamp":"2026-01-01T00:00:00Z"}"#;
    server.ok(&["create", "-f", "-"], event);
    for api in ["events.v1.", "events.events.k8s.io"] {
        let text = server.ok(&["get", api, "--no-headers"], "");
        assert!(text.contains("pod/web") && text.trim_end().ends_with("again"), "{api}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reports_what_an_apply_does_not_know() {
    let server = Server::start().await;
    let wrong = WEB.replace("replicas: 2", "replicas: 2\n  bogus: 1");
    server.fails(&["apply", "--server-side", "-f", "-"], &wrong, ".spec.bogus: field not declared in schema");
    let text = server.ok(&["explain", "deployment"], "");
    assert!(!text.contains("metadata\t<ObjectMeta> -required-"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_apply_the_same_object_at_once() {
    let server = Server::start().await;
    std::thread::scope(|scope| {
        let tries: Vec<_> = (0..6)
            .map(|n| {
                let text = WEB.replace("replicas: 2", &format!("replicas: {n}"));
                let server = &server;
                scope.spawn(move || server.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &text))
            })
            .collect();
        for attempt in tries {
            let output = attempt.join().unwrap();
            assert!(output.ok, "{}", output.text);
        }
    });
    let managers = "jsonpath={.metadata.managedFields[*].manager}";
    assert_eq!(server.ok(&["get", "deploy", "web", "-o", managers], ""), "kubectl");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_completed_by_their_runtime_class() {
    let server = Server::start().await;
    let class = r#"{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"kata"},"handler":"kata",
        "overhead":{"podFixed":{"cpu":"10m","memory":"1Mi"}},"scheduling":{"nodeSelector":{"kata":"yes"}}}"#;
    let wrong = class.replace(r#""handler":"kata""#, r#""handler":"Kata!""#);
    server.fails(&["create", "-f", "-"], &wrong, "handler: Invalid value: \"Kata!\": a lowercase RFC 1123 label");
    server.ok(&["create", "-f", "-"], class);
    server.says(&["get", "runtimeclasses"], "", "kata   kata      ");
    let other = class.replace(r#""handler":"kata""#, r#""handler":"other""#);
    server.fails(&["replace", "-f", "-"], &other, "handler: Invalid value: \"other\": field is immutable");

    let of = |class: &str| {
        POD.replace("NAME", class).replace(r#""nodeName":"n1""#, &format!(r#""runtimeClassName":"{class}""#))
    };
    server.ok(&["create", "-f", "-"], &of("kata"));
    let added = "jsonpath={.spec.overhead} {.spec.nodeSelector}";
    let spec = server.ok(&["get", "pod", "kata", "-o", added], "");
    assert_eq!(spec, r#"{"cpu":"10m","memory":"1Mi"} {"kata":"yes"}"#);
    let gone = "pods \"gone\" is forbidden: pod rejected: RuntimeClass \"gone\" not found";
    server.fails(&["create", "-f", "-"], &of("gone"), gone);
    server.ok(&["delete", "runtimeclass", "kata"], "");
    server.fails(
        &["create", "-f", "-"],
        &of("kata").replace(r#""name":"kata""#, r#""name":"late""#),
        "RuntimeClass \"kata\" not found",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_selected_by_the_names_of_their_api() {
    let server = Server::start().await;
    let event = r#"{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e","namespace":"default"},"reason":"Test","action":"Do",
        "type":"Normal","note":"a note","reportingController":"mine","reportingInstance":"one","eventTime":"2026-01-01T00:00:00.000000Z",
        "regarding":{"kind":"Pod","name":"web","namespace":"default"}}"#;
    server.ok(&["create", "-f", "-"], event);
    for (path, selector, count) in [
        ("/apis/events.k8s.io/v1", "reportingController=mine", 1),
        ("/apis/events.k8s.io/v1", "regarding.name=web,type=Normal", 1),
        ("/apis/events.k8s.io/v1", "regarding.name=db", 0),
        ("/api/v1", "source=mine", 1),
        ("/api/v1", "involvedObject.name=web", 1),
    ] {
        let path = format!("{path}/namespaces/default/events?fieldSelector={selector}");
        let (code, list) = ask(&server, "GET", &path, &[], "").await;
        assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(count)), "{path}: {list}");
    }
    let path = "/api/v1/namespaces/default/events/e";
    let (_, stored) = ask(&server, "GET", path, &[], "").await;
    assert!(stored["regarding"].is_null() && stored["deprecatedSource"].is_null(), "{stored}");
    let wrong = "/api/v1/namespaces/default/events?fieldSelector=reportingController=mine";
    assert_eq!(ask(&server, "GET", wrong, &[], "").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_changes_no_labels_of_a_deployment() {
    let server = Server::start().await;
    server.ok(&["create", "-f", "-"], WEB);
    server.ok(&["label", "deploy", "web", "tier=front"], "");
    let patch = r#"{"metadata":{"labels":{"tier":"back"},"annotations":{"a":"b"}},"status":{"replicas":7}}"#;
    server.ok(&["patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", patch], "");
    let path = "jsonpath={.metadata.labels.tier} {.metadata.annotations.a} {.status.replicas}";
    assert_eq!(server.ok(&["get", "deploy", "web", "-o", path], ""), "front b 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_has_no_table() {
    let server = Server::start().await;
    let body = r#"{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}"#;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table = [("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    assert_eq!(ask(&server, "POST", path, &table, body).await.0, 406);
    assert_eq!(ask(&server, "POST", path, &[], body).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_csi_drivers_write_is_served() {
    let server = Server::start().await;
    let storage = |kind: &str, rest: &str| format!(r#"{{"apiVersion":"storage.k8s.io/v1","kind":"{kind}",{rest}}}"#);
    let driver = storage(
        "CSIDriver",
        r#""metadata":{"name":"inline.example.com"},"spec":{"volumeLifecycleModes":["Ephemeral"]}"#,
    );
    server.ok(&["create", "-f", "-"], &driver);
    server.says(&["get", "csidrivers"], "", "inline.example.com   true             false            false             <unset>         false               Ephemeral   ");
    let path =
        ["get", "csidriver", "inline.example.com", "-o", "jsonpath={.spec.fsGroupPolicy} {.spec.storageCapacity}"];
    assert_eq!(server.ok(&path, ""), "ReadWriteOnceWithFSType false");
    let node = storage(
        "CSINode",
        r#""metadata":{"name":"n1"},"spec":{"drivers":[{"name":"a.csi","nodeID":"n","topologyKeys":["zone"]}]}"#,
    );
    server.ok(&["create", "-f", "-"], &node);
    server.says(&["get", "csinodes"], "", "n1     1         ");
    let moved = node.replace(r#""nodeID":"n""#, r#""nodeID":"m""#);
    server.fails(&["replace", "-f", "-"], &moved, "field is immutable");

    let attachment = storage(
        "VolumeAttachment",
        r#""metadata":{"name":"va"},"spec":{"attacher":"a.csi","nodeName":"n1","source":{"persistentVolumeName":"pv"}}"#,
    );
    server.ok(&["create", "-f", "-"], &attachment);
    let attached = r#"{"metadata":{"labels":{"a":"b"}},"status":{"attached":true}}"#;
    server.ok(&["patch", "volumeattachment", "va", "--subresource=status", "--type=merge", "-p", attached], "");
    server.says(&["get", "volumeattachments"], "", "va     a.csi      pv    n1     true       ");
    assert_eq!(server.ok(&["get", "volumeattachment", "va", "-o", "jsonpath={.metadata.labels}"], ""), "");

    let capacity = storage(
        "CSIStorageCapacity",
        r#""metadata":{"name":"c","namespace":"default"},"storageClassName":"fast","capacity":"1Gi""#,
    );
    server.ok(&["create", "-f", "-"], &capacity);
    server.fails(
        &["replace", "-f", "-"],
        &capacity.replace("fast", "slow"),
        "storageClassName: Invalid value: \"slow\": field is immutable",
    );
    let class = storage(
        "VolumeAttributesClass",
        r#""metadata":{"name":"gold"},"driverName":"a.csi","parameters":{"iops":"9"}"#,
    );
    server.ok(&["create", "-f", "-"], &class);
    server.says(&["get", "vac"], "", "gold   a.csi        ");
    server.fails(&["replace", "-f", "-"], &class.replace(r#""9""#, r#""8""#), "updates to parameters are forbidden.");
    server.says(&["explain", "csidriver.spec.attachRequired"], "", "attachRequired");
    server.ok(&["delete", "csidrivers,csinodes,volumeattachments,vac", "--all"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_says_how_it_is() {
    let server = Server::start().await;
    let said = server.ok(&["get", "componentstatuses"], "");
    assert!(said.contains("v1 ComponentStatus is deprecated in v1.19+") && said.contains("Healthy"), "{said}");
    server.says(&["get", "cs", "-o", "jsonpath={.items[*].metadata.name}"], "", "scheduler controller-manager etcd-0");
    server.says(&["get", "componentstatuses", "scheduler"], "", "scheduler");
    server.fails(&["get", "cs", "nobody"], "", "componentstatuses \"nobody\" not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_join_running_pods_their_own_way() {
    let server = Server::start().await;
    server.ok(&["run", "web", "--image=i:1"], "");
    let joining = |name: &str, more: &str| {
        format!(r#"{{"spec":{{"ephemeralContainers":[{{"name":"{name}","image":"b"{more}}}]}}}}"#)
    };
    let path = "/api/v1/namespaces/default/pods/web/ephemeralcontainers";
    let media = "application/strategic-merge-patch+json";
    let (code, after) = ask(&server, "PATCH", path, &[("Content-Type", media)], joining("dbg", "")).await;
    assert_eq!((code, &after["spec"]["ephemeralContainers"][0]["name"]), (200, &json!("dbg")), "{after}");
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["subresource"] == "ephemeralcontainers"), "{entries:?}");
    let other = r#"{"metadata":{"labels":{"x":"y"}},"spec":{"activeDeadlineSeconds":5}}"#;
    assert_eq!(ask(&server, "PATCH", path, &[("Content-Type", media)], other).await.0, 200);
    server.says(&["get", "pod", "web", "-o", "jsonpath={.metadata.labels.x}{.spec.activeDeadlineSeconds}!"], "", "!");
    for (name, more, why) in [
        ("dbg", r#","command":["other"]"#, "existing ephemeral containers \"dbg\" may not be changed"),
        ("web", "", "spec.ephemeralContainers[0].name: Duplicate value: \"web\""),
        ("d2", r#","ports":[{"containerPort":1}]"#, "ports: Forbidden: cannot be set for an Ephemeral Container"),
        ("d2", r#","targetContainerName":"z""#, "targetContainerName: Not found: \"z\""),
    ] {
        refused(&server, ("PATCH", path), media, &joining(name, more), 422, why).await;
    }
    let only = "pod updates may not change fields other than";
    server.fails(&["patch", "pod", "web", "-p", &joining("d2", "")], "", only);
    let made = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"new"},"spec":{"containers":[{"name":"c","image":"i"}],
        "ephemeralContainers":[{"name":"d","image":"i"}]}}"#;
    server.fails(&["create", "-f", "-"], made, "spec.ephemeralContainers: Forbidden: cannot be set on create");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_on_devices_are_served() {
    let server = Server::start().await;
    let body = |kind: &str, rest: &str| format!(r#"{{"apiVersion":"resource.k8s.io/v1","kind":"{kind}",{rest}}}"#);
    let class =
        body("DeviceClass", r#""metadata":{"name":"gpu"},"spec":{"selectors":[{"cel":{"expression":"false"}}]}"#);
    server.ok(&["create", "-f", "-"], &class);
    let patch = r#"{"spec":{"selectors":[{"cel":{"expression":"1 == 0"}}]}}"#;
    server.ok(&["patch", "deviceclass", "gpu", "-p", patch], "");
    let path =
        ["get", "deviceclass", "gpu", "-o", "jsonpath={.metadata.generation} {.spec.selectors[*].cel.expression}"];
    assert_eq!(server.ok(&path, ""), "2 1 == 0");
    server.fails(&["patch", "deviceclass", "gpu", "-p", &patch.replace("1 == 0", "pod")], "", "compilation failed");

    let spec = r#"{"devices":{"requests":[{"name":"req-0","exactly":{"deviceClassName":"gpu"}}]}}"#;
    let claim = body("ResourceClaim", &format!(r#""metadata":{{"name":"c","namespace":"default"}},"spec":{spec}"#));
    server.ok(&["create", "-f", "-"], &claim);
    server.says(&["get", "resourceclaims"], "", "c      pending   ");
    let exactly = ["get", "resourceclaim", "c", "-o", "jsonpath={.spec.devices.requests[0].exactly}"];
    assert_eq!(server.ok(&exactly, ""), r#"{"allocationMode":"ExactCount","count":1,"deviceClassName":"gpu"}"#);
    server.fails(&["replace", "-f", "-"], &claim.replace("req-0", "req-1"), "field is immutable");
    // Nothing allocated is an allocation.
    for (kind, patch) in [
        ("strategic", r#"{"metadata":{"labels":{"a":"b"}},"status":{"allocation":{}}}"#),
        ("json", r#"[{"op":"remove","path":"/status/allocation"}]"#),
        ("merge", r#"{"status":{"allocation":{}}}"#),
    ] {
        server.ok(&["patch", "resourceclaim", "c", "--subresource=status", "--type", kind, "-p", patch], "");
    }
    server.says(&["get", "resourceclaims"], "", "c      allocated   ");
    let reserved = r#"{"status":{"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}}"#;
    server.ok(&["patch", "resourceclaim", "c", "--subresource=status", "-p", reserved], "");
    server.says(&["get", "resourceclaims"], "", "c      allocated,reserved   ");
    assert_eq!(server.ok(&["get", "resourceclaim", "c", "-o", "jsonpath={.metadata.labels}"], ""), "");

    let template = format!(r#""metadata":{{"name":"t","namespace":"default"}},"spec":{{"spec":{spec}}}"#);
    server.ok(&["create", "-f", "-"], &body("ResourceClaimTemplate", &template));
    let pool = r#""driver":"a.example.com","nodeName":"n1","pool":{"name":"p","generation":1,"resourceSliceCount":1}"#;
    let slice = body("ResourceSlice", &format!(r#""metadata":{{"name":"s"}},"spec":{{{pool}}}"#));
    server.ok(&["create", "-f", "-"], &slice);
    let devices = r#"{"spec":{"devices":[{"name":"device-0","attributes":{"model":{"string":"x"}}}]}}"#;
    server.ok(&["patch", "resourceslice", "s", "-p", devices], "");
    server.says(
        &["get", "resourceslices", "--field-selector=spec.nodeName=n1"],
        "",
        "s      n1     a.example.com   p      ",
    );
    assert_eq!(server.ok(&["get", "resourceslices", "--field-selector=spec.driver=b", "-o", "name"], ""), "");
    server.says(&["explain", "resourceslice.spec.pool.generation"], "", "generation");
    let all = ["delete", "deviceclasses,resourceclaims,resourceclaimtemplates,resourceslices", "--all"];
    server.ok(&all, "");
}
