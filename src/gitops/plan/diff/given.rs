//! What an object is given when it is made, and later by those who look after it. Another one in its place is given
//! its own, often at random, so that neither is a difference that a manifest makes.

use super::path::Path;
use super::{Differ, Intent};
use crate::api::access;

/// Given to an object some time after it was made: its kind, and where.
const LATER: [(&str, &str); 2] = [("Pod", "spec.nodeName"), ("PersistentVolumeClaim", "spec.volumeName")];
/// Annotations by which those who look after claims remember what they did.
const NOTES: [&str; 2] = ["metadata.annotations[\"pv.kubernetes.io/", "metadata.annotations[\"volume.kubernetes.io/"];

impl Differ {
    /// Whether both have a value that the manifest says nothing of: an address, a random name, a selector by uid.
    pub(super) fn is_given_anew(&self, path: &Path, intent: Intent<'_>) -> bool {
        // Manifests of Secrets have their values elsewhere than Secrets.
        self.replaced.is_some() && matches!(intent, Intent::Silent) && path.first() != Some("data")
    }

    /// Whether the first has what the second has not been given yet.
    pub(super) fn is_given_later(&self, path: &Path, intent: Intent<'_>) -> bool {
        let Some(kind) = self.replaced.as_deref().filter(|_| matches!(intent, Intent::Silent)) else { return false };
        let path = path.to_string();
        let access = format!("spec.volumes[{}", access::PREFIX);
        LATER.contains(&(kind, path.as_str()))
            || kind == "Pod" && path.starts_with(&access)
            || kind == "PersistentVolumeClaim" && NOTES.iter().any(|note| path.starts_with(note))
    }
}
