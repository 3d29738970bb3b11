//! From a source to a change set: sources, rendering, plan, sync; and who is told of it.
//!
//! Nothing here prints: reports and events are values, and whoever runs a sync shows them.

pub mod access;
pub mod adopt;
pub mod application;
pub mod helm;
pub mod hooks;
pub mod https;
pub mod inputs;
pub mod kinds;
pub mod metrics;
pub mod notices;
pub mod notify;
pub mod observe;
pub mod plan;
pub mod previews;
mod process;
pub mod push;
pub mod readiness;
pub mod render;
pub mod sets;
pub mod sops;
pub mod sources;
pub mod sync;
pub mod webhooks;
pub mod windows;
