//! Previews: copies of an Application, one for each branch of its repository that a pattern names, each in
//! a namespace of its own, for as long as somebody works on the branch. Pure.

use super::application::{Application, NAMESPACE, PRUNE, Preview, Previews};
use super::kinds::Kinds;
use super::render::{Rendered, group, refuse_duplicates, render};
use super::sources::{Branch, File, Snapshot};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Label of a preview: the Application that it is a copy of.
pub const LABEL: &str = "selkie.dev/preview-of";
/// Previews of one Application.
pub const MOST: usize = 30;
/// What a name may have: it is a label's value, and a namespace.
const LONGEST_NAME: usize = 63;

/// Which previews there are to be, by branch; those beyond [`MOST`] are left out.
pub fn decide(application: &Application, previews: &Previews, branches: &[Branch], now: Timestamp) -> Vec<Preview> {
    let ttl = application.preview_ttl(previews);
    let wanted = |branch: &&Branch| {
        branch.name != application.spec.source.reference
            && previews.branches.iter().any(|pattern| matches(pattern, &branch.name))
    };
    let preview = |branch: &Branch| {
        let known = application.status.previews.iter().find(|one| one.branch == branch.name);
        let since = known.filter(|known| known.commit == branch.commit).and_then(|known| known.since.parse().ok());
        let since: Timestamp = since.unwrap_or(now);
        let rested = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        Preview {
            name: name(application.name(), &branch.name),
            branch: branch.name.clone(),
            commit: branch.commit.clone(),
            since: since.to_string(),
            ended: rested > ttl,
        }
    };
    let mut found: Vec<Preview> = branches.iter().filter(wanted).map(preview).collect();
    // Those that moved last matter most.
    found.sort_by(|a, b| (a.ended, &b.since, &a.branch).cmp(&(b.ended, &a.since, &b.branch)));
    found.truncate(MOST);
    found
}

/// The preview as an Application.
pub fn copy(application: &Application, preview: &Preview) -> Value {
    let mut spec = application.spec.clone();
    spec.previews = None;
    spec.preview_of = application.name().to_owned();
    spec.namespace.clone_from(&preview.name);
    spec.source.reference.clone_from(&preview.branch);
    let owner = json!({"apiVersion": "selkie.dev/v1alpha1", "kind": "Application", "name": application.name(),
        "uid": application.metadata.uid, "controller": true});
    json!({
        "apiVersion": "selkie.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": preview.name, "namespace": NAMESPACE, "labels": {LABEL: application.name()},
            "ownerReferences": [owner]},
        "spec": spec,
    })
}

/// A name for the copy: no two branches have the same.
fn name(application: &str, branch: &str) -> String {
    let short = branch.strip_prefix("refs/").and_then(|name| name.strip_suffix("/head")).unwrap_or(branch);
    let slug = slug(short);
    let plain = format!("{application}-{slug}");
    if slug == branch && plain.len() <= LONGEST_NAME {
        return plain;
    }
    let digest: String = Sha256::digest(branch).iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = plain.chars().take(LONGEST_NAME - digest.len() - 1).collect();
    format!("{}-{digest}", kept.trim_end_matches('-'))
}

