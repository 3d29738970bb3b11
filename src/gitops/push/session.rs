//! One push from its request to the end of what is told about it, and how many there may be.

use crate::gitops::plan::ObjectChange;
use crate::gitops::sync::Event;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, broadcast};

/// An event of a sync, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub application: String,
    pub event: Event,
}

pub(super) struct Session {
    pub application: String,
    pub uid: String,
    /// Who pushes.
    pub user: String,
    accepted: Mutex<Option<Accepted>>,
    place: Mutex<Option<Place>>,
}

/// A push whose commit was found good.
pub(super) struct Accepted {
    pub commit: String,
    pub planned: Vec<ObjectChange>,
    /// From before anything could happen because of it.
    pub events: broadcast::Receiver<Told>,
    /// Held until git has changed the refs.
    pub turn: Option<OwnedMutexGuard<()>>,
}

impl Session {
    pub fn new(application: String, uid: String, user: String, place: Place) -> Self {
        Self { application, uid, user, accepted: Mutex::default(), place: Mutex::new(Some(place)) }
    }

    pub fn accept(&self, accepted: Accepted) {
        *self.accepted.lock() = Some(accepted);
    }

    pub fn take(&self) -> Option<Accepted> {
        self.accepted.lock().take()
    }

    /// Makes room for others: whoever only watches takes none of git's time.
    pub fn leave(&self) {
        *self.place.lock() = None;
    }
}

/// How many calls of git there may be, all in all, ...
const PLACES: usize = 16;
/// ... and for one application, so that it cannot keep the others out.
const PLACES_EACH: usize = 4;

#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<String, usize>>>);

impl Places {
    /// `None`: there are too many.
    pub fn take(&self, uid: &str) -> Option<Place> {
        let mut taken = self.0.lock();
        let own = taken.get(uid).copied().unwrap_or_default();
        if own >= PLACES_EACH || taken.values().sum::<usize>() >= PLACES {
            return None;
        }
        taken.insert(uid.to_owned(), own + 1);
        Some(Place { places: self.clone(), uid: uid.to_owned() })
    }
}

pub(super) struct Place {
    places: Places,
    uid: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        let left = taken.get(&self.uid).map_or(0, |own| own - 1);
        if left == 0 {
            taken.remove(&self.uid);
        } else {
            taken.insert(self.uid.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_application_leaves_room_for_others() {
        let places = Places::default();
        let mut held: Vec<_> = (0..PLACES_EACH).map(|_| places.take("a")).collect();
        assert!(held.iter().all(Option::is_some) && places.take("a").is_none());
        held.extend((0..PLACES).map(|n| places.take(&format!("b{n}"))));
        assert_eq!(held.iter().flatten().count(), PLACES);
        held.clear();
        assert!(places.take("a").is_some() && places.0.lock().is_empty(), "all were given back");
    }
}
