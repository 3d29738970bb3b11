//! `selkie delete`: objects by name or selector, or those of manifests.

use super::connection::Connection;
use super::manifests::{self, Manifests};
use super::resources;
use super::values::duration;
use super::{CliError, Global};
use clap::Args;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::{Api, ResourceExt};
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
}

impl Delete {
    fn by_manifests(&self) -> bool {
        !(self.filename.is_empty() && self.kustomize.is_empty())
    }

    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let connection = Connection::to_server(&global).await?;
        let known = resources::discover(&connection.client).await?;
        let mut targets: Vec<(Api<DynamicObject>, String, String)> = Vec::new();
        if self.by_manifests() {
            let (files, directories) = (self.filename.clone(), self.kustomize.clone());
            let manifests = Manifests::new(files, directories, true, self.namespace.clone());
            let manifests = manifests.with_remote_bases(self.remote_bases);
            let (_, rendered) = manifests.resolve(&global).await?;
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
                let label = resource.quoted(&object.name);
                targets.push((resource.api(&connection.client, Some(&object.namespace)), object.name, label));
            }
        } else {
            for asked in resources::parse(&known, &self.what)? {
                let api = asked.resource.api(&connection.client, Some(&self.namespace));
                let resource = &asked.resource;
                match (&asked.name, &self.selector) {
                    (Some(name), _) => targets.push((api, name.clone(), resource.quoted(name))),
                    (None, Some(selector)) => {
                        for object in api.list_metadata(&ListParams::default().labels(selector)).await? {
                            let name = object.name_any();
                            let label = resource.quoted(&name);
                            targets.push((api.clone(), name, label));
                        }
                    }
                    (None, None) => {
                        return Err(CliError::new("name the objects to delete, or select them with -l").code(2));
                    }
                }
            }
        }
        self.delete(targets).await
    }

    async fn delete(&self, targets: Vec<(Api<DynamicObject>, String, String)>) -> Result<ExitCode, CliError> {
        // Foreground, so that waiting for an object means waiting for its pods and their containers.
        let mut parameters = DeleteParams::foreground();
        parameters.grace_period_seconds = self.grace_period;
        let mut waiting = Vec::new();
        for (api, name, label) in targets {
            match api.delete(&name, &parameters).await {
                Ok(answer) => {
                    println!("{label} deleted");
                    let uid = answer.left().and_then(|object| object.uid());
                    waiting.push((api, name, label, uid));
                }
                Err(kube::Error::Api(status))
                    if status.code == 404 && (self.ignore_not_found || self.by_manifests()) => {}
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
