//! The files a kustomization may read, and what it may cost: nothing outside of its directory, no base
//! that holds it, and an end to everything.

use super::id::Gvk;
use super::merge::Schemas;
use super::remote::{Elsewhere, Mount, Remote};
use crate::base::url::redact;
use crate::gitops::render::error::{Origin, RenderError};
use bytes::Bytes;
use std::sync::Arc;

/// Kustomizations that name each other, from the first to the last.
const MAX_DEPTH: usize = 40;
/// Kustomizations, each as often as it is used.
const MAX_KUSTOMIZATIONS: usize = 2_000;
/// Files read, each as often as it is read.
const MAX_READS: usize = 20_000;
/// Bytes read and copied altogether.
const MAX_BYTES: usize = 128 << 20;
/// Objects looked at by patches and other entries of lists: each looks at each.
const MAX_VISITS: usize = 20_000_000;
/// Objects at any moment.
pub const MAX_OBJECTS: usize = 20_000;

/// Where files come from. Paths have `/` in between and neither `.` nor `..`; the empty one is the tree's
/// root.
pub trait Tree {
    /// Where a path leads once links are followed, or why nothing may be read there.
    fn find(&self, path: &str) -> Result<Found, String>;
    fn read(&self, path: &str) -> Result<Bytes, String>;
    /// The path of the root of a repository elsewhere, which a file of the tree `from` names: one that was mounted,
    /// or (empty) this one.
    fn remote(&self, _from: &str, _remote: &Remote, _at: &Origin) -> Result<String, Elsewhere> {
        Err(Elsewhere::NotAllowed)
    }
    /// What an encrypted file was, or why that cannot be told. `None`: it is not encrypted.
    fn opened(&self, _path: &str) -> Option<Result<Bytes, RenderError>> {
        None
    }
    /// The path for people.
    fn show(&self, path: &str) -> String {
        path.to_owned()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    File(String),
    Directory(String),
    Nothing,
}

impl Found {
    /// The same in a tree that is mounted there.
    pub fn below(self, mount: &str) -> Self {
        let below = |path: String| if path.is_empty() { mount.to_owned() } else { format!("{mount}/{path}") };
        match self {
            Self::File(path) => Self::File(below(path)),
            Self::Directory(path) => Self::Directory(below(path)),
            Self::Nothing => Self::Nothing,
        }
    }
}

/// One build: its files, its schemas, and what it has used up.
pub struct Build<'a> {
    pub tree: &'a dyn Tree,
    pub schemas: &'a dyn Schemas,
    pub openapi: Option<serde_json::Value>,
    pub warnings: Vec<RenderError>,
    kustomizations: usize,
    reads: usize,
    bytes: usize,
    visits: usize,
}

impl<'a> Build<'a> {
    pub fn new(tree: &'a dyn Tree, schemas: &'a dyn Schemas) -> Self {
        Self { tree, schemas, openapi: None, warnings: Vec::new(), kustomizations: 0, reads: 0, bytes: 0, visits: 0 }
    }

