//! Kubelets and askers, under a paused clock.
#![allow(clippy::unwrap_used)]

use super::*;
use jiff::Timestamp;
use std::sync::Arc;

/// A container that uses half a core, read at this second of its life.
fn read(second: i64) -> Option<HostReadings> {
    let started = Timestamp::from_second(1_700_000_000).unwrap();
    let time = Timestamp::from_second(1_700_000_000 + second).unwrap();
    let reading = Reading { started, time, cpu_nanos: second.unsigned_abs() * 500_000_000, memory: 1 << 20 };
    let containers = vec![ContainerReading { pod_uid: "p".into(), container: "c".into(), reading }];
    Some(HostReadings { machine: None, containers })
}

#[tokio::test(start_paused = true)]
async fn who_asks_first_waits_for_two_readings() {
    let usage = Arc::new(Usage::default());
    usage.join("h");
    assert!(!usage.is_wanted());
    let kubelet = tokio::spawn({
        let usage = usage.clone();
        async move {
            usage.wanted().await;
            usage.record("h", read(100));
            tokio::time::sleep(FIRST_PERIOD).await;
            usage.record("h", read(101));
        }
    });
    let begun = Instant::now();
    usage.ask().await;
    kubelet.await.unwrap();
    assert_eq!(begun.elapsed(), FIRST_PERIOD);
    let rates = usage.of_pod("h", "p");
    assert_eq!((rates[0].0.as_str(), rates[0].1.nanocores), ("c", 500_000_000));
    assert_eq!(usage.of_host("h"), Some(rates[0].1), "nothing is known of the machine");
    assert!(usage.of_pod("h", "other").is_empty() && usage.of_host("other").is_none());
    usage.ask().await;
    assert_eq!(begun.elapsed(), FIRST_PERIOD, "the next one does not wait");
}

#[tokio::test(start_paused = true)]
async fn interest_fades_and_comes_back() {
    let usage = Usage::default();
    usage.join("h");
    usage.ask().await;
    (0..2).for_each(|second| usage.record("h", read(100 + second)));
    tokio::time::sleep(INTEREST).await;
    assert!(!usage.is_wanted());
    usage.pause("h");
    assert!(usage.of_pod("h", "p").is_empty(), "old figures are not shown as new ones");
    assert!(timeout(INTEREST, usage.wanted()).await.is_err());
    usage.asked.send_replace(Some(Instant::now()));
    usage.wanted().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_not_waited_for_long() {
    let usage = Usage::default();
    ["h", "away"].iter().for_each(|host| usage.join(host));
    (0..2).for_each(|second| usage.record("h", read(100 + second)));
    let begun = Instant::now();
    usage.ask().await;
    assert_eq!(begun.elapsed(), PATIENCE);
    usage.record("away", None);
    usage.ask().await;
    assert_eq!(begun.elapsed(), PATIENCE, "it is known to be away");
    assert!(usage.of_host("away").is_none() && usage.of_host("h").is_some());
    usage.record("h", None);
    assert!(usage.of_host("h").is_none() && usage.of_pod("h", "p").is_empty());
    usage.leave("away");
    usage.record("away", read(1));
    assert!(usage.of_pod("away", "p").is_empty());
}

#[tokio::test]
async fn a_pod_is_known_when_all_its_containers_are() {
    let usage = Usage::default();
    usage.join("h");
    usage.record("h", read(100));
    let mut both = read(120).unwrap();
    let mut late = both.containers[0].clone();
    late.container = "late".into();
    late.reading.started = late.reading.time;
    both.containers.push(late);
    usage.record("h", Some(both));
    assert!(usage.of_pod("h", "p").is_empty());
    assert!(usage.of_host("h").is_some(), "a host counts what it knows");
}
