//! The manifests in a directory: read, and told apart from what is none.

use crate::api::schema::decode;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// A manifest is read no further than this: bytes.
const LARGEST: u64 = 1 << 20;

/// What a host is to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Pods, with the files that they are in.
    pub pods: Vec<(PathBuf, Value)>,
    /// Files whose pods are not known, and why: what runs of them goes on.
    pub broken: Vec<(PathBuf, String)>,
    /// A directory could not be read: of no pod that is not in a file is it known that there is none.
    pub blind: bool,
}

/// Reads the manifests for all hosts, and those for this one. Blocking reads are left to another thread.
pub async fn read(all: &Path, own: &Path) -> Found {
    let (all, own) = (all.to_owned(), own.to_owned());
    let unreadable = all.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Found::default();
        found.add(&all);
        // Not each host has manifests of its own. Where that cannot be told, reading them fails, and says so.
        if own.try_exists().unwrap_or(true) {
            found.add(&own);
        }
        found
    });
    reading.await.unwrap_or_else(|error| Found {
        broken: vec![(unreadable, error.to_string())],
        blind: true,
        ..Found::default()
    })
}

impl Found {
    /// Whether what is in this file is not known. Of a directory that is not there nobody knows whether it has another
    /// name now.
    pub fn is_unknown(&self, file: &Path) -> bool {
        self.blind || self.broken.iter().any(|(broken, _)| file.starts_with(broken))
    }

    fn add(&mut self, directory: &Path) {
        let names = || -> io::Result<Vec<PathBuf>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                if is_manifest(&path) {
                    names.push(path);
                }
            }
            names.sort();
            Ok(names)
        };
        match names() {
            Ok(names) => names.into_iter().for_each(|path| self.add_file(path)),
            Err(error) => {
                self.broken.push((directory.to_owned(), error.to_string()));
                self.blind = true;
            }
        }
    }

    fn add_file(&mut self, path: PathBuf) {
        match pod(&path) {
            Ok(pod) => self.pods.push((path, pod)),
            Err(why) => self.broken.push((path, why)),
        }
    }
}

/// Neither hidden nor what editors leave, nor a directory.
fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && matches!(ending, Some("yaml" | "yml" | "json")) && path.is_file()
}

fn pod(path: &Path) -> Result<Value, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if found.len() > LARGEST {
        return Err(format!("it has {} bytes, more than {LARGEST}", found.len()));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let value = decode::untyped(&text)?;
    let (version, kind) = (value["apiVersion"].as_str(), value["kind"].as_str());
    if (version, kind) != (Some("v1"), Some("Pod")) {
        let (version, kind) = (version.unwrap_or_default(), kind.unwrap_or_default());
        return Err(format!("found kind {kind:?} of apiVersion {version:?}, expected one Pod of v1"));
    }
    if value["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err("the pod has no metadata.name".into());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn manifests_are_told_from_what_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(temp.path().join(name), text).unwrap();
        write("web.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n");
        write(".web.yaml.swp", "x");
        write("notes.txt", "x");
        write("map.yml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n");
        write("broken.json", "{");
        let own = temp.path().join("h1");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("db.json"), r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db"}}"#).unwrap();
        let found = read(temp.path(), &own).await;
        let names: Vec<&str> = found.pods.iter().filter_map(|(_, pod)| pod["metadata"]["name"].as_str()).collect();
        assert_eq!(names, ["web", "db"]);
        assert_eq!(found.broken.len(), 2);
        assert_eq!(
            found.broken[1],
            (
                temp.path().join("map.yml"),
                "found kind \"ConfigMap\" of apiVersion \"v1\", expected one Pod of v1".to_owned()
            )
        );
        assert!(found.is_unknown(&temp.path().join("broken.json")) && !found.is_unknown(&temp.path().join("web.yaml")));
    }

    #[tokio::test]
    async fn of_a_directory_that_is_away_nothing_is_known() {
        let temp = tempfile::tempdir().unwrap();
        let away = temp.path().join("away");
        let found = read(&away, &away.join("h1")).await;
        assert!(found.pods.is_empty() && found.is_unknown(&away.join("web.yaml")));
        assert!(found.is_unknown(&away.join("h1/db.yaml")), "nor of a host's own directory in it");
        assert!(found.is_unknown(&temp.path().join("before/web.yaml")), "it may have had another name");
    }
}
