//! One account as it is shown: sums over all of its workers, and the workers with the most work.
//!
//! Read [`AccountNow::of`]. Anybody may name as many workers as the pool registers, so an answer
//! lists [`WORKERS_SHOWN`] of them and says how many there are; no sum is cut.

use std::sync::Arc;

use defences::{Defence, stands};
use energy::{carbon::Factor, profile::Profiles};
use ledger::{AccountView, WorkerId, WorkerView};
use units::{MicroJoules, Sats, UnixMillis, Work};

use super::{
    estimates::Estimates,
    meters::{EnergyNow, METERS_SHOWN},
    standing::{FlagsNow, WindowsNow},
};
use crate::{energy_desk::Standing, ledger_task::RatesNow, luck::Luck, rates::Hashrate};

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
    /// What its work that no reading covers would use, by the operator's profiles.
    pub estimates: Estimates,
    /// Joules beside work of late, of all its workers that report.
    pub windows: WindowsNow,
    /// What is to be thought of them.
    pub flags: FlagsNow,
    /// The ids of all its workers that report.
    metered: Vec<WorkerId>,
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
    /// What its work that no reading covers would use, where a profile names it.
    pub estimates: Estimates,
    /// How it stands, where it reports.
    pub standing: Option<Arc<Standing>>,
    /// Its joules beside its work of late.
    pub windows: WindowsNow,
}

impl AccountNow {
    /// Sums up an account of the ledger and keeps what is shown of it; rates are not known yet.
    #[must_use]
    pub fn of(account: AccountView, factor: Factor, profiles: &Profiles) -> Self {
        let energy = energy_of(&account);
        let mut workers = account.workers;
        let mut estimates = Estimates::default();
        for worker in &workers {
            estimates.add(profiles.of(&account.name, &worker.name), uncovered(worker));
        }
        let metered = workers.iter().filter(|worker| !worker.meters.is_empty());
        let metered = metered.map(|worker| worker.id).collect();
        let workers_total = workers.len();
        workers.sort_by(|a, b| b.work.cmp(&a.work).then_with(|| a.name.cmp(&b.name)));
        if stands(Defence::WorkersListed) {
            workers.truncate(WORKERS_SHOWN);
        }
        let mut room = METERS_SHOWN;
        let now = |worker: WorkerView| {
            let figure = profiles.of(&account.name, &worker.name);
            let mut estimates = Estimates::default();
            estimates.add(figure, uncovered(&worker));
            WorkerNow { estimates, ..WorkerNow::of(worker, &mut room) }
        };
        let workers = workers.into_iter().map(now).collect();
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
            estimates,
            windows: WindowsNow::default(),
            flags: FlagsNow::default(),
            metered,
        }
    }

    /// The same account with its luck and what to think of it.
    #[must_use]
    pub fn with_luck(self, luck: Luck, suspected: Option<String>) -> Self {
        Self { luck, suspected, ..self }
    }

    /// The same account with its workers' rates, and how those stand that report, as of `at`.
    #[must_use]
    pub fn with_rates(mut self, rates: &RatesNow, at: UnixMillis) -> Self {
        for now in &mut self.workers {
            now.rate = rates.workers.get(&now.worker.id).copied().unwrap_or_default();
            now.standing = rates.standings.get(&now.worker.id).map(Arc::clone);
            now.windows = WindowsNow::of(now.standing.as_deref(), at);
        }
        let standings = || self.metered.iter().filter_map(|id| rates.standings.get(id));
        self.windows = WindowsNow::of(standings().map(|standing| &**standing), at);
        let whole = rates.flagged.get_key_value(&self.name);
        self.flags = FlagsNow::of(standings().map(|standing| &**standing)).with_accounts(whole);
        self
    }
}

