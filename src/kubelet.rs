//! Runs pods on one Podman host.

pub mod runtime;
