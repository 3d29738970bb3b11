//! The Podman runtime against a real Podman: what a kubelet relies on.

#[path = "podman/registry.rs"]
mod registry;
#[path = "podman/streams.rs"]
mod streams;

use crate::rig::{Rig, container, pod, sandbox};
use crate::wait::{self, Pace};
use bytes::Bytes;
use futures::StreamExt;
use selkie::kubelet::runtime::{
    podman::{Podman, http},
    *,
};
use serde_json::json;
use std::{net::TcpListener, time::Duration};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a container in a new pod and returns the pod's sandbox and the container's id.
async fn run(podman: &Podman, name: &str, script: &str) -> (Sandbox, String) {
    let pod = pod(name);
    run_spec(podman, &container(&pod, "main", script)).await
}

async fn run_spec(podman: &Podman, spec: &ContainerSpec) -> (Sandbox, String) {
    let sandbox = podman.ensure_sandbox(&sandbox(&spec.identity.pod)).await.unwrap();
    let id = podman.create_container(&sandbox.id, spec).await.unwrap();
    podman.start(&id).await.unwrap();
    (sandbox, id)
}

async fn log(podman: &Podman, id: &str, options: LogOptions) -> String {
    let lines = podman.logs(id, &options).await.unwrap();
    let lines: Vec<Bytes> = lines.map(|line| line.unwrap().bytes).collect().await;
    String::from_utf8(lines.concat()).unwrap()
}

#[tokio::test]
async fn the_host_describes_itself() {
    let rig = Rig::shared().await;
    let info = rig.podman("info").await.info().await.unwrap();
    assert!(info.runtime_version.starts_with("podman://"), "{info:?}");
    assert!(info.cpus > 0 && info.memory > 1 << 28 && info.local && !info.boot_id.is_empty(), "{info:?}");
}

#[tokio::test]
async fn a_container_lives_and_ends() {
    let rig = Rig::shared().await;
    let podman = rig.podman("life").await;
    let pod = pod("life");
    let made = podman.ensure_sandbox(&sandbox(&pod)).await.unwrap();
    assert!(made.ready && made.ips.len() == 1 && made.pod == pod, "{made:?}");
    let again = podman.ensure_sandbox(&sandbox(&pod)).await.unwrap();
    assert_eq!((&again.id, &again.ips), (&made.id, &made.ips), "asking twice makes one");

    let spec = container(&pod, "main", "hostname; echo $GREETING; sleep 0.3; exit 7");
    let spec = ContainerSpec { env: vec![("GREETING".into(), "hello".into())], ..spec };
    let id = podman.create_container(&made.id, &spec).await.unwrap();
    let twice = podman.create_container(&made.id, &spec).await.unwrap_err();
    assert!(matches!(twice, RuntimeError::AlreadyExists { .. }), "{twice:?}");
    assert_eq!(podman.inspect(&id).await.unwrap().state, ContainerState::Created);
    podman.start(&id).await.unwrap();
    let running = podman.inspect(&id).await.unwrap();
    assert!(matches!(running.state, ContainerState::Running { pid, .. } if pid > 0), "{running:?}");
    assert_eq!((&running.identity, &running.sandbox), (&spec.identity, &made.id));
    podman.start(&id).await.unwrap();

    let exit = timeout(PATIENCE, podman.wait(&id)).await.unwrap().unwrap();
    assert_eq!((exit.code, exit.oom_killed), (7, false));
    assert!(exit.started.unwrap() < exit.finished);
    assert_eq!(log(&podman, &id, LogOptions::default()).await, "life\nhello\n");
    podman.remove(&id).await.unwrap();
    podman.remove(&id).await.unwrap();
    assert!(podman.inspect(&id).await.unwrap_err().is_not_found());
    podman.remove_sandbox(&made.id).await.unwrap();
    podman.remove_sandbox(&made.id).await.unwrap();
    assert!(podman.list_pod(&pod.uid).await.unwrap().sandboxes.is_empty());
}

