//! Binds pods to hosts.
