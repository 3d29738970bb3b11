//! A part of a volume for a container to mount (`subPath`).
//!
//! Who writes to a volume may put a link anywhere in it at any moment. Links are followed as far as they
//! stay inside. Then each directory on the way is opened by the one before it, without following links, and
//! what is missing is made the same way: whatever is changed meanwhile, nothing outside is made or opened.
//!
//! Between this and the container's start a path could still become another. Root therefore binds what it has
//! opened to a place of the pod's own, and the container mounts that. The places are in a file system of
//! their own: who does not see its mounts does not find them either, and cannot mount an empty directory instead
//! of the volume. Who may not mount is left with the path, as it was found.

use crate::kubelet::volumes::memory;
use parking_lot::Mutex;
use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Why there is no such part, in the words that a pod's owner may read: causes tell of the host's files.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("failed to create subPath directory")]
    Create(#[source] io::Error),
    #[error("failed to prepare subPath")]
    Prepare(#[source] io::Error),
}

/// A file or directory of a volume, held open.
pub struct Part {
    file: OwnedFd,
    /// Where it was found, without links.
    path: PathBuf,
}

/// The part of the volume at `root` that `sub_path` names; directories that are missing are made, with the mode of
/// the volume's.
pub fn open(root: &Path, sub_path: &str) -> Result<Part, Failed> {
    let root = root.canonicalize().map_err(Failed::Prepare)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = fs::openat(CWD, &root, flags, Mode::empty()).map_err(|error| Failed::Prepare(error.into()))?;
    let (found, missing) = existing(&root, sub_path).map_err(Failed::Prepare)?;
    let failed = if missing.is_empty() { Failed::Prepare } else { Failed::Create };
    reach(&root, top, &found, &missing).map_err(failed)
}

/// How much of a path there is, and the names that are not. Says nothing of where it leads.
fn existing<'a>(root: &Path, sub_path: &'a str) -> io::Result<(PathBuf, Vec<&'a OsStr>)> {
    let names: Vec<&OsStr> = Path::new(sub_path).components().filter_map(normal).collect();
    let mut found = root.to_owned();
    for (at, name) in names.iter().enumerate() {
        let next = found.join(name);
        match std::fs::metadata(&next) {
            Ok(_) => found = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((found, names[at..].to_vec())),
            Err(error) => return Err(error),
        }
    }
    Ok((found, Vec::new()))
}

fn normal(part: Component<'_>) -> Option<&OsStr> {
    match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }
}

fn reach(root: &Path, top: OwnedFd, found: &Path, missing: &[&OsStr]) -> io::Result<Part> {
    let mode = Mode::from_raw_mode(fs::fstat(&top)?.st_mode & 0o7777);
    let real = found.canonicalize()?;
    let inside = real.strip_prefix(root).map_err(|_| io::Error::other("it leads out of its volume"))?;
    let mut file = top;
    for name in inside.components().filter_map(normal) {
        file = step(&file, name)?;
    }
    let mut path = real.clone();
    for name in missing {
        file = make(&file, name, mode)?;
        path.push(name);
    }
    Ok(Part { file, path })
}

/// Opens what is in a directory, unless it has become a link. Not for reading: that could wait for ever.
fn step(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let next = fs::openat(directory, name, flags, Mode::empty())?;
    match kind(&next)? {
        FileType::Symlink => Err(io::Error::other("a link has come in its way")),
        _ => Ok(next),
    }
}

fn make(directory: &OwnedFd, name: &OsStr, mode: Mode) -> io::Result<OwnedFd> {
    let made = match fs::mkdirat(directory, name, mode) {
        Ok(()) => true,
        // Another container of the pod was faster, or there is a link that leads nowhere, which is not followed.
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = fs::openat(directory, name, flags, Mode::empty())?;
    if made {
        // The umask had its part in it.
        fs::fchmod(&opened, mode)?;
    }
    Ok(opened)
}

fn kind(file: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fs::fstat(file)?.st_mode))
}

impl Part {
    /// Its path, for who cannot mount: checked once more, as things may have moved since.
    pub fn path(self) -> Result<PathBuf, Failed> {
        let now = std::fs::read_link(self.link()).map_err(Failed::Prepare)?;
        if now == self.path { Ok(now) } else { Err(Failed::Prepare(io::Error::other("it has been moved"))) }
    }

    /// Binds it to `place` on the pod's `shelf`; what was there before is released. `None`: we may not mount.
    pub fn bind(&self, shelf: &Path, place: &str) -> Result<Option<PathBuf>, Failed> {
        self.try_bind(shelf, place).map_err(Failed::Prepare)
    }

    fn try_bind(&self, shelf: &Path, place: &str) -> io::Result<Option<PathBuf>> {
        if !put_up(shelf)? {
            return Ok(None);
        }
        let target = shelf.join(place);
        clear(&target)?;
        if let Some(above) = target.parent() {
            std::fs::create_dir_all(above)?;
        }
        // Anything but a directory can be bound to a file.
        match kind(&self.file)? {
            FileType::Directory => std::fs::create_dir(&target)?,
            _ => drop(std::fs::File::create(&target)?),
        }
        mount_bind(self.link(), &target)?;
        Ok(Some(target))
    }

    fn link(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// Mounts the file system that the places of a pod are in. False: we may not.
fn put_up(shelf: &Path) -> io::Result<bool> {
    /// Containers of one pod start at the same time.
    static PUTTING_UP: Mutex<()> = Mutex::new(());
    let _one_at_a_time = PUTTING_UP.lock();
    if memory::is_mounted(shelf) {
        return Ok(true);
    }
    std::fs::create_dir_all(shelf)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("tmpfs", shelf, "tmpfs", flags, Some(c"mode=0755")) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Releases what an earlier life of the container had there.
fn clear(place: &Path) -> io::Result<()> {
    loop {
        match unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there.
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let removed = match std::fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => std::fs::remove_dir(place),
        Ok(_) => std::fs::remove_file(place),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Releases all of a pod's places. Unless that succeeds, its directory must not be removed: what is bound there
/// would be emptied.
pub fn tear_down(shelf: &Path) -> io::Result<()> {
    while memory::is_mounted(shelf) {
        unmount(shelf, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
