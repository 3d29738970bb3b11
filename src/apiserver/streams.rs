//! The seam to the kubelets: logs, exec and attach of a pod's containers, connections to its ports.
//!
//! The API server checks the pod and speaks the wire protocol; what runs the containers implements
//! [`PodStreams`] and is injected.

use crate::api::error::ApiError;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// Which part of a container's log to send, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Never empty: the server fills in the only container.
    pub container: String,
    /// Keep the stream open while the container runs.
    pub follow: bool,
    /// The log of the instance before the current one.
    pub previous: bool,
    /// The log of the instance after that many restarts, instead of the current one.
    pub restart: Option<u32>,
    /// Only what was written to that one.
    pub stream: Option<LogStream>,
    /// Only lines written at or after this moment.
    pub since: Option<Timestamp>,
    /// Only this many lines from the end (before `since` is applied, as Kubernetes does).
    pub tail_lines: Option<u64>,
    /// Prefix each line with its RFC 3339 time and a space.
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// A command to run in a container, or (with an empty command) the container to attach to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Never empty: the server fills in the default container.
    pub container: String,
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// A running command. Dropping it ends the command's input and output.
#[derive(Debug)]
pub struct ExecSession {
    /// Dropping the sender is end of file. `None` when no input was asked for.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Ends when the command's output has ended.
    pub output: mpsc::Receiver<ExecOutput>,
    /// Terminal size changes: columns, rows. `None` without a terminal.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// The exit code, or what went wrong.
    pub exit: oneshot::Receiver<Result<i32, String>>,
}

/// What a path below a host's `/var/log` leads to.
pub enum HostLog {
    /// Names, those of directories with a slash behind.
    Directory(Vec<String>),
    File(BoxStream<'static, io::Result<Bytes>>),
}

/// A connection to a port of a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Reaches the kubelet of a pod's node.
#[async_trait]
pub trait PodStreams: Send + Sync + 'static {
    /// The log as lines ending in `\n`.
    async fn logs(
        &self,
        node: &str,
        pod: &Value,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, ApiError>;
    async fn exec(&self, node: &str, pod: &Value, options: ExecOptions) -> Result<ExecSession, ApiError>;
    async fn attach(&self, node: &str, pod: &Value, options: ExecOptions) -> Result<ExecSession, ApiError>;
    /// Whether a kubelet serves this node.
    fn serves(&self, _node: &str) -> bool {
        false
    }
    /// How the kubelet of a node is set up, as its KubeletConfiguration would say it.
    async fn settings(&self, node: &str) -> Result<Value, ApiError> {
        Err(no_kubelet(node))
    }
    /// What the host of a node has below `/var/log`. `None`: no such file. The error's message is for people.
    async fn host_log(&self, node: &str, _path: &str) -> Result<Option<HostLog>, ApiError> {
        Err(no_kubelet(node))
    }
    /// Connects to a port of the pod. The error's message is for people.
    async fn connect(&self, node: &str, _pod: &Value, _port: u16) -> Result<Box<dyn Connection>, ApiError> {
        Err(ApiError::new(503, "ServiceUnavailable", format!("nothing reaches the pods of node {node:?} from here")))
    }
}

/// For servers without kubelets (plans, tests): every stream answers 503.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStreams;

fn no_kubelet(node: &str) -> ApiError {
    ApiError::new(503, "ServiceUnavailable", format!("no kubelet serves node {node:?}"))
}

#[async_trait]
impl PodStreams for NoStreams {
    async fn logs(
        &self,
        node: &str,
        _pod: &Value,
        _options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, ApiError> {
        Err(no_kubelet(node))
    }
    async fn exec(&self, node: &str, _pod: &Value, _options: ExecOptions) -> Result<ExecSession, ApiError> {
        Err(no_kubelet(node))
    }
    async fn attach(&self, node: &str, _pod: &Value, _options: ExecOptions) -> Result<ExecSession, ApiError> {
        Err(no_kubelet(node))
    }
}
