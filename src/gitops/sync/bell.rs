//! How the task of an Application is reached.

use crate::api::changeset::ObjectId;
use crate::base::wake::Wake;
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
    objects: Arc<Mutex<Vec<ObjectId>>>,
}

impl Bell {
    pub fn ring_unready(&self, object: ObjectId) {
        self.objects.lock().push(object);
        self.unready.ring();
    }

    /// The objects that were said not to be ready since the last call.
    pub fn take_unready(&self) -> Vec<ObjectId> {
        std::mem::take(&mut self.objects.lock())
    }
}
