//! A wake-up without a payload: it means "look again". Wake-ups that arrive while nobody waits
//! are kept as one.

use std::sync::Arc;
use tokio::sync::Notify;

/// Clones wake and wait on the same bell. One waiter at a time.
#[derive(Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Returns at once if a ring is pending.
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}
