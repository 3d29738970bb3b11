//! Streams of commands and main processes: terminals, their sizes, attach.

use super::*;

/// Reads until the text occurs.
async fn read_until(session: &mut ExecSession, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        match timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes)) => seen += &String::from_utf8_lossy(&bytes),
            None => panic!("{seen:?} ends without {text:?}"),
        }
    }
    seen
}

#[tokio::test]
async fn a_terminal_follows_its_window() {
    let rig = Rig::shared().await;
    let podman = rig.podman("window").await;
    let (_, id) = run(&podman, "window", "sleep 600").await;
    // Says its size whenever it changes; the read keeps the shell there meanwhile.
    let script = "trap 'stty size' WINCH; echo ready; while :; do read -t 1 line && exit 4; done";
    let options = ExecOptions {
        command: vec!["sh".into(), "-c".into(), script.into()],
        tty: true,
        stdin: true,
        stdout: true,
        size: Some((100, 40)),
        ..ExecOptions::default()
    };
    let mut session = podman.exec(&id, &options).await.unwrap();
    read_until(&mut session, "ready").await;
    session.resize.as_ref().unwrap().send((90, 30)).await.unwrap();
    read_until(&mut session, "30 90").await;
    session.resize.as_ref().unwrap().send((81, 21)).await.unwrap();
    read_until(&mut session, "21 81").await;
    session.stdin.as_ref().unwrap().send(Bytes::from("x\n")).await.unwrap();
    while timeout(PATIENCE, session.output.recv()).await.unwrap().is_some() {}
    assert_eq!(session.exit.await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn attach_reaches_the_main_process() {
    let rig = Rig::shared().await;
    let podman = rig.podman("attach").await;
    let script = "while read line; do echo \"out $line\"; echo \"err $line\" >&2; done; exit 6";
    let spec = ContainerSpec { stdin: true, ..container(&pod("attach"), "main", script) };
    let (_, id) = run_spec(&podman, &spec).await;
    let options = AttachOptions { tty: false, stdin: true, stdout: true, stderr: true };
    let mut session = podman.attach(&id, &options).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send(Bytes::from("one\n")).await.unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while stdout != b"out one\n" || stderr != b"err one\n" {
        match timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(ExecOutput::Stdout(bytes)) => stdout.extend(bytes),
            Some(ExecOutput::Stderr(bytes)) => stderr.extend(bytes),
            None => panic!("{stdout:?} {stderr:?}"),
        }
    }
    drop(stdin);
    while timeout(PATIENCE, session.output.recv()).await.unwrap().is_some() {}
    assert_eq!(timeout(PATIENCE, session.exit).await.unwrap().unwrap().unwrap(), 6, "the end of its input");
}

#[tokio::test]
async fn attach_to_a_terminal() {
    let rig = Rig::shared().await;
    let podman = rig.podman("attach-tty").await;
    let script = "trap 'stty size' WINCH; while :; do read -t 1 line && echo \"got $line\"; done";
    let spec = ContainerSpec { stdin: true, tty: true, ..container(&pod("attach-tty"), "main", script) };
    let (_, id) = run_spec(&podman, &spec).await;
    let options = AttachOptions { tty: true, stdin: true, stdout: true, stderr: false };
    let mut session = podman.attach(&id, &options).await.unwrap();
    session.stdin.as_ref().unwrap().send(Bytes::from("hello\n")).await.unwrap();
    read_until(&mut session, "got hello\r\n").await;
    session.resize.as_ref().unwrap().send((77, 33)).await.unwrap();
    read_until(&mut session, "33 77").await;
}
