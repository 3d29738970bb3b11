//! The schema of ApplicationSets: what Applications are made from.

use super::application::{leaf, list_of, named, object, source_fields, spec};
use super::{ObjectShape, SchemaRef, Shape};

/// `selkie.dev/v1alpha1` ApplicationSet; `metadata` is the schema of ObjectMeta.
pub fn schema(metadata: SchemaRef) -> SchemaRef {
    let text = || leaf(("", Shape::String, "")).1;
    let parameters = || Shape::Map { values: text(), atomic: false };
    let element = leaf(("", parameters(), "Parameters and their values.")).1;
    let elements = vec![leaf(("elements", list_of(element), "The parameters of each element."))];
    let list = object("ApplicationSetListGenerator", "Elements that are written down here.", elements);
    let pattern = vec![
        leaf(("path", Shape::String, "From the repository's root; * is any text without a slash, ** any directories.")),
        leaf(("exclude", Shape::Boolean, "These not, whatever else takes them.")),
    ];
    let pattern = object("ApplicationSetDirectoryPattern", "Directories of a repository.", pattern);
    let mut git = source_fields();
    git.retain(|(name, _)| !["path", "paths", "push", "directory", "webhook"].contains(name));
    git.push(leaf(("directories", list_of(pattern), "An element for each directory that these take.")));
    git.push(leaf((
        "branches",
        list_of(text()),
        "An element for each branch, or refs such as refs/pull/*/head; * is any text.",
    )));
    let git = object("ApplicationSetGitGenerator", "Directories or branches of a repository.", git);
    let generator = vec![("list", list), ("git", git)];
    let generator = object("ApplicationSetGenerator", "What finds elements: list or git.", generator);
    let meta = vec![
        leaf(("name", Shape::String, "Name of the Application.")),
        leaf(("labels", parameters(), "Labels of the Application.")),
        leaf(("annotations", parameters(), "Annotations of the Application.")),
    ];
    let template = vec![
        ("metadata", object("ApplicationSetTemplateMeta", "Name, labels and annotations.", meta)),
        ("spec", spec()),
    ];
    let about = "An Application; each text may have ${parameter} of an element in it.";
    let fields = vec![
        leaf(("generators", list_of(generator), "What finds the elements.")),
        ("template", object("ApplicationSetTemplate", about, template)),
        leaf(("interval", Shape::Duration, "How often generators look, e.g. 30s.")),
        leaf(("timeout", Shape::Duration, "Longest time that reading a repository may take. Default: 60s.")),
        leaf(("prune", Shape::Boolean, "Delete Applications whose elements are gone. Default: true.")),
    ];
    let status = ObjectShape { preserve_unknown: true, ..ObjectShape::default() };
    let about = "Applications made from a template, one for each element that generators find.";
    let fields = vec![
        leaf(("apiVersion", Shape::String, "Version of the schema of this object.")),
        leaf(("kind", Shape::String, "Kind of this object.")),
        ("metadata", metadata),
        ("spec", object("ApplicationSetSpec", "What to make Applications of.", fields)),
        ("status", named("ApplicationSetStatus", "What the generators found last.", status)),
    ];
    object("ApplicationSet", about, fields)
}
