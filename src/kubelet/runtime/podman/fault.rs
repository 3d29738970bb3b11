//! From Podman's words to typed errors. Podman answers 500 to most things and says what it means in
//! prose, so this is an ordered table of phrases, seen in 4.3 to 5.x: the first match wins.

use crate::kubelet::runtime::{PullFailure, RuntimeError};
use http::StatusCode;
use serde::Deserialize;

/// The prose in an error answer; the raw text where it has another form.
pub fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        message: String,
        #[serde(default)]
        cause: String,
        #[serde(default, rename = "Errs")]
        errors: Option<Vec<String>>,
    }
    let raw = || String::from_utf8_lossy(body).trim().to_owned();
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { errors: Some(errors), .. }) if !errors.is_empty() => errors.join("; "),
        Ok(answer) if !answer.message.is_empty() => answer.message,
        Ok(answer) if !answer.cause.is_empty() => answer.cause,
        _ => raw(),
    }
}

enum Kind {
    PortInUse,
    ImageNotFound,
    AlreadyExists,
    InUse,
    NotFound,
    Unsupported,
    Invalid,
}

/// Every phrase of one row must occur, in lower case.
const PHRASES: &[(&[&str], Kind)] = &[
    (&["address already in use"], Kind::PortInUse),
    (&["port is already allocated"], Kind::PortInUse),
    (&["image used by"], Kind::InUse),
    (&["image is in use"], Kind::InUse),
    (&["volume is being used"], Kind::InUse),
    (&["image not known"], Kind::ImageNotFound),
    (&["no such image"], Kind::ImageNotFound),
    (&["name", "is already in use"], Kind::AlreadyExists),
    (&["name", "is in use"], Kind::AlreadyExists),
    (&["already exists"], Kind::AlreadyExists),
    (&["executable file", "not found"], Kind::Invalid),
    (&["command that was not found"], Kind::Invalid),
    (&["exec:", "no such file or directory"], Kind::Invalid),
    (&["exec:", "permission denied"], Kind::Invalid),
    (&["oci permission denied"], Kind::Invalid),
    (&["statfs", "no such file or directory"], Kind::Invalid),
    (&["unable to find user"], Kind::Invalid),
    (&["invalid reference format"], Kind::Invalid),
    (&["workdir", "does not exist"], Kind::Invalid),
    (&["no such container"], Kind::NotFound),
    (&["no such pod"], Kind::NotFound),
    (&["no such volume"], Kind::NotFound),
    (&["no such exec session"], Kind::NotFound),
    (&["does not exist in database"], Kind::NotFound),
    (&["cannot set limits"], Kind::Unsupported),
    (&["not supported"], Kind::Unsupported),
];

/// What an unsuccessful answer means.
pub fn classify(method: &str, object: &str, status: StatusCode, message: &str) -> RuntimeError {
    let text = message.to_lowercase();
    let phrase = PHRASES.iter().find(|(words, _)| words.iter().all(|word| text.contains(word))).map(|(_, kind)| kind);
    let (object, message) = (object.to_owned(), message.to_owned());
    match phrase {
        Some(Kind::PortInUse) => RuntimeError::PortInUse { object, message },
        Some(Kind::ImageNotFound) => RuntimeError::ImageNotFound { image: object },
        Some(Kind::AlreadyExists) => RuntimeError::AlreadyExists { object },
        Some(Kind::InUse) => RuntimeError::InUse { object, message },
        Some(Kind::NotFound) => RuntimeError::NotFound { object },
        Some(Kind::Unsupported) => RuntimeError::Unsupported { what: object, why: message },
        Some(Kind::Invalid) => RuntimeError::Invalid { object, message },
        None if status == StatusCode::NOT_FOUND => RuntimeError::NotFound { object },
        None if status == StatusCode::BAD_REQUEST => RuntimeError::Invalid { object, message },
        None => RuntimeError::Other { method: method.to_owned(), object, message, cause: None },
    }
}

