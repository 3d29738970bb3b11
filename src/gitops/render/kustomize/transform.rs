//! The transformers that set one kind of field: namespaces, names, labels, annotations, replicas, images.

use super::fieldspec::{self, FieldSpec, Make};
use super::kustomization::{Image, Label, Replica, Texts};
use super::resource::Resource;
use super::transformer_config::TransformerConfig;
use crate::gitops::render::error::RenderError;
use crate::gitops::render::tree::{Body, Form, Node, Scalar};
use regex::Regex;

/// Sets every field of the specs in every object.
fn set_all(
    all: &mut [Resource],
    specs: &[FieldSpec],
    make: Make,
    mut set: impl FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), RenderError> {
    for resource in all {
        for spec in specs {
            let done = fieldspec::apply(&mut resource.node, spec, make, &mut set);
            done.map_err(|why| resource.error(why))?;
        }
    }
    Ok(())
}

/// Whose namespace is set in the subjects of role bindings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subjects {
    /// Subjects named `default`.
    #[default]
    DefaultOnly,
    AllServiceAccounts,
    None,
}

pub struct Namespace<'a> {
    pub name: &'a str,
    pub specs: &'a [FieldSpec],
    /// Leave what has one.
    pub unset_only: bool,
    pub subjects: Subjects,
}

