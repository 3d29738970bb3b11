//! A simulated host: containers exist in memory only and live under tokio time.
