//! How the task of an Application is reached, and what its objects are judged by.

use crate::api::changeset::ObjectId;
use crate::base::wake::Wake;
use crate::gitops::readiness::{Health, HealthCheck};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The bells of all Applications, by name.
pub(super) type Bells = Arc<Mutex<HashMap<String, Bell>>>;

/// Clones ring at the same task.
#[derive(Clone, Default)]
pub(super) struct Bell {
    /// Look at source and cluster again.
    pub look: Wake,
    /// Objects that were applied are not ready.
    pub unready: Wake,
    /// An object or a hook is not as ready as it was, or readier.
    pub moved: Wake,
    objects: Arc<Mutex<Vec<ObjectId>>>,
    /// What the Application's objects are judged by, and what it was made from.
    health: Arc<Mutex<(Vec<HealthCheck>, Health)>>,
}

impl Bell {
    pub fn ring_unready(&self, object: ObjectId) {
        self.objects.lock().push(object);
        self.unready.ring();
    }

    pub fn health(&self) -> Health {
        self.health.lock().1.clone()
    }

    /// True: these are others than before.
    pub fn judge_by(&self, checks: &[HealthCheck]) -> bool {
        let mut health = self.health.lock();
        let is_new = health.0 != checks;
        if is_new {
            *health = (checks.to_vec(), Health::new(checks));
        }
        is_new
    }

    /// The objects that were said not to be ready since the last call.
    pub fn take_unready(&self) -> Vec<ObjectId> {
        std::mem::take(&mut self.objects.lock())
    }
}
