//! The daemon: wires the parts, supervises them, stops them in order.
//!
//! The same [`Cluster`] is the daemon, the one-shot apply without one, and the read-only view of a
//! data directory; [`Mode`] says how much of it starts.

mod apps;
mod aside;
mod bootstrap;
mod cluster;
mod credentials;
pub mod fork;
mod hosts;
pub mod options;
pub mod paths;
mod supervise;
mod verdicts;

pub use cluster::{Cluster, StartError};
pub use options::{Mode, Options, Timing};
