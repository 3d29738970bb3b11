//! The data directory: where each thing lives, and who holds it.

use super::options::Host;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The layout of one data directory. Everything in it is readable by its owner only.
#[derive(Clone, Debug)]
pub struct Paths(PathBuf);

impl Paths {
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store.redb")
    }

    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    pub fn token(&self) -> PathBuf {
        self.0.join("token")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Bare clones of the applications' git repositories.
    pub fn repositories(&self) -> PathBuf {
        self.0.join("repos")
    }

    /// The repositories of applications that are pushed.
    pub fn pushed(&self) -> PathBuf {
        self.0.join("git")
    }

    /// What one host's kubelet materialises: volumes, hosts files.
    pub fn node(&self, name: &str) -> PathBuf {
        self.0.join("nodes").join(name)
    }

    /// Podman services selkie starts itself.
    pub fn podman(&self) -> PathBuf {
        self.0.join("podman")
    }

    /// The identity containers carry, so that two clusters may share a host.
    pub fn cluster_id(&self) -> PathBuf {
        self.0.join("cluster-id")
    }

    fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }

    /// Keeps which hosts there are, for verbs that look at containers.
    pub fn write_hosts(&self, hosts: &[Host]) -> io::Result<()> {
        let lines: String = hosts.iter().map(|host| format!("{}={}\n", host.name, host.url)).collect();
        write_private(&self.hosts(), lines.as_bytes())
    }

    /// The hosts that the last cluster on this directory had; `None` before the first.
    pub fn read_hosts(&self) -> Option<Vec<Host>> {
        let text = fs::read_to_string(self.hosts()).ok()?;
        Some(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Whether a daemon holds this directory now.
    pub fn daemon_runs(&self) -> bool {
        matches!(self.holder(), Some(holder) if holder.daemon)
    }

    /// Who holds the directory, if anyone does.
    pub fn holder(&self) -> Option<Holder> {
        let mut file = File::open(self.lock_file()).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => Some(Holder::read(&mut file)),
        }
    }

    /// Makes the directory and takes it until the lock is dropped.
    pub fn lock(&self, daemon: bool) -> Result<Lock, LockError> {
        let failed = |source| LockError::Io { path: self.0.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.lock_file())
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: self.0.clone(), holder: Holder::read(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let role = if daemon { "daemon" } else { "command" };
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{role} {}", std::process::id()).map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

/// The process that holds a data directory, as far as it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// A daemon that serves, rather than a one-shot command.
    pub daemon: bool,
    pub pid: Option<u32>,
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        // A holder that has not written yet is a daemon or a command that starts; say daemon, which
        // makes the other side wait for it.
        let _ = file.rewind().and_then(|()| file.take(64).read_to_string(&mut text));
        let mut words = text.split_whitespace();
        let role = words.next();
        Self { daemon: role != Some("command"), pid: words.next().and_then(|pid| pid.parse().ok()) }
    }
}

/// Holds a data directory while it lives; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the data directory {} is in use by {}", path.display(), describe(holder))]
    Held { path: PathBuf, holder: Holder },
    #[error("cannot use the data directory {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn describe(holder: &Holder) -> String {
    let what = if holder.daemon { "a selkie daemon" } else { "another selkie command" };
    holder.pid.map_or_else(|| what.to_string(), |pid| format!("{what} (pid {pid})"))
}

/// Writes a file that only its owner reads, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // tempfile creates with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path().join("data"));
        assert_eq!(paths.holder(), None);
        let lock = paths.lock(true).unwrap();
        assert!(paths.daemon_runs());
        let refused = paths.lock(false).unwrap_err().to_string();
        assert!(refused.contains(&format!("a selkie daemon (pid {})", std::process::id())), "{refused}");
        drop(lock);
        assert!(!paths.daemon_runs());
        let _lock = paths.lock(false).unwrap();
        assert!(!paths.daemon_runs());
        assert!(paths.holder().is_some());
    }

    #[test]
    fn private_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pki/token");
        write_private(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }
}
