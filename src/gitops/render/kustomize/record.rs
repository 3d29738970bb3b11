//! The files that one kustomization needs, taken from a tree, so that it can be rendered without it: by
//! whoever knows the kinds, at any time, again.

use super::load::{Build, Found, Tree};
use super::merge::{Place, Schemas};
use super::reach::reach;
use super::{Gvk, build};
use crate::gitops::render::error::RenderError;
use crate::gitops::sops;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
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
}

impl Record {
    /// Renders the kustomization for what it reads on the way. Errors are those that rendering the record
    /// has, too. Also the warnings.
    pub fn of(tree: &dyn Tree, root: &str) -> (Self, Vec<RenderError>) {
        let recorder = Recorder { tree, record: RefCell::new(Self { root: root.to_owned(), ..Self::default() }) };
        // How lists merge has no say in which files are read.
        let built = build(&recorder, root, &NoSchemas);
        let sealed = recorder.record.borrow().files().any(|(_, bytes)| sops::may_be_encrypted(bytes));
        if sealed && built.is_err() {
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

    fn opened(&self, path: &str) -> Option<Result<Bytes, RenderError>> {
        self.opened.get(path).cloned()
    }

    fn show(&self, path: &str) -> String {
        self.shown.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }
}

struct Recorder<'a> {
    tree: &'a dyn Tree,
    record: RefCell<Record>,
}

impl Tree for Recorder<'_> {
    fn find(&self, path: &str) -> Result<Found, String> {
        let found = self.tree.find(path);
        self.record.borrow_mut().found.insert(path.to_owned(), found.clone());
        found
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        // A file that changes meanwhile is read in one state.
        if let Some(known) = self.record.borrow().read.get(path) {
            return known.clone();
        }
        let bytes = self.tree.read(path);
        self.record.borrow_mut().read.insert(path.to_owned(), bytes.clone());
        bytes
    }

    fn show(&self, path: &str) -> String {
        let shown = self.tree.show(path);
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
