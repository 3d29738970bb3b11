//! Applies of a set prepared on all cores, before each is prepared in its turn.

use super::{Kinds, identify, place};
use crate::api::changeset::ChangeSetSpec;
use crate::apiserver::ApiServer;
use crate::apiserver::resources::view::{Reads, Traced, View};
use crate::apiserver::resources::{Prepared, WriteOptions};
use crate::base::cores;
use serde_json::Value;

/// Objects worth a thread of their own.
const SHARE: usize = 20;

impl ApiServer {
    /// Of each object its apply, prepared as if it were alone, with what that stands on: it holds until a write of
    /// the same set changes that. Of those objects only that are there already, whose preparation neither takes
    /// addresses nor draws ids: so the same set comes to the same end however its threads run.
    pub(super) fn prepare_ahead(
        &self,
        base: &dyn View,
        spec: &ChangeSetSpec,
        options: &WriteOptions,
    ) -> Vec<Option<(Prepared, Reads)>> {
        if spec.objects.len() < 2 * SHARE {
            return Vec::new();
        }
        cores::map(&spec.objects, spec.objects.len() / SHARE, |intent| self.prepare_alone(base, options, intent))
    }

    fn prepare_alone(&self, base: &dyn View, options: &WriteOptions, intent: &Value) -> Option<(Prepared, Reads)> {
        let (id, view) = (identify(intent), Traced::new(base));
        let kinds = Kinds { registry: &self.registry, defined: Vec::new() };
        let resource = kinds.find(&id).ok().filter(|resource| !resource.is_custom() && id.kind != "Service")?;
        base.get(&place(&resource, &id).ok()?.key())?;
        // What is wrong is said when its turn comes: what comes before it in the set may mend it.
        let prepared = self.prepare_object((&view, &kinds), options, &id, intent).ok()?;
        Some((prepared, view.into_reads()))
    }
}
