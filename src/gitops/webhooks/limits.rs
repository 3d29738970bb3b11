//! How many webhooks are taken: from an address that sends wrong ones, and for an application.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use tokio::time::Instant;

/// So many at once ...
const BURST: f64 = 30.0;
/// ... and so many a second in the long run.
const RATE: f64 = 1.0;
/// More than these are not remembered.
const REMEMBERED: usize = 10_000;

/// Buckets that fill again by themselves, one for each key.
pub(super) struct Limits<K>(Mutex<HashMap<K, Bucket>>);

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn now(bucket: Option<&Self>) -> Self {
        let now = Instant::now();
        let left = bucket.map_or(BURST, |known| (known.left + (now - known.at).as_secs_f64() * RATE).min(BURST));
        Self { left, at: now }
    }
}

impl<K> Default for Limits<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Limits<K> {
    /// Whether one more is within the limit.
    pub fn allow(&self, key: &K) -> bool {
        Bucket::now(self.0.lock().get(key)).left >= 1.0
    }

    /// Counts one; false: it is beyond the limit.
    pub fn take(&self, key: K) -> bool {
        let mut buckets = self.0.lock();
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| Bucket::now(Some(bucket)).left < BURST);
        }
        if buckets.len() >= REMEMBERED {
            buckets.clear();
        }
        let mut bucket = Bucket::now(buckets.get(&key));
        let within = bucket.left >= 1.0;
        bucket.left = (bucket.left - 1.0).max(0.0);
        buckets.insert(key, bucket);
        within
    }
}

/// Who has one address of an IPv6 network has them all.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or_else(
            || {
                let [a, b, c, d, ..] = six.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            },
            IpAddr::V4,
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_and_then_one_a_second() {
        let limits = Limits::default();
        let taken = (0..100).filter(|_| limits.take("a")).count();
        assert_eq!(taken, BURST as usize);
        assert!(!limits.allow(&"a") && limits.allow(&"b"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(limits.take("a") && limits.take("a") && !limits.take("a"));
        (0..3 * REMEMBERED).for_each(|n| {
            limits.take(Box::leak(n.to_string().into_boxed_str()));
        });
        assert!(limits.0.lock().len() <= REMEMBERED);
    }

    #[test]
    fn networks_are_one() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
