//! Which objects a patch or replacement is for.

use super::id::{Gvk, ResId};
use super::kustomization::Selector;
use super::resource::Resource;
use crate::api::selector::LabelSelector;
use regex::Regex;

/// A [`Selector`] with its expressions compiled.
pub struct Compiled {
    gvk: [Option<Regex>; 3],
    name: Option<Regex>,
    namespace: Option<Regex>,
    meta: Meta,
}

/// Selectors of labels and annotations.
pub struct Meta {
    labels: LabelSelector,
    annotations: LabelSelector,
}

impl Meta {
    pub fn new(selector: &Selector) -> Result<Self, String> {
        let parse = |text: &str| LabelSelector::parse(text).map_err(|error| error.message);
        Ok(Self { labels: parse(&selector.label_selector)?, annotations: parse(&selector.annotation_selector)? })
    }

    pub fn matches(&self, resource: &Resource) -> bool {
        let fits = |selector: &LabelSelector, key: &str| {
            selector.is_everything() || selector.matches(&resource.metadata_map(key).into_iter().collect())
        };
        fits(&self.annotations, "annotations") && fits(&self.labels, "labels")
    }
}

impl Compiled {
    pub fn new(selector: &Selector) -> Result<Self, String> {
        let whole = |text: &str| match text {
            "" => Ok(None),
            text => match Regex::new(&format!("^(?:{text})$")) {
                Ok(regex) => Ok(Some(regex)),
                Err(_) => Err(format!("{text:?} is no regular expression")),
            },
        };
        Ok(Self {
            gvk: [whole(&selector.group)?, whole(&selector.version)?, whole(&selector.kind)?],
            name: whole(&selector.name)?,
            namespace: whole(&selector.namespace)?,
            meta: Meta::new(selector)?,
        })
    }

    /// Names and namespaces may be those of now or those of the beginning.
    pub fn matches(&self, resource: &Resource) -> bool {
        let fits = |regex: &Option<Regex>, text: &str| regex.as_ref().is_none_or(|regex| regex.is_match(text));
        let (now, first, gvk) = (resource.id(), resource.original_id(), resource.gvk());
        let either = |regex, of: fn(&ResId) -> &str| fits(regex, of(&first)) || fits(regex, of(&now));
        either(&self.namespace, ResId::effective_namespace)
            && either(&self.name, |id| &id.name)
            && self.gvk.iter().zip([&gvk.group, &gvk.version, &gvk.kind]).all(|(regex, text)| fits(regex, text))
            && self.meta.matches(resource)
    }
}

/// The selector as a plain name, for replacements: no expressions there.
pub fn exact(selector: &Selector) -> ResId {
    let Selector { group, version, kind, name, namespace, .. } = selector.clone();
    ResId { gvk: Gvk { group, version, kind }, name, namespace }
}
