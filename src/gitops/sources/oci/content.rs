//! The files of an artifact: a compressed tar, which becomes a git tree in memory, so that the same rules
//! and limits hold for it as for a commit's. Whoever made it may mean harm.

use super::artifact::digest;
use super::registry::Failure;
use super::transfer::MAX_LAYER;
use crate::gitops::sources::dir::{Content, mib, read_regular, too_large};
use crate::gitops::sources::git::{MAX_DEPTH, MAX_ENTRIES};
use crate::gitops::sources::name;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use git2::{Index, IndexEntry, IndexTime, ObjectType, Odb, Oid, Repository};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use tar::{Archive, EntryType, Header};

/// All files together, unpacked.
const MAX_UNPACKED: u64 = 128 << 20;
/// The path of a file.
const MAX_PATH: usize = 4096;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_000;

/// An artifact's files as a git tree that is nowhere but in memory.
pub struct Unpacked {
    pub repository: Repository,
    pub tree: Oid,
}

/// Reads a compressed tar. Links, sizes and names of manifests are judged by who reads the tree.
pub fn unpack(layer: &[u8]) -> Result<Unpacked, Failure> {
    let failed = |error: git2::Error| Failure::new(error.message().to_owned(), "");
    let odb = Odb::new().map_err(failed)?;
    odb.add_new_mempack_backend(1).map_err(failed)?;
    let mut index = Index::new().map_err(failed)?;
    let mut archive = Archive::new(Bounded { inner: MultiGzDecoder::new(layer), left: MAX_UNPACKED });
    let broken = |error: io::Error| match error.get_ref().is_some_and(|inner| inner.is::<TooLarge>()) {
        true => Failure::new(format!("its files have more than {} together", mib(MAX_UNPACKED)), ""),
        false => Failure::new(format!("it is no compressed tar that can be read: {error}"), ""),
    };
    for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if number == MAX_ENTRIES {
            return Err(Failure::new(format!("there are more than {MAX_ENTRIES} files and directories"), ""));
        }
        let path = entry.path_bytes().into_owned();
        let (mode, content) = match entry.header().entry_type() {
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            EntryType::Regular | EntryType::Continuous => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(broken)?;
                (FILE, content)
            }
            EntryType::Symlink => (LINK, entry.link_name_bytes().unwrap_or_default().into_owned()),
            _ => return Err(refused(&path, "is neither a file nor a directory nor a symbolic link")),
        };
        let Some(path) = inside(&path)? else { continue };
        let id = odb.write(ObjectType::Blob, &content).map_err(failed)?;
        index.add(&indexed(path.clone(), mode, id)).map_err(|error| refused(&path, error.message()))?;
    }
    let repository = Repository::from_odb(odb).map_err(failed)?;
    let tree = index.write_tree_to(&repository).map_err(failed)?;
    Ok(Unpacked { repository, tree })
}

impl Unpacked {
    /// The directory that holds everything, as Helm packs charts. Empty: there is none.
    pub fn top(&self) -> Result<String, Failure> {
        let failed = |error: git2::Error| Failure::new(error.message().to_owned(), "");
        let tree = self.repository.find_tree(self.tree).map_err(failed)?;
        let mut entries = tree.iter();
        Ok(match (entries.next(), entries.next()) {
            (Some(only), None) if only.kind() == Some(ObjectType::Tree) => {
                name::readable(only.name_bytes()).map(str::to_owned).unwrap_or_default()
            }
            _ => String::new(),
        })
    }
}

fn refused(path: &[u8], why: &str) -> Failure {
    Failure::new(format!("{} {why}", name::shown(&String::from_utf8_lossy(path))), "")
}

