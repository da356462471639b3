//! One consistent look at the pool: what page, metrics and API are all made of.
//!
//! Read [`ViewSource::view`]. Figures that are accounts (shares, work, satoshis, joules) come
//! from the ledger's tables on disk; only what is not an account (connections, rates, rejects,
//! the template's age) comes from memory. It deliberately caches nothing.
//!
//! One question at a time reads the ledger, and what leaves it is bounded, so many clients cost
//! time and not memory.

use std::{path::PathBuf, sync::Arc};

use defences::{Defence, stands};
use ledger::{
    AccountCredit, AccountPayout, AccountSummary, BlockFilter, BlockId, BlockView, LedgerError,
    PayoutFilter, Reader, SliceIndex, Statement, Totals, WorkEstimate,
};
use tokio::sync::{Mutex, watch};
use units::{Moment, UnixMillis};

use super::{
    account::{self, AccountNow},
    estimates::Estimates,
    luck::LuckNow,
    meters::{EnergyNow, MetersNow},
    ready,
    standing::{FlagsNow, WindowsNow},
};
use crate::{
    clock::Clock,
    config::Config,
    ledger_task::{LedgerHandle, LedgerUnavailable},
    luck::Luck,
    metrics::{Metrics, Tallies},
    node::{NodeStatus, Seen, subsidy},
    rates::Hashrate,
    receipts::{Receipt, SignedHead, Signer},
    wages::ruin,
};

/// Accounts that are shown by name; the rest are summed as `other`.
pub const ACCOUNTS_SHOWN: u32 = 20;
/// Blocks that are listed.
pub const BLOCKS_SHOWN: u32 = 200;
/// Lines that a statement has at most.
pub const LINES_MAX: u32 = 10_000;

/// Where views come from.
#[derive(Debug)]
pub struct ViewSource {
    config: Config,
    path: PathBuf,
    ledger: LedgerHandle,
    templates: watch::Receiver<Option<Arc<Seen>>>,
    status: watch::Receiver<NodeStatus>,
    metrics: Metrics,
    clock: Clock,
    signer: Signer,
    /// Opened at first use. Only answers to HTTP share it; the share path never sees it.
    reader: Arc<Mutex<Option<Reader>>>,
}

/// What headers show of an account's work in some closed slices.
#[derive(Debug)]
pub struct WorkShown {
    /// The first slice, 0 where none is closed.
    pub first: SliceIndex,
    /// The last.
    pub last: SliceIndex,
    /// `None` where a slice with work of the account keeps no headers, or there is no such slice.
    pub estimate: Option<WorkEstimate>,
}

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The ledger's file cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger's thread has stopped.
    #[error(transparent)]
    Stopped(#[from] LedgerUnavailable),
    /// The reading thread failed.
    #[error("the reading task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Everything that is shown.
#[derive(Debug)]
pub struct View {
    /// When it was taken.
    pub now: Moment,
    /// The pool's configuration.
    pub config: Config,
    /// The ledger's sums.
    pub totals: Totals,
    /// The accounts with the most work.
    pub accounts: Vec<AccountSummary>,
    /// The newest blocks first.
    pub blocks: Vec<BlockView>,
    /// Blocks expected of shares, and who brings fewer.
    pub luck: LuckNow,
    /// Every meter that ever reported, in sums.
    pub meters: MetersNow,
    /// What workers would use that report nothing, by the operator's profiles.
    pub estimates: Estimates,
    /// Joules beside work of late, of all workers that report.
    pub windows: WindowsNow,
    /// What is to be thought of them.
    pub flags: FlagsNow,
    /// The pool's hash rate.
    pub rate: Hashrate,
    /// Counts since the pool started.
    pub tallies: Tallies,
    /// The newest template.
    pub template: Option<Arc<Seen>>,
}

/// What an account claims, held against the best known device.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Payout address.
    pub account: String,
    /// Its joules per proven terahash over that device's. Below 1 no device can do it.
    pub ratio: f64,
}

