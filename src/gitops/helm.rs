//! Helm charts become manifests by a `helm` program, where the machine has one.
//!
//! It is given the chart's files in a directory of its own and an empty environment: no configuration, no plugins,
//! no repositories, no cluster. It installs nothing and runs no hooks, which are objects with annotations like
//! others. What it costs has an end.

use super::application::Helm;
use super::process::{Failed, Limits, run};
use super::render::{Origin, RenderError};
use super::sources::{Chart, File, MAX_TOTAL_BYTES, Snapshot};
use crate::apiserver::KUBERNETES_VERSION;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The program, as it is looked for in `PATH`.
const PROGRAM: &str = "helm";
/// What is shown of what it says is wrong.
const MAX_LINES: usize = 20;

/// What a chart is rendered for.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// Where the options name none; empty: the chart's directory.
    pub name: &'a str,
    pub namespace: &'a str,
    pub options: Option<&'a Helm>,
    /// Some of the values are: nothing is shown of what becomes of them, nor of what helm says.
    pub secret: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// The manifests of the snapshot's charts in their place. What goes wrong is in `rejected`.
pub async fn render(snapshot: Snapshot, release: Release<'_>) -> Snapshot {
    let program = std::env::var_os("PATH").and_then(|paths| find(std::env::split_paths(&paths)));
    render_by(program.as_deref(), snapshot, release).await
}

/// The program in the first of these directories that has it.
fn find(directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    directories.map(|directory| directory.join(PROGRAM)).find(|path| path.is_absolute() && path.is_file())
}

async fn render_by(program: Option<&Path>, mut snapshot: Snapshot, release: Release<'_>) -> Snapshot {
    let charts = std::mem::take(&mut snapshot.charts);
    if charts.is_empty() && release.options.is_some() {
        let what = "spec.helm is set, but the source has no Chart.yaml".to_owned();
        snapshot.rejected.push(RenderError::new(Origin::default(), what).hint("name the chart's directory"));
    }
    for chart in charts {
        match template(program, &chart, release).await {
            Ok(output) => {
                let files = manifests(&chart, &output);
                if release.secret {
                    snapshot.decrypted.extend(files.iter().map(|file| file.path.clone()));
                }
                snapshot.files.extend(files);
            }
            Err(Wrong { what, hint }) => {
                let origin = Origin { file: below(&chart.root, "Chart.yaml").into(), line: 0, column: 0 };
                snapshot.rejected.push(RenderError::new(origin, what).hint(hint));
            }
        }
    }
    snapshot
}

struct Wrong {
    what: String,
    hint: &'static str,
}

impl Wrong {
    fn new(what: impl Into<String>, hint: &'static str) -> Self {
        Self { what: what.into(), hint }
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::new(format!("the chart cannot be put where helm reads it: {error}"), "")
    }
}

async fn template(program: Option<&Path>, chart: &Chart, release: Release<'_>) -> Result<String, Wrong> {
    let program = program.ok_or_else(|| {
        Wrong::new(
            "this is a Helm chart, and there is no program `helm` to render it",
            "install Helm 3 or 4 on this machine: https://helm.sh/docs/intro/install",
        )
    })?;
    let folder = tempfile::Builder::new().prefix("selkie-helm-").tempdir()?;
    let place = folder.path().join("chart");
    for file in &chart.files {
        let path = place.join(&*file.path);
        path.parent().map(std::fs::create_dir_all).transpose()?;
        std::fs::write(path, &file.bytes)?;
    }
    let command = command(program, folder.path(), chart, release)?;
    let limits = Limits { time: release.timeout, output: MAX_TOTAL_BYTES };
    let output = run(command, &[], limits).await.map_err(|failed| match failed {
        Failed::Start(error) => Wrong::new(format!("{} cannot be run: {error}", program.display()), ""),
        Failed::Time => {
            Wrong::new(format!("helm took more than {} s", release.timeout.as_secs()), "spec.timeout allows it more")
        }
        Failed::Output => Wrong::new(format!("the chart comes to more than {} MiB", MAX_TOTAL_BYTES >> 20), "split it"),
        Failed::Status(said) if release.secret => {
            let places = places(chart, &plain(&said, folder.path()));
            Wrong::new(
                format!("helm fails{places}"),
                "it was given values of Secrets, which its own words could repeat",
            )
        }
        Failed::Status(said) => Wrong::new(format!("helm: {}", plain(&said, folder.path())), ""),
    })?;
    String::from_utf8(output).map_err(|_| Wrong::new("what helm renders is not UTF-8 text", ""))
}

