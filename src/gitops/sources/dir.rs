//! Manifests in a directory, or one file.

use super::disk::Disk;
use super::remotes::{Fetched, Remotes};
use super::repositories::Repositories;
use super::{
    Access, CHART_FILE, File, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Snapshot, Source, SourceError, is_hidden,
    is_manifest, name,
};
use crate::base::wake::Wake;
use crate::base::watch::{self, Guard};
use crate::gitops::render::kustomize::{FILE_NAMES, NoRoots, Roots};
use crate::gitops::render::{Origin, RenderError};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A file or directory that changed within this time may be in the middle of a save: an editor
/// truncates before it writes, and what is read then looks like manifests that were removed.
const SETTLE: Duration = Duration::from_millis(50);
/// Sources that never settle are read all the same.
const SETTLE_TRIES: usize = 20;

pub struct DirSource {
    root: PathBuf,
    recursive: bool,
    /// The revision handed out last. Another one must be read twice: times alone do not tell, since
    /// a file's new size may show before its new time does.
    last: Mutex<Option<String>>,
    /// Repositories that kustomizations name.
    remotes: Remotes,
}

impl DirSource {
    pub fn new(root: PathBuf, recursive: bool, repositories: &Arc<Repositories>, access: &Access) -> Self {
        Self { root, recursive, last: Mutex::default(), remotes: Remotes::new(repositories, None, true, access) }
    }
}

impl DirSource {
    async fn read(&self) -> Result<(Snapshot, SystemTime), SourceError> {
        let read = |fetched: Arc<Fetched>| {
            let (root, recursive) = (self.root.clone(), self.recursive);
            let read = tokio::task::spawn_blocking(move || read_with_time(&root, recursive, &*fetched));
            async {
                read.await.unwrap_or_else(|join| {
                    let cause = Arc::new(io::Error::other(join.to_string()));
                    Err(SourceError::Read { path: self.root.clone(), cause })
                })
            }
        };
        self.remotes.gather(read).await
    }
}

#[async_trait]
impl Source for DirSource {
    fn expire(&self) {
        self.remotes.expire();
    }

    async fn fetch(&self) -> Result<Snapshot, SourceError> {
        let mut previous = self.last.lock().clone();
        for _ in 0..SETTLE_TRIES {
            let (snapshot, changed) = self.read().await?;
            // The file system's clock may run a little ahead of ours. Far ahead, ours was set back.
            let age = changed.elapsed().unwrap_or_else(|ahead| ahead.duration());
            let seen_twice = previous.as_ref().is_none_or(|revision| *revision == snapshot.revision);
            if seen_twice && age >= SETTLE {
                *self.last.lock() = Some(snapshot.revision.clone());
                return Ok(snapshot);
            }
            previous = Some(snapshot.revision);
            tokio::time::sleep(SETTLE).await;
        }
        Ok(self.read().await?.0)
    }

