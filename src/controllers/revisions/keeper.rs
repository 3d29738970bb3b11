//! Writes ControllerRevisions.

use super::{Source, Upkeep, is_free, name, sort, template, upkeep};
use crate::client::{Context, Informer, ObjectKey, raw};
use crate::controllers::claim::controller_of;
use crate::controllers::deployment::template::same;
use crate::controllers::freshness::Freshness;
use crate::controllers::write;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::json;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("ControllerRevision {revision} could not be {done}")]
    Write { revision: String, done: &'static str, source: kube::Error },
    #[error("the name {revision} belongs to another template; trying another name")]
    Collision { revision: String },
}

/// One controller's revisions.
pub struct Keeper {
    client: kube::Client,
    revisions: Informer<ControllerRevision>,
    written: Freshness,
}

impl Keeper {
    pub fn new(ctx: &Context) -> Self {
        Self { client: ctx.client.clone(), revisions: ctx.informers.of(), written: Freshness::default() }
    }

    pub async fn synced(&self) {
        self.revisions.synced().await;
    }

    /// Whether what was written for `key` is visible.
    pub async fn caught_up(&self, key: &ObjectKey) -> bool {
        self.written.caught_up(key, &self.revisions).await
    }

    pub fn forget(&self, key: &ObjectKey) {
        self.written.forget(key);
    }

    /// Makes the current template the newest revision; returns all of the owner's, newest last.
    pub async fn keep(&self, key: &ObjectKey, source: &Source<'_>) -> Result<Vec<Arc<ControllerRevision>>, KeepError> {
        let mut known = self.revisions.owned_by(&source.owner.uid);
        sort(&mut known);
        let newest = match upkeep(source, &known) {
            Upkeep::Nothing(_) => return Ok(known),
            Upkeep::Renumber(old, to) => {
                self.patch(key, &old, json!({ "revision": to }), "renumbered").await?;
                known.retain(|one| name(one) != name(&old));
                Arc::new(ControllerRevision { revision: to, ..(*old).clone() })
            }
            Upkeep::Create(new) => self.create(key, source, *new).await?,
        };
        known.push(newest);
        Ok(known)
    }

    async fn create(
        &self,
        key: &ObjectKey,
        source: &Source<'_>,
        new: ControllerRevision,
    ) -> Result<Arc<ControllerRevision>, KeepError> {
        let revision = name(&new).to_owned();
        let failed = |source| KeepError::Write { revision: revision.clone(), done: "created", source };
        let body = write::body(&new).map_err(failed)?;
        match write::create::<ControllerRevision>(&self.client, Some(&key.namespace), body).await {
            Ok(written) => {
                self.written.wrote(key, written.revision());
                Ok(Arc::new(new))
            }
            Err(error) if raw::is_conflict(&error) => {
                let Some(taken) = self.revisions.get(&key.namespace, &revision) else { return Err(failed(error)) };
                if is_free(&taken, source.template) {
                    // Left by an owner of this name that went without its dependents.
                    let change = json!({ "metadata": { "ownerReferences": [source.owner] }, "revision": new.revision });
                    self.patch(key, &taken, change, "adopted").await?;
                    return Ok(Arc::new(new));
                }
                let ours = controller_of(&taken.metadata).is_some_and(|owner| owner.uid == source.owner.uid)
                    && template(&taken).is_some_and(|template| same(&template, source.template));
                if ours { Err(failed(error)) } else { Err(KeepError::Collision { revision }) }
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn patch(
        &self,
        key: &ObjectKey,
        revision: &ControllerRevision,
        change: serde_json::Value,
        done: &'static str,
    ) -> Result<(), KeepError> {
        match write::patch(&self.client, revision, "", change).await {
            Ok(written) => {
                self.written.wrote(key, written.revision());
                Ok(())
            }
            Err(source) => Err(KeepError::Write { revision: name(revision).into(), done, source }),
        }
    }

    /// Deletes revisions beyond the history limit.
    pub async fn prune(&self, expired: &[Arc<ControllerRevision>]) -> Result<(), KeepError> {
        for revision in expired {
            let failed = |source| KeepError::Write { revision: name(revision).into(), done: "deleted", source };
            write::delete(&self.client, &**revision).await.map_err(failed)?;
        }
        Ok(())
    }
}
