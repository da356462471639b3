//! The disk under the ledger: full for a while, and torn where the pool is killed.

use core::time::Duration;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ledger::LedgerError;

use crate::rng::Rng;

/// Whether there is room.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    full_until: Duration,
    /// Whether it was ever full.
    pub(crate) failed: bool,
}

impl Disk {
    /// It has no room from `now` on, for `time`.
    pub(crate) fn fill(&mut self, now: Duration, time: Duration) {
        self.full_until = now + time;
        self.failed = true;
    }

    /// Whether it has none.
    pub(crate) fn is_full(&self, now: Duration) -> bool {
        now < self.full_until
    }

    /// What the ledger says where it cannot write: nothing of the call is on disk then, and another
    /// attempt may succeed.
    pub(crate) fn room(&self, now: Duration) -> Result<(), LedgerError> {
        if !self.is_full(now) {
            return Ok(());
        }
        let (doing, reason) = ("writing".to_owned(), "database or disk is full".to_owned());
        Err(LedgerError::Store { doing, passing: true, reason })
    }
}

/// Whether to try again later.
pub(crate) const fn is_passing(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Store { passing: true, .. })
}

/// Copies the database and its log as they are at this instant, with bytes of a write that never
/// finished behind the log.
pub(crate) fn copy_torn(from: &Path, to: &Path, rng: &mut Rng) -> io::Result<()> {
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    fs::write(to, fs::read(from)?)?;
    let mut tail = match fs::read(log(from)) {
        Ok(tail) => tail,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for _ in 0..rng.below(200) {
        tail.extend(rng.bytes());
    }
    fs::write(log(to), tail)
}
