//! git's own server as a child: one CGI call (RFC 3875) of `git http-backend`, both ways streamed.
//!
//! The child has no environment but ours, no settings but ours, and limits on what it may use. It is a
//! process group of its own, ended as a whole when whoever asked leaves.

use super::hook;
use crate::apiserver::{Body, GitRequest, GitService};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, EXPIRES, HeaderName, PRAGMA};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// Address space in KiB and file size in blocks of 512 bytes: what a bomb could make git use.
const LIMITS: &str = "ulimit -v 4194304; ulimit -f 4194304; exec \"$@\"";
/// How long a child that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);
/// How long the answer's first lines may take.
const HEADER: Duration = Duration::from_secs(30);
/// The answer's first lines.
const LONGEST_HEADER: u64 = 16 * 1024;
const PIECE: usize = 16 * 1024;
/// Who sends a body may take this long ...
const LEISURE: Duration = Duration::from_secs(30);
/// ... and a second for each so many bytes: a slow client must not hold a place for long.
const BYTES_PER_SECOND: u64 = 16 * 1024;
/// How long the rest of a body that git does not want is let come: who is still sending does not see
/// the answer.
const UNWANTED: Duration = Duration::from_secs(10);

/// The settings and variables of one call.
pub(super) struct Call<'a> {
    pub repository: &'a Path,
    /// `-c KEY=VALUE`, in this order.
    pub settings: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
    /// The longest that it may take, all in all.
    pub patience: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    #[error("git cannot be run: {0}")]
    Spawn(#[source] io::Error),
    /// With what it said on standard error.
    #[error("git http-backend gave no answer: {0}")]
    Silent(String),
}

/// A git command in the environment that all of ours have.
pub(super) fn git(settings: &[String]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", LIMITS, "sh", "git"]).args(settings.iter().flat_map(|setting| ["-c", setting]));
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    let clean = [
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        // For the hooks, which are this program.
        ("SELKIE_CONFIG", "/dev/null"),
        ("NO_COLOR", "1"),
    ];
    command.envs(clean).process_group(0).kill_on_drop(true);
    command
}

