//! When containers start again.

use super::*;

fn starts(plan: &Plan) -> Vec<(String, u32)> {
    let start = |action: &Action| match action {
        Action::Start { container, attempt, .. } => Some((container.clone(), *attempt)),
        _ => None,
    };
    plan.actions.iter().filter_map(start).collect()
}

#[test]
fn a_crash_loop_backs_off_and_forgets_after_ten_minutes() {
    let mut world = World::new(web());
    world.step();
    world.step();
    let mut waits = Vec::new();
    for _ in 0..7 {
        world.exit("web", 1);
        let plan = world.step();
        let until = plan.wake.unwrap_or(at(world.now));
        let wait = until.duration_since(at(world.now)).as_secs();
        if wait > 0 {
            let (reason, message) = &plan.waiting["web"];
            assert_eq!(*reason, "CrashLoopBackOff");
            assert!(
                message.starts_with("back-off ") && message.ends_with(" restarting failed container=web pod=p_ns(u)")
            );
            world.now += wait;
            world.step();
        }
        waits.push(wait);
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300]);
    assert_eq!(world.containers.iter().map(|c| c.identity.restart_count).max(), Some(7));
    world.now += 700;
    world.exit("web", 1);
    assert!(matches!(&world.step().actions[0], Action::Start { attempt: 8, streak: 1, .. }));
}

#[test]
fn restart_policies() {
    let check = |policy: &str, code: i32, again: bool| {
        let mut world = World::new(json!({"restartPolicy": policy, "containers": [{"name": "web", "image": "w"}]}));
        world.step();
        world.step();
        world.exit("web", code);
        let starts = world.plan().actions.iter().any(|a| matches!(a, Action::Start { .. }));
        assert_eq!(starts, again, "{policy} {code}");
    };
    check("Always", 0, true);
    check("OnFailure", 0, false);
    check("OnFailure", 1, true);
    check("Never", 1, false);
}

#[test]
fn a_container_has_a_policy_of_its_own() {
    let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let mut world = World::new(json!({"restartPolicy": "Always", "containers": [
        {"name": "once", "image": "i", "restartPolicy": "Never"},
        {"name": "ruled", "image": "i", "restartPolicy": "Never", "restartPolicyRules": rules},
        {"name": "web", "image": "i"}]}));
    world.step();
    world.step();
    for (name, code) in [("once", 1), ("ruled", 42), ("web", 0)] {
        world.exit(name, code);
    }
    assert_eq!(starts(&world.step()), [("ruled".to_owned(), 1), ("web".to_owned(), 1)]);
    world.exit("ruled", 1);
    assert_eq!(world.step(), Plan::default());
}

#[test]
fn all_containers_start_again_from_the_beginning() {
    let rules = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]);
    let mut world = World::new(json!({"restartPolicy": "Never", "initContainers": [{"name": "prepare", "image": "i"}],
        "containers": [{"name": "a", "image": "i", "restartPolicy": "Never", "restartPolicyRules": rules},
            {"name": "b", "image": "i"}]}));
    let pass = |world: &mut World| {
        world.exit("prepare", 0);
        world.now += 1;
        world.step()
    };
    world.step();
    assert_eq!(starts(&world.step()), [("prepare".to_owned(), 0)]);
    assert_eq!(starts(&pass(&mut world)), [("a".to_owned(), 0), ("b".to_owned(), 0)]);
    for (attempt, wait) in [(1, 0), (2, 10)] {
        world.now += 1;
        world.exit("a", 42);
        let plan = world.step();
        let [Action::Stop { container, grace: 0, again: true, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(container, "b");
        assert_eq!(starts(&world.step()), [("prepare".to_owned(), attempt)]);
        let plan = pass(&mut world);
        if wait > 0 {
            assert_eq!(starts(&plan), [("b".to_owned(), attempt)]);
            assert_eq!(plan.waiting["a"].0, "CrashLoopBackOff");
            world.now += wait;
            assert_eq!(starts(&world.step()), [("a".to_owned(), attempt)]);
        } else {
            assert_eq!(starts(&plan), [("a".to_owned(), attempt), ("b".to_owned(), attempt)]);
        }
        assert!(world.step().actions.iter().all(|action| matches!(action, Action::Remove { .. })));
        assert_eq!(world.step(), Plan::default());
    }
    world.now += 1;
    world.exit("a", 1);
    assert_eq!(world.step(), Plan::default(), "the others run on");
}