    /// Counts what is about to be copied.
    pub fn spend(&mut self, bytes: usize, at: &Origin) -> Result<(), RenderError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            let what = format!("rendering this takes more than {} MiB", MAX_BYTES >> 20);
            return Err(RenderError::new(at.clone(), what).hint("split it into several applications"));
        }
        Ok(())
    }

    /// Counts the objects that an entry of a list is about to look at.
    pub fn visit(&mut self, objects: usize, at: &Origin) -> Result<(), RenderError> {
        self.visits = self.visits.saturating_add(objects);
        if self.visits > MAX_VISITS {
            let what = format!("rendering this looks at objects more than {MAX_VISITS} times");
            return Err(RenderError::new(at.clone(), what).hint("split it into several applications"));
        }
        Ok(())
    }

    pub fn check_count(&self, objects: usize, at: &Origin) -> Result<(), RenderError> {
        if objects > MAX_OBJECTS {
            let what = format!("there are more than {MAX_OBJECTS} objects");
            return Err(RenderError::new(at.clone(), what).hint("split it into several applications"));
        }
        Ok(())
    }

    /// Reads a file that a kustomization names, as text.
    pub fn text(&mut self, place: &Place, path: &str, at: &Origin) -> Result<(Arc<str>, String), RenderError> {
        let (file, bytes) = self.bytes(place, path, at)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok((file, text.trim_start_matches('\u{feff}').to_owned())),
            Err(_) => {
                let whole = Origin { file, line: 0, column: 0 };
                Err(RenderError::new(whole, "the file is not UTF-8 text").hint("save it as UTF-8"))
            }
        }
    }

    /// Reads a file that a kustomization names; of an encrypted one what it was.
    pub fn bytes(&mut self, place: &Place, path: &str, at: &Origin) -> Result<(Arc<str>, Bytes), RenderError> {
        self.read(place, path, at, |tree, path| tree.opened(path))
    }

    /// The same, as it is.
    pub fn raw(&mut self, place: &Place, path: &str, at: &Origin) -> Result<(Arc<str>, Bytes), RenderError> {
        self.read(place, path, at, |_, _| None)
    }

    fn read(
        &mut self,
        place: &Place,
        path: &str,
        at: &Origin,
        opened: impl Fn(&dyn Tree, &str) -> Option<Result<Bytes, RenderError>>,
    ) -> Result<(Arc<str>, Bytes), RenderError> {
        let wrong = |what: String| RenderError::new(at.clone(), what);
        let found = self.tree.find(&place.join(path, at)?).map_err(|why| wrong(format!("{path}: {why}")))?;
        let file = match found {
            Found::File(file) => file,
            Found::Directory(_) => return Err(wrong(format!("{path} is a directory, not a file"))),
            Found::Nothing => return Err(wrong(format!("there is no file {path}")).hint("check the path")),
        };
        if !is_within(&file, &place.path) {
            let what = format!("{path} is not in or below the kustomization's own directory");
            return Err(wrong(what).hint("move the file there, or make its directory a base of its own"));
        }
        self.reads += 1;
        if self.reads > MAX_READS {
            return Err(wrong(format!("more than {MAX_READS} files are read")));
        }
        let bytes = match opened(self.tree, &file) {
            Some(opened) => opened?,
            None => self.tree.read(&file).map_err(|why| wrong(format!("{path}: {why}")))?,
        };
        self.spend(bytes.len(), at)?;
        Ok((self.tree.show(&file).into(), bytes))
    }

    /// Whether a path leads to a directory. What leads nowhere is no directory.
    pub fn is_directory(&self, place: &Place, path: &str, at: &Origin) -> Result<bool, RenderError> {
        if Remote::parse(path).is_some() {
            return Ok(true);
        }
        let found = self.tree.find(&place.join(path, at)?);
        let found = found.map_err(|why| RenderError::new(at.clone(), format!("{path}: {why}")))?;
        Ok(matches!(found, Found::Directory(_)))
    }

    /// The directory of a base or component.
    pub fn enter(&mut self, place: &Place, path: &str, at: &Origin) -> Result<Place, RenderError> {
        let wrong = |what: String| RenderError::new(at.clone(), what);
        let (target, elsewhere) = match Remote::parse(path) {
            None => (place.join(path, at)?, place.elsewhere.clone()),
            Some(remote) => self.mount(place, path, remote, at)?,
        };
        let found = self.tree.find(&target).map_err(|why| wrong(format!("{path}: {why}")))?;
        let directory = match found {
            Found::Directory(directory) => directory,
            Found::File(_) => return Err(wrong(format!("{path} is a file, not a directory"))),
            Found::Nothing => {
                return Err(wrong(format!("there is no file or directory {path}")).hint("check the path"));
            }
        };
        let mut above = place.visited.iter().chain([&place.path]);
        if let Some(holder) = above.find(|visited| is_within(visited, &directory)) {
            let shown = |path: &str| match self.tree.show(path) {
                path if path.is_empty() => "the root".to_owned(),
                path => path,
            };
            let what = format!("cycle: {} holds {}, which is being read", shown(&directory), shown(holder));
            return Err(wrong(what).hint("a base must not be at or above what uses it"));
        }
        self.kustomizations += 1;
        if self.kustomizations > MAX_KUSTOMIZATIONS {
            return Err(wrong(format!("more than {MAX_KUSTOMIZATIONS} kustomizations are used")));
        }
        let visited: Vec<String> = place.visited.iter().chain([&place.path]).cloned().collect();
        if visited.len() > MAX_DEPTH {
            return Err(wrong(format!("kustomizations name each other more than {MAX_DEPTH} deep")));
        }
        let route = match Remote::parse(path) {
            Some(Ok(remote)) => remote.path,
            _ if place.route.is_empty() => path.to_owned(),
            _ => format!("{}/{path}", place.route),
        };
        Ok(Place { path: directory, visited, route: tidy(&route), elsewhere })
    }

    /// Where a repository elsewhere is in the tree, and the directory that is meant.
    fn mount(
        &self,
        place: &Place,
        path: &str,
        remote: Result<Remote, String>,
        at: &Origin,
    ) -> Result<(String, Option<Arc<Remote>>), RenderError> {
        let wrong = |problem: Elsewhere| problem.explain(path, at);
        let remote = remote.map_err(|why| wrong(Elsewhere::Refused(why)))?;
        let from = Mount::split(&place.path).map_or("", |(mount, _)| mount);
        let mount = self.tree.remote(from, &remote, at).map_err(wrong)?;
        let target = if remote.path.is_empty() { mount } else { format!("{mount}/{}", remote.path) };
        Ok((target, Some(Arc::new(remote))))
    }
}