    fn watch(&self, wake: Wake) -> Result<Option<Guard>, SourceError> {
        self.remotes.rings(wake.clone());
        let kustomized = read(&self.root, self.recursive).map(|snapshot| snapshot.kustomizations).unwrap_or_default();
        if kustomized.is_empty() {
            return Ok(Some(watch::directory(&self.root, self.recursive, wake)?));
        }
        let disk = Disk::around(&self.root);
        let (disk, _) = disk.map_err(|cause| SourceError::Read { path: self.root.clone(), cause: Arc::new(cause) })?;
        let files = kustomized.iter().flat_map(|record| record.files()).map(|(path, _)| disk.path(path));
        Ok(Some(watch::files(&self.root, files, wake)?))
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}

/// Reads the manifests under `root`; a file is read whatever its name. A directory with a kustomization is
/// what that renders to.
pub fn read(root: &Path, recursive: bool) -> Result<Snapshot, SourceError> {
    Ok(read_with_time(root, recursive, &NoRoots)?.0)
}

/// Also: when the newest of the files and directories changed.
fn read_with_time(root: &Path, recursive: bool, roots: &dyn Roots) -> Result<(Snapshot, SystemTime), SourceError> {
    let fail = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => SourceError::Missing(root.to_path_buf()),
        _ => SourceError::Read { path: root.to_path_buf(), cause: Arc::new(cause) },
    };
    let canonical = fs::canonicalize(root).map_err(fail)?;
    if FILE_NAMES.iter().any(|name| root.join(name).is_file()) {
        let (disk, inside) = Disk::around(root).map_err(fail)?;
        let snapshot = Snapshot::kustomized(root.display().to_string(), &disk, &inside, roots);
        let paths = snapshot.kustomizations.iter().flat_map(|record| record.files());
        let newest = paths.filter_map(|(path, _)| fs::metadata(disk.path(path)).and_then(|file| file.modified()).ok());
        let newest = newest.max().unwrap_or(SystemTime::UNIX_EPOCH);
        return Ok((snapshot, newest));
    }
    let chart = root.join(CHART_FILE).is_file();
    let mut reader = Reader { root, canonical, recursive: recursive || chart, all: chart, ..Reader::default() };
    if fs::metadata(root).map_err(fail)?.is_dir() {
        let canonical = reader.canonical.clone();
        reader.visited.insert(canonical);
        reader.directory(root)?;
    } else {
        reader.file(root)?;
    }
    let name = root.display().to_string();
    if chart {
        let prefix = root.join("").display().to_string();
        let inside = |file: File| File { path: file.path.strip_prefix(&*prefix).unwrap_or(&file.path).into(), ..file };
        let snapshot = Snapshot::of_chart(&name, &name, reader.files.into_iter().map(inside).collect());
        return Ok((Snapshot { rejected: reader.rejected, ..snapshot }, reader.newest));
    }
    Ok((Snapshot::new(name, reader.files, reader.rejected), reader.newest))
}

struct Reader<'a> {
    root: &'a Path,
    canonical: PathBuf,
    recursive: bool,
    /// All files count, whatever their names.
    all: bool,
    visited: HashSet<PathBuf>,
    files: Vec<File>,
    rejected: Vec<RenderError>,
    bytes: u64,
    newest: SystemTime,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Self {
            root: Path::new(""),
            canonical: PathBuf::new(),
            recursive: false,
            all: false,
            visited: HashSet::new(),
            files: Vec::new(),
            rejected: Vec::new(),
            bytes: 0,
            newest: SystemTime::UNIX_EPOCH,
        }
    }
}

