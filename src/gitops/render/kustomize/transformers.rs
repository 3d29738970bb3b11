//! What a kustomization's fields do to its objects, in kustomize's order.

use super::accumulate::{Accumulated, Settings, configured_by};
use super::kustomization::{At, Kustomization};
use super::load::{Build, Place};
use super::objects;
use super::patch;
use super::replace;
use super::resource::{self, Resource};
use super::transform::{self, Affix, Namespace, Subjects};
use crate::gitops::render::error::{Origin, RenderError};

pub fn run(
    build: &mut Build<'_>,
    place: &Place,
    from: &Kustomization,
    settings: Settings,
    into: &mut Accumulated,
) -> Result<(), RenderError> {
    let Accumulated { all, config, .. } = into;
    let done = |all: &mut [Resource], kind: &str| {
        if settings.history {
            note(all, &configured_by(place, from, kind));
        }
    };
    if !from.patches_strategic_merge.is_empty() {
        strategic(build, place, &from.patches_strategic_merge, all)?;
        done(all, "PatchStrategicMergeTransformer");
    }
    for entry in &from.patches {
        patch::patch(build, place, entry, all)?;
        done(all, "PatchTransformer");
    }
    if let Some(At { value: name, at }) = &from.namespace {
        build.spend(all.len() * name.len(), at)?;
        let namespace =
            Namespace { name, specs: &config.namespace, unset_only: false, subjects: Subjects::DefaultOnly };
        namespace.apply(all)?;
        resource::refuse_clashes(all, at, "the namespace")?;
        done(all, "NamespaceTransformer");
    }
    for (which, text, specs, kind) in [
        (Affix::Prefix, &from.name_prefix, &config.name_prefix, "PrefixTransformer"),
        (Affix::Suffix, &from.name_suffix, &config.name_suffix, "SuffixTransformer"),
    ] {
        let Some(At { value: text, at }) = text else { continue };
        build.spend(all.len() * text.len(), at)?;
        transform::affix(all, which, text, specs)?;
        done(all, kind);
    }
    for At { value: label, at } in &from.labels {
        let specs = transform::label_specs(label, config).map_err(|why| RenderError::new(at.clone(), why))?;
        texts(build, all, &label.pairs, &specs, at)?;
        done(all, "LabelTransformer");
    }
    if let Some(At { value: labels, at }) = &from.common_labels {
        texts(build, all, labels, &config.common_labels, at)?;
    }
    if !from.labels.is_empty() || from.common_labels.as_ref().is_some_and(|labels| !labels.value.is_empty()) {
        done(all, "LabelTransformer");
    }
    if let Some(At { value: annotations, at }) = from.common_annotations.as_ref().filter(|map| !map.value.is_empty()) {
        texts(build, all, annotations, &config.common_annotations, at)?;
        done(all, "AnnotationsTransformer");
    }
    for entry in &from.patches_json6902 {
        patch::json6902(build, place, entry, all)?;
        done(all, "PatchJson6902Transformer");
    }
    for At { value: replica, at } in &from.replicas {
        build.visit(all.len() * config.replicas.len(), at)?;
        if !transform::replicas(all, replica, &config.replicas)? {
            let what = format!("there is nothing named {:?} that has replicas", replica.name);
            return Err(RenderError::new(at.clone(), what).hint("check the name"));
        }
        done(all, "ReplicaCountTransformer");
    }
    for At { value: image, at } in &from.images {
        build.visit(all.len(), at)?;
        transform::images(all, image, &config.images).map_err(|why| RenderError::new(at.clone(), why))?;
        done(all, "ImageTagTransformer");
    }
    if !from.replacements.is_empty() {
        for entry in replace::load(build, place, &from.replacements)? {
            replace::replace(build, &entry, all)?;
        }
        done(all, "ReplacementTransformer");
    }
    Ok(())
}

/// Labels or annotations.
pub fn texts(
    build: &mut Build<'_>,
    all: &mut [Resource],
    texts: &super::kustomization::Texts,
    specs: &[super::fieldspec::FieldSpec],
    at: &Origin,
) -> Result<(), RenderError> {
    let weight: usize = texts.iter().map(|(key, text)| key.len() + text.len()).sum();
    build.spend(all.len() * weight, at)?;
    build.visit(all.len(), at)?;
    transform::texts(all, texts, specs)
}

/// Entries of `patchesStrategicMerge`: each is a file, or the patch itself.
pub fn strategic(
    build: &mut Build<'_>,
    place: &Place,
    entries: &[At<String>],
    all: &mut Vec<Resource>,
) -> Result<(), RenderError> {
    let mut empty = true;
    for At { value: entry, at } in entries {
        let inline = patch::Text { file: at.file.clone(), text: entry.clone(), inline: Some(at.clone()) };
        let (text, patches) = match objects::read(&inline.file, &inline.text) {
            Ok(patches) if !patches.is_empty() => (inline, patches),
            _ => {
                let (file, text) = build.text(place, entry, at)?;
                let text = patch::Text { file, text, inline: None };
                let patches = objects::read(&text.file, &text.text)?;
                (text, patches)
            }
        };
        empty &= patches.is_empty();
        for patch in patches {
            patch::strategic(build, patch, patch::Allowed::default(), &text, all)?;
        }
    }
    match entries.first().filter(|_| empty) {
        Some(first) => Err(RenderError::new(first.at.clone(), "there is no patch in here").hint("leave it out")),
        None => Ok(()),
    }
}

/// Adds to what is known of each object's history.
pub fn note(all: &mut [Resource], origin: &str) {
    let mut lines = origin.lines();
    let mut item = format!("- {}\n", lines.next().unwrap_or_default());
    lines.for_each(|line| item.push_str(&format!("  {line}\n")));
    for history in all.iter_mut().filter_map(|resource| resource.history.as_mut()) {
        history.transformations.push_str(&item);
    }
}
