//! Reports and events as they are printed.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::api::changeset::{ChangeAction, ChangeResult, ObjectId};
use crate::api::plan::{ClaimAtStake, ClaimFate};
use crate::gitops::kinds::Kinds;
use crate::gitops::plan::Action;
use crate::gitops::render::render;
use crate::gitops::sources::Snapshot;
use crate::gitops::sync::{Event, FailingPod, Progress, Summary};
use serde_json::{Value, json};
use std::time::Duration;

const MANIFESTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: apps/v1\nkind: Deployment\n\
    metadata: {name: web, namespace: shop}\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - {name: web, image: 'a:2'}\n      - {name: log, image: 'l:1', args: [x]}\n\
---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf, namespace: shop}\ndata: {a.conf: \"one\\nthree\\n\"}\n\
---\napiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: shop}\nstringData: {token: new}\n";

fn example() -> Report {
    let registry = crate::api::registry::Registry::builtin();
    let rendered = render(&Snapshot::of(&[("shop.yaml", MANIFESTS)]), &registry as &dyn Kinds, "default");
    assert_eq!(rendered.errors, []);
    let after: Vec<Value> = rendered.objects.iter().map(|manifest| manifest.value.clone()).collect();
    let mut web = after[1].clone();
    web["spec"]["replicas"] = json!(2);
    web["spec"]["template"]["spec"]["containers"] = json!([{"name": "web", "image": "a:1"}]);
    let mut conf = after[2].clone();
    conf["data"]["a.conf"] = json!("one\ntwo\n");
    let mut key = after[3].clone();
    key["stringData"] = json!({"old": "s3cret"});
    let befores = [None, Some(web), Some(conf), Some(key)];
    let mut results: Vec<ChangeResult> = rendered
        .objects
        .iter()
        .zip(befores)
        .zip(after)
        .map(|((manifest, before), after)| ChangeResult {
            id: manifest.id.clone(),
            action: if before.is_some() { ChangeAction::Configured } else { ChangeAction::Created },
            before,
            after: Some(after),
            ..ChangeResult::default()
        })
        .collect();
    let mut old = rendered.objects[2].id.clone();
    old.name = "old".into();
    let gone =
        ChangeResult { id: old, action: ChangeAction::Deleted, before: Some(json!({})), ..ChangeResult::default() };
    results.push(gone);
    let mut report = Report::new(&results, &rendered.objects, &registry);
    report.warnings.push("sub: submodules are not followed; its manifests are left out".into());
    report
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// With its escapes, as a snapshot can hold them.
fn coloured(text: &str) -> String {
    text.replace('\u{1b}', "␛")
}

#[test]
fn a_plan_as_text() {
    insta::assert_snapshot!(plain(&report(&example(), Format::Text)));
    insta::assert_snapshot!(plain(&report(&Report::default(), Format::Text)));
    insta::assert_snapshot!(coloured(&report(&example(), Format::Text)));
}

#[test]
fn a_plan_as_a_comment() {
    insta::assert_snapshot!(report(&looked_ahead(), Format::Markdown));
    insta::assert_snapshot!(report(&Report::default(), Format::Markdown));
}

#[test]
fn a_plan_for_programs() {
    let text = report(&example(), Format::Json);
    assert!(!text.contains("s3cret") && !text.contains("\"new\""));
    insta::assert_snapshot!(text);
    let yaml = report(&example(), Format::Yaml);
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
    insta::assert_snapshot!(yaml);
    insta::assert_snapshot!(report(&example(), Format::Name));
}

#[test]
fn events_as_text() {
    let id = example().objects[1].id.clone();
    let progress = Progress { id, message: "1 of 3 pods updated".into() };
    let pod = FailingPod {
        namespace: "shop".into(),
        pod: "web-1".into(),
        container: "web".into(),
        reason: "CrashLoopBackOff".into(),
        message: "exited with code 1".into(),
        log: vec!["cannot open \u{1b}[2Jdb".into()],
    };
    let summary = |failed| Summary {
        revision: "0123456789".into(),
        totals: example().totals(),
        ready: 2,
        failed,
        elapsed: Duration::from_millis(2_340),
    };
    let here = std::env::current_dir().unwrap().join("examples/hello").display().to_string();
    let events = [
        Event::Started { origin: here, revision: "sha256:0123456789abcdef".into() },
        Event::Started { origin: "https://host/repo.git#main".into(), revision: "0123456789".into() },
        Event::Applied(example()),
        Event::Stage { name: "PreSync".into(), what: "Job default/migrate".into() },
        Event::Blocked { revision: "0123456789".into(), why: "application \"db\" is not ready".into() },
        Event::Progress(vec![progress.clone()]),
        Event::Failing(pod),
        Event::Done(summary(vec![])),
        Event::Done(summary(vec![progress])),
        Event::Done(Summary { ready: 0, ..summary(vec![]) }),
        Event::Recovered { elapsed: Duration::from_millis(2_340) },
        Event::Ending { objects: 2 },
        Event::Ended { objects: 2, kept: None },
        Event::Ended { objects: 1, kept: Some("spec.prune is false".into()) },
        Event::Drift(Report { objects: vec![example().objects[4].clone()], ..Report::default() }),
        Event::DriftLeft(Report { objects: vec![example().objects[4].clone()], ..Report::default() }),
        Event::Failed { revision: "0123456789".into(), errors: vec!["web.yaml:2:1: no kind \"X\" in v1".into()] },
        Event::Warning("the source is empty".into()),
    ];
    let text: String = events.iter().map(|event| events::text("shop", event)).collect();
    insta::assert_snapshot!(plain(&text));
    insta::assert_snapshot!(coloured(&text));
}

/// Moves the cursor, clears the screen, sets the title, turns the direction, and begins lines of its own.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;title\u{7}\r\nPlan: nothing\u{9b}1A\u{202e}\u{8}";

/// Colours, which are ours, left out.
fn without_colours(text: &str) -> String {
    let mut left = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        left.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(after.len());
        if after[end..].starts_with('m') {
            rest = &after[end + 1..];
        } else {
            left.push_str("\u{1b}[");
            rest = after;
        }
    }
    left + rest
}

#[test]
fn what_registries_probes_and_containers_write_moves_no_cursor() {
    let id = example().objects[1].id.clone();
    let text = || HOSTILE.to_owned();
    let progress = Progress { id, message: text() };
    let (namespace, pod, container) = ("shop".to_owned(), "web-1".to_owned(), "web".to_owned());
    let failing = FailingPod { namespace, pod, container, reason: text(), message: text(), log: vec![text()] };
    let done = Summary {
        revision: "0123456789".into(),
        totals: Default::default(),
        ready: 0,
        failed: vec![progress.clone()],
        elapsed: Duration::ZERO,
    };
    let mut warned = example();
    (warned.warnings, warned.objects[0].note) = (vec![text()], text());
    let usual = events::text("", &Event::Applied(Report { warnings: vec!["a".into()], ..example() }));
    let lines = [
        (Event::Progress(vec![progress]), 1),
        (Event::Failing(failing), 2),
        (Event::Done(done), 2),
        (Event::Stage { name: "PreSync".into(), what: text() }, 1),
        (Event::Blocked { revision: "1".into(), why: text() }, 1),
        (Event::Applied(warned), usual.lines().count()),
        // Those are told with their lines.
        (Event::Warning(text()), 2),
        (Event::Failed { revision: "1".into(), errors: vec![text()] }, 3),
    ];
    for (event, expected) in lines {
        let said = without_colours(&events::text("", &event));
        assert_eq!(said.lines().count(), expected, "{said:?}");
        let harm = said.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || *c == '\u{202e}');
        assert_eq!(harm, None, "{said:?}");
    }
    assert_eq!(one_line(HOSTILE), "a\u{fffd}[2J\u{fffd}]0;title\u{fffd} Plan: nothing\u{fffd}1A\u{fffd}\u{fffd}");
}

