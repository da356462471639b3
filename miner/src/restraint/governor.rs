//! The least energy per hash: tries settings, measures each, and stays with the best.
//!
//! Read [`Governor::step`], then [`Sweep`]. A setting is how many of the CPU's threads hash and how
//! long a GPU's dispatches are; first the one is swept, then the other. Settings take turns, so that
//! a room that gets warmer tells against all of them alike; each turn is a window of
//! [`DWELL`] after [`SETTLE`] that counts for nothing. From the third round on, a setting whose
//! energy per hash is surely above the best one's is dropped: the lower end of its t-interval lies
//! above the upper end of the best one's. The sweep ends with one setting left, or after
//! [`ROUNDS_MAX`] rounds with the one whose mean is least; settings that ten rounds cannot tell apart
//! do not differ by what would matter. Every half hour the best is held against its neighbours.
//!
//! No setting may stop the rig. A window without hashes counts as infinitely dear, and the next
//! setting has its turn; a choice under which nothing hashes for a window, with or without a meter,
//! is left at once. None of the CPU's threads is a setting only while a GPU is there to hash; when
//! the last one is lost, or the first one is back, everything is measured anew.
//!
//! It needs a meter: a model multiplies hashing time by a constant, and finds every setting equal.
//! It does not change clocks or voltages, and never measures while the rig is held back or without
//! work. Joules per hash.

use std::time::Duration;

/// How long one setting is measured at a time.
pub const DWELL: Duration = Duration::from_secs(10);
/// What is not counted after a change of setting.
pub const SETTLE: Duration = Duration::from_secs(3);
/// Rounds before any setting is dropped, and at most.
const ROUNDS_MIN: usize = 3;
pub(super) const ROUNDS_MAX: usize = 10;
/// How often the best setting is held against its neighbours.
const RECHECK: Duration = Duration::from_secs(1_800);
/// Numbers of threads that are tried at most.
const THREADS_TRIED: u16 = 8;
/// Lengths of dispatches that are tried, in percent; where somebody looks at what the GPU shows,
/// those that are not longer.
const BATCHES: [u16; 4] = [50, 100, 200, 400];

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// How many of the CPU's threads hash.
    pub threads: u16,
    /// How long a GPU's dispatches are, in percent of their usual length.
    pub batch: u16,
}

/// What there is to set on a rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The CPU's threads; 0 where it does not mine.
    pub threads: u16,
    /// Whether a GPU mines; what becomes of it later, each [`Reading`] says.
    pub gpus: bool,
    /// Whether somebody looks at what it shows.
    pub interactive: bool,
}

/// One reading of the rig.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// When.
    pub at: Duration,
    /// Energy so far; `None` while a meter gives none.
    pub joules: Option<f64>,
    /// Hashes so far.
    pub hashes: f64,
    /// Whether the rig did what it could since the reading before.
    pub steady: bool,
    /// Whether there was work since the reading before, and at least a part of the time for it.
    pub may_hash: bool,
    /// Whether there is a GPU that is not lost.
    pub gpus: bool,
}

/// A mean and the half width of its 99 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Joules per hash.
    pub mean: f64,
    /// Either way; infinite for a single window.
    pub error: f64,
}

/// What it does at the moment, for those who show it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// What is set.
    pub setting: Setting,
    /// Whether it is measuring, and has not settled.
    pub measuring: bool,
    /// Windows measured so far, of this sweep.
    pub windows: usize,
    /// What the best setting of the newest sweep that ended takes.
    pub best: Option<Estimate>,
}

/// The governor.
#[derive(Debug)]
pub struct Governor {
    range: Range,
    /// What it stays with.
    setting: Setting,
    phase: Phase,
    window: Option<Window>,
    /// Since when nothing hashes although it may, with the hashes so far.
    still: Option<(Duration, f64)>,
    best: Option<Estimate>,
}

#[derive(Debug)]
enum Phase {
    Threads(Sweep),
    Batches(Sweep),
    Settled { since: Duration },
}

/// The window under way.
#[derive(Debug, Clone, Copy)]
struct Window {
    set_at: Duration,
    /// When counting began, with joules and hashes there.
    from: Option<(Duration, f64, f64)>,
}

