//! Syncs against the API server, in this process.
