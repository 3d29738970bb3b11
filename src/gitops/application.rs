//! selkie's own kind as this module sees it: `Application`, selkie.dev/v1alpha1.

mod decryption;
mod helm;
mod kustomize;
mod post_build;
mod previews;
mod request;
mod source;
mod status;
mod taken;

pub use crate::api::changeset::PRUNE;
pub use decryption::Decryption;
pub use helm::{Helm, ValuesFrom};
pub use kustomize::Kustomize;
pub use post_build::{PostBuild, SubstituteFrom};
pub use previews::{DEFAULT_TTL, Preview, Previews};
pub use request::Request;
pub use source::{ApplicationSource, DEFAULT_BRANCH, SecretRef, Verify, Webhook};
pub(super) use status::set_condition;
pub use status::{ApplicationStatus, Condition, DriftCorrection, Operation, Quarantine, Replacing};
pub use taken::{TAKEN_OVER, write as write_taken};

use crate::gitops::notify::Notification;
use crate::gitops::readiness::HealthCheck;
use crate::gitops::sources::git::credentials::DEFAULT_TIMEOUT;
use crate::gitops::windows::SyncWindow;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where Applications live.
pub const NAMESPACE: &str = "selkie-system";
/// The label on every object that a sync applied: the Application's name.
pub const LABEL: &str = "selkie.dev/application";
/// Annotation on an Application: a revision at which held-back pruning may happen.
pub const CONFIRM_PRUNE: &str = "selkie.dev/confirm-prune";
/// Annotation with the value `disabled` on an Application: it is deleted without the hooks for that.
pub const DELETE_HOOKS: &str = "selkie.dev/delete-hooks";
/// Holds a deleted Application until its objects are gone.
pub const FINALIZER: &str = "selkie.dev/prune";
/// The finalizer by which `kubectl delete --cascade=orphan` says that dependents are to stay.
const ORPHAN: &str = "orphan";
/// Annotation on an Application: what is asked of its sync, as [`Request`] reads it. Each request is
/// carried out once, and `status.handledRequest` tells which was the last.
pub const REQUEST: &str = "selkie.dev/request";
/// How many revisions an Application's history keeps.
pub const HISTORY_LIMIT: u64 = 10;
/// How often a source is looked at without any sign of change.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// How often a repository is asked whose pushes are told by webhooks, for those that got lost.
pub const WEBHOOK_INTERVAL: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Application {
    pub metadata: ObjectMeta,
    pub spec: ApplicationSpec,
    pub status: ApplicationStatus,
}

impl k8s_openapi::Resource for Application {
    const API_VERSION: &'static str = "selkie.dev/v1alpha1";
    const GROUP: &'static str = "selkie.dev";
    const KIND: &'static str = "Application";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "applications";
    type Scope = k8s_openapi::NamespaceResourceScope;
}

impl k8s_openapi::Metadata for Application {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSpec {
    pub source: ApplicationSource,
    /// A duration as Kubernetes writes it: `30s`, `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Longest time that reading a repository may take, as `interval` is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Namespace of objects that name none. Default: `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Take over fields that another manager owns and that the Application never set. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
    /// Take over what other Applications hold, and objects that others made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Default: [`HISTORY_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<u64>,
    /// `onFailure`: a rollout that fails returns to the last revision that was ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// What to do about changes that others make: `correct` or `warn`. Default: `correct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_differences: Vec<IgnoreDifferences>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previews: Option<Previews>,
    /// It is a preview of this Application: all its objects are in its namespace, which goes with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preview_of: String,
    /// Encrypted files of the source are decrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// How the Helm chart that is the source is rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<Helm>,
    /// How kustomizations of the source are rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<Kustomize>,
    /// Variables in the manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// Applications that must be ready before this one is synced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// How long what was changed may take to become ready, as `interval` is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_windows: Vec<SyncWindow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// How readiness of kinds is judged, before the rules that all Applications have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
}

/// Fields that syncs leave to others. Written as Argo CD writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IgnoreDifferences {
    /// Empty for the core group; `*` for any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// `*` for any.
    pub kind: String,
    /// Empty: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Empty: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// RFC 6901: `/spec/replicas`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// Everything that these field managers own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed_fields_managers: Vec<String>,
}

/// Another Application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: String,
}

impl Application {
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// How often to look, at least every second.
    pub fn interval(&self) -> Duration {
        duration(self.spec.interval.as_deref(), DEFAULT_INTERVAL)
    }

    /// How often the source itself is asked for changes: seldom where webhooks tell of them, unless
    /// `spec.interval` says more. Artifacts have no webhooks.
    pub fn source_interval(&self) -> Duration {
        let source = &self.spec.source;
        let is_told = source.webhook.is_some() && !source.is_artifact() && self.spec.interval.is_none();
        if is_told { WEBHOOK_INTERVAL } else { self.interval() }
    }

    /// How long reading a repository may take, at least a second.
    pub fn timeout(&self) -> Duration {
        duration(self.spec.timeout.as_deref(), DEFAULT_TIMEOUT)
    }

    /// How long what was changed may take to become ready.
    pub fn ready_timeout(&self, default: Duration) -> Duration {
        duration(self.spec.ready_timeout.as_deref(), default)
    }

    /// How long a branch may rest before its preview goes.
    pub fn preview_ttl(&self, previews: &Previews) -> Duration {
        duration(previews.ttl.as_deref(), DEFAULT_TTL)
    }

    /// Whether what others change is set right; otherwise it is only told.
    pub fn corrects_drift(&self) -> bool {
        self.spec.drift.as_deref() != Some("warn")
    }

    /// Whether a rollout that fails is taken back.
    pub fn rolls_back(&self) -> bool {
        self.spec.rollback.as_deref() == Some("onFailure")
    }

