//! Decides which reports become an Event, which only count an existing one up, and which are noise.
//! Pure: the clock is an input. The rules and numbers are client-go's.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// Objects and messages remembered.
const REMEMBERED: usize = 4096;
/// More different messages than this for the same object and reason are combined into one event ...
const COMBINE_ABOVE: usize = 10;
/// ... unless they are further apart than this many seconds.
const COMBINE_SECONDS: f64 = 600.0;
/// Events an object may cause at once, and how many it regains per second.
const BURST: f64 = 25.0;
const REFILL: f64 = 1.0 / 300.0;

/// What a component has to say.
#[derive(Debug, Clone)]
pub struct Report {
    pub involved: ObjectReference,
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    pub reason: String,
    pub message: String,
    pub component: Arc<str>,
    pub host: Option<Arc<str>>,
}

/// What to do about a report.
#[derive(Debug)]
pub enum Decision {
    Create(Box<Event>),
    /// It exists: `patch` counts it up; `event` is the whole, should it be gone.
    Bump {
        event: Box<Event>,
        patch: Value,
    },
    Drop,
}

/// (source, object, type, reason): what is combined.
type Group = (Arc<str>, Option<Arc<str>>, ObjectId, &'static str, String);
/// Whose budget an event takes from: the source and the object.
type Talker = (Arc<str>, Option<Arc<str>>, ObjectId);
/// kind, namespace, name, uid, field path.
type ObjectId = [String; 5];

#[derive(Default)]
struct Combined {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    last: Timestamp,
}

/// The memory of one lane.
#[derive(Default)]
pub struct Correlator {
    groups: HashMap<Group, Combined>,
    /// Boxed: half of a large table is empty.
    events: HashMap<(Group, String), Box<(Event, Timestamp)>>,
    buckets: HashMap<Talker, Bucket>,
    last_name: i128,
}

impl Correlator {
    pub fn observe(&mut self, report: Report, now: Timestamp) -> Decision {
        let object = object_id(&report.involved);
        let spam = (report.component.clone(), report.host.clone(), object.clone());
        let group: Group = (report.component.clone(), report.host.clone(), object, report.kind, report.reason.clone());
        let (identity, message) = self.combine(&group, report.message.clone(), now);
        let known = self.events.get(&(group.clone(), identity.clone())).map(|known| known.0.clone());
        let event = match known {
            Some(mut event) => {
                event.count = event.count.map(|count| count.saturating_add(1));
                event.last_timestamp = Some(Time(seconds(now)));
                event.message = Some(message);
                event
            }
            None => self.new_event(report, message, now),
        };
        let count = event.count.unwrap_or(1);
        remember(&mut self.events, (group, identity), Box::new((event.clone(), now)), |known| known.1);
        if !self.admit(spam, now) {
            return Decision::Drop;
        }
        if count == 1 {
            return Decision::Create(event.into());
        }
        let patch = json!({ "count": count, "lastTimestamp": event.last_timestamp, "message": event.message });
        Decision::Bump { event: event.into(), patch }
    }

    /// What makes the report the same as an earlier one, and the text to show.
    fn combine(&mut self, group: &Group, message: String, now: Timestamp) -> (String, String) {
        let known = self.groups.remove(group).filter(|known| elapsed(known.last, now) <= COMBINE_SECONDS);
        let mut combined = known.unwrap_or_default();
        combined.last = now;
        combined.messages.insert(message.clone());
        let many = combined.messages.len() > COMBINE_ABOVE;
        if many {
            combined.messages.remove(&message);
            // Keep the set at its limit, so that memory stays bounded, with the newest message in it.
            if let Some(oldest) = combined.messages.iter().next().cloned() {
                combined.messages.remove(&oldest);
            }
            combined.messages.insert(message.clone());
            combined.messages.insert(String::new());
        }
        remember(&mut self.groups, group.clone(), combined, |known| known.last);
        match many {
            true => ("\u{0}combined".into(), format!("(combined from similar events): {message}")),
            false => (message.clone(), message),
        }
    }

    fn new_event(&mut self, report: Report, message: String, now: Timestamp) -> Event {
        // The moment makes the name; under a paused clock moments repeat, so never go back or stand still.
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        let namespace = report.involved.namespace.clone().filter(|namespace| !namespace.is_empty());
        let name = format!("{}.{:x}", report.involved.name.as_deref().unwrap_or_default(), self.last_name);
        let host = report.host.as_deref().map(str::to_owned);
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.unwrap_or_else(|| "default".into())),
                ..ObjectMeta::default()
            },
            involved_object: report.involved,
            reason: Some(report.reason),
            message: Some(message),
            source: Some(EventSource { component: Some(report.component.to_string()), host: host.clone() }),
            first_timestamp: Some(Time(seconds(now))),
            last_timestamp: Some(Time(seconds(now))),
            count: Some(1),
            type_: Some(report.kind.into()),
            reporting_component: Some(report.component.to_string()),
            reporting_instance: host,
            ..Event::default()
        }
    }

    /// A token bucket per object and source.
    fn admit(&mut self, object: Talker, now: Timestamp) -> bool {
        let bucket = self.buckets.get(&object);
        let full = bucket.map_or(BURST, |bucket| (bucket.tokens + elapsed(bucket.last, now) * REFILL).min(BURST));
        let admitted = full >= 1.0;
        let tokens = if admitted { full - 1.0 } else { full };
        remember(&mut self.buckets, object, Bucket { tokens, last: now }, |bucket| bucket.last);
        admitted
    }
}

