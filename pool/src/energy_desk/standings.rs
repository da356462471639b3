//! How workers that report stand: their joules beside the work of the same time, of late, and what
//! is to be thought of it.
//!
//! Read [`Keeper::note`]: every report that was taken adds what the ledger credited for it, and the
//! worker is judged anew. Shares are counted between reports, for how far their work may be off.
//!
//! All of it is memory, about 7 KB a worker at the most and for [`MAX_WORKERS`] of them: after a
//! restart, windows begin with each worker's first report. The ledger has what was credited.
//! Deliberately not here: sums over workers, which are made when somebody asks (`http/standing.rs`).
//!
//! Units: times are Unix milliseconds by the pool's clock.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use defences::{Defence, stands};
use energy::{
    book::{HashStep, Step, Taken, Taking},
    efficiency::Device,
    meter::PPM,
    plausibility::{self, Facts, Flag, Kind},
    profile::{Figure, Profiles},
    windows::{Proven, Span, Stretch, Windows},
};
use ledger::{MeteredWorker, WorkerId};
use units::{MicroJoules, UnixMillis, Work};

use super::MAX_WORKERS;

/// A worker that has not reported for so long is let go of.
const FORGOTTEN_AFTER: Duration = Span::Day.length();
/// Between looks for such workers.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Lines about flags in a minute; the others are counted.
const LINES_A_MINUTE: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Every worker's standing; a copy costs nothing.
pub type Standings = Arc<HashMap<WorkerId, Arc<Standing>>>;

/// How one worker stands, as of its last report.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Payout address of its account.
    pub account: String,
    /// Its name within the account; may be empty.
    pub worker: String,
    /// When it last reported.
    pub at: UnixMillis,
    /// Its windows, in the order of [`Span::ALL`], each ending at its last report.
    pub windows: [Option<Stretch>; 3],
    /// What is to be thought of it.
    pub flags: Vec<Flag>,
}

/// What a report brought, as far as windows go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Since when the counted meters that go on have counted; `None` where none does.
    since: Option<UnixMillis>,
    /// Counted joules, each times its meter's uncertainty as a part of one; in microjoules.
    doubtful: f64,
    /// Whether a counted meter began, or began anew.
    epoch: bool,
    /// The miner's own count.
    hashes: HashStep,
}

/// Keeps the standings.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    profiles: Profiles,
    workers: HashMap<WorkerId, Tracked>,
    shown: Standings,
    swept_at: UnixMillis,
    voice: Voice,
}

/// What is known of a worker between its reports.
#[derive(Debug)]
struct Tracked {
    windows: Windows,
    device: Option<Device>,
    epoch_at: Option<UnixMillis>,
    /// Up to when joules were covered, and up to when hashes were claimed.
    covered_until: UnixMillis,
    claimed_until: UnixMillis,
    /// Shares since then, for each.
    uncovered: Proven,
    unclaimed: Proven,
}

/// How much may be said in the log.
#[derive(Debug, Default)]
struct Voice {
    since: UnixMillis,
    said: u32,
    withheld: u64,
}

impl Heard {
    /// Of a report that was weighed.
    pub(super) fn of(taking: &Taking) -> Self {
        let counted = || taking.meters.iter().filter(|taken| taken.counted);
        Self {
            since: counted().filter_map(|taken| taken.since).min(),
            doubtful: counted().map(doubtful).sum(),
            epoch: counted().any(|taken| matches!(taken.step, Step::First | Step::NewEpoch)),
            hashes: taking.hashes,
        }
    }
}

fn doubtful(taken: &Taken) -> f64 {
    let part = f64::from(taken.meter.uncertainty_ppm) / f64::from(PPM);
    taken.credited.joules_f64() * 1e6 * part
}

impl Keeper {
    pub(super) fn new(profiles: Profiles) -> Self {
        Self { profiles, ..Self::default() }
    }

    /// Counts a share of a worker that reports; others cost a look.
    pub(super) fn count(&mut self, worker: WorkerId, work: Work) {
        if let Some(tracked) = self.workers.get_mut(&worker) {
            tracked.uncovered.add(work);
            tracked.unclaimed.add(work);
        }
    }

