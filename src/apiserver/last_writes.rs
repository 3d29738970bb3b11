//! Who wrote an object last by hand: what drift is told with. In memory, of the newest writes only.

use crate::api::changeset::Author;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many are remembered.
const KEPT: usize = 4096;
/// Users that are part of the machinery: nobody asks who they are.
const MACHINERY: [&str; 2] = ["system:selkie", "system:node:"];

/// The newest writes, by the key of the object in the store.
#[derive(Default)]
pub(super) struct LastWrites(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_key: HashMap<Arc<str>, (u64, Author)>,
    /// Oldest first; entries that were written over count no more.
    order: VecDeque<(u64, Arc<str>)>,
    next: u64,
}

impl LastWrites {
    pub fn note(&self, key: Arc<str>, author: Author) {
        if MACHINERY.iter().any(|prefix| author.user.starts_with(prefix)) {
            return;
        }
        let mut kept = self.0.lock();
        let number = kept.next;
        kept.next += 1;
        kept.by_key.insert(key.clone(), (number, author));
        kept.order.push_back((number, key));
        while kept.order.len() > KEPT {
            let Some((number, key)) = kept.order.pop_front() else { break };
            if kept.by_key.get(&key).is_some_and(|(newest, _)| *newest == number) {
                kept.by_key.remove(&key);
            }
        }
    }

    pub fn of(&self, key: &str) -> Option<Author> {
        self.0.lock().by_key.get(key).map(|(_, author)| author.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(user: &str) -> Author {
        Author { user: user.into(), ..Author::default() }
    }

    #[test]
    fn the_newest_are_kept_and_the_machinery_is_not() {
        let writes = LastWrites::default();
        writes.note("a".into(), author("ann"));
        writes.note("a".into(), author("ben"));
        writes.note("a".into(), author("system:selkie"));
        assert_eq!(writes.of("a").map(|author| author.user), Some("ben".to_owned()));
        for index in 0..KEPT {
            writes.note(format!("k{index}").into(), author("ann"));
        }
        assert_eq!(writes.of("a"), None);
        assert!(writes.of("k0").is_some());
        assert_eq!(writes.0.lock().by_key.len(), KEPT);
    }
}
