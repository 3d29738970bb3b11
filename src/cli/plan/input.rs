//! What a plan is made for: files, or an application; at the revision it names or at another one.

use crate::api::registry::Registry;
use crate::cli::age_keys::decrypted;
use crate::cli::manifests::{Parts, access as access_of, charts_rendered, kustomized, nothing_in, stdin};
use crate::cli::{CliError, Global, resources};
use crate::daemon::paths::Paths;
use crate::gitops::access;
use crate::gitops::application::{Application, NAMESPACE};
use crate::gitops::inputs;
use crate::gitops::push::Repository;
use crate::gitops::readiness::{Health, HealthCheck};
use crate::gitops::render::{Rendered, render};
use crate::gitops::sources::location::GitLocation;
use crate::gitops::sources::{Access, Location, Snapshot, SourceError, open};
use crate::gitops::sync;
use clap::Args;
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Clone)]
pub struct Wanted {
    /// Manifests: a file, a directory, - for standard input, a git source URL#REF:PATH, or oci://...; repeatable
    #[arg(short, long, required_unless_present_any = ["app", "kustomize"], value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// A directory with a kustomization, or such a source with one; repeatable
    #[arg(short, long, value_name = "DIR")]
    kustomize: Vec<String>,
    /// Look into subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Fetch git repositories that kustomizations name as bases
    #[arg(long, conflicts_with = "app")]
    remote_bases: bool,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Instead of files: what the next sync of this application would do
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filename", "kustomize"])]
    app: Option<String>,
    /// Read the source at this branch, tag or commit instead
    #[arg(long = "ref", value_name = "GITREF")]
    reference: Option<String>,
}

/// A source as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Without credentials.
    pub source: String,
    /// The commit's hash, or a hash of the contents.
    pub revision: String,
}

impl Origin {
    /// Of the source, and then of the repositories that its kustomizations name.
    fn of(snapshot: &Snapshot) -> Vec<Self> {
        let own = Self { source: snapshot.origin.clone(), revision: snapshot.revision.clone() };
        let bases = snapshot.bases().into_iter().map(|(source, revision)| Self { source, revision });
        std::iter::once(own).chain(bases).collect()
    }
}

pub struct Input {
    /// The built-in ones, those of the cluster where they are needed, those the manifests define.
    pub kinds: Registry,
    pub rendered: Rendered,
    pub options: sync::Options,
    pub origins: Vec<Origin>,
}

impl Wanted {
    /// Reads what is named. Errors of single files are in the result, all of them.
    pub async fn read(&self, global: &Global, client: &kube::Client) -> Result<Input, CliError> {
        match &self.app {
            Some(app) => self.application(global, client, app).await,
            None => self.files(global, client).await,
        }
    }

    async fn files(&self, global: &Global, client: &kube::Client) -> Result<Input, CliError> {
        let (mut parts, mut origins) = (Parts::default(), Vec::new());
        let names = self.filename.iter().map(|name| (name, false));
        for (name, kustomize) in names.chain(self.kustomize.iter().map(|name| (name, true))) {
            let snapshot = if name == "-" && !kustomize {
                stdin()?
            } else {
                let location = Location::parse(name).map_err(failed)?;
                let snapshot = self.fetch(global, location, self.recursive, access_of(self.remote_bases)).await?;
                if kustomize { kustomized(name, snapshot)? } else { snapshot }
            };
            origins.extend(Origin::of(&snapshot));
            parts.add(snapshot);
        }
        let files = charts_rendered(decrypted(parts.together())?, &self.namespace, None).await;
        let (kinds, rendered) = resolve(client, |kinds| render(&files, kinds, &self.namespace)).await?;
        if rendered.objects.is_empty() && rendered.errors.is_empty() {
            return Err(nothing_in(self.filename.iter().chain(&self.kustomize)));
        }
        let options = sync::Options { health: health_of(&rendered), ..sync::Options::default() };
        Ok(Input { kinds, rendered, options, origins })
    }

    /// What the application's next sync would apply, with its inventory and its settings.
    async fn application(&self, global: &Global, client: &kube::Client, name: &str) -> Result<Input, CliError> {
        let (app, others) = one_of_all(client, name).await?;
        let access = access::of(client, &app).await.map_err(failed)?;
        let access = Access { max_age: Duration::ZERO, bases_max_age: Duration::ZERO, ..access };
        let snapshot = self.fetch(global, located(global, &app)?, true, access).await?;
        let options = options_of(&app, &others, &snapshot.revision);
        let inputs = inputs::read(client, &app).await.map_err(failed)?;
        let snapshot = inputs.expand(&app, snapshot).await;
        let (kinds, rendered) = resolve(client, |kinds| inputs.render(&app, &snapshot, kinds)).await?;
        let origins = Origin::of(&snapshot);
        Ok(Input { kinds, rendered, options, origins })
    }

