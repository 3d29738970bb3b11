//! The shell's part with real shells of this machine, as if they were in a container.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::kubelet::runtime::Guard;
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

/// A session with a shell that runs here, and its process.
fn session(shell: &[&str], command: &[&str]) -> Session {
    let mut process = tokio::process::Command::new(shell[0]);
    process.args(&shell[1..]).args(["-c", LOOP, "probe"]).args(command).kill_on_drop(true);
    let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (send, mut input) = mpsc::channel::<Bytes>(1);
    let (pass, output) = mpsc::channel(1);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    tokio::spawn(async move {
        while let Some(bytes) = input.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut piece = vec![0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut piece).await {
            if pass.send(ExecOutput::Stdout(Bytes::copy_from_slice(&piece[..count]))).await.is_err() {
                return;
            }
        }
    });
    let session = ExecSession {
        stdin: Some(send),
        output,
        resize: None,
        exit: oneshot::channel().1,
        guard: Some(Guard::new(child)),
    };
    Session::with(session)
}

async fn run(session: &mut Session) -> (String, i32) {
    let result = tokio::time::timeout(Duration::from_secs(20), session.run()).await.unwrap().unwrap();
    (String::from_utf8(result.stdout).unwrap(), result.exit_code)
}

#[tokio::test]
async fn a_command_runs_as_often_as_it_is_asked_for() {
    for shell in [["sh"].as_slice(), &["bash"]] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("count").display().to_string();
        let script = r#"echo x >>"$1"; printf '%s ' "a  b" '$HOME' "$2"; cat; echo oops >&2; exit $(wc -l <"$1")"#;
        let mut session = session(shell, &["sh", "-c", script, "name", &file, "it's \"quoted\"\nand long"]);
        for count in 1..4 {
            assert_eq!(run(&mut session).await, ("a  b $HOME it's \"quoted\"\nand long oops\n".to_owned(), count));
        }
    }
}

#[tokio::test]
async fn nothing_of_a_run_is_left_for_the_next() {
    let mut session = session(&["sh"], &["sh", "-c", "echo; echo selkie-9 0; printf 'selkie-1 7'; cd /; exit 3"]);
    let expect = ("\nselkie-9 0\nselkie-1 7".to_owned(), 3);
    assert_eq!(run(&mut session).await, expect);
    assert_eq!(run(&mut session).await, expect);
}

#[tokio::test]
async fn only_the_end_of_long_output_is_kept() {
    let mut session = session(&["sh"], &["sh", "-c", "yes | head -c 300000; printf end"]);
    let (said, code) = run(&mut session).await;
    assert!(code == 0 && said.ends_with("y\nend") && (KEPT..KEPT + 100).contains(&said.len()), "{}", said.len());
    assert_eq!(run(&mut session).await, (said, 0));
}

#[tokio::test]
async fn a_command_that_is_not_there_has_its_own_code() {
    let mut session = session(&["sh"], &["/no/such/command"]);
    assert_eq!(run(&mut session).await.1, 127);
}

#[test]
fn what_shells_do_themselves_is_not_left_to_them() {
    let suits = |words: &[&str]| super::suits(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(suits(&["cat", "/tmp/healthy"]) && suits(&["sh", "-c", "exit 1"]) && suits(&["/bin/cd"]));
    assert!(!suits(&["exit", "1"]) && !suits(&["cd"]) && !suits(&[]) && !suits(&[""]));
}
