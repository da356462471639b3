//! How workers that report stand: their joules beside the work of the same time, of late, and what
//! is to be thought of it.
//!
//! Read [`Keeper::note`]: every report that was taken adds what the ledger credited for it, and the
//! worker is judged anew. Shares are counted between reports, for how far their work may be off.
//! Where a worker's meters are heard of at different times, what they report waits until all have
//! gone on: see [`Tracked::add`]. Accounts are judged every ten minutes: see [`Keeper::sweep`].
//!
//! All of it is memory, about 8 KB a worker at the most, and 6 more where it has 64 meters, for
//! [`MAX_WORKERS`] of them: after a restart, windows begin with each worker's first report. The
//! ledger has what was credited.
//! Deliberately not here: sums over workers, which are made when somebody asks (`http/standing.rs`).
//!
//! Units: times are Unix milliseconds by the pool's clock.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use defences::{Defence, stands};
use energy::{
    book::{HashStep, Step, Taken, Taking},
    meter::{MeterId, PPM},
    plausibility::{self, Facts, Flag, Kind, Starts, Together},
    profile::{Figure, Profiles},
    windows::{Proven, Span, Stretch, Windows},
};
use ledger::{MeteredWorker, WorkerId};
use units::{MicroJoules, UnixMillis, Work};

use super::MAX_WORKERS;

/// A worker that has not reported for so long is shown no more.
const HIDDEN_AFTER: Duration = Span::Day.length();
/// And after so long it is let go of: its next report is as its first.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// Between looks for such workers, and at accounts.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// A meter that was heard of once is waited for so long.
const WAIT_FIRST: Duration = Duration::from_secs(2 * 3600);
/// Nothing waits for longer.
const WAIT_MOST: Duration = Span::Day.length();
/// Lines about flags in a minute; the others are counted.
const LINES_A_MINUTE: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Every worker's standing; a copy costs nothing.
pub type Standings = Arc<HashMap<WorkerId, Arc<Standing>>>;
/// Accounts whose workers' joules are impossible together, and why; a copy costs nothing.
pub type Accounts = Arc<BTreeMap<String, Flag>>;

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
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Since when the counted meters that go on have counted; `None` where none does.
    since: Option<UnixMillis>,
    /// Counted joules, each times its meter's uncertainty as a part of one; in microjoules.
    doubtful: f64,
    /// The same, with no more than is usual of each meter's kind.
    doubtful_usual: f64,
    /// Meters that it brings something new of.
    meters: Vec<Progress>,
    /// Whether a counted meter began, or began anew.
    epoch: bool,
    /// The miner's own count.
    hashes: HashStep,
}

/// How a meter went on.
#[derive(Clone, Debug)]
struct Progress {
    id: MeterId,
    counted: bool,
    /// Since when what it counts has counted; `None` where it began, or began anew.
    since: Option<UnixMillis>,
}

/// Keeps the standings.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    profiles: Profiles,
    workers: HashMap<WorkerId, Tracked>,
    shown: Standings,
    accounts: Accounts,
    swept_at: UnixMillis,
    voice: Voice,
}

/// What is known of a worker between its reports.
#[derive(Debug)]
struct Tracked {
    windows: Windows,
    figure: Option<Figure>,
    starts: Starts,
    /// Counted meters.
    meters: BTreeMap<MeterId, Member>,
    /// What waits for the others of them, and since when that has counted.
    pending: Option<(UnixMillis, Stretch)>,
    heard_at: UnixMillis,
    /// Up to when joules were covered, and up to when hashes were claimed.
    covered_until: UnixMillis,
    claimed_until: UnixMillis,
    /// Shares since then, for each.
    uncovered: Proven,
    unclaimed: Proven,
}

/// One of several meters whose joules make a worker's.
#[derive(Clone, Copy, Debug)]
struct Member {
    heard_at: UnixMillis,
    /// For how long it is waited for.
    wait: Duration,
    /// Whether it has gone on since something was last pending.
    advanced: bool,
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
            doubtful: counted().map(|taken| doubtful(taken, taken.meter.uncertainty_ppm)).sum(),
            doubtful_usual: counted()
                .map(|taken| {
                    let usual = taken.meter.kind.usual_uncertainty_ppm();
                    doubtful(taken, taken.meter.uncertainty_ppm.min(usual))
                })
                .sum(),
            meters: taking.meters.iter().filter_map(progress).collect(),
            epoch: counted().any(|taken| matches!(taken.step, Step::First | Step::NewEpoch)),
            hashes: taking.hashes,
        }
    }
}

fn doubtful(taken: &Taken, uncertainty_ppm: u32) -> f64 {
    taken.credited.joules_f64() * 1e6 * f64::from(uncertainty_ppm) / f64::from(PPM)
}