fn claims() -> Vec<ClaimAtStake> {
    let id = |api_version: &str, kind: &str, name: &str| ObjectId {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: "shop".into(),
        name: name.into(),
        uid: String::new(),
    };
    let claim = |name: &str| id("v1", "PersistentVolumeClaim", name);
    let set = |name: &str| id("apps/v1", "StatefulSet", name);
    let when = "persistentVolumeClaimRetentionPolicy.whenDeleted is";
    let at_stake = |claim, fate, with, reason: String, (volume, size, policy): (&str, &str, &str)| ClaimAtStake {
        claim,
        fate,
        with,
        reason,
        volume: volume.into(),
        size: size.into(),
        reclaim_policy: policy.into(),
    };
    let replaced = "spec.storageClassName cannot change in place".to_owned();
    vec![
        at_stake(
            claim("data-db-0"),
            ClaimFate::Deleted,
            set("db"),
            format!("{when} Delete"),
            ("pv-0", "10Gi", "Delete"),
        ),
        at_stake(claim("media"), ClaimFate::Replaced, claim("media"), replaced, ("pv-1", "", "Retain")),
        at_stake(
            claim("data-cache-0"),
            ClaimFate::Kept,
            set("cache"),
            format!("{when} Retain"),
            ("pv-2", "1Gi", "Delete"),
        ),
    ]
}

