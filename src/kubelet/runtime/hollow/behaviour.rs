//! What a pretended image or container does, told by its name or its annotations. Pure.
//!
//! | image (any registry, any tag) | behaviour |
//! |---|---|
//! | `hollow/exit-N` | runs for a moment, exits with code N |
//! | `hollow/crash` | `exit-1` |
//! | `hollow/run-S` | runs S seconds (decimals allowed), exits with 0 |
//! | `hollow/oom` | is killed for want of memory after a moment |
//! | `hollow/stubborn` | ignores SIGTERM |
//! | `hollow/no-start` | cannot be started |
//! | `hollow/missing`, `hollow/private`, `hollow/unreachable` | cannot be pulled: not found, no access, no network |
//! | anything else | runs until it is stopped, then exits with 0; init containers and those of Jobs run for a moment |
//!
//! The annotations [`RUN_FOR`] and [`EXIT_CODE`] of a container win over its image.

use crate::kubelet::runtime::PullFailure;
use std::{collections::BTreeMap, time::Duration};

/// Seconds until the container ends by itself, decimals allowed.
pub const RUN_FOR: &str = "hollow.selkie.dev/run-for";
/// The code it ends with, whether by itself or when stopped.
pub const EXIT_CODE: &str = "hollow.selkie.dev/exit-code";
/// How long "a moment" is.
const MOMENT: Duration = Duration::from_millis(100);

/// What a container will do once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// `None`: until it is stopped.
    pub run_for: Option<Duration>,
    pub exit_code: i32,
    pub out_of_memory: bool,
    pub ignores_term: bool,
    pub cannot_start: bool,
}

impl Behaviour {
    pub fn of(image: &str, annotations: &BTreeMap<String, String>) -> Self {
        let forever =
            Self { run_for: None, exit_code: 0, out_of_memory: false, ignores_term: false, cannot_start: false };
        let ends = |exit_code| Self { run_for: Some(MOMENT), exit_code, ..forever };
        let mut behaviour = match role(image) {
            Some("crash") => ends(1),
            Some("oom") => Self { out_of_memory: true, ..ends(137) },
            Some("stubborn") => Self { ignores_term: true, ..forever },
            Some("no-start") => Self { cannot_start: true, ..forever },
            Some(role) => match (number::<i32>(role, "exit-"), number::<f64>(role, "run-").and_then(seconds)) {
                (Some(code), _) => ends(code),
                (_, Some(time)) => Self { run_for: Some(time), ..forever },
                _ => forever,
            },
            None => forever,
        };
        if let Some(time) = annotations.get(RUN_FOR).and_then(|text| seconds(text.parse().ok()?)) {
            behaviour.run_for = Some(time);
        }
        if let Some(code) = annotations.get(EXIT_CODE).and_then(|text| text.parse().ok()) {
            behaviour.exit_code = code;
        }
        behaviour
    }

    /// As its pod means it, where the image says nothing: what is there to end does, well.
    pub fn ending(self, image: &str, ends: bool) -> Self {
        let ends = ends && self.run_for.is_none() && role(image).is_none();
        if ends { Self { run_for: Some(MOMENT), ..self } } else { self }
    }
}

/// Why an image cannot be pulled, if it cannot.
pub fn pull_failure(image: &str) -> Option<(PullFailure, &'static str)> {
    match role(image)? {
        "missing" => Some((PullFailure::NotFound, "manifest unknown")),
        "private" => Some((PullFailure::Auth, "authentication required")),
        "unreachable" => Some((PullFailure::Network, "connect: connection refused")),
        _ => None,
    }
}

/// The part after `hollow/`, without tag and digest.
fn role(image: &str) -> Option<&str> {
    let name = image.rsplit_once("hollow/").filter(|(before, _)| before.is_empty() || before.ends_with('/'))?.1;
    name.split([':', '@']).next()
}

fn number<T: std::str::FromStr>(role: &str, prefix: &str) -> Option<T> {
    role.strip_prefix(prefix)?.parse().ok()
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn images_by_name() {
        let of = |image| Behaviour::of(image, &BTreeMap::new());
        assert_eq!((of("hollow/exit-3").exit_code, of("hollow/exit-3").run_for), (3, Some(MOMENT)));
        assert_eq!(of("docker.io/hollow/crash:2").exit_code, 1);
        assert_eq!(of("hollow/run-0.5").run_for, Some(Duration::from_millis(500)));
        assert_eq!(of("nginx").ending("nginx", true).run_for, Some(MOMENT));
        assert_eq!(of("nginx").ending("nginx", false).run_for, None);
        assert_eq!(of("hollow/stubborn").ending("hollow/stubborn", true).run_for, None, "the image says more");
        assert_eq!(of("nginx").run_for, None);
        assert_eq!(of("nothollow/crash").run_for, None);
        assert!(of("hollow/oom@sha256:0").out_of_memory);
        assert_eq!(pull_failure("hollow/missing:1").unwrap().0, PullFailure::NotFound);
        assert_eq!(pull_failure("hollow/exit-1"), None);
    }

    #[test]
    fn annotations_win() {
        let annotations = [(RUN_FOR.to_owned(), "2".to_owned()), (EXIT_CODE.to_owned(), "9".to_owned())].into();
        let behaviour = Behaviour::of("hollow/exit-3", &annotations);
        assert_eq!((behaviour.run_for, behaviour.exit_code), (Some(Duration::from_secs(2)), 9));
    }
}
