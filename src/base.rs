//! What everything else stands on: clock, cores, small maps, ids, backoff, wake-ups, what was said before, file
//! watchers, socket paths, URLs as they may be shown, values in JSON text, TLS without trust. Knows nothing of Kubernetes.

pub mod backoff;
pub mod clock;
pub mod cores;
pub mod cron;
pub mod few;
pub mod ids;
pub mod json;
pub mod limits;
pub mod socket;
pub mod template;
pub mod tls;
pub mod told;
pub mod url;
pub mod value_path;
#[cfg(test)]
#[path = "../tests/support/wait.rs"]
pub mod wait;
pub mod wake;
pub mod watch;