#[tokio::test]
async fn stopping_gives_grace() {
    let rig = Rig::shared().await;
    let podman = rig.podman("stop").await;
    let (_, polite) = run(&podman, "polite", "trap 'exit 5' TERM; while :; do sleep 0.05; done").await;
    let (_, stubborn) = run(&podman, "stubborn", "trap '' TERM; while :; do sleep 0.05; done").await;
    let begun = Instant::now();
    assert_eq!(podman.stop(&polite, Duration::from_secs(20)).await.unwrap().code, 5);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(podman.stop(&polite, Duration::from_secs(20)).await.unwrap().code, 5, "stopping twice");
    let begun = Instant::now();
    let killed = podman.stop(&stubborn, Duration::from_secs(1)).await.unwrap();
    assert_eq!((killed.code, killed.oom_killed), (137, false));
    assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn the_kernel_kills_for_want_of_memory() {
    let rig = Rig::shared().await;
    let podman = rig.podman("oom").await;
    let hungry = "head -c 100m /dev/zero | tail -c 100m | wc -c; exit 137";
    let spec = container(&pod("hungry"), "main", hungry);
    let resources = Resources { memory_limit: Some(16 << 20), cpu_shares: Some(102), ..Resources::default() };
    let (_, id) = run_spec(&podman, &ContainerSpec { resources, ..spec }).await;
    let exit = timeout(PATIENCE, podman.wait(&id)).await.unwrap().unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, true));

    let spec = container(&pod("killed"), "main", "sleep 60");
    let (_, id) = run_spec(&podman, &ContainerSpec { resources, ..spec }).await;
    podman.kill(&id, "SIGKILL").await.unwrap();
    let exit = timeout(PATIENCE, podman.wait(&id)).await.unwrap().unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, false), "killed by hand");
}

