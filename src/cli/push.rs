//! `selkie push`: manifests become an artifact in a registry.

use super::output::{Either, yaml};
use super::values::duration;
use super::{CliError, Global};
use crate::base::url::redact;
use crate::gitops::https;
use crate::gitops::sources::RegistryAccess;
use crate::gitops::sources::oci::content::gather;
use crate::gitops::sources::oci::location::{DEFAULT_TAG, OciLocation, Reference};
use crate::gitops::sources::oci::provenance::Provenance;
use crate::gitops::sources::oci::{self, registry::Failure};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Put manifests into a registry, as an artifact that applications of selkie and Flux follow
///
/// Logins are those of `podman login` and `docker login`. The same files of the same commit make the same
/// artifact, whoever pushes them.
#[derive(Args)]
pub struct Push {
    /// The artifact: oci://REGISTRY/REPOSITORY[:TAG]; default: latest
    #[arg(value_name = "OCI-URL")]
    target: String,
    /// The directory or file to push
    #[arg(short, long, value_name = "DIR")]
    filename: PathBuf,
    /// Where the manifests are from [default: the URL of origin, where they are in a working copy]
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Which revision they are [default: BRANCH@sha1:COMMIT, where they are in a working copy]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// A file with the registry's CA [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The registry may be asked over plain HTTP; one on this machine may be, anyway
    #[arg(long)]
    insecure: bool,
    /// How long it may take
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Either::Text)]
    output: Either,
}

impl Push {
    pub async fn run(self, _: Global) -> Result<ExitCode, CliError> {
        let usage = |what: String| CliError::new(what).code(2);
        let location = OciLocation::parse(&self.target).map_err(|error| usage(error.to_string()))?;
        let Reference::Tag(tag) = location.reference() else {
            return Err(usage(format!("{}: what is pushed has a tag: oci://REGISTRY/REPOSITORY:TAG", self.target)));
        };
        if !location.path.is_empty() {
            return Err(usage(format!("{}: name the directory with -f", self.target)));
        }
        let files = gather(&self.filename).map_err(CliError::new)?;
        let provenance = self.provenance();
        if provenance.changed {
            eprintln!("warning: {} has changes that its commit does not have", self.filename.display());
        }
        let access = self.access()?;
        let pushing = oci::push(&location, &access, &files, provenance.annotations());
        let seconds = self.timeout.as_secs();
        let late = || Failure::new(format!("no whole answer within {seconds} s"), "give it longer with --timeout");
        let pushed = tokio::time::timeout(self.timeout, pushing).await.unwrap_or_else(|_| Err(late()));
        let digest = pushed.map_err(|Failure { what, hint }| {
            let error = CliError::new(format!("{}: {what}", location.describe()));
            if hint.is_empty() { error } else { error.hint(hint) }
        })?;
        let url = location.url();
        let told = json!({"repository": url, "tag": tag, "digest": digest, "files": files.len()});
        match self.output {
            Either::Text => println!("{url}@{digest}"),
            Either::Json => println!("{told:#}"),
            Either::Yaml => print!("{}", yaml(&told)),
        }
        if self.output == Either::Text {
            let follow = if tag == DEFAULT_TAG { url } else { format!("{url}:{tag}") };
            eprintln!("selkie app add NAME={follow} follows it");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn provenance(&self) -> Provenance {
        let found = Provenance::of(&self.filename);
        Provenance {
            source: self.source.as_deref().map(redact).or(found.source),
            revision: self.revision.clone().or(found.revision),
            ..found
        }
    }

    fn access(&self) -> Result<RegistryAccess, CliError> {
        let authorities = match &self.ca {
            None => Vec::new(),
            Some(file) => {
                let name = file.display().to_string();
                let text = std::fs::read(file).map_err(|error| CliError::new(format!("--ca {name}: {error}")))?;
                https::certificates(&name, &text).map_err(|why| CliError::new(format!("--ca {why}")))?
            }
        };
        Ok(RegistryAccess { logins: None, authorities, insecure: self.insecure })
    }
}
