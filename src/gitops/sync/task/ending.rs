//! The end of an Application: what it applied goes with it, unless that is to stay.
//!
//! A finalizer holds the Application until its objects, and with them their containers, are gone. Nothing
//! is deleted while another Application may want it whose source nobody has read.

mod hooks;

use super::Task;
use crate::api::changeset::ObjectId;
use crate::client::raw;
use crate::gitops::application::{Application, FINALIZER, LABEL, NAMESPACE};
use crate::gitops::hooks::Phase;
use crate::gitops::render::{Rendered, describe, same_object};
use crate::gitops::sync::wait::path;
use crate::gitops::sync::{Event, leaving};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How often objects that are being deleted are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Others write Applications too; the next pass tries again.
const TRIES: usize = 5;
/// Others mostly look at their sources within this time: that is not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far a deleted Application is.
#[derive(Default)]
pub(super) struct Ending {
    begun: Option<Instant>,
    /// What it waits for, as told.
    waits_for: String,
    /// It is told that objects are deleted, and that they are gone.
    told: bool,
    over: bool,
    hooks: hooks::Running,
}

impl Task {
    /// Takes hold of a new Application, before anything of it is applied.
    pub(super) async fn hold(&self, application: &Application) {
        if application.is_held() {
            return;
        }
        for _ in 0..TRIES {
            if self.set_finalizers(|all| all.push(FINALIZER.to_owned())).await {
                return;
            }
        }
    }

    /// Whether an Application is deleted, and nothing with it: then it matters no more what is its own.
    pub(super) fn ends_alone(&self, application: &Application) -> bool {
        let has_none = self.status.inventory.is_empty() && self.status.hooks.is_empty();
        application.is_deleted() && (has_none || self.outlived(application).is_some())
    }

