//! Which images go, and when. Pure. Source: Kubernetes' image garbage collection and its default thresholds.

use crate::kubelet::settings::ImageGc;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};

/// A younger image may have been pulled for a container that is about to be made.
const MIN_AGE: SignedDuration = SignedDuration::from_mins(2);

/// An image on the host now.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: String,
    /// Bytes.
    pub size: u64,
    pub used: bool,
}

/// When the host's images came and were used, by id.
#[derive(Debug, Default)]
pub struct Records {
    known: BTreeMap<String, Record>,
    /// Something was seen before: what is new now came since then.
    began: bool,
}

#[derive(Debug)]
struct Record {
    detected: Timestamp,
    used: Option<Timestamp>,
    size: u64,
}

/// An image that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    pub size: u64,
}

/// Bytes to be freed on a disk of which `used` bytes are in use; `None` while it is not too full.
pub fn excess(size: u64, used: u64, settings: ImageGc) -> Option<u64> {
    let (size, available) = (u128::from(size), u128::from(size.saturating_sub(used)));
    let free_percent = (available * 100).checked_div(size)?;
    if settings.high == 100 || 100 - free_percent < u128::from(settings.high) {
        return None;
    }
    let wanted = size * u128::from(100 - settings.low) / 100;
    u64::try_from(wanted.saturating_sub(available)).ok()
}

impl Records {
    /// Takes note of what is there now. What is there the first time may have been for long.
    pub fn observe(&mut self, images: &[Seen], now: Timestamp) {
        let detected = if self.began { now } else { Timestamp::UNIX_EPOCH };
        self.began = true;
        for image in images {
            let new = || Record { detected, used: None, size: image.size };
            let record = self.known.entry(image.id.clone()).or_insert_with(new);
            record.size = image.size;
            if image.used {
                record.used = Some(now);
            }
        }
        let present: HashSet<&str> = images.iter().map(|image| image.id.as_str()).collect();
        self.known.retain(|id, _| present.contains(id.as_str()));
    }

    /// The images that may go, the one first that was used longest ago.
    pub fn candidates(&self, now: Timestamp) -> Vec<Candidate> {
        let may_go = |record: &&Record| {
            record.used.is_none_or(|used| used < now) && now.duration_since(record.detected) >= MIN_AGE
        };
        let mut found: Vec<_> = self.known.iter().filter(|(_, record)| may_go(record)).collect();
        found.sort_by_key(|(id, record)| (record.used, record.detected, *id));
        found.into_iter().map(|(id, record)| Candidate { id: id.clone(), size: record.size }).collect()
    }

    /// The image is gone.
    pub fn forget(&mut self, id: &str) {
        self.known.remove(id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn image(id: &str, used: bool) -> Seen {
        Seen { id: id.into(), size: 10, used }
    }

    fn ids(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.id.as_str()).collect()
    }

    #[test]
    fn a_disk_is_brought_down_to_the_lower_threshold() {
        let excess = |size, used| super::excess(size, used, ImageGc::default());
        assert_eq!(excess(1000, 840), None);
        assert_eq!(excess(1000, 850), Some(50));
        assert_eq!(excess(1000, 1000), Some(200));
        assert_eq!(excess(1000, 2000), Some(200), "what is reserved may be in use");
        assert_eq!(excess(0, 0), None, "nothing is known");
        assert_eq!(excess(u64::MAX, u64::MAX), Some(u64::MAX / 5));
        let often = ImageGc::new(50, 10).unwrap();
        assert_eq!(super::excess(1000, 500, often), Some(400));
        assert_eq!(super::excess(1000, 1000, ImageGc::new(100, 10).unwrap()), None, "switched off");
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_new_images_stay() {
        let mut records = Records::default();
        records.observe(&[image("never", false), image("early", true), image("late", true)], at(1000));
        records.observe(&[image("never", false), image("early", false), image("late", true)], at(1300));
        let all = [image("never", false), image("early", false), image("late", false), image("new", false)];
        records.observe(&all, at(1400));
        assert_eq!(ids(&records.candidates(at(1400))), ["never", "early", "late"]);
        assert_eq!(ids(&records.candidates(at(1519))), ["never", "early", "late"]);
        assert_eq!(ids(&records.candidates(at(1520))), ["never", "new", "early", "late"]);
        records.observe(&[image("late", true), image("new", false)], at(1600));
        assert_eq!(ids(&records.candidates(at(1600))), ["new"], "some are gone and one is in use");
        records.forget("new");
        assert!(records.candidates(at(1600)).is_empty());
    }

    proptest! {
        /// Whatever happened before: no image in use goes, none that came within the least age, and each at most once.
        #[test]
        fn nothing_in_use_or_new_goes(looks in prop::collection::vec((1i64..200, prop::collection::vec((0u8..8, any::<bool>()), 0..8)), 1..12)) {
            let (mut records, mut now, mut since) = (Records::default(), 1000, BTreeMap::new());
            for (index, (passed, images)) in looks.iter().enumerate() {
                now += passed;
                let present: BTreeMap<u8, bool> = images.iter().copied().collect();
                since.retain(|id, _| present.contains_key(id));
                for id in present.keys() {
                    since.entry(*id).or_insert(if index == 0 { 0 } else { now });
                }
                let seen: Vec<Seen> = present.iter().map(|(id, used)| image(&id.to_string(), *used)).collect();
                records.observe(&seen, at(now));
                let going: Vec<u8> = records.candidates(at(now)).iter().map(|one| one.id.parse().unwrap()).collect();
                for id in &going {
                    prop_assert!(!present[id] && now - since[id] >= 120);
                }
                let expect = present.iter().filter(|(id, used)| !**used && now - since[*id] >= 120).count();
                prop_assert_eq!(going.len(), expect);
            }
        }
    }
}
