//! Histories as values, without a server.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::api::registry::Registry;
use crate::gitops::render::render;
use crate::gitops::sources::Snapshot;

fn rendered(files: &[(&str, &str)]) -> Rendered {
    render(&Snapshot::of(files), &Registry::builtin(), "default")
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value:?}}}\n")
}

#[test]
fn old_revisions_go_when_new_ones_come() {
    let mut application = Application::default();
    application.metadata.name = Some("shop".into());
    application.spec.history_limit = Some(2);
    let record = |number| Record { number, ..Record::default() };
    let manifests = rendered(&[("a.yaml", &map("a", "1"))]);
    let first = writes(&application, &mut record(1), &manifests, &[]);
    assert_eq!((first.objects.len(), first.deletions.len()), (1, 0));
    assert_eq!(first.objects[0]["metadata"]["name"], "revision.shop.1");
    let third = Record { parts: 2, ..record(3) };
    let fifth = writes(&application, &mut record(5), &manifests, &[record(2), third, record(4)]);
    let gone: Vec<_> = fifth.deletions.iter().map(|id| id.name.as_str()).collect();
    let expected = ["revision.shop.2", "revision.shop.3", "revision-part.shop.3.1", "revision-part.shop.3.2"];
    assert_eq!(gone, expected);
}

#[test]
fn a_digest_is_of_what_manifests_say() {
    let (a, b) = (map("a", "1"), map("b", "1"));
    let one = rendered(&[("a.yaml", &a), ("b.yaml", &b)]);
    let moved = rendered(&[("x.yaml", &format!("# moved\n{b}---\n{a}"))]);
    assert_eq!(digest(&one), digest(&moved));
    assert_ne!(digest(&one), digest(&rendered(&[("a.yaml", &a)])));
}

#[test]
fn revisions_are_compared_and_secrets_stay_secret() {
    let secret =
        |value: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {value}}}\n");
    let before = rendered(&[("a.yaml", &map("a", "1")), ("b.yaml", &map("b", "1")), ("s.yaml", &secret("hush"))]);
    let after = rendered(&[("a.yaml", &map("a", "2")), ("c.yaml", &map("c", "1")), ("s.yaml", &secret("quiet"))]);
    let report = compare(&before, &after, &Registry::builtin());
    let totals = report.totals();
    assert_eq!((totals.add, totals.change, totals.delete), (1, 2, 1));
    let said = format!("{report:?}");
    assert!(!said.contains("hush") && !said.contains("quiet"), "{said}");
    assert_eq!(removed(&before, &after).objects[0].id.name, "b");
}
