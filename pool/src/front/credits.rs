//! Accepted shares on their way to the ledger: gathered for a moment, sent together, counted until
//! they are answered.
//!
//! Read [`Credits::flush`]. The first share after a pause goes at once; in a stream of them one
//! list goes every [`EVERY`], so that a commit, and the answer to each connection, is paid for by
//! many. It deliberately never waits: while the ledger's queue is full what is to be sent stays
//! here, and the shard stops reading.

use std::{collections::VecDeque, time::Duration};

use super::mail::Mailbox;
use crate::ledger_task::{Command, Credit, LedgerHandle};

/// Between two lists.
const EVERY: Duration = Duration::from_millis(5);
/// A list that is as long as this goes at once.
const LONG: usize = 1024;
/// Shares of one shard that may wait for the ledger; past it nothing more is read.
const MOST_IN_FLIGHT: usize = 32_768;
/// Lists kept for the next shares, so that their memory is not asked for again and again.
const SPARE: usize = 3;

/// What one shard has under way to the ledger.
#[derive(Debug)]
pub(super) struct Credits {
    ledger: LedgerHandle,
    home: Mailbox,
    gathering: Vec<Credit>,
    /// When the last list went.
    sent_at: Option<Duration>,
    /// What the ledger had no room for, in order.
    held: VecDeque<Command>,
    in_flight: usize,
    spare: Vec<Vec<Credit>>,
    stopped: bool,
}

impl Credits {
    /// Nothing under way. Answers go to `home`.
    pub(super) fn new(ledger: LedgerHandle, home: Mailbox) -> Self {
        Self {
            ledger,
            home,
            gathering: Vec::new(),
            sent_at: None,
            held: VecDeque::new(),
            in_flight: 0,
            spare: Vec::new(),
            stopped: false,
        }
    }

    /// Adds a share.
    pub(super) fn add(&mut self, credit: Credit) {
        self.in_flight += 1;
        let now = credit.received;
        self.gathering.push(credit);
        if self.gathering.len() >= LONG {
            self.send_list(now);
            self.offer();
        }
    }

    /// Sends another command, after all shares so far: a report of energy covers those.
    pub(super) fn command(&mut self, command: Command, now: Duration) {
        self.send_list(now);
        self.held.push_back(command);
        self.offer();
    }

    /// Sends what is due at `now`.
    pub(super) fn flush(&mut self, now: Duration) {
        if self.due().is_some_and(|due| due <= now) {
            self.send_list(now);
        }
        self.offer();
    }

    /// When [`Self::flush`] has something to send.
    pub(super) fn due(&self) -> Option<Duration> {
        let last = self.sent_at.map_or(Duration::ZERO, |at| at.saturating_add(EVERY));
        (!self.gathering.is_empty()).then_some(last)
    }

    /// A list came back. Its memory is used again, and the ledger has room.
    pub(super) fn answered(&mut self, mut list: Vec<Credit>) {
        self.in_flight = self.in_flight.saturating_sub(list.len());
        list.clear();
        if self.spare.len() < SPARE && list.capacity() <= LONG + LONG / 2 {
            self.spare.push(list);
        }
        self.offer();
    }

    /// Whether so much is under way that nothing more should be read.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight >= MOST_IN_FLIGHT || !self.held.is_empty()
    }

    /// Whether the ledger has ended, so that no share can be kept any more.
    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn send_list(&mut self, now: Duration) {
        if self.gathering.is_empty() {
            return;
        }
        let list = std::mem::replace(&mut self.gathering, self.spare.pop().unwrap_or_default());
        self.held.push_back(Command::Shares { list, home: self.home.clone() });
        self.sent_at = Some(now);
    }

    fn offer(&mut self) {
        while let Some(command) = self.held.pop_front() {
            match self.ledger.offer(command) {
                Ok(()) => {}
                Err(Some(command)) => {
                    self.held.push_front(*command);
                    return;
                }
                Err(None) => {
                    self.stopped = true;
                    self.held.clear();
                    return;
                }
            }
        }
    }
}