impl Governor {
    /// For a rig that has this to set.
    #[must_use]
    pub fn new(range: Range) -> Self {
        let setting = usual(range);
        let phase = Phase::Threads(Sweep::new(threads_tried(range, setting)));
        Self { range, setting, phase, window: None, still: None, best: None }
    }

    /// What is set.
    #[must_use]
    pub fn setting(&self) -> Setting {
        match &self.phase {
            Phase::Threads(sweep) | Phase::Batches(sweep) => sweep.setting(),
            Phase::Settled { .. } => self.setting,
        }
    }

    /// What it does at the moment.
    #[must_use]
    pub fn view(&self) -> View {
        let windows = match &self.phase {
            Phase::Threads(sweep) | Phase::Batches(sweep) => sweep.windows(),
            Phase::Settled { .. } => 0,
        };
        let measuring = !matches!(self.phase, Phase::Settled { .. });
        View { setting: self.setting(), measuring, windows, best: self.best }
    }

    /// Takes a reading, and says what is to be set from now on.
    pub fn step(&mut self, reading: Reading) -> Setting {
        if reading.gpus != self.range.gpus {
            self.range.gpus = reading.gpus;
            self.sweep_all();
        }
        let stands_still = self.stands_still(reading);
        match &self.phase {
            Phase::Settled { .. } if stands_still && self.setting != usual(self.range) => {
                self.sweep_all();
            }
            Phase::Settled { since } if reading.at.saturating_sub(*since) < RECHECK => {
                return self.setting;
            }
            Phase::Settled { .. } => self.sweep_threads(self.neighbours()),
            Phase::Batches(_) if stands_still && self.setting.threads < self.range.threads => {
                self.sweep_all();
            }
            Phase::Threads(_) | Phase::Batches(_) if stands_still => self.take(f64::INFINITY),
            Phase::Threads(_) | Phase::Batches(_) => {}
        }
        self.end_if_decided(reading.at);
        if let Some(ratio) = self.measured(reading) {
            self.take(ratio);
            self.end_if_decided(reading.at);
        }
        self.setting()
    }

    /// What the setting whose turn it is took in a window; then it is the next one's turn.
    fn take(&mut self, joules_per_hash: f64) {
        if let Phase::Threads(sweep) | Phase::Batches(sweep) = &mut self.phase {
            sweep.take(joules_per_hash);
        }
        (self.window, self.still) = (None, None);
    }

    /// Whether nothing hashed for as long as a window takes, although it might have. Asks no meter:
    /// a GPU that is lost may take its meter along.
    fn stands_still(&mut self, reading: Reading) -> bool {
        let Reading { at, hashes, may_hash, .. } = reading;
        let (since, then) = *self.still.get_or_insert((at, hashes));
        if !may_hash || hashes > then {
            self.still = Some((at, hashes));
            return false;
        }
        at.saturating_sub(since) >= SETTLE + DWELL
    }

    /// The window's joules per hash, once it is over. What is not steady begins it anew.
    fn measured(&mut self, reading: Reading) -> Option<f64> {
        let Reading { at, joules, hashes, steady, .. } = reading;
        let Some(joules) = joules.filter(|_| steady) else {
            self.window = None;
            return None;
        };
        let window = self.window.get_or_insert(Window { set_at: at, from: None });
        let Some((from, joules_then, hashes_then)) = window.from else {
            if at.saturating_sub(window.set_at) >= SETTLE {
                window.from = Some((at, joules, hashes));
            }
            return None;
        };
        if at.saturating_sub(from) < DWELL {
            return None;
        }
        self.window = None;
        let (joules, hashes) = (joules - joules_then, hashes - hashes_then);
        (hashes > 0.0 && joules > 0.0).then(|| joules / hashes)
    }

    fn end_if_decided(&mut self, at: Duration) {
        let (Phase::Threads(sweep) | Phase::Batches(sweep)) = &self.phase else { return };
        let Some((setting, estimate)) = sweep.decided() else { return };
        let hashes = estimate.is_none_or(|estimate| estimate.mean.is_finite());
        // Where none hashes, the usual one is the likeliest to.
        self.setting = if hashes { setting } else { usual(self.range) };
        self.best = estimate.filter(|_| hashes).or(self.best);
        let batches = match self.phase {
            Phase::Threads(_) => self.batches_tried(),
            Phase::Batches(_) | Phase::Settled { .. } => Vec::new(),
        };
        self.phase = match batches.len() {
            0 | 1 => Phase::Settled { since: at },
            _ => Phase::Batches(Sweep::new(batches)),
        };
    }

