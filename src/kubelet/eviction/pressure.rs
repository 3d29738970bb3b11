//! What a host is short of: its signals against their thresholds, and how long a condition lasts. Pure.

use crate::api::quantity::{Format, Quantity};
use crate::kubelet::settings::{Shortage, Signal, Thresholds};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// How long a condition outlasts its cause: Kubernetes' eviction-pressure-transition-period.
const TRANSITION: SignedDuration = SignedDuration::from_mins(5);

/// What there is in all and what of it is left: bytes, or inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    pub capacity: u64,
    pub available: u64,
}

pub type Observations = BTreeMap<Signal, Observed>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Disk,
    Memory,
}

impl Condition {
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "DiskPressure",
            Self::Memory => "MemoryPressure",
        }
    }
}

impl Signal {
    pub fn condition(self) -> Condition {
        if self == Self::Memory { Condition::Memory } else { Condition::Disk }
    }

    /// What is short, as pods name it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Images | Self::Volumes => "ephemeral-storage",
            Self::Inodes => "inodes",
        }
    }
}

/// What is short, the most urgent first.
pub fn shortages(observations: &Observations, thresholds: &Thresholds) -> Vec<Shortage> {
    let all = observations
        .iter()
        .filter_map(|(signal, observed)| thresholds.shortage(*signal, observed.capacity, observed.available));
    all.collect()
}

/// The begin of what an evicted pod is told.
pub fn words(shortage: &Shortage) -> String {
    let format = if shortage.signal == Signal::Inodes { Format::DecimalSi } else { Format::BinarySi };
    let quantity = |amount: u64| Quantity::units(i64::try_from(amount).unwrap_or(i64::MAX), format);
    format!(
        "{}{}. Threshold quantity: {}, available: {}. ",
        super::LOW,
        shortage.signal.resource(),
        quantity(shortage.threshold),
        quantity(shortage.available)
    )
}

/// The conditions of a host: each holds from when it was first seen until some time after it was last.
#[derive(Clone, Debug, Default)]
pub struct Pressure(BTreeMap<Condition, Timestamp>);

impl Pressure {
    pub fn observe(&mut self, shortages: &[Shortage], now: Timestamp) {
        for shortage in shortages {
            self.0.insert(shortage.signal.condition(), now);
        }
        self.0.retain(|_, seen| now.duration_since(*seen) < TRANSITION);
    }

    pub fn holds(&self, condition: Condition) -> bool {
        self.0.contains_key(&condition)
    }

    /// In the order of their names.
    pub fn conditions(&self) -> Vec<Condition> {
        self.0.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn observed(signals: &[(Signal, u64, u64)]) -> Observations {
        signals
            .iter()
            .map(|(signal, capacity, available)| (*signal, Observed { capacity: *capacity, available: *available }))
            .collect()
    }

    fn short(observations: &Observations) -> Vec<Shortage> {
        shortages(observations, &Thresholds::default())
    }

    #[test]
    fn the_most_urgent_comes_first() {
        assert!(short(&Observations::new()).is_empty());
        let all = observed(&[(Signal::Inodes, 100, 0), (Signal::Volumes, 100, 0), (Signal::Memory, 1, 0)]);
        let order: Vec<Signal> = short(&all).iter().map(|shortage| shortage.signal).collect();
        assert_eq!(order, [Signal::Memory, Signal::Volumes, Signal::Inodes]);
    }

    #[test]
    fn shortages_are_told_in_kubernetes_words() {
        let words = |signal, capacity, available| super::words(&short(&observed(&[(signal, capacity, available)]))[0]);
        assert_eq!(
            words(Signal::Memory, 1 << 32, 12 << 20),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Mi. "
        );
        assert_eq!(
            words(Signal::Volumes, 1000 << 20, 5 << 10),
            "The node was low on resource: ephemeral-storage. Threshold quantity: 104857601, available: 5Ki. "
        );
        assert_eq!(
            words(Signal::Inodes, 1_000_000, 2000),
            "The node was low on resource: inodes. Threshold quantity: 50k, available: 2k. "
        );
    }

    #[test]
    fn a_condition_outlasts_its_cause() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let low = short(&observed(&[(Signal::Images, 100, 1)]));
        let mut pressure = Pressure::default();
        pressure.observe(&low, at(0));
        pressure.observe(&low, at(10));
        pressure.observe(&[], at(309));
        assert!(pressure.holds(Condition::Disk) && !pressure.holds(Condition::Memory));
        pressure.observe(&[], at(310));
        assert!(!pressure.holds(Condition::Disk) && pressure.conditions().is_empty());
    }
}
