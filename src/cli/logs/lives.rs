//! The output of a container over its restarts: one life after the other, each to its end, none twice.

use super::super::follow::follow;
use super::{CliError, Source};
use crate::kubelet::pod::restarts::restarts;
use crate::kubelet::pod::{all_statuses, find_container};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use tokio::sync::mpsc;

/// How far printing may be behind, in lines.
const BEHIND: usize = 256;

/// The number of the newest life that has an output.
pub fn newest(pod: &Pod, container: &str) -> u32 {
    let status = all_statuses(pod).find(|status| status.name == container);
    status.map_or(0, |status| if has_begun(status) { count(status) } else { count(status).saturating_sub(1) })
}

fn count(status: &ContainerStatus) -> u32 {
    u32::try_from(status.restart_count).unwrap_or_default()
}

/// Whether what the status calls the container was ever started.
fn has_begun(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        || ended.is_some_and(|ended| ended.container_id.is_some() && ended.container_id == status.container_id)
}

/// Where a container stands to somebody who has read all its lives before `next`.
#[derive(Debug, PartialEq, Eq)]
enum Outlook {
    Begun,
    /// No life is to come.
    Over,
}

/// `None`: that is to be seen.
fn outlook(pod: Option<&Pod>, uid: Option<&str>, container: &str, next: u32) -> Option<Outlook> {
    let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == uid) else { return Some(Outlook::Over) };
    let status = all_statuses(pod).find(|status| status.name == container);
    if status.is_some_and(|status| count(status) > next || count(status) == next && has_begun(status)) {
        return Some(Outlook::Begun);
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = status.and_then(|status| status.state.as_ref()?.terminated.as_ref());
    let comes_again = match (pod.spec.as_ref().and_then(|spec| Some((spec, find_container(spec, container)?))), ended) {
        (None, _) => false,
        (Some((spec, (role, container))), Some(ended)) => restarts(spec, role, &container, ended.exit_code),
        (Some(_), None) => true,
    };
    let over = pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"));
    (over || !comes_again).then_some(Outlook::Over)
}

/// Lines of `first`, which is the life of that number, and of all lives after it. Ends when there will be none, because
/// the pod is gone or the container is not started again.
pub fn lines(
    source: Source,
    container: String,
    number: u32,
    first: impl Stream<Item = Result<String, CliError>> + Send + 'static,
) -> impl Stream<Item = Result<String, CliError>> {
    let (sender, receiver) = mpsc::channel(BEHIND);
    tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = pass(&source, &container, number, first, &sender) => outcome,
            // Nobody reads on.
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = outcome {
            let _ = sender.send(Err(error)).await;
        }
    });
    futures::stream::unfold(receiver, |mut lines| async move { lines.recv().await.map(|line| (line, lines)) })
}

async fn pass(
    source: &Source,
    container: &str,
    mut number: u32,
    first: impl Stream<Item = Result<String, CliError>>,
    to: &mpsc::Sender<Result<String, CliError>>,
) -> Result<(), CliError> {
    pass_one(first, to).await?;
    // Of what comes, all is wanted.
    let parameters = LogParams { tail_lines: None, since_seconds: None, ..source.parameters.clone() };
    loop {
        number += 1;
        let reached = |pod: Option<Pod>| Ok(outlook(pod.as_ref(), source.uid.as_deref(), container, number));
        if follow(&source.pods, &source.name, reached).await? == Outlook::Over {
            return Ok(());
        }
        match source.open(&parameters, Some(number)).await {
            Ok(lines) => {
                // Beside the output, which somebody may read by a program.
                eprintln!("[{}] {container} has been started again (restart {number})", source.name);
                pass_one(lines, to).await?;
            }
            // Of a container that is restarted again and again, only so many lives are kept.
            Err(kube::Error::Api(status)) if status.code == 400 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn pass_one(
    lines: impl Stream<Item = Result<String, CliError>>,
    to: &mpsc::Sender<Result<String, CliError>>,
) -> Result<(), CliError> {
    let mut lines = std::pin::pin!(lines);
    while let Some(line) = lines.next().await {
        let _ = to.send(Ok(line?)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn pod(policy: &str, status: Value) -> Pod {
        let phase = status["phase"].clone();
        let mut container = status;
        container["name"] = json!("c");
        container["image"] = json!("i");
        container["imageID"] = json!("");
        container["ready"] = json!(false);
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"},
            "spec": {"restartPolicy": policy, "containers": [{"name": "c"}]},
            "status": {"phase": phase, "containerStatuses": [container]},
        }))
        .unwrap()
    }

    fn status(count: u32, state: Value) -> Value {
        json!({"restartCount": count, "containerID": format!("podman://{count}"), "state": state})
    }

    fn ended(code: i32) -> Value {
        json!({"terminated": {"exitCode": code}})
    }

    fn at(pod: &Pod, next: u32) -> Option<Outlook> {
        outlook(Some(pod), Some("u"), "c", next)
    }

    #[test]
    fn the_newest_life_with_an_output() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let mut after = status(2, waiting.clone());
        after["lastState"] = json!({"terminated": {"exitCode": 1, "containerID": "podman://2"}});
        assert_eq!(newest(&pod("Always", after), "c"), 2);
        assert_eq!(newest(&pod("Always", status(2, waiting.clone())), "c"), 1, "the third is made, not started");
        assert_eq!(newest(&pod("Always", status(2, json!({"running": {}}))), "c"), 2);
        assert_eq!(newest(&pod("Always", status(0, waiting)), "c"), 0);
        assert_eq!(newest(&pod("Always", status(0, ended(1))), "other"), 0);
    }

    #[test]
    fn another_life_comes_or_not() {
        let running = pod("Always", status(1, json!({"running": {}})));
        assert_eq!((at(&running, 1), at(&running, 2)), (Some(Outlook::Begun), None));
        let ahead = pod("Always", status(5, json!({"waiting": {}})));
        assert_eq!((at(&ahead, 4), at(&ahead, 5)), (Some(Outlook::Begun), None));
        for (policy, code, comes) in [
            ("Always", 0, true),
            ("Always", 1, true),
            ("OnFailure", 1, true),
            ("OnFailure", 0, false),
            ("Never", 1, false),
        ] {
            let expected = if comes { None } else { Some(Outlook::Over) };
            assert_eq!(at(&pod(policy, status(1, ended(code))), 2), expected, "{policy} {code}");
        }
    }

    #[test]
    fn nothing_comes_of_a_pod_that_is_over() {
        let mut over = status(1, json!({"waiting": {}}));
        over["phase"] = json!("Failed");
        assert_eq!(at(&pod("Always", over), 2), Some(Outlook::Over));
        let mut leaving = pod("Always", status(1, json!({"running": {}})));
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(at(&leaving, 2), Some(Outlook::Over));
        assert_eq!(outlook(None, Some("u"), "c", 0), Some(Outlook::Over));
        assert_eq!(outlook(Some(&leaving), Some("another"), "c", 0), Some(Outlook::Over), "it has the name only");
        assert_eq!(outlook(Some(&leaving), Some("u"), "none", 0), Some(Outlook::Over));
    }
}
