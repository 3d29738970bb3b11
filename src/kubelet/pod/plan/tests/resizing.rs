//! Containers whose pod was allocated other resources.

use super::*;
use crate::kubelet::resize::{Progress, actuation};

/// Allocates `memory` to the container `web`.
fn allocate(world: &mut World, memory: &str) {
    let resources = json!({"requests": {"memory": memory}, "limits": {"memory": memory}});
    world.pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(resources).unwrap();
    let told = json!({"conditions": [
        {"type": "PodResizeInProgress", "status": "True", "observedGeneration": 2}]});
    world.pod.status = serde_json::from_value(told).unwrap();
    let progress = Some(Progress { generation: 2, error: None });
    world.resize = Some(Standing { progress, ..Standing::default() });
}

fn resizable(policy: &str) -> World {
    let policy = json!([{"resourceName": "memory", "restartPolicy": policy}]);
    let container = json!({"name": "web", "image": "w", "resizePolicy": policy});
    let mut world = World::new(json!({"containers": [container], "restartPolicy": "OnFailure"}));
    allocate(&mut world, "1Gi");
    world.step();
    world.step();
    assert!(world.plan().actions.is_empty(), "{:?}", world.plan());
    world
}

fn is_in_progress(world: &World) -> bool {
    let view = View {
        pod: &world.pod,
        sandbox: None,
        containers: &world.containers,
        facts: &world.facts,
        refused: None,
        resize: world.resize.as_ref(),
        busy: &world.busy,
        sandbox_busy: false,
        now: at(world.now),
    };
    actuation::is_in_progress(&view, world.resize.as_ref().unwrap())
}

#[test]
fn a_resized_container_is_given_what_was_allocated() {
    let mut world = resizable("NotRequired");
    assert!(!is_in_progress(&world));
    allocate(&mut world, "2Gi");
    assert!(is_in_progress(&world));
    assert!(matches!(&world.step().actions[..], [Action::Resize { container, .. }] if container == "web"));
    assert!(world.plan().actions.is_empty() && !is_in_progress(&world));
    world.busy.insert("web".into());
    assert!(is_in_progress(&world), "what is under way may undo it");
}

#[test]
fn nothing_is_done_before_it_is_told() {
    for policy in ["NotRequired", "RestartContainer"] {
        let mut world = resizable(policy);
        allocate(&mut world, "2Gi");
        let told = world.pod.status.take();
        assert!(world.plan().actions.is_empty() && is_in_progress(&world));
        world.pod.status = told;
        world.resize.as_mut().unwrap().progress.as_mut().unwrap().generation = 3;
        assert!(world.plan().actions.is_empty(), "that was another one");
    }
}

#[test]
fn a_resize_that_failed_waits_unless_another_is_asked_for() {
    let mut world = resizable("NotRequired");
    allocate(&mut world, "512Mi");
    let wanted = actuation::wanted(&world.pod.spec.as_ref().unwrap().containers[0]);
    let trouble = Trouble::after(None, "ResizeError", "in use".into(), &wanted, at(world.now), QUICK);
    let retry_at = trouble.retry_at;
    world.facts.container_mut("web").resize = Some(trouble.into());
    let plan = world.plan();
    assert_eq!((plan.actions.len(), plan.wake), (0, Some(retry_at)));
    assert!(is_in_progress(&world));
    world.now += 60;
    assert!(matches!(&world.plan().actions[..], [Action::Resize { .. }]));
    world.now -= 60;
    allocate(&mut world, "768Mi");
    assert!(matches!(&world.plan().actions[..], [Action::Resize { .. }]));
}

#[test]
fn a_container_is_started_again_for_a_resize_whatever_it_ends_with() {
    let mut world = resizable("RestartContainer");
    allocate(&mut world, "2Gi");
    let plan = world.plan();
    let Action::Stop { message, id, again: true, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(message, "Container web resize requires restart");
    world.facts.container_mut("web").reborn = Some(id.clone());
    world.exit("web", 0);
    assert!(is_in_progress(&world), "between two lives");
    assert!(matches!(&world.step().actions[..], [Action::Start { attempt: 1, streak: 0, .. }]));
    assert!(world.plan().actions.is_empty() && !is_in_progress(&world));
    world.exit("web", 0);
    assert!(world.plan().actions.is_empty(), "it ended by itself: OnFailure holds again");
}

#[test]
fn a_container_whose_stop_failed_does_not_start_again_for_a_resize_that_was_taken_back() {
    let mut world = resizable("RestartContainer");
    allocate(&mut world, "2Gi");
    let plan = world.plan();
    let Action::Stop { id, again: true, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    world.facts.container_mut("web").reborn = Some(id.clone());
    allocate(&mut world, "1Gi");
    assert!(!is_in_progress(&world));
    world.facts.forget_resize();
    world.exit("web", 0);
    assert!(world.plan().actions.is_empty(), "it ended by itself");
}

#[test]
fn a_pod_is_given_what_was_allocated_to_it_as_a_whole() {
    let mut world = World::new(json!({"containers": [{"name": "web", "image": "w"}],
        "resources": {"limits": {"memory": "1Gi"}}}));
    world.step();
    world.step();
    world.act(&Action::ResizeWhole);
    world.resize = Some(Standing { progress: Some(Progress { generation: 2, error: None }), ..Standing::default() });
    let told = json!({"conditions": [{"type": "PodResizeInProgress", "status": "True", "observedGeneration": 2}]});
    let allocate = |world: &mut World, memory: &str| {
        let resources = json!({"limits": {"memory": memory}});
        world.pod.spec.as_mut().unwrap().resources = serde_json::from_value(resources).unwrap();
    };
    allocate(&mut world, "2Gi");
    assert!(world.plan().actions.is_empty(), "it is told before");
    world.pod.status = serde_json::from_value(told).unwrap();
    assert_eq!(world.plan().actions, [Action::ResizeWhole]);
    let wanted = actuation::wanted_whole(world.pod.spec.as_ref().unwrap());
    let trouble = Trouble::after(None, "ResizeError", "in use".into(), &wanted, at(world.now), QUICK);
    let retry_at = trouble.retry_at;
    world.facts.whole_trouble = Some(trouble.into());
    assert_eq!((world.plan().actions.len(), world.plan().wake), (0, Some(retry_at)));
    allocate(&mut world, "3Gi");
    assert_eq!(world.step().actions, [Action::ResizeWhole]);
    assert!(world.plan().actions.is_empty());
}
