//! Watching a collection: synthetic first events, selectors over transitions, bookmarks, the end.
//!
//! Yields [`WatchEvent`]s over shared records; the HTTP layer puts them into bytes. Slow clients
//! hold nothing back: the store answers `Compacted` when one falls behind its history.

use super::At;
use super::list::{ListOptions, prefix};
use super::select::Selection;
use crate::api::error::ApiError;
use crate::apiserver::ApiServer;
use crate::store::{Event, Record, Revision, StoreError, Watch};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The server ends watches that name no timeout after once to twice this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);

#[derive(Debug, Clone)]
pub enum WatchEvent {
    Added(Arc<Record>),
    Modified(Arc<Record>),
    /// The object as it was, and the revision at which it left.
    Deleted(Arc<Record>, Revision),
    Bookmark {
        revision: Revision,
        initial_end: bool,
    },
    Error(ApiError),
}

/// A running watch.
pub struct Watcher {
    events: Box<dyn Watch>,
    /// The client knows what happened until this revision, which may not be there yet.
    not_before: Revision,
    /// Keys start with this: the store watches whole buckets.
    prefix: String,
    selection: Selection,
    first: VecDeque<WatchEvent>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    ended: bool,
}

impl ApiServer {
    pub async fn watch(&self, at: At<'_>, options: &ListOptions) -> Result<Watcher, ApiError> {
        options.validate(true)?;
        let prefix = prefix(at);
        let given = options.revision()?.unwrap_or_default();
        let initial = options.send_initial_events.unwrap_or(given == 0);
        if initial {
            // What there is, is told as it was then or later.
            self.wait_for(given).await?;
        }
        let mut first = VecDeque::new();
        let mut after = given;
        let mut not_before = given;
        if initial {
            let range = self.store.range(&prefix, None, None, 0).map_err(super::store_error)?;
            (after, not_before) = (range.revision, range.revision);
            let wanted = range.records.into_iter().filter(|record| options.selection.matches(record));
            first.extend(wanted.map(WatchEvent::Added));
            if options.send_initial_events == Some(true) && options.bookmarks {
                first.push_back(WatchEvent::Bookmark { revision: after, initial_end: true });
            }
        }
        let now = Instant::now();
        let jitter = Duration::from_secs(self.ids.below(DEFAULT_TIMEOUT.as_secs() as usize) as u64);
        let deadline = now + options.timeout.unwrap_or(DEFAULT_TIMEOUT + jitter);
        let events = match self.store.watch(&at.bucket(), after) {
            Ok(events) => events,
            Err(StoreError::Compacted { requested, oldest }) => {
                first = VecDeque::from([WatchEvent::Error(too_old(requested, oldest))]);
                self.store.watch(&at.bucket(), self.store.revision()).map_err(super::store_error)?
            }
            Err(StoreError::Future { .. }) => {
                // A client may know a later revision than this server: it hears of what comes after that one.
                self.store.watch(&at.bucket(), self.store.revision()).map_err(super::store_error)?
            }
            Err(error) => return Err(super::store_error(error)),
        };
        Ok(Watcher {
            events,
            not_before,
            prefix,
            selection: options.selection.clone(),
            first,
            bookmarks: options.bookmarks,
            next_bookmark: now + BOOKMARK_EVERY,
            deadline,
            ended: false,
        })
    }
}

impl Watcher {
    /// The next events, at least one; `None` when the watch is over. An error event is the last.
    pub async fn next(&mut self) -> Option<Vec<WatchEvent>> {
        if self.ended {
            return None;
        }
        if !self.first.is_empty() {
            // In portions, so that a big collection needs no second copy of itself in memory.
            let count = self.first.len().min(64);
            let events: Vec<_> = self.first.drain(..count).collect();
            self.ended = matches!(events.last(), Some(WatchEvent::Error(_)));
            return Some(events);
        }
        loop {
            let wake = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            tokio::select! {
                biased;
                batch = self.events.next() => match batch {
                    Ok(batch) => {
                        let events: Vec<_> = batch.iter().filter_map(|event| self.see(event)).collect();
                        if !events.is_empty() {
                            return Some(events);
                        }
                    }
                    Err(StoreError::Compacted { requested, oldest }) => {
                        self.ended = true;
                        return Some(vec![WatchEvent::Error(too_old(requested, oldest))]);
                    }
                    Err(_) => return None,
                },
                () = sleep_until(wake) => {
                    self.ended = Instant::now() >= self.deadline;
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    if self.bookmarks {
                        let revision = self.events.position().max(self.not_before);
                        return Some(vec![WatchEvent::Bookmark { revision, initial_end: false }]);
                    }
                    return None;
                }
            }
        }
    }

    /// What a change means to this watcher: entering the selection is an addition, leaving it a
    /// deletion of the old content.
    fn see(&self, event: &Event) -> Option<WatchEvent> {
        if event.revision <= self.not_before || !event.record.key.starts_with(&self.prefix) {
            return None;
        }
        let takes = |record: &Record| self.selection.matches(record);
        let before = event.previous.as_ref().filter(|previous| takes(previous));
        if event.deleted {
            let last = if takes(&event.record) { &event.record } else { before? };
            return Some(WatchEvent::Deleted(last.clone(), event.revision));
        }
        match (before, takes(&event.record)) {
            (None, true) => Some(WatchEvent::Added(event.record.clone())),
            (Some(_), true) => Some(WatchEvent::Modified(event.record.clone())),
            (Some(previous), false) => Some(WatchEvent::Deleted(previous.clone(), event.revision)),
            (None, false) => None,
        }
    }
}

fn too_old(requested: Revision, oldest: Revision) -> ApiError {
    ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
}
