//! What the Kubernetes API *is*, without any I/O: which kinds exist, the schema of each, their
//! defaults, validation and table columns, selectors, quantities, metadata, Status errors.
//!
//! Adding a kind costs one file in `kinds/` and one row in [`registry`].

pub mod access;
pub mod cel;
pub mod changeset;
pub mod disruption;
pub mod error;
pub mod jsonpath;
pub mod kinds;
pub mod meta;
pub mod notifications;
pub mod placement;
pub mod plan;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod storage;
pub mod verdict;
