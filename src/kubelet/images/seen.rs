//! Images that a host was asked for just now: pods of one image come in numbers, and each answer costs the host as
//! much as making a container's directories does.

use crate::kubelet::runtime::ImageInfo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer holds. Whoever removes the image meanwhile could as well have done so between the answer and
/// the container, which then is not made and tried again.
const HOLDS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<String, (Instant, ImageInfo)>>);

impl Seen {
    pub fn recall(&self, name: &str) -> Option<ImageInfo> {
        let mut seen = self.0.lock();
        seen.retain(|_, (at, _)| at.elapsed() < HOLDS);
        seen.get(name).map(|(_, image)| image.clone())
    }

    pub fn note(&self, name: &str, image: &ImageInfo) {
        self.0.lock().insert(name.to_owned(), (Instant::now(), image.clone()));
    }

    /// The name is to be another image.
    pub fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_a_second() {
        let seen = Seen::default();
        let image = ImageInfo { id: "1".to_owned(), ..ImageInfo::default() };
        assert_eq!(seen.recall("a"), None);
        seen.note("a", &image);
        seen.note("b", &image);
        seen.forget("b");
        tokio::time::advance(HOLDS / 2).await;
        assert_eq!((seen.recall("a"), seen.recall("b")), (Some(image), None));
        // An answer that is used is no newer for that.
        tokio::time::advance(HOLDS / 2).await;
        assert_eq!(seen.recall("a"), None);
        assert!(seen.0.lock().is_empty());
    }
}
