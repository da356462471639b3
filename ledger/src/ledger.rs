//! [`Ledger`]: the one writer. Each call checks first, then records its events in one
//! transaction, and returns when they are on disk; an error means that nothing of it is.
//!
//! Read `commit` and `close_slice` here, then `blocks.rs` (found blocks and their money),
//! `reserve.rs` (pay per share), `payouts.rs` (what is paid out) and `energy.rs` (readings and keys).

mod blocks;
mod energy;
mod payouts;
mod reserve;

use core::ops::Range;
use std::path::Path;

use defences::{Defence, stands};
use units::{UnixMillis, Work};

use crate::aggregate;
use crate::error::{LedgerError, Refusal};
use crate::event::{
    AccountOpened, Aggregated, Batch, Event, ExtranoncesLeased, SliceClosed, WorkerOpened,
};
use crate::evidence::BEST_MOST;
use crate::packed;
use crate::pruning::Pruning;
use crate::slice::{FORM, HeadParts};
use crate::store::{LATEST, Recorder, State, Store};
use crate::types::{AccountId, Committed, Scheme, Settings, Share, SliceHead, WorkerId};

pub use self::energy::MAX_METERS;
pub use self::reserve::Payday;

/// Most shares in one batch (at most 9 MiB in the log, mostly less than 4).
pub const MAX_BATCH: usize = 65_536;
/// Most shares in a slice: a batch that would make it larger goes to the next.
pub const MAX_SLICE: u64 = 65_536;
/// Longest name of an account, in bytes; addresses have at most 90.
pub const MAX_ACCOUNT_NAME: usize = 128;
/// Longest name of a worker, in bytes.
pub const MAX_WORKER_NAME: usize = 64;
/// Longest other text that is kept (names of meters, answers of nodes), in bytes.
pub const MAX_TEXT: usize = 256;

/// The writer of a ledger. There is one at a time for a file; readers open [`crate::Reader`]s.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) newest: SliceHead,
    pub(crate) pruning: Pruning,
}