/// Runs the call. `held` is dropped when it has ended, however it ends.
pub(super) async fn run<T: Send + 'static>(
    call: Call<'_>,
    request: GitRequest,
    held: T,
) -> Result<Response<Body>, BackendError> {
    let mut command = git(&call.settings);
    command.arg("http-backend").envs(variables(call.repository, &request));
    command.envs(call.variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(BackendError::Spawn)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let group = Group(Some((child, held)));
    let (Some(input), Some(output), Some(mut errors)) = (input, output, errors) else {
        return Err(BackendError::Spawn(io::ErrorKind::BrokenPipe.into()));
    };
    let sending = AbortOnDropHandle::new(tokio::spawn(send(request.body, input)));
    let said = tokio::spawn(async move {
        let mut said = String::new();
        // What does not fit or is no text is not worth more.
        let _ = (&mut errors).take(LONGEST_HEADER).read_to_string(&mut said).await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        said
    });
    let mut output = BufReader::new(output);
    let head = timeout(HEADER, head(&mut output)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (status, headers) = match head {
        Ok(head) => head,
        Err(error) => {
            drop(group);
            let said = timeout(GRACE, said).await.ok().and_then(Result::ok).unwrap_or_default();
            let said = said.lines().last().map_or_else(|| error.to_string(), str::to_owned);
            return Err(BackendError::Silent(said));
        }
    };
    let until = Instant::now() + call.patience;
    let running = Running { group, output, sending, until };
    let pieces = stream::unfold(running, |mut running| async move {
        let piece = running.piece().await;
        match piece {
            Some(piece) => Some((piece, running)),
            None => {
                running.end().await;
                None
            }
        }
    });
    let mut response = Response::new(Body::Stream(pieces.boxed()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What CGI tells of the request: nothing that a client sends gets there but what is named here.
fn variables(repository: &Path, request: &GitRequest) -> Vec<(&'static str, String)> {
    let header = |name: HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    let name = request.service.name();
    let (root, folder) = (repository.parent().unwrap_or(Path::new("/")), repository.file_name().unwrap_or_default());
    let folder = folder.to_string_lossy();
    let what = if request.advertisement { "info/refs" } else { name };
    let mut variables = vec![
        ("GIT_PROJECT_ROOT", root.display().to_string()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("REMOTE_USER", request.user.clone()),
        ("REQUEST_METHOD", if request.advertisement { "GET" } else { "POST" }.to_owned()),
        ("PATH_INFO", format!("/{folder}/{what}")),
        ("QUERY_STRING", if request.advertisement { format!("service={name}") } else { String::new() }),
        ("CONTENT_TYPE", header(CONTENT_TYPE).unwrap_or_default().to_owned()),
    ];
    if header(CONTENT_ENCODING).is_some_and(|coding| ["gzip", "x-gzip"].contains(&coding)) {
        variables.push(("HTTP_CONTENT_ENCODING", "gzip".to_owned()));
    }
    let protocol = header(HeaderName::from_static("git-protocol"));
    if let Some(version) = protocol.filter(|text| ["version=1", "version=2"].contains(text)) {
        variables.push(("HTTP_GIT_PROTOCOL", version.to_owned()));
    }
    variables
}

/// The status and the headers of a CGI answer.
async fn head(output: &mut BufReader<ChildStdout>) -> io::Result<(StatusCode, HeaderMap)> {
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    let mut lines = output.take(LONGEST_HEADER);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        if name == "Status" {
            let code = value.get(..3).and_then(|code| code.parse().ok());
            status = code.ok_or(io::ErrorKind::InvalidData)?;
        } else if let Ok(name) = name.parse::<HeaderName>()
            && [CONTENT_TYPE, CACHE_CONTROL, EXPIRES, PRAGMA].contains(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    }
    Ok((status, headers))
}

/// Passes a body on. One that does not come in time ends early, which git takes as a push that broke off.
async fn send(mut body: BoxStream<'static, io::Result<Bytes>>, mut input: ChildStdin) {
    let (begun, mut passed) = (Instant::now(), 0u64);
    loop {
        let until = begun + LEISURE + Duration::from_secs(passed / BYTES_PER_SECOND);
        let Ok(Some(Ok(piece))) = timeout_at(until, body.next()).await else { return };
        passed += piece.len() as u64;
        if input.write_all(&piece).await.is_err() {
            break;
        }
    }
    drop(input);
    let _ = timeout(UNWANTED, async { while let Some(Ok(_)) = body.next().await {} }).await;
}

struct Running<T: Send + 'static> {
    group: Group<T>,
    output: BufReader<ChildStdout>,
    sending: AbortOnDropHandle<()>,
    until: Instant,
}

impl<T: Send + 'static> Running<T> {
    async fn piece(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = timeout_at(self.until, self.output.read_buf(&mut piece)).await;
        let count = read.ok().and_then(Result::ok).unwrap_or_default();
        (count > 0).then(|| piece.freeze())
    }

    async fn end(&mut self) {
        if Instant::now() < self.until {
            let _ = timeout(UNWANTED, &mut self.sending).await;
            self.group.wait().await;
        }
    }
}

/// The child and all that it started, and what is held until it has ended. Dropped before, it is told to end.
struct Group<T: Send + 'static>(Option<(Child, T)>);

impl<T: Send + 'static> Group<T> {
    async fn wait(&mut self) {
        if let Some((child, _)) = &mut self.0
            && let Ok(Ok(_)) = timeout(GRACE, child.wait()).await
        {
            self.0 = None;
        }
    }
}

impl<T: Send + 'static> Drop for Group<T> {
    fn drop(&mut self) {
        let Some((mut child, held)) = self.0.take() else { return };
        let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
        // git tidies up behind itself when it is asked to end. It may have ended by itself.
        let _ = kill_process_group(group, Signal::TERM);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = timeout(GRACE, child.wait()).await;
                // The leader may have ended before the others.
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait().await;
                drop(held);
            });
        }
    }
}

/// The settings that every call has: `max_input` bytes of a pack, `branch` as the only ref that is there.
pub(super) fn settings(hooks: &Path, branch: &str, max_input: u64) -> Vec<String> {
    let fixed = [
        "http.uploadpack=true",
        "http.receivepack=true",
        "http.getanyfile=false",
        "receive.fsckObjects=true",
        // A pack stays one: loose objects are many files, and what compresses well is large.
        "receive.unpackLimit=1",
        "receive.autogc=false",
        "receive.denyDeletes=true",
        "receive.advertisePushOptions=true",
        "gc.auto=0",
        "maintenance.auto=false",
        "pack.threads=1",
        "pack.windowMemory=64m",
        "core.packedGitWindowSize=16m",
        "core.packedGitLimit=256m",
        "core.deltaBaseCacheLimit=64m",
        "core.bigFileThreshold=32m",
        "transfer.hideRefs=refs",
    ];
    let mut settings: Vec<String> = fixed.map(str::to_owned).into();
    settings.push(format!("transfer.hideRefs=!refs/heads/{branch}"));
    settings.push(format!("receive.maxInputSize={max_input}"));
    settings.push(format!("core.hooksPath={}", hooks.display()));
    settings
}

/// The hooks themselves: this program under another name.
pub(super) fn write_hooks(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(directory)?;
    for name in ["pre-receive", "post-receive"] {
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec \"${}\" git-hook {name}\n", hook::PROGRAM))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether a call changes the repository.
pub(super) fn receives(request: &GitRequest) -> bool {
    request.service == GitService::ReceivePack && !request.advertisement
}
