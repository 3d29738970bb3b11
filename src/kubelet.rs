//! Runs pods on one Podman host.

pub mod container;
pub mod env;
pub mod fields;
pub mod images;
pub mod pod;
pub mod resources;
pub mod runtime;
pub mod sandbox;
pub mod status;
pub mod volumes;
