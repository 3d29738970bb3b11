//! Bytes that flow: logs, exec, attach.

use super::error::RuntimeError;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// Which part of a log to read.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    pub follow: bool,
    /// Only the last so many lines; `Some(0)` with `follow` is only what comes from now on.
    pub tail: Option<usize>,
    /// Only lines at or after.
    pub since: Option<Timestamp>,
    /// Only what was written to that one. `tail` counts lines of both before.
    pub stream: Option<OutputStream>,
}

/// One line of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written; nanoseconds on local hosts, whole seconds otherwise.
    pub time: Timestamp,
    pub stream: OutputStream,
    /// The bytes as written, with the newline unless the line goes on in the next item.
    pub bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    Stdout,
    Stderr,
}

/// How to run a command in a container.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Columns and rows to begin with, under `tty`.
    pub size: Option<(u16, u16)>,
}

/// Which streams of the main process to attach to.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A running command with its streams. Dropping it closes the connection, which ends the command's
/// stdin but does not kill it.
#[derive(Debug)]
pub struct ExecSession {
    /// Drop the sender to send end of file. `None` when stdin was not asked for.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Ends when the command has closed its streams. Under `tty` everything is stdout.
    pub output: mpsc::Receiver<ExecOutput>,
    /// Columns and rows. `None` without `tty`.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// The exit code, after the end of `output`.
    pub exit: oneshot::Receiver<Result<i32, RuntimeError>>,
    /// What ends the command when this is dropped, where that was asked for.
    pub guard: Option<Guard>,
}

/// Ends something when it is dropped.
pub struct Guard(#[expect(dead_code, reason = "it is only dropped")] Box<dyn Send + Sync>);

impl Guard {
    pub fn new(what: impl Send + Sync + 'static) -> Self {
        Self(Box::new(what))
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// What a command said and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecResult {
    pub exit_code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}