    /// Takes in a report that was written down `at`: what the ledger had of the worker before it,
    /// and has now.
    pub(super) fn note(
        &mut self,
        worker: WorkerId,
        heard: &Heard,
        (before, after): (&MeteredWorker, &MeteredWorker),
        at: UnixMillis,
    ) {
        self.sweep(at);
        let room = self.workers.len() < MAX_WORKERS || !stands(Defence::ReportersBound);
        let tracked = match self.workers.entry(worker) {
            Entry::Occupied(known) => {
                let tracked = known.into_mut();
                tracked.add(heard, credited(before, after), at);
                tracked
            }
            Entry::Vacant(new) if room => {
                let figure = self.profiles.of(&after.account, &after.name);
                let tracked = new.insert(Tracked::new(figure, at));
                tracked.epoch_at = heard.epoch.then_some(at);
                tracked
            }
            Entry::Vacant(_) => return,
        };
        let standing = tracked.standing(after, at);
        let shown = Arc::make_mut(&mut self.shown);
        let earlier = shown.insert(worker, Arc::new(standing));
        if let Some(now) = shown.get(&worker) {
            self.voice.tell(earlier.as_deref(), now, at);
        }
    }

    /// All of them, without those that have been silent for long.
    pub(super) fn standings(&mut self, now: UnixMillis) -> Standings {
        self.sweep(now);
        Arc::clone(&self.shown)
    }

    fn sweep(&mut self, now: UnixMillis) {
        if now >= self.swept_at && now.saturating_since(self.swept_at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = now;
        let silent = |standing: &Standing| now.saturating_since(standing.at) > FORGOTTEN_AFTER;
        if self.shown.values().any(|standing| silent(standing)) {
            let shown = Arc::make_mut(&mut self.shown);
            shown.retain(|_, standing| !silent(standing));
            self.workers.retain(|worker, _| shown.contains_key(worker));
        }
    }
}

/// What the ledger counted for a report: joules, and the work that they cover.
fn credited(before: &MeteredWorker, after: &MeteredWorker) -> (MicroJoules, Work) {
    let joules = after.energy.checked_sub(before.energy).unwrap_or(MicroJoules::ZERO);
    let work = after.covered_work.checked_sub(before.covered_work).unwrap_or(Work::ZERO);
    (joules, work)
}

impl Tracked {
    fn new(figure: Option<&Figure>, at: UnixMillis) -> Self {
        Self {
            windows: Windows::default(),
            device: figure.and_then(Figure::device).cloned(),
            epoch_at: None,
            covered_until: at,
            claimed_until: at,
            uncovered: Proven::default(),
            unclaimed: Proven::default(),
        }
    }

    fn add(&mut self, heard: &Heard, (joules, work): (MicroJoules, Work), at: UnixMillis) {
        if heard.epoch {
            self.epoch_at = Some(at);
        }
        let mut stretch = Stretch::default();
        let mut since = at;
        if let Some(begun) = heard.since {
            let from = begun.max(self.covered_until);
            since = since.min(from);
            stretch.covered = at.saturating_since(from);
            stretch.joules = joules;
            stretch.doubtful = heard.doubtful;
            stretch.proven = core::mem::take(&mut self.uncovered).scaled_to(work);
            self.covered_until = at;
        } else if heard.epoch {
            self.uncovered = Proven::default();
            self.covered_until = at;
        }
        match heard.hashes {
            HashStep::Advanced(hashes) => {
                since = since.min(self.claimed_until);
                stretch.claimed = hashes;
                stretch.beside_claimed = core::mem::take(&mut self.unclaimed);
                self.claimed_until = at;
            }
            HashStep::Baseline => {
                self.unclaimed = Proven::default();
                self.claimed_until = at;
            }
            HashStep::Nothing => {}
        }
        if heard.since.is_some() || matches!(heard.hashes, HashStep::Advanced(_)) {
            self.windows.add(since, at, stretch);
        }
    }

    fn standing(&self, names: &MeteredWorker, at: UnixMillis) -> Standing {
        let (windows, device) = (&self.windows, self.device.as_ref());
        Standing {
            account: names.account.clone(),
            worker: names.name.clone(),
            at,
            windows: Span::ALL.map(|span| windows.over(span)),
            flags: plausibility::judge(Facts { windows, epoch_at: self.epoch_at, device }),
        }
    }
}

impl Voice {
    /// Says what flags are new and which are gone. That a worker starts up is no news.
    fn tell(&mut self, before: Option<&Standing>, now: &Standing, at: UnixMillis) {
        let had = before.map_or(&[][..], |before| &before.flags);
        let who = format!("{}.{}", now.account, now.worker);
        let who = who.trim_end_matches('.');
        for Flag { kind, reason } in added(&now.flags, had) {
            if self.may_speak(at) {
                tracing::warn!("energy of {who} is flagged as {}: {reason}", kind.as_str());
            }
        }
        for Flag { kind, reason: _ } in added(had, &now.flags) {
            if self.may_speak(at) {
                tracing::info!("energy of {who} is no longer flagged as {}", kind.as_str());
            }
        }
    }

