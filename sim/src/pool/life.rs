//! The pool's deaths: killed at once, or replaced by another image of itself that goes on with its
//! connections.

use std::{path::Path, sync::Arc};

use ledger::LedgerError;
use stratum::v1::server::{SavedSession, Session, WorkerKey};

use super::{Around, Pool, Seat, desk::Desk, work::WorkMaker};
use crate::{chain::Chain, disk, rng::Rng};

/// Rounds of commits that a drain may take before connections are put down.
const DRAIN_MAX: usize = 1000;

impl Pool {
    /// The pool dies at this instant. What its disk holds is copied (with bytes of a write that
    /// never finished behind the log), and a new pool starts on the copy.
    pub(crate) fn kill(self, to: &Path, rng: &mut Rng) -> Result<Self, String> {
        disk::copy_torn(&self.path, to, rng).map_err(|error| error.to_string())?;
        let max_seen = self.settings.limits.max_seen;
        drop(self);
        Self::open(to, max_seen).map_err(|error| error.to_string())
    }

    /// Commits what waits, without answering it: what a pool that dies may have just done.
    pub(crate) fn commit_unanswered(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        self.writer.blocks(&mut self.ledger, around)?;
        self.writer.commit(&mut self.ledger, around).map(|_| ())
    }

    /// Commits everything that waits, and answers it.
    pub(crate) fn drain(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        for _ in 0..DRAIN_MAX {
            if self.writer.is_idle() {
                return Ok(());
            }
            self.writer.blocks(&mut self.ledger, around)?;
            let answers = self.writer.commit(&mut self.ledger, around)?;
            self.answer(answers);
        }
        Err("what waits for the ledger never ends".to_owned())
    }

    /// Another image of the pool takes its place, with its connections, once the ledger owes
    /// nobody anything. Says which connections could not go on.
    pub(crate) fn replace(mut self, around: &mut Around<'_>) -> Result<(Self, Vec<u64>), String> {
        self.drain(around)?;
        let text = |error: &dyn core::fmt::Display| error.to_string();
        let mut saved = Vec::new();
        let mut ended = core::mem::take(&mut self.waiting);
        for (connection, seat) in core::mem::take(&mut self.seats) {
            match seat.session.save(around.now) {
                Some(session) => {
                    let bytes = serde_json::to_vec(&session).map_err(|error| text(&error))?;
                    saved.push((connection, bytes, seat.accounts));
                }
                None => ended.push(connection),
            }
        }
        let Self { ledger, path, settings, work, was_withdrawn, writer, .. } = self;
        let work = work.hand_over().map_err(|error| text(&error))?;
        drop(ledger);
        let mut pool = Self::open(&path, settings.limits.max_seen).map_err(|error| text(&error))?;
        (pool.desk, pool.was_withdrawn) = (Desk::new(), was_withdrawn);
        pool.writer.to_hand_in = writer.to_hand_in;
        for (connection, bytes, accounts) in saved {
            let saved = serde_json::from_slice(&bytes).map_err(|error| text(&error))?;
            let seat = restore(saved, accounts, &pool, &work, around)?;
            pool.seats.insert(connection, seat);
        }
        pool.work = work;
        Ok((pool, ended))
    }

    /// Blocks whose fate is open and that the node does not know are handed in again.
    pub(crate) fn look_up_blocks(&mut self, chain: &Chain) -> Result<(), LedgerError> {
        for block in self.ledger.unresolved()? {
            if chain.knows(&block.hash) {
                continue;
            }
            let bytes = self.ledger.block_bytes(&block.hash)?.unwrap_or_default();
            if let Some(parent) = bytes.get(4..36).and_then(|parent| parent.try_into().ok()) {
                self.writer.to_hand_in.push((block.hash, parent));
            }
        }
        Ok(())
    }
}

fn restore(
    saved: SavedSession,
    accounts: Vec<String>,
    pool: &Pool,
    work: &WorkMaker,
    around: &Around<'_>,
) -> Result<Seat, String> {
    let key = |user: &str| {
        let place = accounts.iter().position(|account| account == user);
        WorkerKey::new(place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX))
    };
    let settings = Arc::clone(&pool.settings);
    let session = Session::restore(settings, saved, work.all(), key, around.now);
    let session = session.map_err(|error| error.to_string())?;
    Ok(Seat { session, accounts })
}