/// Phrases of a registry's or the network's refusal, in lower case; the first match wins.
const PULL_PHRASES: &[(&str, PullFailure)] = &[
    ("invalid reference format", PullFailure::InvalidName),
    ("unauthorized", PullFailure::Auth),
    ("authentication required", PullFailure::Auth),
    ("access to the resource is denied", PullFailure::Auth),
    ("invalid username/password", PullFailure::Auth),
    ("denied:", PullFailure::Auth),
    ("forbidden", PullFailure::Auth),
    ("manifest unknown", PullFailure::NotFound),
    ("name unknown", PullFailure::NotFound),
    ("repository name not known", PullFailure::NotFound),
    ("not found", PullFailure::NotFound),
    ("connection refused", PullFailure::Network),
    ("no route to host", PullFailure::Network),
    ("network is unreachable", PullFailure::Network),
    ("dial tcp", PullFailure::Network),
    ("timeout", PullFailure::Network),
    ("connection reset", PullFailure::Network),
    ("tls:", PullFailure::Network),
    ("server gave http response to https client", PullFailure::Network),
];

/// What a failed pull means.
pub fn pull_failed(image: &str, message: &str) -> RuntimeError {
    let text = message.to_lowercase();
    let reason =
        PULL_PHRASES.iter().find(|(words, _)| text.contains(words)).map_or(PullFailure::Other, |(_, reason)| *reason);
    RuntimeError::PullFailed { image: image.to_owned(), reason, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, message: &str) -> String {
        let error = classify("POST", "thing", StatusCode::from_u16(status).unwrap_or_default(), message);
        format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn podman_says_what_it_means() {
        let seen = [
            (
                500,
                r#"the container name "c1" is already in use by 95f7. You have to remove that container to be able to reuse that name: that name is already in use"#,
                "AlreadyExists",
            ),
            (409, "adding pod to state: name \"p2\" is in use: pod already exists", "AlreadyExists"),
            (500, "cannot listen on the TCP port: listen tcp4 :18080: bind: address already in use", "PortInUse"),
            (500, "localhost/nope:1: image not known", "ImageNotFound"),
            (404, "no such image", "ImageNotFound"),
            (404, "no container with name or ID \"x\" found: no such container", "NotFound"),
            (404, "whatever", "NotFound"),
            (
                500,
                "runc: exec failed: executable file `nope` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found",
                "Invalid",
            ),
            (500, "statfs /nowhere: no such file or directory", "Invalid"),
            (400, "bad parameter", "Invalid"),
            (500, "the moon is full", "Other"),
        ];
        for (status, message, expect) in seen {
            assert_eq!(kind(status, message), expect, "{message}");
        }
    }

    #[test]
    fn pulls_fail_for_a_reason() {
        let seen = [
            (
                "initializing source docker://127.0.0.1:1/x:1: pinging container registry 127.0.0.1:1: Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                PullFailure::Network,
            ),
            ("reading manifest 9 in reg/x: manifest unknown", PullFailure::NotFound),
            (
                "reading manifest latest in docker.io/library/nope: requested access to the resource is denied",
                PullFailure::Auth,
            ),
            ("dial tcp: lookup nowhere.invalid: no such host", PullFailure::Network),
            ("parsing reference \"UPPER\": invalid reference format", PullFailure::InvalidName),
        ];
        for (message, expect) in seen {
            assert!(
                matches!(pull_failed("x", message), RuntimeError::PullFailed { reason, .. } if reason == expect),
                "{message}"
            );
        }
    }

    #[test]
    fn messages_in_all_forms() {
        assert_eq!(message(br#"{"cause":"a","message":"b: a","response":500}"#), "b: a");
        assert_eq!(message(br#"{"Errs":["x","y"],"Id":"1"}"#), "x; y");
        assert_eq!(message(b"Not Found\n"), "Not Found");
    }
}
