//! The one place that knows `SQLite`. Everything else of the ledger speaks events, queries and
//! views.
//!
//! Read [`Store`] first (the writer: one transaction per call), then `schema.rs` (the tables),
//! `project.rs` (what each event does to them) and `reader.rs`.
//!
//! How it is kept: WAL with `synchronous=FULL`, so a transaction is on disk when it returns and
//! readers neither wait nor make anyone wait. The WAL is written back every 2,000 pages, and cut
//! when a slow reader let it pass 64 MiB. One writer: a lock file beside the database, held by
//! the operating system, so that a crash leaves no lock behind.
//!
//! Numbers that may pass 2^63 are blobs of 16 bytes, big-endian, so that their byte order is
//! their numeric order; satoshis, share numbers and milliseconds are integers.

mod aggregate;
mod backup;
mod best;
mod lock;
mod log;
mod luck;
mod paid_out;
mod payouts;
mod project;
mod project_block;
mod project_energy;
mod project_payout;
mod project_reserve;
mod prune;
mod query;
mod raw;
mod raw_payouts;
mod reader;
mod receipts;
mod rounds;
mod rows;
mod schema;
mod state;
mod statement;
mod tail;
mod tally;
mod values;
mod window;
mod work;

use std::path::{Path, PathBuf};
use std::time::Duration;

use defences::{Defence, stands};
use rusqlite::Connection;
use units::UnixMillis;

use self::lock::Lock;
pub(crate) use self::payouts::PayoutRow;
pub(crate) use self::query::{BlockRow, Queries};
pub(crate) use self::raw::{RawBest, RawEvent, RawLedger, RawSlice, RawTotal, RawWorker, Snapshot};
pub(crate) use self::raw_payouts::{RawOutbox, RawPayout};

pub use self::backup::{backup, restore};
pub use self::reader::Reader;
pub(crate) use self::state::State;
use crate::error::LedgerError;
use crate::event::{Batch, Event};
use crate::types::{Scheme, Share, SliceIndex};

/// How long a statement waits for a lock: nobody but a person with a database tool holds one.
const BUSY: Duration = Duration::from_secs(5);
/// Statements kept prepared; there are fewer.
const CACHED_STATEMENTS: usize = 64;
/// Transactions between two looks at the length of the WAL.
const TEND_EVERY: u32 = 256;
/// Pages (4 KiB) of WAL after which it is written back to the database. More would save next to
/// nothing and make the commit that does it wait longer.
const WAL_PAGES: i64 = 2_000;
/// Bytes of WAL from which on it is cut when no reader is in it.
const WAL_BYTES_MOST: u64 = 64 << 20;

/// The latest instant that the log can hold: 2^63 - 1 milliseconds, the year 292 million.
pub(crate) const LATEST: UnixMillis = UnixMillis::new(u64::MAX >> 1);

/// The writer's hold on the database.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    wal: PathBuf,
    conn: Connection,
    /// What the newest event left, kept beside the tables; `None` after a failed transaction,
    /// until it is read anew.
    state: Option<State>,
    /// Whether it is not known what became of a transaction: nothing is written any more.
    unsure: bool,
    until_tending: u32,
    /// Dropped last, so that the next writer finds everything closed.
    _lock: Lock,
}

/// One open transaction.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    conn: &'a Connection,
    state: &'a mut State,
}

/// What became of a transaction.
#[derive(Debug)]
enum Outcome {
    Done,
    Undone(LedgerError),
    /// Why nobody knows.
    Unknown(String),
}

/// A transaction that is rolled back unless it is committed. It does what `rusqlite`'s own does,
/// with statements that are prepared once: at hundreds of commits a second that is felt.
#[derive(Debug)]
struct Transaction<'a> {
    conn: &'a Connection,
}

impl<'a> Transaction<'a> {
    fn begin(conn: &'a Connection) -> Result<Self, LedgerError> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { conn })
    }

