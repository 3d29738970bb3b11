//! From a source to a change set: sources, rendering, plan, sync.

pub mod kinds;
pub mod render;
pub mod sources;
