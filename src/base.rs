//! What everything else stands on: clock, ids, backoff, wake-ups, socket paths, URLs as they may be shown. Knows nothing of Kubernetes.

pub mod backoff;
pub mod clock;
pub mod cron;
pub mod ids;
pub mod limits;
pub mod socket;
pub mod template;
pub mod url;
#[cfg(test)]
#[path = "../tests/support/wait.rs"]
pub mod wait;
pub mod wake;
