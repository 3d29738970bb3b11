//! Validation of kinds without a file of their own.

pub mod access;
pub mod autoscaling;
pub mod claim_status;
pub mod device_slices;
pub mod devices;
pub mod networking;
pub mod node;
pub mod policies;
pub mod quotas;
pub mod storage;
pub mod volumes;
pub mod workloads;