impl Reader<'_> {
    fn directory(&mut self, directory: &Path) -> Result<(), SourceError> {
        let fail = |cause| SourceError::Read { path: directory.to_path_buf(), cause: Arc::new(cause) };
        let mut entries: Vec<_> = fs::read_dir(directory).map_err(fail)?.collect::<Result<_, _>>().map_err(fail)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        self.note_time(directory);
        for entry in entries {
            let bytes = entry.file_name();
            let name = bytes.to_string_lossy();
            if is_hidden(&name) && (!self.all || name == ".git") {
                continue;
            }
            if let Err(name::Unreadable { shown, what }) = name::readable(bytes.as_encoded_bytes()) {
                if is_manifest(&name) || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.reject(&directory.join(shown), what, "rename it");
                }
                continue;
            }
            self.entry(&entry.path(), &name)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &str) -> Result<(), SourceError> {
        // A file that vanishes between listing and reading was being replaced: its event comes.
        let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
        let wanted = self.all || is_manifest(name);
        if kind.is_symlink() {
            let Ok(target) = fs::canonicalize(path) else {
                if wanted {
                    self.reject(path, "the symbolic link leads nowhere", "remove it, or fix its target");
                }
                return Ok(());
            };
            if !target.starts_with(&self.canonical) {
                if wanted || target.is_dir() {
                    let what = format!("the symbolic link leads out of the source, to {}", target.display());
                    self.reject(path, &what, "copy the file into the source");
                }
                return Ok(());
            }
        }
        let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
        if metadata.is_dir() {
            let new = fs::canonicalize(path).is_ok_and(|canonical| self.visited.insert(canonical));
            return if self.recursive && new { self.directory(path) } else { Ok(()) };
        }
        if wanted { self.file(path) } else { Ok(()) }
    }

    fn note_time(&mut self, path: &Path) {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        self.newest = self.newest.max(modified.unwrap_or(SystemTime::UNIX_EPOCH));
    }

    fn file(&mut self, path: &Path) -> Result<(), SourceError> {
        let content = read_regular(path);
        // After reading: a save that began meanwhile must show.
        self.note_time(path);
        match content {
            Ok(Content::Bytes(bytes)) => {
                self.bytes += bytes.len() as u64;
                if self.bytes > MAX_TOTAL_BYTES {
                    return Err(SourceError::TooLarge { path: self.root.display().to_string() });
                }
                if self.files.len() == MAX_FILES {
                    return Err(SourceError::TooManyFiles { path: self.root.display().to_string() });
                }
                let file = File { path: self.relative(path), bytes: bytes.into() };
                self.files.push(file);
            }
            Ok(Content::TooLarge(size)) => {
                let (what, hint) = too_large(size);
                self.reject(path, &what, hint);
            }
            Ok(Content::Special) => self.reject(path, "not a regular file", "devices, pipes and sockets are not read"),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => self.reject(path, &format!("cannot be read: {cause}"), ""),
        }
        Ok(())
    }

    fn reject(&mut self, path: &Path, what: &str, hint: &str) {
        let origin = Origin { file: self.relative(path), line: 0, column: 0 };
        self.rejected.push(RenderError::new(origin, what).hint(hint));
    }

    /// As the user would write it: `examples/hello/web.yaml`.
    fn relative(&self, path: &Path) -> Arc<str> {
        path.display().to_string().into()
    }
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// What is said of a manifest over the limit.
pub(super) fn too_large(size: u64) -> (String, &'static str) {
    let what = format!("the file has {}, more than the {} a manifest may have", mib(size), mib(MAX_FILE_BYTES));
    (what, "split it, or keep large data out of manifests")
}

pub(super) enum Content {
    Bytes(Vec<u8>),
    TooLarge(u64),
    Special,
}

