//! One-shots that adopt: what they take over from Applications. Each loser is told, by an annotation on it,
//! before the change set is posted, so that it never fights for what it lost; where nothing of the set was
//! committed, that is taken back.

use super::SyncError;
use super::live::live;
use super::owners::Owners;
use super::wait::path;
use crate::api::changeset::{ExpectedAnnotation, ObjectId};
use crate::client::raw;
use crate::gitops::application::{Application, LABEL, NAMESPACE, TAKEN_OVER, write_taken};
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::takeovers::{Loser, Takeover};
use crate::gitops::render::{Origin, RenderError, Rendered, same_object};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Others write Applications, too.
const TRIES: usize = 10;

/// What was written on whom.
#[derive(Default)]
pub(super) struct Taking(Vec<(String, Vec<ObjectId>)>);

/// Tells the Applications that hold any of this that they lose it. Where one cannot be told, none was.
pub(super) async fn begin(
    client: &kube::Client,
    kinds: &dyn Kinds,
    rendered: &Rendered,
    owned: &Owners,
) -> Result<Taking, SyncError> {
    let mut taking = Taking::default();
    for (name, ids) in losers(rendered, owned) {
        let added = change(client, &name, |known| {
            let new: Vec<ObjectId> = ids.iter().filter(|id| !has(known, id)).cloned().collect();
            known.extend(new.iter().cloned());
            new
        });
        match added.await {
            Ok(new) => taking.0.push((name, new)),
            Err(error) => {
                taking.give_back(client, kinds).await;
                return Err(error);
            }
        }
    }
    Ok(taking)
}

impl Taking {
    /// Nothing of it was committed: the losers keep what they have, unless another one-shot has taken it meanwhile.
    /// Of what could not be given back the log tells.
    pub async fn give_back(self, client: &kube::Client, kinds: &dyn Kinds) {
        for (name, mut ids) in self.0 {
            let mut lost = Vec::new();
            for id in &ids {
                if live(client, kinds, id).await.is_some_and(|object| label(&object) != Some(name.as_str())) {
                    lost.push(id.clone());
                }
            }
            ids.retain(|id| !has(&lost, id));
            if ids.is_empty() {
                continue;
            }
            let removed = change(client, &name, |known| {
                known.retain(|id| !has(&ids, id));
                Vec::new()
            });
            if let Err(error) = removed.await {
                let (what, said) = (super::names(&ids), error.lines().join("; "));
                tracing::warn!(
                    "application {name:?} was told that it loses {what}, which it does not, and that cannot be taken back: \
                     {said}; `kubectl -n {NAMESPACE} annotate application {name} {TAKEN_OVER}-` does so"
                );
            }
        }
    }

    /// Nobody knows whether it was committed: the losers keep off all the same, and the error says how that ends.
    pub fn unanswered(self, cause: SyncError) -> SyncError {
        let of = |(name, ids): &(String, Vec<ObjectId>)| {
            let what = super::names(ids);
            format!(
                "application {name:?} was told that it loses {what}, and it is not known whether it does; if not, \
                 `kubectl -n {NAMESPACE} annotate application {name} {TAKEN_OVER}-` has it take back all that it lost"
            )
        };
        let told: Vec<String> = self.0.iter().filter(|(_, ids)| !ids.is_empty()).map(of).collect();
        if told.is_empty() {
            return cause;
        }
        SyncError::Unanswered { cause: Box::new(cause), told: told.join("; ") }
    }
}

/// What was taken from an Application, as the server knew it at one time.
#[derive(Default)]
pub(super) struct Taken {
    pub ids: Vec<ObjectId>,
    /// By which a commit finds out whether more was taken since. One-shots have none.
    pub expected: Option<ExpectedAnnotation>,
}

/// What was taken from this Application, as the server knows it now.
pub(super) async fn from(client: &kube::Client, application: &str) -> Result<Taken, SyncError> {
    if application.is_empty() {
        return Ok(Taken::default());
    }
    let read = read(client, application).await?;
    let value = read.as_ref().and_then(Application::taken_text).map(str::to_owned);
    let object = ObjectId {
        api_version: "selkie.dev/v1alpha1".to_owned(),
        kind: "Application".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: application.to_owned(),
        uid: String::new(),
    };
    let expected = Some(ExpectedAnnotation { object, name: TAKEN_OVER.to_owned(), value });
    let ids = read.map_or(Ok(Vec::new()), |application| application.taken_over()).map_err(refused)?;
    Ok(Taken { ids, expected })
}

/// For reports: what Applications lose.
pub(super) fn takeovers(rendered: &Rendered, owned: &Owners) -> Vec<Takeover> {
    let plain = |id: ObjectId| ObjectId { uid: String::new(), ..id };
    losers(rendered, owned)
        .into_iter()
        .flat_map(|(name, ids)| {
            ids.into_iter().map(move |id| {
                let from = Loser::Application(name.clone());
                Takeover { id: plain(id), from, fields: Vec::new() }
            })
        })
        .collect()
}

