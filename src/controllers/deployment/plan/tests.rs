//! Views of a Deployment and the step each leads to.
#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::{Value, from_value, json};

fn now() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().unwrap()
}

fn deployment(extra: Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 4, "annotations": {"team": "a"}},
        "spec": {
            "replicas": 4,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "new"}]}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        },
    });
    json_patch::merge(&mut value, &extra);
    from_value(value).unwrap()
}

/// A set of an image with wanted and available pods, scaled when the Deployment had `desired`.
fn set(image: &str, revision: i64, wanted: i32, available: i32, desired: i32) -> Arc<ReplicaSet> {
    Arc::new(
        from_value(json!({
            "metadata": {
                "name": format!("web-{image}"), "uid": image, "generation": 1,
                "creationTimestamp": format!("2024-01-01T0{revision}:00:00Z"),
                "annotations": {sets::REVISION: revision.to_string(), sets::DESIRED: desired.to_string(), sets::MAXIMUM: (desired + 1).to_string(), "team": "a"},
            },
            "spec": {
                "replicas": wanted,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": image}}, "spec": {"containers": [{"name": "c", "image": image}]}},
            },
            "status": {"replicas": wanted, "readyReplicas": available, "availableReplicas": available, "observedGeneration": 1},
        }))
        .unwrap(),
    )
}

fn decide(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Plan {
    plan(&Observed { deployment, sets, running: &|_| 0, now: now() }).unwrap()
}

/// Names and sizes of what is scaled.
fn scaled(plan: &Plan) -> Vec<(&str, i32)> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Scale { set, to, .. } => Some((sets::name(set), *to)),
            _ => None,
        })
        .collect()
}

fn condition<'a>(plan: &'a Plan, kind: &str) -> (&'a str, &'a str, &'a str) {
    let condition = plan.status.conditions.iter().flatten().find(|condition| condition.type_ == kind).unwrap();
    (&condition.status, condition.reason.as_deref().unwrap(), condition.message.as_deref().unwrap_or_default())
}

#[test]
fn the_first_set_is_made_at_full_size() {
    let plan = decide(&deployment(json!({})), &[]);
    let [Action::Create(set)] = &plan.actions[..] else { panic!("{plan:?}") };
    let hash = &set.metadata.labels.as_ref().unwrap()[template::HASH_LABEL];
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    assert_eq!(sets::wanted(set), 4);
    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()[template::HASH_LABEL], *hash);
    let annotations = set.metadata.annotations.as_ref().unwrap();
    assert_eq!((&*annotations["team"], &*annotations[sets::REVISION], &*annotations[sets::MAXIMUM]), ("a", "1", "5"));
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(condition(&plan, "Progressing").1, "NewReplicaSetCreated");
    assert_eq!(
        condition(&plan, "Available"),
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    );
    assert_eq!((plan.status.observed_generation, plan.status.unavailable_replicas), (Some(4), None));
}

#[test]
fn the_pass_after_a_set_was_made_has_nothing_to_say() {
    let mut deployment = deployment(json!({}));
    let Plan { actions, mut status, revision, .. } = decide(&deployment, &[set("old", 1, 4, 4, 4)]);
    let [Action::Create(made)] = &actions[..] else { panic!("{actions:?}") };
    note_made(&mut status, sets::wanted(made));
    assert_eq!(status.unavailable_replicas, Some(1));
    // The annotation with the revision counts as a generation.
    (deployment.metadata.generation, status.observed_generation) = (Some(5), Some(5));
    deployment.metadata.annotations.get_or_insert_default().extend(revision.map(|it| (sets::REVISION.into(), it)));
    deployment.status = Some(status.clone());
    let mut made = ReplicaSet::clone(made);
    (made.metadata.generation, made.metadata.uid) = (Some(1), Some("new".into()));
    let next = decide(&deployment, &[set("old", 1, 4, 4, 4), Arc::new(made)]);
    assert_eq!((next.actions.as_slice(), next.revision, next.status), (&[][..], None, status));
}

#[test]
fn counts_alone_are_on_the_way() {
    let status = |value: serde_json::Value| serde_json::from_value::<DeploymentStatus>(value).unwrap();
    let before = status(json!({"replicas": 1, "conditions": [{"type": "Progressing", "status": "True"}]}));
    let further = status(json!({"replicas": 2, "readyReplicas": 1, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        {"type": "Available", "status": "False"},
    ]}));
    let late = status(json!({"replicas": 2, "conditions": [{"type": "Progressing", "status": "False"}]}));
    let failed = status(json!({"replicas": 2, "conditions": [
        {"type": "Progressing", "status": "True"},
        {"type": "ReplicaFailure", "status": "True"},
    ]}));
    assert!(is_on_the_way(Some(&before), &further) && is_on_the_way(None, &before));
    assert!(!is_on_the_way(Some(&before), &before) && !is_on_the_way(None, &DeploymentStatus::default()));
    assert!(!is_on_the_way(Some(&before), &late) && !is_on_the_way(Some(&late), &before));
    assert!(!is_on_the_way(Some(&before), &failed));
    let collided = DeploymentStatus { collision_count: Some(1), ..further };
    assert!(!is_on_the_way(Some(&before), &collided), "the next name depends on it");
}

#[test]
fn a_new_template_starts_with_the_surge_only() {
    let plan = decide(&deployment(json!({})), &[set("old", 1, 4, 4, 4)]);
    let [Action::Create(new)] = &plan.actions[..] else { panic!("{plan:?}") };
    assert_eq!((sets::wanted(new), plan.revision.as_deref()), (1, Some("2")));
}

