//! Work queues: which keys need a look, each at most once at a time.
//!
//! A key added while it waits is merged; a key added while it is being worked on is handed out
//! again afterwards. Keys carry no payload: a worker looks at the world anew each time.

use crate::base::backoff::Backoff;
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Waits between retries of one key: 5 ms, doubling, up to 1000 s (client-go's).
const RETRY: Backoff = Backoff { base: Duration::from_millis(5), max: Duration::from_secs(1000) };

/// What a queue's keys must be.
pub trait Key: Clone + Eq + Hash + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Key for T {}

/// Clones share the queue.
pub struct WorkQueue<K>(Arc<Inner<K>>);

struct Inner<K> {
    state: Mutex<State<K>>,
    news: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Waiting in `ready`, or to be put there when the worker is done.
    dirty: HashSet<K>,
    processing: HashSet<K>,
    /// By due time; the number keeps keys that are due at the same instant in order.
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    sequence: u64,
    failures: HashMap<K, u32>,
    closed: bool,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Key> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key> WorkQueue<K> {
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            closed: false,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), news: Notify::new() }))
    }

    /// The key needs a look now.
    pub fn add(&self, key: K) {
        if self.0.state.lock().add(key) {
            self.0.news.notify_one();
        }
    }

    /// The key needs a look in a while. Of several times asked for, the earliest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.0.state.lock();
        let due = Instant::now() + delay;
        if let Some(known) = state.due.get(&key).copied() {
            if known.0 <= due {
                return;
            }
            state.delayed.remove(&known);
        }
        state.sequence += 1;
        let at = (due, state.sequence);
        state.due.insert(key.clone(), at);
        state.delayed.insert(at, key);
        drop(state);
        self.0.news.notify_one();
    }

    /// The key failed: again after its backoff.
    pub fn retry(&self, key: K) {
        let delay = {
            let mut state = self.0.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            RETRY.after(*failures)
        };
        self.add_after(key, delay);
    }

    /// The key succeeded: its next failure starts the backoff anew.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// How often the key failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// Keys ready to be worked on.
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Nothing is ready, being worked on, or waiting for its time.
    pub fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.ready.is_empty() && state.processing.is_empty() && state.delayed.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key to look at, which is this caller's alone until [`Self::done`]; `None` after
    /// [`Self::shutdown`].
    pub async fn get(&self) -> Option<K> {
        loop {
            let news = self.0.news.notified();
            let next_due = {
                let mut state = self.0.state.lock();
                if state.closed {
                    return None;
                }
                let due = state.promote(Instant::now());
                if let Some(key) = state.take() {
                    // One call of `promote` may have made several keys ready: pass the word on.
                    if !state.ready.is_empty() {
                        self.0.news.notify_one();
                    }
                    return Some(key);
                }
                due
            };
            match next_due {
                Some(due) => tokio::select! { biased; () = news => {}, () = sleep_until(due) => {} },
                None => news.await,
            }
        }
    }

    /// The caller of [`Self::get`] has finished with the key.
    pub fn done(&self, key: &K) {
        let mut state = self.0.state.lock();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            self.0.news.notify_one();
        }
    }

    /// Wakes all workers and hands out nothing more.
    pub fn shutdown(&self) {
        self.0.state.lock().closed = true;
        self.0.news.notify_waiters();
        self.0.news.notify_one();
    }
}

impl<K: Key> State<K> {
    /// Whether something became ready.
    fn add(&mut self, key: K) -> bool {
        if self.closed || !self.dirty.insert(key.clone()) || self.processing.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    /// Moves due keys to `ready`; returns when the next one is due.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, _)) = self.delayed.first_key_value().map(|(at, _)| *at) {
            if at > now {
                return Some(at);
            }
            if let Some((_, key)) = self.delayed.pop_first() {
                self.due.remove(&key);
                self.add(key);
            }
        }
        None
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }
}

/// Works on the queue's keys, up to `workers` at once, until the queue is shut down; work under way
/// is finished first. A reconciler returns when it wants to look again, if nothing wakes it before;
/// an error (or a panic) is retried with backoff.
pub async fn run_workers<K, F, Fut, E>(queue: WorkQueue<K>, workers: usize, reconcile: F)
where
    K: Key,
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Duration>, E>> + Send,
    E: Display + Send,
{
    let reconcile = Arc::new(reconcile);
    let mut tasks = JoinSet::new();
    for _ in 0..workers.max(1) {
        let (queue, reconcile) = (queue.clone(), reconcile.clone());
        tasks.spawn(async move {
            while let Some(key) = queue.get().await {
                let outcome = AssertUnwindSafe(reconcile(key.clone())).catch_unwind().await;
                settle(&queue, &key, outcome.map(|done| done.map_err(|error| error.to_string())));
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Gives a key back after a reconcile: forgotten, delayed or to be retried.
fn settle<K: Key, P>(queue: &WorkQueue<K>, key: &K, outcome: Result<Result<Option<Duration>, String>, P>) {
    match outcome {
        Ok(Ok(again)) => {
            queue.forget(key);
            if let Some(delay) = again {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(error)) => {
            // Conflicts with other writers are part of the game; only what persists is worth a line.
            match queue.failures(key) {
                0..3 => tracing::debug!(?key, %error, "reconcile failed, retrying"),
                _ => tracing::warn!(?key, %error, "reconcile keeps failing, retrying"),
            }
            queue.retry(key.clone());
        }
        Err(_) => {
            tracing::error!(?key, "reconcile panicked, retrying");
            queue.retry(key.clone());
        }
    }
    queue.done(key);
}

#[cfg(test)]
mod tests;