    fn sweep_threads(&mut self, settings: Vec<Setting>) {
        self.phase = Phase::Threads(Sweep::new(settings));
        (self.window, self.still) = (None, None);
    }

    /// Everything anew: what was measured is of another rig.
    fn sweep_all(&mut self) {
        self.setting = usual(self.range);
        self.sweep_threads(threads_tried(self.range, self.setting));
    }

    /// The best number of threads with the next lower and higher that are tried.
    fn neighbours(&self) -> Vec<Setting> {
        let all = threads_tried(self.range, self.setting);
        let place = all.iter().position(|setting| *setting == self.setting).unwrap_or(0);
        all.into_iter().skip(place.saturating_sub(1)).take(if place == 0 { 2 } else { 3 }).collect()
    }

    fn batches_tried(&self) -> Vec<Setting> {
        let Range { gpus, interactive, .. } = self.range;
        let batches = BATCHES.into_iter().filter(|batch| gpus && (!interactive || *batch <= 100));
        batches.map(|batch| Setting { batch, ..self.setting }).collect()
    }
}

/// What is set where nothing is known.
const fn usual(range: Range) -> Setting {
    Setting { threads: range.threads, batch: 100 }
}

/// Numbers of threads from all of them downwards, evenly spread; none at all where a GPU mines too.
fn threads_tried(range: Range, setting: Setting) -> Vec<Setting> {
    let Range { threads, gpus, .. } = range;
    let steps = threads.min(THREADS_TRIED);
    let mut tried: Vec<u16> = (1..=steps)
        .map(|step| u32::from(threads) * u32::from(step) / u32::from(steps))
        .filter_map(|threads| u16::try_from(threads).ok())
        .collect();
    if gpus || threads == 0 {
        tried.insert(0, 0);
    }
    tried.into_iter().rev().map(|threads| Setting { threads, ..setting }).collect()
}

/// Settings that take turns being measured, until one is the best.
#[derive(Debug)]
pub struct Sweep {
    candidates: Vec<Candidate>,
    /// Whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Candidate {
    setting: Setting,
    ratios: Vec<f64>,
    dropped: bool,
}

impl Sweep {
    /// Over these settings, at least one.
    fn new(settings: Vec<Setting>) -> Self {
        let candidate = |setting| Candidate { setting, ratios: Vec::new(), dropped: false };
        Self { candidates: settings.into_iter().map(candidate).collect(), turn: 0 }
    }

    fn setting(&self) -> Setting {
        self.candidates[self.turn].setting
    }

    fn windows(&self) -> usize {
        self.candidates.iter().map(|candidate| candidate.ratios.len()).sum()
    }

    /// A window of the setting whose turn it is; then it is the next one's.
    fn take(&mut self, joules_per_hash: f64) {
        self.candidates[self.turn].ratios.push(joules_per_hash);
        let next = |from: usize, candidates: &[Candidate]| {
            (from..candidates.len()).find(|place| !candidates[*place].dropped)
        };
        self.turn = next(self.turn + 1, &self.candidates).unwrap_or_else(|| {
            self.drop_worse();
            next(0, &self.candidates).unwrap_or(0)
        });
    }

    /// After a round: drops what is surely worse than the best.
    fn drop_worse(&mut self) {
        let Some(best) = self.best().map(Candidate::estimate) else { return };
        for candidate in &mut self.candidates {
            let Estimate { mean, error } = candidate.estimate();
            candidate.dropped |= mean - error > best.mean + best.error;
        }
    }

    /// The one in the running whose mean is least, once all have been measured often enough.
    fn best(&self) -> Option<&Candidate> {
        let running = self.candidates.iter().filter(|candidate| !candidate.dropped);
        let enough = running.clone().all(|candidate| candidate.ratios.len() >= ROUNDS_MIN);
        let best =
            running.min_by(|one, other| one.estimate().mean.total_cmp(&other.estimate().mean));
        best.filter(|_| enough)
    }

