//! Who is evicted first, case by case and for any pods.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::api::kinds::pod::MIRROR;
use crate::kubelet::eviction::pressure::{Observed, shortages};
use crate::kubelet::settings::Thresholds;
use crate::kubelet::static_pods::SOURCE;
use proptest::prelude::*;
use serde_json::{Value, json};

fn pod(name: &str, priority: i32, requests: Value) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority,
        "containers": [{"name": "c", "resources": {"requests": requests}}]}});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn uses(name: &str, priority: i32, memory: u64, asked: &str) -> Using {
    let mut using = Using::new(pod(name, priority, json!({"memory": asked})));
    using.memory.insert("c".into(), memory);
    using
}

/// Who goes for a shortage of so many bytes or inodes.
fn goes(pods: &[Using], signal: Signal, missing: u64, one_disk: bool) -> Option<&str> {
    let shortage = Shortage { signal, threshold: missing, available: 0 };
    match victim(pods, &shortage, one_disk) {
        Choice::Goes(using) => using.pod.metadata.name.as_deref(),
        Choice::NoneWouldHelp(_) | Choice::NoneMayGo => None,
    }
}

#[test]
fn who_uses_more_than_it_asked_for_goes_first() {
    let mib = 1 << 20;
    let mut pods = vec![
        uses("modest", -5, 90 * mib, "100Mi"),
        uses("important", 10, 900 * mib, "100Mi"),
        uses("little", 0, 120 * mib, "100Mi"),
        uses("much", 0, 200 * mib, "100Mi"),
        uses("critical", 2_000_000_000, 9000 * mib, "0"),
    ];
    for expect in [Some("much"), Some("little"), Some("important"), Some("modest"), None] {
        let found = goes(&pods, Signal::Memory, 1, true).map(str::to_owned);
        assert_eq!(found.as_deref(), expect);
        pods.retain(|using| using.pod.metadata.name != found);
    }
}

#[test]
fn a_full_disk_takes_who_fills_it() {
    let mut pods =
        vec![Using::new(pod("a", 0, json!({"ephemeral-storage": "1Gi"}))), Using::new(pod("b", 0, json!({})))];
    pods[0].containers.insert("c".into(), Space { bytes: 1 << 29, inodes: 9 });
    pods[1].volumes.insert("v".into(), Space { bytes: 1 << 20, inodes: 1 });
    assert_eq!(goes(&pods, Signal::Images, 1, true), Some("b"), "the other has what it asked for");
    assert_eq!(goes(&pods, Signal::Images, 1, false), Some("a"), "the other keeps nothing on that disk");
    assert_eq!(goes(&pods, Signal::Inodes, 1, true), Some("a"));
    pods[0].volumes.insert("v".into(), Space { bytes: 1 << 30, inodes: 1 });
    assert_eq!(goes(&pods, Signal::Volumes, 1, true), Some("a"));
    assert_eq!(goes(&pods, Signal::Volumes, 1, false), Some("b"));
}

#[test]
fn nobody_goes_for_a_disk_that_others_filled() {
    let mut pods = vec![Using::new(pod("a", 0, json!({}))), Using::new(pod("b", 0, json!({})))];
    assert_eq!(goes(&pods, Signal::Volumes, 1, true), None, "neither keeps anything");
    pods[0].volumes.insert("v".into(), Space { bytes: 600, inodes: 2 });
    pods[1].volumes.insert("v".into(), Space { bytes: 500, inodes: 1 });
    assert_eq!(goes(&pods, Signal::Volumes, 1100, true), Some("a"), "together they would do");
    let short = Shortage { signal: Signal::Volumes, threshold: 2000, available: 899 };
    let Choice::NoneWouldHelp(freed) = victim(&pods, &short, true) else { panic!("somebody goes") };
    assert_eq!(
        helpless(&short, freed),
        "No pod is evicted: 1101 bytes of nodefs.available have to be freed, and all pods that may go keep 1100. Others filled the disk: make room there."
    );
    assert_eq!(goes(&pods, Signal::Inodes, 4, true), None);
}

