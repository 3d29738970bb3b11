//! What people ask of a sync.

use super::REQUEST;

/// What a person asks of an Application's sync. As text `sync@TIME`, `sync/force@TIME`, `rollback/3@TIME`, `undo@TIME` or
/// `apply/REVISION/PLAN@TIME` with `/force` and `/replace` after PLAN; what follows the `@` only tells one request from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Look at the source now; forced, also at a revision that failed before.
    Sync { force: bool },
    /// Go back to this revision of the history, and stay there.
    Rollback(u64),
    /// Make again what the last revision removed.
    Undo,
    /// Apply the source, which must be at this revision, if that does just what a plan said.
    Apply {
        revision: String,
        /// The plan's [`crate::gitops::plan::Report::fingerprint`].
        plan: String,
        /// As the plan was made: fields of others are taken over, what cannot change is made again.
        force: bool,
        replace: bool,
    },
}

impl Request {
    /// Says what is wrong with a text that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (verb, _) = text.split_once('@').unwrap_or((text, ""));
        match verb.split_once('/') {
            None if verb == "sync" => Ok(Self::Sync { force: false }),
            Some(("sync", "force")) => Ok(Self::Sync { force: true }),
            None if verb == "undo" => Ok(Self::Undo),
            Some(("apply", rest)) if rest.contains('/') => {
                let (revision, rest) = rest.split_once('/').unwrap_or_default();
                let (plan, how) = rest.split_once('/').unwrap_or((rest, ""));
                let says = |word| how.split('/').any(|one| one == word);
                let (revision, plan) = (revision.to_owned(), plan.to_owned());
                Ok(Self::Apply { revision, plan, force: says("force"), replace: says("replace") })
            }
            Some(("rollback", number)) => {
                number.parse().map(Self::Rollback).map_err(|_| format!("{number:?} is not the number of a revision"))
            }
            _ => Err(format!(
                "{REQUEST}: {text:?} is none of sync@TIME, sync/force@TIME, rollback/NUMBER@TIME, undo@TIME, \
                 apply/REVISION/PLAN@TIME"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::application::Application;

    #[test]
    fn a_request_is_carried_out_once() {
        let mut application = Application::default();
        assert_eq!(application.request(""), None);
        application.metadata.annotations = Some([(REQUEST.to_owned(), "rollback/3@noon".to_owned())].into());
        assert_eq!(application.request(""), Some("rollback/3@noon"));
        assert_eq!(application.request("rollback/3@noon"), None);
        assert_eq!(Request::parse("rollback/3@noon"), Ok(Request::Rollback(3)));
        assert_eq!(
            [Request::parse("sync"), Request::parse("undo@1")],
            [Ok(Request::Sync { force: false }), Ok(Request::Undo)]
        );
        assert_eq!(Request::parse("sync/force@1"), Ok(Request::Sync { force: true }));
        assert!(Request::parse("rollback/x@1").is_err() && Request::parse("stop@1").is_err());
    }
}
