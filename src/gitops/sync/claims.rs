//! Whose an object is, where several Applications have to do with it.
//!
//! Each object has one holder: who applied it last. One whose source has it no more leaves it to another
//! whose source has it, so that a move between sources deletes nothing. Two that both want it are in
//! conflict, unless one of them adopts.

use super::leaving::Leaving;
use super::{Options, SyncError};
use crate::api::changeset::ObjectId;
use crate::gitops::render::{RenderError, Rendered, describe, same_object};

/// What another Application has to do with an object.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    pub id: ObjectId,
    pub application: String,
    /// It is in the other's inventory.
    pub holds: bool,
    /// It is in the other's source, as far as that is known.
    pub wants: bool,
    /// The other takes what it wants.
    pub adopts: bool,
    /// Where the other's source has it: `web.yaml:3`; may be empty.
    pub origin: String,
    /// Where that source is, as [`Options::source`].
    pub source: String,
}

/// What becomes of an object that this Application wants, too.
#[derive(Debug, PartialEq)]
enum Fate {
    Taken,
    /// The other adopted it.
    Lost,
    Refused,
}

fn fate(claim: &Claim, adopt: bool) -> Fate {
    if !claim.holds || !claim.wants || adopt && !claim.adopts {
        return Fate::Taken;
    }
    if claim.adopts && !adopt { Fate::Lost } else { Fate::Refused }
}

/// What is left of an Application's manifests.
pub(super) struct Settled {
    pub rendered: Rendered,
    /// For people: what others took over.
    pub lost: Vec<String>,
}

/// Leaves out what others took over, one-shots (`taken`) among them; refuses what others hold and want. `None`: nobody else has to do
/// with any of it.
pub(super) fn settle(rendered: &Rendered, options: &Options, taken: &[ObjectId]) -> Result<Option<Settled>, SyncError> {
    let (mut errors, mut lost, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for manifest in taken.iter().filter_map(|id| rendered.find(id)) {
        let (what, at, name) = (manifest.describe(), &manifest.origin, &options.application);
        lost.push(format!(
            "{what} ({at}) was taken over by an apply with --adopt: remove it from this source, or take it back with \
             spec.adopt: true in application {name:?}"
        ));
        without.push(manifest.id.clone());
    }
    for claim in &options.claims {
        let Some(manifest) = rendered.find(&claim.id) else { continue };
        if without.iter().any(|id| same_object(id, &claim.id)) {
            continue;
        }
        let (what, other) = (manifest.describe(), &claim.application);
        match fate(claim, options.adopt) {
            Fate::Taken => {}
            Fate::Lost => {
                let at = &manifest.origin;
                lost.push(format!(
                    "{what} ({at}) was taken over by application {other:?}, which adopts: remove it from this source"
                ));
                without.push(claim.id.clone());
            }
            Fate::Refused => {
                let ours = match options.source.as_str() {
                    "" => String::new(),
                    source => format!(", and application {:?} has it in {source}", options.application),
                };
                let what = format!("{what} belongs to application {other:?}{}{ours}", place(claim));
                let hint = if options.adopt {
                    "an object can have one source only, and both applications adopt: remove it from one of them"
                        .to_owned()
                } else {
                    format!(
                        "an object can have one source only: remove it from one of them, or take it over with \
                         spec.adopt: true in application {:?}",
                        options.application
                    )
                };
                errors.push(RenderError::new(manifest.origin.clone(), what).hint(hint));
            }
        }
    }
    if !errors.is_empty() {
        return Err(SyncError::Manifests(errors));
    }
    if without.is_empty() {
        return Ok(None);
    }
    let mut rendered = rendered.clone();
    rendered.objects.retain(|manifest| !without.iter().any(|id| same_object(id, &manifest.id)));
    Ok(Some(Settled { rendered, lost }))
}

/// ` (web.yaml:3 in https://host/repo)`, as far as it is known.
fn place(claim: &Claim) -> String {
    match (claim.origin.as_str(), claim.source.as_str()) {
        ("", "") => String::new(),
        ("", place) | (place, "") => format!(" ({place})"),
        (origin, source) => format!(" ({origin} in {source})"),
    }
}

/// Takes out of `gone` what others have, or are about to have.
pub(super) fn hand_over(gone: &mut Vec<ObjectId>, options: &Options, leaving: &mut Leaving) {
    for claim in options.claims.iter().filter(|claim| claim.wants) {
        let Some(at) = gone.iter().position(|id| same_object(id, &claim.id)) else { continue };
        let id = gone.remove(at);
        // Until the other has it, it is not forgotten here.
        if !claim.holds {
            let (what, other) = (describe(&id), &claim.application);
            leaving.warnings.push(format!("{what} moves to application {other:?} and stays as it is"));
            leaving.kept.push(id.clone());
        }
        leaving.moved.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_wants_what_another_wants_and_holds_needs_to_adopt() {
        let fate =
            |holds, wants, adopts, adopt| super::fate(&Claim { holds, wants, adopts, ..Claim::default() }, adopt);
        assert_eq!(fate(false, true, false, false), Fate::Taken);
        assert_eq!(fate(true, false, false, false), Fate::Taken, "it moves");
        assert_eq!(fate(true, true, false, false), Fate::Refused);
        assert_eq!(fate(true, true, false, true), Fate::Taken);
        assert_eq!(fate(true, true, true, false), Fate::Lost);
        assert_eq!(fate(true, true, true, true), Fate::Refused, "who has it keeps it");
    }
}