#[tokio::test]
async fn logs_in_part_and_as_they_come() {
    let rig = Rig::shared().await;
    let podman = rig.podman("logs").await;
    let (_, id) = run(&podman, "logs", "echo one; echo two >&2; sleep 1.2; echo three; sleep 0.3; echo four").await;
    let mut lines = podman.logs(&id, &LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = timeout(PATIENCE, lines.next()).await.unwrap() {
        seen.push(line.unwrap());
    }
    let text: Vec<&[u8]> = seen.iter().map(|line| line.bytes.as_ref()).collect();
    assert_eq!(text, [&b"one\n"[..], b"two\n", b"three\n", b"four\n"]);
    assert_eq!((seen[0].stream, seen[1].stream), (OutputStream::Stdout, OutputStream::Stderr));
    assert!(seen.is_sorted_by_key(|line| line.time));
    assert!(seen.iter().any(|line| line.time.subsec_nanosecond() % 1_000_000_000 != 0), "finer than seconds");
    let tail = LogOptions { tail: Some(2), ..LogOptions::default() };
    assert_eq!(log(&podman, &id, tail).await, "three\nfour\n");
    let since = LogOptions { since: Some(seen[2].time), ..LogOptions::default() };
    assert_eq!(log(&podman, &id, since).await, "three\nfour\n");
    // A container that has ended does not keep its followers.
    let follow = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
    assert_eq!(timeout(PATIENCE, log(&podman, &id, follow)).await.unwrap(), "four\n");
}

async fn collect(session: &mut ExecSession) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(output) = timeout(PATIENCE, session.output.recv()).await.unwrap() {
        match output {
            ExecOutput::Stdout(bytes) => stdout.extend(bytes),
            ExecOutput::Stderr(bytes) => stderr.extend(bytes),
        }
    }
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn commands_in_containers() {
    let rig = Rig::shared().await;
    let podman = rig.podman("exec").await;
    let (_, id) = run(&podman, "exec", "sleep 600").await;
    let shell = |script: &str| vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];

    let result = podman.exec_sync(&id, &shell("echo out; echo err >&2; exit 3"), PATIENCE).await.unwrap();
    assert_eq!((result.exit_code, &result.stdout[..], &result.stderr[..]), (3, &b"out\n"[..], &b"err\n"[..]));
    let late = podman.exec_sync(&id, &shell("sleep 5"), Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(late, RuntimeError::Timeout { .. }), "{late:?}");
    // Neither what hangs nor what it started stays; nor does a command whose waiter went away.
    let hung = shell("echo begun; sleep 4711; true");
    assert!(podman.exec_sync(&id, &hung, Duration::from_secs(2)).await.is_err());
    assert!(timeout(Duration::from_secs(2), podman.exec_sync(&id, &shell("sleep 4712"), PATIENCE)).await.is_err());
    wait::until("hung commands are gone", Pace::default(), async || {
        let left = podman.exec_sync(&id, &shell("ps | grep -c '[s]leep 471'; true"), PATIENCE).await.unwrap();
        if left.stdout == b"0\n" { Ok(()) } else { Err(String::from_utf8_lossy(&left.stdout).into_owned()) }
    })
    .await;
    let missing = podman.exec_sync(&id, &["nope".to_owned()], PATIENCE).await;
    assert!(
        matches!(&missing, Err(RuntimeError::Invalid { .. }))
            || matches!(&missing, Ok(result) if [126, 127].contains(&result.exit_code)),
        "{missing:?}"
    );

    let options = ExecOptions { command: vec!["cat".into()], stdin: true, stdout: true, ..ExecOptions::default() };
    let mut session = podman.exec(&id, &options).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send(Bytes::from("through and through\n")).await.unwrap();
    drop(stdin);
    assert_eq!(collect(&mut session).await.0, "through and through\n");
    assert_eq!(session.exit.await.unwrap().unwrap(), 0);

    let command = shell("stty size; read line; echo \"got $line\"; stty size; exit 4");
    let options =
        ExecOptions { command, tty: true, stdin: true, stdout: true, size: Some((100, 40)), ..ExecOptions::default() };
    let mut session = podman.exec(&id, &options).await.unwrap();
    let first = timeout(PATIENCE, session.output.recv()).await.unwrap();
    session.resize.as_ref().unwrap().send((90, 30)).await.unwrap();
    session.stdin.as_ref().unwrap().send(Bytes::from("x\n")).await.unwrap();
    let (rest, _) = collect(&mut session).await;
    assert!(rest.contains("got x\r\n"), "{first:?} {rest:?}");
    assert_eq!(session.exit.await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn events_tell_what_happens() {
    let rig = Rig::shared().await;
    let podman = rig.podman("events").await;
    let mut events = podman.events().await.unwrap();
    let other = rig.podman("another").await;
    let (_, foreign) = run(&other, "foreign", "exit 1").await;
    let (made, id) = run(&podman, "events", "exit 9").await;
    let mut kinds = Vec::new();
    let mut next = async || timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    while kinds.last() != Some(&EventKind::Died { exit_code: 9 }) {
        let event = next().await;
        assert_ne!(event.id, foreign, "another cluster's");
        if event.container.is_some() {
            assert_eq!((&event.id, &event.pod), (&id, &made.pod));
            kinds.push(event.kind);
        }
    }
    assert_eq!(kinds, [EventKind::Created, EventKind::Started, EventKind::Died { exit_code: 9 }]);
    podman.remove_sandbox(&made.id).await.unwrap();
    let mut infra_gone = false;
    let mut container_gone = false;
    while !(infra_gone && container_gone) {
        let event = next().await;
        infra_gone |= event.kind == EventKind::Removed && event.container.is_none();
        container_gone |= event.kind == EventKind::Removed && event.id == id;
    }
}

#[tokio::test]
async fn pulls_say_why_they_fail() {
    let rig = Rig::shared().await;
    let podman = rig.podman("pull").await;
    let port = crate::ports::free();
    let reason = async |image: &str| match timeout(PATIENCE, podman.pull(image, None, None)).await.unwrap() {
        Err(RuntimeError::PullFailed { reason, message, .. }) => (reason, message),
        other => panic!("{other:?}"),
    };
    let (refused, message) = reason(&format!("127.0.0.1:{port}/web:1")).await;
    assert_eq!(refused, PullFailure::Network);
    assert!(message.contains("connection refused"), "{message}");
    assert_eq!(reason("Not A Name").await.0, PullFailure::InvalidName);
    assert_eq!(podman.image("localhost/nope:1").await.unwrap(), None);
    let error = podman.image("localhost/nope::1").await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Invalid { .. }), "{error:?}");
    let image = podman.image(crate::rig::IMAGE).await.unwrap().unwrap();
    assert_eq!((image.config.cmd, image.config.env), (vec!["sh".to_owned()], vec!["PATH=/bin".to_owned()]));
    assert!(podman.images().await.unwrap().iter().any(|found| found.id == image.id));

    let pod = pod("imageless");
    let made = podman.ensure_sandbox(&sandbox(&pod)).await.unwrap();
    let spec = ContainerSpec { image: "localhost/nope:1".into(), ..container(&pod, "main", "") };
    let error = podman.create_container(&made.id, &spec).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::ImageNotFound { image } if image == "localhost/nope:1"), "{error:?}");
    let spec = ContainerSpec { command: vec!["/nope".into()], ..container(&pod, "main", "") };
    let id = podman.create_container(&made.id, &spec).await.unwrap();
    let error = podman.start(&id).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Invalid { .. }), "{error:?}");
}

