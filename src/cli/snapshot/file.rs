//! The file of a snapshot.

use super::redact;
use crate::base::{clock::Clock, ids::Ids};
use crate::cli::CliError;
use crate::daemon::fork::offline;
use crate::gitops::render::Rendered;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

const SCHEMA: &str = "selkie.dev/snapshot/v1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotFile {
    schema: String,
    /// When it was taken, RFC 3339.
    pub taken: Timestamp,
    /// Set when Secrets' values are fingerprints: what makes those of this file differ from others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    salt: String,
    objects: Vec<Value>,
}

impl SnapshotFile {
    pub fn new(objects: Vec<Value>) -> Self {
        let taken = Clock::System.now_seconds();
        Self { schema: SCHEMA.into(), taken, salt: String::new(), objects }
    }

    pub fn redact_objects(&mut self) {
        self.salt = Ids::random().uid();
        self.objects.iter_mut().for_each(|object| redact::object(object, &self.salt));
    }

    /// Makes manifests comparable with what the file has of Secrets.
    pub fn redact(&self, rendered: &mut Rendered) {
        if !self.salt.is_empty() {
            rendered.objects.iter_mut().for_each(|manifest| redact::object(&mut manifest.value, &self.salt));
        }
    }

    pub fn text(&self) -> Result<String, CliError> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    pub fn read(path: &Path) -> Result<Self, CliError> {
        let wrong = |why: String| {
            CliError::new(format!("{}: {why}", path.display()))
                .hint("`selkie snapshot export --redacted FILE` makes a snapshot")
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let file: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("not a snapshot: {error}")))?;
        if file.schema != SCHEMA {
            return Err(wrong(format!("a snapshot of the form {:?}, which this version does not know", file.schema)));
        }
        Ok(file)
    }

    /// A client of a server that holds these objects. Must be called within a tokio runtime.
    pub fn serve(&self) -> Result<kube::Client, CliError> {
        Ok(offline::serve(&self.objects, self.taken)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use crate::gitops::plan::Action;
    use crate::gitops::render::render;
    use crate::gitops::sources::Snapshot;
    use crate::gitops::sync::{How, Options, once};
    use serde_json::json;

    fn secret(value: &str) -> String {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData: {{token: {value}}}\n")
    }

    #[tokio::test]
    async fn a_snapshot_is_planned_against_and_knows_no_secrets() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "n", "resourceVersion": "1"}});
        let stored = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"token": "aHVzaA=="},
            "metadata": {
                "name": "key", "namespace": "default", "uid": "u", "resourceVersion": "7",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"token\":\"aHVzaA==\"}}"},
            },
        });
        let mut file = SnapshotFile::new(vec![namespace, stored]);
        file.redact_objects();
        let text = file.text().unwrap();
        assert!(!text.contains("aHVzaA"), "{text}");
        let file: SnapshotFile = serde_json::from_str(&text).unwrap();
        let (client, registry) = (file.serve().unwrap(), Registry::builtin());
        for (value, expected) in [("hush", 0), ("other", 1)] {
            let mut rendered = render(&Snapshot::of(&[("s.yaml", &secret(value))]), &registry, "default");
            file.redact(&mut rendered);
            let options = Options { force: true, ..Options::default() };
            let outcome = once(&client, &registry, &rendered, &options, How::LookAhead).await.unwrap();
            let changed =
                outcome.report.changes().filter(|change| change.action == Action::Change && !change.fields.is_empty());
            assert_eq!(changed.count(), expected, "{:#?}", outcome.report);
        }
    }
}