fn object_id(involved: &ObjectReference) -> ObjectId {
    [&involved.kind, &involved.namespace, &involved.name, &involved.uid, &involved.field_path]
        .map(|part| part.clone().unwrap_or_default())
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn elapsed(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// Inserts, and forgets the older half when there is too much.
fn remember<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: V, last: impl Fn(&V) -> Timestamp) {
    if map.len() >= REMEMBERED {
        let mut times: Vec<_> = map.values().map(&last).collect();
        times.sort_unstable();
        let median = times[times.len() / 2];
        map.retain(|_, known| last(known) > median);
    }
    map.insert(key, value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn report(name: &str, message: &str) -> Report {
        let involved = ObjectReference {
            kind: Some("Pod".into()),
            name: Some(name.into()),
            namespace: Some("default".into()),
            uid: Some(format!("uid-{name}")),
            ..ObjectReference::default()
        };
        let (reason, message) = ("BackOff".into(), message.into());
        Report { involved, kind: "Warning", reason, message, component: "kubelet".into(), host: Some("a".into()) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn the_same_again_counts_up() {
        let mut correlator = Correlator::default();
        let Decision::Create(first) = correlator.observe(report("web", "waiting"), at(0)) else { panic!() };
        assert_eq!((first.count, first.type_.as_deref()), (Some(1), Some("Warning")));
        let Decision::Bump { event, patch } = correlator.observe(report("web", "waiting"), at(5)) else { panic!() };
        assert_eq!(event.metadata.name, first.metadata.name);
        assert_eq!(patch["count"], 2);
        assert_eq!(patch["lastTimestamp"], "2023-11-14T22:13:25Z");
    }

    #[test]
    fn names_differ_even_when_time_stands_still() {
        let mut correlator = Correlator::default();
        let mut name = |message| match correlator.observe(report("web", message), at(0)) {
            Decision::Create(event) => event.metadata.name.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_ne!(name("one"), name("two"));
    }

    #[test]
    fn many_different_messages_are_combined() {
        let mut correlator = Correlator::default();
        for n in 0..10 {
            assert!(matches!(correlator.observe(report("web", &format!("{n}")), at(n)), Decision::Create(_)));
        }
        let Decision::Create(combined) = correlator.observe(report("web", "11"), at(11)) else { panic!() };
        assert_eq!(combined.message.as_deref(), Some("(combined from similar events): 11"));
        let Decision::Bump { patch, .. } = correlator.observe(report("web", "12"), at(12)) else { panic!() };
        assert_eq!(patch["message"], "(combined from similar events): 12");
        // Ten quiet minutes later they count as new.
        assert!(matches!(correlator.observe(report("web", "13"), at(700)), Decision::Create(_)));
    }

    #[test]
    fn an_object_that_talks_too_much_is_cut_off() {
        let mut correlator = Correlator::default();
        let mut told = |second| !matches!(correlator.observe(report("web", "again"), at(second)), Decision::Drop);
        assert_eq!((0..100).filter(|_| told(0)).count(), 25);
        assert!(told(301), "one more after five minutes");
        assert!(!told(302));
        assert!(matches!(correlator.observe(report("other", "again"), at(302)), Decision::Create(_)));
    }
}
