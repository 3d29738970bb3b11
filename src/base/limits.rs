//! Rate limits: buckets that fill again by themselves, one for each key.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// More than these are not remembered.
const REMEMBERED: usize = 10_000;

pub struct Limits<K> {
    /// So many at once ...
    burst: f64,
    /// ... and so many a second in the long run.
    rate: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Eq + Hash> Limits<K> {
    pub fn new(burst: f64, rate: f64) -> Self {
        Self { burst, rate, buckets: Mutex::default() }
    }

    fn now(&self, bucket: Option<&Bucket>) -> Bucket {
        let now = Instant::now();
        let filled = |known: &Bucket| (known.left + (now - known.at).as_secs_f64() * self.rate).min(self.burst);
        Bucket { left: bucket.map_or(self.burst, filled), at: now }
    }

    /// Whether one more is within the limit.
    pub fn allow(&self, key: &K) -> bool {
        self.now(self.buckets.lock().get(key)).left >= 1.0
    }

    /// Counts one; false: it is beyond the limit.
    pub fn take(&self, key: K) -> bool {
        self.reserve(key, |left| (left - 1.0).max(0.0)) >= 1.0
    }

    /// Counts one that is within the limit after this long.
    pub fn turn(&self, key: K) -> Duration {
        let left = self.reserve(key, |left| left - 1.0);
        Duration::from_secs_f64(((1.0 - left) / self.rate).max(0.0))
    }

    /// What was left of a bucket before something was taken out.
    fn reserve(&self, key: K, take: impl Fn(f64) -> f64) -> f64 {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| self.now(Some(bucket)).left < self.burst);
        }
        if buckets.len() >= REMEMBERED {
            buckets.clear();
        }
        let bucket = self.now(buckets.get(&key));
        buckets.insert(key, Bucket { left: take(bucket.left), ..bucket });
        bucket.left
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_and_then_one_a_second() {
        let limits = Limits::new(30.0, 1.0);
        let taken = (0..100).filter(|_| limits.take("a")).count();
        assert_eq!(taken, 30);
        assert!(!limits.allow(&"a") && limits.allow(&"b"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(limits.take("a") && limits.take("a") && !limits.take("a"));
        (0..3 * REMEMBERED).for_each(|n| {
            limits.take(Box::leak(n.to_string().into_boxed_str()));
        });
        assert!(limits.buckets.lock().len() <= REMEMBERED);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_gets_it_in_order() {
        let limits = Limits::new(2.0, 0.5);
        let turns = [(); 4].map(|()| limits.turn("a").as_secs());
        assert_eq!(turns, [0, 0, 2, 4]);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(limits.turn("a").as_secs(), 2);
    }
}
