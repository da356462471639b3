//! What a client has asked and waits for: numbered, timed, bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::v1::message::{Id, write_request};

/// Names a share, a report or a worker from the call that sent it to its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmitToken(u64);

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Authorize,
    Configure,
    Energy,
    Submit,
    Subscribe,
    Suggest,
    Worker,
}

/// Requests without an answer. Numbers rise with time, so the lowest is the oldest.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    open: BTreeMap<u64, (Asked, Duration)>,
}

/// How long an answer may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Requests without an answer at one time.
const MAX_OPEN: usize = 4096;

impl SubmitToken {
    pub(super) const fn new(id: u64) -> Self {
        Self(id)
    }
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    /// The token of the request sent or skipped next.
    pub(super) const fn next_token(&self) -> SubmitToken {
        SubmitToken(self.last + 1)
    }

    /// Uses a number up without sending anything.
    pub(super) const fn skip(&mut self) {
        self.last += 1;
    }

    pub(super) fn send(
        &mut self,
        out: &mut Vec<u8>,
        method: &str,
        params: &str,
        asked: Asked,
        now: Duration,
    ) {
        self.last += 1;
        write_request(out, &Id::Number(self.last), method, params);
        self.open.insert(self.last, (asked, now));
    }

    /// What an answer belongs to, and how long it took.
    pub(super) fn answered(&mut self, id: u64, now: Duration) -> Option<(Asked, Duration)> {
        let (asked, sent) = self.open.remove(&id)?;
        Some((asked, now.saturating_sub(sent)))
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let (_, (_, sent)) = self.open.first_key_value()?;
        Some(sent.saturating_add(ANSWER_WITHIN))
    }

    /// The oldest request, taken out, if its time is over.
    pub(super) fn expired(&mut self, now: Duration) -> Option<((u64, Asked), Duration)> {
        let (_, (_, sent)) = self.open.first_key_value()?;
        let waited = now.saturating_sub(*sent);
        if waited < ANSWER_WITHIN {
            return None;
        }
        let (id, (asked, _)) = self.open.pop_first()?;
        Some(((id, asked), waited))
    }
}
