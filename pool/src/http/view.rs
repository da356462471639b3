//! One consistent look at the pool: what page, metrics and API are all made of.
//!
//! Read [`ViewSource::view`]. Figures that are accounts (shares, work, satoshis, joules) come
//! from the ledger's tables on disk; only what is not an account (connections, rates, rejects,
//! the template's age) comes from memory. It deliberately caches nothing.
//!
//! One question at a time reads the ledger, and what leaves it is bounded, so many clients cost
//! time and not memory.

use std::{path::PathBuf, sync::Arc};

use ledger::{AccountSummary, BlockView, LedgerError, PayoutView, Reader, Totals};
use tokio::sync::{Mutex, watch};
use units::Moment;

use super::{
    account::{self, AccountNow},
    meters::{EnergyNow, MetersNow},
    ready,
};
use crate::{
    clock::Clock,
    config::Config,
    ledger_task::{LedgerHandle, LedgerUnavailable},
    metrics::{Metrics, Tallies},
    node::{NodeStatus, Seen},
    rates::Hashrate,
};

/// Accounts that are shown by name; the rest are summed as `other`.
pub const ACCOUNTS_SHOWN: u32 = 20;
/// Blocks that are listed.
pub const BLOCKS_SHOWN: u32 = 200;
/// Payouts that are listed.
pub const PAYOUTS_SHOWN: u32 = 200;

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
    /// Opened at first use. Only answers to HTTP share it; the share path never sees it.
    reader: Arc<Mutex<Option<Reader>>>,
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
    /// Every meter that ever reported, in sums.
    pub meters: MetersNow,
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
            reader: Arc::new(Mutex::new(None)),
        }
    }

    /// The newest payouts, newest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payouts(&self) -> Result<Vec<PayoutView>, ViewError> {
        self.read(|reader| reader.payouts(PAYOUTS_SHOWN)).await
    }

    /// Takes a view.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn view(&self) -> Result<View, ViewError> {
        let (totals, accounts, blocks, meters) = self
            .read(|reader| {
                let totals = reader.totals()?;
                let meters = MetersNow::of(reader.meters()?, totals.energy, totals.covered_work);
                Ok((totals, reader.accounts(ACCOUNTS_SHOWN)?, reader.blocks(BLOCKS_SHOWN)?, meters))
            })
            .await?;
        Ok(View {
            now: self.clock.now(),
            config: self.config.clone(),
            totals,
            accounts,
            blocks,
            meters,
            rate: self.ledger.rates().await?.pool,
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
        let account = self
            .read(move |reader| {
                Ok(reader.account(&name)?.map(|account| AccountNow::of(account, factor)))
            })
            .await?;
        let Some(account) = account else { return Ok(None) };
        Ok(Some(account.with_rates(&self.ledger.rates().await?.workers)))
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

    /// Seconds since the template arrived.
    #[must_use]
    pub fn template_age(&self) -> Option<f64> {
        let seen = self.template.as_ref()?;
        Some(self.now.mono.saturating_sub(seen.at.mono).as_secs_f64())
    }
}