    /// Where objects without a namespace go.
    pub fn namespace(&self) -> &str {
        if self.spec.namespace.is_empty() { "default" } else { &self.spec.namespace }
    }

    pub fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    fn finalizers(&self) -> &[String] {
        self.metadata.finalizers.as_deref().unwrap_or_default()
    }

    /// Deleted with the word that its objects are to stay.
    pub fn is_orphaning(&self) -> bool {
        self.is_deleted() && self.finalizers().iter().any(|name| name == ORPHAN)
    }

    /// Whether its deletion waits for us.
    pub fn is_held(&self) -> bool {
        self.finalizers().iter().any(|name| name == FINALIZER)
    }

    /// Why its objects outlive it, if they do.
    pub fn keeps_objects(&self) -> Option<&'static str> {
        let annotations = self.metadata.annotations.as_ref();
        if annotations.is_some_and(|all| all.get(PRUNE).is_some_and(|value| value == "disabled")) {
            return Some("it has the annotation selkie.dev/prune: disabled");
        }
        if !self.prunes() {
            return Some("spec.prune is false");
        }
        if self.spec.suspend {
            return Some("spec.suspend is set");
        }
        self.is_orphaning().then_some("it was deleted with --cascade=orphan")
    }

    /// Whether it is deleted without its hooks.
    pub fn skips_delete_hooks(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.get(DELETE_HOOKS).is_some_and(|value| value == "disabled"))
    }

    /// What is asked of the sync, if that was not carried out already.
    pub fn request(&self, handled: &str) -> Option<&str> {
        let asked = self.metadata.annotations.as_ref()?.get(REQUEST)?;
        (asked != handled).then_some(asked)
    }

    /// How many revisions its history keeps, at least the one in force.
    pub fn history_limit(&self) -> usize {
        usize::try_from(self.spec.history_limit.unwrap_or(HISTORY_LIMIT)).unwrap_or(usize::MAX).max(1)
    }

    /// Whether kustomizations may name other repositories.
    pub fn allows_remote_bases(&self) -> bool {
        self.spec.kustomize.as_ref().is_some_and(|kustomize| kustomize.remote_bases)
    }

    pub fn prunes(&self) -> bool {
        self.spec.prune.unwrap_or(true)
    }

    /// Whether someone confirmed pruning at this revision (its first digits do).
    pub fn confirms_prune(&self, revision: &str) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        let confirmed = annotations.and_then(|annotations| annotations.get(CONFIRM_PRUNE));
        confirmed.is_some_and(|given| {
            let digits = revision.strip_prefix("sha256:").unwrap_or(revision);
            given.len() >= 7 && (digits.starts_with(given.as_str()) || revision == given)
        })
    }
}

/// Reads `30s` or `5m`; at least a second.
pub(super) fn duration(text: Option<&str>, default: Duration) -> Duration {
    let given = text.and_then(|text| text.parse::<jiff::SignedDuration>().ok());
    let given = given.and_then(|given| Duration::try_from(given).ok()).unwrap_or(default);
    given.max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_confirmation_is_for_one_revision() {
        let mut application = Application::default();
        assert!(!application.confirms_prune("abcdef0123"));
        application.metadata.annotations = Some([(CONFIRM_PRUNE.to_owned(), "abcdef0".to_owned())].into());
        assert!(application.confirms_prune("abcdef0123"));
        assert!(application.confirms_prune("sha256:abcdef0123"));
        assert!(!application.confirms_prune("bbcdef0123"));
    }

    #[test]
    fn objects_outlive_an_application_only_when_that_is_said() {
        let mut application = Application::default();
        assert_eq!(application.keeps_objects(), None);
        application.spec.prune = Some(false);
        assert_eq!(application.keeps_objects(), Some("spec.prune is false"));
        application.spec.prune = None;
        application.metadata.annotations = Some([(PRUNE.to_owned(), "disabled".to_owned())].into());
        assert!(application.keeps_objects().is_some_and(|why| why.contains("annotation")));
        application.metadata.annotations = None;
        application.metadata.finalizers = Some(vec![FINALIZER.to_owned(), ORPHAN.to_owned()]);
        assert_eq!(application.keeps_objects(), None, "it is not deleted yet");
        let now = serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap();
        application.metadata.deletion_timestamp = Some(now);
        assert!(application.keeps_objects().is_some_and(|why| why.contains("orphan")));
    }

    #[test]
    fn intervals_have_a_default_and_a_floor() {
        let every = |text: Option<&str>| {
            let spec = ApplicationSpec { interval: text.map(Into::into), ..ApplicationSpec::default() };
            Application { spec, ..Application::default() }.interval().as_secs()
        };
        assert_eq!([None, Some("2m"), Some("0s"), Some("x"), Some("1m30s")].map(every), [30, 120, 1, 30, 90]);
    }

    #[test]
    fn a_source_with_webhooks_is_seldom_asked() {
        let asked = |url: &str, webhook: bool, interval: Option<&str>| {
            let webhook = webhook.then(Webhook::default);
            let source = ApplicationSource { repo_url: url.into(), webhook, ..ApplicationSource::default() };
            let spec = ApplicationSpec { source, interval: interval.map(Into::into), ..ApplicationSpec::default() };
            Application { spec, ..Application::default() }.source_interval().as_secs()
        };
        assert_eq!(asked("https://h/r", false, None), 30);
        assert_eq!(asked("https://h/r", true, None), 3600);
        assert_eq!(asked("https://h/r", true, Some("10s")), 10, "who says how often is asked so often");
        assert_eq!(asked("oci://h/r", true, None), 30);
    }
}
