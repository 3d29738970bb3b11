//! Keeps the Applications of every ApplicationSet what its generators say. What cannot be read or is refused
//! changes nothing.

use super::{ApplicationSet, Element, GitGenerator, LABEL, compare, generate};
use crate::api::changeset::{ChangeAction, ChangeSet, ChangeSetSpec, ChangeSetStatus, DeletionLabel};
use crate::base::wake::Wake;
use crate::base::watch::Guard;
use crate::client::{Change, Context, Informer, raw};
use crate::gitops::access;
use crate::gitops::application::{Application, ApplicationSource, NAMESPACE, set_condition};
use crate::gitops::sources::{Access, Source, SourceError};
use crate::gitops::sync::engine::Settings;
use crate::gitops::sync::{Event, post_change_set, wait::path};
use http::Method;
use kube::Api;
use kube::api::ListParams;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

const FIELD_MANAGER: &str = "selkie-application-sets";

type Bells = Arc<Mutex<HashMap<String, Wake>>>;

/// Runs until the context's shutdown: one task for each set.
pub async fn run(context: Context, settings: Settings) {
    let sets = context.informers.of::<ApplicationSet>();
    let (changed, bells) = (Wake::default(), Bells::default());
    subscribe(&context, &sets, &changed, &bells);
    sets.synced().await;
    let shutdown = context.shutdown.clone();
    let mut tasks: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
    loop {
        let names: Vec<String> = sets.list().iter().map(|set| set.name().to_owned()).collect();
        tasks.retain(|name, _| names.contains(name));
        bells.lock().retain(|name, _| names.contains(name));
        for name in names {
            tasks.entry(name).or_insert_with_key(|name| {
                let wake = bells.lock().entry(name.clone()).or_default().clone();
                let (context, settings, sets) = (context.clone(), settings.clone(), sets.clone());
                let task =
                    Task { context, settings, sets, name: name.clone(), wake, opened: Vec::new(), told: Vec::new() };
                AbortOnDropHandle::new(tokio::spawn(task.keep()))
            });
        }
        tokio::select! {
            () = changed.wait() => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// A set that changes is looked at, and one whose Applications others change.
fn subscribe(context: &Context, sets: &Informer<ApplicationSet>, changed: &Wake, bells: &Bells) {
    let ring = |bells: &Bells, name: &str| {
        if let Some(wake) = bells.lock().get(name) {
            wake.ring();
        }
    };
    let (changed, known) = (changed.clone(), bells.clone());
    sets.subscribe(Box::new(move |change| match change {
        Change::Updated { old, new } => {
            if (&old.spec, &old.metadata.annotations) != (&new.spec, &new.metadata.annotations) {
                ring(&known, new.name());
            }
        }
        Change::Added(_) | Change::Deleted(_) => changed.ring(),
    }));
    let known = bells.clone();
    context.informers.of::<Application>().subscribe(Box::new(move |change| {
        let application = match change {
            Change::Updated { old, new } if old.spec != new.spec || old.metadata.labels != new.metadata.labels => old,
            Change::Deleted(application) => application,
            _ => return,
        };
        if let Some(set) = application.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL)) {
            ring(&known, set);
        }
    }));
}

/// A generator's repository. As long as it is kept, changes ring.
struct Opened {
    spec: ApplicationSource,
    access: Access,
    source: Arc<dyn Source>,
    _guard: Option<Guard>,
}

struct Task {
    context: Context,
    settings: Settings,
    sets: Informer<ApplicationSet>,
    name: String,
    wake: Wake,
    opened: Vec<Opened>,
    /// What went wrong, as told last.
    told: Vec<String>,
}

impl Task {
    async fn keep(mut self) {
        let mut failures = 0;
        loop {
            let Some(set) = self.sets.get(NAMESPACE, &self.name) else { return };
            // With the set the garbage collector deletes what it owns, unless that is to stay.
            if !set.is_deleted() {
                let result = self.pass(&set).await;
                failures = if result.is_ok() { 0 } else { failures + 1 };
                self.tell(&set, result).await;
            }
            let interval = set.timing().0;
            let rest = if failures > 0 { self.settings.retry.after(failures).min(interval) } else { interval };
            let _ = tokio::time::timeout(rest, self.wake.wait()).await;
        }
    }

    /// Makes the Applications what the generators say, all or nothing: their names, and what is held back.
    async fn pass(&mut self, set: &ApplicationSet) -> Result<(Vec<String>, String), Vec<String>> {
        let wanted = generate(set, &self.elements(set).await?)?;
        let api = Api::<Application>::namespaced(self.context.client.clone(), NAMESPACE);
        let there = api.list(&ListParams::default()).await.map_err(|error| vec![error.to_string()])?.items;
        let gone = compare(set, &wanted, &there)?;
        let names = wanted.keys().cloned().collect();
        let request = ChangeSet {
            api_version: "selkie.dev/v1alpha1".to_owned(),
            kind: "ChangeSet".to_owned(),
            spec: ChangeSetSpec {
                field_manager: FIELD_MANAGER.to_owned(),
                force: true,
                deletion_label: Some(DeletionLabel { name: LABEL.to_owned(), value: self.name.clone() }),
                objects: wanted.into_values().collect(),
                deletions: gone.delete,
                ..ChangeSetSpec::default()
            },
            status: ChangeSetStatus::default(),
        };
        let answer = post_change_set(&self.context.client, &request).await.map_err(|error| error.lines())?;
        if answer.applied {
            return Ok((names, gone.held));
        }
        let failed = answer.results.iter().filter(|result| result.action == ChangeAction::Failed);
        let message = |error: &crate::api::changeset::ChangeError| error.message.clone();
        Err(failed
            .map(|result| format!("{}: {}", result.id.name, result.error.as_ref().map(message).unwrap_or_default()))
            .collect())
    }

    /// What all generators find; if one finds out nothing, that is what is wrong.
    async fn elements(&mut self, set: &ApplicationSet) -> Result<Vec<Element>, Vec<String>> {
        let (mut elements, mut errors, mut opened) = (Vec::new(), Vec::new(), Vec::new());
        for (index, generator) in set.spec.generators.iter().enumerate() {
            elements.extend(generator.list.iter().flat_map(|list| list.elements()));
            let Some(git) = &generator.git else { continue };
            match self.of_git(set, git, &mut opened).await {
                Ok(found) => elements.extend(found),
                Err(error) => errors.push(format!("spec.generators[{index}].git: {error}")),
            }
        }
        // What no generator names any more is closed.
        self.opened = opened;
        if errors.is_empty() { Ok(elements) } else { Err(errors) }
    }

    async fn of_git(
        &mut self,
        set: &ApplicationSet,
        git: &GitGenerator,
        opened: &mut Vec<Opened>,
    ) -> Result<Vec<Element>, SourceError> {
        let access = access::of_source(&self.context.client, &git.source, set.timing()).await?;
        let is_it = |one: &Opened| one.spec == git.source && one.access == access;
        let known = self.opened.iter().position(is_it).map(|at| self.opened.swap_remove(at));
        let one = match known {
            Some(known) => known,
            None => {
                let location = git.source.location()?;
                let source = self.settings.repositories.open(&location, true, access.clone());
                let guard = source.watch(self.wake.clone()).ok().flatten();
                Opened { spec: git.source.clone(), access, source, _guard: guard }
            }
        };
        let source = one.source.clone();
        opened.push(one);
        let mut elements = Vec::new();
        if !git.directories.is_empty() {
            elements.extend(git.of_directories(&source.directories().await?));
        }
        if !git.branches.is_empty() {
            elements.extend(git.of_branches(&source.branches().await?));
        }
        Ok(elements)
    }

    /// Writes the status where it changed. What went wrong is told once.
    async fn tell(&mut self, set: &ApplicationSet, result: Result<(Vec<String>, String), Vec<String>>) {
        let mut status = set.status.clone();
        status.observed_generation = set.metadata.generation.unwrap_or(0);
        let now = self.context.clock.now_seconds().to_string();
        let (ready, reason, message, errors) = match result {
            Ok((names, held)) => {
                let count =
                    if names.len() == 1 { "1 application".to_owned() } else { format!("{} applications", names.len()) };
                status.applications = names;
                if held.is_empty() {
                    (true, "Generated", count, Vec::new())
                } else {
                    (true, "PruneHeld", held.clone(), vec![held])
                }
            }
            Err(errors) => (false, "Failed", errors.first().cloned().unwrap_or_default(), errors),
        };
        status.errors = if ready { Vec::new() } else { errors.clone() };
        set_condition(&mut status.conditions, "Ready", ready, reason, &message, &now);
        for error in errors.iter().filter(|error| !self.told.contains(error)) {
            self.settings.reporter.event(&self.name, Event::Warning(format!("application set: {error}")));
        }
        self.told = errors;
        if status == set.status {
            return;
        }
        let path = path("selkie.dev/v1alpha1", "applicationsets", NAMESPACE, &self.name) + "/status";
        let body = Some(("application/merge-patch+json", json!({"status": status}).to_string().into()));
        if let Err(error) = raw::request(&self.context.client, Method::PATCH, &path, body).await
            && !raw::is_not_found(&error)
        {
            tracing::warn!(application_set = self.name, %error, "cannot write the application set's status");
        }
    }
}
