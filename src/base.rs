//! What everything else stands on: clock, ids, backoff, wake-ups. Knows nothing of Kubernetes.

pub mod backoff;
pub mod clock;
pub mod ids;
pub mod wake;
