//! Objects that Applications hold, as a one-shot sees them: it leaves them theirs, and does not change
//! what a sync would at once change back.

use super::SyncError;
use crate::api::changeset::ObjectId;
use crate::gitops::application::{Application, NAMESPACE};
use crate::gitops::plan::{Action, ObjectChange, Report};
use crate::gitops::render::{RenderError, Rendered, group, same_object};
use kube::Api;
use kube::api::ListParams;
use std::collections::{BTreeMap, HashMap};

const WAY_OUT: &str = "change the application's source, or take the object over with --adopt; --force-conflicts changes \
                       it and leaves it the application's, which is of use where that is suspended";

/// An Application that holds an object.
struct Owner {
    application: String,
    /// Where its source is, for people.
    source: String,
    /// Syncs go on: they undo what others change.
    active: bool,
    /// Why nothing can be taken from it, if that is so.
    keeps: Option<String>,
}

/// What Applications hold, by identity; versions of a group are one.
#[derive(Default)]
pub(super) struct Owners(HashMap<Identity, Owner>);

/// Group, kind, namespace, name.
pub(super) type Identity = (String, String, String, String);

pub(super) fn identity(id: &ObjectId) -> Identity {
    (group(&id.api_version).to_owned(), id.kind.clone(), id.namespace.clone(), id.name.clone())
}

impl Owners {
    pub async fn read(client: &kube::Client) -> Result<Self, SyncError> {
        let api: Api<Application> = Api::namespaced(client.clone(), NAMESPACE);
        let found = api.list(&ListParams::default()).await.map_err(|error| SyncError::Api(Box::new(error)))?;
        let mut owners = HashMap::new();
        for app in found.items {
            // Of one whose list cannot be read all is its own, and nothing can be taken.
            let taken = app.taken_over();
            let owner = || Owner {
                application: app.name().to_owned(),
                source: app.spec.source.repository(),
                active: !app.spec.suspend,
                keeps: app.keeps_what_it_holds().or_else(|| taken.as_ref().err().cloned()),
            };
            let is_taken = |id: &ObjectId| taken.iter().flatten().any(|other| same_object(other, id));
            let held = app.status.inventory.iter().filter(|id| !is_taken(id));
            owners.extend(held.map(|id| (identity(id), owner())));
        }
        Ok(Self(owners))
    }

    /// The name of the Application that holds an object.
    pub fn application(&self, id: &ObjectId) -> Option<&str> {
        self.0.get(&identity(id)).map(|owner| owner.application.as_str())
    }

    pub fn hold_any(&self, rendered: &Rendered) -> bool {
        rendered.objects.iter().any(|manifest| self.0.contains_key(&identity(&manifest.id)))
    }

    /// Refuses changes of what an active Application holds.
    pub fn refuse_changes(&self, report: &Report, rendered: &Rendered) -> Result<(), SyncError> {
        let refused = |object: &ObjectChange| {
            let Owner { application, source, .. } = self.keeper(object)?;
            let manifest = rendered.find(&object.id)?;
            let from = if source.is_empty() { String::new() } else { format!(" from {source}") };
            let what = format!(
                "{} belongs to application {application:?}{from}, which would set it back; this apply sets it, too",
                manifest.describe()
            );
            Some(RenderError::new(manifest.origin.clone(), what).hint(WAY_OUT))
        };
        let errors: Vec<_> = report.objects.iter().filter_map(refused).collect();
        if errors.is_empty() { Ok(()) } else { Err(SyncError::Manifests(errors)) }
    }

    /// Refuses to take anything from an Application that cannot let go of it.
    pub fn refuse_takes(&self, rendered: &Rendered) -> Result<(), SyncError> {
        let refused = rendered.objects.iter().filter_map(|manifest| {
            let keeps = self.0.get(&identity(&manifest.id))?.keeps.as_deref()?;
            let what = format!("{} cannot be taken over: {keeps}", manifest.describe());
            Some(RenderError::new(manifest.origin.clone(), what))
        });
        let errors: Vec<_> = refused.collect();
        if errors.is_empty() { Ok(()) } else { Err(SyncError::Manifests(errors)) }
    }

    /// Says, once for each Application, that [`Self::refuse_changes`] would refuse.
    pub fn foretell_refusals(&self, report: &mut Report) {
        let mut held: BTreeMap<&str, Vec<ObjectId>> = BTreeMap::new();
        for object in &report.objects {
            if let Some(owner) = self.keeper(object) {
                held.entry(&owner.application).or_default().push(object.id.clone());
            }
        }
        let warnings = held.into_iter().map(|(application, ids)| {
            let what = super::names(&ids);
            format!(
                "apply will refuse this: application {application:?} holds {what}, and would set it back ({WAY_OUT})"
            )
        });
        report.warnings.extend(warnings);
    }

    /// The active Application that would undo this change.
    fn keeper(&self, object: &ObjectChange) -> Option<&Owner> {
        let owner = self.0.get(&identity(&object.id)).filter(|owner| owner.active)?;
        (object.action != Action::Unchanged).then_some(owner)
    }
}
