//! A worker of a connection, until the ledger knows it and afterwards.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use defences::{Defence, stands};
use ledger::WorkerId;
use stratum::v1::server::RequestToken;

use super::{Command, LedgerHandle, LedgerUnavailable};
use crate::{
    front::mail::{Early, Mail, Mailbox, PeerKey},
    user::User,
};

/// A worker of a connection. It gets its row in the ledger with its first accepted share: a name
/// costs proof of work, so that nobody fills the ledger with names.
#[derive(Debug)]
pub struct WorkerCell {
    /// Who.
    pub user: User,
    id: OnceLock<WorkerId>,
    /// What the ledger's thread keeps until it knows the worker's row. Of all shares the first alone
    /// comes by here, so that the lock is none of the share path's.
    baseline: Mutex<Option<Box<Baseline>>>,
    /// The second in which the ledger was last asked about it while a report waited, plus one.
    asked: AtomicU32,
}

/// A report of energy that came before its worker's first share, to be taken right before that,
/// so that the share's work is covered.
#[derive(Debug)]
pub(super) struct Baseline {
    pub(super) token: RequestToken,
    pub(super) report: String,
    pub(super) peer: PeerKey,
    pub(super) home: Mailbox,
}

impl WorkerCell {
    /// A worker that has proven nothing here yet.
    #[must_use]
    pub const fn new(user: User) -> Self {
        Self { user, id: OnceLock::new(), baseline: Mutex::new(None), asked: AtomicU32::new(0) }
    }

    /// Its number in the ledger, once it is known here.
    #[must_use]
    pub fn id(&self) -> Option<WorkerId> {
        self.id.get().copied()
    }

    /// Its number in the ledger, asked for and noted.
    ///
    /// # Errors
    /// When the ledger has stopped, or refuses the name.
    pub async fn register(
        self: &Arc<Self>,
        ledger: &LedgerHandle,
    ) -> Result<WorkerId, LedgerUnavailable> {
        if let Some(id) = self.id() {
            return Ok(id);
        }
        ledger.ask(|reply| Command::Register { worker: Arc::clone(self), reply }).await
    }

    /// Notes its number, and gives back the report that waited for that.
    pub(super) fn introduce(&self, id: WorkerId) -> Option<Box<Baseline>> {
        self.id.get_or_init(|| id);
        self.baseline().take()
    }

    /// Whether a report waits for the first share.
    pub(crate) fn has_baseline(&self) -> bool {
        self.baseline().is_some()
    }

    /// Whether the ledger may be asked if it has got its first share elsewhere: once a second.
    pub(crate) fn may_ask_again(&self, now: Duration) -> bool {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        self.asked.swap(second, Relaxed) != second || !stands(Defence::WaitingReports)
    }

    /// Lets a report wait for the first share, unless one does already.
    fn keep(&self, baseline: Box<Baseline>) -> bool {
        let mut waiting = self.baseline();
        let free = waiting.is_none();
        if free {
            *waiting = Some(baseline);
        }
        free
    }

    /// Gives up the report that waits for the first share: the request that nobody answers now.
    pub(crate) fn forget_report(&self) -> Option<RequestToken> {
        self.baseline().take().map(|baseline| baseline.token)
    }

    fn baseline(&self) -> MutexGuard<'_, Option<Box<Baseline>>> {
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a report wait for its worker's first share. Later ones would add nothing to the baseline
/// before there is work.
pub(super) fn keep(early: Early, peer: PeerKey, home: &Mailbox) {
    let Early { token, worker, report } = early;
    let new = Box::new(Baseline { token, report, peer, home: home.clone() });
    let kept = worker.keep(new);
    // Not under the lock: a full box would wait for a shard that may be waiting for the lock.
    home.post(if kept {
        Mail::EnergyKept(peer)
    } else {
        Mail::Energy(peer, token, Err(WAITS_FOR_WORK.to_owned()))
    });
}

/// Why a further report is not taken.
const WAITS_FOR_WORK: &str = "a report is waiting for this worker's first share";
