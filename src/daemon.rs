//! The daemon: wires the parts, supervises them, stops them in order.
