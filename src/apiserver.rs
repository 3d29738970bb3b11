//! The API server: the only writer of the store.
