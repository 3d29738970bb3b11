//! Where a unix socket can be: its address holds a path of about a hundred bytes at most.

use sha2::{Digest, Sha256};
use std::os::unix::{ffi::OsStrExt, fs::DirBuilderExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// `sun_path` holds 108 bytes with the final zero.
const LONGEST: usize = 104;

/// `usual`, or, where that is too long, a path in a runtime directory that only its owner may enter and
/// that stands for just this one.
pub fn path(usual: &Path) -> io::Result<PathBuf> {
    if usual.as_os_str().len() <= LONGEST {
        return Ok(usual.to_path_buf());
    }
    let digest = Sha256::digest(usual.as_os_str().as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let runtime = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(path) if !rustix::process::getuid().is_root() => PathBuf::from(path),
        _ => PathBuf::from("/run"),
    };
    let directory = runtime.join("selkie");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    Ok(directory.join(format!("{name}.sock")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_fits_stays_where_it_is() {
        let usual = Path::new("/var/lib/selkie/git/hook.sock");
        assert_eq!(path(usual).unwrap(), usual);
    }
}
