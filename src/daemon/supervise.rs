//! Keeps the parts running: one that panics or returns early is reported and started again, so
//! that a fault in one part is not an outage of all.

use crate::base::backoff::Backoff;
use futures::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const RESTART: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(30) };
/// A part that ran this long was healthy; its next fault counts as the first.
const HEALTHY: Duration = Duration::from_secs(60);

/// The running parts of a daemon.
pub struct Supervisor {
    shutdown: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Supervisor {
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { shutdown, tasks: JoinSet::new() }
    }

    /// Runs what `start` makes until the shutdown token is cancelled, starting it anew if it ends before.
    pub fn keep<F>(&mut self, name: &'static str, label: String, start: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.keep_on(&Handle::current(), name, label, start);
    }

    /// The same on another runtime.
    pub fn keep_on<F>(
        &mut self,
        runtime: &Handle,
        name: &'static str,
        label: String,
        mut start: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        let kept = async move {
            let mut failures = 0;
            while !shutdown.is_cancelled() {
                let began = Instant::now();
                let ended = AssertUnwindSafe(start()).catch_unwind().await;
                if shutdown.is_cancelled() {
                    break;
                }
                failures = if began.elapsed() > HEALTHY { 1 } else { failures + 1 };
                let wait = RESTART.after(failures);
                let why = match ended {
                    Ok(()) => "ended by itself".to_string(),
                    Err(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
                };
                tracing::error!(part = name, of = label, "{why}; starting it again in {wait:?}");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.cancelled() => {}
                }
            }
            name
        };
        self.tasks.spawn_on(kept, runtime);
    }

    /// Waits until every part has ended, at most `deadline`; what is left then is dropped.
    /// The shutdown token must be cancelled.
    pub async fn finish(mut self, deadline: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::warn!("{} parts did not stop within {deadline:?} and are dropped", self.tasks.len());
            self.tasks.shutdown().await;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_is_started_again() {
        let shutdown = CancellationToken::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let starts = Arc::new(AtomicU32::new(0));
        let (count, token) = (starts.clone(), shutdown.clone());
        supervisor.keep("part", "test".into(), move || {
            let (start, token) = (count.fetch_add(1, Ordering::SeqCst), token.clone());
            async move {
                assert!(start >= 2, "start {start} fails");
                token.cancelled().await;
            }
        });
        while starts.load(Ordering::SeqCst) < 3 {
            tokio::time::advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        supervisor.finish(Duration::from_secs(1)).await;
    }
}
