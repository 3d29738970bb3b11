//! Addresses and service endpoints.
