//! Pods, hosts, and what is decided about them.
#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn pod(uid: &str, spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap()
}

/// One that asks for something.
fn asking(uid: &str, priority: i32, requests: Value) -> Pod {
    pod(uid, json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": requests}}]}))
}

fn node(more: Value) -> Node {
    let allocatable = json!({"cpu": "2", "memory": "1Gi", "pods": "3", "example.org/gpu": "1"});
    let mut node =
        json!({"metadata": {"name": "h1", "labels": {"disk": "ssd"}}, "status": {"allocatable": allocatable}});
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(node).unwrap()
}

fn on(node: &Node, new: &Pod, others: &[Pod]) -> Verdict {
    let others: Vec<_> = others.iter().cloned().map(Arc::new).collect();
    decide(new, Some(node), &others)
}

fn refused(verdict: Verdict) -> (String, String) {
    let Verdict::Refuse(failure) = verdict else { panic!("{verdict:?}") };
    (failure.reason.into_owned(), failure.message)
}

#[test]
fn only_safe_sysctls_are_set() {
    let with = |name: &str, more: Value| {
        let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        on(&node(json!({})), &pod("a", spec), &[])
    };
    assert_eq!(with("kernel.shm_rmid_forced", json!({})), Verdict::Admit);
    assert_eq!(with("net/ipv4/tcp_syncookies", json!({})), Verdict::Admit);
    let message = "forbidden sysctl: \"kernel.shmmax\" not allowlisted";
    assert_eq!(refused(with("kernel.shmmax", json!({}))), ("SysctlForbidden".into(), message.into()));
    let message = "forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host net enabled";
    let of_host = with("net.ipv4.tcp_rmem", json!({"hostNetwork": true}));
    assert_eq!(refused(of_host), ("SysctlForbidden".into(), message.into()));
}

#[test]
fn host_ports_are_free() {
    let with = |uid: &str, ip: &str| {
        let port = json!({"containerPort": 80, "hostPort": 80, "hostIP": ip});
        pod(uid, json!({"containers": [{"name": "c", "ports": [port]}]}))
    };
    let (first, node) = (with("a", "127.0.0.1"), node(json!({})));
    assert_eq!(on(&node, &first, &[]), Verdict::Admit);
    assert_eq!(on(&node, &with("b", "127.0.0.2"), std::slice::from_ref(&first)), Verdict::Admit);
    let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    let clash = on(&node, &with("b", ""), std::slice::from_ref(&first));
    assert_eq!(refused(clash), ("NodePorts".into(), message.into()));
    assert_eq!(decide(&with("b", ""), None, &[Arc::new(first)]), refuse("NodePorts", message.into()));
}

#[test]
fn there_is_room() {
    let (node, half) = (node(json!({})), asking("a", 0, json!({"cpu": "1500m", "memory": "512Mi"})));
    let one = std::slice::from_ref(&half);
    let new = |requests: Value| on(&node, &asking("b", 0, requests), one);
    assert_eq!(new(json!({"cpu": "500m", "memory": "512Mi"})), Verdict::Admit);
    let message = "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000";
    assert_eq!(refused(new(json!({"cpu": "501m"}))), ("OutOfcpu".into(), message.into()));
    let message =
        "Node didn't have enough resource: memory, requested: 1073741824, used: 536870912, capacity: 1073741824";
    assert_eq!(refused(new(json!({"memory": "1Gi"}))), ("OutOfmemory".into(), message.into()));
    assert_eq!(refused(new(json!({"example.org/gpu": "2"}))).0, "OutOfexample.org/gpu");
    assert_eq!(new(json!({"example.org/other": "2"})), Verdict::Admit, "others may give what the node does not know");
    let message = "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3";
    let many = [0, 1, 2].map(|n| asking(&n.to_string(), 0, json!({})));
    assert_eq!(refused(on(&node, &half, &many)), ("OutOfpods".into(), message.into()));
    let silent = Node { status: None, ..node.clone() };
    assert_eq!(on(&silent, &half, &many), Verdict::Admit);
}

#[test]
fn labels_taints_and_systems_fit() {
    let tainted =
        node(json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}, {"key": "s", "effect": "NoSchedule"}]}}));
    let with = |spec: Value| {
        let mut all = json!({"containers": []});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        on(&tainted, &pod("a", all), &[])
    };
    let tolerations = json!([{"key": "k", "operator": "Exists"}]);
    assert_eq!(with(json!({"tolerations": tolerations, "nodeSelector": {"disk": "ssd"}})), Verdict::Admit);
    let message = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
    assert_eq!(refused(with(json!({}))), ("TaintToleration".into(), message.into()));
    let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    assert_eq!(refused(with(json!({"nodeSelector": {"disk": "hdd"}}))), ("NodeAffinity".into(), message.into()));
    let message = "Failed to admit pod as the OS field doesn't match node OS";
    assert_eq!(refused(with(json!({"os": {"name": "windows"}}))), ("PodOSNotSupported".into(), message.into()));
}

