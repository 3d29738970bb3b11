//! How the hooks of a pushed repository ask the daemon: a line of JSON over a unix socket, answered by
//! lines of JSON. git runs the hooks; what they say to it reaches whoever pushed.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Variables that a hook gets along with git's own: the socket, and which push it belongs to.
pub const SOCKET: &str = "SELKIE_HOOK_SOCKET";
pub const PUSH: &str = "SELKIE_HOOK_PUSH";
/// And the program that the hooks are.
pub const PROGRAM: &str = "SELKIE_HOOK_PROGRAM";

/// More than a push of all the refs that are looked at.
const LONGEST_LINE: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// The commits have come, and nothing has changed yet.
    PreReceive,
    /// The refs are what was pushed.
    PostReceive,
}

/// One ref of a push, as git tells its hooks. A hash of zeros is a ref that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    pub old: String,
    pub new: String,
    pub reference: String,
}

impl Update {
    /// `old new ref`.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        Some(Self { old: words.next()?, new: words.next()?, reference: words.next()? })
    }

    pub fn deletes(&self) -> bool {
        self.new.bytes().all(|digit| digit == b'0')
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// What [`PUSH`] says.
    pub push: String,
    pub hook: Hook,
    pub updates: Vec<Update>,
    /// Where git keeps the objects until the push is accepted (`GIT_QUARANTINE_PATH`).
    pub quarantine: Option<PathBuf>,
    /// `git push -o OPTION`.
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// For whoever pushed; whole lines.
    Say(String),
    /// The last answer.
    End { accepted: bool },
}

/// Asks, and tells `say` what comes back. The verdict; an error where the daemon went away before it.
pub async fn ask(socket: &str, call: &Call, mut say: impl FnMut(&str)) -> io::Result<bool> {
    // The daemon takes a closed half for one who left.
    let (from, mut to) = UnixStream::connect(socket).await?.into_split();
    write(&mut to, call).await?;
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Answer::Say(text) => say(&text),
            Answer::End { accepted } => return Ok(accepted),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// The other end of a call.
pub(super) struct Caller {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Caller {
    /// Reads the call of a new connection.
    pub async fn accept(stream: UnixStream) -> io::Result<(Call, Self)> {
        let (from, to) = stream.into_split();
        let mut from = BufReader::new(from);
        let mut line = String::new();
        (&mut from).take(LONGEST_LINE).read_line(&mut line).await?;
        Ok((serde_json::from_str(&line)?, Self { from, to }))
    }

    /// An error means that whoever pushed has left.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() { Ok(()) } else { write(&mut self.to, &Answer::Say(text.to_owned())).await }
    }

    /// Returns when whoever asked is gone: nothing more is sent but that.
    pub async fn left(&mut self) {
        let _ = self.from.read_u8().await;
    }

    pub async fn end(mut self, accepted: bool) {
        // Who is gone needs no answer.
        let _ = write(&mut self.to, &Answer::End { accepted }).await;
    }
}

async fn write(to: &mut OwnedWriteHalf, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line).await
}