#[test]
fn pods_of_the_host_itself_stay() {
    let mut own = Pod::clone(&pod("own", 0, json!({})));
    let file = (SOURCE.to_owned(), "file".to_owned());
    own.metadata.annotations = Some([file.clone(), (MIRROR.to_owned(), "x".to_owned())].into());
    assert!(!may_go(&own));
    own.metadata.annotations = Some([file].into());
    assert!(may_go(&own), "whoever makes a pod can write that");
    own.metadata.annotations = Some([(SOURCE.to_owned(), "api".to_owned())].into());
    assert!(may_go(&own));
}

#[test]
fn the_pod_is_told_in_kubernetes_words() {
    let short = |signal| {
        let observed = Observed { capacity: 1000 << 20, available: 12 << 10 };
        shortages(&[(signal, observed)].into(), &Thresholds::default())[0]
    };
    let mut using = uses("web", 0, 300 << 20, "128Mi");
    assert_eq!(
        message(&short(Signal::Memory), &using),
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Ki. \
         Container c was using 300Mi, request is 128Mi, has larger consumption of memory. "
    );
    using.containers.insert("c".into(), Space { bytes: 5000, inodes: 0 });
    assert_eq!(
        message(&short(Signal::Volumes), &using),
        "The node was low on resource: ephemeral-storage. Threshold quantity: 104857601, available: 12Ki. \
         Container c was using 5000, request is 0, has larger consumption of ephemeral-storage. "
    );
    using.memory.insert("c".into(), 128 << 20);
    let told = message(&short(Signal::Memory), &using);
    assert!(told.ends_with("available: 12Ki. "), "what it asked for is not too much: {told}");
    let mut whole = Pod::clone(&using.pod);
    let resources = json!({"requests": {"memory": "200Mi"}});
    whole.spec.as_mut().unwrap().resources = Some(serde_json::from_value(resources).unwrap());
    using.pod = Arc::new(whole);
    assert!(
        message(&short(Signal::Memory), &using)
            .ends_with("Pod web was using 128Mi, request is 200Mi, has larger consumption of memory. ")
    );
}

#[test]
fn a_host_under_pressure_takes_only_some_pods() {
    let (bare, modest) = (pod("a", 0, json!({})), pod("b", 0, json!({"memory": "1Mi"})));
    let critical = pod("c", 2_000_000_000, json!({}));
    assert_eq!(refusal(&bare, &[]), None);
    let memory = [Condition::Memory];
    assert_eq!(refusal(&bare, &memory).as_deref(), Some("The node had condition: [MemoryPressure]. "));
    assert_eq!(refusal(&modest, &memory), None);
    let mut tolerant = Pod::clone(&bare);
    let toleration = json!([{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]);
    tolerant.spec.as_mut().unwrap().tolerations = serde_json::from_value(toleration).unwrap();
    assert_eq!(refusal(&tolerant, &memory), None);
    let both = [Condition::Disk, Condition::Memory];
    for pod in [&bare, &modest, &tolerant] {
        let told = refusal(pod, &both);
        assert_eq!(told.as_deref(), Some("The node had condition: [DiskPressure MemoryPressure]. "));
        assert!(refusal(pod, &[Condition::Disk]).is_some());
    }
    assert_eq!(refusal(&critical, &both), None);
}

proptest! {
    /// Nobody goes while somebody else uses more than it asked for and it does not, or is of lower priority alike, or
    /// is further above its request of the same priority; and critical pods never do.
    #[test]
    fn nobody_goes_before_a_worse_one(pods in prop::collection::vec((0u64..400, 0u64..400, -1i32..3), 0..8)) {
        let priorities = [-10, 0, 10, 2_000_000_000];
        let using: Vec<Using> = pods.iter().enumerate().map(|(index, (used, asked, rank))| {
            uses(&index.to_string(), priorities[usize::try_from(rank + 1).unwrap()], used << 20, &format!("{asked}Mi"))
        }).collect();
        let worth = |index: usize| {
            let (used, asked, rank) = pods[index];
            (used <= asked, rank, i128::from(asked) - i128::from(used))
        };
        let expect = (0..pods.len()).filter(|index| pods[*index].2 < 2).map(worth).min();
        let found = goes(&using, Signal::Memory, 1, true).map(|name| worth(name.parse().unwrap()));
        prop_assert_eq!(found, expect);
    }
}
