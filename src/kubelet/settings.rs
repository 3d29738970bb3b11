//! What an operator may say about how hosts are used. Names, spellings and defaults are those of Kubernetes' kubelet.

mod amounts;
mod thresholds;

pub use amounts::{Reserved, SettingError};
pub use thresholds::{Shortage, Signal, Thresholds};

use crate::api::quantity::Quantity;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// As many pods as a Kubernetes node takes by default.
const MAX_PODS: u32 = 110;

/// How the hosts of a process are used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `max-pods`: as many pods run on a host.
    pub max_pods: u32,
    /// `pod-max-pids`: how many processes and threads a pod may have; `None`: as many as the host lets it.
    pub pod_pids_limit: Option<i64>,
    /// The directory, on the host, below which seccomp profiles are that pods name.
    pub seccomp_root: PathBuf,
    /// `eviction-hard`: with less left of something, pods have to go.
    pub eviction: Thresholds,
    pub image_gc: ImageGc,
    /// `system-reserved`: what of a host is not for pods.
    pub reserved: Reserved,
    /// `max-parallel-image-pulls`: as many images are pulled at a time; `None`: all that are wanted.
    pub parallel_pulls: Option<usize>,
    /// `pod-manifest-path`
    pub static_pods: StaticPods,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_pods: MAX_PODS,
            pod_pids_limit: None,
            seccomp_root: PathBuf::from("/var/lib/selkie/seccomp"),
            eviction: Thresholds::default(),
            image_gc: ImageGc::default(),
            reserved: Reserved::default(),
            parallel_pulls: None,
            static_pods: StaticPods::default(),
        }
    }
}

impl Settings {
    /// What of a host's capacity pods may ask for.
    pub fn allocatable(&self, capacity: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
        let left = |(name, amount): (&String, &Quantity)| {
            let left = amount.minus(self.reserved.of(name)).minus(self.eviction.kept_free(name, *amount));
            let left = if left.is_negative() { Quantity::default() } else { left };
            (name.clone(), left)
        };
        capacity.iter().map(left).collect()
    }
}

/// The pods that run on a host without anybody making them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StaticPods {
    /// There are none: those that there were go.
    #[default]
    None,
    /// Those whose manifests are in this directory.
    In(PathBuf),
    /// They are somebody else's business: what there is stays.
    Others,
}

/// From which use of a disk on unused images are removed, and down to which: percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageGc {
    /// `image-gc-high-threshold`; 100: none are.
    pub high: u8,
    /// `image-gc-low-threshold`
    pub low: u8,
}

impl Default for ImageGc {
    fn default() -> Self {
        Self { high: 85, low: 80 }
    }
}

impl ImageGc {
    pub fn new(high: u8, low: u8) -> Result<Self, SettingError> {
        if low >= high || high > 100 {
            return Err(SettingError::Order { high, low });
        }
        Ok(Self { high, low })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn amounts(list: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
        list.iter().map(|(name, text)| (name.to_string(), text.parse().unwrap())).collect()
    }

    fn texts(list: &BTreeMap<String, Quantity>) -> Vec<(&str, String)> {
        list.iter().map(|(name, amount)| (name.as_str(), amount.to_string())).collect()
    }

    #[test]
    fn what_is_reserved_and_what_evictions_keep_free_is_not_for_pods() {
        let capacity = amounts(&[
            ("cpu", "4"),
            ("memory", "16384Ki"),
            ("ephemeral-storage", "1000Ki"),
            ("pods", "110"),
            ("example.org/dongle", "2"),
        ]);
        let mut settings = Settings {
            reserved: "cpu=500m,memory=1Mi,ephemeral-storage=100Ki".parse().unwrap(),
            eviction: "memory.available<4Mi,nodefs.available<10%".parse().unwrap(),
            ..Settings::default()
        };
        let expect = [
            ("cpu", "3500m"),
            ("ephemeral-storage", "800Ki"),
            ("example.org/dongle", "2"),
            ("memory", "11Mi"),
            ("pods", "110"),
        ];
        assert_eq!(texts(&settings.allocatable(&capacity)), expect.map(|(name, text)| (name, text.to_owned())));
        settings.eviction = Thresholds::default();
        let small = settings.allocatable(&capacity);
        assert_eq!(texts(&small)[3], ("memory", "0".into()), "never less than nothing");
    }

    #[test]
    fn images_are_removed_down_to_less_than_from_where_on() {
        assert_eq!(ImageGc::new(85, 80), Ok(ImageGc::default()));
        let text = |high, low| ImageGc::new(high, low).unwrap_err().to_string();
        let expect = "--image-gc-low-threshold 80 is not below --image-gc-high-threshold 80: ";
        assert!(text(80, 80).starts_with(expect), "{}", text(80, 80));
        assert!(ImageGc::new(100, 80).is_ok() && ImageGc::new(101, 80).is_err());
    }
}
