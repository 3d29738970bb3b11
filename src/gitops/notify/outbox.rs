//! What is still to be told to one target. Pure.
//!
//! States (of the sync, of health, of a commit) are told once each; of a commit only the newest is kept.
//! The outbox is bounded: the oldest goes first.

use super::Delivery;
use super::commit::{CommitStatus, State};
use crate::gitops::notices::Notice;
use std::collections::VecDeque;

/// Messages kept for a target that is away.
const CAPACITY: usize = 50;

/// What kind of state a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Sync,
    Health,
    Commit,
    /// No state: it happened.
    Passing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Notice(Notice),
    Commit(CommitStatus),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Tells it from all others of the outbox.
    pub number: u64,
    axis: Axis,
    key: String,
    pub content: Content,
    /// RFC 3339.
    pub time: String,
}

#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    numbers: u64,
    /// The newest states that were put in, or were not wanted.
    seen: Delivery,
    /// What has reached the target.
    delivered: Delivery,
}

impl Outbox {
    pub fn new(delivered: Delivery) -> Self {
        Self { seen: delivered.clone(), delivered, ..Self::default() }
    }

    /// Puts a notice in, unless its state was seen already; returns how many had to go for it.
    pub fn offer(&mut self, axis: Axis, notice: &Notice, wanted: bool, time: &str) -> usize {
        let key = format!("{}@{}", notice.reason.name(), notice.revision);
        if let Some(seen) = state(&mut self.seen, axis) {
            if *seen == key {
                return 0;
            }
            seen.clone_from(&key);
        }
        if wanted { self.push(axis, key, Content::Notice(notice.clone()), time) } else { 0 }
    }

    /// Puts the state of a commit in the place of an earlier one of the same commit.
    pub fn offer_commit(&mut self, status: CommitStatus, time: &str) -> usize {
        let key = status.key();
        let succeeded = CommitStatus { state: State::Success, ..status.clone() }.key();
        // What is restarted later does not make a commit undecided again.
        let is_old = status.state == State::Pending && self.seen.commit == succeeded;
        if self.seen.commit == key || is_old {
            return 0;
        }
        self.seen.commit.clone_from(&key);
        self.items.retain(|item| !matches!(&item.content, Content::Commit(old) if old.revision == status.revision));
        self.push(Axis::Commit, key, Content::Commit(status), time)
    }

    fn push(&mut self, axis: Axis, key: String, content: Content, time: &str) -> usize {
        self.numbers += 1;
        self.items.push_back(Item { number: self.numbers, axis, key, content, time: time.to_owned() });
        let surplus = self.items.len().saturating_sub(CAPACITY);
        self.items.drain(..surplus);
        surplus
    }

    /// What is to be sent next.
    pub fn next(&self) -> Option<&Item> {
        self.items.front()
    }

    /// It was delivered, or is given up.
    pub fn settle(&mut self, item: &Item, delivered: bool) {
        self.items.retain(|other| other.number != item.number);
        if delivered && let Some(known) = state(&mut self.delivered, item.axis) {
            known.clone_from(&item.key);
        }
    }

    /// Lets states that did not get through be offered again.
    pub fn forget_failures(&mut self) {
        self.seen.clone_from(&self.delivered);
        self.items.retain(|item| item.axis == Axis::Passing);
    }

    /// Takes over what the status says besides.
    pub fn keep(&mut self, delivery: &Delivery) {
        self.delivered.last_sent_time.clone_from(&delivery.last_sent_time);
        self.delivered.error.clone_from(&delivery.error);
    }

    /// What has reached the target, for the status.
    pub fn delivered(&self) -> &Delivery {
        &self.delivered
    }
}