#[tokio::test]
async fn a_port_has_one_owner() {
    let rig = Rig::shared().await;
    let podman = rig.podman("ports").await;
    let taken = TcpListener::bind(("0.0.0.0", crate::ports::free())).unwrap();
    let port = |host_port| PortMapping { host_ip: None, host_port, container_port: 80, protocol: Protocol::Tcp };
    let pod = pod("ports");
    let mut spec = SandboxSpec { ports: vec![port(taken.local_addr().unwrap().port())], ..sandbox(&pod) };
    let error = podman.ensure_sandbox(&spec).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::PortInUse { object, .. } if object.contains("tests/ports")), "{error:?}");
    assert!(podman.list_pod(&pod.uid).await.unwrap().sandboxes.is_empty(), "nothing half-made stays");

    let free = taken.local_addr().unwrap().port();
    drop(taken);
    spec.ports = vec![port(free)];
    let made = podman.ensure_sandbox(&spec).await.unwrap();
    let serve = container(&pod, "main", "mkdir /www; echo served > /www/index.html; httpd -f -p 80 -h /www");
    let id = podman.create_container(&made.id, &serve).await.unwrap();
    podman.start(&id).await.unwrap();
    let served = async {
        loop {
            let answer = tokio::process::Command::new("busybox")
                .args(["wget", "-qO-", &format!("http://127.0.0.1:{free}/")])
                .output()
                .await
                .unwrap();
            if answer.stdout == b"served\n" {
                return;
            }
        }
    };
    timeout(PATIENCE, served).await.unwrap();
}