impl Ledger {
    /// Opens the ledger at `path`, creating it and its folder where missing. It is locked
    /// against other writers until the value is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// When another writer has it, the file is something else or too new, or the settings are
    /// of no use.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, LedgerError> {
        check_settings(&settings)?;
        let mut store = Store::open(path)?;
        let newest = store.state()?.newest;
        Ok(Self { store, settings, newest, pruning: Pruning::default() })
    }

    /// The worker of this name in this account, registered (with the account) when new.
    ///
    /// Names are exact: two spellings are two workers. An account's name has 1 to
    /// [`MAX_ACCOUNT_NAME`] bytes, a worker's 0 to [`MAX_WORKER_NAME`], without control
    /// characters.
    ///
    /// # Errors
    /// When a name is not of that form, or the store fails.
    pub fn worker(
        &mut self,
        account: &str,
        worker: &str,
        at: UnixMillis,
    ) -> Result<WorkerId, LedgerError> {
        let mut ids = self.workers(&[(account, worker)], at)?;
        ids.pop().ok_or_else(|| LedgerError::damaged("a worker has no number".to_owned()))
    }

    /// The same for many at once, of account and worker: one write for all that are new.
    ///
    /// # Errors
    /// As [`Self::worker`]; nobody is registered then.
    pub fn workers(
        &mut self,
        names: &[(&str, &str)],
        at: UnixMillis,
    ) -> Result<Vec<WorkerId>, LedgerError> {
        let mut known = Vec::with_capacity(names.len());
        for (account, worker) in names {
            check_name("account", account, 1, MAX_ACCOUNT_NAME)?;
            check_name("worker", worker, 0, MAX_WORKER_NAME)?;
            known.push(self.find_worker(account, worker)?);
        }
        if known.iter().all(Option::is_some) {
            return Ok(known.into_iter().flatten().collect());
        }
        self.store.transact("registering workers", |record| {
            names.iter().map(|(account, worker)| worker_of(record, account, worker, at)).collect()
        })
    }

    /// The worker of this name in this account, if it was ever registered.
    ///
    /// # Errors
    /// When the store fails.
    pub fn find_worker(
        &self,
        account: &str,
        worker: &str,
    ) -> Result<Option<WorkerId>, LedgerError> {
        self.store.query("looking up a worker", |ask| {
            ask.account(account)?.map_or(Ok(None), |account| ask.worker(account, worker))
        })
    }

    /// Commits a batch of accepted shares to the open slice, in this order. When this returns,
    /// they are on disk and may be answered. An empty batch writes nothing.
    ///
    /// # Errors
    /// When a share's worker is unknown or its work is zero, when there are more than
    /// [`MAX_BATCH`], or when the store fails. Nothing is committed then.
    pub fn commit(&mut self, shares: &[Share]) -> Result<Committed, LedgerError> {
        let state = self.store.state()?;
        let last = state.total.proven.shares;
        check_batch(state, shares)?;
        let count = u64::try_from(shares.len()).map_err(|_| LedgerError::Overflow("shares"))?;
        let first_seq = last.checked_add(1).ok_or(LedgerError::Overflow("shares"))?;
        let last_seq = last.checked_add(count).ok_or(LedgerError::Overflow("shares"))?;
        if !shares.is_empty() {
            let open = state.open.sum.shares;
            let full = open > 0 && open.saturating_add(count) > MAX_SLICE;
            if let Some(first) = shares.first().filter(|_| full) {
                self.close_slice(first.at)?;
            }
            let slice = self.store.state()?.open.index.get();
            let batch = Batch { first: first_seq, shares: count, slice };
            let packed = packed::encode(shares);
            self.store.transact("committing shares", |record| {
                record.record_shares(batch, shares, &packed)
            })?;
        }
        Ok(Committed { first_seq, last_seq })
    }

    /// Closes the open slice, if it has shares, and opens the next. Returns the newest closed
    /// slice either way.
    ///
    /// A settlement reads one slice share by share, so a slice should not grow without bound:
    /// some thousand shares, or a minute, is a good size. None grows past [`MAX_SLICE`] shares: a
    /// commit closes it first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn close_slice(&mut self, now: UnixMillis) -> Result<SliceHead, LedgerError> {
        if self.store.state()?.open.sum.shares > 0 {
            let best = self.settings.best_headers.min(BEST_MOST);
            let now = now.min(LATEST);
            self.newest = self.store.transact("closing a slice", |record| {
                let sums = open_sums(record.state(), best);
                let closed = SliceClosed { root: open_root(record, now)?, ..sums };
                record.record(now, &Event::SliceClosed(closed), None)?;
                aggregate_when_due(record, now)?;
                Ok(record.state().newest)
            })?;
        }
        Ok(self.newest)
    }

    /// The newest closed slice; [`SliceHead::NONE`] when there is none.
    #[must_use]
    pub const fn newest_slice(&self) -> SliceHead {
        self.newest
    }

    /// Shares and work in the slice that is still open: when to close it is the caller's choice.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open_slice(&mut self) -> Result<(u64, Work), LedgerError> {
        let open = &self.store.state()?.open;
        Ok((open.sum.shares, Work::new(open.sum.work)))
    }

    /// Reserves `count` extranonces that were never given out before and never will be again,
    /// whatever becomes of this process. The last of the 2^32 is never given out.
    ///
    /// # Errors
    /// When none are asked for, fewer are left, or the store fails.
    pub fn lease_extranonces(
        &mut self,
        count: u32,
        at: UnixMillis,
    ) -> Result<Range<u32>, LedgerError> {
        if count == 0 {
            return Err(Refusal::EmptyLease.into());
        }
        let next = self.store.state()?.total.next_extranonce;
        let first = u32::try_from(next).unwrap_or(u32::MAX);
        let first = if stands(Defence::LeasedExtranonce) { first } else { 0 };
        let end = first.checked_add(count).ok_or_else(|| Refusal::ExtranoncesExhausted {
            asked: count,
            left: u32::MAX.abs_diff(first),
        })?;
        self.store.transact("leasing extranonces", |record| {
            record.record(at, &Event::ExtranoncesLeased(ExtranoncesLeased { first, count }), None)
        })?;
        Ok(first..end)
    }
}