/// `helm template`, with nothing of ours in reach.
fn command(program: &Path, folder: &Path, chart: &Chart, release: Release<'_>) -> Result<Command, Wrong> {
    let directory = chart.root.rsplit('/').find(|name| !name.is_empty()).unwrap_or("chart");
    let asked = release.options.map_or("", |options| options.release_name.as_str());
    let name = [asked, release.name, directory].into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    let place = folder.join("chart");
    let mut command = Command::new(program);
    command.arg("template").arg("--include-crds").arg("--kube-version").arg(KUBERNETES_VERSION);
    if !release.namespace.is_empty() {
        command.arg("--namespace").arg(release.namespace);
    }
    for file in release.options.iter().flat_map(|options| &options.value_files) {
        let path = file.strip_prefix("./").unwrap_or(file);
        if !chart.files.iter().any(|known| *known.path == *path) {
            return Err(Wrong::new(format!("there is no {file} for spec.helm.valueFiles"), "name a file of the chart"));
        }
        command.arg("--values").arg(place.join(path));
    }
    if let Some(values) = release.options.map(|options| &options.values).filter(|values| !values.is_null()) {
        let path = folder.join("values.json");
        std::fs::write(&path, values.to_string())?;
        command.arg("--values").arg(path);
    }
    // A name that looks like an option is none.
    command.arg("--").arg(name).arg(&place);
    command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    for home in ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(home, folder);
    }
    Ok(command)
}

/// What helm says, without our temporary directory, and not too much of it.
fn plain(said: &str, folder: &Path) -> String {
    let text = said.trim().replace(&format!("{}/", folder.display()), "");
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    // Nobody calls helm here.
    let text = text.strip_suffix("Use --debug flag to render out invalid YAML").unwrap_or(text).trim_end();
    let clean = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    text.lines().take(MAX_LINES).map(clean).collect::<Vec<_>>().join("\n    ")
}

/// The places in the chart that helm names, and nothing else of what it says: `, at templates/web.yaml:3:5`.
fn places(chart: &Chart, said: &str) -> String {
    let words = said.split(|c: char| c.is_whitespace() || "()\"'<>,".contains(c));
    let known = |word: &&str| {
        let (path, place) = word.split_once(':').unwrap_or((word, ""));
        let is_place = place.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
        is_place && chart.files.iter().any(|file| path.ends_with(&format!("/{}", file.path)))
    };
    let mut places: Vec<&str> = words.map(|word| word.trim_end_matches(':')).filter(known).collect();
    places.dedup();
    if places.is_empty() { String::new() } else { format!(", at {}", places.join(", ")) }
}

/// The documents by the templates that they are from.
fn manifests(chart: &Chart, output: &str) -> Vec<File> {
    const SOURCE: &str = "# Source: ";
    let (mut files, mut path, mut text): (Vec<File>, _, _) = (Vec::new(), String::new(), String::new());
    let mut close = |path: &str, text: &mut String| {
        if text.lines().any(|line| !line.trim().is_empty() && line != "---") {
            files.push(File { path: format!("{path} as rendered").into(), bytes: std::mem::take(text).into() });
        }
    };
    for line in output.lines() {
        if let Some(source) = line.strip_prefix(SOURCE) {
            // It begins with the chart's name, whatever its directory.
            let inside = source.split_once('/').map_or(source, |(_, inside)| inside);
            let next = below(&chart.root, inside);
            if next != path {
                close(&path, &mut text);
                text.clear();
                path = next;
            }
        }
        text.push_str(line);
        text.push('\n');
    }
    close(&path, &mut text);
    files
}

fn below(root: &str, path: &str) -> String {
    if root.is_empty() { path.to_owned() } else { format!("{}/{path}", root.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests;
