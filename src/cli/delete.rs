//! `selkie delete`: objects by name or selector, or those of manifests.

mod gather;
mod preview;
mod text;

use super::connection::Connection;
use super::manifests::{self, Manifests};
use super::output::{self, Either};
use super::resources::{self, Known};
use super::values::duration;
use super::{CliError, Global};
use crate::api::changeset::ObjectId;
use crate::gitops::render::same_object;
use clap::Args;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use preview::Cascade;
use std::process::ExitCode;
use std::time::Duration;

/// Delete objects, and wait until they are gone
#[derive(Args)]
pub struct Delete {
    /// TYPE NAME... or TYPE/NAME...
    #[arg(value_name = "TYPE/NAME", required_unless_present_any = ["filename", "kustomize"])]
    what: Vec<String>,
    /// Delete the objects of these manifests
    #[arg(short, long, value_name = "FILE|DIR|-", conflicts_with = "what")]
    filename: Vec<String>,
    /// Delete the objects of these kustomizations
    #[arg(short, long, value_name = "DIR", conflicts_with = "what")]
    kustomize: Vec<String>,
    /// Fetch git repositories that kustomizations name as bases
    #[arg(long)]
    remote_bases: bool,
    /// Namespace of the objects
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Label selector instead of names
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait: 90s, 5m, or a number of seconds
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
    /// Seconds given to containers to stop [default: what each pod says]
    #[arg(long)]
    grace_period: Option<u32>,
    /// Do not fail when an object is already gone
    #[arg(long)]
    ignore_not_found: bool,
    /// What becomes of what others made of the objects, a Deployment's pods say
    #[arg(long, value_enum, default_value_t = Cascade::Foreground)]
    cascade: Cascade,
    /// Change nothing; show all that would go: dependents, pods, data, and what holds it or makes it again
    #[arg(long)]
    dry_run: bool,
    /// Output format of the preview
    #[arg(short, long, value_enum, default_value_t = Either::Text, requires = "dry_run")]
    output: Either,
}

/// An object to delete.
struct Target {
    api: Api<DynamicObject>,
    id: ObjectId,
    label: String,
}

impl Target {
    fn of(client: &kube::Client, resource: &Known, namespace: &str, name: String) -> Self {
        let namespace = if resource.namespaced { namespace } else { "" };
        let api = resource.api(client, Some(namespace));
        let (api_version, kind) = (resource.api.api_version.clone(), resource.api.kind.clone());
        let label = resource.quoted(&name);
        let id = ObjectId { api_version, kind, namespace: namespace.to_owned(), name, uid: String::new() };
        Self { api, id, label }
    }
}