    async fn fetch(
        &self,
        global: &Global,
        location: Location,
        recursive: bool,
        access: Access,
    ) -> Result<Snapshot, CliError> {
        let location = match &self.reference {
            Some(reference) => at_reference(location, reference)?,
            None => location,
        };
        let repositories = Paths::new(global.data_dir()?).repositories();
        let snapshot = open(&location, &repositories, recursive, access).fetch().await.map_err(failed)?;
        for warning in &snapshot.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(snapshot)
    }
}

/// The application of that name, and the others; the error says which there are.
async fn one_of_all(client: &kube::Client, name: &str) -> Result<(Application, Vec<Application>), CliError> {
    let all = Api::<Application>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await?.items;
    let (mut found, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|app| app.name() == name);
    let Some(app) = found.pop() else {
        let names: Vec<&str> = others.iter().map(Application::name).collect();
        let hint = if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
        return Err(CliError::new(format!("no application {name:?}")).hint(hint));
    };
    Ok((app, others))
}

/// How the applications among manifests judge readiness: they will judge what they find there.
pub fn health_of(rendered: &Rendered) -> Health {
    let applications = rendered
        .objects
        .iter()
        .filter(|manifest| manifest.id.kind == "Application" && manifest.id.api_version.starts_with("selkie.dev/"));
    let checks = applications.filter_map(|manifest| manifest.value.pointer("/spec/healthChecks"));
    // What makes no sense is refused by the API server, with its place.
    let checks = checks.filter_map(|checks| serde_json::from_value::<Vec<HealthCheck>>(checks.clone()).ok());
    Health::new(&checks.flatten().collect::<Vec<_>>())
}

/// How the next sync of an application would apply this revision.
pub async fn options(client: &kube::Client, name: &str, revision: &str) -> Result<sync::Options, CliError> {
    let (app, others) = one_of_all(client, name).await?;
    Ok(options_of(&app, &others, revision))
}

fn options_of(app: &Application, others: &[Application], revision: &str) -> sync::Options {
    let claims = others.iter().flat_map(|app| {
        let (application, adopts, source) = (app.name().to_owned(), app.spec.adopt, app.spec.source.repository());
        let claim = sync::Claim { application, adopts, source, holds: true, wants: true, ..sync::Claim::default() };
        app.held().into_iter().map(move |id| sync::Claim { id, ..claim.clone() })
    });
    sync::Options::of(app, revision, claims.collect())
}

/// Renders with the kinds that are built in, and with those of the cluster where that is not enough.
async fn resolve(
    client: &kube::Client,
    render: impl Fn(&Registry) -> Rendered,
) -> Result<(Registry, Rendered), CliError> {
    let kinds = Registry::builtin();
    let mut rendered = render(&kinds);
    if rendered.errors.iter().any(|error| error.what.starts_with("no kind ")) {
        resources::definitions(client).await?.iter().for_each(|definition| kinds.learn(definition));
        rendered = render(&kinds);
    }
    let defined = rendered.objects.iter().filter(|manifest| manifest.id.kind == "CustomResourceDefinition");
    defined.for_each(|manifest| kinds.learn(&manifest.value));
    Ok((kinds, rendered))
}

/// Where the application's source is. What is pushed is on the daemon's machine.
fn located(global: &Global, app: &Application) -> Result<Location, CliError> {
    let source = &app.spec.source;
    if !source.push {
        return source.location().map_err(failed);
    }
    let uid = app.metadata.uid.as_deref().unwrap_or_default();
    let repository = Repository::of(&Paths::new(global.data_dir()?).pushed(), uid);
    if repository.tip(source.branch()).is_none() {
        let name = app.name();
        return Err(CliError::new(format!("nothing that was pushed to {name} is in this machine's data directory"))
            .hint(format!("on the machine of the daemon, once something was pushed, `plan --app {name}` finds it")));
    }
    source.in_repository(&repository.path().display().to_string()).map(Location::Git).map_err(failed)
}

fn failed(error: SourceError) -> CliError {
    CliError::new(CliError::chain(&error))
}

/// The same place at another revision; a directory must be in a repository's working tree for that.
fn at_reference(location: Location, reference: &str) -> Result<Location, CliError> {
    let git = match location {
        Location::Git(git) => GitLocation::new(&git.url, reference, &git.path)
            .and_then(|there| there.with_paths(&git.paths().map(str::to_owned).collect::<Vec<_>>())),
        Location::Oci(oci) => return Location::remote(&oci.url(), reference, &oci.path).map_err(failed),
        Location::Directory(path) => {
            let (root, inside) = repository_of(&path).ok_or_else(|| {
                CliError::new(format!("--ref {reference}: {} is in no git repository", path.display()))
                    .hint("name a repository: -f URL#REF:PATH")
            })?;
            GitLocation::new(&root.display().to_string(), reference, &inside.display().to_string())
        }
    };
    git.map(Location::Git).map_err(failed)
}

/// The repository whose working tree holds the path, and the path inside.
fn repository_of(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let path = std::fs::canonicalize(path).ok()?;
    let root = path.ancestors().find(|folder| folder.join(".git").exists())?.to_path_buf();
    let inside = path.strip_prefix(&root).ok()?.to_path_buf();
    Some((root, inside))
}
