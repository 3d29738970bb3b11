//! What a sync changes, as values. Pure.
//!
//! The before and after of each object come from the API server, which ran the real admission and
//! apply on them; nothing here decides what an apply does, only what of it a person wants to see.

pub mod diff;
pub mod inventory;
pub mod prune;
pub mod report;
pub mod takeovers;

mod restarts;

pub use diff::FieldChange;
pub use prune::{Held, Prune};
pub use report::{Action, ObjectChange, Report, Totals};
