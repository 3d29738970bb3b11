//! A kubelet that does what it is told by the container's name and the command.

use crate::api::error::ApiError;
use crate::apiserver::{ExecOptions, ExecOutput, ExecSession, LogOptions, PodStreams};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use std::io;
use tokio::sync::{Notify, mpsc, oneshot};

pub struct Script;

/// A silent command has noticed that nobody listens.
pub static ENDED: Notify = Notify::const_new();

#[async_trait]
impl PodStreams for Script {
    fn serves(&self, node: &str) -> bool {
        node == "n"
    }

    /// Container `b` is not there yet; under `follow` the log never ends; `previous` breaks off. The
    /// first line tells the options.
    async fn logs(
        &self,
        node: &str,
        _pod: &Value,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, ApiError> {
        if options.container == "b" {
            return Err(ApiError::bad_request("container \"b\" in pod \"web\" is waiting to start: ContainerCreating"));
        }
        let (tail, limit, since) = (options.tail_lines, options.limit_bytes, options.since);
        let (times, which) = (options.timestamps, (options.stream, options.restart));
        let mut told = format!("{node} {} tail={tail:?} limit={limit:?} since={since:?} {times}\n", options.container);
        if which != (None, None) {
            told = format!("{which:?}\n");
        }
        let mut lines = vec![Ok(told.into()), Ok("two\n".into())];
        if options.previous {
            lines.push(Err(io::Error::other("no such file")));
        }
        let lines = futures::stream::iter(lines);
        Ok(if options.follow { lines.chain(futures::stream::pending()).boxed() } else { lines.boxed() })
    }

    /// The first word of the command says what happens.
    async fn exec(&self, _node: &str, _pod: &Value, options: ExecOptions) -> Result<ExecSession, ApiError> {
        if options.command[0] == "gone" {
            return Err(ApiError::internal("container not found (\"c\")"));
        }
        let (stdin, input) = mpsc::channel(1);
        let (sender, output) = mpsc::channel(4);
        let (resize, sizes) = mpsc::channel(1);
        let (exited, exit) = oneshot::channel();
        tokio::spawn(play(options.command, input, sizes, sender, exited));
        Ok(ExecSession { stdin: options.stdin.then_some(stdin), output, resize: options.tty.then_some(resize), exit })
    }

    async fn attach(&self, node: &str, pod: &Value, mut options: ExecOptions) -> Result<ExecSession, ApiError> {
        assert!(options.command.is_empty());
        options.command = vec!["exit".into(), "3".into()];
        self.exec(node, pod, options).await
    }
}

async fn play(
    command: Vec<String>,
    mut input: mpsc::Receiver<Bytes>,
    mut sizes: mpsc::Receiver<(u16, u16)>,
    output: mpsc::Sender<ExecOutput>,
    exited: oneshot::Sender<Result<i32, String>>,
) {
    let mut code = 0;
    let word = |n: usize| command.get(n).map(String::as_str).unwrap_or_default();
    match word(0) {
        "cat" => {
            while let Some(bytes) = input.recv().await {
                output.send(ExecOutput::Stdout(bytes)).await.unwrap();
            }
        }
        "exit" => code = word(1).parse().unwrap(),
        "both" => {
            output.send(ExecOutput::Stdout("out".into())).await.unwrap();
            output.send(ExecOutput::Stderr("err".into())).await.unwrap();
        }
        "size" => {
            let (columns, rows) = sizes.recv().await.unwrap();
            output.send(ExecOutput::Stdout(format!("{columns}x{rows}").into())).await.unwrap();
        }
        "flood" => {
            let block = Bytes::from(vec![b'x'; 64 << 10]);
            for _ in 0..word(1).parse::<usize>().unwrap() {
                if output.send(ExecOutput::Stdout(block.clone())).await.is_err() {
                    return;
                }
            }
        }
        "sleep" => {
            output.closed().await;
            ENDED.notify_one();
            return;
        }
        other => panic!("no such command: {other}"),
    }
    drop(output);
    let _ = exited.send(Ok(code));
}
