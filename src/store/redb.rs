//! The store in a redb file.
