//! `selkie render`: what manifests and kustomizations come to, without any cluster.

use super::manifests::Manifests;
use super::values::{HelmFlags, substitutions};
use super::{CliError, Global};
use crate::gitops::render::{Manifest, Variables, print};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// Print the objects that manifests or kustomizations render to
///
/// Needs no cluster. What -k prints is what `kubectl kustomize` prints, byte for byte; Secrets are printed,
/// too.
#[derive(Args)]
pub struct Render {
    /// Manifests: a file, a directory, - for standard input, a git source URL#REF:PATH, or oci://...; repeatable
    #[arg(short, long, required_unless_present = "kustomize", value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// A directory with a kustomization, or such a source with one; repeatable
    #[arg(short, long, value_name = "DIR")]
    kustomize: Vec<String>,
    /// Look into subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Fetch git repositories that kustomizations name as bases
    #[arg(long)]
    remote_bases: bool,
    /// Put the value in for ${NAME}, as an application's postBuild.substitute does; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    substitute: Vec<String>,
    /// Refuse ${NAME} that are not set and have no default
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    helm: HelmFlags,
    /// Print what files hold that SOPS encrypted for one of your age keys; without it they stay encrypted
    #[arg(long)]
    decrypt: bool,
    /// Tell of each object where it is from
    #[arg(long)]
    origin: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    /// One document, a List
    Json,
}

impl Render {
    pub async fn run(self, global: Global) -> Result<ExitCode, CliError> {
        // Objects that name no namespace are printed so.
        let (files, kustomizations) = (self.filename.clone(), self.kustomize.clone());
        let manifests = Manifests::new(files, kustomizations, self.recursive, String::new());
        let manifests = manifests
            .with_remote_bases(self.remote_bases)
            .with_helm(self.helm.options()?)
            .left_encrypted(!self.decrypt);
        let variables = self.variables()?;
        let rendered = manifests.unscoped(&global, variables.as_ref()).await?;
        if !rendered.errors.is_empty() {
            let lines: Vec<_> = rendered.errors.iter().map(ToString::to_string).collect();
            return Err(CliError::new(lines.join("\n")));
        }
        match self.output {
            Format::Yaml => print!("{}", self.yaml(&rendered.objects)),
            Format::Json => println!("{:#}", self.json(&rendered.objects)),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Only where some are named: dollars are letters else.
    fn variables(&self) -> Result<Option<Variables>, CliError> {
        if self.substitute.is_empty() && !self.strict {
            return Ok(None);
        }
        let mut variables = Variables::new(self.strict);
        for (name, value) in substitutions(&self.substitute)? {
            variables.set(&name, &value).map_err(|why| CliError::new(format!("--substitute: {why}")).code(2))?;
        }
        Ok(Some(variables))
    }

    fn yaml(&self, objects: &[Manifest]) -> String {
        let document = |manifest: &Manifest| {
            let text = print::document(&manifest.value);
            if self.origin { format!("# Source: {}\n{text}", place(manifest)) } else { text }
        };
        objects.iter().map(document).collect::<Vec<_>>().join("---\n")
    }

    fn json(&self, objects: &[Manifest]) -> serde_json::Value {
        let items: Vec<_> = objects.iter().map(|manifest| &manifest.value).collect();
        let mut list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        if self.origin {
            // Next to the items, in their order: the objects stay as they are.
            let origin = |manifest: &Manifest| json!({"file": &*manifest.origin.file, "line": manifest.origin.line});
            list["origins"] = objects.iter().map(origin).collect();
        }
        list
    }
}

/// `deploy/web.yaml:12`
fn place(manifest: &Manifest) -> String {
    let origin = &manifest.origin;
    if origin.line > 0 { format!("{}:{}", origin.file, origin.line) } else { origin.file.to_string() }
}
