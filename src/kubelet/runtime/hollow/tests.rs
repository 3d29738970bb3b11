//! Lives on a simulated host, under a paused clock.
#![allow(clippy::unwrap_used)]

use super::*;

const PATIENCE: Duration = Duration::from_secs(3600);

fn host() -> Hollow {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let options = HollowOptions::named("h1", Clock::virtual_from(start));
    Hollow::new(HollowOptions { start_latency: Duration::from_millis(200), ..options })
}

async fn run(hollow: &Hollow, image: &str) -> Result<String> {
    let pod = PodIdentity { namespace: "n".into(), name: "p".into(), uid: image.to_owned() };
    let sandbox = hollow.ensure_sandbox(&SandboxSpec { pod: pod.clone(), ..SandboxSpec::default() }).await?;
    hollow.pull(image, None, None).await?;
    let identity = ContainerIdentity { pod, container: "main".into(), ..ContainerIdentity::default() };
    let spec = ContainerSpec { identity, image: image.into(), ..ContainerSpec::default() };
    let id = hollow.create_container(&sandbox.id, &spec).await?;
    hollow.start(&id).await?;
    Ok(id)
}

#[tokio::test(start_paused = true)]
async fn containers_end_as_their_image_says() {
    let hollow = host();
    for (image, code, seconds) in [("hollow/exit-3", 3, 0), ("hollow/crash", 1, 0), ("hollow/run-90", 0, 90)] {
        let id = run(&hollow, image).await.unwrap();
        let exit = timeout(PATIENCE, hollow.wait(&id)).await.unwrap().unwrap();
        assert_eq!((exit.code, exit.oom_killed), (code, false), "{image}");
        assert_eq!(exit.finished.duration_since(exit.started.unwrap()).as_secs(), seconds, "{image}");
    }
    let id = run(&hollow, "hollow/oom").await.unwrap();
    assert!(timeout(PATIENCE, hollow.wait(&id)).await.unwrap().unwrap().oom_killed);
    let id = run(&hollow, "nginx").await.unwrap();
    assert!(timeout(PATIENCE, hollow.wait(&id)).await.is_err(), "runs for ever");
    hollow.crash(&id, 4);
    assert_eq!(hollow.wait(&id).await.unwrap().code, 4);
}

#[tokio::test(start_paused = true)]
async fn stopping_takes_as_long_as_it_takes() {
    let hollow = host();
    let id = run(&hollow, "nginx").await.unwrap();
    assert_eq!(hollow.stop(&id, Duration::from_secs(30)).await.unwrap().code, 0);
    let id = run(&hollow, "hollow/stubborn").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(hollow.stop(&id, Duration::from_secs(30)).await.unwrap().code, KILLED);
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn failures_are_of_the_real_kinds() {
    let hollow = host();
    let reason = |error| match error {
        RuntimeError::PullFailed { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(run(&hollow, "hollow/missing").await.unwrap_err()), PullFailure::NotFound);
    assert_eq!(reason(run(&hollow, "hollow/private").await.unwrap_err()), PullFailure::Auth);
    assert!(matches!(run(&hollow, "hollow/no-start").await, Err(RuntimeError::Invalid { .. })));
    let port = PortMapping { host_ip: None, host_port: 80, container_port: 80, protocol: Protocol::Tcp };
    let mut spec = SandboxSpec { ports: vec![port], ..SandboxSpec::default() };
    spec.pod.uid = "a".into();
    let first = hollow.ensure_sandbox(&spec).await.unwrap();
    spec.pod.uid = "b".into();
    assert!(matches!(hollow.ensure_sandbox(&spec).await, Err(RuntimeError::PortInUse { .. })));
    hollow.remove_sandbox(&first.id).await.unwrap();
    hollow.ensure_sandbox(&spec).await.unwrap();
}

#[tokio::test]
async fn a_host_port_is_taken_on_an_address_and_of_a_protocol() {
    let hollow = host();
    let mut taken = 0;
    for (address, protocol, free) in [
        ("127.0.0.1", Protocol::Tcp, true),
        ("127.0.0.2", Protocol::Tcp, true),
        ("127.0.0.2", Protocol::Udp, true),
        ("127.0.0.2", Protocol::Tcp, false),
        ("0.0.0.0", Protocol::Tcp, false),
        ("0.0.0.0", Protocol::Sctp, true),
        ("127.0.0.1", Protocol::Sctp, false),
    ] {
        taken += 1;
        let port = PortMapping { host_ip: address.parse().ok(), host_port: 80, container_port: 80, protocol };
        let mut spec = SandboxSpec { ports: vec![port], ..SandboxSpec::default() };
        spec.pod.uid = taken.to_string();
        assert_eq!(hollow.ensure_sandbox(&spec).await.is_ok(), free, "{address} {protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_and_listings_agree() {
    let hollow = host();
    let mut events = hollow.events().await.unwrap();
    let id = run(&hollow, "hollow/exit-2").await.unwrap();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&EventKind::Died { exit_code: 2 }) {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        if event.container.is_some() {
            assert_eq!(event.id, id);
            kinds.push(event.kind);
        }
    }
    assert_eq!(kinds[..2], [EventKind::Created, EventKind::Started]);
    let listing = hollow.list_pod("hollow/exit-2").await.unwrap();
    assert_eq!((listing.sandboxes.len(), listing.containers.len()), (1, 1));
    assert!(matches!(listing.containers[0].state, ContainerState::Exited(_)));
    hollow.remove_sandbox(&listing.sandboxes[0].id).await.unwrap();
    assert!(hollow.list().await.unwrap().containers.is_empty());
    assert!(hollow.inspect(&id).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn no_two_pods_have_one_address() {
    let options = HollowOptions::named("h", Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap()));
    let hosts = [0, 1].map(|number| Hollow::new(options.clone().numbered(number)));
    let pod = |name: String| {
        let pod = PodIdentity { namespace: "n".into(), name: name.clone(), uid: name };
        SandboxSpec { pod, ..SandboxSpec::default() }
    };
    let mut seen = std::collections::BTreeSet::new();
    for (number, host) in hosts.iter().enumerate() {
        for index in 0..1022 {
            let sandbox = host.ensure_sandbox(&pod(format!("{number}-{index}"))).await.unwrap();
            assert!(seen.insert(sandbox.ips[0]), "{:?} again", sandbox.ips);
        }
    }
    let full = hosts[0].ensure_sandbox(&pod("more".into())).await.unwrap_err();
    assert!(matches!(full, RuntimeError::InUse { .. }), "{full}");
    let first = hosts[0].ensure_sandbox(&pod("0-7".into())).await.unwrap();
    hosts[0].remove_sandbox(&first.id).await.unwrap();
    assert_eq!(hosts[0].ensure_sandbox(&pod("more".into())).await.unwrap().ips, first.ips);
}