/// Who holds what of it.
fn losers(rendered: &Rendered, owned: &Owners) -> BTreeMap<String, Vec<ObjectId>> {
    let mut losers: BTreeMap<String, Vec<ObjectId>> = BTreeMap::new();
    for manifest in &rendered.objects {
        if let Some(name) = owned.application(&manifest.id) {
            losers.entry(name.to_owned()).or_default().push(manifest.id.clone());
        }
    }
    losers
}

/// The Application whose label an object has.
fn label(object: &Value) -> Option<&str> {
    object.pointer("/metadata/labels")?.get(LABEL)?.as_str()
}

fn has(ids: &[ObjectId], id: &ObjectId) -> bool {
    ids.iter().any(|other| same_object(other, id))
}

/// Changes the list of what an Application lost as it is on the server now; what `with` returns. One that is
/// gone has nothing to lose.
async fn change(
    client: &kube::Client,
    name: &str,
    with: impl Fn(&mut Vec<ObjectId>) -> Vec<ObjectId>,
) -> Result<Vec<ObjectId>, SyncError> {
    let mut tries = 0;
    loop {
        let Some(application) = read(client, name).await? else { return Ok(Vec::new()) };
        let before = application.taken_over().map_err(refused)?;
        let mut after = before.clone();
        let changed = with(&mut after);
        if after == before {
            return Ok(changed);
        }
        if after.len() > before.len()
            && let Some(why) = application.keeps_what_it_holds()
        {
            return Err(refused(why));
        }
        let value = match (after.is_empty(), write_taken(&after)) {
            (true, _) => Value::Null,
            (false, Some(text)) => Value::String(text),
            (false, None) => {
                return Err(refused(format!(
                    "application {name:?} would have lost {} objects, more than its annotation {TAKEN_OVER} can hold: \
                     remove those that it lost before from its source and from the annotation, or delete the \
                     application with --cascade=orphan and apply without --adopt",
                    after.len()
                )));
            }
        };
        let version = application.metadata.resource_version;
        let body = json!({"metadata": {"resourceVersion": version, "annotations": {TAKEN_OVER: value}}}).to_string();
        let body = Some(("application/merge-patch+json", body.into()));
        tries += 1;
        match raw::request(client, Method::PATCH, &at(name), body).await {
            Ok(_) => return Ok(changed),
            Err(error) if raw::is_not_found(&error) => return Ok(Vec::new()),
            Err(error) if raw::is_conflict(&error) && tries < TRIES => {}
            Err(error) => return Err(SyncError::Api(Box::new(error))),
        }
    }
}

/// Forgets what an Application lost, unless that or whether it adopts has changed meanwhile: then false.
pub(super) async fn forget(client: &kube::Client, application: &Application) -> bool {
    let (mut version, mut tries) = (application.metadata.resource_version.clone(), 0);
    loop {
        let body = json!({"metadata": {"resourceVersion": version, "annotations": {TAKEN_OVER: null}}}).to_string();
        let body = Some(("application/merge-patch+json", body.into()));
        tries += 1;
        match raw::request(client, Method::PATCH, &at(application.name()), body).await {
            Ok(_) => return true,
            Err(error) if raw::is_conflict(&error) && tries < TRIES => {}
            Err(_) => return false,
        }
        // Mostly it is the status that was written meanwhile, often by the task that asks.
        let Ok(Some(now)) = read(client, application.name()).await else { return false };
        let is_same = now.metadata.uid == application.metadata.uid
            && now.taken_text() == application.taken_text()
            && now.spec.adopt == application.spec.adopt;
        if !is_same {
            return false;
        }
        version = now.metadata.resource_version;
    }
}

async fn read(client: &kube::Client, name: &str) -> Result<Option<Application>, SyncError> {
    match raw::request(client, Method::GET, &at(name), None).await {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| SyncError::Answer(error.to_string())),
        Err(error) if raw::is_not_found(&error) => Ok(None),
        Err(error) => Err(SyncError::Api(Box::new(error))),
    }
}

fn at(name: &str) -> String {
    path("selkie.dev/v1alpha1", "applications", NAMESPACE, name)
}

fn refused(why: String) -> SyncError {
    SyncError::Manifests(vec![RenderError::new(Origin::default(), why)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_is_said_where_there_is_no_answer() {
        let id = ObjectId { kind: "ConfigMap".to_owned(), name: "x".to_owned(), ..ObjectId::default() };
        let cause = || SyncError::Answer("cut".to_owned());
        let error = Taking(vec![("shop".to_owned(), vec![id]), ("other".to_owned(), Vec::new())]).unanswered(cause());
        let said = error.to_string();
        assert!(said.starts_with(&format!("{}; application \"shop\" was told", cause())), "{said}");
        assert!(said.contains("annotate application shop selkie.dev/taken-over-`"), "{said}");
        assert!(said.contains("ConfigMap x") && !said.contains("other"), "{said}");
        assert_eq!((error.lines().len(), error.is_temporary(), error.is_answer()), (2, true, false));
        assert_eq!(Taking::default().unanswered(cause()).to_string(), cause().to_string());
    }
}