fn progress(taken: &Taken) -> Option<Progress> {
    let (id, counted, since) = (taken.meter.id.clone(), taken.counted, taken.since);
    (taken.step != Step::Late).then_some(Progress { id, counted, since })
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
                tracked.begin(heard, at);
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

    /// Accounts that are flagged as a whole.
    pub(super) fn accounts(&self) -> Accounts {
        Arc::clone(&self.accounts)
    }

    /// Lets go of who has been silent for long, and judges accounts. O(workers), every ten minutes.
    fn sweep(&mut self, now: UnixMillis) {
        if now >= self.swept_at && now.saturating_since(self.swept_at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = now;
        let silent = |standing: &Standing| now.saturating_since(standing.at) > HIDDEN_AFTER;
        if self.shown.values().any(|standing| silent(standing)) {
            Arc::make_mut(&mut self.shown).retain(|_, standing| !silent(standing));
        }
        // Whoever comes back within the week is known, while there is room.
        let kept = if self.workers.len() < MAX_WORKERS { FORGOTTEN_AFTER } else { HIDDEN_AFTER };
        self.workers.retain(|_, tracked| now.saturating_since(tracked.heard_at) <= kept);
        let judged = judged(self.shown.values().map(|standing| &**standing), now);
        self.voice.tell_of_accounts(&self.accounts, &judged, now);
        self.accounts = Arc::new(judged);
    }
}

/// What is impossible of accounts: of those of their workers together that start up, by themselves
/// too small to be judged, and of all that are not impossible already.
fn judged<'a>(
    standings: impl Iterator<Item = &'a Standing>,
    now: UnixMillis,
) -> BTreeMap<String, Flag> {
    let mut accounts: BTreeMap<&str, [Together; 2]> = BTreeMap::new();
    for standing in standings {
        let is = |kind| standing.flags.iter().any(|flag| flag.kind == kind);
        if is(Kind::Impossible) {
            continue;
        }
        let silent = now.saturating_since(standing.at);
        let [_, hour, day] = standing.windows;
        let gone = silent > Span::Hour.length();
        let spans = [hour.filter(|_| !gone), day];
        let [small, all] = accounts.entry(&standing.account).or_default();
        all.add(spans, gone);
        if is(Kind::StartUp) {
            small.add(spans, gone);
        }
    }
    let flagged = |(account, [small, all]): (&str, [Together; 2])| {
        Some((account.to_owned(), small.judge().or_else(|| all.judge())?))
    };
    accounts.into_iter().filter_map(flagged).collect()
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
            figure: figure.cloned(),
            starts: Starts::default(),
            meters: BTreeMap::new(),
            pending: None,
            heard_at: at,
            covered_until: at,
            claimed_until: at,
            uncovered: Proven::default(),
            unclaimed: Proven::default(),
        }
    }

    /// Takes note of a report's meters, and of those that began anew.
    fn begin(&mut self, heard: &Heard, at: UnixMillis) {
        self.heard_at = at;
        if heard.epoch {
            self.starts.begun(at);
        }
        for Progress { id, counted, since } in &heard.meters {
            if !counted {
                self.meters.remove(id);
                continue;
            }
            let advanced = since.is_some();
            let apart = since.map(|since| at.saturating_since(since).saturating_mul(2));
            let wait = apart.map_or(WAIT_FIRST, |apart| apart.min(WAIT_MOST));
            let known = self.meters.get(id).is_some_and(|known| known.advanced);
            let member = Member { heard_at: at, wait, advanced: advanced || known };
            self.meters.insert(id.clone(), member);
        }
        self.meters.retain(|_, known| at.saturating_since(known.heard_at) <= known.wait);
    }

    /// Adds what a report brings. It is held back while a counted meter is waited for, one that
    /// reports more rarely than the others: its joules are of a longer time, and so must be the work
    /// and the other meters' joules that they stand beside. What comes late all the same, after it
    /// was waited for in vain, is in no window shorter than the time that it is of.
    fn add(&mut self, heard: &Heard, (joules, work): (MicroJoules, Work), at: UnixMillis) {
        self.begin(heard, at);
        let mut stretch = Stretch::default();
        let mut since = at;
        if let Some(begun) = heard.since {
            let from = begun.max(self.covered_until);
            since = since.min(begun);
            stretch.covered = at.saturating_since(from);
            stretch.joules = joules;
            stretch.doubtful = heard.doubtful;
            stretch.doubtful_usual = heard.doubtful_usual;
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
            let (begun, sum) = self.pending.unwrap_or_else(|| (since, Stretch::default()));
            self.pending = Some((begun.min(since), sum.then(stretch)));
        }
        self.settle(at);
    }

    /// Puts what is pending into the windows, if every counted meter has gone on meanwhile.
    fn settle(&mut self, at: UnixMillis) {
        if self.meters.values().any(|known| !known.advanced && known.heard_at < at) {
            return;
        }
        if let Some((since, stretch)) = self.pending.take() {
            self.windows.add(since, at, stretch);
        }
        self.meters.values_mut().for_each(|known| known.advanced = false);
    }

    fn standing(&self, names: &MeteredWorker, at: UnixMillis) -> Standing {
        let (windows, starts, figure) = (&self.windows, &self.starts, self.figure.as_ref());
        Standing {
            account: names.account.clone(),
            worker: names.name.clone(),
            at,
            windows: Span::ALL.map(|span| windows.over(span)),
            flags: plausibility::judge(Facts { windows, starts, figure, now: at }),
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

    /// The same of accounts.
    fn tell_of_accounts(
        &mut self,
        had: &BTreeMap<String, Flag>,
        now: &BTreeMap<String, Flag>,
        at: UnixMillis,
    ) {
        for (account, Flag { kind, reason }) in now {
            if !had.contains_key(account) && self.may_speak(at) {
                let kind = kind.as_str();
                tracing::warn!("energy of account {account} is flagged as {kind}: {reason}");
            }
        }
        for (account, Flag { kind, reason: _ }) in had {
            if !now.contains_key(account) && self.may_speak(at) {
                let kind = kind.as_str();
                tracing::info!("energy of account {account} is no longer flagged as {kind}");
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
mod tests;
