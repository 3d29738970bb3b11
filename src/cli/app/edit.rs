//! `selkie app add`, `suspend` and `resume`: edits of the Application object.

use super::remote::warn_of_another_authority;
use super::{Format, api, find, print};
use crate::cli::connection::Connection;
use crate::cli::hosts::parse_all;
use crate::cli::values::{HelmFlags, substitutions};
use crate::cli::{CliError, Global};
use crate::daemon::options;
use crate::gitops::application::{
    Application, ApplicationSource, ApplicationSpec, Decryption, Kustomize, NAMESPACE, PostBuild, SecretRef,
    SubstituteFrom, ValuesFrom, Webhook,
};
use crate::gitops::sources::SourceError;
use clap::Args;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::process::ExitCode;

/// Follow a source from now on
#[derive(Args)]
pub struct Add {
    /// As with `selkie up --app`: NAME=DIR, NAME=GIT-URL#REF:PATH or NAME=oci://HOST/REPOSITORY:TAG; with --push NAME or NAME=#BRANCH:PATH
    #[arg(value_name = "NAME=SOURCE")]
    app: String,
    /// It is pushed: `git push` to /git/NAME deploys it
    #[arg(long, conflicts_with_all = ["secret", "webhook_secret", "interval", "insecure"])]
    push: bool,
    /// A directory of the repository, in place of the one behind the colon; repeatable
    #[arg(long, value_name = "DIR")]
    path: Vec<String>,
    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Secret in selkie-system with what the repository asks for
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// The registry of an artifact may be asked over plain HTTP
    #[arg(long)]
    insecure: bool,
    /// Secret in selkie-system whose `token` signs the webhooks that may come in at /hooks/NAME
    #[arg(long, value_name = "SECRET")]
    webhook_secret: Option<String>,
    /// Kustomizations may name bases in git repositories elsewhere, which are fetched
    #[arg(long)]
    remote_bases: bool,
    /// Put the value in for ${NAME} in the manifests; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    substitute: Vec<String>,
    /// Take variables from a ConfigMap or Secret in selkie-system: configmap/NAME or secret/NAME; repeatable
    #[arg(long, value_name = "KIND/NAME")]
    substitute_from: Vec<String>,
    /// Refuse ${NAME} that are not set and have no default
    #[arg(long)]
    strict: bool,
    /// Secret in selkie-system with the age keys for files that SOPS encrypted
    #[arg(long, value_name = "SECRET")]
    decryption_secret: Option<String>,
    #[command(flatten)]
    helm: HelmFlags,
    /// Of a Helm chart: take values from a ConfigMap or Secret in selkie-system: configmap/NAME or secret/NAME, with :KEY where it is not values.yaml; repeatable
    #[arg(long, value_name = "KIND/NAME[:KEY]")]
    values_from: Vec<String>,
    /// How often a remote source is asked for changes, e.g. 30s
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// Keep objects whose manifests are gone
    #[arg(long)]
    no_prune: bool,
    /// Add it, but leave everything as it is until `selkie app resume`
    #[arg(long)]
    suspend: bool,
    /// Take over objects that other applications hold, or that others made
    #[arg(long)]
    adopt: bool,
    /// Take over fields that others set and the application never did; else they are refused
    #[arg(long)]
    force_conflicts: bool,
    /// How many revisions to keep for `selkie app rollback`
    #[arg(long, value_name = "N")]
    history_limit: Option<u64>,
    /// Return to the last revision that was ready when a rollout fails
    #[arg(long)]
    rollback_on_failure: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Add {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        let (name, mut source) = self.source()?;
        source.insecure = self.insecure;
        source.secret_ref = self.secret.map(|name| SecretRef { name });
        source.webhook = self.webhook_secret.map(|name| Webhook { secret_ref: SecretRef { name } });
        if let Some(interval) = &self.interval {
            crate::cli::values::duration(interval)
                .map_err(|why| CliError::new(format!("--interval: {why}")).code(2))?;
        }
        let post_build = PostBuild {
            substitute: substitutions(&self.substitute)?.into_iter().collect(),
            substitute_from: self.substitute_from.iter().map(|text| variables(text)).collect::<Result<_, _>>()?,
            strict: self.strict,
        };
        let post_build = Some(post_build).filter(|post_build| !post_build.is_empty());
        let mut helm = self.helm.options()?;
        if !self.values_from.is_empty() {
            helm.get_or_insert_default().values_from =
                self.values_from.iter().map(|text| values(text)).collect::<Result<_, _>>()?;
        }
        let mut application = Application {
            spec: ApplicationSpec {
                source,
                interval: self.interval,
                namespace: self.namespace.unwrap_or_default(),
                prune: self.no_prune.then_some(false),
                suspend: self.suspend,
                adopt: self.adopt,
                force: self.force_conflicts.then_some(true),
                history_limit: self.history_limit,
                rollback: self.rollback_on_failure.then(|| "onFailure".to_owned()),
                post_build,
                decryption: self.decryption_secret.map(Decryption::sops),
                helm,
                kustomize: self.remote_bases.then_some(Kustomize { remote_bases: true }),
                ..ApplicationSpec::default()
            },
            ..Application::default()
        };
        application.metadata.name = Some(name.clone());
        application.metadata.namespace = Some(NAMESPACE.to_owned());
        let connection = Connection::to_server(&global).await?;
        let created = api(&connection.client).create(&PostParams::default(), &application).await;
        let created = created.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 409 => CliError::new(format!(
                "there is an application {name:?} already"
            ))
            .hint(format!("change it with `kubectl -n {NAMESPACE} edit application {name}`, or delete it first")),
            other => other.into(),
        })?;
        print(&created, "created", self.output)?;
        if self.push && self.output == Format::Text {
            eprintln!(
                "in a working copy: selkie app remote {name}, then git push selkie {}",
                created.spec.source.branch()
            );
            warn_of_another_authority();
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The name, and where the manifests come from.
    fn source(&self) -> Result<(String, ApplicationSource), CliError> {
        let bad = |error: SourceError| CliError::new(CliError::chain(&error)).code(2);
        let read = |text: &str| {
            let mut parsed = parse_all::<options::App>("NAME=SOURCE", &[text.to_owned()])?;
            Ok::<_, CliError>(parsed.swap_remove(0))
        };
        if !self.push {
            let options::App { name, source } = read(&self.app)?;
            let source =
                ApplicationSource { paths: self.path.clone(), ..ApplicationSource::parse(&source).map_err(bad)? };
            source.location().map_err(bad)?;
            return Ok((name, source));
        }
        let (name, rest) = self.app.split_once('=').unwrap_or((&self.app, ""));
        let options::App { name, .. } = read(&format!("{name}=#"))?;
        let source = ApplicationSource { paths: self.path.clone(), ..ApplicationSource::pushed(rest).map_err(bad)? };
        source.in_repository("push").map_err(bad)?;
        Ok((name, source))
    }
}