/// Writes down what every worker did, every ten minutes.
fn aggregate_when_due(record: &mut Recorder<'_>, now: UnixMillis) -> Result<(), LedgerError> {
    let Some(all) = record.queries().aggregate(now)? else { return Ok(()) };
    let workers = u64::try_from(all.len()).map_err(|_| LedgerError::Overflow("workers"))?;
    let event = Event::Aggregated(Aggregated { until: now.get(), workers });
    record.record(now, &event, Some(&aggregate::encode(&all)))
}

/// The worker of this name in this account, opened when new.
fn worker_of(
    record: &mut Recorder<'_>,
    account: &str,
    worker: &str,
    at: UnixMillis,
) -> Result<WorkerId, LedgerError> {
    let account = account_of(record, account, at)?;
    if let Some(id) = record.queries().worker(account, worker)? {
        return Ok(id);
    }
    let id = record.state().next_worker()?;
    let opened = WorkerOpened { id, account: account.get(), name: worker.to_owned() };
    record.record(at, &Event::WorkerOpened(opened), None)?;
    Ok(WorkerId::new(id))
}

/// The account of this name, opened when new.
fn account_of(
    record: &mut Recorder<'_>,
    name: &str,
    at: UnixMillis,
) -> Result<AccountId, LedgerError> {
    if let Some(id) = record.queries().account(name)? {
        return Ok(id);
    }
    let id = record.state().accounts.checked_add(1).ok_or(LedgerError::Overflow("accounts"))?;
    let opened = AccountOpened { id, name: name.to_owned() };
    record.record(at, &Event::AccountOpened(opened), None)?;
    Ok(AccountId::new(id))
}

/// The open slice as it would be closed, but for its root.
fn open_sums(state: &State, best: u32) -> SliceClosed {
    SliceClosed {
        index: state.open.index.get(),
        shares: state.open.sum.shares,
        work: state.open.sum.work,
        root: [0; 32],
        form: Some(FORM),
        best: (best > 0).then_some(best),
    }
}

fn open_root(record: &Recorder<'_>, now: UnixMillis) -> Result<[u8; 32], LedgerError> {
    let state = record.state();
    let parts = HeadParts {
        index: state.open.index,
        previous: state.newest.root,
        opened: state.newest_closed,
        closed: now,
        shares: state.open.sum.shares,
        work: Work::new(state.open.sum.work),
    };
    state.evidence.root(&parts, &record.queries().open_rows(state)?)
}

fn check_settings(settings: &Settings) -> Result<(), Refusal> {
    check_name("fee account", &settings.fee_account, 1, MAX_ACCOUNT_NAME)?;
    match settings.scheme {
        Scheme::Pplns { window_hundredths: 0 } => Err(Refusal::WindowOfNothing),
        Scheme::Pplnt { .. } if settings.scheme.window_millis() == 0 => {
            Err(Refusal::WindowOfNothing)
        }
        Scheme::Fpps
        | Scheme::Pplns { .. }
        | Scheme::Pplnt { .. }
        | Scheme::Pps
        | Scheme::Prop
        | Scheme::Solo
        | Scheme::Tides => Ok(()),
    }
}

fn check_batch(state: &State, shares: &[Share]) -> Result<(), Refusal> {
    if shares.len() > MAX_BATCH {
        return Err(Refusal::BatchTooLarge { shares: shares.len(), most: MAX_BATCH });
    }
    for (position, share) in shares.iter().enumerate() {
        check_worker(state, share.worker)?;
        if share.work == Work::ZERO {
            return Err(Refusal::ZeroWork { position });
        }
    }
    Ok(())
}

fn check_worker(state: &State, id: WorkerId) -> Result<(), Refusal> {
    state.worker(id).map(|_| ()).ok_or(Refusal::UnknownWorker(id))
}

fn check_name(what: &'static str, name: &str, least: usize, most: usize) -> Result<(), Refusal> {
    let plain = (least..=most).contains(&name.len()) && !name.chars().any(char::is_control);
    if plain || !stands(Defence::LedgerNames) {
        return Ok(());
    }
    let name = name.chars().take(most).collect();
    Err(Refusal::BadName { what, name, least, most })
}
