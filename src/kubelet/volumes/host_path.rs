//! The types of a hostPath volume.

use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Makes what `DirectoryOrCreate` and `FileOrCreate` ask for, and checks the others.
pub fn check(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    if source.path.split('/').any(|part| part == "..") {
        return Err(format!("hostPath {} must not contain '..'", source.path));
    }
    let wanted = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(path);
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_ok_and(|meta| test(&meta.file_type()));
    let failed = |what: &str| Err(format!("hostPath type check failed: {} is not a {what}", source.path));
    match wanted {
        // Podman refuses a path that is missing; Kubernetes' runtimes make a directory.
        "" | "DirectoryOrCreate" if found.is_err() => make_directory(path),
        "DirectoryOrCreate" | "Directory" if !is(fs::FileType::is_dir) => failed("directory"),
        "FileOrCreate" if found.is_err() => make_file(path),
        "FileOrCreate" | "File" if !is(fs::FileType::is_file) => failed("file"),
        "Socket" if !is(fs::FileType::is_socket) => failed("socket file"),
        "CharDevice" if !is(fs::FileType::is_char_device) => failed("character device"),
        "BlockDevice" if !is(fs::FileType::is_block_device) => failed("block device"),
        _ => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot create directory {}: {error}", path.display()))
}

fn make_file(path: &Path) -> Result<(), String> {
    fs::File::create(path)
        .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o644)))
        .map_err(|error| format!("cannot create file {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn makes_or_checks_by_type() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, kind: &str| {
            let path = dir.path().join(name).to_string_lossy().into_owned();
            super::check(&HostPathVolumeSource { path, type_: Some(kind.into()) })
        };
        check("d", "DirectoryOrCreate").unwrap();
        check("d", "Directory").unwrap();
        check("f", "FileOrCreate").unwrap();
        assert!(check("f", "Directory").unwrap_err().ends_with("is not a directory"));
        assert!(check("none", "Socket").is_err());
        assert!(check("../x", "").is_err());
    }
}
