//! Runs pods on one Podman host.

pub mod env;
pub mod fields;
pub mod pod;
pub mod resources;
pub mod runtime;
pub mod status;
