//! Applies of a set prepared on all cores, before each is prepared in its turn.

use super::{Kinds, identify, place};
use crate::api::changeset::ChangeSetSpec;
use crate::apiserver::ApiServer;
use crate::apiserver::resources::view::{Reads, Traced, View};
use crate::apiserver::resources::{Prepared, WriteOptions};
use serde_json::Value;
use std::panic::resume_unwind;
use tokio::runtime::Handle;

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
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(spec.objects.len() / SHARE);
        if threads < 2 {
            return Vec::new();
        }
        let share = |from: usize| -> Vec<_> {
            let own = spec.objects.iter().skip(from).step_by(threads);
            own.map(|intent| self.prepare_alone(base, options, intent)).collect()
        };
        // A clock that is virtual is the runtime's.
        let runtime = Handle::try_current().ok();
        let mut shares: Vec<_> = std::thread::scope(|scope| {
            let (share, runtime) = (&share, &runtime);
            let others = (1..threads).map(|from| {
                scope.spawn(move || {
                    let _entered = runtime.as_ref().map(Handle::enter);
                    share(from)
                })
            });
            let others: Vec<_> = others.collect();
            let first = share(0);
            let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            std::iter::once(first).chain(others).map(Vec::into_iter).collect()
        });
        (0..spec.objects.len()).map(|index| shares[index % threads].next().flatten()).collect()
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
