//! The schema of selkie's own kind: an Application is a source of manifests that is kept in sync.

use super::{Field, ListKind, ObjectShape, Schema, SchemaRef, Shape};
use std::sync::Arc;

const SOURCE: [(&str, Shape, &str); 6] = [
    ("path", Shape::String, "Directory on the daemon's machine that holds the manifests."),
    (
        "repoURL",
        Shape::String,
        "Git repository that holds the manifests: https, ssh or file; or an artifact in a registry: oci://HOST/NAME.",
    ),
    ("push", Shape::Boolean, "It is pushed: git push to /git/NAME, the branch ref (default: main) is deployed."),
    (
        "ref",
        Shape::String,
        "Branch, tag or commit to follow, or semver: and a range of versions, for the highest tag in it. Default: HEAD. \
         Of an artifact: a tag (default: latest), a digest, or such a range.",
    ),
    ("directory", Shape::String, "Directory within the repository. Default: its root."),
    ("insecure", Shape::Boolean, "The registry of an artifact may be asked over plain HTTP. Default: false."),
];
const SPEC: [(&str, Shape, &str); 12] = [
    (
        "interval",
        Shape::Duration,
        "How often a remote source is asked for changes, e.g. 30s, which is the default; with a webhook that is 1h.",
    ),
    ("timeout", Shape::Duration, "Longest time that reading a repository may take. Default: 60s."),
    ("namespace", Shape::String, "Namespace of objects that name none. Default: default."),
    ("prune", Shape::Boolean, "Delete objects whose manifests are gone. Default: true."),
    ("suspend", Shape::Boolean, "Leave everything as it is until this is cleared."),
    ("adopt", Shape::Boolean, "Take over objects that other Applications hold, or that others made."),
    (
        "force",
        Shape::Boolean,
        "Take over fields that another manager owns and that the Application never set. Default: false.",
    ),
    ("rollback", Shape::String, "onFailure: a rollout that fails returns to the last revision that was ready."),
    ("drift", Shape::String, "What to do about changes that others make: correct or warn. Default: correct."),
    ("readyTimeout", Shape::Duration, "How long what was changed may take to become ready. Default: 10m."),
    ("previewOf", Shape::String, "Set on previews: the Application that this one is a copy of."),
    ("historyLimit", Shape::Integer { bits: 64 }, "How many revisions to keep for app rollback. Default: 10."),
];

const WINDOW: [(&str, Shape, &str); 5] = [
    ("kind", Shape::String, "allow: outside of all of these nothing is synced. deny: nothing is synced within."),
    ("schedule", Shape::String, "When it begins, as CronJobs write it: 0 22 * * 1-5."),
    ("duration", Shape::Duration, "How long it lasts, e.g. 8h."),
    ("timeZone", Shape::String, "Whose clocks the schedule goes by, e.g. Europe/Berlin. Default: UTC."),
    ("manualSync", Shape::Boolean, "Whether people may sync all the same. Default: false."),
];

const NOTIFICATION: [(&str, Shape, &str); 6] = [
    ("name", Shape::String, "What it is called in the status; not two of one name."),
    ("type", Shape::String, "webhook or slack are told of events; github, gitlab and gitea get statuses of commits."),
    ("url", Shape::String, "Where it is sent; of forges the base of their API, by default the source's host."),
    ("template", Shape::String, "Text with ${variables}; a JSON document for webhooks."),
    ("repository", Shape::String, "OWNER/REPOSITORY whose commits get a status. Default: the source's."),
    ("targetURL", Shape::String, "What the status of a commit links to; may have ${variables}."),
];

const HEALTH_CHECK: [(&str, Shape, &str); 5] = [
    ("apiVersion", Shape::String, "Group and version of the kind; the check is for all versions."),
    ("kind", Shape::String, "The kind."),
    ("inProgress", Shape::String, "CEL over the object's fields: not ready yet. Comes before failed and current."),
    ("failed", Shape::String, "CEL over the object's fields: it failed. Comes before current."),
    ("current", Shape::String, "CEL over the object's fields: it is ready, e.g. status.phase == 'Running'."),
];

/// `selkie.dev/v1alpha1` Application; `metadata` is the schema of ObjectMeta.
pub fn schema(metadata: SchemaRef) -> SchemaRef {
    let status = ObjectShape { preserve_unknown: true, ..ObjectShape::default() };
    object(
        "Application",
        "A source of manifests that this cluster is kept in sync with.",
        vec![
            leaf(("apiVersion", Shape::String, "Version of the schema of this object.")),
            leaf(("kind", Shape::String, "Kind of this object.")),
            ("metadata", metadata),
            ("spec", spec()),
            ("status", named("ApplicationStatus", "What the last sync did.", status)),
        ],
    )
}