/// A replacement in two steps.
fn replaced() -> Report {
    let mut change = example().objects[1].clone();
    change.action = Action::Replace;
    change.note =
        "spec.selector cannot change in place; it ends first, then it is made again: its finalizer a/b has to \
                   be taken away"
            .into();
    Report { objects: vec![change], ..Report::default() }
}

#[test]
fn a_replacement_says_why_and_how() {
    insta::assert_snapshot!(plain(&report(&replaced(), Format::Text)));
    insta::assert_snapshot!(report(&replaced(), Format::Json));
    insta::assert_snapshot!(report(&replaced(), Format::Markdown));
}

fn looked_ahead() -> Report {
    use crate::api::plan::{Consequences, HostVerdict, Loss, PodAction, PodStep, Problem, Pull, Verdict, Workload};
    let mut report = example();
    let host = |host: &str, score, reasons: &[&str]| HostVerdict {
        host: host.into(),
        score,
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
    };
    let verdict = Verdict {
        feasible: 2,
        message: String::new(),
        hosts: vec![host("h1", Some(691), &[]), host("h2", Some(687), &[]), host("h3", None, &["Insufficient cpu"])],
    };
    let none = Verdict { feasible: 0, message: "0/3 nodes are available: 3 Insufficient cpu.".into(), hosts: vec![] };
    let step = |action, pod: &str, host: &str, ready, verdict| PodStep {
        action,
        pod: pod.into(),
        host: host.into(),
        at: 0.0,
        ready,
        verdict,
    };
    let web = report.objects[1].id.clone();
    report.foresee(Consequences {
        settled: false,
        cut_short: String::new(),
        seconds: 3.5,
        workloads: vec![Workload {
            id: web.clone(),
            replaced: 1,
            restarted: 0,
            created: 1,
            deleted: 0,
            steps: vec![
                step(PodAction::Create, "web-6d4c-*", "h1", true, Some(verdict)),
                step(PodAction::Create, "web-6d4c-*", "", false, Some(none)),
                step(PodAction::Delete, "web-5b7f-x2kqp", "h2", true, None),
            ],
        }],
        pulls: vec![Pull { image: "a:2".into(), hosts: vec!["h1".into()] }],
        problems: vec![Problem {
            object: web.clone(),
            reason: "Unschedulable".into(),
            message: "0/3 nodes are available:\n3 Insufficient cpu.".into(),
            pods: 1,
        }],
        losses: vec![Loss { object: web, pods: 2, volumes: vec!["emptyDir cache".into()] }],
        claims: claims(),
        assumptions: vec!["probes pass".into()],
        hosts: vec![],
    });
    report
}

