//! The place of a manifest's value in its file, and why it is none that could be written to.

use super::change::Step;
use super::layout::{Form, Layout, Node};
use crate::gitops::render::Manifest;

/// A value with what holds it.
#[derive(Clone, Copy)]
pub struct Place<'n> {
    pub node: &'n Node,
    pub holder: Holder<'n>,
    /// Within braces or brackets.
    pub in_flow: bool,
}

#[derive(Clone, Copy)]
pub enum Holder<'n> {
    Root,
    /// A map, and which of its entries.
    Entry(&'n Node, usize),
    /// A list, and which of its items.
    Item(&'n Node, usize),
}

impl<'n> Place<'n> {
    fn below(self) -> Vec<Place<'n>> {
        let (node, in_flow) = (self.node, self.in_flow || self.node.is_flow());
        let entries = node.entries().iter().enumerate();
        let entries = entries.map(|(at, entry)| Place { node: &entry.value, holder: Holder::Entry(node, at), in_flow });
        let items = node.items().iter().enumerate();
        let items = items.map(|(at, item)| Place { node: &item.value, holder: Holder::Item(node, at), in_flow });
        entries.chain(items).collect()
    }

    /// The value that the parser sees at a byte: of a list and its first entry, which may both be, the one or the other.
    fn find(self, at: usize, is_entry: bool) -> Option<Self> {
        let below = || self.below().into_iter().find_map(|place| place.find(at, is_entry));
        let is_it = self.node.at == at && !matches!(self.node.form, Form::Empty);
        if !is_it {
            return below();
        }
        if is_entry { below().or(Some(self)) } else { Some(self) }
    }

    fn step(self, step: &Step) -> Option<Self> {
        let at = match step {
            Step::Key(key) => self.node.entries().iter().position(|entry| entry.name.as_ref() == Some(key))?,
            Step::Index(index) => *index,
        };
        self.below().into_iter().nth(at)
    }
}

fn roots<'n>(layout: &'n Layout<'_>) -> impl Iterator<Item = Place<'n>> {
    layout.roots.iter().map(|node| Place { node, holder: Holder::Root, in_flow: false })
}

/// The object itself.
fn root<'n>(layout: &'n Layout<'_>, manifest: &Manifest) -> Option<Place<'n>> {
    let at = layout.offset(manifest.spans.at)?;
    roots(layout).find_map(|root| root.find(at, true))
}

/// Where the value at a path of the manifest is written; `Err` says what is there instead.
pub fn find<'n>(layout: &'n Layout<'_>, manifest: &Manifest, path: &[Step]) -> Result<Place<'n>, String> {
    let at = manifest.spans_at(path).and_then(|at| layout.offset(at));
    let mut here = root(layout, manifest);
    for step in path {
        let Some(place) = here else { break };
        if let Some(why) = elsewhere(layout, place.node, step) {
            return Err(why);
        }
        here = place.step(step);
    }
    if let Some(place) = here
        && (matches!(place.node.form, Form::Empty) || at.is_none_or(|at| at == place.node.at))
    {
        return Ok(place);
    }
    // Kustomizations put together what stands elsewhere in the file.
    let is_entry = matches!(path.last(), Some(Step::Index(_)));
    let found = at.and_then(|at| roots(layout).find_map(|root| root.find(at, is_entry)));
    found.ok_or_else(String::new)
}

/// What a step leads to that is not written in this node.
fn elsewhere(layout: &Layout<'_>, node: &Node, step: &Step) -> Option<String> {
    if let Form::Alias(number) = node.form {
        return Some(alias(layout, node, number));
    }
    let Step::Key(key) = step else { return None };
    let entries = node.entries();
    if entries.iter().any(|entry| entry.name.as_ref() == Some(key)) {
        return None;
    }
    let merged = entries.iter().find(|entry| entry.name.is_none())?;
    let line = layout.line(merged.key.start);
    Some(format!("it comes from the map that `<<` merges at line {line}: change it there, or write it out here"))
}

fn alias(layout: &Layout<'_>, node: &Node, number: usize) -> String {
    let name = layout.text[node.start..node.end].trim_start_matches('*');
    let line = anchor(layout, node, number).map_or(0, |anchor| layout.line(anchor.whole));
    format!("it is an alias of &{name} at line {line}: change it there, or write the value out here")
}

/// The anchor of an alias, which is in its document.
fn anchor<'n>(layout: &'n Layout<'_>, alias: &Node, number: usize) -> Option<&'n Node> {
    let root = layout.roots.iter().rev().find(|root| root.whole <= alias.start)?;
    let mut found = None;
    root.each(&mut |node| {
        if node.anchor == Some(number) {
            found = Some(node);
        }
    });
    found
}

/// Why a value cannot be written although it has a place: it is, or is part of, what others refer to, too.
pub fn shared(layout: &Layout<'_>, manifest: &Manifest, path: &[Step]) -> Option<String> {
    let mut here = root(layout, manifest);
    let mut on_the_way = Vec::new();
    for step in path.iter().map(Some).chain([None]) {
        let place = here?;
        if let Form::Alias(number) = place.node.form {
            return Some(alias(layout, place.node, number));
        }
        on_the_way.push(place.node);
        here = step.and_then(|step| place.step(step));
        if here.is_none() {
            break;
        }
    }
    // What is set or taken out may have anchors in it.
    if let Some(last) = on_the_way.pop() {
        last.each(&mut |node| on_the_way.push(node));
    }
    for node in on_the_way {
        let Some(number) = node.anchor else { continue };
        let root = layout.roots.iter().rev().find(|root| root.whole <= node.start)?;
        let mut users = Vec::new();
        root.each(&mut |user| {
            if matches!(user.form, Form::Alias(of) if of == number) {
                users.push(layout.line(user.start).to_string());
            }
        });
        if !users.is_empty() {
            let line = layout.line(node.whole);
            let users = users.join(", ");
            return Some(format!(
                "the anchor at line {line} is used at line {users}, too: change all of them, or write the values out"
            ));
        }
    }
    None
}
