//! The files of a volume that outlives its pod, given to the pod's group (`fsGroup`), as Kubernetes does.
//!
//! A container may change the tree meanwhile: no link is followed, whoever puts it where a directory was.

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the group may do at least: with files, and with directories besides.
const FILES: u32 = 0o660;
const DIRECTORIES: u32 = 0o2110;

/// Gives everything under `root` to `group`. `unless_right`: nothing, where the root itself is right already. It
/// comes last: a walk that was cut short is made again.
pub fn give(root: &Path, group: u32, unless_right: bool) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let top = fs::openat(CWD, root, flags, Mode::empty())?;
    if unless_right && is_right(&fs::fstat(&top)?, group) {
        return Ok(());
    }
    let group = Gid::from_raw(group);
    // Paths, not open directories: a tree may be deeper than a process may have files open.
    let mut directories = vec![PathBuf::from(".")];
    let mut at = 0;
    while let Some(path) = directories.get(at).cloned() {
        at += 1;
        let Some(directory) = here(inside(&top, &path, flags))? else { continue };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Some(found) = here(fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW))? else { continue };
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => directories.push(path.join(name)),
                kind => give_file(&directory, name, kind, group)?,
            }
        }
    }
    for path in directories.iter().rev() {
        let Some(directory) = here(inside(&top, path, flags))? else { continue };
        let found = fs::fstat(&directory)?;
        fs::fchown(&directory, None, Some(group))?;
        fs::fchmod(&directory, Mode::from_raw_mode(found.st_mode & 0o7777 | FILES | DIRECTORIES))?;
    }
    Ok(())
}

fn is_right(found: &Stat, group: u32) -> bool {
    let wanted = FILES | DIRECTORIES;
    found.st_gid == group && found.st_mode & wanted == wanted
}

fn inside(top: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    fs::openat2(top, path, flags, Mode::empty(), resolve)
}

fn give_file(directory: impl AsFd, name: &OsStr, kind: FileType, group: Gid) -> io::Result<()> {
    if here(fs::chownat(&directory, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW))?.is_none() {
        return Ok(());
    }
    if kind != FileType::RegularFile {
        return Ok(());
    }
    // Not to wait for the other end of what became a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Some(file) = here(fs::openat(&directory, name, flags, Mode::empty()))? else { return Ok(()) };
    let found = fs::fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        fs::fchmod(&file, Mode::from_raw_mode(found.st_mode & 0o7777 | FILES))?;
    }
    Ok(())
}

/// `None`: it is gone, or something else has its name by now.
fn here<T>(found: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{Permissions, create_dir, metadata, set_permissions, write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn of(path: &Path) -> (u32, u32) {
        let found = metadata(path).unwrap();
        (found.gid(), found.mode() & 0o7777)
    }

    /// A group that this process may give files to.
    fn group() -> u32 {
        if rustix::process::geteuid().is_root() { 4242 } else { rustix::process::getegid().as_raw() }
    }

    #[test]
    fn the_group_may_do_what_it_needs_and_nothing_outside_changes() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = folder.path();
        create_dir(root.join("sub")).unwrap();
        for (path, mode) in [("file", 0o600), ("sub/program", 0o755), ("sub/secret", 0o400)] {
            write(root.join(path), "").unwrap();
            set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
        }
        set_permissions(root.join("sub"), Permissions::from_mode(0o700)).unwrap();
        set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        write(outside.path().join("file"), "").unwrap();
        set_permissions(outside.path(), Permissions::from_mode(0o700)).unwrap();
        set_permissions(outside.path().join("file"), Permissions::from_mode(0o600)).unwrap();
        symlink(outside.path(), root.join("directory")).unwrap();
        symlink(outside.path().join("file"), root.join("link")).unwrap();
        give(root, group(), false).unwrap();
        let found = ["file", "sub", "sub/program", "sub/secret", "."].map(|path| of(&root.join(path)));
        assert_eq!(found, [0o660, 0o2770, 0o775, 0o660, 0o2775].map(|mode| (group(), mode)));
        assert_eq!([of(outside.path()).1, of(&outside.path().join("file")).1], [0o700, 0o600]);
    }

    #[test]
    fn a_root_that_is_right_can_stand_for_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path().join("file"), "").unwrap();
        set_permissions(folder.path().join("file"), Permissions::from_mode(0o600)).unwrap();
        let file = || of(&folder.path().join("file")).1;
        give(folder.path(), group(), true).unwrap();
        assert_eq!(file(), 0o660, "the root was not right");
        set_permissions(folder.path().join("file"), Permissions::from_mode(0o600)).unwrap();
        give(folder.path(), group(), true).unwrap();
        assert_eq!(file(), 0o600);
        give(folder.path(), group(), false).unwrap();
        assert_eq!(file(), 0o660);
    }

    #[test]
    fn a_tree_may_be_deeper_than_a_path_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let mut at = fs::open(folder.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..60 {
            let name = "d".repeat(200);
            fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let told = give(folder.path(), group(), false).unwrap_err();
        assert_eq!(
            told.raw_os_error(),
            Some(Errno::NAMETOOLONG.raw_os_error()),
            "said, and not left half done in silence"
        );
    }
}