    fn may_speak(&mut self, at: UnixMillis) -> bool {
        if at < self.since || at.saturating_since(self.since) >= MINUTE {
            if self.withheld > 0 {
                tracing::warn!("{} more changes of energy flags were not listed", self.withheld);
            }
            *self = Self { since: at, said: 0, withheld: 0 };
        }
        let may = self.said < LINES_A_MINUTE;
        if may {
            self.said = self.said.saturating_add(1);
        } else {
            self.withheld = self.withheld.saturating_add(1);
        }
        may
    }
}

/// Those of `flags` whose kind is not among `others`; a start-up is left out.
fn added<'a>(flags: &'a [Flag], others: &'a [Flag]) -> impl Iterator<Item = &'a Flag> {
    let known = |kind: Kind| others.iter().any(|other| other.kind == kind);
    flags.iter().filter(move |flag| flag.kind != Kind::StartUp && !known(flag.kind))
}

#[cfg(test)]
mod tests {
    use units::Hashes;

    use super::*;

    const NOTHING: Heard =
        Heard { since: None, doubtful: 0.0, epoch: false, hashes: HashStep::Nothing };
    const ANEW: Heard = Heard { epoch: true, hashes: HashStep::Baseline, ..NOTHING };

    fn at(minute: u64) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000 + minute * 60_000)
    }

    fn sums(joules: u128, work: u128) -> MeteredWorker {
        MeteredWorker {
            account: "a".to_owned(),
            name: "rig".to_owned(),
            energy: MicroJoules::new(joules * 1_000_000),
            covered_work: Work::new(work),
        }
    }

    const SHARE: u128 = 100_000_000_000_000;

    /// Ten shares and so many joules a minute, from one minute to another.
    fn run(keeper: &mut Keeper, minutes: core::ops::Range<u64>, joules: u128) {
        let rig = WorkerId::new(1);
        for minute in minutes {
            (0..10).for_each(|_| keeper.count(rig, Work::new(SHARE)));
            let heard = Heard {
                since: Some(at(minute)),
                hashes: HashStep::Advanced(Hashes::new(SHARE * 10)),
                ..NOTHING
            };
            let ends = (&sums(0, 0), &sums(joules, SHARE * 10));
            keeper.note(rig, &heard, ends, at(minute + 1));
        }
    }

    fn of_rig(keeper: &mut Keeper, minute: u64) -> Arc<Standing> {
        Arc::clone(&keeper.standings(at(minute))[&WorkerId::new(1)])
    }

    fn kinds(standing: &Standing) -> Vec<Kind> {
        standing.flags.iter().map(|flag| flag.kind).collect()
    }

    #[test]
    fn joules_and_work_of_the_same_reports_make_a_window() {
        let mut keeper = Keeper::default();
        let rig = WorkerId::new(1);
        // Before the first report nothing is counted, and that report is where windows begin.
        keeper.count(rig, Work::new(SHARE));
        keeper.note(rig, &ANEW, (&sums(0, 0), &sums(0, 0)), at(0));
        let standing = of_rig(&mut keeper, 0);
        assert_eq!((standing.windows, kinds(&standing)), ([None; 3], vec![Kind::StartUp]));
        run(&mut keeper, 0..30, 30_000);
        let standing = of_rig(&mut keeper, 30);
        assert_eq!(kinds(&standing), []);
        let [ten, hour, day] = standing.windows.map(Option::unwrap);
        assert_eq!(ten.covered, Duration::from_secs(600));
        assert_eq!((ten.joules.joules(), ten.proven.shares), ("300000.000000".to_owned(), 100));
        assert_eq!(ten.per_terahash().unwrap().to_string(), "30.000000");
        assert_eq!(ten.claimed_over_proven(energy::interval::Level::Shown).unwrap().0, 1.0);
        assert_eq!((hour, hour.covered), (day, Duration::from_secs(1800)));
    }

    /// Shares of a time that no meter saw are not held against the joules of another.
    #[test]
    fn a_gap_is_in_no_window() {
        let mut keeper = Keeper::default();
        let rig = WorkerId::new(1);
        run(&mut keeper, 0..20, 30_000);
        (0..500).for_each(|_| keeper.count(rig, Work::new(SHARE)));
        keeper.note(rig, &ANEW, (&sums(0, 0), &sums(0, 0)), at(25));
        assert_eq!(kinds(&of_rig(&mut keeper, 25)), [Kind::StartUp]);
        run(&mut keeper, 25..36, 30_000);
        let standing = of_rig(&mut keeper, 36);
        assert_eq!(kinds(&standing), []);
        let hour = standing.windows[1].unwrap();
        assert_eq!((hour.covered.as_secs() / 60, hour.proven.shares), (30, 300));
        assert_eq!(hour.per_terahash().unwrap().to_string(), "30.000000");
    }

    /// A report that was held up, or came twice, changes nothing of what is held against claims.
    #[test]
    fn a_late_report_loses_no_shares() {
        let mut keeper = Keeper::default();
        let rig = WorkerId::new(1);
        run(&mut keeper, 0..30, 30_000);
        for minute in 30..60 {
            (0..5).for_each(|_| keeper.count(rig, Work::new(SHARE)));
            keeper.note(rig, &NOTHING, (&sums(0, 0), &sums(0, 0)), at(minute));
            (0..5).for_each(|_| keeper.count(rig, Work::new(SHARE)));
            let hashes = HashStep::Advanced(Hashes::new(SHARE * 10));
            let heard = Heard { since: Some(at(minute)), hashes, ..NOTHING };
            keeper.note(rig, &heard, (&sums(0, 0), &sums(30_000, SHARE * 10)), at(minute + 1));
        }
        let standing = of_rig(&mut keeper, 60);
        assert_eq!(kinds(&standing), []);
        let hour = standing.windows[1].unwrap();
        assert_eq!((hour.proven.shares, hour.beside_claimed), (590, hour.proven));
    }

    #[test]
    fn a_named_model_is_held_against_the_report_and_a_flag_goes_when_its_cause_does() {
        let profile = energy::profile::Profile {
            worker: "a.r*".to_owned(),
            figure: Figure::Model(energy::efficiency::device("Antminer S19 Pro").unwrap()),
        };
        let mut keeper = Keeper::new(Profiles(vec![profile]));
        run(&mut keeper, 0..30, 10_000);
        let flagged = of_rig(&mut keeper, 30);
        assert_eq!(kinds(&flagged), [Kind::Inconsistent]);
        assert!(flagged.flags[0].reason.contains("Antminer S19 Pro takes 29.50"));
        run(&mut keeper, 30..3000, 30_000);
        assert_eq!(kinds(&of_rig(&mut keeper, 3000)), []);
    }

    #[test]
    fn who_is_silent_for_a_day_is_forgotten_and_not_too_many_are_known() {
        let mut keeper = Keeper::default();
        for worker in 0..=u32::try_from(MAX_WORKERS).unwrap() {
            let ends = (&sums(0, 0), &sums(0, 0));
            keeper.note(WorkerId::new(worker), &NOTHING, ends, at(0));
        }
        assert_eq!(keeper.standings(at(1)).len(), MAX_WORKERS);
        assert!(keeper.standings(at(24 * 60 + 11)).is_empty() && keeper.workers.is_empty());
    }

    #[test]
    fn the_log_hears_of_a_flag_once_and_not_of_thousands() {
        let flag = |kind| Flag { kind, reason: String::new() };
        let had = [flag(Kind::StartUp), flag(Kind::Drift)];
        let now = [flag(Kind::Drift), flag(Kind::Impossible), flag(Kind::StartUp)];
        let new = Vec::from_iter(added(&now, &had).map(|flag| flag.kind));
        assert_eq!(new, [Kind::Impossible]);
        assert_eq!(added(&had, &now).count(), 0);
        let mut voice = Voice::default();
        let said = (0..1000).filter(|_| voice.may_speak(at(0))).count();
        assert_eq!((said, voice.withheld), (20, 980));
        assert!(voice.may_speak(at(1)) && voice.withheld == 0);
    }
}
