//! Objects of a repository, read only when they are not too large: what compresses well is small on
//! the way, and large in memory.

use crate::gitops::sources::dir::mib;
use git2::{Blob, Commit, ErrorClass, ErrorCode, ObjectType, Oid, Repository, Tree};

/// A commit or a tag, most of which is its message.
const MAX_COMMIT: u64 = 1 << 20;
/// One directory.
const MAX_TREE: u64 = 16 << 20;
/// The target of a symbolic link.
const MAX_LINK: u64 = 4096;
/// Tags of tags.
const MAX_TAGS: usize = 8;

/// The commit, or the one behind the tag.
pub(super) fn commit(repository: &Repository, oid: Oid) -> Result<Commit<'_>, git2::Error> {
    let mut at = oid;
    for _ in 0..MAX_TAGS {
        match header(repository, at, MAX_COMMIT)? {
            ObjectType::Commit => return repository.find_commit(at),
            ObjectType::Tag => at = repository.find_tag(at)?.target_id(),
            other => return Err(refused(format!("{at} is no commit but a {other}"))),
        }
    }
    Err(refused(format!("{oid} is a tag of a tag of a tag, and so on")))
}

pub(super) fn tree(repository: &Repository, oid: Oid) -> Result<Tree<'_>, git2::Error> {
    header(repository, oid, MAX_TREE)?;
    repository.find_tree(oid)
}

/// A symbolic link is a blob that holds its target.
pub(super) fn link(repository: &Repository, oid: Oid) -> Result<Blob<'_>, git2::Error> {
    header(repository, oid, MAX_LINK)?;
    repository.find_blob(oid)
}

/// An object's size, which costs no more than a look at its beginning.
pub(super) fn size(repository: &Repository, oid: Oid) -> Result<u64, git2::Error> {
    Ok(repository.odb()?.read_header(oid)?.0 as u64)
}

fn header(repository: &Repository, oid: Oid, most: u64) -> Result<ObjectType, git2::Error> {
    let (size, kind) = repository.odb()?.read_header(oid)?;
    if size as u64 > most {
        let (size, most) = (mib(size as u64), mib(most));
        return Err(refused(format!("the {kind} {oid} has {size}, more than the {most} it may have")));
    }
    Ok(kind)
}

fn refused(what: String) -> git2::Error {
    git2::Error::new(ErrorCode::GenericError, ErrorClass::Object, what)
}
