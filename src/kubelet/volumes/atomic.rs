//! Writes a volume's files so that readers see either all old or all new files.
//!
//! The layout is Kubernetes': files live in a hidden, dated directory; `..data` is a symbolic link to
//! it that is swapped by a rename; visible names are links through `..data`. Programs that watch
//! `..data` work as they do there.

use crate::kubelet::volumes::payload::{File, Files, Owner};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `target` hold exactly `files`. Writes nothing when it does already.
pub fn write(target: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(target)?;
    // The directory itself is open: what may be read is up to the files' modes.
    fs::set_permissions(target, fs::Permissions::from_mode(0o777))?;
    let before = fs::read_link(target.join(DATA)).ok();
    if before.as_ref().is_some_and(|dir| holds(&target.join(dir), files)) {
        return Ok(());
    }
    let dated = unused_name(target);
    let dir = target.join(&dated);
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        write_file(&dir.join(path), file)?;
    }
    let new = target.join(DATA_NEW);
    let _ = fs::remove_file(&new);
    symlink(&dated, &new)?;
    fs::rename(&new, target.join(DATA))?;
    link_visible(target, files)?;
    match before {
        Some(before) => fs::remove_dir_all(target.join(before)),
        None => Ok(()),
    }
}

fn write_file(path: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.data)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))?;
    let Owner { user, group } = file.owner;
    // Only root may give files away. Of another user's rootless Podman the ids would be other people's.
    if rustix::process::geteuid().is_root() && file.owner != Owner::default() {
        chown(path, user, group)
    } else {
        Ok(())
    }
}

/// `..<unique>`; a daemon's clock may jump, so existing names are stepped over.
fn unused_name(target: &Path) -> String {
    (0u64..).map(|n| format!("..{n:08}")).find(|name| !target.join(name).exists()).unwrap_or_default()
}

fn link_visible(target: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let link = target.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

fn holds(dir: &Path, files: &Files) -> bool {
    let mut found = 0;
    if !same(dir, "", files, &mut found) {
        return false;
    }
    found == files.len()
}

fn same(dir: &Path, prefix: &str, files: &Files, found: &mut usize) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    for entry in entries.flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Ok(meta) = entry.metadata() else { return false };
        if meta.is_dir() {
            if !same(&entry.path(), &format!("{path}/"), files, found) {
                return false;
            }
            continue;
        }
        let Some(file) = files.get(&path) else { return false };
        let equal =
            meta.permissions().mode() & 0o777 == file.mode && fs::read(entry.path()).is_ok_and(|d| d == file.data);
        if !equal {
            return false;
        }
        *found += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(p, d)| (p.to_string(), File::of_root(d.as_bytes().to_vec(), 0o644))).collect()
    }

    #[test]
    fn swaps_all_files_at_once_and_leaves_unchanged_volumes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v");
        write(&target, &files(&[("a", "1"), ("d/b", "2")])).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(target.join("d/b")).unwrap(), "2");
        let first = fs::read_link(target.join(DATA)).unwrap();
        write(&target, &files(&[("a", "1"), ("d/b", "2")])).unwrap();
        assert_eq!(fs::read_link(target.join(DATA)).unwrap(), first);
        write(&target, &files(&[("a", "3"), ("c", "4")])).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(target.join("c")).unwrap(), "4");
        assert!(fs::symlink_metadata(target.join("d")).is_err());
        assert!(!target.join(first).exists());
    }
}
