//! Who has room on a host: the pods that it took, until nothing of them runs any more. Pure.
//!
//! The API alone does not tell. What it says of a pod that was just taken comes later, and a pod that was
//! deleted by force is gone from it while its containers still run. So the workers of a host say it themselves, all
//! under one lock: each pod is judged beside those that were taken before it.

use crate::kubelet::pod::{has_begun, is_terminal};
use k8s_openapi::api::core::v1::Pod;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// By pod uid.
#[derive(Default)]
pub struct Residents(HashMap<String, Resident>);

struct Resident {
    pod: Arc<Pod>,
    stay: Stay,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stay {
    Holds,
    /// It still holds its room, which is promised to others.
    MakesWay,
    /// Nothing of it is left, whatever the API says so far.
    Over,
}

impl Residents {
    /// The pod was taken, or is promised room.
    pub fn enter(&mut self, pod: &Arc<Pod>) {
        self.0.entry(uid(pod).into()).or_insert_with(|| Resident { pod: pod.clone(), stay: Stay::Holds });
    }

    /// The newest state of a pod that may be here: an older one would only take memory.
    pub fn see(&mut self, pod: &Arc<Pod>) {
        if let Some(resident) = self.0.get_mut(uid(pod)) {
            resident.pod = pod.clone();
        }
    }

    /// The pod is to go; its room is counted until it has gone.
    pub fn make_way(&mut self, pod: &Arc<Pod>) {
        self.enter(pod);
        if let Some(resident) = self.0.get_mut(uid(pod)).filter(|resident| resident.stay == Stay::Holds) {
            resident.stay = Stay::MakesWay;
        }
    }

    pub fn makes_way(&self, pod: &Pod) -> bool {
        self.0.get(uid(pod)).is_some_and(|resident| resident.stay == Stay::MakesWay)
    }

    /// Nothing of the pod runs, and nothing will. Returns whether it had room until now.
    pub fn leave(&mut self, uid: &str) -> bool {
        match self.0.get_mut(uid) {
            Some(resident) => std::mem::replace(&mut resident.stay, Stay::Over) != Stay::Over,
            None => false,
        }
    }

    /// Nobody looks after the pod any more. Returns whether it had room until now.
    pub fn forget(&mut self, uid: &str) -> bool {
        self.0.remove(uid).is_some_and(|resident| resident.stay != Stay::Over)
    }

    /// The pods that have room, out of those that the API shows on the host: what their workers say counts more.
    pub fn among(&self, shown: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
        self.with(shown, |pod| has_begun(pod) && !is_terminal(pod))
    }

    /// The same, and those that the host has yet to decide about.
    pub fn among_all(&self, shown: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
        self.with(shown, |pod| !is_terminal(pod))
    }

    fn with(&self, mut pods: Vec<Arc<Pod>>, unknown: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        pods.retain(|pod| match self.0.get(uid(pod)) {
            Some(resident) => resident.stay != Stay::Over,
            None => unknown(pod),
        });
        let mut missing: Vec<_> = self.0.iter().filter(|(_, resident)| resident.stay != Stay::Over).collect();
        let present: HashSet<&str> = pods.iter().map(|pod| uid(pod)).collect();
        missing.retain(|(uid, _)| !present.contains(uid.as_str()));
        missing.sort_by_key(|(uid, _)| *uid);
        pods.extend(missing.into_iter().map(|(_, resident)| resident.pod.clone()));
        pods
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, phase: &str, begun: bool) -> Arc<Pod> {
        let mut status = json!({"phase": phase});
        if begun {
            status["startTime"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(json!({"metadata": {"uid": uid}, "status": status})).unwrap())
    }

    fn uids(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|pod| uid(pod)).collect()
    }

    #[test]
    fn the_word_of_a_worker_counts_more_than_the_api() {
        let shown = [
            pod("runs", "Running", true),
            pod("new", "Pending", false),
            pod("taken", "Pending", false),
            pod("ended", "Failed", true),
            pod("ending", "Failed", true),
            pod("over", "Running", true),
        ];
        let mut residents = Residents::default();
        for pod in &shown[2..=2] {
            residents.enter(pod);
        }
        for pod in [&shown[4], &shown[5], &pod("deleted", "Running", true)] {
            residents.enter(pod);
        }
        assert!(residents.leave("over") && !residents.leave("over") && !residents.leave("unknown"));
        assert_eq!(uids(&residents.among(shown.to_vec())), ["runs", "taken", "ending", "deleted"]);
        assert_eq!(uids(&residents.among_all(shown.to_vec())), ["runs", "new", "taken", "ending", "deleted"]);
        assert!(residents.forget("deleted") && !residents.forget("over"));
        assert_eq!(uids(&residents.among(shown.to_vec())), ["runs", "taken", "ending", "over"], "as the API says");
    }

    #[test]
    fn who_makes_way_has_room_until_it_is_gone() {
        let (mut residents, one) = (Residents::default(), pod("one", "Running", true));
        residents.make_way(&one);
        let newer = Arc::new(Pod::clone(&one));
        residents.enter(&newer);
        residents.see(&newer);
        assert!(Arc::ptr_eq(&residents.among(Vec::new())[0], &newer));
        assert!(residents.makes_way(&one));
        assert_eq!(uids(&residents.among(Vec::new())), ["one"]);
        assert!(residents.leave("one"));
        residents.make_way(&one);
        assert!(!residents.makes_way(&one), "it has gone");
        assert!(residents.among(vec![one]).is_empty());
    }
}
