//! Starts that the host will tell of and that are no news: a container that we made is looked at once when its start
//! is answered, and the event of that same start would have it looked at again, which costs the host as much as the
//! first look.

use crate::kubelet::runtime::{EventKind, RuntimeEvent};
use parking_lot::Mutex;
use std::collections::HashSet;

/// Containers whose first start nobody has told of yet, by id. Only the first: whatever starts one again, a hook or a
/// user, is news.
#[derive(Default)]
pub struct Starts(Mutex<HashSet<String>>);

impl Starts {
    /// The container was made just now and is being started.
    pub fn expect(&self, container: &str) {
        self.0.lock().insert(container.to_owned());
    }

    /// Whether this event tells of a start that was expected.
    pub fn is_expected(&self, event: &RuntimeEvent) -> bool {
        event.kind == EventKind::Started && self.0.lock().remove(&event.id)
    }

    /// It was not started.
    pub fn forget(&self, container: &str) {
        self.0.lock().remove(container);
    }

    /// Events may have been missed, or never come for what was never started: all that come are news.
    pub fn forget_all(&self) {
        std::mem::take(&mut *self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::runtime::{ContainerIdentity, PodIdentity};

    fn event(kind: EventKind, id: &str) -> RuntimeEvent {
        RuntimeEvent {
            time: jiff::Timestamp::UNIX_EPOCH,
            kind,
            id: id.into(),
            pod: PodIdentity::default(),
            container: Some(ContainerIdentity::default()),
        }
    }

    #[test]
    fn only_the_first_start_of_what_was_made_is_no_news() {
        let starts = Starts::default();
        starts.expect("a");
        starts.expect("b");
        assert!(!starts.is_expected(&event(EventKind::Started, "c")), "nobody made it");
        assert!(!starts.is_expected(&event(EventKind::Died { exit_code: 0 }, "a")), "its end is news");
        assert!(starts.is_expected(&event(EventKind::Started, "a")));
        assert!(!starts.is_expected(&event(EventKind::Started, "a")), "somebody started it again");
        starts.forget_all();
        assert!(!starts.is_expected(&event(EventKind::Started, "b")), "contact was lost");
        starts.expect("c");
        starts.forget("c");
        assert!(!starts.is_expected(&event(EventKind::Started, "c")), "it was refused");
    }
}