impl Schemas for Build<'_> {
    fn of_kind(&self, gvk: &Gvk) -> Option<super::merge::Place<'_>> {
        match &self.openapi {
            Some(document) => super::openapi::of_kind(document, gvk),
            None => self.schemas.of_kind(gvk),
        }
    }
}

/// A kustomization's directory, and how it was come to.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub path: String,
    /// The directories of the kustomizations that led here.
    visited: Vec<String>,
    /// From the first kustomization's directory: `../base`; elsewhere from the root of the repository.
    pub route: String,
    /// The repository that it is in, where that is another one than the first kustomization's.
    elsewhere: Option<Arc<Remote>>,
}

impl Place {
    pub fn root(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// A path as the kustomization names it, from the tree's root.
    fn join(&self, path: &str, at: &Origin) -> Result<String, RenderError> {
        let wrong = |what: String, hint: &str| RenderError::new(at.clone(), what).hint(hint);
        if path.is_empty() {
            return Err(wrong("the path is empty".to_owned(), "name a file or directory"));
        }
        if Remote::parse(path).is_some() {
            let what = format!("{} is elsewhere, and single files are not fetched", redact(path));
            return Err(wrong(what, "put a copy into the repository"));
        }
        if path.contains('\0') {
            return Err(wrong(format!("{path:?} is no path"), "remove the NUL character"));
        }
        if path.starts_with('/') {
            return Err(wrong(format!("{path} is an absolute path"), "name it from the kustomization's directory"));
        }
        let (mount, inside) = Mount::split(&self.path).map_or((None, &*self.path), |(mount, path)| (Some(mount), path));
        let mut parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => {
                    return Err(wrong(format!("{path} leads out of the source"), "keep bases within it"));
                }
                ".." => {}
                name => parts.push(name),
            }
        }
        Ok(mount.into_iter().chain(parts).collect::<Vec<_>>().join("/"))
    }

    /// Begins the text of an origin annotation: which repository, if that is another one.
    pub fn repository(&self) -> String {
        let Some(Remote { url, reference, .. }) = self.elsewhere.as_deref() else { return String::new() };
        let reference = if reference.is_empty() { String::new() } else { format!("ref: {reference}\n") };
        format!("repo: {}\n{reference}", redact(url))
    }

    /// The origin annotation of what a file holds.
    pub fn origin(&self, path: &str) -> String {
        format!("path: {path}\n{}", self.repository())
    }
}

/// Whether a path is `directory` or below it.
fn is_within(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Without `.` and, where something precedes it, `..`.
pub fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
