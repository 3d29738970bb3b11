//! The story of each pod, read from the journal. Pure.

use super::journal::Entry;
use crate::api::meta::Envelope;
use crate::store::Record;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The name of the host a pod is bound to; empty if to none.
pub fn host(envelope: &Envelope) -> &str {
    field(envelope, "spec.nodeName")
}

fn field<'a>(envelope: &'a Envelope, name: &str) -> &'a str {
    envelope.fields.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// Ran to its end.
pub fn is_over(envelope: &Envelope) -> bool {
    matches!(field(envelope, "status.phase"), "Succeeded" | "Failed")
}

/// On its way to run or to go.
pub fn is_under_way(envelope: &Envelope) -> bool {
    envelope.deletion_timestamp.is_some() || field(envelope, "status.phase") == "Pending"
}

/// What became of one pod.
pub struct Story {
    /// As it was before the change set; `None` for a new pod.
    pub before: Option<Arc<Record>>,
    /// As it was last.
    pub last: Arc<Record>,
    pub begun: Duration,
    /// When it got its host.
    pub bound: Option<Duration>,
    /// When it was told to go, and when it was gone.
    pub leaving: Option<Duration>,
    pub gone: bool,
    /// It ran to its end, and was not told to go before.
    pub ended: bool,
}

/// The stories of all pods that changed, in the order they began.
pub fn stories(journal: &[Entry]) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    let mut by_uid: HashMap<&str, usize> = HashMap::new();
    for Entry { at, event } in journal {
        let envelope = &event.record.envelope;
        let index = *by_uid.entry(&envelope.uid).or_insert_with(|| {
            let before = event.previous.clone().filter(|before| before.envelope.uid == envelope.uid);
            let last = event.record.clone();
            stories.push(Story { before, last, begun: *at, bound: None, leaving: None, gone: false, ended: false });
            stories.len() - 1
        });
        let story = &mut stories[index];
        story.last = event.record.clone();
        let homeless = story.before.as_ref().is_none_or(|before| host(&before.envelope).is_empty());
        if homeless && story.bound.is_none() && !host(envelope).is_empty() {
            story.bound = Some(*at);
        }
        if story.leaving.is_none() && (event.deleted || envelope.deletion_timestamp.is_some()) {
            story.leaving = Some(*at);
        }
        story.gone |= event.deleted;
        story.ended |= is_over(envelope) && envelope.deletion_timestamp.is_none();
    }
    stories
}

impl Story {
    /// It ran, or was to run, before the change set.
    pub fn was_active(&self) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| !is_over(&before.envelope) && before.envelope.deletion_timestamp.is_none())
    }

    pub fn object(&self) -> Value {
        serde_json::from_slice(&self.last.value.bytes()).unwrap_or_default()
    }

    /// How often its containers started again since.
    pub fn restarts(&self) -> u64 {
        let Some(before) = &self.before else { return 0 };
        let before = serde_json::from_slice(&before.value.bytes()).unwrap_or_default();
        restart_count(&self.object()).saturating_sub(restart_count(&before))
    }
}

fn restart_count(pod: &Value) -> u64 {
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    lists.into_iter().flatten().flatten().filter_map(|status| status["restartCount"].as_u64()).sum()
}

/// The name to show: letters that are random in the copy will be others in the cluster.
pub fn shown_name(pod: &Value, is_new: bool) -> String {
    match pod["metadata"]["generateName"].as_str() {
        Some(prefix) if is_new => format!("{prefix}*"),
        _ => pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
    }
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    ready || pod["status"]["phase"] == "Succeeded"
}