impl ViewSource {
    /// Views of one pool.
    #[must_use]
    pub fn new(
        config: Config,
        ledger: LedgerHandle,
        templates: watch::Receiver<Option<Arc<Seen>>>,
        status: watch::Receiver<NodeStatus>,
        metrics: Metrics,
        clock: Clock,
        signer: Signer,
    ) -> Self {
        let path = config.ledger.path.clone();
        Self {
            config,
            path,
            ledger,
            templates,
            status,
            metrics,
            clock,
            signer,
            reader: Arc::new(Mutex::new(None)),
        }
    }

    /// A receipt for an account's newest shares, or `None` where it has none.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn receipt(&self, account: &str) -> Result<Option<Receipt>, ViewError> {
        let account = account.to_owned();
        let shares = self.read(move |reader| reader.acknowledged(&account)).await?;
        let now = self.clock.now().unix;
        Ok(shares.map(|shares| self.signer.receipt(&shares, now)))
    }

    /// The newest slice's head, signed.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn head(&self) -> Result<SignedHead, ViewError> {
        let head = self.read(Reader::newest_slice).await?;
        Ok(self.signer.head(&head, self.clock.now().unix))
    }

    /// Takes a view.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn view(&self) -> Result<View, ViewError> {
        let watch = self.config.watch;
        let profiles = self.config.energy.profiles.clone();
        let (totals, accounts, blocks, luck, meters, estimates) = self
            .read(move |reader| {
                let totals = reader.totals()?;
                let accounts = reader.accounts(ACCOUNTS_SHOWN)?;
                let luck = LuckNow::of(&reader.luck()?, &accounts, watch);
                let meters = MetersNow::of(reader.meters()?, totals.energy, totals.covered_work);
                let estimates = Estimates::of(reader, &profiles)?;
                Ok((totals, accounts, reader.blocks(BLOCKS_SHOWN)?, luck, meters, estimates))
            })
            .await?;
        let rates = self.ledger.rates().await?;
        let now = self.clock.now();
        let standings = || rates.standings.values().map(|standing| &**standing);
        Ok(View {
            luck,
            estimates,
            windows: WindowsNow::of(standings(), now.unix),
            flags: FlagsNow::of(standings()).with_accounts(rates.flagged.iter()),
            now,
            config: self.config.clone(),
            totals,
            accounts,
            blocks,
            meters,
            rate: rates.pool,
            tallies: self.metrics.tallies(),
            template: self.templates.borrow().clone(),
        })
    }

    /// One account, or `None` when the pool knows none of that name.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn account(&self, name: &str) -> Result<Option<AccountNow>, ViewError> {
        let name = name.to_owned();
        let factor = self.config.energy.factor.clone();
        let profiles = self.config.energy.profiles.clone();
        let watch = self.config.watch;
        let account = self
            .read(move |reader| {
                let Some(account) = reader.account(&name)? else { return Ok(None) };
                let luck = reader.luck_of(&name)?.map(|luck| Luck::from(&luck));
                let luck = luck.unwrap_or_default();
                let accounts = usize::try_from(reader.totals()?.accounts).unwrap_or(usize::MAX);
                let suspected = watch.judge(luck, accounts);
                let now = AccountNow::of(account, factor, &profiles);
                Ok(Some(now.with_luck(luck, suspected)))
            })
            .await?;
        let Some(account) = account else { return Ok(None) };
        Ok(Some(account.with_rates(&self.ledger.rates().await?, self.clock.now().unix)))
    }

    /// The blocks that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the filter names an unknown block, or the ledger cannot be read.
    pub async fn blocks(&self, filter: BlockFilter) -> Result<Vec<BlockView>, ViewError> {
        self.read(move |reader| reader.blocks_where(&filter)).await
    }

    /// The payouts that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payouts(&self, filter: PayoutFilter) -> Result<Vec<AccountPayout>, ViewError> {
        self.read(move |reader| reader.account_payouts(&filter)).await
    }

    /// An account's credits in so many of its newest blocks, or in those before a block; `None`
    /// when the pool knows none of that name.
    ///
    /// # Errors
    /// When the block is unknown, or the ledger cannot be read.
    pub async fn credits(
        &self,
        name: &str,
        before: Option<BlockId>,
        blocks: u32,
    ) -> Result<Option<Vec<AccountCredit>>, ViewError> {
        let name = name.to_owned();
        self.read(move |reader| reader.credits(&name, before.as_ref(), blocks)).await
    }

    /// An account's statement; `None` when the pool knows none of that name.
    ///
    /// # Errors
    /// When it has more than [`LINES_MAX`] lines, or the ledger cannot be read.
    pub async fn statement(
        &self,
        name: &str,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Option<Statement>, ViewError> {
        let name = name.to_owned();
        let most = if stands(Defence::PageLength) { LINES_MAX } else { u32::MAX };
        self.read(move |reader| reader.statement(&name, from, to, most)).await
    }

    /// What the best headers of so many of the newest slices show of an account's work; `None` when
    /// the pool knows none of that name.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn work_shown(
        &self,
        name: &str,
        slices: u32,
    ) -> Result<Option<WorkShown>, ViewError> {
        let name = name.to_owned();
        self.read(move |reader| {
            if reader.account(&name)?.is_none() {
                return Ok(None);
            }
            let last = reader.newest_slice()?.index;
            let first = last.get().saturating_sub(u64::from(slices)).saturating_add(1);
            let first = SliceIndex::new(first.min(last.get()));
            let estimate = reader.work_estimate(&name, first, last)?;
            Ok(Some(WorkShown { first, last, estimate }))
        })
        .await
    }

    /// What those of the view's accounts claim that report energy for proven work, in its order.
    /// O(workers of these accounts).
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn claims(&self, view: &View) -> Result<Vec<Claim>, ViewError> {
        if view.energy().is_none() {
            return Ok(Vec::new());
        }
        let names = Vec::from_iter(view.accounts.iter().map(|account| account.name.clone()));
        self.read(move |reader| {
            let mut claims = Vec::new();
            for account in names {
                let energy = reader.account(&account)?.as_ref().and_then(account::energy_of);
                let ratio = energy.and_then(|energy| energy.plausibility());
                claims.extend(ratio.map(|ratio| Claim { account, ratio }));
            }
            Ok(claims)
        })
        .await
    }

    /// The counted metric families.
    #[must_use]
    pub fn counted(&self) -> String {
        self.metrics.render()
    }

    /// Why miners cannot be served now, or `None` when they can.
    pub async fn not_ready(&self) -> Option<String> {
        if let Err(error) = self.ledger.rates().await {
            return Some(error.to_string());
        }
        let template_at = self.templates.borrow().as_ref().map(|seen| seen.at);
        let max_age = self.config.template_max_age;
        ready::not_ready(&self.status.borrow(), template_at, max_age, self.clock.now())
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, ViewError> {
        // Waiting here and not in a blocking thread: a client that goes takes its wait along.
        let mut slot = Arc::clone(&self.reader).lock_owned().await;
        let path = self.path.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let reader = match slot.take() {
                Some(reader) => reader,
                None => Reader::open(&path)?,
            };
            // A reader that failed is not put back: the next view opens a new one.
            let answer = query(&reader)?;
            *slot = Some(reader);
            Ok::<T, LedgerError>(answer)
        });
        Ok(answer.await??)
    }
}

impl View {
    /// The pool's energy, or `None` while nothing was reported.
    #[must_use]
    pub const fn energy(&self) -> Option<&EnergyNow> {
        self.meters.energy.as_ref()
    }

    /// How probable it is that the reserve of pay per share is ever used up, by the subsidy alone;
    /// `None` under another scheme, and before the first template.
    #[must_use]
    pub fn ruin(&self) -> Option<f64> {
        let payout = &self.config.payout;
        let seen = self.template.as_ref().filter(|_| payout.scheme.pays_per_share())?;
        let value = subsidy(seen.template.height, self.config.network);
        Some(ruin(self.totals.reserve, payout.fee, value))
    }

    /// Seconds since the template arrived.
    #[must_use]
    pub fn template_age(&self) -> Option<f64> {
        let seen = self.template.as_ref()?;
        Some(self.now.mono.saturating_sub(seen.at.mono).as_secs_f64())
    }
}