#[test]
fn consequences_as_text() {
    let styled = report(&looked_ahead(), Format::Text);
    insta::assert_snapshot!(coloured(&styled));
    let text = plain(&styled);
    let (_, consequences) = text.split_once("Warning: sub:").unwrap();
    let (_, consequences) = consequences.split_once('\n').unwrap();
    assert_eq!(
        consequences,
        "\
Pods, in order:
  Deployment shop/web: 1 replaced, 1 created
    + web-6d4c-*      h1       score 691; h2 687; not h3: Insufficient cpu
    + web-6d4c-*      no host  0/3 nodes are available: 3 Insufficient cpu.
    - web-5b7f-x2kqp  h2
Images to pull:
  a:2  on h1
Goes with what is deleted:
  - Deployment shop/web  2 running pods, emptyDir cache
Data at stake:
  - PersistentVolumeClaim shop/data-db-0  10Gi deleted (volume pv-0, reclaim policy Delete): StatefulSet shop/db: persistentVolumeClaimRetentionPolicy.whenDeleted is Delete
  -/+ PersistentVolumeClaim shop/media  its data kept in the volume, without the claim (volume pv-1, reclaim policy Retain): spec.storageClassName cannot change in place
  = PersistentVolumeClaim shop/data-cache-0  1Gi kept (volume pv-2, reclaim policy Delete): StatefulSet shop/cache: persistentVolumeClaimRetentionPolicy.whenDeleted is Retain
Problems:
  ! Deployment shop/web  1 pod: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.
Assumed:
  probes pass
Plan: 1 to add, 3 to change, 1 to delete; 1 pod to restart.
"
    );
}

#[test]
fn what_is_not_known_is_said_to_be_so() {
    let mut cut = looked_ahead();
    let mut found = cut.consequences.take().unwrap();
    found.cut_short = "looking ahead took longer than 30 s".into();
    cut.foresee(found.clone());
    let text = plain(&report(&cut, Format::Text));
    let said = "Not known to the end: looking ahead took longer than 30 s; more pods may come, go and restart";
    assert!(text.contains(said), "{text}");
    assert!(text.ends_with("1 to delete; at least 1 pod to restart.\n"), "{text}");
    assert!(text.contains("restarts at least 1 pod"), "{text}");
    let comment = report(&cut, Format::Markdown);
    assert!(
        comment.contains("at least 1 pod to restart.\n\n> [!WARNING]\n> Not known to the end: looking"),
        "{comment}"
    );
    let json: Value = serde_json::from_str(&report(&cut, Format::Json)).unwrap();
    assert_eq!((&json["totals"]["restarts"], &json["totals"]["partial"]), (&json!(1), &json!(true)));
    assert_eq!(json["consequences"]["cutShort"], "looking ahead took longer than 30 s");

    found.workloads.clear();
    found.problems.clear();
    cut.foresee(found);
    let text = plain(&report(&cut, Format::Text));
    assert!(text.ends_with("1 to delete; how many pods restart is not known.\n"), "{text}");
    let comment = report(&cut, Format::Markdown);
    assert!(comment.contains("> Not known to the end"), "without problems too: {comment}");
}

#[test]
fn consequences_for_programs_and_for_a_comment() {
    let found: Value = serde_json::from_str(&report(&looked_ahead(), Format::Json)).unwrap();
    assert_eq!((&found["totals"]["restarts"], &found["schema"]), (&json!(1), &json!("selkie.dev/plan/v1")));
    assert_eq!(found["consequences"]["workloads"][0]["steps"][0]["verdict"]["hosts"][0]["score"], 691);
    insta::assert_snapshot!(report(&looked_ahead(), Format::Json));
    let comment = report(&looked_ahead(), Format::Markdown);
    assert!(comment.starts_with("### selkie plan\n\n**Plan:** 1 to add"), "{comment}");
    assert!(comment.contains("> Deployment shop/web: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."));
    assert!(comment.contains("\n+   Namespace shop") && comment.contains("\n!   Deployment shop/web"), "{comment}");
    assert!(!comment.contains("s3cret"));
}