/// The path without what means nothing; `None`: it is none of a manifest.
fn inside(path: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    if path.first() == Some(&b'/') {
        return Err(refused(path, "is an absolute path"));
    }
    if path.len() > MAX_PATH {
        return Err(refused(&path[..100], &format!("and so on: the path has more than {MAX_PATH} bytes")));
    }
    let parts: Vec<&[u8]> = path.split(|c| *c == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(refused(path, "leads out of the artifact"));
    }
    if parts.len() > MAX_DEPTH + 1 {
        return Err(refused(path, &format!("is nested more than {MAX_DEPTH} deep")));
    }
    // The repository it was made from, should it be in there.
    let is_git = |part: &&[u8]| part.eq_ignore_ascii_case(b".git");
    Ok((!parts.is_empty() && !parts.iter().any(is_git)).then(|| parts.join(&b'/')))
}

fn indexed(path: Vec<u8>, mode: u32, id: Oid) -> IndexEntry {
    let time = IndexTime::new(0, 0);
    let (dev, ino, uid, gid, file_size, flags, flags_extended) = (0, 0, 0, 0, 0, 0, 0);
    IndexEntry { ctime: time, mtime: time, dev, ino, mode, uid, gid, file_size, id, flags, flags_extended, path }
}

#[derive(Debug, thiserror::Error)]
#[error("too large")]
struct TooLarge;

/// Fails after so many bytes, where [`Read::take`] would make them look like all.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(TooLarge))?;
        Ok(read)
    }
}

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a directory holds, or the one file: everything but repositories' own data. Symbolic links become what
/// they lead to; what is not in the directory, or no file, is an error.
pub fn gather(root: &Path) -> Result<Files, String> {
    let shown = root.display();
    let whole = std::fs::canonicalize(root).map_err(|error| format!("{shown}: {error}"))?;
    let mut files = Files::new();
    if whole.is_dir() {
        let mut left = MAX_UNPACKED;
        directory(root, &whole, "", &mut files, &mut left)?;
    } else {
        let name = root.file_name().unwrap_or_default();
        let name = name::readable(name.as_encoded_bytes()).map_err(|no| format!("{}: {}", no.shown, no.what))?;
        files.insert(name.to_owned(), regular(root)?);
    }
    if files.is_empty() {
        return Err(format!("{shown} holds no files"));
    }
    Ok(files)
}

fn directory(at: &Path, whole: &Path, prefix: &str, files: &mut Files, left: &mut u64) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", at.display());
    for entry in std::fs::read_dir(at).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        if [".git", ".hg", ".svn"].iter().any(|hidden| name == *hidden) {
            continue;
        }
        let name = name::readable(name.as_encoded_bytes())
            .map_err(|no| format!("{}: {}; rename it", at.join(no.shown).display(), no.what))?;
        let inner = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            directory(&path, whole, &inner, files, left)?;
            continue;
        }
        if kind.is_symlink() {
            let target = std::fs::canonicalize(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            if !target.starts_with(whole) || target.is_dir() {
                let what = "the symbolic link leads to a directory, or out of what is pushed";
                return Err(format!("{}: {what}; put the files themselves there", path.display()));
            }
        }
        let content = regular(&path)?;
        *left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| format!("{}: the files have more than {} together", whole.display(), mib(MAX_UNPACKED)))?;
        files.insert(inner, content);
    }
    Ok(())
}

fn regular(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    match read_regular(path).map_err(|error| format!("{shown}: {error}"))? {
        Content::Bytes(bytes) => Ok(bytes),
        Content::TooLarge(size) => Err(format!("{shown}: {}", too_large(size).0)),
        Content::Special => Err(format!("{shown}: it is no regular file")),
    }
}

/// A layer, and the digest of what it was before it was compressed. The same files give the same bytes.
pub fn pack(files: &Files) -> Result<(Vec<u8>, String), String> {
    let packed = (|| {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_slice())?;
        }
        let tar = tar.into_inner()?;
        let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
        compressed.write_all(&tar)?;
        Ok::<_, io::Error>((compressed.finish()?, digest(&tar)))
    })();
    let (layer, uncompressed) = packed.map_err(|error| error.to_string())?;
    if layer.len() as u64 > MAX_LAYER {
        let (size, most) = (mib(layer.len() as u64), mib(MAX_LAYER));
        return Err(format!("the artifact would have {size}, more than the {most} it may have"));
    }
    Ok((layer, uncompressed))
}

#[cfg(test)]
mod tests;