#[test]
fn the_least_make_way_for_critical_pods() {
    let node = node(json!({}));
    let critical = |cpu: &str| asking("new", CRITICAL, json!({"cpu": cpu}));
    let others = [
        asking("low", 1, json!({"cpu": "500m"})),
        asking("lower", 0, json!({"cpu": "300m"})),
        asking("system", CRITICAL, json!({"cpu": "1200m"})),
    ];
    let victims = |new: &Pod, others: &[Pod]| match on(&node, new, others) {
        Verdict::MakeWay(victims) => victims.iter().map(|pod| pod.metadata.uid.clone().unwrap()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(on(&node, &asking("new", CRITICAL - 1, json!({"cpu": "1"})), &others[1..]).clone_reason(), "OutOfcpu");
    // One pod too many, too: one goes for both.
    assert_eq!(victims(&critical("200m"), &others), ["lower"]);
    assert_eq!(victims(&critical("400m"), &others), ["low"]);
    assert_eq!(victims(&critical("800m"), &others), ["low", "lower"]);
    let (reason, message) = refused(on(&node, &critical("900m"), &others));
    assert_eq!(reason, "UnexpectedAdmissionError");
    assert!(
        message.ends_with("no set of running pods found to reclaim resources: [(res: cpu, q: 100), ]"),
        "{message}"
    );
    let mut own = asking("new", 0, json!({"cpu": "200m"}));
    assert_eq!(refused(on(&node, &own, &others)).0, "OutOfpods");
    let annotations = [("kubernetes.io/config.mirror", "x"), ("kubernetes.io/config.source", "file")];
    own.metadata.annotations = Some(annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(victims(&own, &others), ["lower"], "static pods come first");
    // Nobody goes for a pod that could not come anyway.
    let mut elsewhere = critical("400m");
    elsewhere.spec.as_mut().unwrap().node_selector = Some([("disk".into(), "hdd".into())].into());
    assert_eq!(refused(on(&node, &elsewhere, &others)).0, "NodeAffinity");
}

#[test]
fn what_nobody_has_is_refused() {
    let node = node(json!({}));
    let greedy = |uid: &str, priority| asking(uid, priority, json!({"cpu": "9e18", "memory": "16Ei", "x.y/z": "9e18"}));
    let others = [greedy("a", 0), asking("b", 0, json!({"cpu": "1"}))];
    assert_eq!(refused(on(&node, &greedy("new", 0), &others)).0, "OutOfcpu");
    assert_eq!(refused(on(&node, &asking("new", 0, json!({"cpu": "1"})), &others)).0, "OutOfcpu");
    assert_eq!(refused(on(&node, &greedy("new", CRITICAL), &others)).0, "UnexpectedAdmissionError");
    let modest = asking("new", CRITICAL, json!({"cpu": "1"}));
    let Verdict::MakeWay(victims) = on(&node, &modest, &others) else { panic!("nobody goes") };
    assert_eq!(victims[0].metadata.uid.as_deref(), Some("a"));
}

impl Verdict {
    fn clone_reason(&self) -> &str {
        match self {
            Self::Refuse(failure) => &failure.reason,
            _ => "",
        }
    }
}

proptest! {
    /// Whoever goes, the critical pod fits then, and nobody critical went.
    #[test]
    fn who_makes_way_makes_room(
        cpus in proptest::collection::vec((0i64..900, 0i32..3), 0..6),
        critical in 0usize..6,
        asked in 1i64..2500,
    ) {
        let node = node(json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "4"}}}));
        let others: Vec<_> = cpus.iter().enumerate().map(|(n, (cpu, priority))| {
            let priority = if n == critical { CRITICAL } else { *priority };
            Arc::new(asking(&n.to_string(), priority, json!({"cpu": format!("{cpu}m")})))
        }).collect();
        let new = asking("new", CRITICAL, json!({"cpu": format!("{asked}m")}));
        if let Verdict::MakeWay(victims) = decide(&new, Some(&node), &others) {
            prop_assert!(!victims.is_empty() && victims.iter().all(|victim| !is_critical(victim)));
            let left: Vec<_> = others.iter().filter(|other| !victims.contains(other)).cloned().collect();
            prop_assert_eq!(decide(&new, Some(&node), &left), Verdict::Admit);
        }
    }
}

#[test]
fn profiles_want_a_host_that_keeps_to_them() {
    let with = |of_pod: Value, own: Value| {
        let spec = json!({"securityContext": {"appArmorProfile": of_pod},
            "containers": [{"name": "c", "securityContext": {"appArmorProfile": own}}]});
        let without = HostInfo { no_apparmor: true, ..HostInfo::default() };
        let pod = pod("a", spec);
        assert_eq!(unenforceable(&pod, &HostInfo::default()), None);
        unenforceable(&pod, &without).map(|failure| (failure.reason.into_owned(), failure.message))
    };
    let (default, none) = (json!({"type": "RuntimeDefault"}), json!({"type": "Unconfined"}));
    let words = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
    for (of_pod, own) in [(&default, &Value::Null), (&Value::Null, &default), (&none, &default), (&default, &none)] {
        assert_eq!(with(of_pod.clone(), own.clone()), Some(("AppArmor".to_owned(), words.to_owned())));
    }
    assert_eq!(with(none.clone(), none), None);
    assert_eq!(with(Value::Null, Value::Null), None);
}