impl Delete {
    fn by_manifests(&self) -> bool {
        !(self.filename.is_empty() && self.kustomize.is_empty())
    }

    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let known = resources::discover(&connection.client).await?;
        let targets = self.targets(&global, &connection.client, &known).await?;
        if self.dry_run {
            return self.preview(&connection.client, &known, targets).await;
        }
        self.delete(targets).await
    }

    async fn targets(&self, global: &Global, client: &kube::Client, known: &[Known]) -> Result<Vec<Target>, CliError> {
        let mut targets = Vec::new();
        if self.by_manifests() {
            let (files, directories) = (self.filename.clone(), self.kustomize.clone());
            let manifests = Manifests::new(files, directories, true, self.namespace.clone());
            let manifests = manifests.with_remote_bases(self.remote_bases);
            let (_, rendered) = manifests.resolve(global).await?;
            let mut objects: Vec<_> = manifests::ids(&rendered)?.into_iter().rev().collect();
            // What holds others goes last, so that each is deleted by its own name.
            objects.sort_by_key(|object| matches!(object.kind.as_str(), "CustomResourceDefinition" | "Namespace"));
            for object in objects {
                let resource = known
                    .iter()
                    .find(|resource| resource.api.api_version == object.api_version && resource.api.kind == object.kind)
                    .ok_or_else(|| {
                        CliError::new(format!("the server has no kind {} in {}", object.kind, object.api_version))
                    })?;
                targets.push(Target::of(client, resource, &object.namespace, object.name));
            }
        } else {
            for asked in resources::parse(known, &self.what)? {
                let target = |name: String| Target::of(client, &asked.resource, &self.namespace, name);
                match (&asked.name, &self.selector) {
                    (Some(name), _) => targets.push(target(name.clone())),
                    (None, Some(selector)) => {
                        let api = asked.resource.api(client, Some(&self.namespace));
                        let found = api.list_metadata(&ListParams::default().labels(selector)).await?;
                        targets.extend(found.into_iter().map(|object| target(object.name_any())));
                    }
                    (None, None) => {
                        return Err(CliError::new("name the objects to delete, or select them with -l").code(2));
                    }
                }
            }
        }
        Ok(targets)
    }

    fn may_be_gone(&self) -> bool {
        self.ignore_not_found || self.by_manifests()
    }

    /// Shows what would go.
    async fn preview(
        &self,
        client: &kube::Client,
        known: &[Known],
        targets: Vec<Target>,
    ) -> Result<ExitCode, CliError> {
        let mut there = Vec::new();
        for target in &targets {
            // The server says best that one is not there.
            match target.api.get_metadata(&target.id.name).await {
                Err(kube::Error::Api(status)) if status.code == 404 && self.may_be_gone() => {}
                found => {
                    found?;
                    there.push(target);
                }
            }
        }
        let named: Vec<ObjectId> = targets.iter().map(|target| target.id.clone()).collect();
        let found = preview::preview(&gather::cluster(client, known, &named).await?, &named, self.cascade);
        let is_told = |target: &Target| found.objects.iter().any(|going| same_object(&going.id, &target.id));
        if let Some(target) = there.into_iter().find(|target| !is_told(target)) {
            let what = format!("{} was there, and is not among what the server lists", target.label);
            return Err(CliError::new(what).hint("if it has not gone meanwhile, what would go with it is not known"));
        }
        match self.output {
            Either::Text => anstream::print!("{}", text::text(&found)),
            Either::Json => println!("{}", serde_json::to_string_pretty(&found)?),
            Either::Yaml => print!("{}", output::yaml(&serde_json::to_value(&found)?)),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn delete(&self, targets: Vec<Target>) -> Result<ExitCode, CliError> {
        // Foreground, unless told otherwise: waiting for an object then means waiting for its pods and their
        // containers.
        let mut parameters = match self.cascade {
            Cascade::Foreground => DeleteParams::foreground(),
            Cascade::Background => DeleteParams::background(),
            Cascade::Orphan => DeleteParams {
                propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
                ..DeleteParams::default()
            },
        };
        parameters.grace_period_seconds = self.grace_period;
        let mut waiting = Vec::new();
        for Target { api, id, label } in targets {
            let name = id.name;
            match api.delete(&name, &parameters).await {
                Ok(answer) => {
                    println!("{label} deleted");
                    let uid = answer.left().and_then(|object| object.uid());
                    waiting.push((api, name, label, uid));
                }
                Err(kube::Error::Api(status)) if status.code == 404 && self.may_be_gone() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        let deadline = tokio::time::Instant::now() + self.timeout;
        for (api, name, label, uid) in waiting {
            // A poll, not a watch: the object is nearly always gone at the first look.
            while let Some(found) = api.get_metadata_opt(&name).await? {
                if uid.is_some() && found.uid() != uid {
                    break;
                }
                if tokio::time::Instant::now() > deadline {
                    let held = found.finalizers().join(", ");
                    let why = if held.is_empty() {
                        "its containers may still be stopping".to_string()
                    } else {
                        format!("held by the finalizers {held}")
                    };
                    return Err(CliError::new(format!(
                        "{label} is still there after {} s: {why}",
                        self.timeout.as_secs()
                    ))
                    .hint("wait longer with --timeout"));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
