//! How little of something may be left on a host.

use super::amounts::SettingError;
use crate::api::quantity::{Format, Quantity};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What is watched, in the order in which it is seen to: memory before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.available`
    Memory,
    /// `imagefs.available`
    Images,
    /// `nodefs.available`
    Volumes,
    /// `nodefs.inodesFree`
    Inodes,
}

impl Signal {
    pub const ALL: [Self; 4] = [Self::Memory, Self::Images, Self::Volumes, Self::Inodes];

    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Images => "imagefs.available",
            Self::Volumes => "nodefs.available",
            Self::Inodes => "nodefs.inodesFree",
        }
    }
}

/// Less than this is too little.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Threshold {
    /// Of what there is in all.
    Percent(f32),
    /// Bytes, or inodes.
    Units(Quantity),
}

impl Threshold {
    fn of(self, capacity: u64) -> u64 {
        match self {
            // As Kubernetes computes a share, so that the numbers are the same to the last digit.
            Self::Percent(percent) => (capacity as f64 * f64::from(percent / 100.0)) as u64,
            Self::Units(amount) => u64::try_from(amount.value()).unwrap_or_default(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f32 = percent.parse().ok()?;
            return (0.0..100.0).contains(&percent).then_some(Self::Percent(percent));
        }
        let amount: Quantity = text.parse().ok()?;
        (!amount.is_negative()).then_some(Self::Units(amount))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Units(amount) => write!(f, "{amount}"),
        }
    }
}

/// `SIGNAL<AMOUNT,...`; signals that are not named keep Kubernetes' default.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(BTreeMap<Signal, Threshold>);

impl Default for Thresholds {
    fn default() -> Self {
        let default = |signal| match signal {
            Signal::Memory => Threshold::Units(Quantity::units(100 << 20, Format::BinarySi)),
            Signal::Images => Threshold::Percent(15.0),
            Signal::Volumes => Threshold::Percent(10.0),
            Signal::Inodes => Threshold::Percent(5.0),
        };
        Self(Signal::ALL.map(|signal| (signal, default(signal))).into())
    }
}

/// A signal below its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub signal: Signal,
    pub threshold: u64,
    pub available: u64,
}

impl Shortage {
    /// What is missing.
    pub fn amount(&self) -> u64 {
        self.threshold.saturating_sub(self.available)
    }
}

impl Thresholds {
    /// Whether so little is left of `capacity` that pods have to go.
    pub fn shortage(&self, signal: Signal, capacity: u64, available: u64) -> Option<Shortage> {
        let threshold = self.0.get(&signal)?.of(capacity);
        (available < threshold).then_some(Shortage { signal, threshold, available })
    }

    /// What of a resource is never pods': they would be evicted for it.
    pub fn kept_free(&self, resource: &str, capacity: Quantity) -> Quantity {
        let signal = match resource {
            "memory" => Signal::Memory,
            "ephemeral-storage" => Signal::Volumes,
            _ => return Quantity::default(),
        };
        match self.0.get(&signal) {
            Some(Threshold::Units(amount)) => *amount,
            Some(share) => {
                let share = share.of(u64::try_from(capacity.value()).unwrap_or_default());
                Quantity::units(i64::try_from(share).unwrap_or(i64::MAX), Format::BinarySi)
            }
            None => Quantity::default(),
        }
    }

    /// In the words of Kubernetes' configuration.
    pub fn words(&self) -> BTreeMap<&'static str, String> {
        self.0.iter().map(|(signal, threshold)| (signal.name(), threshold.to_string())).collect()
    }
}

impl FromStr for Thresholds {
    type Err = SettingError;

    fn from_str(given: &str) -> Result<Self, SettingError> {
        let mut named = BTreeMap::new();
        for one in given.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let shape = || SettingError::Shape {
                given: given.into(),
                expected: "SIGNAL<AMOUNT,..., e.g. memory.available<500Mi,imagefs.available<5%",
            };
            let (name, amount) = one.split_once('<').ok_or_else(shape)?;
            let unknown = || SettingError::Unknown {
                given: given.into(),
                name: name.into(),
                known: Signal::ALL.map(Signal::name).join(", "),
            };
            let signal = Signal::ALL.into_iter().find(|signal| signal.name() == name).ok_or_else(unknown)?;
            let wrong = || SettingError::Amount {
                given: given.into(),
                amount: amount.into(),
                expected: "a quantity, e.g. 500Mi, or a share below 100%, e.g. 5%; 0 for never",
            };
            let threshold = Threshold::parse(amount).ok_or_else(wrong)?;
            if named.insert(signal, threshold).is_some() {
                return Err(SettingError::Twice { given: given.into(), name: name.into() });
            }
        }
        let mut all = Self::default();
        all.0.extend(named);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn defaults_are_those_of_kubernetes() {
        let (mib, thresholds) = (1 << 20, Thresholds::default());
        let short = |signal, capacity, available| thresholds.shortage(signal, capacity, available).is_some();
        assert!(short(Signal::Memory, 4096 * mib, 100 * mib - 1) && !short(Signal::Memory, 4096 * mib, 100 * mib));
        assert!(short(Signal::Images, 1000, 149) && !short(Signal::Images, 1000, 150));
        assert!(short(Signal::Volumes, 1000, 99) && !short(Signal::Volumes, 1000, 100));
        assert!(short(Signal::Inodes, 1000, 49) && !short(Signal::Inodes, 1000, 50));
        let words = [("imagefs.available", "15%"), ("memory.available", "100Mi"), ("nodefs.available", "10%")];
        assert_eq!(
            thresholds.words().iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>()[..3],
            words
        );
    }

    #[test]
    fn named_signals_replace_their_default() {
        let set: Thresholds = "imagefs.available<2Gi,nodefs.available<0%, memory.available<12.5%".parse().unwrap();
        let words = set.words();
        assert_eq!(words["imagefs.available"], "2Gi");
        assert_eq!(words["memory.available"], "12.5%");
        assert_eq!(words["nodefs.inodesFree"], "5%");
        assert!(set.shortage(Signal::Volumes, 1000, 0).is_none(), "0 is never");
        assert_eq!(set.shortage(Signal::Memory, 2000, 10).unwrap().amount(), 240);
        assert_eq!("".parse(), Ok(Thresholds::default()));
    }

    #[test]
    fn what_is_no_threshold_is_said() {
        let told = |text: &str| text.parse::<Thresholds>().unwrap_err().to_string();
        assert_eq!(
            told("memory.available"),
            "\"memory.available\": expected SIGNAL<AMOUNT,..., e.g. memory.available<500Mi,imagefs.available<5%"
        );
        assert_eq!(
            told("pid.available<5%"),
            "\"pid.available<5%\": \"pid.available\" is not one of memory.available, imagefs.available, nodefs.available, nodefs.inodesFree"
        );
        for amount in ["-1", "100%", "x", "-5%", "NaN%", ""] {
            assert!(told(&format!("memory.available<{amount}")).contains("is no amount"), "{amount}");
        }
        assert!(told("memory.available<1,memory.available<2").contains("memory.available is given twice"));
    }
}
