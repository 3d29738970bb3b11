//! What a verb can fail with: what happened, what to do about it, and the exit code.

use super::output::color::{ERROR, paint};
use super::output::lines;
use crate::daemon::StartError;
use crate::daemon::paths::LockError;
use std::process::ExitCode;

/// Printed once, by `main`: `error: ...`, the causes, then the hint.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl CliError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: 1 }
    }

    /// What the user can do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The error and its causes, outermost first, as `tried x: because y`.
    pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
        let mut text = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let status = refusal(error);
            let own = status.map_or_else(|| error.to_string(), |status| status.message.clone());
            if text.is_empty() {
                text = own;
            } else if !text.ends_with(&own) {
                text = format!("{text}: {own}");
            }
            // What is below a refusal is the same refusal in other words.
            next = if status.is_some() { None } else { error.source() };
        }
        text
    }

    pub fn report(self) -> ExitCode {
        anstream::eprint!("{}", self.text());
        ExitCode::from(self.code)
    }

    fn text(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("  {hint}\n")).unwrap_or_default();
        // A server, a registry or a container may have worded it.
        format!("{} {}\n{}", paint(ERROR, "error:"), lines(&self.message), lines(&hint))
    }
}

/// The API server's own words, where an error is its refusal.
fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a kube::core::Status> {
    let error =
        error.downcast_ref::<kube::Error>().or_else(|| error.downcast_ref::<Box<kube::Error>>().map(Box::as_ref))?;
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

impl From<kube::Error> for CliError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let reason = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
                Self::new(format!("from the server{reason}: {}", status.message))
            }
            other => Self::new(Self::chain(&other))
                .hint("is the daemon up? start it with `selkie up`, or name its kubeconfig with --kubeconfig"),
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        let hint = match &error {
            StartError::Lock(LockError::Held { .. }) => {
                "stop it first, or choose another data directory with --data-dir"
            }
            StartError::Listen { .. } => {
                "choose another address with --listen, e.g. --listen 127.0.0.1:0 for any free port"
            }
            StartError::Podman(_) => {
                "install Podman 4.3 or newer, name a host with --host NAME=URL, or run none with --no-hosts"
            }
            StartError::Lock(LockError::Io { .. }) | StartError::Data(_) => {
                "choose a directory you may write to with --data-dir"
            }
            _ => return Self::new(Self::chain(&error)),
        };
        Self::new(Self::chain(&error)).hint(hint)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!("the server's answer is not what was expected: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::paths::Holder;
    use kube::core::Status;

    fn refused() -> kube::Error {
        let status = Status::failure("deployments.apps \"web\" not found", "NotFound").with_code(404);
        kube::Error::Api(status.boxed())
    }

    #[test]
    fn errors_say_what_happened_and_what_to_do() {
        let manifests =
            "2 errors, nothing was changed\n  web.yaml:2:1: no kind \"X\" in v1\n  web.yaml:9:3: no field \"replica\"";
        let holder = Holder { daemon: true, pid: Some(7) };
        let held = LockError::Held { path: "/srv/selkie".into(), holder };
        let errors = [
            CliError::from(refused()),
            CliError::new(manifests),
            CliError::from(StartError::Lock(held)),
            CliError::from(StartError::Listen {
                address: ([127, 0, 0, 1], 6443).into(),
                source: std::io::ErrorKind::AddrInUse.into(),
            }),
            CliError::new("no application \"shop\"").hint("there are none").code(2),
        ];
        let coloured: String = errors.iter().map(CliError::text).collect();
        insta::assert_snapshot!(anstream::adapter::strip_str(&coloured).to_string());
        insta::assert_snapshot!(coloured.replace('\u{1b}', "␛"));
        assert_eq!(errors.map(|error| error.code), [1, 1, 1, 1, 2]);
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = crate::gitops::sync::SyncError::Api(Box::new(refused()));
        assert_eq!(
            CliError::chain(&error),
            "the API server did not take the changes: deployments.apps \"web\" not found"
        );
    }
}
