//! What can go wrong with containers, sorted by what the kubelet does about it.

use std::time::Duration;

/// Any error below a runtime call, kept for its message chain.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a runtime call failed. The display is one line fit for an event or a container's state.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The container, sandbox, image or volume is gone.
    #[error("{object} not found")]
    NotFound { object: String },

    /// The name is taken; adopt what has it or remove it.
    #[error("{object} already exists")]
    AlreadyExists { object: String },

    /// Still needed by something else, e.g. an image by a container.
    #[error("{object} is in use: {message}")]
    InUse { object: String, message: String },

    /// Not on the host; pull it first.
    #[error("image \"{image}\" is not present")]
    ImageNotFound { image: String },

    #[error("failed to pull image \"{image}\": {message}")]
    PullFailed { image: String, reason: PullFailure, message: String },

    /// A host port is taken by another process or container.
    #[error("{object}: port in use: {message}")]
    PortInUse { object: String, message: String },

    /// Podman does not answer at all: connection refused, no socket, no route.
    #[error("Podman at {url} is unreachable; check that it is running (podman system service)")]
    Unreachable {
        url: String,
        #[source]
        cause: Cause,
    },

    /// This host or Podman version cannot do that; trying again is no use.
    #[error("{what} is not supported: {why}")]
    Unsupported { what: String, why: String },

    /// The call asks for something invalid, e.g. a command that is not in the image. Fix the spec.
    #[error("{object}: {message}")]
    Invalid { object: String, message: String },

    #[error("{what} took longer than {after:?}")]
    Timeout { what: String, after: Duration },

    /// Anything else Podman said.
    #[error("{method} {object}: {message}")]
    Other {
        method: String,
        object: String,
        message: String,
        #[source]
        cause: Option<Cause>,
    },
}

/// Why a pull failed, as far as the registry's or the network's words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullFailure {
    /// No such repository or tag.
    NotFound,
    /// Credentials are missing, wrong or not allowed that.
    Auth,
    /// Registry unreachable: refused, no route, name not resolved, timeout.
    Network,
    /// The name is not a valid image reference.
    InvalidName,
    Other,
}

impl RuntimeError {
    /// The object that was asked for is not there, so a removal has nothing left to do.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The call may have been carried out or not: no answer came.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// The whole chain in one line: `top: cause: cause`.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            let cause = error.to_string();
            // Some libraries repeat their cause in their own words.
            if !text.ends_with(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            next = error.source();
        }
        text
    }
}
