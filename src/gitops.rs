//! From a source to a change set: sources, rendering, plan, sync.
