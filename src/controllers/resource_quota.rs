//! Keeps the status of ResourceQuotas: what is used of what is allowed.
//!
//! Admission adds to `used` what it lets in; this controller counts anew when pods have ended or have other
//! resources, when objects are gone, and when the limits change. A write that admission has overtaken is refused by
//! its resourceVersion and made again.

use super::shell::{self, Reconcile};
use super::{pods, write};
use crate::api::quota::{self, Usage};
use crate::base::clock::Clock;
use crate::client::{Change, Context, Informer, ObjectKey, WorkQueue, raw};
use http::Method;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, Service};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::time::Duration;

/// Objects without an informer here are counted this often.
const RECOUNT: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(10);

struct Controller {
    client: kube::Client,
    clock: Clock,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
}

/// Runs until shutdown.
pub async fn run(ctx: Context, workers: usize) {
    let informers = &ctx.informers;
    let (quotas, pods, services) = (informers.of(), informers.of(), informers.of());
    shell::run(
        &ctx,
        workers,
        Controller { client: ctx.client.clone(), clock: ctx.clock.clone(), quotas, pods, services },
    )
    .await;
}

fn wake(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<ObjectKey>, namespace: &str) {
    quotas.list_namespace(namespace).iter().for_each(|quota| queue.add(ObjectKey::of(&**quota)));
}

impl Reconcile for Controller {
    type Error = kube::Error;

    fn subscribe(&self, queue: &WorkQueue<ObjectKey>) {
        shell::own(&self.quotas, queue);
        let (to, quotas) = (queue.clone(), self.quotas.clone());
        self.pods.subscribe(Box::new(move |change| {
            let uses_less = match change {
                Change::Added(_) => false,
                Change::Updated { old, new } => {
                    let deleted = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
                    // One that is deleted counts no longer than its grace lasts, be it gone then or not.
                    pods::is_finished(new) && !pods::is_finished(old)
                        || deleted(new) && !deleted(old)
                        || pods::is_resized(old, new)
                }
                Change::Deleted(_) => true,
            };
            if uses_less {
                wake(&quotas, &to, &change.object().namespace().unwrap_or_default());
            }
        }));
        let (to, quotas) = (queue.clone(), self.quotas.clone());
        self.services.subscribe(Box::new(move |change| {
            if !matches!(change, Change::Added(_)) {
                wake(&quotas, &to, &change.object().namespace().unwrap_or_default());
            }
        }));
    }

    async fn synced(&self) {
        self.quotas.synced().await;
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Option<Duration>, kube::Error> {
        let Some(quota) = self.quotas.get(&key.namespace, &key.name) else { return Ok(None) };
        let value = serde_json::to_value(&*quota).map_err(kube::Error::SerdeError)?;
        let hard = quota::amounts(&value["spec"]["hard"]);
        let (used, next) = self.count(&key.namespace, &value, &hard).await?;
        let told = &value["status"];
        if quota::amounts(&told["hard"]) != hard || quota::amounts(&told["used"]) != used {
            let mut status = json!({"hard": quota::to_value(&hard), "used": quota::to_value(&used)});
            for field in ["hard", "used"] {
                for name in told[field].as_object().into_iter().flatten().map(|(name, _)| name) {
                    if !hard.contains_key(name) {
                        status[field][name] = Value::Null;
                    }
                }
            }
            match write::patch(&self.client, &*quota, "/status", json!({ "status": status })).await {
                Err(error) if raw::is_not_found(&error) => return Ok(None),
                // Admission was faster; its change comes by, but may be seen already.
                Err(error) if raw::is_conflict(&error) => return Ok(Some(Duration::from_millis(50))),
                outcome => drop(outcome?),
            }
        }
        let informed = quota::counted(&hard).iter().all(|(_, plural)| matches!(plural.as_str(), "pods" | "services"));
        Ok((!informed).then_some(RECOUNT).into_iter().chain(next).min())
    }
}

impl Controller {
    /// What is used, and when that will be less though nothing changes.
    async fn count(
        &self,
        namespace: &str,
        quota: &Value,
        hard: &Usage,
    ) -> Result<(Usage, Option<Duration>), kube::Error> {
        let (now, mut next) = (self.clock.now(), None);
        let mut used: Usage = hard.keys().map(|name| (name.clone(), Default::default())).collect();
        for (group, plural) in quota::counted(hard) {
            for object in self.list(&group, &plural, namespace).await? {
                if quota::covers(quota, &group, &plural, &object) {
                    let (usage, left) = quota::usage_at(&group, &plural, &object, now);
                    // A moment later its time is over.
                    let left = left.and_then(|left| Duration::try_from(left).ok()).map(|left| left + MOMENT);
                    next = next.into_iter().chain(left).min();
                    let usage = usage.into_iter().filter(|(name, _)| hard.contains_key(name));
                    quota::add(&mut used, &usage.collect());
                }
            }
        }
        Ok((used, next))
    }

    /// All objects of a collection; none if there is no such collection.
    async fn list(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, kube::Error> {
        let root = match group {
            "" => "/api/v1".to_string(),
            group => match raw::request(&self.client, Method::GET, &format!("/apis/{group}"), None).await {
                Err(error) if raw::is_not_found(&error) => return Ok(Vec::new()),
                found => {
                    let found: Value = serde_json::from_slice(&found?).map_err(kube::Error::SerdeError)?;
                    format!("/apis/{}", found["preferredVersion"]["groupVersion"].as_str().unwrap_or_default())
                }
            },
        };
        match raw::request(&self.client, Method::GET, &format!("{root}/namespaces/{namespace}/{plural}"), None).await {
            Err(error) if raw::is_not_found(&error) => Ok(Vec::new()),
            body => {
                let mut list: Value = serde_json::from_slice(&body?).map_err(kube::Error::SerdeError)?;
                match list["items"].take() {
                    Value::Array(items) => Ok(items),
                    _ => Ok(Vec::new()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::rig::Rig;

    #[tokio::test(start_paused = true)]
    async fn what_is_used_follows_the_objects() {
        let rig = Rig::new().await;
        let root = "/api/v1/namespaces/default";
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2", "count/configmaps": "5"}}});
        rig.post(&format!("{root}/resourcequotas"), quota).await;
        rig.spawn(run(rig.ctx.clone(), 1));
        let path = format!("{root}/resourcequotas/q");
        rig.until(&path, |quota| quota["status"]["used"]["pods"] == "0").await;
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        rig.post(&format!("{root}/pods"), pod).await;
        assert_eq!(rig.get(&path).await["status"]["used"]["pods"], "1", "admission counts at once");
        rig.post(&format!("{root}/configmaps"), json!({"metadata": {"name": "c"}})).await;
        assert_eq!(rig.get(&path).await["status"]["used"]["count/configmaps"], "1");
        // Its node is lost: nobody ends it.
        let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "lost"}});
        rig.post(&format!("{root}/pods/p/binding"), binding).await;
        rig.delete(&format!("{root}/pods/p")).await;
        assert_eq!(rig.get(&path).await["status"]["used"]["pods"], "1", "its grace is not over");
        rig.until(&path, |quota| quota["status"]["used"]["pods"] == "0").await;
        rig.delete(&format!("{root}/configmaps/c")).await;
        rig.until(&path, |quota| quota["status"]["used"]["count/configmaps"] == "0").await;
    }
}
