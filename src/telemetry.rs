//! Tracing setup and the metrics registry.