pub(super) fn source_fields() -> Vec<(&'static str, SchemaRef)> {
    let name = leaf(("name", Shape::String, "Name of the Secret."));
    let secret = "Secret in the Application's namespace with what the repository asks for: username and password, or \
                  bearerToken, and ca.crt for https; identity and known_hosts for ssh; those of a GitHub App; \
                  .dockerconfigjson and ca.crt for artifacts.";
    let mut source: Vec<_> = SOURCE.map(leaf).into();
    let path = leaf(("", Shape::String, "")).1;
    source.push(leaf(("paths", list_of(path), "Several directories within the repository, in place of directory.")));
    source.push(("secretRef", object("ApplicationSecretRef", secret, vec![name])));
    let name = leaf(("name", Shape::String, "Name of the Secret."));
    let secret =
        "Secret in the Application's namespace with the public keys, of ssh or OpenPGP, of those who may sign.";
    let reference = ("secretRef", object("ApplicationVerifySecretRef", secret, vec![name]));
    let about = "Only commits that one of these keys signed are applied.";
    source.push(("verify", object("ApplicationVerify", about, vec![reference])));
    let name = leaf(("name", Shape::String, "Name of the Secret."));
    let secret = "Secret in the Application's namespace; its key token is what webhooks are signed with.";
    let reference = ("secretRef", object("ApplicationWebhookSecretRef", secret, vec![name]));
    let webhook = "Lets a git server's webhooks at /hooks/NAME make the source be looked at.";
    source.push(("webhook", object("ApplicationWebhook", webhook, vec![reference])));
    source
}

pub(super) fn spec() -> SchemaRef {
    let source = object("ApplicationSource", "Where the manifests come from.", source_fields());
    let mut spec: Vec<_> = SPEC.map(leaf).into();
    spec.push(("source", source));
    let other = leaf(("name", Shape::String, "Name of the Application."));
    let other = object("ApplicationDependency", "An Application that comes first.", vec![other]);
    let ignored =
        object("ApplicationIgnoreDifferences", "Fields of objects that syncs leave to others.", ignored_fields());
    spec.push(leaf(("ignoreDifferences", list_of(ignored), "Fields that syncs leave to others.")));
    let text = leaf(("", Shape::String, "")).1;
    let branches = list_of(text);
    let previews = vec![
        leaf(("branches", branches, "Branches, or refs such as refs/pull/*/head; * is any text.")),
        leaf(("ttl", Shape::Duration, "How long a branch may rest before its preview goes. Default: 168h.")),
    ];
    let about = "Copies of this Application for other branches, each in a namespace of its own.";
    spec.push(("previews", object("ApplicationPreviews", about, previews)));
    spec.push(("decryption", decryption()));
    spec.push(("helm", helm()));
    let bases = "Whether they may name directories of git repositories elsewhere, which are fetched. Default: false.";
    let bases = vec![leaf(("remoteBases", Shape::Boolean, bases))];
    spec.push(("kustomize", object("ApplicationKustomize", "How kustomizations of the source are rendered.", bases)));
    spec.push(("postBuild", post_build()));
    let others = "Applications that must be ready before this one is synced.";
    spec.push(leaf(("dependsOn", list_of(other), others)));
    let window = object("ApplicationSyncWindow", "When syncs may go on, or may not.", WINDOW.map(leaf).into());
    let windows = "When syncs may go on by themselves, and when not.";
    spec.push(leaf(("syncWindows", list_of(window), windows)));
    let notifications = list_of(notification());
    spec.push(leaf(("notifications", notifications, "Who is told what happens.")));
    let check =
        object("ApplicationHealthCheck", "When objects of a kind count as ready.", HEALTH_CHECK.map(leaf).into());
    let checks = "How readiness of kinds is judged, before the rules that all applications have.";
    spec.push(leaf(("healthChecks", list_of(check), checks)));
    object("ApplicationSpec", "What to keep in sync, and how.", spec)
}

pub(super) fn list_of(items: SchemaRef) -> Shape {
    Shape::List { items, kind: ListKind::Atomic, patch: None }
}

fn notification() -> SchemaRef {
    let mut fields: Vec<_> = NOTIFICATION.map(leaf).into();
    let name = leaf(("name", Shape::String, "Name of the Secret."));
    let secret = "Secret in the Application's namespace: token, address (a URL that is secret), hmac, ca.crt.";
    fields.push(("secretRef", object("ApplicationNotificationSecretRef", secret, vec![name])));
    let event = leaf(("", Shape::String, "")).1;
    let events = list_of(event);
    fields.push(leaf(("events", events, "What is told, by the reasons of Events. Default: everything.")));
    object("ApplicationNotification", "Who is told what happens.", fields)
}

