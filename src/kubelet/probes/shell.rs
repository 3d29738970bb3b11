//! Runs a probe's command over and over in one shell of the container, which is kept for that.
//!
//! Podman takes some 100 ms of CPU to get a command into a container, and leaves processes behind for a while. Started
//! by a shell that is in there already, a command costs what it costs anywhere. It has the same user, environment,
//! namespaces and limits. What no shell can do, or does otherwise, takes Podman's way: images without one, commands
//! that a shell has within itself, and those that could not be run, for Podman's words about it.

use crate::kubelet::runtime::{ContainerRuntime, ExecOptions, ExecOutput, ExecResult, ExecSession, RuntimeError};
use bytes::Bytes;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Waits for a mark, runs the command, and says the mark and how the command ended. In a subshell, which cannot change
/// the shell itself; without the shell's input, which is not for the command.
const LOOP: &str = r#"while read -r mark; do ("$@") </dev/null 2>&1; code=$?; echo; echo "$mark $code"; done"#;
/// How much output is kept, as of any command.
const KEPT: usize = 64 << 10;
/// The most that ends a run after its mark: a code and a newline.
const TAIL: usize = 16;

/// After so many shells whose first run did not end in time Podman's way is taken.
const MOST_HUNG: u32 = 3;

/// What shells do themselves though no file has that name, or otherwise than the file.
const OWN: [&str; 52] = [
    ".", ":", "alias", "bg", "bind", "break", "builtin", "caller", "cd", "command", "compgen", "complete", "continue",
    "declare", "dirs", "disown", "enable", "eval", "exec", "exit", "export", "fc", "fg", "getopts", "hash", "help",
    "history", "jobs", "let", "local", "logout", "mapfile", "popd", "pushd", "read", "readonly", "return", "set",
    "shift", "shopt", "source", "suspend", "time", "times", "trap", "type", "typeset", "ulimit", "umask", "unalias",
    "unset", "wait",
];

/// The way of one probe to run its command in one life of a container.
#[derive(Debug, Default)]
pub struct Shell {
    state: State,
    /// How many shells in a row did not come to the end of their first run.
    hung: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Untried,
    Open(Session),
    /// There is none, or it will not do.
    Without,
}

/// A shell in the container that runs one command when told to.
#[derive(Debug)]
pub struct Session {
    session: ExecSession,
    /// What a run's mark begins with: nothing that a command would say.
    word: String,
    runs: u64,
    /// The command itself ends with codes that otherwise say that it could not be run.
    own_codes: bool,
    /// What came since the last mark.
    heard: Vec<u8>,
}

/// How a run in the shell came out.
enum Ran {
    Done(ExecResult),
    /// Podman's way tells more, or is the only one.
    AskPodman,
    TimedOut,
}

impl Shell {
    /// As [`ContainerRuntime::exec_sync`], with standard output and error as one.
    pub async fn run(
        &mut self,
        runtime: &dyn ContainerRuntime,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecResult, RuntimeError> {
        let until = Instant::now() + timeout;
        if !suits(command) {
            self.state = State::Without;
        }
        match self.try_run(runtime, container, command, until).await {
            Ran::Done(result) => Ok(result),
            Ran::AskPodman => {
                let left = until.saturating_duration_since(Instant::now());
                let result = runtime.exec_sync(container, command, left).await;
                // Podman has run it, and so it came to its own end.
                if let (State::Open(session), Ok(ExecResult { exit_code: 125..=127, .. })) = (&mut self.state, &result)
                {
                    session.own_codes = true;
                }
                result
            }
            Ran::TimedOut => Err(RuntimeError::Timeout {
                what: format!("exec of {:?} in {container}", command.join(" ")),
                after: timeout,
            }),
        }
    }

    async fn try_run(
        &mut self,
        runtime: &dyn ContainerRuntime,
        container: &str,
        command: &[String],
        until: Instant,
    ) -> Ran {
        if matches!(self.state, State::Untried) {
            let opened = timeout_at(until, Session::open(runtime, container, command)).await;
            let Ok(opened) = opened else { return Ran::TimedOut };
            // Why there is none Podman's way will tell, if it is not the shell's fault.
            let Ok(session) = opened else { return Ran::AskPodman };
            self.state = State::Open(session);
        }
        let State::Open(session) = &mut self.state else { return Ran::AskPodman };
        match timeout_at(until, session.run()).await {
            Ok(Some(result)) => {
                self.hung = 0;
                let could_not_run = matches!(result.exit_code, 125..=127) && !session.own_codes;
                if could_not_run { Ran::AskPodman } else { Ran::Done(result) }
            }
            Ok(None) => {
                // One that never ran anything is not there, or does not understand; another may have been killed.
                self.state = if session.runs > 1 { State::Untried } else { State::Without };
                Ran::AskPodman
            }
            Err(_) => {
                // Its command goes with it. Where no first run ends, the shell may be at fault.
                self.hung += u32::from(session.runs == 1);
                self.state = if self.hung < MOST_HUNG { State::Untried } else { State::Without };
                Ran::TimedOut
            }
        }
    }
}

/// Whether a shell runs the command as if it was started by itself.
fn suits(command: &[String]) -> bool {
    command.first().is_some_and(|name| !name.is_empty() && !OWN.contains(&name.as_str()))
}

impl Session {
    async fn open(runtime: &dyn ContainerRuntime, container: &str, command: &[String]) -> Result<Self, RuntimeError> {
        let words = ["/bin/sh", "-c", LOOP, "probe"].map(str::to_owned);
        let command = words.into_iter().chain(command.iter().cloned()).collect();
        let options = ExecOptions { command, stdin: true, stdout: true, stderr: true, ..ExecOptions::default() };
        let session = runtime.exec_guarded(container, &options).await?;
        Ok(Self::with(session))
    }

    fn with(session: ExecSession) -> Self {
        let word = format!("selkie-{:016x}", RandomState::new().hash_one(()));
        Self { session, word, runs: 0, own_codes: false, heard: Vec::new() }
    }

    /// Runs the command once more; `None` when the shell is gone.
    async fn run(&mut self) -> Option<ExecResult> {
        self.runs += 1;
        let mark = format!("{}-{}", self.word, self.runs);
        self.session.stdin.as_ref()?.send(Bytes::from(format!("{mark}\n"))).await.ok()?;
        loop {
            if let Some((said, exit_code)) = ended(&self.heard, &mark) {
                let stdout = self.heard[..said].to_vec();
                self.heard.clear();
                return Some(ExecResult { exit_code, stdout, stderr: Vec::new() });
            }
            let (ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes)) = self.session.output.recv().await?;
            self.heard.extend_from_slice(&bytes);
            let surplus = self.heard.len().saturating_sub(KEPT + mark.len() + TAIL);
            self.heard.drain(..surplus);
        }
    }
}

/// Whether a run is over: how long its output is, and its exit code.
fn ended(heard: &[u8], mark: &str) -> Option<(usize, i32)> {
    let last = heard.strip_suffix(b"\n")?;
    let line = last.iter().rposition(|byte| *byte == b'\n')?;
    let code = std::str::from_utf8(&last[line + 1..]).ok()?.strip_prefix(mark)?.strip_prefix(' ')?;
    Some((line, code.parse().ok()?))
}

#[cfg(test)]
mod tests;
