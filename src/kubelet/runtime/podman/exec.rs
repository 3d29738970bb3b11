//! Commands in containers and the streams of main processes: connections taken over from HTTP.
//!
//! An exec costs the host some 100 ms of CPU: frequent probes keep a shell for their commands.

mod sizes;

use super::{
    Podman,
    abandoned::Watched,
    containers::Made,
    http::{QUICK, SLOW, segment},
    lines::{Frame, frames},
};
use crate::kubelet::runtime::{
    AttachOptions, ExecOptions, ExecOutput, ExecResult, ExecSession, Guard, OutputStream, Result, RuntimeError,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use std::{collections::VecDeque, time::Duration};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::io::ReaderStream;

/// Chunks in flight in each direction.
const QUEUE: usize = 16;
/// How much of each stream [`Podman::run_exec`] keeps.
const KEPT: usize = 64 << 10;
/// How long the exit code may lag behind the end of the output: children may hold neither.
const EXIT_LAG: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecState {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    exit_code: i32,
}

/// Where a session's window size goes, and where its exit code comes from.
enum Subject {
    Exec(String),
    Container(String),
}

impl Podman {
    pub(super) async fn start_exec(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        let id = self.make_exec(container, options).await?;
        self.enter_exec(container, id, options).await
    }

    pub(super) async fn start_guarded(&self, container: &str, options: &ExecOptions) -> Result<ExecSession> {
        let local = self.around().await?.local;
        let id = self.make_exec(container, options).await?;
        let watched = Watched::new(&self.client, &id, local);
        let session = self.enter_exec(container, id, options).await?;
        Ok(ExecSession { guard: Some(Guard::new(watched)), ..session })
    }

    async fn make_exec(&self, container: &str, options: &ExecOptions) -> Result<String> {
        let body = json!({
            "Cmd": options.command,
            "Tty": options.tty,
            "AttachStdin": options.stdin,
            "AttachStdout": options.stdout,
            "AttachStderr": options.stderr && !options.tty,
        });
        let create =
            self.client.post(format!("containers/{}/exec", segment(container)), format!("exec in {container}"));
        Ok(create.json(&body)?.deadline(SLOW).fetch::<Made>().await?.id)
    }

    async fn enter_exec(&self, container: &str, id: String, options: &ExecOptions) -> Result<ExecSession> {
        let mut start = json!({"Detach": false, "Tty": options.tty});
        if let Some((columns, rows)) = options.size.filter(|_| options.tty) {
            start["w"] = json!(columns);
            start["h"] = json!(rows);
        }
        let call = self.client.post(format!("exec/{id}/start"), format!("exec in {container}")).json(&start)?;
        let connection = call.deadline(SLOW).hijack().await?;
        Ok(self.session(connection, options.tty, options.stdin, Subject::Exec(id)))
    }

    pub(super) async fn start_attach(&self, container: &str, options: &AttachOptions) -> Result<ExecSession> {
        let call =
            self.client.post(format!("containers/{}/attach", segment(container)), format!("attach to {container}"));
        let call = call.query("stream", true).query("stdin", options.stdin).query("stdout", options.stdout);
        let connection = call.query("stderr", options.stderr && !options.tty).hijack().await?;
        Ok(self.session(connection, options.tty, options.stdin, Subject::Container(container.to_owned())))
    }

    fn session(&self, connection: TokioIo<Upgraded>, tty: bool, stdin: bool, subject: Subject) -> ExecSession {
        let (reader, writer) = tokio::io::split(connection);
        let (output, receive_output) = mpsc::channel(QUEUE);
        let (exited, exit) = oneshot::channel();
        let stdin = stdin.then(|| {
            let (send, receive) = mpsc::channel(QUEUE);
            tokio::spawn(write_stdin(writer, receive));
            send
        });
        let resize = tty.then(|| {
            let (send, sizes) = mpsc::channel(1);
            let (client, path) = (self.client.clone(), subject.path("resize"));
            tokio::spawn(sizes::give(sizes, async move |(columns, rows)| {
                client.post(&path, "window").query("h", rows).query("w", columns).send().await.is_ok()
            }));
            send
        });
        let client = self.client.clone();
        tokio::spawn(async move {
            forward(reader, tty, output).await;
            let code = match &subject {
                Subject::Exec(_) => exec_code(&client, &subject.path("json")).await,
                Subject::Container(_) => {
                    let call = client.post(subject.path("wait"), "wait").query("condition", "exited");
                    call.query("condition", "stopped").deadline(EXIT_LAG).fetch::<i32>().await
                }
            };
            _ = exited.send(code);
        });
        ExecSession { stdin, output: receive_output, resize, exit, guard: None }
    }

    pub(super) async fn run_exec(&self, container: &str, command: &[String], after: Duration) -> Result<ExecResult> {
        let options = ExecOptions { command: command.to_vec(), stdout: true, stderr: true, ..ExecOptions::default() };
        let around = self.around().await?;
        let work = async {
            let id = self.make_exec(container, &options).await?;
            let watched = Watched::new(&self.client, &id, around.local);
            let mut session = self.enter_exec(container, id, &options).await?;
            let (mut stdout, mut stderr) = (VecDeque::new(), VecDeque::new());
            while let Some(output) = session.output.recv().await {
                match output {
                    ExecOutput::Stdout(bytes) => keep_last(&mut stdout, &bytes),
                    ExecOutput::Stderr(bytes) => keep_last(&mut stderr, &bytes),
                }
            }
            let lost = |_| RuntimeError::NotFound { object: format!("exec session in {container}") };
            let exit_code = session.exit.await.map_err(lost)??;
            watched.over();
            let result = ExecResult { exit_code, stdout: stdout.into(), stderr: stderr.into() };
            match not_run(&result) {
                Some(message) => Err(RuntimeError::Invalid { object: format!("exec in {container}"), message }),
                None => Ok(result),
            }
        };
        let expired =
            || RuntimeError::Timeout { what: format!("exec of {:?} in {container}", command.join(" ")), after };
        timeout(after, work).await.unwrap_or_else(|_| Err(expired()))
    }
}

/// Podman's words where the command could not be run at all: they come as its output, with the
/// shell's codes for that.
fn not_run(result: &ExecResult) -> Option<String> {
    let output = [result.stderr.as_slice(), result.stdout.as_slice()].concat();
    let text = String::from_utf8_lossy(&output);
    let refused = text.contains("OCI runtime attempted to invoke a command") || text.contains("OCI permission denied");
    (matches!(result.exit_code, 125..=127) && refused).then(|| text.trim().to_owned())
}

impl Subject {
    fn path(&self, verb: &str) -> String {
        match self {
            Self::Exec(id) => format!("exec/{id}/{verb}"),
            Self::Container(id) => format!("containers/{}/{verb}", segment(id)),
        }
    }
}

fn keep_last(kept: &mut VecDeque<u8>, bytes: &[u8]) {
    kept.extend(bytes);
    kept.drain(..kept.len().saturating_sub(KEPT));
}

async fn write_stdin(mut writer: WriteHalf<TokioIo<Upgraded>>, mut input: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = input.recv().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    // The other direction stays open: the command may answer to the end of its input.
    _ = writer.shutdown().await;
}

/// Passes output on until either side ends it.
async fn forward(reader: ReadHalf<TokioIo<Upgraded>>, tty: bool, output: mpsc::Sender<ExecOutput>) {
    let lost = |error: std::io::Error| RuntimeError::Other {
        method: "read".into(),
        object: "output".into(),
        message: "the stream broke off".into(),
        cause: Some(error.into()),
    };
    let chunks = ReaderStream::new(reader).map(move |chunk| chunk.map_err(lost));
    let mut pieces: std::pin::Pin<Box<dyn Stream<Item = Result<Frame>> + Send>> = if tty {
        // A terminal has one stream and no frames.
        Box::pin(chunks.map(|chunk| chunk.map(|bytes| (OutputStream::Stdout, bytes))))
    } else {
        Box::pin(frames(chunks))
    };
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = output.closed() => return,
        };
        let Some(Ok((stream, bytes))) = piece else { return };
        let piece = match stream {
            OutputStream::Stdout => ExecOutput::Stdout(bytes),
            OutputStream::Stderr => ExecOutput::Stderr(bytes),
        };
        if output.send(piece).await.is_err() {
            return;
        }
    }
}

async fn exec_code(client: &super::http::Client, path: &str) -> Result<i32> {
    let poll = async {
        let mut pause = Duration::from_millis(2);
        loop {
            let state: ExecState = client.get(path, "exec session").deadline(QUICK).fetch().await?;
            if !state.running {
                return Ok(state.exit_code);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    };
    let expired = || RuntimeError::Timeout { what: "the exit code of an exec".into(), after: EXIT_LAG };
    timeout(EXIT_LAG, poll).await.unwrap_or_else(|_| Err(expired()))
}
