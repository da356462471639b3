//! One account as it is shown: sums over all of its workers, and the workers with the most work.
//!
//! Read [`AccountNow::of`]. Anybody may name as many workers as the pool registers, so an answer
//! lists [`WORKERS_SHOWN`] of them and says how many there are; no sum is cut.

use std::collections::HashMap;

use defences::{Defence, stands};
use energy::carbon::Factor;
use ledger::{AccountView, WorkerId, WorkerView};
use units::{MicroJoules, Sats, Work};

use super::meters::{EnergyNow, METERS_SHOWN};
use crate::{luck::Luck, rates::Hashrate};

/// Workers that one answer lists.
pub const WORKERS_SHOWN: usize = 500;

/// An account with its workers.
#[derive(Debug)]
pub struct AccountNow {
    /// Payout address.
    pub name: String,
    /// Work of its shares.
    pub work: Work,
    /// Number of its shares.
    pub shares: u64,
    /// Credits of blocks that are not deep enough yet.
    pub immature: Sats,
    /// Credits of mature blocks that are not paid out.
    pub balance: Sats,
    /// Paid out.
    pub paid: Sats,
    /// Energy of all its workers, or `None` while none has reported.
    pub energy: Option<EnergyNow>,
    /// Those with the most work, at most [`WORKERS_SHOWN`], most first.
    pub workers: Vec<WorkerNow>,
    /// How many it has.
    pub workers_total: usize,
    /// The factor that turns its joules into grams.
    pub factor: Factor,
    /// Blocks expected of its shares, and found.
    pub luck: Luck,
    /// Why it is suspected of keeping blocks back, if it is.
    pub suspected: Option<String>,
}

/// A worker with its rate.
#[derive(Debug)]
pub struct WorkerNow {
    /// The ledger's figures. Of the meters, so many that the account's answer lists at most
    /// [`METERS_SHOWN`].
    pub worker: WorkerView,
    /// How many meters it has.
    pub meters_total: usize,
    /// Energy of all its meters, or `None` while none has reported.
    pub energy: Option<EnergyNow>,
    /// Its hash rate; zero when it has been silent for long.
    pub rate: Hashrate,
}

impl AccountNow {
    /// Sums up an account of the ledger and keeps what is shown of it; rates are not known yet.
    #[must_use]
    pub fn of(account: AccountView, factor: Factor) -> Self {
        let energy = energy_of(&account);
        let mut workers = account.workers;
        let workers_total = workers.len();
        workers.sort_by(|a, b| b.work.cmp(&a.work).then_with(|| a.name.cmp(&b.name)));
        if stands(Defence::WorkersListed) {
            workers.truncate(WORKERS_SHOWN);
        }
        let mut room = METERS_SHOWN;
        let workers = workers.into_iter().map(|worker| WorkerNow::of(worker, &mut room)).collect();
        Self {
            name: account.name,
            work: account.work,
            shares: account.shares,
            immature: account.immature,
            balance: account.balance,
            paid: account.paid,
            energy,
            workers,
            workers_total,
            factor,
            luck: Luck::default(),
            suspected: None,
        }
    }

    /// The same account with its luck and what to think of it.
    #[must_use]
    pub fn with_luck(self, luck: Luck, suspected: Option<String>) -> Self {
        Self { luck, suspected, ..self }
    }

    /// The same account with its workers' rates.
    #[must_use]
    pub fn with_rates(mut self, rates: &HashMap<WorkerId, Hashrate>) -> Self {
        for now in &mut self.workers {
            now.rate = rates.get(&now.worker.id).copied().unwrap_or_default();
        }
        self
    }
}

/// An account's energy over all of its workers, or `None` while none has reported.
#[must_use]
pub fn energy_of(account: &AccountView) -> Option<EnergyNow> {
    let (joules, covered) = account.workers.iter().fold(
        (MicroJoules::ZERO, Work::ZERO),
        |(joules, covered), worker| {
            (joules.saturating_add(worker.energy), covered.saturating_add(worker.covered_work))
        },
    );
    EnergyNow::of(account.workers.iter().flat_map(|worker| &worker.meters), joules, covered)
}

impl WorkerNow {
    /// Takes as many of the worker's meters as there is `room` for, and the room with them.
    fn of(mut worker: WorkerView, room: &mut usize) -> Self {
        let energy = EnergyNow::of(&worker.meters, worker.energy, worker.covered_work);
        let meters_total = worker.meters.len();
        worker.meters.truncate(*room);
        *room -= worker.meters.len();
        Self { worker, meters_total, energy, rate: Hashrate::default() }
    }
}

#[cfg(test)]
mod tests {
    use energy::carbon::FactorPack;

    use super::*;
    use crate::http::{api, meters::tests::plug};

    fn worker(id: u32, meters: usize) -> WorkerView {
        let meters = vec![plug(id, 2); meters];
        let joules = meters.iter().map(|meter| meter.energy.get()).sum();
        WorkerView {
            id: WorkerId::new(id),
            name: format!("rig{id:04}"),
            work: Work::new(u128::from(id / 2)),
            shares: 1,
            last_share_at: None,
            energy: MicroJoules::new(joules),
            covered_work: Work::new(1_000_000_000_000),
            meters,
        }
    }

    fn account(workers: Vec<WorkerView>) -> AccountNow {
        let (work, shares) = (Work::new(7), 5);
        let (immature, balance, sending, paid) = (Sats::ZERO, Sats::ZERO, Sats::ZERO, Sats::ZERO);
        let name = "a".to_owned();
        let view = AccountView { name, work, shares, immature, balance, sending, paid, workers };
        let pack = FactorPack::embedded();
        AccountNow::of(view, pack.find("ember", "CHN", 2024).unwrap())
    }

    #[test]
    fn many_workers_are_cut_to_those_with_the_most_work_and_no_sum_is() {
        let now = account((1..=700).map(|id| worker(id, 2)).collect());
        let names = Vec::from_iter(now.workers.iter().map(|now| now.worker.name.as_str()));
        assert_eq!((names.len(), now.workers_total), (WORKERS_SHOWN, 700));
        assert_eq!(names[..3], ["rig0700", "rig0698", "rig0699"], "equal work goes by name");
        let meters: usize = now.workers.iter().map(|now| now.worker.meters.len()).sum();
        assert_eq!(meters, METERS_SHOWN);
        let last = now.workers.last().unwrap();
        assert_eq!((last.worker.meters.len(), last.meters_total), (0, 2));
        assert!(last.energy.is_some(), "its energy is known all the same");
        assert_eq!(now.energy.unwrap().joules.joules(), "2800.000000");
    }

    #[test]
    fn the_answer_says_how_many_there_are_and_how_plausible_their_claim_is() {
        let rates = HashMap::from([(WorkerId::new(3), Hashrate { minute: 4.0, ..<_>::default() })]);
        let mut now = account(vec![worker(2, 11), worker(3, 11)]).with_rates(&rates);
        now.workers_total = 501;
        let answer = serde_json::to_value(api::account(&now)).unwrap();
        assert_eq!(answer["workers_total"], 501);
        assert_eq!(answer["workers"][1]["hashrate_hashes_per_second"]["60s"], 4.0);
        assert_eq!(answer["workers"][1]["meters_total"], 11);
        assert_eq!(answer["energy"]["joules_per_terahash"], "22.000000");
        assert_eq!(answer["energy"]["plausibility_ratio"], 2.0);

        let silent = serde_json::to_value(api::account(&account(vec![worker(2, 0)]))).unwrap();
        assert!(silent["energy"]["joules"].is_null());
        assert!(silent["energy"]["plausibility_ratio"].is_null());
    }
}