    /// Why its objects outlive it, if they do.
    fn outlived(&self, application: &Application) -> Option<&'static str> {
        let uid = application.metadata.uid.as_deref().unwrap_or_default();
        let orphaned = || self.shared.orphaning.lock().contains(uid).then_some("it was deleted with --cascade=orphan");
        application.keeps_objects().or_else(orphaned)
    }

    /// One step towards the end; true when there is nothing left to do.
    pub(super) async fn end(&mut self, application: &Application) -> bool {
        if !application.is_held() {
            // Others hold it still; nothing of ours is left.
            self.bell.look.wait().await;
            return false;
        }
        let stay = self.outlived(application);
        let objects = [self.ours().as_slice(), &self.status.hooks].concat();
        if stay.is_none() && !objects.is_empty() && !self.delete_with_hooks(application, &objects).await {
            return false;
        }
        let kept = match stay {
            Some(why) if !objects.is_empty() => Some(why.to_owned()),
            _ => None,
        };
        // Told before the Application goes, which ends this task; and once, should that fail.
        if !std::mem::replace(&mut self.ending.over, true) {
            self.tell(Event::Ended { objects: objects.len(), kept });
        }
        if !self.set_finalizers(|all| all.retain(|name| name != FINALIZER)).await {
            tokio::time::sleep(LOOK).await;
            return false;
        }
        true
    }

    /// Deletes what is to go, between the hooks for that. False: not yet over.
    async fn delete_with_hooks(&mut self, application: &Application, objects: &[ObjectId]) -> bool {
        if !self.knows_whose_they_are().await {
            return false;
        }
        let going = self.without_kept(application, objects).await;
        // What others have now is not deleted, and has no hooks for its end.
        if going.is_empty() {
            return true;
        }
        if !self.run_delete_hooks(application, Phase::PreDelete).await {
            return false;
        }
        let left = self.delete_all(&going).await;
        if left.is_empty() {
            return self.run_delete_hooks(application, Phase::PostDelete).await;
        }
        if !std::mem::replace(&mut self.ending.told, true) {
            self.tell(Event::Ending { objects: objects.len() });
        }
        let names = left.iter().map(describe).collect::<Vec<_>>().join(", ");
        self.wait_to_end(format!("waiting for {names} to be gone")).await;
        tokio::time::sleep(LOOK).await;
        false
    }

    /// Whether others that may want what this one leaves have said so. False: not all of them.
    async fn knows_whose_they_are(&mut self) -> bool {
        let begun = *self.ending.begun.get_or_insert_with(|| {
            self.shared.ring(&self.shared.ledger.want(&self.name, &Rendered::default()));
            Instant::now()
        });
        let mut others = self.shared.behind(&self.name, begun);
        self.shared.ring(&others);
        others.extend(self.shared.unknown(&self.name));
        others.sort();
        others.dedup();
        if others.is_empty() {
            return true;
        }
        if begun.elapsed() >= PATIENCE {
            let names = others.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let why = format!(
                "nothing is deleted yet: it is not known whether application {names} wants any of it, as its source \
                 was not read yet; suspend or delete that one to go on"
            );
            self.warn(&why);
            self.wait_to_end(why).await;
        }
        tokio::time::sleep(LOOK).await;
        false
    }

    /// Says in the status what is waited for.
    async fn wait_to_end(&mut self, what: String) {
        if self.ending.waits_for != what {
            self.deleting(&what).await;
            self.ending.waits_for = what;
        }
    }

    /// Leaves out what others want and what is kept unless its deletion is asked for; says of the latter why.
    async fn without_kept(&mut self, application: &Application, objects: &[ObjectId]) -> Vec<ObjectId> {
        let claims = self.shared.claims(&self.name);
        let moves = |id: &&ObjectId| claims.iter().any(|claim| claim.wants && same_object(&claim.id, id));
        let objects: Vec<ObjectId> = objects.iter().filter(|id| !moves(id)).cloned().collect();
        if application.confirms_prune(&self.status.revision) {
            return objects;
        }
        let kept = leaving::kept(&self.shared.context.client, &*self.shared.settings.kinds, &objects).await;
        for (id, why) in &kept {
            self.warn(&format!("{} outlives its application: {why}", describe(id)));
        }
        let goes = |id: &&ObjectId| !kept.iter().any(|(kept, _)| same_object(kept, id));
        objects.into_iter().filter(|id| goes(&id)).collect()
    }

    /// Asks for the deletion of each object with what it owns; those that are still there.
    async fn delete_all(&self, objects: &[ObjectId]) -> Vec<ObjectId> {
        let (client, kinds) = (&self.shared.context.client, &*self.shared.settings.kinds);
        let mut left = Vec::new();
        for id in objects {
            let Some(plural) = kinds.plural(&id.api_version, &id.kind) else { continue };
            let path = path(&id.api_version, &plural, &id.namespace, &id.name);
            let found = match raw::request(client, Method::GET, &path, None).await {
                Ok(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap_or_default(),
                Err(error) if raw::is_not_found(&error) => continue,
                Err(_) => {
                    left.push(id.clone());
                    continue;
                }
            };
            // Made again by someone else, or meant to stay.
            if !id.uid.is_empty() && found.pointer("/metadata/uid").is_some_and(|uid| *uid != id.uid)
                || leaving::is_disabled(&found)
            {
                continue;
            }
            let label = found.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL)?.as_str());
            if label.is_some_and(|label| label != self.name) {
                continue;
            }
            left.push(id.clone());
            if found.pointer("/metadata/deletionTimestamp").is_some() {
                continue;
            }
            let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
                // As it was seen: with our label.
                "preconditions": {"uid": found.pointer("/metadata/uid"),
                    "resourceVersion": found.pointer("/metadata/resourceVersion")}});
            let body = Some(("application/json", options.to_string().into()));
            if let Err(error) = raw::request(client, Method::DELETE, &path, body).await
                && !raw::is_not_found(&error)
            {
                tracing::warn!(application = self.name, object = describe(id), %error, "cannot delete it, trying again");
            }
        }
        left
    }

    /// Changes the finalizers as they are on the server now. False: look again.
    async fn set_finalizers(&self, change: impl Fn(&mut Vec<String>)) -> bool {
        let (client, path) =
            (&self.shared.context.client, path("selkie.dev/v1alpha1", "applications", NAMESPACE, &self.name));
        let Ok(bytes) = raw::request(client, Method::GET, &path, None).await else { return false };
        let Ok(application) = serde_json::from_slice::<Application>(&bytes) else { return false };
        let mut finalizers = application.metadata.finalizers.unwrap_or_default();
        change(&mut finalizers);
        let version = application.metadata.resource_version;
        let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}}).to_string();
        let body = Some(("application/merge-patch+json", body.into()));
        match raw::request(client, Method::PATCH, &path, body).await {
            Ok(_) => true,
            Err(error) => raw::is_not_found(&error),
        }
    }
}
