//! Access reviews: what clients ask before they try.
