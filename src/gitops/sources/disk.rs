//! A directory of this machine as kustomize reads it: bases may be next to it, so what may be read is not
//! the directory itself but what it belongs to.

use super::dir::{Content, mib, read_regular};
use super::{MAX_FILE_BYTES, name};
use crate::gitops::render::kustomize::{Found, Tree};
use bytes::Bytes;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

pub struct Disk {
    /// What may be read, without links.
    root: PathBuf,
    /// Paths below it are shown from there, as people write them.
    here: Option<PathBuf>,
}

impl Disk {
    /// What a directory belongs to: the working tree of its repository, else the machine. Also the path
    /// of the directory in there.
    pub fn around(directory: &Path) -> io::Result<(Self, String)> {
        let directory = fs::canonicalize(directory)?;
        let repository = directory.ancestors().find(|above| above.join(".git").exists());
        let root = repository.unwrap_or(Path::new("/")).to_path_buf();
        let inside = directory.strip_prefix(&root).unwrap_or(Path::new(""));
        let inside = text(inside).map_err(io::Error::other)?;
        Ok((Self { root, here: env::current_dir().and_then(fs::canonicalize).ok() }, inside))
    }

    /// Where a path of the tree is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// A path with `/`, whose names everybody can read.
fn text(path: &Path) -> Result<String, String> {
    let mut names = Vec::new();
    for name in path {
        match name::readable(name.as_bytes()) {
            Ok(name) => names.push(name),
            Err(unreadable) => return Err(format!("{}: {}", unreadable.shown, unreadable.what)),
        }
    }
    Ok(names.join("/"))
}

impl Tree for Disk {
    fn find(&self, path: &str) -> Result<Found, String> {
        let found = match fs::canonicalize(self.root.join(path)) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(error.to_string()),
        };
        let Ok(inside) = found.strip_prefix(&self.root) else {
            return Err(format!("a symbolic link leads out of {}", self.root.display()));
        };
        let inside = text(inside)?;
        let kind = fs::metadata(&found).map_err(|error| error.to_string())?;
        Ok(if kind.is_dir() { Found::Directory(inside) } else { Found::File(inside) })
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        match read_regular(&self.root.join(path)).map_err(|error| error.to_string())? {
            Content::Bytes(bytes) => Ok(bytes.into()),
            Content::TooLarge(size) => Err(format!("the file has {}, more than {}", mib(size), mib(MAX_FILE_BYTES))),
            Content::Special => Err("it is no regular file".to_owned()),
        }
    }

    fn show(&self, path: &str) -> String {
        let whole = self.root.join(path);
        let shown = self.here.as_deref().and_then(|here| whole.strip_prefix(here).ok()).unwrap_or(&whole);
        shown.display().to_string()
    }
}