/// A text as a part of names: small letters and digits, with dashes for what else is in between.
pub fn slug(text: &str) -> String {
    let letters = text.to_lowercase();
    let words = letters.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// `*` is any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

/// What an Application's manifests become: those of a preview go into its own namespace, which comes and
/// goes with it; what the source says of namespaces is for the original.
pub fn shape(application: &Application, mut rendered: Rendered, kinds: &dyn Kinds) -> Rendered {
    if application.spec.preview_of.is_empty() {
        return rendered;
    }
    let namespace = application.namespace();
    rendered.objects.retain(|manifest| manifest.id.kind != "Namespace" || !group(&manifest.id.api_version).is_empty());
    for manifest in rendered.objects.iter_mut().filter(|manifest| !manifest.id.namespace.is_empty()) {
        let old = std::mem::replace(&mut manifest.id.namespace, namespace.to_owned());
        manifest.value["metadata"]["namespace"] = namespace.into();
        let subjects = manifest.value.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten().filter(|subject| subject["namespace"] == old.as_str()) {
            subject["namespace"] = namespace.into();
        }
    }
    let own = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace, "annotations": {PRUNE: "confirmed"}}});
    let file = File { path: "preview".into(), bytes: own.to_string().into() };
    let own = render(&Snapshot::new("preview", vec![file], Vec::new()), kinds, "");
    rendered.objects.splice(0..0, own.objects);
    refuse_duplicates(&mut rendered);
    rendered
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::kinds::FixedKinds;

    fn application(status: Value) -> Application {
        let source = json!({"repoURL": "https://h/r", "ref": "main"});
        let previews = json!({"branches": ["feature/*", "refs/pull/*/head", "main"], "ttl": "1h"});
        serde_json::from_value(json!({"metadata": {"name": "shop", "uid": "u"},
            "spec": {"source": source, "namespace": "shop", "previews": previews}, "status": {"previews": status}}))
        .unwrap()
    }

    fn branch(name: &str, commit: &str) -> Branch {
        Branch { name: name.into(), commit: commit.into() }
    }

    fn decided(status: Value, branches: &[Branch]) -> Vec<(String, String, bool)> {
        let application = application(status);
        let previews = application.spec.previews.clone().unwrap();
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let all = decide(&application, &previews, branches, now);
        all.into_iter().map(|one| (one.branch, one.since, one.ended)).collect()
    }

    #[test]
    fn branches_have_previews_while_they_move() {
        let known = json!([{"branch": "feature/a", "commit": "1", "since": "2026-01-01T11:30:00Z"},
            {"branch": "feature/b", "commit": "1", "since": "2026-01-01T10:30:00Z"},
            {"branch": "feature/c", "commit": "1", "since": "2026-01-01T10:30:00Z", "ended": true},
            {"branch": "feature/gone", "commit": "1", "since": "2026-01-01T11:30:00Z"}]);
        let branches = [
            branch("feature/a", "1"),
            branch("feature/b", "1"),
            branch("feature/c", "2"),
            branch("main", "1"),
            branch("other", "1"),
            branch("refs/pull/7/head", "1"),
        ];
        let now = "2026-01-01T12:00:00Z";
        let expected = [
            ("feature/c", now, false),
            ("refs/pull/7/head", now, false),
            ("feature/a", "2026-01-01T11:30:00Z", false),
            ("feature/b", "2026-01-01T10:30:00Z", true),
        ];
        let expected = expected.map(|(branch, since, ended)| (branch.to_owned(), since.to_owned(), ended));
        assert_eq!(decided(known, &branches), expected);
    }

    #[test]
    fn there_are_not_too_many() {
        let branches: Vec<Branch> = (0..MOST + 5).map(|n| branch(&format!("feature/{n}"), "1")).collect();
        assert_eq!(decided(json!([]), &branches).len(), MOST);
    }

    #[test]
    fn names_are_names_and_differ() {
        assert_eq!(name("shop", "search"), "shop-search");
        let names = ["feature/a", "feature-a", "Feature/A", "refs/pull/7/head", "pull/7", "\u{fc}", &"x".repeat(90)];
        let names = names.map(|branch| name("shop", branch));
        assert!(names[3].starts_with("shop-pull-7-"), "{names:?}");
        let mut different = names.to_vec();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), names.len(), "{names:?}");
        for name in &names {
            assert!(name.len() <= LONGEST_NAME && name.ends_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(
            matches("feature/*", "feature/a/b") && matches("*", "x") && matches("refs/pull/*/head", "refs/pull/7/head")
        );
        assert!(!matches("feature/*", "my/feature/a") && !matches("a*b", "abc") && !matches("main", "main2"));
    }

    #[test]
    fn a_copy_is_in_a_namespace_of_its_own() {
        let kinds = FixedKinds::new(&[
            ("v1", "Namespace", false),
            ("v1", "ConfigMap", true),
            ("rbac.authorization.k8s.io/v1", "RoleBinding", true),
        ]);
        let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\nsubjects: [{kind: ServiceAccount, name: x, namespace: shop}, {kind: ServiceAccount, name: y, namespace: other}]\n";
        let rendered = render(&Snapshot::of(&[("a.yaml", text)]), &kinds, "shop");
        let original = application(json!([]));
        let preview = Preview { name: "shop-x".into(), branch: "feature/x".into(), ..Preview::default() };
        let copied: Application = serde_json::from_value(copy(&original, &preview)).unwrap();
        assert_eq!((copied.spec.source.reference.as_str(), copied.spec.previews.is_none()), ("feature/x", true));
        assert_eq!(shape(&original, rendered.clone(), &kinds).objects.len(), 3);
        let shaped = shape(&copied, rendered, &kinds);
        let names: Vec<String> = shaped.objects.iter().map(|manifest| manifest.describe()).collect();
        assert_eq!(names, ["Namespace shop-x", "ConfigMap shop-x/a", "RoleBinding shop-x/b"]);
        let subjects = &shaped.objects[2].value["subjects"];
        assert_eq!((&subjects[0]["namespace"], &subjects[1]["namespace"]), (&json!("shop-x"), &json!("other")));
        assert_eq!(shaped.objects[0].value["metadata"]["annotations"][PRUNE], "confirmed");
    }
}