    /// The best setting, once that is settled, and what it takes if that was measured: a single
    /// setting need not be.
    fn decided(&self) -> Option<(Setting, Option<Estimate>)> {
        if let [only] = &self.candidates[..] {
            return Some((only.setting, None));
        }
        let best = self.best()?;
        let mut running = self.candidates.iter().filter(|candidate| !candidate.dropped);
        let alone = running.clone().count() == 1;
        let exhausted = running.all(|candidate| candidate.ratios.len() >= ROUNDS_MAX);
        (alone || exhausted).then(|| (best.setting, Some(best.estimate())))
    }
}

impl Candidate {
    fn estimate(&self) -> Estimate {
        Estimate::of(&self.ratios)
    }
}

impl Estimate {
    /// Of values that are as good as independent and normal.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
        let mean = values.iter().sum::<f64>() / count;
        if mean.is_infinite() {
            // Surely worse than whatever hashed.
            return Self { mean, error: 0.0 };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let Some(t) = t_99(values.len()) else { return Self { mean, error: f64::INFINITY } };
        Self { mean, error: t * (squares / (count - 1.0) / count).sqrt() }
    }
}

/// Student's t for a two-sided 99 % interval of so many values (NIST/SEMATECH e-Handbook of
/// Statistical Methods, 1.3.6.7.2, the column of 0.995).
fn t_99(values: usize) -> Option<f64> {
    const BY_FREEDOM: [f64; 12] =
        [63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055];
    let freedom = values.checked_sub(2)?;
    Some(BY_FREEDOM.get(freedom).copied().unwrap_or(BY_FREEDOM[BY_FREEDOM.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restraint::testing::Noise;

    /// A simulated rig: watts and hashes a second by setting, and how noisy the meter is.
    struct Rig {
        power: fn(Setting) -> f64,
        rate: fn(Setting) -> f64,
        noise: f64,
    }

    /// Each thread 10 W over 20 W at rest; above four they share cores and add a third as much.
    const SHARED: Rig = Rig {
        power: |setting| 10.0_f64.mul_add(f64::from(setting.threads), 20.0),
        rate: |setting| {
            let threads = f64::from(setting.threads);
            (threads.min(4.0) + (threads - 4.0).max(0.0) / 3.0) * 1e6
        },
        noise: 0.015,
    };

    /// The first reading of a CPU at work.
    const NOTHING: Reading = Reading {
        at: Duration::ZERO,
        joules: Some(0.0),
        hashes: 0.0,
        steady: true,
        may_hash: true,
        gpus: false,
    };

    impl Rig {
        fn joules_per_hash(&self, setting: Setting) -> f64 {
            (self.power)(setting) / (self.rate)(setting)
        }

        /// Runs the governor for so many seconds; `steady` says when the rig may do what it can.
        fn run(
            &self,
            governor: &mut Governor,
            seconds: std::ops::Range<u64>,
            seed: u64,
            steady: impl Fn(u64) -> bool,
        ) -> Setting {
            let mut noise = Noise::new(seed);
            let (mut joules, mut hashes) = (0.0, 0.0);
            let mut setting = governor.setting();
            for second in seconds {
                let gpus = governor.range.gpus;
                // The window's noise is that of its seconds by the root of ten.
                let off = (self.noise * DWELL.as_secs_f64().sqrt()).mul_add(noise.normal(), 1.0);
                joules += (self.power)(setting) * off;
                hashes += (self.rate)(setting);
                let at = Duration::from_secs(second);
                let (joules, steady) = (Some(joules), steady(second));
                let may_hash = true;
                let reading = Reading { at, joules, hashes, steady, may_hash, gpus };
                setting = governor.step(reading);
            }
            setting
        }
    }

    fn cpu(threads: u16) -> Range {
        Range { threads, gpus: false, interactive: false }
    }

    #[test]
    fn the_best_number_of_threads_is_found_within_two_percent() {
        let best = (1..=8).map(|threads| SHARED.joules_per_hash(Setting { threads, batch: 100 }));
        let best = best.fold(f64::INFINITY, f64::min);
        for seed in 0..200 {
            let mut governor = Governor::new(cpu(8));
            let found = SHARED.run(&mut governor, 0..1_300, seed, |_| true);
            let View { measuring, best: estimate, .. } = governor.view();
            assert!(!measuring, "seed {seed}: still measuring after 22 minutes");
            let ratio = SHARED.joules_per_hash(found) / best;
            assert!(ratio < 1.02, "seed {seed}: {found:?} takes {ratio} times the least");
            let Estimate { mean, error } = estimate.unwrap();
            let truth = SHARED.joules_per_hash(found);
            assert!((mean - truth).abs() < 3.0 * error, "seed {seed}: {mean} of {truth} +-{error}");
        }
    }

    #[test]
    fn what_is_clear_is_decided_after_three_rounds() {
        let clear = Rig { noise: 0.0, ..SHARED };
        let mut governor = Governor::new(cpu(8));
        // A round is eight windows of 14 seconds.
        assert_eq!(clear.run(&mut governor, 0..360, 0, |_| true).threads, 4);
        assert!(!governor.view().measuring);
    }

    #[test]
    fn a_rig_that_is_held_back_is_not_measured() {
        let mut governor = Governor::new(cpu(2));
        let all = SHARED.run(&mut governor, 0..500, 0, |second| second % 12 != 0);
        assert_eq!((all.threads, governor.view().windows), (2, 0), "no window came to its end");
        let mut blind = Governor::new(cpu(2));
        for second in 0..500 {
            let at = Duration::from_secs(second);
            let hashes = f64::from(u32::try_from(second).unwrap());
            blind.step(Reading { at, joules: None, hashes, ..NOTHING });
        }
        assert_eq!(blind.view().windows, 0);
    }

    #[test]
    fn gpus_alone_may_be_best_and_longer_dispatches_too() {
        let rig = Rig {
            power: |s| 12.0_f64.mul_add(f64::from(s.threads), 300.0),
            rate: |s| {
                let gpu = 1e9 * (1.0 - 5.0 / f64::from(s.batch));
                1e6_f64.mul_add(f64::from(s.threads), gpu)
            },
            noise: 0.001,
        };
        let range = Range { threads: 4, gpus: true, interactive: false };
        let mut governor = Governor::new(range);
        let found = rig.run(&mut governor, 0..2_000, 3, |_| true);
        assert_eq!(found, Setting { threads: 0, batch: 400 });
        let mut interactive = Governor::new(Range { interactive: true, ..range });
        assert_eq!(rig.run(&mut interactive, 0..2_000, 3, |_| true).batch, 100);
    }

    /// Four threads and a GPU that hashes for so many seconds, is flagged as lost so many seconds
    /// later, and takes the rig's meter along or not.
    struct Losing {
        hashes_for: u64,
        flagged_after: Option<u64>,
        meter: bool,
    }

    impl Losing {
        /// Runs until so many seconds; gives the longest time without hashes, the time with the
        /// setting, and the governor.
        fn run(&self, until: u64) -> (u64, Governor) {
            let mut governor = Governor::new(Range { threads: 4, gpus: true, interactive: false });
            let mut setting = governor.setting();
            let (mut joules, mut hashes, mut still, mut longest) = (0.0, 0.0, 0, 0);
            for second in 0..until {
                let is_lost = second >= self.hashes_for;
                let gpu = if is_lost { 0.0 } else { 1e9 };
                let rate = 1e6_f64.mul_add(f64::from(setting.threads), gpu);
                joules += 12.0_f64.mul_add(f64::from(setting.threads), 300.0);
                hashes += rate;
                still = if rate > 0.0 { 0 } else { still + 1 };
                longest = longest.max(still);
                let flagged_at = self.flagged_after.map(|after| self.hashes_for + after);
                let joules = Some(joules).filter(|_| self.meter || !is_lost);
                let gpus = flagged_at.is_none_or(|at| second < at);
                let at = Duration::from_secs(second);
                setting = governor.step(Reading { at, joules, hashes, gpus, ..NOTHING });
            }
            (longest, governor)
        }
    }

    #[test]
    fn a_gpu_that_is_lost_never_stops_the_rig() {
        // While it is measured without the CPU (the fifth of five turns), and once that was chosen.
        for hashes_for in [5, 62, 1_500] {
            for meter in [false, true] {
                for flagged_after in [None, Some(2), Some(90)] {
                    let losing = Losing { hashes_for, flagged_after, meter };
                    let (longest, governor) = losing.run(hashes_for + 1_500);
                    let case = format!("{hashes_for} s, meter {meter}, flagged {flagged_after:?}");
                    assert!(longest <= 15, "{case}: {longest} s without a hash");
                    assert!(governor.setting().threads > 0, "{case}");
                    let candidates = threads_tried(governor.range, governor.setting);
                    let none = candidates.iter().any(|setting| setting.threads == 0);
                    assert_eq!(none, flagged_after.is_none(), "{case}");
                    if meter {
                        assert!(!governor.view().measuring, "{case}");
                        assert!(governor.view().best.unwrap().mean.is_finite(), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_gpu_that_is_back_is_measured_again() {
        let losing = Losing { hashes_for: 1_500, flagged_after: Some(1), meter: true };
        let (_, mut governor) = losing.run(3_000);
        assert_eq!(governor.setting().threads, 4, "the CPU alone does best with all of them");
        let rig = Rig {
            power: |s| 12.0_f64.mul_add(f64::from(s.threads), 300.0),
            rate: |s| 1e6_f64.mul_add(f64::from(s.threads), 1e9),
            noise: 0.001,
        };
        governor.range.gpus = false;
        let at = Duration::from_secs(3_000);
        governor.step(Reading { at, gpus: true, ..NOTHING });
        assert!(governor.view().measuring);
        assert_eq!(rig.run(&mut governor, 3_001..5_000, 3, |_| true).threads, 0);
    }

    #[test]
    fn where_nothing_hashes_at_all_the_usual_setting_stays() {
        let range = Range { threads: 0, gpus: true, interactive: false };
        let mut governor = Governor::new(range);
        for second in 0..700 {
            let at = Duration::from_secs(second);
            governor.step(Reading { at, gpus: true, ..NOTHING });
        }
        let View { setting, measuring, best, .. } = governor.view();
        assert_eq!((setting, measuring, best), (usual(range), false, None));
        // Without work, nothing is counted against a setting.
        let mut waiting = Governor::new(Range { threads: 4, ..range });
        for second in 0..600 {
            let at = Duration::from_secs(second);
            waiting.step(Reading { at, gpus: true, steady: false, may_hash: false, ..NOTHING });
        }
        assert_eq!(waiting.view().windows, 0);
    }

    #[test]
    fn a_rig_that_changed_is_found_out_by_its_neighbours() {
        let mut governor = Governor::new(cpu(8));
        let quiet = Rig { noise: 0.002, ..SHARED };
        assert_eq!(quiet.run(&mut governor, 0..1_500, 1, |_| true).threads, 4);
        // Cores of their own for six: the best is further up, and reached step by step.
        let changed = Rig {
            rate: |s| (f64::from(s.threads).min(6.0)) * 1e6,
            ..Rig { noise: 0.002, ..SHARED }
        };
        assert_eq!(changed.run(&mut governor, 1_500..8_500, 2, |_| true).threads, 6);
    }

    #[test]
    fn with_nothing_to_choose_nothing_is_measured() {
        let mut governor = Governor::new(cpu(1));
        assert_eq!(governor.step(NOTHING), Setting { threads: 1, batch: 100 });
        assert!(!governor.view().measuring);
        let threads = |range| {
            let tried = threads_tried(range, Setting { threads: 0, batch: 100 });
            tried.iter().map(|setting| setting.threads).collect::<Vec<_>>()
        };
        assert_eq!(threads(cpu(3)), [3, 2, 1]);
        assert_eq!(threads(cpu(64)), [64, 56, 48, 40, 32, 24, 16, 8]);
        let gpu = Range { threads: 0, gpus: true, interactive: false };
        assert_eq!(threads(gpu), [0]);
    }

    #[test]
    fn intervals_are_students() {
        let Estimate { mean, error } = Estimate::of(&[1.0, 2.0, 3.0]);
        // s = 1, so t / sqrt(3).
        assert!((mean - 2.0).abs() < 1e-12 && (error - 9.925 / 3.0_f64.sqrt()).abs() < 1e-9);
        assert!(Estimate::of(&[1.0]).error.is_infinite());
        // Of many samples of five, 99 % hold the truth.
        let mut noise = Noise::new(7);
        let held = (0..4_000).filter(|_| {
            let values: Vec<f64> = (0..5).map(|_| noise.normal()).collect();
            let Estimate { mean, error } = Estimate::of(&values);
            mean.abs() <= error
        });
        let held = held.count();
        assert!((3_925..=3_990).contains(&held), "{held} of 4000");
    }
}