fn uncovered(worker: &WorkerView) -> Work {
    worker.work.checked_sub(worker.covered_work).unwrap_or(Work::ZERO)
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
        Self {
            worker,
            meters_total,
            energy,
            rate: Hashrate::default(),
            estimates: Estimates::default(),
            standing: None,
            windows: WindowsNow::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use energy::{
        carbon::FactorPack,
        efficiency,
        plausibility::{Flag, Kind},
        profile::{Figure, Profile},
    };

    use super::*;
    use crate::http::{api, meters::tests::plug, standing::tests::standing};

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
        let factor = pack.find("ember", "CHN", 2024).unwrap();
        AccountNow::of(view, factor, &Profiles::default())
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
        let whole = Flag { kind: Kind::Impossible, reason: "2 workers together".to_owned() };
        let rate = Hashrate { minute: 4.0, ..<_>::default() };
        let rates = RatesNow {
            workers: HashMap::from([(WorkerId::new(3), rate)]),
            standings: Arc::new(HashMap::from([(
                WorkerId::new(2),
                Arc::new(standing("rig0002", 9)),
            )])),
            flagged: Arc::new(BTreeMap::from([("a".to_owned(), whole)])),
            ..RatesNow::default()
        };
        let at = UnixMillis::new(1_800_000_000_000);
        let mut now = account(vec![worker(2, 11), worker(3, 11)]).with_rates(&rates, at);
        now.workers_total = 501;
        let answer = serde_json::to_value(api::account(&now)).unwrap();
        assert_eq!(answer["workers_total"], 501);
        assert_eq!(answer["workers"][1]["hashrate_hashes_per_second"]["60s"], 4.0);
        assert_eq!(answer["workers"][1]["meters_total"], 11);
        assert_eq!(answer["energy"]["joules_per_terahash"], "22.000000");
        assert_eq!(answer["energy"]["plausibility_ratio"], 2.0);

        // Of late, and what is to be thought of it: of the account and of the worker that reported.
        for found in [&answer, &answer["workers"][0]] {
            assert_eq!(found["windows"][1]["joules_per_terahash"], "9.000000", "{found}");
            assert_eq!(found["flags"][0]["kind"], "impossible", "{found}");
        }
        assert_eq!(answer["flags"][0]["worker"], "rig0002");
        assert_eq!(
            (&answer["flags"][1]["account"], &answer["flags_total"]),
            (&"a".into(), &2.into())
        );
        assert!(answer["flags"][1]["worker"].is_null(), "it is of all of them");
        assert_eq!(answer["workers"][1]["flags"], serde_json::json!([]));

        let silent = serde_json::to_value(api::account(&account(vec![worker(2, 0)]))).unwrap();
        assert!(silent["energy"]["joules"].is_null());
        assert!(silent["energy"]["plausibility_ratio"].is_null());
    }
    /// Only what no reading covers is estimated, and never within a sum of what was reported.
    #[test]
    fn an_estimate_stands_beside_what_is_reported() {
        let device = efficiency::device("Antminer S19 Pro").unwrap();
        let profile = Profile { worker: "a".to_owned(), figure: Figure::Model(device) };
        let profiles = Profiles(vec![profile]);
        let covered_work = Work::ZERO;
        let quiet = WorkerView { work: Work::new(2_000_000_000_000), covered_work, ..worker(3, 0) };
        // A baseline of 0 J ends no estimate of years of work.
        let one_report = WorkerView { work: Work::new(4_000_000_000_000), ..worker(4, 1) };
        let view = AccountView {
            name: "a".to_owned(),
            work: Work::new(7),
            shares: 5,
            immature: Sats::ZERO,
            balance: Sats::ZERO,
            sending: Sats::ZERO,
            paid: Sats::ZERO,
            workers: vec![worker(2, 1), quiet, one_report],
        };
        let factor = FactorPack::embedded().find("ember", "CHN", 2024).unwrap();
        let answer = api::account(&AccountNow::of(view, factor, &profiles));
        let answer = serde_json::to_value(answer).unwrap();
        assert_eq!(answer["energy"]["joules"], "4.000000");
        let workers = &answer["workers"];
        for (found, joules) in
            [(&answer, "147.500000"), (&workers[0], "88.500000"), (&workers[1], "59.000000")]
        {
            let estimate = &found["estimates"][0];
            assert_eq!(estimate["joules_estimated"], joules, "{found}");
            assert_eq!((&estimate["tier"], &estimate["kind"]), (&5.into(), &"model".into()));
            assert_eq!(estimate["model"], "Antminer S19 Pro");
        }
        assert_eq!(
            (&workers[0]["name"], &workers[1]["name"]),
            (&"rig0004".into(), &"rig0003".into())
        );
        assert_eq!(workers[2]["estimates"], serde_json::json!([]));
    }
}
