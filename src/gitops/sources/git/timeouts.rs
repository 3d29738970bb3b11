//! How long a server may keep us waiting.

use std::sync::Once;

const CONNECT_MILLISECONDS: i32 = 15_000;
const ANSWER_MILLISECONDS: i32 = 30_000;

/// Bounds connecting and each wait for data, for all connections of libgit2. Without, a server that
/// accepts and stays silent would hold a thread for ever.
pub(super) fn set() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        // SAFETY: libgit2 keeps the two numbers in plain globals; nothing else writes them, and
        // connections start only after this.
        #[allow(unsafe_code)]
        let set = unsafe {
            git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_MILLISECONDS)
                .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(ANSWER_MILLISECONDS))
        };
        if let Err(error) = set {
            tracing::warn!(%error, "git servers that hang are noticed late");
        }
    });
}
