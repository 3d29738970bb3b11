//! When an object is applied within a sync: its wave, or its place as a hook. Pure.
//!
//! Annotations of selkie, Argo CD and Helm mean the same; selkie's own win. The words are Argo CD's
//! ("Resource hooks", "Sync phases and waves"), Helm's are mapped to them ("Chart hooks").

use serde_json::Value;

pub const HOOK: &str = "selkie.dev/hook";
pub const WAVE: &str = "selkie.dev/sync-wave";
pub const DELETE_POLICY: &str = "selkie.dev/hook-delete-policy";
const HOOKS: [&str; 3] = [HOOK, "argocd.argoproj.io/hook", HELM_HOOK];
const WAVES: [&str; 3] = [WAVE, "argocd.argoproj.io/sync-wave", "helm.sh/hook-weight"];
const DELETE_POLICIES: [&str; 3] =
    [DELETE_POLICY, "argocd.argoproj.io/hook-delete-policy", "helm.sh/hook-delete-policy"];
const HELM_HOOK: &str = "helm.sh/hook";

/// The parts of a sync, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Namespaces and definitions, where hooks come before the rest: hooks may need them, too.
    Ground,
    PreSync,
    Sync,
    PostSync,
    /// Instead of the rest, when something failed.
    SyncFail,
    /// When the Application is deleted: before its objects go, and after they are gone.
    PreDelete,
    PostDelete,
}

/// Where an object belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Made anew by each sync that changes something; otherwise it is kept as its manifest says.
    pub hook: bool,
    /// Of a hook; empty: it is never run.
    pub phases: Vec<Phase>,
    /// Lower ones come first.
    pub wave: i64,
    pub delete: DeletePolicy,
}

/// When a hook is deleted. Before it is made anew, in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeletePolicy {
    pub succeeded: bool,
    pub failed: bool,
}

/// What is wrong with an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    pub annotation: &'static str,
    pub what: String,
    pub hint: &'static str,
}

/// Whether an object is a hook.
pub fn is_hook(object: &Value) -> bool {
    HOOKS.iter().any(|name| annotation(object, name).is_some())
}

/// Reads the annotations of an object. `first`: nothing was applied before, which Helm calls an
/// install, everything later an upgrade.
pub fn place(object: &Value, first: bool) -> Result<Place, Misplaced> {
    let mut place = Place::default();
    if let Some((name, text)) = find(object, HOOKS) {
        place.hook = true;
        for word in words(text) {
            let phase = if name == HELM_HOOK { helm_phase(word, first) } else { phase(word) };
            place.phases.extend(phase.ok_or_else(|| Misplaced {
                annotation: name,
                what: format!("{name} is {word:?}"),
                hint: if name == HELM_HOOK {
                    "one of pre-install, post-install, pre-upgrade, post-upgrade, pre-delete, post-delete"
                } else {
                    "one of PreSync, Sync, PostSync, SyncFail, PreDelete, PostDelete, Skip"
                },
            })?);
        }
        place.phases.sort_unstable();
        place.phases.dedup();
    }
    if let Some((name, text)) = find(object, WAVES).filter(|(name, _)| place.hook || *name != WAVES[2]) {
        place.wave = text.trim().parse().map_err(|_| Misplaced {
            annotation: name,
            what: format!("{name} is {text:?}"),
            hint: "a whole number, in quotes",
        })?;
    }
    if let Some((name, text)) = find(object, DELETE_POLICIES) {
        for word in words(text) {
            match word {
                "HookSucceeded" | "hook-succeeded" => place.delete.succeeded = true,
                "HookFailed" | "hook-failed" => place.delete.failed = true,
                "BeforeHookCreation" | "before-hook-creation" => {}
                _ => {
                    let hint = "of HookSucceeded, HookFailed, BeforeHookCreation";
                    return Err(Misplaced { annotation: name, what: format!("{name} is {word:?}"), hint });
                }
            }
        }
    }
    Ok(place)
}