#[tokio::test]
async fn a_restarted_daemon_finds_everything() {
    let rig = Rig::shared().await;
    let before = rig.podman("adopt").await;
    let spec = container(&pod("adopt"), "main", "sleep 600");
    let (made, id) = run_spec(&before, &spec).await;
    let ended = ContainerSpec {
        identity: ContainerIdentity { container: "ended".into(), restart_count: 3, ..spec.identity.clone() },
        command: vec!["sh".into(), "-c".into(), "exit 2".into()],
        ..spec.clone()
    };
    let ended_id = before.create_container(&made.id, &ended).await.unwrap();
    before.start(&ended_id).await.unwrap();
    timeout(PATIENCE, before.wait(&ended_id)).await.unwrap().unwrap();
    drop(before);

    let after = rig.podman("adopt").await;
    let found = after.list().await.unwrap();
    assert_eq!(found.sandboxes.len(), 1);
    assert_eq!((&found.sandboxes[0].id, &found.sandboxes[0].ips), (&made.id, &made.ips));
    assert!(found.sandboxes[0].ready);
    assert_eq!(found.containers.len(), 2);
    let main = found.containers.iter().find(|found| found.id == id).unwrap();
    assert!(main.state.is_running() && main.identity == spec.identity, "{main:?}");
    let ended_found = found.containers.iter().find(|found| found.id == ended_id).unwrap();
    assert!(matches!(&ended_found.state, ContainerState::Exited(exit) if exit.code == 2), "{ended_found:?}");
    assert_eq!(ended_found.identity.restart_count, 3);
    assert!(rig.podman("stranger").await.list().await.unwrap().containers.is_empty());
    let usage = after.stats().await.unwrap();
    assert!(usage.iter().any(|usage| usage.id == id && usage.memory > 0), "{usage:?}");

    // Its network goes with the infra container: the sandbox is broken and is made anew.
    rig.storage.cli(&["kill", &format!("selkie_tests_adopt_{}-infra", made.pod.uid)]);
    let broken = async { while after.list().await.unwrap().sandboxes[0].ready {} };
    timeout(PATIENCE, broken).await.unwrap();
    let anew = after.ensure_sandbox(&sandbox(&made.pod)).await.unwrap();
    assert!(anew.ready && anew.id != made.id);
}

