//! Schedulers by name: pods choose one by `spec.schedulerName`, and it says how much each score counts.
//!
//! They are in the cluster, so that a copy of it decides the same: the ConfigMap [`NAME`] in the namespace
//! [`NAMESPACE`] has an entry per scheduler, with the weights that differ from the defaults.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use std::collections::BTreeMap;

pub const NAMESPACE: &str = "selkie-system";
pub const NAME: &str = "scheduler";
const MOST: i64 = 100;

/// What makes a host better, 0 to 100; named as the plugins of Kubernetes, and the strategies of its
/// NodeResourcesFit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub enum Score {
    LeastAllocated,
    MostAllocated,
    NodeResourcesBalancedAllocation,
    ImageLocality,
    TaintToleration,
    NodeAffinity,
    PodTopologySpread,
    InterPodAffinity,
}

/// How much each score counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(BTreeMap<Score, i64>);

/// By name. Kept up to date by changes.
#[derive(Clone, Debug)]
pub struct Profiles(BTreeMap<String, Profile>);

/// An entry that is not understood; its pods wait.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("{name}: expected lines of SCORE: WEIGHT")]
    Shape {
        name: String,
        #[source]
        source: serde_yaml::Error,
    },
    #[error("{0}: this name is that of the scheduler that there always is; choose another")]
    Reserved(String),
    #[error("{name}: the weight of {score:?} is {weight}, expected 0 to {MOST}")]
    Weight { name: String, score: Score, weight: i64 },
}

impl Default for Profile {
    /// The weights of Kubernetes' default plugins.
    fn default() -> Self {
        Self(BTreeMap::from([
            (Score::LeastAllocated, 1),
            (Score::MostAllocated, 0),
            (Score::NodeResourcesBalancedAllocation, 1),
            (Score::ImageLocality, 1),
            (Score::TaintToleration, 3),
            (Score::NodeAffinity, 2),
            (Score::PodTopologySpread, 2),
            (Score::InterPodAffinity, 2),
        ]))
    }
}

impl Profile {
    fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        if name == super::NAME {
            return Err(ProfileError::Reserved(name.to_owned()));
        }
        let mut profile = Self::default();
        let given: Option<BTreeMap<Score, i64>> =
            serde_yaml::from_str(text).map_err(|source| ProfileError::Shape { name: name.to_owned(), source })?;
        for (score, weight) in given.unwrap_or_default() {
            if !(0..=MOST).contains(&weight) {
                return Err(ProfileError::Weight { name: name.to_owned(), score, weight });
            }
            profile.0.insert(score, weight);
        }
        Ok(profile)
    }

    /// The scores that count, with their weights.
    pub fn weights(&self) -> impl Iterator<Item = (Score, i64)> {
        self.0.iter().filter(|(_, weight)| **weight > 0).map(|(score, weight)| (*score, *weight))
    }
}

impl Default for Profiles {
    fn default() -> Self {
        Self(BTreeMap::from([(super::NAME.to_owned(), Profile::default())]))
    }
}

/// The scheduler that the pod asks for.
pub fn name(pod: &Pod) -> &str {
    let given = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    given.filter(|name| !name.is_empty()).unwrap_or(super::NAME)
}

/// Whether these are the profiles.
pub fn is_in(map: &ConfigMap) -> bool {
    map.metadata.namespace.as_deref() == Some(NAMESPACE) && map.metadata.name.as_deref() == Some(NAME)
}

impl Profiles {
    /// The profiles of the ConfigMap, none when it is gone; and what is wrong with entries.
    pub fn of(map: Option<&ConfigMap>) -> (Self, Vec<ProfileError>) {
        let (mut profiles, mut errors) = (Self::default(), Vec::new());
        for (name, text) in map.and_then(|map| map.data.as_ref()).into_iter().flatten() {
            match Profile::parse(name, text) {
                Ok(profile) => drop(profiles.0.insert(name.clone(), profile)),
                Err(error) => errors.push(error),
            }
        }
        (profiles, errors)
    }

    /// Whether the pod asks for one of them.
    pub fn serve(&self, pod: &Pod) -> bool {
        self.0.contains_key(name(pod))
    }

    /// The one that the pod asks for, or the defaults.
    pub fn for_pod(&self, pod: &Pod) -> Profile {
        self.0.get(name(pod)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, text: &str) -> ConfigMap {
        let data = Some(BTreeMap::from([(name.to_owned(), text.to_owned())]));
        ConfigMap { data, ..ConfigMap::default() }
    }

    #[test]
    fn an_entry_changes_the_weights_that_it_names() {
        let (profiles, errors) = Profiles::of(Some(&map("packing", "MostAllocated: 5\nLeastAllocated: 0\n")));
        assert!(errors.is_empty());
        let weights: BTreeMap<Score, i64> = profiles.0["packing"].weights().collect();
        assert_eq!((weights.get(&Score::MostAllocated), weights.get(&Score::LeastAllocated)), (Some(&5), None));
        assert_eq!(weights.get(&Score::TaintToleration), Some(&3));
        assert!(profiles.0.contains_key(crate::scheduler::NAME));
    }

    #[test]
    fn what_is_wrong_is_named_and_its_pods_wait() {
        for (name, text, expected) in [
            ("packing", "MostAllocated: 101", "packing: the weight of MostAllocated is 101, expected 0 to 100"),
            ("packing", "Luck: 1", "packing: expected lines of SCORE: WEIGHT"),
            (
                crate::scheduler::NAME,
                "",
                "default-scheduler: this name is that of the scheduler that there always is; choose another",
            ),
        ] {
            let (profiles, errors) = Profiles::of(Some(&map(name, text)));
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
            assert_eq!(profiles.0.keys().collect::<Vec<_>>(), [crate::scheduler::NAME]);
        }
    }
}
