//! What work that no reading covers would use: estimates by the operator's profiles, by model.
//!
//! Read [`Estimates::of`]. They are beside the joules that were reported, in fields and metrics of
//! their own, and in no sum of those; no work that reported joules cover is in them, so the two can
//! be read side by side.

use std::collections::BTreeMap;

use energy::{
    meter::PPM,
    profile::{self, Figure, Profiles},
};
use ledger::{LedgerError, Reader};
use serde::Serialize;
use units::{MicroJoules, Work};

/// Estimates by the name of the model; as many as there are profiles at the most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimates(BTreeMap<(String, u64), Estimate>);

/// Workers that one figure is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// How many.
    pub workers: u64,
    /// What they proved that no reading covers.
    pub work: Work,
    /// What that would take, the sum of each worker's, rounded down.
    pub joules: MicroJoules,
    /// The figure.
    pub joules_per_terahash: f64,
}

/// An estimate in the API.
#[derive(Debug, Serialize)]
pub(super) struct ShownEstimate {
    model: String,
    joules_estimated: String,
    work_hashes: String,
    joules_per_terahash: f64,
    workers: u64,
    kind: &'static str,
    tier: u8,
    uncertainty: f64,
}

impl Estimates {
    /// Of all work of the pool that no reading covers. O(workers), where there are profiles.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn of(reader: &Reader, profiles: &Profiles) -> Result<Self, LedgerError> {
        let mut estimates = Self::default();
        if !profiles.is_empty() {
            reader.each_uncovered(|account, worker, work| {
                estimates.add(profiles.of(account, worker), work);
            })?;
        }
        Ok(estimates)
    }

    /// Adds a worker's work that no reading covers, where there is some and a profile names it.
    pub fn add(&mut self, figure: Option<&Figure>, work: Work) {
        let Some(figure) = figure.filter(|_| work != Work::ZERO) else { return };
        let joules_per_terahash = figure.joules_per_terahash();
        let key = (figure.name().to_owned(), joules_per_terahash.to_bits());
        let sum = self.0.entry(key).or_default();
        sum.workers = sum.workers.saturating_add(1);
        sum.work = sum.work.saturating_add(work);
        sum.joules = sum.joules.saturating_add(figure.energy_of(work));
        sum.joules_per_terahash = joules_per_terahash;
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each by its model.
    pub fn models(&self) -> impl Iterator<Item = (&str, &Estimate)> {
        self.0.iter().map(|((model, _), estimate)| (model.as_str(), estimate))
    }

    pub(super) fn shown(&self) -> Vec<ShownEstimate> {
        let shown = |(model, estimate): (&str, &Estimate)| ShownEstimate {
            model: model.to_owned(),
            joules_estimated: estimate.joules.joules(),
            work_hashes: estimate.work.get().to_string(),
            joules_per_terahash: estimate.joules_per_terahash,
            workers: estimate.workers,
            kind: profile::KIND.as_str(),
            tier: profile::TIER.get(),
            uncertainty: f64::from(profile::UNCERTAINTY_PPM) / f64::from(PPM),
        };
        self.models().map(shown).collect()
    }
}