#[tokio::test]
async fn volumes_and_files() {
    let rig = Rig::shared().await;
    let podman = rig.podman("volumes").await;
    let pod = pod("volumes");
    let volume = VolumeSpec { name: "data".into(), pod_uid: pod.uid.clone(), tmpfs: None, group: None };
    podman.ensure_volume(&volume).await.unwrap();
    podman.ensure_volume(&volume).await.unwrap();
    let host = rig.storage.directory.join("host-file");
    std::fs::write(&host, "from the host\n").unwrap();
    let mount = |source, target: &str, read_only| Mount {
        source,
        target: target.into(),
        read_only,
        propagation: Propagation::Private,
    };
    let script = "cat /host; { echo no > /host; } 2>/dev/null || echo 'read only'; echo kept > /data/file; \
        touch /scratch/x && df /scratch | grep -q tmpfs && echo scratch; sleep 600";
    let spec = ContainerSpec {
        mounts: vec![
            mount(MountSource::Host(host.display().to_string()), "/host", true),
            mount(MountSource::Volume("data".into()), "/data", false),
            mount(MountSource::Tmpfs { size_bytes: Some(1 << 20) }, "/scratch", false),
        ],
        ..container(&pod, "main", script)
    };
    let (made, id) = run_spec(&podman, &spec).await;
    let mut lines = podman.logs(&id, &LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    for expect in ["from the host\n", "read only\n", "scratch\n"] {
        let line = timeout(PATIENCE, lines.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(line.bytes, expect);
    }
    let archive = rig.storage.directory.join("files.tar");
    let tar = std::process::Command::new("tar");
    let mut tar = tar;
    assert!(
        tar.arg("-C").arg(&rig.storage.directory).arg("-cf").arg(&archive).arg("host-file").status().unwrap().success()
    );
    podman.write_files(&id, "/data", std::fs::read(&archive).unwrap().into()).await.unwrap();
    let read = podman.exec_sync(&id, &["cat".into(), "/data/file".into(), "/data/host-file".into()], PATIENCE).await;
    assert_eq!(read.unwrap().stdout, b"kept\nfrom the host\n");

    assert_eq!(podman.volumes(Some(&pod.uid)).await.unwrap(), [volume]);
    assert!(podman.volumes(Some("another")).await.unwrap().is_empty());
    podman.remove_sandbox(&made.id).await.unwrap();
    podman.remove_volume("data").await.unwrap();
    podman.remove_volume("data").await.unwrap();
    assert!(podman.volumes(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_host_across_the_network() {
    let rig = Rig::shared().await;
    let service = rig.serve_tcp().await;
    let podman = Podman::connect(&service.url, "remote").await.unwrap();
    assert!(!podman.info().await.unwrap().local);
    let (_, id) = run(&podman, "remote", "echo one; sleep 1.2; echo two >&2").await;
    let mut lines = podman.logs(&id, &LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = timeout(PATIENCE, lines.next()).await.unwrap() {
        seen.push(line.unwrap());
    }
    let text: Vec<(OutputStream, &[u8])> = seen.iter().map(|line| (line.stream, line.bytes.as_ref())).collect();
    assert_eq!(text, [(OutputStream::Stdout, &b"one\n"[..]), (OutputStream::Stderr, b"two\n")]);
    assert!(seen[0].time.as_second() > 0, "times come along");
    let tail = LogOptions { tail: Some(1), ..LogOptions::default() };
    assert_eq!(log(&podman, &id, tail).await, "two\n");
    assert_eq!(timeout(PATIENCE, podman.wait(&id)).await.unwrap().unwrap().code, 0);

    // Killing the service harms no container, and the next one finds them.
    let (_, id) = run(&podman, "stays", "sleep 600").await;
    let pid = |status: ContainerStatus| match status.state {
        ContainerState::Running { pid, .. } => pid,
        state => panic!("{state:?}"),
    };
    let before = pid(podman.inspect(&id).await.unwrap());
    drop(service);
    let gone = async { while podman.inspect(&id).await.is_ok() {} };
    timeout(PATIENCE, gone).await.unwrap();
    assert!(matches!(podman.info().await, Err(RuntimeError::Unreachable { .. })));
    assert_eq!(pid(rig.podman("remote").await.inspect(&id).await.unwrap()), before);
}

#[tokio::test]
async fn what_the_trait_costs_over_raw_calls() {
    const ROUNDS: u32 = 5;
    let rig = Rig::shared().await;
    let podman = rig.podman("cost").await;
    let client = http::Client::new(&rig.storage.url).unwrap();
    let mut raw = Duration::ZERO;
    let mut ours = Duration::ZERO;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let name = format!("raw-{}-{round}", std::process::id());
        let body = json!({"name": name, "infra_name": format!("{name}-infra"), "labels": {"io.selkie.cluster": "raw"}});
        client.post("pods/create", "pod").json(&body).unwrap().send().await.unwrap();
        client.post(format!("containers/{name}-infra/start"), "infra").send().await.unwrap();
        let body = json!({"name": format!("{name}-main"), "pod": name, "image": crate::rig::IMAGE, "command": ["sleep", "600"]});
        client.post("containers/create", "container").json(&body).unwrap().send().await.unwrap();
        client.post(format!("containers/{name}-main/start"), "container").send().await.unwrap();
        raw += begun.elapsed();
        let begun = Instant::now();
        run(&podman, "cost", "sleep 600").await;
        ours += begun.elapsed();
    }
    println!("start of a pod with one container: raw calls {:?}, the runtime {:?}", raw / ROUNDS, ours / ROUNDS);
    assert!(ours < raw * 2 + Duration::from_secs(1), "raw {raw:?}, ours {ours:?}");
}

#[tokio::test]
async fn an_image_goes_with_all_its_names_once_nobody_uses_it() {
    let rig = Rig::start().await;
    let podman = rig.podman("images").await;
    rig.storage.cli(&["tag", crate::rig::IMAGE, "localhost/selkie-second:1"]);
    let (sandbox, _) = run(&podman, "user", "sleep 60").await;
    let listed = async || {
        let images = podman.images().await.unwrap();
        images.into_iter().find(|image| image.tags.iter().any(|tag| tag == crate::rig::IMAGE))
    };
    let image = listed().await.unwrap();
    assert!(image.used && image.tags.len() == 2, "{image:?}");
    podman.remove_sandbox(&sandbox.id).await.unwrap();
    assert!(!listed().await.unwrap().used);
    podman.remove_image(&image.id).await.unwrap();
    assert_eq!(listed().await, None);
    podman.remove_image(&image.id).await.unwrap();
    let infra = podman.images().await.unwrap();
    assert!(infra.iter().all(|image| image.used), "sandboxes are made of what is left: {infra:?}");
}