fn variables(text: &str) -> Result<SubstituteFrom, CliError> {
    let (kind, name) = holder("--substitute-from", text)?;
    Ok(SubstituteFrom { kind, name, optional: false })
}

fn values(text: &str) -> Result<ValuesFrom, CliError> {
    let (holding, key) = text.split_once(':').unwrap_or((text, ""));
    let (kind, name) = holder("--values-from", holding)?;
    Ok(ValuesFrom { kind, name, values_key: key.to_owned(), ..ValuesFrom::default() })
}

/// The kind and the name of `configmap/NAME` or `secret/NAME`.
fn holder(flag: &str, text: &str) -> Result<(String, String), CliError> {
    let bad = || CliError::new(format!("{flag}: {text:?} is not configmap/NAME or secret/NAME")).code(2);
    let (kind, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(bad)?;
    let kind = match kind.to_ascii_lowercase().as_str() {
        "configmap" | "cm" => "ConfigMap",
        "secret" => "Secret",
        _ => return Err(bad()),
    };
    Ok((kind.to_owned(), name.to_owned()))
}

/// Leave an application's objects as they are until `selkie app resume`
#[derive(Args)]
pub struct Suspend {
    name: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Suspend {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        set(&global, &self.name, true, self.output).await
    }
}

/// Follow the source again, after `selkie app suspend`, `selkie app rollback` or `selkie undo`
#[derive(Args)]
pub struct Resume {
    name: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl Resume {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        set(&global, &self.name, false, self.output).await
    }
}

async fn set(global: &Global, name: &str, suspend: bool, format: Format) -> Result<ExitCode, CliError> {
    let connection = Connection::to_server(global).await?;
    let found = find(&connection.client, name).await?;
    if found.spec.suspend == suspend {
        let done = if suspend { "is suspended already" } else { "is not suspended" };
        print(&found, done, format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
    let changed = api(&connection.client).patch(name, &PatchParams::default(), &patch).await?;
    print(&changed, if suspend { "suspended" } else { "resumed" }, format)?;
    Ok(ExitCode::SUCCESS)
}
