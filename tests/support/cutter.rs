//! Stands between selkie and a Podman service, and cuts or holds calls at the moments that matter:
//! before Podman hears of them, and when it has done them and is about to say so.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The longest head of a request.
const HEAD: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Podman has not heard of the call.
    Request,
    /// Podman has done it.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Cut(At),
    Hold(At),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Awaited,
    Met,
    Released,
}

type Which = Box<dyn Fn(&str) -> bool + Send>;

struct Rule {
    /// Of the line with the method, the path and the query.
    which: Which,
    fate: Fate,
    stage: watch::Sender<Stage>,
}

/// A call that is to be cut or held, and will be once.
pub struct Trap(watch::Sender<Stage>);

impl Trap {
    /// Waits until the call has come, and is cut or held.
    pub async fn met(&self) {
        let mut stage = self.0.subscribe();
        let met = tokio::time::timeout(crate::wait::Pace::default().at_most, stage.wait_for(|s| *s >= Stage::Met));
        met.await.expect("the call comes").expect("its stage");
    }

    pub fn is_met(&self) -> bool {
        *self.0.borrow() >= Stage::Met
    }

    /// Lets a held call go on.
    pub fn release(&self) {
        self.0.send_replace(Stage::Released);
    }
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
    streams: Mutex<CancellationToken>,
}

/// The proxy; it ends when dropped.
pub struct Cutter {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Cutter {
    /// In front of the service at `url`, which is a unix socket.
    pub fn before(url: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("podman.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (shared, backend) = (Arc::<Shared>::default(), PathBuf::from(url.trim_start_matches("unix://")));
        let common = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, backend) = (common.clone(), backend.clone());
                // A connection that breaks is what this is about.
                tokio::spawn(async move { _ = shared.serve(client, backend).await });
            }
        });
        Self { url: format!("unix://{}", socket.display()), shared, task, _directory: directory }
    }

    /// Cuts the next call of which `which` holds: `METHOD /path?query`.
    pub fn cut(&self, which: impl Fn(&str) -> bool + Send + 'static, at: At) -> Trap {
        self.add(which, Fate::Cut(at))
    }

    /// Holds it until it is released.
    pub fn hold(&self, which: impl Fn(&str) -> bool + Send + 'static, at: At) -> Trap {
        self.add(which, Fate::Hold(at))
    }

    fn add(&self, which: impl Fn(&str) -> bool + Send + 'static, fate: Fate) -> Trap {
        let (stage, _) = watch::channel(Stage::Awaited);
        self.shared.rules.lock().push(Rule { which: Box::new(which), fate, stage: stage.clone() });
        Trap(stage)
    }

    /// How many such calls have come.
    pub fn count(&self, which: impl Fn(&str) -> bool) -> usize {
        self.shared.seen.lock().iter().filter(|line| which(line)).count()
    }

    /// Ends the event streams that are open.
    pub fn end_streams(&self) {
        std::mem::take(&mut *self.shared.streams.lock()).cancel();
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
        self.end_streams();
    }
}

impl Shared {
    async fn serve(&self, mut client: UnixStream, backend: PathBuf) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < HEAD {
            if client.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        self.seen.lock().push(line.clone());
        let rule = {
            let mut rules = self.rules.lock();
            let found = rules.iter().position(|rule| (rule.which)(&line));
            found.map(|at| rules.remove(at)).map(|rule| (rule.fate, rule.stage))
        };
        match &rule {
            Some((Fate::Cut(At::Request), stage)) => {
                stage.send_replace(Stage::Met);
                return Ok(());
            }
            Some((Fate::Hold(At::Request), stage)) => held(stage).await,
            _ => {}
        }
        let mut podman = UnixStream::connect(backend).await?;
        podman.write_all(&head).await?;
        if let Some((fate @ (Fate::Cut(At::Answer) | Fate::Hold(At::Answer)), stage)) = &rule {
            let (mut from, mut to) = client.split();
            let (mut answers, mut requests) = podman.split();
            let mut answer = Vec::new();
            // The rest of the request goes on until the answer has begun.
            tokio::select! {
                read = answers.read_buf(&mut answer) => drop(read?),
                _ = async {
                    _ = tokio::io::copy(&mut from, &mut requests).await;
                    std::future::pending::<()>().await;
                } => {}
            }
            if matches!(fate, Fate::Cut(_)) {
                stage.send_replace(Stage::Met);
                return Ok(());
            }
            held(stage).await;
            to.write_all(&answer).await?;
        }
        let streams = self.streams.lock().clone();
        let flow = copy_bidirectional(&mut client, &mut podman);
        match line.contains("/events") {
            true => _ = streams.run_until_cancelled(flow).await,
            false => _ = flow.await?,
        }
        Ok(())
    }
}

async fn held(stage: &watch::Sender<Stage>) {
    // It may have been released before it came.
    stage.send_if_modified(|stage| *stage == Stage::Awaited && std::mem::replace(stage, Stage::Met) == Stage::Awaited);
    _ = stage.subscribe().wait_for(|stage| *stage == Stage::Released).await;
}