#[test]
fn old_pods_go_as_new_ones_become_available() {
    let up = decide(&deployment(json!({})), &[set("old", 1, 3, 3, 4), set("new", 2, 1, 1, 4)]);
    assert_eq!(scaled(&up), [("web-new", 2)]);
    let down = decide(&deployment(json!({})), &[set("old", 1, 3, 3, 4), set("new", 2, 2, 2, 4)]);
    assert_eq!(scaled(&down), [("web-old", 1)]);
    // Pods that never became available go first, even of a newer old set.
    let sick =
        decide(&deployment(json!({})), &[set("old", 1, 3, 3, 4), set("sick", 2, 1, 0, 4), set("new", 3, 1, 0, 4)]);
    assert_eq!(scaled(&sick), [("web-sick", 0)]);
}

#[test]
fn a_set_that_has_not_reported_yet_is_not_counted_on() {
    // Scaled from 3 to 2 but still reporting 3: only the 2 that stay may count.
    let mut old = set("old", 1, 3, 3, 4);
    Arc::make_mut(&mut old).spec.as_mut().unwrap().replicas = Some(2);
    let plan = decide(&deployment(json!({})), &[old, set("new", 2, 2, 2, 4)]);
    assert_eq!(scaled(&plan), [("web-old", 1)]);
}

#[test]
fn completion_is_told_and_history_cut() {
    let sets = [set("a", 1, 0, 0, 4), set("b", 2, 0, 0, 4), set("new", 3, 4, 4, 4)];
    let plan = decide(
        &deployment(
            json!({"status": {"conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": "2024-01-01T11:00:00Z"}]}}),
        ),
        &sets,
    );
    assert_eq!(plan.actions, [Action::Delete(sets[0].clone())]);
    assert_eq!(
        condition(&plan, "Progressing"),
        ("True", "NewReplicaSetAvailable", "ReplicaSet \"web-new\" has successfully progressed.")
    );
    assert_eq!((plan.revision.as_deref(), plan.again), (Some("3"), None));
}

#[test]
fn a_rollout_without_progress_times_out() {
    let stuck = |since: &str| {
        deployment(json!({"status": {"replicas": 5, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": since}]}}))
    };
    let sets = [set("old", 1, 3, 3, 4), set("new", 2, 2, 0, 4)];
    let waiting = decide(&stuck("2024-01-01T11:55:00Z"), &sets);
    assert_eq!(condition(&waiting, "Progressing").1, "ReplicaSetUpdated");
    assert_eq!(waiting.again, Some(SignedDuration::from_secs(301)));
    let late = decide(&stuck("2024-01-01T11:49:00Z"), &sets);
    assert_eq!(
        condition(&late, "Progressing"),
        ("False", "ProgressDeadlineExceeded", "ReplicaSet \"web-new\" has timed out progressing.")
    );
    assert!(late.actions.is_empty());
}

#[test]
fn a_rollback_brings_the_old_set_a_new_revision() {
    let plan = decide(&deployment(json!({})), &[set("new", 1, 0, 0, 4), set("other", 2, 4, 4, 4)]);
    let Some(Action::Scale { annotations, to, .. }) = plan.actions.first() else { panic!("{plan:?}") };
    assert_eq!((*to, &*annotations[sets::REVISION], &*annotations[sets::HISTORY]), (1, "3", "1"));
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[test]
fn paused_deployments_scale_but_do_not_roll() {
    let paused = deployment(json!({"spec": {"paused": true}}));
    let plan = decide(&paused, &[set("old", 1, 2, 2, 2)]);
    assert_eq!(scaled(&plan), [("web-old", 4)]);
    assert_eq!(condition(&plan, "Progressing"), ("Unknown", "DeploymentPaused", "Deployment is paused"));
    let resumed = deployment(
        json!({"status": {"replicas": 5, "updatedReplicas": 1, "readyReplicas": 4, "availableReplicas": 4, "conditions": [{"type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused", "lastUpdateTime": "2024-01-01T11:59:00Z"}]}}),
    );
    let plan = decide(&resumed, &[set("old", 1, 4, 4, 4), set("new", 2, 1, 0, 4)]);
    assert_eq!(condition(&plan, "Progressing").1, "DeploymentResumed");
}

#[test]
fn scaling_in_a_rollout_is_proportional() {
    // 10 -> 20 with 12 pods in all: 8 and 4 grow by the same factor.
    let scaling = deployment(json!({"spec": {"replicas": 20}}));
    let plan = decide(&scaling, &[set("old", 1, 7, 7, 10), set("new", 2, 4, 4, 10)]);
    let mut sizes = scaled(&plan);
    sizes.sort();
    assert_eq!(sizes, [("web-new", 8), ("web-old", 13)]);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let recreate = deployment(json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}));
    assert_eq!(scaled(&decide(&recreate, &[set("old", 1, 4, 4, 4)])), [("web-old", 0)]);
    let gone = set("old", 1, 0, 0, 4);
    let waiting =
        plan(&Observed { deployment: &recreate, sets: std::slice::from_ref(&gone), running: &|_| 1, now: now() })
            .unwrap();
    assert_eq!(waiting.actions, []);
    let plan = decide(&recreate, &[gone]);
    let [Action::Create(new)] = &plan.actions[..] else { panic!("{plan:?}") };
    assert_eq!(sets::wanted(new), 4);
}

#[test]
fn a_deployment_on_its_way_out_only_reports() {
    let leaving = deployment(json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}}));
    let plan = decide(&leaving, &[set("old", 1, 4, 3, 4)]);
    assert_eq!((plan.actions, plan.status.ready_replicas), (vec![], Some(3)));
}
