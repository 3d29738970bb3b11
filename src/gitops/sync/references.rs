//! Has Applications look again when a ConfigMap or Secret changes that they are rendered with.

use super::bell::Bells;
use super::stream::keep_watching;
use crate::gitops::application::NAMESPACE;
use crate::gitops::inputs::Reference;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

pub(super) struct References {
    client: kube::Client,
    bells: Bells,
    followed: Mutex<HashMap<Reference, Followed>>,
}

struct Followed {
    /// Names of Applications.
    by: Arc<Mutex<HashSet<String>>>,
    _watch: AbortOnDropHandle<()>,
}

impl References {
    pub fn new(client: kube::Client, bells: Bells) -> Self {
        Self { client, bells, followed: Mutex::default() }
    }

    /// From now on the Application hears of these, and of no others.
    pub fn follow(&self, application: &str, references: Vec<Reference>) {
        let mut followed = self.followed.lock();
        followed.retain(|reference, one| {
            let mut by = one.by.lock();
            if !references.contains(reference) {
                by.remove(application);
            }
            !by.is_empty()
        });
        for reference in references {
            let one = followed.entry(reference).or_insert_with_key(|reference| self.watch(reference));
            one.by.lock().insert(application.to_owned());
        }
    }

    /// Forgets all Applications but these.
    pub fn retain(&self, names: &HashSet<String>) {
        self.followed.lock().retain(|_, one| {
            let mut by = one.by.lock();
            by.retain(|name| names.contains(name));
            !by.is_empty()
        });
    }

    fn watch(&self, Reference { plural, name }: &Reference) -> Followed {
        let by: Arc<Mutex<HashSet<String>>> = Arc::default();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/{plural}?watch=true&fieldSelector=metadata.name%3D{name}");
        let (bells, users) = (self.bells.clone(), by.clone());
        let watch = keep_watching(self.client.clone(), path, move |_| {
            let bells = bells.lock();
            users.lock().iter().filter_map(|name| bells.get(name)).for_each(|bell| bell.look.ring());
        });
        Followed { by, _watch: AbortOnDropHandle::new(tokio::spawn(watch)) }
    }
}
