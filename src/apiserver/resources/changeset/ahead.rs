//! Applies of a set prepared on all cores, before each is prepared in its turn.

use super::{Kinds, identify, place};
use crate::api::changeset::{ChangeSetSpec, ObjectId};
use crate::apiserver::ApiServer;
use crate::apiserver::resources::view::{Reads, Traced, View};
use crate::apiserver::resources::{Prepared, WriteOptions};
use crate::base::cores;
use crate::store::Record;
use serde_json::Value;

/// Objects worth a thread of their own.
const SHARE: usize = 20;

/// An object that was looked at ahead.
#[derive(Default)]
pub(super) struct Ahead {
    pub id: ObjectId,
    pub prepared: Option<(Prepared, Reads)>,
}

impl ApiServer {
    /// Of each object its apply, prepared as if it were alone, with what that stands on: it holds until a write of
    /// the same set changes that. Of those objects only that are there already, whose preparation neither takes
    /// addresses nor draws ids: so the same set comes to the same end however its threads run.
    pub(super) fn prepare_ahead(&self, base: &dyn View, spec: &ChangeSetSpec, options: &WriteOptions) -> Vec<Ahead> {
        cores::map(&spec.objects, spec.objects.len() / SHARE, |intent| {
            let id = identify(intent);
            let alone = spec.objects.len() < 2 * SHARE;
            let prepared = if alone { None } else { self.prepare_alone(base, options, &id, intent) };
            Ahead { id, prepared }
        })
    }

    fn prepare_alone(
        &self,
        base: &dyn View,
        options: &WriteOptions,
        id: &ObjectId,
        intent: &Value,
    ) -> Option<(Prepared, Reads)> {
        let view = Traced::new(base);
        let kinds = Kinds { registry: &self.registry, defined: Vec::new() };
        let resource = kinds.find(id).ok().filter(|resource| !resource.is_custom())?;
        let there = base.get(&place(&resource, id).ok()?.key())?;
        if id.kind == "Service" && !keeps_its_addresses(&there, intent) {
            return None;
        }
        // What is wrong is said when its turn comes: what comes before it in the set may mend it.
        let prepared = self.prepare_object((&view, &kinds), options, id, intent).ok()?;
        Some((prepared, view.into_reads()))
    }
}

/// Whether an apply to this service takes no address and no port: it has one of the cluster's, and asks for no
/// other type.
fn keeps_its_addresses(there: &Record, intent: &Value) -> bool {
    let field = |name: &str| there.envelope.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
    let asks = |path: &str, for_: &str| intent.pointer(path).is_none_or(|asked| asked == for_);
    field("spec.type").unwrap_or("ClusterIP") == "ClusterIP"
        && field("spec.clusterIP").is_some_and(|address| !address.is_empty() && asks("/spec/clusterIP", address))
        && asks("/spec/type", "ClusterIP")
}
