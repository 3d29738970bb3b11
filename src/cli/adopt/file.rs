//! A manifest's file: read, and replaced as a whole.

use crate::cli::CliError;
use std::io;
use std::path::PathBuf;

pub fn read(path: &str) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| failed(path, &error))
}

fn failed(path: &str, error: &io::Error) -> CliError {
    CliError::new(format!("{path}: {error}")).hint("live values are written into files of this machine only")
}

/// Replaces it at once, so that who watches it sees no half of it; a link stays one. Not where somebody else changed
/// it meanwhile, or a link leads out of the sources.
pub fn replace(path: &str, before: &str, text: &str, roots: &[PathBuf]) -> Result<(), CliError> {
    let target = std::fs::canonicalize(path).map_err(|error| failed(path, &error))?;
    if !roots.iter().any(|root| target.starts_with(root)) {
        let what = format!("{path}: it is {} by a symbolic link, which is not in the source", target.display());
        return Err(CliError::new(what).hint("name that file with -f"));
    }
    if read(path)? != before {
        let what = format!("{path}: it was changed by somebody else meanwhile, and is left as it is");
        return Err(CliError::new(what).hint("run the command again"));
    }
    swap(&target, text).map_err(|error| failed(path, &error))
}

fn swap(path: &std::path::Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let (old, new) = (std::fs::metadata(path)?, file.as_file().metadata()?);
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        let owned = std::os::unix::fs::fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
        owned.map_err(|error| io::Error::new(error.kind(), format!("its owner cannot be kept: {error}")))?;
    }
    file.as_file().set_permissions(old.permissions())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_behind_its_link_with_its_mode_and_never_outside() {
        let temp = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(temp.path()).unwrap();
        let (source, outside) = (base.join("source"), base.join("outside.yaml"));
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("real.yaml"), "a: 1\n").unwrap();
        std::fs::write(&outside, "a: 1\n").unwrap();
        std::fs::set_permissions(source.join("real.yaml"), PermissionsExt::from_mode(0o640)).unwrap();
        symlink("real.yaml", source.join("in.yaml")).unwrap();
        symlink(&outside, source.join("out.yaml")).unwrap();
        let path = |name: &str| source.join(name).display().to_string();
        let roots = [source.clone()];

        replace(&path("in.yaml"), "a: 1\n", "a: 2\n", &roots).unwrap();
        assert_eq!(std::fs::read_to_string(source.join("real.yaml")).unwrap(), "a: 2\n");
        assert!(std::fs::symlink_metadata(source.join("in.yaml")).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(source.join("real.yaml")).unwrap().permissions().mode() & 0o777, 0o640);

        // Only root can give a file to somebody.
        if std::os::unix::fs::chown(source.join("real.yaml"), Some(12), Some(34)).is_ok() {
            replace(&path("in.yaml"), "a: 2\n", "a: 2\n", &roots).unwrap();
            let owned = std::fs::metadata(source.join("real.yaml")).unwrap();
            assert_eq!((owned.uid(), owned.gid(), owned.permissions().mode() & 0o777), (12, 34, 0o640));
        }

        let told = |error: CliError| format!("{error:?}");
        let refused = told(replace(&path("out.yaml"), "a: 1\n", "a: 2\n", &roots).unwrap_err());
        assert!(refused.contains("by a symbolic link, which is not in the source"), "{refused}");
        let refused = told(replace(&path("real.yaml"), "a: 1\n", "a: 3\n", &roots).unwrap_err());
        assert!(refused.contains("changed by somebody else meanwhile"), "{refused}");
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "a: 1\n");
        assert_eq!(std::fs::read_to_string(source.join("real.yaml")).unwrap(), "a: 2\n");
        assert_eq!(std::fs::read_dir(&source).unwrap().count(), 3, "nothing is left behind");
    }
}
