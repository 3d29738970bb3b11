//! The files that one kustomization needs, taken from a tree, so that it can be rendered without it: by
//! whoever knows the kinds, at any time, again.

use super::load::{Build, Found, Tree};
use super::merge::{Place, Schemas};
use super::reach::reach;
use super::remote::{Elsewhere, Mount, Remote, Roots};
use super::{Gvk, build};
use crate::gitops::render::error::{Origin, RenderError};
use crate::gitops::sops;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// What a tree said when it was asked.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The kustomization's directory.
    pub root: String,
    found: BTreeMap<String, Result<Found, String>>,
    read: BTreeMap<String, Result<Bytes, String>>,
    /// What encrypted files were, or why that cannot be told.
    opened: BTreeMap<String, Result<Bytes, RenderError>>,
    shown: BTreeMap<String, String>,
    /// What came of repositories elsewhere: from which tree, which URL, and which reference in there.
    remotes: BTreeMap<[String; 3], Result<String, Elsewhere>>,
    /// Of those that are mounted the commits, by what was asked for.
    commits: BTreeMap<String, String>,
}

impl Record {
    /// Renders the kustomization for what it reads on the way. Errors are those that rendering the record
    /// has, too. Also the warnings.
    pub fn of(tree: &dyn Tree, root: &str, roots: &dyn Roots) -> (Self, Vec<RenderError>) {
        let record = RefCell::new(Self { root: root.to_owned(), ..Self::default() });
        let recorder = Recorder { tree, roots, record, mounts: RefCell::default(), awaits: Cell::new(false) };
        // How lists merge has no say in which files are read.
        let built = build(&recorder, root, &NoSchemas);
        let sealed = recorder.record.borrow().files().any(|(_, bytes)| sops::may_be_encrypted(bytes));
        if (sealed || recorder.awaits.get()) && built.is_err() {
            reach(&mut Build::new(&recorder, &NoSchemas), &super::load::Place::root(root));
        }
        (recorder.record.into_inner(), built.map(|built| built.warnings).unwrap_or_default())
    }

    /// Whether it has a file that is shown so.
    pub fn has(&self, shown: &str) -> bool {
        self.read.keys().any(|path| self.show(path) == shown)
    }

    /// With another text of that file.
    pub fn with(&self, shown: &str, text: &str) -> Self {
        let mut changed = self.clone();
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        for (path, read) in changed.read.iter_mut().filter(|(path, _)| self.show(path) == shown) {
            *read = Ok(bytes.clone());
            changed.opened.remove(path);
        }
        changed
    }

    /// With what encrypted files were, and how these are shown. `open` answers for them alone; it is given each file
    /// as it is shown.
    pub fn opened(
        &self,
        open: impl Fn(&Arc<str>, &Bytes) -> Option<Result<Bytes, RenderError>>,
    ) -> (Self, Vec<Arc<str>>) {
        let (mut changed, mut names) = (self.clone(), Vec::new());
        for (path, bytes) in self.files() {
            let shown: Arc<str> = self.show(path).into();
            if let Some(opened) = open(&shown, bytes) {
                changed.opened.insert(path.to_owned(), opened);
                names.push(shown);
            }
        }
        (changed, names)
    }

    /// The commits of repositories elsewhere, by where these are for people.
    pub fn commits(&self) -> impl Iterator<Item = (&String, &String)> {
        self.commits.iter()
    }

    /// The files, in path order.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.read.iter().filter_map(|(path, bytes)| Some((path.as_str(), bytes.as_ref().ok()?)))
    }

    /// What was looked for, and what was there.
    pub fn found(&self) -> impl Iterator<Item = (&str, &Result<Found, String>)> {
        self.found.iter().map(|(path, found)| (path.as_str(), found))
    }
}

impl Tree for Record {
    fn find(&self, path: &str) -> Result<Found, String> {
        self.found.get(path).cloned().unwrap_or(Ok(Found::Nothing))
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        self.read.get(path).cloned().unwrap_or_else(|| Err("the file was not read before".to_owned()))
    }

    fn remote(&self, from: &str, remote: &Remote, _: &Origin) -> Result<String, Elsewhere> {
        self.remotes.get(&key(from, remote)).cloned().unwrap_or(Err(Elsewhere::Awaited))
    }

    fn opened(&self, path: &str) -> Option<Result<Bytes, RenderError>> {
        self.opened.get(path).cloned()
    }

    fn show(&self, path: &str) -> String {
        self.shown.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }
}

fn key(from: &str, remote: &Remote) -> [String; 3] {
    [from.to_owned(), remote.url.clone(), remote.reference.clone()]
}

struct Recorder<'a> {
    tree: &'a dyn Tree,
    roots: &'a dyn Roots,
    record: RefCell<Record>,
    /// By name.
    mounts: RefCell<BTreeMap<String, Rc<dyn Tree>>>,
    /// A repository elsewhere is not there yet.
    awaits: Cell<bool>,
}

impl Recorder<'_> {
    /// Asks the tree that holds a path.
    fn ask<T>(&self, path: &str, ask: impl Fn(&dyn Tree, &str) -> T) -> T {
        let mounted = Mount::split(path);
        let mounted = mounted.and_then(|(name, inside)| Some((self.mounts.borrow().get(name)?.clone(), inside)));
        match mounted {
            Some((tree, inside)) => ask(&*tree, inside),
            None => ask(self.tree, path),
        }
    }
}

impl Tree for Recorder<'_> {
    fn find(&self, path: &str) -> Result<Found, String> {
        let found = self.ask(path, |tree, path| tree.find(path));
        let found = match Mount::split(path) {
            Some((mount, _)) => found.map(|found| found.below(mount)),
            None => found,
        };
        self.record.borrow_mut().found.insert(path.to_owned(), found.clone());
        found
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        // A file that changes meanwhile is read in one state.
        if let Some(known) = self.record.borrow().read.get(path) {
            return known.clone();
        }
        let bytes = self.ask(path, |tree, path| tree.read(path));
        self.record.borrow_mut().read.insert(path.to_owned(), bytes.clone());
        bytes
    }

    fn remote(&self, from: &str, remote: &Remote, at: &Origin) -> Result<String, Elsewhere> {
        let key = key(from, remote);
        if let Some(known) = self.record.borrow().remotes.get(&key) {
            return known.clone();
        }
        let mounted = self.roots.mount(from, remote, at).map(|Mount { name, tree, location, commit }| {
            self.record.borrow_mut().commits.insert(location, commit);
            self.mounts.borrow_mut().entry(name.clone()).or_insert_with(|| tree.into());
            name
        });
        self.awaits.set(self.awaits.get() || mounted == Err(Elsewhere::Awaited));
        self.record.borrow_mut().remotes.insert(key, mounted.clone());
        mounted
    }

    fn show(&self, path: &str) -> String {
        let shown = self.ask(path, |tree, path| tree.show(path));
        self.record.borrow_mut().shown.insert(path.to_owned(), shown.clone());
        shown
    }
}

struct NoSchemas;

impl Schemas for NoSchemas {
    fn of_kind(&self, _: &Gvk) -> Option<Place<'_>> {
        None
    }
}
