//! Finds the selections that may mean a group, by what they ask of its labels: where each of thousands of workloads
//! has a selection of its own, a new pod is not compared with all of them.

use super::selection::{Group, Selection};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Finder {
    /// Under one of the labels that all pods of the selection have.
    by_label: HashMap<String, HashMap<String, Vec<Arc<Selection>>>>,
    /// Those that ask for no label of one value.
    others: Vec<Arc<Selection>>,
}

/// The label to find a selection by: that with the longest value, mostly the rarest.
fn label(selection: &Selection) -> Option<(&str, &str)> {
    selection.iter().flat_map(|clause| clause.labels.required()).max_by_key(|(_, value)| value.len())
}

impl Finder {
    /// One that is not there yet.
    pub fn add(&mut self, selection: &Arc<Selection>) {
        let of_its_kind = match label(selection) {
            Some((key, value)) => {
                let values = self.by_label.entry(key.to_owned()).or_default();
                values.entry(value.to_owned()).or_default()
            }
            None => &mut self.others,
        };
        of_its_kind.push(selection.clone());
    }

    pub fn retain(&mut self, wanted: impl Fn(&Selection) -> bool) {
        self.by_label.retain(|_, values| {
            values.retain(|_, selections| {
                selections.retain(|one| wanted(one));
                !selections.is_empty()
            });
            !values.is_empty()
        });
        self.others.retain(|one| wanted(one));
    }

    /// Each that may mean the group, once.
    pub fn candidates<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Arc<Selection>> {
        let with = |(key, value): (&String, &String)| self.by_label.get(key).and_then(|values| values.get(value));
        group.labels.iter().filter_map(with).flatten().chain(&self.others)
    }
}
