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
mod tests;
