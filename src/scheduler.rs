//! Binds pods to hosts: queue, snapshot, filters, scores, preemption, and a thin shell that binds.
//!
//! [`cycle`] decides, purely: a pod and a snapshot give a host, or a reason per host and, where that helps, the
//! pods that make way. The shell keeps the snapshot in step with the API, assumes a decision at once so that
//! the next pod sees it, and binds in the background. It knows no host but through its Node object.

pub mod cycle;
pub mod equivalence;
pub mod filters;
pub mod hints;
pub mod host;
pub mod preemption;
pub mod profiles;
pub mod promises;
mod queue;
pub mod rejections;
pub mod requests;
#[cfg(test)]
mod rig;
pub mod scores;
pub mod selectors;
mod shell;
pub mod snapshot;
pub mod storage;
pub mod topology;

pub use shell::{Observer, run, run_observed};

/// The name pods select this scheduler by.
pub const NAME: &str = "default-scheduler";
