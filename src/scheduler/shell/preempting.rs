//! Carries out what [`preemption`](crate::scheduler::preemption) decided: tells the victims, and deletes them
//! as anyone would, with their grace.

use super::{Scheduler, patch_status, path_of};
use crate::client::raw;
use crate::scheduler::cycle;
use crate::scheduler::hints::Event;
use crate::scheduler::host::{PREEMPTED, Placed, priority};
use crate::scheduler::preemption::{Preemption, Victim};
use crate::scheduler::profiles;
use bytes::Bytes;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

impl Scheduler {
    /// Returns the host to nominate; an empty name for none any more, `None` to leave it at what it is.
    pub(super) fn carry_out(&mut self, uid: &str, pod: &Arc<Pod>, preemption: &Preemption) -> Option<String> {
        match preemption {
            Preemption::Nominated { host, victims } => {
                for (lesser, placed) in self.snapshot.promises.below(host, priority(pod)) {
                    self.snapshot.withdraw(&lesser);
                    self.break_promise(&placed);
                    self.queue.wake(&Event::PromiseOver, Instant::now());
                }
                self.snapshot.promise(uid, host, Placed::of(pod));
                victims.iter().for_each(|victim| self.evict(victim, pod, host));
                Some(host.clone())
            }
            Preemption::Refused { keeps_promise: true, .. } => None,
            Preemption::Refused { .. } | Preemption::NotTried => {
                if self.snapshot.withdraw(uid).is_some() {
                    self.queue.wake(&Event::PromiseOver, Instant::now());
                }
                Some(String::new())
            }
        }
    }

    /// A more important pod got the host that this one was promised.
    fn break_promise(&self, placed: &Placed) {
        let Some(pod) = self.pods.get(&placed.group.namespace, &placed.name) else { return };
        self.spawn_write(&pod, "its nominated host could not be taken back", |client, pod| async move {
            patch_status(&client, &pod, json!({"nominatedNodeName": Value::Null})).await
        });
    }

    fn evict(&self, victim: &Victim, preemptor: &Pod, host: &str) {
        let found = self.pods.get(&victim.namespace, &victim.name);
        let Some(pod) = found.filter(|pod| cycle::uid(pod) == victim.uid) else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let by = profiles::name(preemptor);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": PREEMPTED,
            "message": format!("{by}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": self.ctx.clock.now_seconds().to_string()});
        let (events, uid, host) = (self.events.clone(), cycle::uid(preemptor).to_owned(), host.to_owned());
        self.spawn_write(&pod, "it could not be preempted", |client, pod| async move {
            patch_status(&client, &pod, json!({"conditions": [condition]})).await?;
            delete(&client, &pod).await?;
            events.normal(&*pod, "Preempted", format!("Preempted by pod {uid} on node {host}"));
            Ok(())
        });
    }
}

async fn delete(client: &kube::Client, pod: &Pod) -> Result<(), kube::Error> {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": cycle::uid(pod)}});
    let body = Some(("application/json", Bytes::from(options.to_string())));
    raw::request(client, Method::DELETE, &path_of(pod), body).await.map(drop)
}
