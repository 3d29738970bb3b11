//! The files that a kustomization names, whatever comes of them: what encrypted files say is known only later, and
//! may lead further than what they look like.

use super::accumulate::load;
use super::kustomization::{At, GeneratorArgs, Kustomization};
use super::load::{Build, Place};
use crate::gitops::render::error::Origin;

/// Reads them all, those of bases included. What is wrong with one is told when it is used.
pub fn reach(build: &mut Build<'_>, place: &Place) {
    let Ok(from) = load(build, place, &Origin::default()) else { return };
    for (path, at) in named(&from) {
        if build.is_directory(place, path, at).unwrap_or_default() {
            if let Ok(inner) = build.enter(place, path, at) {
                reach(build, &inner);
            }
        } else {
            // The tree remembers it.
            let _ = build.raw(place, path, at);
        }
    }
}

fn named(from: &Kustomization) -> Vec<(&str, &Origin)> {
    let lists = [
        &from.resources,
        &from.components,
        &from.crds,
        &from.configurations,
        &from.generators,
        &from.transformers,
        &from.validators,
        &from.patches_strategic_merge,
    ];
    let mut all: Vec<_> = lists.into_iter().flatten().map(|path| (path.value.as_str(), &path.at)).collect();
    let patches = from.patches.iter().chain(&from.patches_json6902);
    all.extend(patches.map(|patch| (patch.value.path.as_str(), &patch.at)));
    all.extend(from.replacements.iter().map(|replacement| (replacement.value.path.as_str(), &replacement.at)));
    for At { value: args, at } in from.config_map_generator.iter().chain(&from.secret_generator) {
        let GeneratorArgs { files, envs, env, .. } = args;
        let files = files.iter().map(|file| file.split_once('=').map_or(file.as_str(), |(_, path)| path));
        all.extend(files.chain(envs.iter().chain([env]).map(String::as_str)).map(|path| (path, at)));
    }
    // What stands in the kustomization itself is no path.
    all.retain(|(path, _)| !path.is_empty() && !path.contains('\n'));
    all
}