impl Namespace<'_> {
    pub fn apply(&self, all: &mut [Resource]) -> Result<(), RenderError> {
        for resource in all {
            resource.store_id();
            self.apply_to(resource).map_err(|why| resource.error(why))?;
        }
        Ok(())
    }

    fn apply_to(&self, resource: &mut Resource) -> Result<(), String> {
        let gvk = resource.gvk();
        let node = &mut resource.node;
        let mut set = |field: &mut Node| self.set(field);
        if !gvk.is_cluster_scoped() {
            fieldspec::apply(node, &FieldSpec::any("metadata/namespace", true), Make::Text, &mut set)?;
        }
        let binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        if binding && let Some(Body::List(subjects)) = node.get_mut("subjects").map(|subjects| &mut subjects.body) {
            for subject in subjects.iter_mut().filter(|subject| self.is_meant(subject)) {
                if subject.get("namespace").is_none() {
                    subject.set("namespace", Node::string(""));
                }
                subject.get_mut("namespace").map_or(Ok(()), |namespace| self.set(namespace))?;
            }
        }
        for spec in self.specs {
            let own = spec.path == "metadata/namespace"
                || spec.path == "metadata/name" && gvk.api_version() != "v1"
                || binding && spec.path == "subjects/namespace" && spec.kind == gvk.kind;
            if !own {
                fieldspec::apply(node, spec, Make::Text, &mut set)?;
            }
        }
        Ok(())
    }

    fn is_meant(&self, subject: &Node) -> bool {
        let has = |key: &str, text: &str| subject.get(key).is_some_and(|found| found.text() == text);
        match self.subjects {
            Subjects::DefaultOnly => has("name", "default"),
            Subjects::AllServiceAccounts => has("kind", "ServiceAccount"),
            Subjects::None => false,
        }
    }

    fn set(&self, field: &mut Node) -> Result<(), String> {
        if field.as_scalar().is_none() {
            return Err(format!("a namespace is text, found {}", field.kind_name()));
        }
        if !self.unset_only || field.text().is_empty() {
            field.set_string(self.name);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affix {
    Prefix,
    Suffix,
}

/// Puts a text in front of or behind names. Some kinds' names are given by what they are.
pub fn affix(all: &mut [Resource], which: Affix, text: &str, specs: &[FieldSpec]) -> Result<(), RenderError> {
    for resource in all {
        let id = resource.original_id();
        let fixed = match id.gvk.kind.as_str() {
            "CustomResourceDefinition" | "Namespace" => true,
            "APIService" => id.gvk.group == "apiregistration.k8s.io",
            _ => false,
        };
        if fixed {
            continue;
        }
        for spec in specs.iter().filter(|spec| spec.selects(&id.gvk)) {
            if spec.path == "metadata/name" && !text.is_empty() {
                match which {
                    Affix::Prefix => resource.prefixes.push(text.to_owned()),
                    Affix::Suffix => resource.suffixes.push(text.to_owned()),
                }
                resource.store_id();
            }
            let mut set = |field: &mut Node| {
                let name = match which {
                    Affix::Prefix => format!("{text}{}", field.text()),
                    Affix::Suffix => format!("{}{text}", field.text()),
                };
                field.set_text(&name);
                Ok(())
            };
            let done = fieldspec::apply(&mut resource.node, spec, Make::Text, &mut set);
            done.map_err(|why| resource.error(why))?;
        }
    }
    Ok(())
}

/// Adds labels or annotations to maps.
pub fn texts(all: &mut [Resource], texts: &Texts, specs: &[FieldSpec]) -> Result<(), RenderError> {
    set_all(all, specs, Make::Map, |map| {
        if !map.is_map() {
            return if map.is_null() { Ok(()) } else { Err(format!("expected a map, found {}", map.kind_name())) };
        }
        texts.iter().for_each(|(key, text)| map.set(key, Node::string(text.as_str())));
        Ok(())
    })
}

/// Where one entry of `labels` goes.
pub fn label_specs(label: &Label, config: &TransformerConfig) -> Result<Vec<FieldSpec>, String> {
    let mut specs = label.fields.clone();
    fieldspec::merge(&mut specs, &config.labels)?;
    if label.include_selectors {
        fieldspec::merge(&mut specs, &config.common_labels)?;
    } else {
        if label.include_templates {
            fieldspec::merge(&mut specs, &config.template_labels)?;
        }
        fieldspec::merge(&mut specs, &[FieldSpec::any("metadata/labels", true)])?;
    }
    Ok(specs)
}

/// Whether there was anything of that name.
pub fn replicas(all: &mut [Resource], replica: &Replica, specs: &[FieldSpec]) -> Result<bool, RenderError> {
    let mut found = false;
    for spec in specs {
        for resource in all.iter_mut() {
            if !resource.any_id(|id| id.name == replica.name && spec.selects(&id.gvk)) {
                continue;
            }
            found = true;
            let mut set = |field: &mut Node| {
                let count = replica.count.to_string();
                // A number in quotes stays in quotes.
                match field
                    .as_scalar()
                    .is_some_and(|old| matches!(old.form, Form::Quoted | Form::Folded) && !old.text.is_empty())
                {
                    true => field.set_text(&count),
                    false => field.body = Body::Scalar(Scalar::plain(count)),
                }
                Ok(())
            };
            let done = fieldspec::apply(&mut resource.node, spec, Make::Text, &mut set);
            done.map_err(|why| resource.error(why))?;
        }
    }
    Ok(found)
}

/// Renames images: those of all lists of containers, wherever they are, and then those of the specs. What
/// is in both is thereby changed twice, which shows with a `tagSuffix`.
pub fn images(all: &mut [Resource], image: &Image, specs: &[FieldSpec]) -> Result<(), String> {
    let pattern = format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", image.name);
    let pattern = Regex::new(&pattern).map_err(|_| format!("the name {:?} is no regular expression", image.name))?;
    let update = |field: &mut Node| {
        if field.as_scalar().is_none() {
            return Err(format!("an image is text, found {}", field.kind_name()));
        }
        if pattern.is_match(field.text()) {
            let renamed = renamed(field.text(), image);
            field.set_text(&renamed);
        }
        Ok(())
    };
    for resource in all.iter_mut().filter(|resource| resource.kind() != "CustomResourceDefinition") {
        containers(&mut resource.node, &update).map_err(|why| resource.error(why).to_string())?;
        for spec in specs {
            let done = fieldspec::apply(&mut resource.node, spec, Make::Nothing, &mut |field: &mut Node| update(field));
            done.map_err(|why| resource.error(why).to_string())?;
        }
    }
    Ok(())
}

fn containers(node: &mut Node, update: &dyn Fn(&mut Node) -> Result<(), String>) -> Result<(), String> {
    match &mut node.body {
        Body::Scalar(_) => Ok(()),
        Body::List(items) => items.iter_mut().try_for_each(|item| containers(item, update)),
        Body::Map(entries) => entries.iter_mut().try_for_each(|entry| {
            containers(&mut entry.value, update)?;
            let Body::List(items) = &mut entry.value.body else { return Ok(()) };
            if !matches!(&*entry.key.text, "containers" | "initContainers") {
                return Ok(());
            }
            let mut found = items.iter_mut().filter_map(|item| item.get_mut("image")).filter(|image| !image.is_null());
            found.try_for_each(update)
        }),
    }
}

fn renamed(value: &str, image: &Image) -> String {
    let (name, mut tag, mut digest) = split_image(value);
    match (image.new_tag.as_str(), image.digest.as_str()) {
        ("", "") if !image.tag_suffix.is_empty() => (tag, digest) = (tag + &image.tag_suffix, String::new()),
        ("", "") => {}
        (new, found) => (tag, digest) = (new.to_owned(), found.to_owned()),
    }
    let mut text = if image.new_name.is_empty() { name } else { image.new_name.clone() };
    if !tag.is_empty() {
        text = format!("{text}:{tag}");
    }
    if !digest.is_empty() {
        text = format!("{text}@{digest}");
    }
    text
}

/// Name, tag and digest. A colon in front of the first slash is a port's.
fn split_image(image: &str) -> (String, String, String) {
    let from = image.find('/').unwrap_or(0);
    let find = |mark: char| image[from..].find(mark).map(|at| at + from);
    let own = |text: &str| text.to_owned();
    match (find(':'), find('@')) {
        (None, None) => (own(image), String::new(), String::new()),
        (colon, Some(at)) if colon.is_none_or(|colon| at < colon) => {
            (own(&image[..at]), String::new(), own(&image[at + 1..]))
        }
        (Some(colon), Some(at)) => (own(&image[..colon]), own(&image[colon + 1..at]), own(&image[at + 1..])),
        (Some(colon), None) => (own(&image[..colon]), own(&image[colon + 1..]), String::new()),
        (None, Some(_)) => (own(image), String::new(), String::new()),
    }
}