fn phase(word: &str) -> Option<Option<Phase>> {
    Some(match word {
        "PreSync" => Some(Phase::PreSync),
        "Sync" => Some(Phase::Sync),
        "PostSync" => Some(Phase::PostSync),
        "SyncFail" => Some(Phase::SyncFail),
        "PreDelete" => Some(Phase::PreDelete),
        "PostDelete" => Some(Phase::PostDelete),
        "Skip" => None,
        _ => return None,
    })
}

fn helm_phase(word: &str, first: bool) -> Option<Option<Phase>> {
    Some(match word {
        "crd-install" => Some(Phase::PreSync),
        "pre-install" => first.then_some(Phase::PreSync),
        "post-install" => first.then_some(Phase::PostSync),
        "pre-upgrade" => (!first).then_some(Phase::PreSync),
        "post-upgrade" => (!first).then_some(Phase::PostSync),
        "pre-delete" => Some(Phase::PreDelete),
        "post-delete" => Some(Phase::PostDelete),
        "pre-rollback" | "post-rollback" | "test" | "test-success" | "test-failure" => None,
        _ => return None,
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn find<'a>(object: &'a Value, names: [&'static str; 3]) -> Option<(&'static str, &'a str)> {
    names.into_iter().find_map(|name| Some((name, annotation(object, name)?)))
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of(annotations: Value, first: bool) -> Result<Place, Misplaced> {
        place(&json!({"metadata": {"annotations": annotations}}), first)
    }

    #[test]
    fn all_dialects_mean_the_same() {
        let ours = json!({"selkie.dev/hook": "PreSync, PostSync", "selkie.dev/sync-wave": "-2",
            "selkie.dev/hook-delete-policy": "HookSucceeded"});
        let argo = json!({"argocd.argoproj.io/hook": "PostSync,PreSync", "argocd.argoproj.io/sync-wave": "-2",
            "argocd.argoproj.io/hook-delete-policy": "HookSucceeded,BeforeHookCreation"});
        let helm = json!({"helm.sh/hook": "pre-install,post-install", "helm.sh/hook-weight": "-2",
            "helm.sh/hook-delete-policy": "before-hook-creation, hook-succeeded"});
        let expected = of(ours, true).unwrap();
        assert_eq!((expected.phases.as_slice(), expected.wave), (&[Phase::PreSync, Phase::PostSync][..], -2));
        assert!(expected.hook && expected.delete.succeeded && !expected.delete.failed);
        assert_eq!(of(argo, true).unwrap(), expected);
        assert_eq!(of(helm.clone(), true).unwrap(), expected);
        assert_eq!(of(helm, false).unwrap().phases, [], "an upgrade is no install");
        for annotations in [
            json!({"selkie.dev/hook": "PostDelete, PreDelete"}),
            json!({"argocd.argoproj.io/hook": "PreDelete,PostDelete"}),
            json!({"helm.sh/hook": "pre-delete,post-delete"}),
        ] {
            assert_eq!(of(annotations, false).unwrap().phases, [Phase::PreDelete, Phase::PostDelete]);
        }
    }

    #[test]
    fn what_is_no_hook_may_have_a_wave() {
        let place = of(json!({"argocd.argoproj.io/sync-wave": "3", "helm.sh/hook-weight": "no"}), true).unwrap();
        assert_eq!(place, Place { wave: 3, ..Place::default() });
        assert_eq!(of(json!({}), true).unwrap(), Place::default());
        let test = of(json!({"helm.sh/hook": "test"}), true).unwrap();
        assert!(test.hook && test.phases.is_empty(), "run by helm test, not by a sync");
    }

    #[test]
    fn nonsense_is_named() {
        let wrong = of(json!({"selkie.dev/hook": "Presync"}), true).unwrap_err();
        assert_eq!((wrong.annotation, wrong.what.as_str()), (HOOK, "selkie.dev/hook is \"Presync\""));
        assert!(of(json!({"selkie.dev/sync-wave": "first"}), true).is_err());
        assert!(of(json!({"helm.sh/hook": "pre-sync"}), true).is_err());
        assert!(of(json!({"selkie.dev/hook": "Sync", "selkie.dev/hook-delete-policy": "Never"}), true).is_err());
    }
}