    /// Commits up to event `newest`, where it `appended` any. `SQLite` writes its log back into the database after a commit
    /// and says of the commit what became of that: what is in the log all the same was synced, is
    /// committed, and must not be refused. Whose event is visible is asked, and where even that
    /// cannot be, nobody knows.
    fn commit(self, newest: u64, appended: bool) -> Outcome {
        let commit = || self.conn.prepare_cached("COMMIT")?.execute([]);
        let Err(error) = commit() else { return Outcome::Done };
        // What appends nothing is not seen to be there, and may be done again.
        if !appended || !self.conn.is_autocommit() {
            return Outcome::Undone(error.into());
        }
        match log::newest(self.conn) {
            Ok(found) if found == newest => Outcome::Done,
            Ok(_) => Outcome::Undone(error.into()),
            Err(_) => Outcome::Unknown(error.to_string()),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // After a commit there is none; after some errors SQLite has ended it already.
        if !self.conn.is_autocommit() {
            // An error here leaves it open, and the next one's beginning then fails and says so.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }
}

impl Store {
    /// Opens or creates the database at `path`, and makes its projections current.
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        let doing = format!("opening the ledger {}", path.display());
        Self::open_inner(path).map_err(|error| error.while_doing(&doing))
    }

    fn open_inner(path: &Path) -> Result<Self, LedgerError> {
        schema::create_folder_of(path)?;
        let mut conn = Connection::open(path)?;
        conn.busy_timeout(BUSY)?;
        schema::claim(&conn, path)?;
        let lock = Lock::take(path)?;
        set_up_writer(&conn)?;
        schema::make_current(&mut conn)?;
        let state = Some(State::load(&conn)?);
        let (path, wal) = (path.to_owned(), wal_path(path));
        Ok(Self { path, wal, conn, state, unsure: false, until_tending: TEND_EVERY, _lock: lock })
    }

    /// What the newest event left.
    pub(crate) fn state(&mut self) -> Result<&State, LedgerError> {
        let state = match self.state.take() {
            Some(state) => state,
            None => State::load(&self.conn)?,
        };
        Ok(self.state.insert(state))
    }

    /// Asks the tables something.
    pub(crate) fn query<T>(
        &self,
        doing: &str,
        ask: impl FnOnce(&Queries<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        ask(&Queries::new(&self.conn)).map_err(|error| error.while_doing(&self.named(doing)))
    }

    /// The oldest slice whose headers are needed: see [`prune::oldest_needed`].
    pub(crate) fn oldest_needed(
        &mut self,
        scheme: Scheme,
        age: u64,
    ) -> Result<SliceIndex, LedgerError> {
        self.state()?;
        let state = self.state.as_ref().expect("just loaded");
        prune::oldest_needed(&self.conn, state, scheme, age)
            .map_err(|error| error.while_doing(&self.named("looking what can be pruned")))
    }

    /// The newest slice whose pruning was announced; 0 for none.
    pub(crate) fn newest_pruned(&self) -> Result<SliceIndex, LedgerError> {
        prune::newest(&self.conn)
    }

    /// Whether a slice's root has its shares below it, so that it can be pruned.
    pub(crate) fn is_rooted(&self, slice: SliceIndex) -> Result<bool, LedgerError> {
        prune::is_rooted(&self.conn, slice)
    }

    /// Runs `write` in one transaction: all of it is on disk when this returns `Ok`, and nothing
    /// of it when it returns `Err`.
    pub(crate) fn transact<T>(
        &mut self,
        doing: &str,
        write: impl FnOnce(&mut Recorder<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.try_transact(write).map_err(|error| error.while_doing(&self.named(doing)))
    }

    fn try_transact<T>(
        &mut self,
        write: impl FnOnce(&mut Recorder<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        if self.unsure {
            return Err(unsure("nothing is written any more"));
        }
        self.tend()?;
        self.state()?;
        // Taken out, and put back only when the disk has it all.
        let mut state = self.state.take().expect("just loaded");
        let first = state.next_event;
        let transaction = Transaction::begin(&self.conn)?;
        let value = write(&mut Recorder { conn: &self.conn, state: &mut state })?;
        match transaction.commit(state.next_event.saturating_sub(1), state.next_event > first) {
            Outcome::Done => {
                self.state = Some(state);
                Ok(value)
            }
            Outcome::Undone(error) => Err(error),
            Outcome::Unknown(error) => {
                self.unsure = true;
                Err(unsure(&error))
            }
        }
    }

    /// Keeps the WAL short. `SQLite` writes it back by itself after commits, but can start it
    /// anew only at a moment without readers. When that moment did not come by itself for long,
    /// it is tried for here, before anything of the next transaction is written, and without
    /// waiting: a reader never holds the writer up.
    fn tend(&mut self) -> Result<(), LedgerError> {
        self.until_tending = self.until_tending.saturating_sub(1);
        if self.until_tending > 0 {
            return Ok(());
        }
        self.until_tending = TEND_EVERY;
        if self.wal.metadata().is_ok_and(|wal| wal.len() > WAL_BYTES_MOST) {
            self.conn.busy_timeout(Duration::ZERO)?;
            let cut = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            self.conn.busy_timeout(BUSY)?;
            cut?;
        }
        Ok(())
    }

    fn named(&self, doing: &str) -> String {
        format!("{doing} (ledger {})", self.path.display())
    }
}

/// That a pool has to end, since only a start shows what the disk has.
fn unsure(why: &str) -> LedgerError {
    let reason = format!("{why}: whether a transaction was committed cannot be read");
    LedgerError::Store { doing: String::new(), passing: false, reason }
}

impl Recorder<'_> {
    /// Appends an event and does to the tables what it says.
    pub(crate) fn record(
        &mut self,
        at: UnixMillis,
        event: &Event,
        data: Option<&[u8]>,
    ) -> Result<(), LedgerError> {
        let seq = self.state.next_event;
        // What the log can hold, so that replaying it sees the same instant.
        let at = at.min(LATEST);
        log::append(self.conn, seq, at, event, data)?;
        project::apply(self.conn, self.state, seq, at, event, data)
    }

    /// Appends a batch of shares and counts them. `packed` is their form in the log.
    pub(crate) fn record_shares(
        &mut self,
        batch: Batch,
        shares: &[Share],
        packed: &[u8],
    ) -> Result<(), LedgerError> {
        let seq = self.state.next_event;
        let at = shares.last().map_or(LATEST, |newest| newest.at).min(LATEST);
        let event = Event::Shares(batch);
        log::append(self.conn, seq, at, &event, Some(packed))?;
        project::apply_shares(self.conn, self.state, seq, at, &batch, shares)
    }

    /// Announces that a slice is pruned.
    pub(crate) fn announce_pruning(
        &mut self,
        at: UnixMillis,
        slice: SliceIndex,
    ) -> Result<(), LedgerError> {
        let (event, data) = prune::announcement(self.conn, slice)?;
        self.record(at, &event, Some(&data))
    }

    /// Takes headers out of the log: see [`prune::thin_some`].
    pub(crate) fn thin(
        &self,
        slice: SliceIndex,
        after: u64,
    ) -> Result<Option<(u64, u64)>, LedgerError> {
        prune::thin_some(self.conn, slice, after)
    }

    /// What the newest event left.
    pub(crate) const fn state(&self) -> &State {
        self.state
    }

    /// Asks the tables something within the transaction.
    pub(crate) const fn queries(&self) -> Queries<'_> {
        Queries::new(self.conn)
    }
}

fn set_up_writer(conn: &Connection) -> Result<(), LedgerError> {
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(LedgerError::damaged(format!(
            "its disk cannot hold a write-ahead log (journal mode {mode}): use a local disk"
        )));
    }
    let synchronous = if stands(Defence::SyncedCommit) { "FULL" } else { "OFF" };
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.execute_batch(
        "PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA cache_size = -2048;
         PRAGMA temp_store = MEMORY;",
    )?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_MOST, |_| Ok(()))?;
    Ok(())
}

/// The write-ahead log of the database at `path`.
fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