fn decryption() -> SchemaRef {
    let name = leaf(("name", Shape::String, "Name of the Secret."));
    let secret = "Secret in the Application's namespace: each entry NAME.agekey holds age keys, AGE-SECRET-KEY-1....";
    let fields = vec![
        leaf(("provider", Shape::String, "sops.")),
        ("secretRef", object("ApplicationDecryptionSecretRef", secret, vec![name])),
    ];
    object(
        "ApplicationDecryption",
        "Decrypts files of the source that SOPS encrypted for age keys, as in Flux.",
        fields,
    )
}

fn helm() -> SchemaRef {
    let file = leaf(("", Shape::String, "")).1;
    let from = vec![
        leaf(("kind", Shape::String, "ConfigMap or Secret.")),
        leaf(("name", Shape::String, "Its name, in the Application's namespace.")),
        leaf(("valuesKey", Shape::String, "The key that holds values. Default: values.yaml.")),
        leaf((
            "targetPath",
            Shape::String,
            "The key holds one value, for this path: auth.password, hosts[0]. Default: a map.",
        )),
        leaf(("optional", Shape::Boolean, "Go on without it where it is not there. Default: false.")),
    ];
    let from = object("ApplicationValuesFrom", "A ConfigMap or Secret that holds values of a chart.", from);
    let fields = vec![
        leaf(("releaseName", Shape::String, "Name of the release. Default: the Application's.")),
        leaf(("valueFiles", list_of(file), "Files of the chart with values; a later one covers an earlier one.")),
        leaf((
            "valuesFrom",
            list_of(from),
            "Objects with values; a later one covers an earlier one, and all cover files.",
        )),
        leaf(("values", Shape::Any, "Values; they cover all others.")),
    ];
    object("ApplicationHelm", "How the Helm chart that is the source is rendered.", fields)
}

fn post_build() -> SchemaRef {
    let from = vec![
        leaf(("kind", Shape::String, "ConfigMap or Secret.")),
        leaf(("name", Shape::String, "Its name, in the Application's namespace.")),
        leaf(("optional", Shape::Boolean, "Go on without it where it is not there. Default: false.")),
    ];
    let from = object("ApplicationSubstituteFrom", "A ConfigMap or Secret whose keys are variables.", from);
    let from = list_of(from);
    let values = Shape::Map { values: leaf(("", Shape::String, "")).1, atomic: false };
    let fields = vec![
        leaf(("substitute", values, "Variables and their values; they come before those of substituteFrom.")),
        leaf(("substituteFrom", from, "Where variables are from; the last one counts.")),
        leaf(("strict", Shape::Boolean, "Refuse variables that are not set and have no default. Default: false.")),
    ];
    object("ApplicationPostBuild", "What ${NAME} in manifests stands for, as in Flux.", fields)
}

fn ignored_fields() -> Vec<(&'static str, SchemaRef)> {
    let text = leaf(("", Shape::String, "")).1;
    let list = |name, about| leaf((name, list_of(text.clone()), about));
    vec![
        leaf(("group", Shape::String, "API group; empty for the core group, * for any.")),
        leaf(("kind", Shape::String, "Kind; * for any.")),
        leaf(("name", Shape::String, "Name. Default: any.")),
        leaf(("namespace", Shape::String, "Namespace. Default: any.")),
        list("jsonPointers", "Fields, as RFC 6901 writes them: /spec/replicas."),
        list("managedFieldsManagers", "Field managers: everything that they own."),
    ]
}

pub(super) fn leaf((name, shape, description): (&'static str, Shape, &str)) -> (&'static str, SchemaRef) {
    (name, Arc::new(Schema { shape, description: description.into(), ..Schema::default() }))
}

pub(super) fn object(name: &str, description: &str, fields: Vec<(&'static str, SchemaRef)>) -> SchemaRef {
    let fields = fields.into_iter().map(|(name, schema)| (name.into(), Field { schema, ..Field::default() })).collect();
    named(name, description, ObjectShape { fields, ..ObjectShape::default() })
}

pub(super) fn named(name: &str, description: &str, shape: ObjectShape) -> SchemaRef {
    Arc::new(Schema {
        shape: Shape::Object(shape),
        name: Some(format!("dev.selkie.v1alpha1.{name}").into()),
        description: description.into(),
        ..Schema::default()
    })
}
