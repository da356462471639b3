//! Meters in sums: joules beside the proven work that they cover, with where they come from.
//!
//! Read [`EnergyNow`]. There are as many meters as miners report, so [`MetersNow`] sums all of
//! them and keeps few. It deliberately does not add joules to joules of another pair: the ledger
//! has summed what counts.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use defences::{Defence, stands};
use energy::{carbon::Factor, efficiency};
use ledger::MeterView;
use units::{CarbonMass, JoulesPerTerahash, MicroJoules, UnixMillis, Work};

/// Meters that one answer lists.
pub const METERS_SHOWN: usize = 500;

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

/// All meters of the pool.
#[derive(Debug)]
pub struct MetersNow {
    /// Those with the most counted joules, at most [`METERS_SHOWN`], most first.
    pub shown: Vec<MeterView>,
    /// How many there are.
    pub total: usize,
    /// All of them in one, or `None` while nothing was reported.
    pub energy: Option<EnergyNow>,
    /// Those that count or did, by kind, scope and tier, in this order.
    pub sums: BTreeMap<(String, String, u8), MeterSum>,
}

/// Several meters as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterSum {
    /// Joules that count.
    pub joules: MicroJoules,
    /// Time that they did not see.
    pub gap: Duration,
    /// The newest reading of any.
    pub last_at: UnixMillis,
}

impl EnergyNow {
    /// Sums up `meters`, whose joules and covered work the ledger has summed already.
    #[must_use]
    pub fn of<'a>(
        meters: impl IntoIterator<Item = &'a MeterView>,
        joules: MicroJoules,
        covered_work: Work,
    ) -> Option<Self> {
        let counted = Vec::from_iter(meters.into_iter().filter(|meter| counts(meter)));
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

    /// How many times the best known device's joules per terahash are claimed: below 1 no device
    /// can do it. `None` while no work is covered.
    #[must_use]
    pub fn plausibility(&self) -> Option<f64> {
        self.per_terahash().map(efficiency::ratio_to_floor)
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

impl MetersNow {
    /// Sums up all `meters` of a pool, whose joules and covered work the ledger has summed already.
    #[must_use]
    pub fn of(mut meters: Vec<MeterView>, joules: MicroJoules, covered_work: Work) -> Self {
        let energy = EnergyNow::of(&meters, joules, covered_work);
        let mut sums: BTreeMap<(String, String, u8), MeterSum> = BTreeMap::new();
        for meter in meters.iter().filter(|meter| counts(meter)) {
            let sum =
                sums.entry((meter.kind.clone(), meter.scope.clone(), meter.tier)).or_default();
            sum.joules = sum.joules.saturating_add(meter.energy);
            sum.gap = sum.gap.saturating_add(meter.gap);
            sum.last_at = sum.last_at.max(meter.last_at);
        }
        let total = meters.len();
        // Stable, so meters with equal joules stay in the ledger's order.
        meters.sort_by_key(|meter| Reverse(meter.energy));
        if stands(Defence::MetersListed) {
            meters.truncate(METERS_SHOWN);
        }
        meters.shrink_to_fit();
        Self { shown: meters, total, energy, sums }
    }
}

/// Whether a meter counts in sums, or did before a wider one covered it.
fn counts(meter: &MeterView) -> bool {
    meter.counted || meter.energy > MicroJoules::ZERO
}

#[cfg(test)]
pub(super) mod tests {
    use ledger::WorkerId;

    use super::*;

    /// A plug of `worker` that has counted so many joules.
    pub(in crate::http) fn plug(worker: u32, joules: u128) -> MeterView {
        let energy = MicroJoules::new(joules * 1_000_000);
        MeterView {
            worker: WorkerId::new(worker),
            meter: "plug:1".to_owned(),
            kind: "plug".to_owned(),
            scope: "rig".to_owned(),
            tier: 2,
            epoch: 1,
            total: energy,
            hashes_total: None,
            credited: energy,
            energy,
            counted: true,
            gap: Duration::from_secs(1),
            coverage_ppm: 990_000,
            uncertainty_ppm: 10_000,
            first_at: UnixMillis::new(1),
            last_at: UnixMillis::new(u64::from(worker)),
        }
    }

    #[test]
    fn few_meters_are_shown_and_all_are_summed() {
        let meters = Vec::from_iter((1..=600).map(|worker| plug(worker, worker.into())));
        let joules = MicroJoules::new(180_300_000_000);
        let now = MetersNow::of(meters, joules, Work::new(1));
        assert_eq!((now.shown.len(), now.total), (METERS_SHOWN, 600));
        assert_eq!(now.shown[0].worker, WorkerId::new(600));
        assert_eq!(now.shown[METERS_SHOWN - 1].worker, WorkerId::new(101));
        let sum = MeterSum { joules, gap: Duration::from_secs(600), last_at: UnixMillis::new(600) };
        assert_eq!(now.sums, BTreeMap::from([(("plug".to_owned(), "rig".to_owned(), 2), sum)]));
    }

    #[test]
    fn a_claim_is_held_against_the_best_device() {
        let claim = |joules: u128, work: u128| {
            let meter = plug(1, joules);
            EnergyNow::of([&meter], meter.energy, Work::new(work))?.plausibility()
        };
        let ratio = claim(22, 1_000_000_000_000).unwrap();
        assert!((ratio - 2.0).abs() < 1e-9, "{ratio}");
        assert!(claim(10, 1_000_000_000_000).unwrap() < 1.0);
        assert_eq!(claim(22, 0), None);
        assert!(EnergyNow::of([], MicroJoules::ZERO, Work::new(1)).is_none());
    }
}
