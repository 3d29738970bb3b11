//! How much of what costs a host processor time it is asked to do at once. Podman runs as many container runtimes,
//! monitors and network set-ups as it has requests, and does less the more of them compete.

use std::pin::pin;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// For each processor.
const MOST: usize = 4;
const LEAST: usize = 8;
/// What takes longer than this waits for something else than a processor, like a volume's server, and no longer counts.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Turns(Semaphore);

impl Turns {
    pub fn on(cpus: u32) -> Self {
        let cpus = usize::try_from(cpus).unwrap_or(LEAST);
        Self(Semaphore::new(cpus.saturating_mul(MOST).clamp(LEAST, Semaphore::MAX_PERMITS)))
    }

    /// Does this when fewer are at theirs, or it has waited for a while.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        // Nobody closes it.
        let turn = timeout(PATIENCE, self.0.acquire()).await.ok().and_then(Result::ok);
        let mut work = pin!(work);
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            return done;
        }
        drop(turn);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn those_that_hang_hold_others_up_once() {
        let turns = Turns::on(1);
        let hang = async || {
            let hanging = (0..LEAST).map(|_| turns.during(sleep(HOUR)));
            futures::future::join_all(hanging).await;
        };
        let others = async || {
            let began = Instant::now();
            for _ in 0..3 {
                turns.during(async {}).await;
            }
            began.elapsed()
        };
        let (_, took) = tokio::join!(hang(), others());
        assert_eq!(took, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_at_it() {
        let (turns, most) = (Turns::on(3), std::cell::Cell::new((0, 0)));
        let work = |_| {
            turns.during(async {
                let (now, highest) = most.get();
                most.set((now + 1, highest.max(now + 1)));
                sleep(Duration::from_millis(100)).await;
                let (now, highest) = most.get();
                most.set((now - 1, highest));
            })
        };
        futures::future::join_all((0..40).map(work)).await;
        assert_eq!(most.get(), (0, 12));
        assert_eq!((Turns::on(64).0.available_permits(), Turns::on(0).0.available_permits()), (256, LEAST));
    }
}