pub(super) fn read_regular(path: &Path) -> io::Result<Content> {
    // Without O_NONBLOCK, opening a named pipe would wait for its writer for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Content::Special);
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Ok(Content::TooLarge(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    Ok(if size > MAX_FILE_BYTES { Content::TooLarge(size) } else { Content::Bytes(bytes) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    fn paths(snapshot: &Snapshot, root: &Path) -> Vec<String> {
        let prefix = format!("{}/", root.display());
        snapshot.files.iter().map(|file| file.path.replace(&prefix, "")).collect()
    }

    fn source(root: &Path) -> DirSource {
        let repositories = Repositories::new(PathBuf::from("/nowhere"));
        DirSource::new(root.to_path_buf(), true, &repositories, &Access::default())
    }

    fn rejected(snapshot: &Snapshot, root: &Path) -> Vec<String> {
        let prefix = format!("{}/", root.display());
        snapshot.rejected.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
    }

    #[test]
    fn manifests_in_path_order_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        for name in
            ["b.yml", "a.yaml", "c.json", "README.md", ".hidden.yaml", "x.yaml~", "sub/d.yaml", "sub/.git/e.yaml"]
        {
            fs::write(root.join(name), "a: 1").unwrap();
        }
        assert_eq!(paths(&read(root, true).unwrap(), root), ["a.yaml", "b.yml", "c.json", "sub/d.yaml"]);
        assert_eq!(paths(&read(root, false).unwrap(), root), ["a.yaml", "b.yml", "c.json"]);
        assert_eq!(read(&root.join("README.md"), true).unwrap().files.len(), 1);
        assert!(matches!(read(&root.join("none"), true), Err(SourceError::Missing(_))));
    }

    #[test]
    fn the_revision_follows_the_content() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a.yaml"), "a: 1").unwrap();
        let first = read(temp.path(), true).unwrap().revision;
        assert_eq!(first, read(temp.path(), true).unwrap().revision);
        fs::write(temp.path().join("a.yaml"), "a: 2").unwrap();
        assert_ne!(first, read(temp.path(), true).unwrap().revision);
    }

    #[tokio::test]
    async fn a_save_in_progress_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.yaml");
        fs::write(&path, "").unwrap();
        let source = source(temp.path());
        let (snapshot, ()) = tokio::join!(source.fetch(), async {
            tokio::time::sleep(SETTLE / 5).await;
            fs::write(&path, "a: 1").unwrap();
        });
        assert_eq!(snapshot.unwrap().files[0].bytes, "a: 1");
    }

    #[tokio::test]
    async fn a_kustomization_is_watched_with_its_bases() {
        let temp = tempfile::tempdir().unwrap();
        let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        for (directory, text) in [("base", "resources: [c.yaml]"), ("prod", "resources: [../base]\nnamePrefix: prod-")]
        {
            fs::create_dir(temp.path().join(directory)).unwrap();
            fs::write(temp.path().join(directory).join("kustomization.yaml"), text).unwrap();
        }
        fs::write(temp.path().join("base/c.yaml"), map("one")).unwrap();
        let source = source(&temp.path().join("prod"));
        let names = |snapshot: &Snapshot| {
            let rendered = crate::gitops::render::unscoped(snapshot, &crate::api::registry::Registry::builtin(), None);
            assert_eq!(rendered.errors, []);
            rendered.objects.iter().map(|object| object.id.name.clone()).collect::<Vec<_>>()
        };
        let first = source.fetch().await.unwrap();
        assert_eq!(names(&first), ["prod-one"]);
        let wake = Wake::default();
        let _guard = source.watch(wake.clone()).unwrap().unwrap();
        fs::write(temp.path().join("base/c.yaml"), map("two")).unwrap();
        tokio::time::timeout(Duration::from_secs(20), wake.wait()).await.unwrap();
        let second = source.fetch().await.unwrap();
        assert_eq!(names(&second), ["prod-two"]);
        assert_ne!(first.revision, second.revision);
    }

    #[test]
    fn links_out_of_the_tree_large_files_and_pipes_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("src");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(temp.path().join("secret.yaml"), "a: 1").unwrap();
        fs::write(root.join("ok.yaml"), "a: 1").unwrap();
        symlink("../secret.yaml", root.join("out.yaml")).unwrap();
        symlink("ok.yaml", root.join("in.yaml")).unwrap();
        symlink("nowhere", root.join("dangling.yaml")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("..", root.join("sub/loop")).unwrap();
        fs::write(root.join("big.yaml"), vec![b'#'; 10_000_000]).unwrap();
        fs::write(root.join("a\u{1b}[2J.yaml"), "a: 1").unwrap();
        fs::create_dir(root.join("new\nline")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe.yaml"), rustix::fs::Mode::RWXU).unwrap();
        let snapshot = read(&root, true).unwrap();
        assert_eq!(paths(&snapshot, &root), ["in.yaml", "ok.yaml"]);
        let target = fs::canonicalize(temp.path()).unwrap();
        assert_eq!(
            rejected(&snapshot, &root),
            [
                "a\\x1b[2J.yaml: the name has control characters (rename it)".to_owned(),
                "big.yaml: the file has 9.5 MiB, more than the 3.0 MiB a manifest may have (split it, or keep large data out of manifests)".to_owned(),
                "dangling.yaml: the symbolic link leads nowhere (remove it, or fix its target)".to_owned(),
                "etc: the symbolic link leads out of the source, to /etc (copy the file into the source)".to_owned(),
                "new\\nline: the name has control characters (rename it)".to_owned(),
                format!("out.yaml: the symbolic link leads out of the source, to {}/secret.yaml (copy the file into the source)", target.display()),
                "pipe.yaml: not a regular file (devices, pipes and sockets are not read)".to_owned(),
            ]
        );
    }
}
