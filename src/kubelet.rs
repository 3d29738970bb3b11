//! Runs pods on one Podman host.
