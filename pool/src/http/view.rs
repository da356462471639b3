//! One consistent look at the pool: what page, metrics and API are all made of.
//!
//! Read [`ViewSource::view`]. Figures that are accounts (shares, work, satoshis, joules) come
//! from the ledger's tables on disk; only what is not an account (connections, rates, rejects,
//! the template's age) comes from memory. It deliberately caches nothing.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use energy::carbon::Factor;
use ledger::{
    AccountSummary, AccountView, BlockView, LedgerError, MeterView, Reader, Totals, WorkerId,
};
use tokio::sync::watch;
use units::{CarbonMass, JoulesPerTerahash, MicroJoules, Moment, Work};

use crate::{
    clock::Clock,
    config::Config,
    ledger_task::{LedgerHandle, LedgerUnavailable, RatesNow},
    metrics::{Metrics, Tallies},
    node::{NodeStatus, Seen},
};

/// Accounts that are shown by name; the rest are summed as `other`.
pub const ACCOUNTS_SHOWN: u32 = 20;
/// Blocks that are listed.
pub const BLOCKS_SHOWN: u32 = 200;

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
    /// Every meter that ever reported.
    pub meters: Vec<MeterView>,
    /// Hash rates.
    pub rates: RatesNow,
    /// Counts since the pool started.
    pub tallies: Tallies,
    /// The newest template.
    pub template: Option<Arc<Seen>>,
}

/// An account with its workers' rates.
#[derive(Debug)]
pub struct AccountNow {
    /// The ledger's figures.
    pub account: AccountView,
    /// Hash rates by worker.
    pub rates: HashMap<WorkerId, crate::rates::Hashrate>,
    /// The factor that turns its joules into grams.
    pub factor: Factor,
}

/// Joules with where they come from, beside the proven work that they cover.
#[derive(Debug, Clone, PartialEq)]
pub struct EnergyNow {
    /// Joules of counted meters.
    pub joules: MicroJoules,
    /// Work proven while those meters reported.
    pub covered_work: Work,
    /// Kinds of meter, in alphabetical order.
    pub sources: BTreeSet<String>,
    /// The best (lowest) tier among them.
    pub best_tier: u8,
    /// The worst (highest).
    pub worst_tier: u8,
    /// Relative uncertainty: the meters' own, weighted by their joules, taken as fully
    /// correlated, which errs on the large side.
    pub uncertainty: f64,
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

    /// Takes a view.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn view(&self) -> Result<View, ViewError> {
        let rates = self.ledger.rates().await?;
        let (totals, accounts, blocks, meters) = self
            .read(|reader| {
                Ok((
                    reader.totals()?,
                    reader.accounts(ACCOUNTS_SHOWN)?,
                    reader.blocks(BLOCKS_SHOWN)?,
                    reader.meters()?,
                ))
            })
            .await?;
        Ok(View {
            now: self.clock.now(),
            config: self.config.clone(),
            totals,
            accounts,
            blocks,
            meters,
            rates,
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
        let rates = self.ledger.rates().await?.workers;
        let account = self.read(move |reader| reader.account(&name)).await?;
        let factor = self.config.energy.factor.clone();
        Ok(account.map(|account| AccountNow { account, rates, factor }))
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
        if self.templates.borrow().is_none() {
            return Some(match &*self.status.borrow() {
                NodeStatus::Failing { reason, .. } => reason.clone(),
                NodeStatus::Starting | NodeStatus::Working => "no template yet".to_owned(),
            });
        }
        None
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let reader = Arc::clone(&self.reader);
        let path = self.path.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut slot = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
    pub fn energy(&self) -> Option<EnergyNow> {
        EnergyNow::of(&self.meters, self.totals.energy, self.totals.covered_work)
    }

    /// Seconds since the template arrived.
    #[must_use]
    pub fn template_age(&self) -> Option<f64> {
        let seen = self.template.as_ref()?;
        Some(self.now.mono.saturating_sub(seen.at.mono).as_secs_f64())
    }
}

impl EnergyNow {
    /// Sums up `meters`, whose joules and covered work the ledger has summed already.
    #[must_use]
    pub fn of(meters: &[MeterView], joules: MicroJoules, covered_work: Work) -> Option<Self> {
        let counted: Vec<&MeterView> = meters
            .iter()
            .filter(|meter| meter.counted || meter.energy > MicroJoules::ZERO)
            .collect();
        let weighted =
            |meter: &MeterView| meter.energy.joules_f64() * f64::from(meter.uncertainty_ppm);
        let total: f64 = counted.iter().map(|meter| meter.energy.joules_f64()).sum();
        let widest = counted.iter().map(|meter| meter.uncertainty_ppm).max()?;
        let parts_per_million = if total > 0.0 {
            counted.iter().map(|meter| weighted(meter)).sum::<f64>() / total
        } else {
            f64::from(widest)
        };
        Some(Self {
            joules,
            covered_work,
            sources: counted.iter().map(|meter| meter.kind.clone()).collect(),
            best_tier: counted.iter().map(|meter| meter.tier).min()?,
            worst_tier: counted.iter().map(|meter| meter.tier).max()?,
            uncertainty: parts_per_million / 1e6,
        })
    }

    /// Joules over proven terahashes, from the exact figures.
    #[must_use]
    pub const fn per_terahash(&self) -> Option<JoulesPerTerahash> {
        JoulesPerTerahash::of(self.joules, self.covered_work)
    }

    /// What these joules stand for by `factor`, location-based.
    #[must_use]
    pub fn mass(&self, factor: &Factor) -> CarbonMass {
        factor.intensity.mass_of(self.joules)
    }

    /// Grams over proven terahashes, with six decimals, from the exact figures.
    #[must_use]
    pub fn grams_per_terahash(&self, factor: &Factor) -> Option<String> {
        // A microgram over a hash is in the same proportion as a microjoule over a hash.
        let as_energy = MicroJoules::new(self.mass(factor).get());
        JoulesPerTerahash::of(as_energy, self.covered_work).map(|ratio| ratio.to_string())
    }
}
