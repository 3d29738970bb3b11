//! The order in which the objects of a revision are applied. Pure.

use crate::api::changeset::ObjectId;
use crate::api::plan::Order;
use crate::gitops::hooks::{self, Phase, Place};
use crate::gitops::render::{Manifest, RenderError, Rendered, describe};
use std::collections::BTreeMap;

/// What is applied together. The next stage begins when all of it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub phase: Phase,
    pub wave: i64,
    /// Indexes of manifests that are kept.
    pub objects: Vec<usize>,
    /// Indexes of manifests that are run.
    pub hooks: Vec<usize>,
}

/// The stages of a revision.
#[derive(Debug, Clone, Default)]
pub struct Course {
    stages: Vec<Stage>,
    places: Vec<Place>,
    first: bool,
}

impl Course {
    /// Reads the annotations of all manifests. `first`: nothing was applied before.
    pub fn of(rendered: &Rendered, first: bool) -> Result<Self, Vec<RenderError>> {
        let (mut places, mut errors) = (Vec::new(), Vec::new());
        for manifest in &rendered.objects {
            match hooks::place(&manifest.value, first) {
                Ok(place) => places.push(place),
                Err(wrong) => {
                    let origin = manifest.origin_of("metadata.annotations");
                    let what = format!("{}: {}", manifest.describe(), wrong.what);
                    errors.push(RenderError::new(origin, what).hint(wrong.hint));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { stages: stages(&rendered.objects, &places), places, first })
    }

    /// Everything is applied at once, and nothing is run.
    pub fn is_plain(&self) -> bool {
        !self.has_hooks() && self.stages().len() <= 1
    }

    pub fn has_hooks(&self) -> bool {
        self.places.iter().any(|place| place.hook)
    }

    /// What is applied when nothing fails, in order.
    pub fn stages(&self) -> &[Stage] {
        let end = self.stages.iter().position(|stage| stage.phase >= Phase::SyncFail);
        &self.stages[..end.unwrap_or(self.stages.len())]
    }

    /// The hooks to run when something failed.
    pub fn on_failure(&self) -> Vec<usize> {
        self.of_phase(Phase::SyncFail).flat_map(|stage| stage.hooks.iter().copied()).collect()
    }

    /// The stages of one phase, in order.
    pub fn of_phase(&self, phase: Phase) -> impl Iterator<Item = &Stage> {
        self.stages.iter().filter(move |stage| stage.phase == phase)
    }

    /// The stage that deletes what left the source: the last one that applies objects.
    pub fn prunes_at(&self) -> usize {
        self.stages().iter().rposition(|stage| stage.phase == Phase::Sync).unwrap_or(0)
    }

    pub fn place(&self, manifest: usize) -> &Place {
        &self.places[manifest]
    }

    /// The manifests that are kept.
    pub fn kept(&self, rendered: &Rendered) -> Rendered {
        self.pick(rendered, |place| !place.hook)
    }

    /// What a look ahead has to know to go the same way.
    pub fn order(&self, rendered: &Rendered) -> Order {
        let hooks = self.pick(rendered, |place| place.hook).objects;
        let hooks = hooks.into_iter().map(|manifest| manifest.value).collect();
        Order { hooks, first: self.first, stage_seconds: None }
    }

    /// What would be run, for people: `PreSync: Job default/migrate`.
    pub fn runs(&self, rendered: &Rendered) -> Vec<String> {
        let stages = self.stages().iter();
        stages
            .flat_map(|stage| {
                let name = stage.name();
                stage.hooks.iter().map(move |index| format!("{name}: {}", rendered.objects[*index].describe()))
            })
            .collect()
    }

    fn pick(&self, rendered: &Rendered, wanted: impl Fn(&Place) -> bool) -> Rendered {
        let objects = rendered.objects.iter().zip(&self.places).filter(|(_, place)| wanted(place));
        Rendered { objects: objects.map(|(manifest, _)| manifest.clone()).collect(), errors: rendered.errors.clone() }
    }
}

impl Stage {
    /// `PreSync`, `wave 2`, `PostSync wave -1`.
    pub fn name(&self) -> String {
        let phase = match self.phase {
            Phase::Ground => return "namespaces and definitions".to_owned(),
            Phase::Sync => return format!("wave {}", self.wave),
            Phase::PreSync => "PreSync",
            Phase::PostSync => "PostSync",
            Phase::SyncFail => "SyncFail",
            Phase::PreDelete => "PreDelete",
            Phase::PostDelete => "PostDelete",
        };
        if self.wave == 0 { phase.to_owned() } else { format!("{phase} wave {}", self.wave) }
    }

    /// What it applies and runs, for people.
    pub fn describe(&self, rendered: &Rendered) -> String {
        const SHOWN: usize = 3;
        let ids: Vec<&ObjectId> =
            self.objects.iter().chain(&self.hooks).map(|index| &rendered.objects[*index].id).collect();
        let mut text = ids.iter().take(SHOWN).map(|id| describe(id)).collect::<Vec<_>>().join(", ");
        if ids.len() > SHOWN {
            text.push_str(&format!(" and {} more", ids.len() - SHOWN));
        }
        text
    }
}

fn stages(manifests: &[Manifest], places: &[Place]) -> Vec<Stage> {
    let mut stages: BTreeMap<(Phase, i64), Stage> = BTreeMap::new();
    let mut add = |phase, wave, index, hook| {
        let new = || Stage { phase, wave, objects: Vec::new(), hooks: Vec::new() };
        let stage = stages.entry((phase, wave)).or_insert_with(new);
        if hook { stage.hooks.push(index) } else { stage.objects.push(index) }
    };
    let early_hooks = places.iter().any(|place| place.phases.contains(&Phase::PreSync));
    let mut syncs = false;
    for (index, (manifest, place)) in manifests.iter().zip(places).enumerate() {
        for phase in &place.phases {
            syncs |= *phase == Phase::Sync;
            add(*phase, place.wave, index, true);
        }
        if place.hook {
            continue;
        }
        let ground = matches!(manifest.id.kind.as_str(), "Namespace" | "CustomResourceDefinition");
        if ground && early_hooks && place.wave == 0 {
            add(Phase::Ground, 0, index, false);
        } else {
            syncs = true;
            add(Phase::Sync, place.wave, index, false);
        }
    }
    if !syncs {
        // There may be something to delete.
        stages.insert((Phase::Sync, 0), Stage { phase: Phase::Sync, wave: 0, objects: Vec::new(), hooks: Vec::new() });
    }
    stages.into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::registry::Registry;
    use crate::gitops::render::render;
    use crate::gitops::sources::Snapshot;

    fn map(name: &str, annotation: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations:\n    {annotation}\n")
    }

    fn rendered(documents: &[String]) -> Rendered {
        let rendered = render(&Snapshot::of(&[("a.yaml", &documents.join("---\n"))]), &Registry::builtin(), "default");
        assert_eq!(rendered.errors, []);
        rendered
    }

    fn text(course: &Course, rendered: &Rendered) -> Vec<String> {
        course.stages().iter().map(|stage| format!("{}: {}", stage.name(), stage.describe(rendered))).collect()
    }

    #[test]
    fn phases_and_waves_follow_each_other() {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned();
        let all = rendered(&[
            map("late", "selkie.dev/sync-wave: '5'"),
            map("plain", "a: b"),
            map("early", "selkie.dev/sync-wave: '-1'"),
            map("before", "selkie.dev/hook: PreSync"),
            map("both", "selkie.dev/hook: Sync,PostSync"),
            map("sorry", "selkie.dev/hook: SyncFail"),
            map("test", "helm.sh/hook: test"),
            map("save", "helm.sh/hook: pre-delete"),
            map("tidy", "argocd.argoproj.io/hook: PostDelete"),
            namespace,
        ]);
        let course = Course::of(&all, true).unwrap();
        assert!(!course.is_plain());
        let c = "ConfigMap default/";
        let expected = [
            "namespaces and definitions: Namespace shop".to_owned(),
            format!("PreSync: {c}before"),
            format!("wave -1: {c}early"),
            format!("wave 0: {c}plain, {c}both"),
            format!("wave 5: {c}late"),
            format!("PostSync: {c}both"),
        ];
        assert_eq!(text(&course, &all), expected);
        assert_eq!(course.prunes_at(), 4);
        assert_eq!(course.on_failure(), [5]);
        let of = |phase| course.of_phase(phase).map(|stage| stage.hooks.clone()).collect::<Vec<_>>();
        assert_eq!((of(Phase::PreDelete), of(Phase::PostDelete)), (vec![vec![7]], vec![vec![8]]));
        assert_eq!(course.kept(&all).objects.len(), 4);
    }

    #[test]
    fn without_annotations_everything_goes_at_once() {
        let all = rendered(&[map("a", "x: y"), map("b", "x: y")]);
        let course = Course::of(&all, true).unwrap();
        assert!(course.is_plain());
        assert_eq!(course.stages().len(), 1);
        let none = Course::of(&Rendered::default(), true).unwrap();
        assert!(none.is_plain() && none.prunes_at() == 0 && none.stages().len() == 1);
        let one_wave = rendered(&[map("a", "selkie.dev/sync-wave: '3'")]);
        assert!(Course::of(&one_wave, true).unwrap().is_plain());
    }

    #[test]
    fn a_wrong_annotation_names_its_line() {
        let all = rendered(&[map("a", "selkie.dev/sync-wave: first")]);
        let errors = Course::of(&all, true).unwrap_err();
        assert!(errors[0].to_string().starts_with("a.yaml:"), "{}", errors[0]);
        assert!(errors[0].what.contains("selkie.dev/sync-wave is \"first\""), "{}", errors[0]);
    }
}