fn state(delivery: &mut Delivery, axis: Axis) -> Option<&mut String> {
    match axis {
        Axis::Sync => Some(&mut delivery.sync),
        Axis::Health => Some(&mut delivery.health),
        Axis::Commit => Some(&mut delivery.commit),
        Axis::Passing => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gitops::notices::Reason;

    fn notice(reason: Reason, revision: &str) -> Notice {
        Notice { reason, revision: revision.into(), message: String::new() }
    }

    fn commit(state: State, revision: &str) -> CommitStatus {
        CommitStatus { revision: revision.into(), state, message: String::new() }
    }

    /// All that is sent, each delivered.
    fn drain(outbox: &mut Outbox) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(item) = outbox.next().cloned() {
            outbox.settle(&item, true);
            sent.push(item.key);
        }
        sent
    }

    #[test]
    fn states_are_told_once_also_after_a_restart() {
        let mut outbox = Outbox::default();
        outbox.offer(Axis::Sync, &notice(Reason::Synced, "a"), true, "");
        outbox.offer(Axis::Health, &notice(Reason::Healthy, "a"), true, "");
        outbox.offer(Axis::Sync, &notice(Reason::Synced, "a"), true, "");
        outbox.offer(Axis::Passing, &notice(Reason::DriftCorrected, "a"), true, "");
        outbox.offer(Axis::Passing, &notice(Reason::DriftCorrected, "a"), true, "");
        assert_eq!(drain(&mut outbox), ["Synced@a", "Healthy@a", "DriftCorrected@a", "DriftCorrected@a"]);
        let mut later = Outbox::new(outbox.delivered().clone());
        later.offer(Axis::Sync, &notice(Reason::Synced, "a"), true, "");
        later.offer(Axis::Health, &notice(Reason::HealthDegraded, "a"), true, "");
        assert_eq!(drain(&mut later), ["HealthDegraded@a"]);
    }

    #[test]
    fn what_was_not_delivered_is_news_after_a_restart_or_an_edit() {
        let mut outbox = Outbox::default();
        outbox.offer(Axis::Sync, &notice(Reason::Synced, "a"), true, "");
        let item = outbox.next().unwrap().clone();
        outbox.settle(&item, false);
        outbox.offer(Axis::Sync, &notice(Reason::Synced, "a"), true, "");
        assert_eq!(outbox.next(), None, "it was given up");
        for mut again in [Outbox::new(outbox.delivered().clone()), {
            outbox.forget_failures();
            outbox
        }] {
            again.offer(Axis::Sync, &notice(Reason::Synced, "a"), true, "");
            assert_eq!(drain(&mut again), ["Synced@a"]);
        }
    }

    #[test]
    fn of_a_commit_the_newest_state_counts() {
        let mut outbox = Outbox::default();
        outbox.offer_commit(commit(State::Pending, "a"), "");
        outbox.offer_commit(commit(State::Failure, "a"), "");
        outbox.offer_commit(commit(State::Pending, "b"), "");
        outbox.offer_commit(commit(State::Success, "b"), "");
        outbox.offer_commit(commit(State::Pending, "b"), "");
        assert_eq!(drain(&mut outbox), ["failure@a", "success@b"]);
        outbox.offer_commit(commit(State::Failure, "b"), "");
        outbox.offer_commit(commit(State::Pending, "b"), "");
        assert_eq!(drain(&mut outbox), ["pending@b"]);
    }

    #[test]
    fn what_is_not_wanted_is_no_news_later() {
        let mut outbox = Outbox::default();
        outbox.offer(Axis::Health, &notice(Reason::Healthy, "a"), false, "");
        outbox.offer(Axis::Health, &notice(Reason::Healthy, "a"), true, "");
        assert_eq!(outbox.next(), None);
        outbox.offer(Axis::Health, &notice(Reason::HealthDegraded, "a"), true, "");
        outbox.offer(Axis::Health, &notice(Reason::Healthy, "a"), true, "");
        assert_eq!(drain(&mut outbox), ["HealthDegraded@a", "Healthy@a"]);
    }

    #[test]
    fn an_outbox_is_bounded_and_loses_the_oldest() {
        let mut outbox = Outbox::default();
        let lost: usize = (0..CAPACITY + 7)
            .map(|n| outbox.offer(Axis::Passing, &notice(Reason::DriftCorrected, &n.to_string()), true, ""))
            .sum();
        assert_eq!((lost, outbox.items.len()), (7, CAPACITY));
        assert_eq!(outbox.next().unwrap().key, "DriftCorrected@7");
    }
}
