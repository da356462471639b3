//! [`Tail`]: the shares that the tables do not have yet, added up for a reader.

use std::collections::HashMap;

use rusqlite::Connection;
use units::UnixMillis;

use super::log;
use super::state::{Tally, next};
use crate::error::LedgerError;
use crate::types::WorkerId;

/// The sums of the shares after the mark (see `tally.rs`). A reader keeps it from one question
/// to the next, so that it adds up each share once. Bounded: the mark moves on.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The mark that it begins at, and the event that it ends at.
    mark: u64,
    end: u64,
    pub(super) all: Tally,
    workers: HashMap<WorkerId, Later>,
}

/// What a worker did after the mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    pub(super) tally: Tally,
    pub(super) last_at: UnixMillis,
}

impl Tail {
    /// The tail as of the newest event in the transaction that `conn` is in; what `self` has of
    /// it need not be read again.
    pub(super) fn brought_up(self, conn: &Connection) -> Result<Self, LedgerError> {
        let mark = conn
            .prepare_cached("SELECT tallied FROM total WHERE id = 1")?
            .query_row([], |row| row.get(0))?;
        let newest = log::newest(conn)?;
        let mut tail = if self.mark == mark && self.end <= newest && self.end >= mark {
            self
        } else {
            Self { mark, end: mark, ..Self::default() }
        };
        log::for_each_batch(conn, tail.end, next(newest, "events")?, |shares| {
            for share in shares {
                let one = Tally { shares: 1, work: share.work };
                let new = Later { tally: Tally::default(), last_at: share.at };
                let later = tail.workers.entry(share.worker).or_insert(new);
                later.tally.add(one)?;
                later.last_at = share.at;
                tail.all.add(one)?;
            }
            Ok(())
        })?;
        tail.end = newest;
        Ok(tail)
    }

    /// What the worker did after the mark, if anything.
    pub(super) fn of(&self, worker: WorkerId) -> Option<&Later> {
        self.workers.get(&worker)
    }
}
