//! The daemon: wires the parts, supervises them, stops them in order.

pub mod options;
pub mod paths;
mod supervise;
