//! Whose log is meant, and what is sent of it.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::kubelet::runtime::{ContainerIdentity, ContainerState, Exit, OutputStream};
use jiff::Timestamp;
use serde_json::json;

fn life(restart_count: u32, state: ContainerState) -> ContainerStatus {
    ContainerStatus {
        id: format!("id{restart_count}"),
        identity: ContainerIdentity { container: "c".into(), restart_count, ..ContainerIdentity::default() },
        sandbox: String::new(),
        image: String::new(),
        image_id: String::new(),
        created: Timestamp::UNIX_EPOCH,
        state,
        labels: Default::default(),
        log_path: String::new(),
        user: None,
        ips: Vec::new(),
    }
}

fn running() -> ContainerState {
    ContainerState::Running { started: Timestamp::UNIX_EPOCH, pid: 1 }
}

fn exited() -> ContainerState {
    let finished = Timestamp::UNIX_EPOCH;
    ContainerState::Exited(Exit { code: 1, started: None, finished, oom_killed: false, message: None })
}

/// Lives of these states, the newest first.
fn lives(states: &[ContainerState]) -> Vec<ContainerStatus> {
    let numbers = (0..states.len() as u32).rev();
    numbers.zip(states).map(|(number, state)| life(number, state.clone())).collect()
}

fn chosen(states: &[ContainerState], last: &str, options: LogOptions) -> String {
    chosen_from(lives(states), last, options)
}

fn chosen_from(lives: Vec<ContainerStatus>, last: &str, options: LogOptions) -> String {
    let last = json!({"terminated": {"containerID": format!("podman://{last}")}});
    let statuses = json!([{"name": "c", "lastState": last, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
    let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": statuses}});
    let options = LogOptions { container: "c".into(), ..options };
    choose(&pod, &options, &lives).unwrap_or_else(|error| error.message)
}

#[test]
fn the_previous_life_is_found_whatever_the_api_knows_of_the_newest() {
    let previous =
        |states: &[ContainerState], last| chosen(states, last, LogOptions { previous: true, ..LogOptions::default() });
    // As it was reported, and as it was before.
    for last in ["id1", "id0", "gone", ""] {
        assert_eq!(previous(&[running(), exited(), exited()], last), "id1", "{last}");
    }
    assert_eq!(previous(&[ContainerState::Created, exited()], "id0"), "id0");
    assert_eq!(previous(&[exited(), exited()], "id1"), "id1", "it waits for the next");
    assert_eq!(previous(&[exited(), exited()], "id0"), "id0", "it has just ended");
    assert_eq!(previous(&[exited()], "id0"), "id0");
    for none in [&[][..], &[running()], &[exited()]] {
        assert_eq!(previous(none, ""), "previous terminated container \"c\" in pod \"p\" not found");
    }
}

#[test]
fn a_life_is_found_by_its_number() {
    let states = [ContainerState::Created, running(), exited()];
    let by_number = |restart| chosen(&states, "", LogOptions { restart: Some(restart), ..LogOptions::default() });
    assert_eq!((by_number(0), by_number(1)), ("id0".to_owned(), "id1".to_owned()));
    for none in [2, 3] {
        assert_eq!(by_number(none), "container \"c\" in pod \"p\" is waiting to start: CrashLoopBackOff");
    }
    let mut left = lives(&states);
    left.pop();
    let gone = chosen_from(left, "", LogOptions { restart: Some(0), ..LogOptions::default() });
    assert_eq!(gone, "container \"c\" in pod \"p\" has no log of restart 0 any more");
    assert_eq!(chosen(&states, "", LogOptions::default()), "id1");
}

#[tokio::test]
async fn a_log_ends_with_the_last_byte_that_is_wanted() {
    let line = |text: &'static str| {
        Ok(LogLine { time: Timestamp::UNIX_EPOCH, stream: OutputStream::Stdout, bytes: Bytes::from(text) })
    };
    // No more lines come, and the log does not end.
    let lines = || stream::iter([line("one\n"), line("tw"), line("o\n")]).chain(stream::pending()).boxed();
    for (limit, expect) in [(3, "one"), (4, "one\n"), (5, "one\nt"), (8, "one\ntwo\n")] {
        let sent: Vec<Bytes> = render(lines(), false, Some(limit)).map(Result::unwrap).collect().await;
        assert_eq!(sent.concat(), expect.as_bytes());
    }
    let sent: Vec<Bytes> = render(lines(), true, Some(70)).map(Result::unwrap).collect().await;
    let expect = "1970-01-01T00:00:00.000000000Z one\n1970-01-01T00:00:00.000000000Z two\n";
    assert_eq!(sent.concat(), expect.as_bytes());
}
