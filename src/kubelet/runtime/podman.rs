//! Runs containers through the REST API of a Podman service.
