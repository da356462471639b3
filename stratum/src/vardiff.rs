//! Variable difficulty: how hard a connection's shares should be so that about
//! `shares_per_minute` of them arrive.
//!
//! Read [`Vardiff`]. A connection that nothing is known of is measured first: its difficulty is
//! moved in large steps until 50 shares have come in 4 to 30 s, and from those is set to what
//! suits. That is so for one that starts at the right difficulty too, since at ten shares a minute
//! a minute would not tell it from one that is off by three; it is then lowered on purpose, for
//! about twenty seconds. One that says itself what suits it is believed until its shares say
//! otherwise. After that it is watched: two sums of log-likelihoods (CUSUM) see a rate that has
//! doubled or halved, a silence of 12 shares' time or a difference that lasts is seen too, and what
//! is near the aim is left alone. The session calls [`Vardiff::share`] for each credited share and
//! [`Vardiff::poll`] after it and at every sweep ([`Vardiff::look_again`]), so that a connection
//! that falls quiet is lowered too.
//!
//! It deliberately never touches a share: each is judged by the target that its job was issued
//! at, and a change takes effect with the next job. Estimates are floats; nothing here is
//! credited. It holds no settings: they are the listener's and shared by its connections, so that
//! one connection's difficulty is 56 bytes.
//!
//! Chances of a change where nothing has changed, at the right difficulty (Poisson): silence
//! e^-12 a share, the sums about one in 25,000 shares each, the lasting difference 1 in 370 each
//! 100 shares' time. With what is left of the measurement's error it comes to one change in four to
//! six hours at ten shares a minute; downwards by more than a third, to one in ten hours
//! (`simulation`).

use std::time::Duration;

use defences::{Defence, stands};
use units::{Difficulty, Target};

/// What an operator sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DifficultySettings {
    /// What a connection starts at.
    pub start: Difficulty,
    /// Never easier than this.
    pub min: Difficulty,
    /// Never harder than this.
    pub max: Difficulty,
    /// The rate aimed at; values below 0.01 are taken as 0.01.
    pub shares_per_minute: f64,
    /// Whether difficulty follows the rate at all.
    pub vardiff: bool,
}

/// The difficulty of one connection.
#[derive(Debug, Clone)]
pub struct Vardiff {
    /// The operator's minimum or the connection's own, whichever is harder.
    floor: Difficulty,
    current: Difficulty,
    /// The last change, or the last time that counting began anew.
    since: Tick,
    /// The first share counted since then.
    first: Tick,
    /// The last share counted; `since` where there is none.
    last: Tick,
    /// Shares counted since then.
    came: u32,
    /// Begins where a rise could have begun.
    rise: Window,
    /// Begins where a fall could have begun.
    fall: Window,
    phase: Phase,
    /// Steps down in a row while measuring.
    steps: u8,
    /// Asked for by password: followed unless shares come in faster than a person would want.
    fixed: bool,
}

/// What is known of the miner's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing: measure, quickly.
    Unknown,
    /// What it was once; it has changed or gone: measure, patiently.
    Lost,
    /// What it says itself: watch.
    Told,
    /// Measured: watch.
    Known,
}

/// Milliseconds on the monotonic clock, modulo 2^32: differences of up to 49 days.
#[derive(Debug, Clone, Copy)]
struct Tick(u32);

/// Shares that came since some moment.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: Tick,
    came: u32,
}

/// Shares that a measurement takes: it is then within a factor of 1.5 in 99 of 100 cases (the
/// standard deviation is 14 %).
const ENOUGH: u32 = 50;
/// Shares that are enough for a step up, where they come much too fast.
const FEW: u32 = 12;
/// What is taken for the span of shares that come at once, seconds.
const INSTANT: f64 = 0.02;
/// Shares a second that are aimed at while measuring.
const PACE: f64 = 5.0;
/// How much longer a measurement may take before the difficulty is lowered for it, seconds.
const PATIENCE: f64 = 20.0;
/// The first step down in silence; each after it is four times larger.
const QUIET_STEP: f64 = 32.0;
/// Natural logarithm that an alarm takes: the odds that the rate has doubled (or halved).
const ALARM: f64 = 9.0;
/// Past this the rate is no longer known, either way, and is measured.
const STRANGE: f64 = 4.0;
/// Shares' time of silence that is no chance: where shares came, and where there was but a word.
const SILENCE: (f64, f64) = (12.0, 5.0);
/// Shares' time after which a lasting difference of three standard deviations counts.
const LONG: f64 = 100.0;
/// Shares at the present difficulty that an estimate is weighed against, so that a streak of luck
/// moves it by less.
const PRIOR: f64 = 10.0;
/// A connection at a fixed difficulty keeps it up to this many shares a second: past that its
/// shares are a flood and the difficulty rises all the same.
const FIXED_SHARES_PER_SECOND: f64 = 100.0;

mod saved;

pub(crate) use self::saved::SavedVardiff;

impl Vardiff {
    /// Starts at the operator's starting difficulty.
    #[must_use]
    pub fn new(settings: &DifficultySettings, now: Duration) -> Self {
        // Nothing is easier than a target that every hash meets.
        let floor = settings.min.harder(Target::MAX.difficulty());
        let now = Tick::at(now);
        Self {
            floor,
            current: clamp(settings.start, floor, settings.max),
            since: now,
            first: now,
            last: now,
            came: 0,
            rise: Window::new(now),
            fall: Window::new(now),
            phase: Phase::Unknown,
            steps: 0,
            fixed: false,
        }
    }

    /// The difficulty aimed at, before the network's is looked at.
    #[must_use]
    pub const fn difficulty(&self) -> Difficulty {
        self.current
    }

    /// What [`Self::issue`] depends on beside the network's target: as long as this is the same,
    /// so is the answer.
    #[must_use]
    pub const fn bounds(&self) -> (Difficulty, Difficulty) {
        (self.current, self.floor)
    }

    /// What goes on the wire with a job, and the target that its shares are judged by:
    /// `max(floor, min(difficulty, network))`. Never harder than a block, never easier than the
    /// floor.
    #[must_use]
    pub fn issue(&self, network_target: Target) -> (Difficulty, Target) {
        let network = network_target.difficulty();
        let capped = self.current.easier(network);
        let difficulty = capped.harder(self.floor);
        let target = Target::from_difficulty(difficulty);
        // A rounded float may print the network's difficulty a hair too hard.
        if difficulty == network {
            (difficulty, target.max(network_target))
        } else {
            (difficulty, target)
        }
    }

    /// A share was credited at `difficulty`. One that is much easier than the present difficulty
    /// belongs to a job from before a rise, and says nothing of what it brought.
    pub fn share(&mut self, settings: &DifficultySettings, difficulty: Difficulty, now: Duration) {
        if difficulty.get() < 0.5 * self.current.get() {
            return;
        }
        let (now, aim) = (Tick::at(now), per_second(settings));
        if self.came == 0 {
            self.first = now;
        }
        self.last = now;
        self.came = self.came.saturating_add(1);
        if self.rise.up(now, aim) <= 0.0 {
            self.rise = Window::new(now);
        }
        self.rise.came = self.rise.came.saturating_add(1);
        self.fall.came = self.fall.came.saturating_add(1);
        if self.fall.down(now, aim) <= 0.0 {
            self.fall = Window::new(now);
        }
        if self.phase == Phase::Told && self.came >= ENOUGH {
            self.phase = Phase::Known;
        }
    }

    /// The new difficulty, when it is time for one. It is at most that of `network`, where that is
    /// known.
    pub fn poll(
        &mut self,
        settings: &DifficultySettings,
        network: Option<Target>,
        now: Duration,
    ) -> Option<Difficulty> {
        if !settings.vardiff {
            return None;
        }
        let now = Tick::at(now);
        let factor = match self.phase {
            _ if self.fixed => self.flood(now),
            Phase::Unknown | Phase::Lost => self.measure(per_second(settings), now),
            Phase::Told | Phase::Known => self.watch(per_second(settings), now),
        }?;
        let network = network.map_or(settings.max, Target::difficulty);
        let most = settings.max.easier(network).harder(self.floor);
        let before = self.current;
        self.begin(now);
        if before > most && !self.fixed {
            // So far the network's difficulty held: nothing was seen of this one.
            (self.current, self.steps) = (most, 0);
            return None;
        }
        let wanted = Difficulty::new(before.get() * factor).unwrap_or(before);
        self.current = clamp(rounded(wanted), self.floor, most);
        (self.current != before).then_some(self.current)
    }

    /// Starts counting anew: nothing before `now` speaks for the present difficulty.
    pub fn restart(&mut self, now: Duration) {
        self.steps = 0;
        self.begin(Tick::at(now));
    }

    /// Goes on from `difficulty`, as a miner suggests; the rate still moves it. Changes nothing
    /// where a difficulty was asked for by password.
    pub fn suggest(
        &mut self,
        settings: &DifficultySettings,
        difficulty: Difficulty,
        now: Duration,
    ) {
        if !self.fixed {
            self.current = clamp(difficulty, self.floor, settings.max);
            self.phase = Phase::Told;
            self.restart(now);
        }
    }

    /// Keeps to `difficulty` (a password's `d=`), within the operator's bounds.
    pub fn fix(&mut self, settings: &DifficultySettings, difficulty: Difficulty, now: Duration) {
        self.fixed = false;
        self.suggest(settings, difficulty, now);
        self.fixed = true;
    }

    /// Goes on from what suits `terahashes_per_second` (a password's `th=`): a share of
    /// difficulty 1 takes 4,295,032,833 hashes.
    pub fn suggest_rate(
        &mut self,
        settings: &DifficultySettings,
        terahashes_per_second: f64,
        now: Duration,
    ) {
        let value = terahashes_per_second * 1e12 / per_second(settings) / 4_295_032_833.0;
        if let Ok(difficulty) = Difficulty::new(value) {
            self.suggest(settings, rounded(difficulty), now);
        }
    }

    /// Starts at `difficulty` instead, as suits the miner's kind; it is measured all the same.
    pub fn start_at(
        &mut self,
        settings: &DifficultySettings,
        difficulty: Difficulty,
        now: Duration,
    ) {
        if self.phase == Phase::Unknown && !self.fixed && settings.vardiff {
            self.current = clamp(difficulty, self.floor, settings.max);
            self.restart(now);
        }
    }

    /// Never goes below `floor` on this connection (BIP 310 `minimum-difficulty`, or what the
    /// miner's kind takes), as far as the operator's maximum allows. The hardest of several holds.
    pub fn raise_floor(&mut self, settings: &DifficultySettings, floor: Difficulty) {
        self.floor = clamp(floor, self.floor, settings.max).harder(self.floor);
        self.current = self.current.harder(self.floor);
    }

    /// How long to wait for the next [`Self::poll`] where no share comes: 2 to 15 s.
    #[must_use]
    pub fn look_again(&self, settings: &DifficultySettings) -> Duration {
        let watched = !settings.vardiff || self.fixed || (self.is_lowest() && self.came == 0);
        let seconds = match self.phase {
            _ if watched => 15.0,
            Phase::Unknown => 2.0,
            Phase::Lost | Phase::Told => 5.0,
            Phase::Known => (2.0 / per_second(settings)).clamp(2.0, 15.0),
        };
        Duration::from_secs_f64(seconds)
    }

    fn begin(&mut self, now: Tick) {
        (self.since, self.first, self.last, self.came) = (now, now, now, 0);
        (self.rise, self.fall) = (Window::new(now), Window::new(now));
    }

    fn is_lowest(&self) -> bool {
        self.current <= self.floor
    }

    /// Goes for a measurement: up when shares come too fast to measure, down when they come too
    /// slowly, and to what suits once there are enough.
    fn measure(&mut self, aim: f64, now: Tick) -> Option<f64> {
        let came = f64::from(self.came);
        let pace = PACE.max(2.0 * aim);
        let rate = (came - 1.0) / self.first.until(now).max(INSTANT);
        let times = rate / pace;
        if (self.came >= FEW && times >= 4.0) || (self.came >= ENOUGH && times >= 2.5) {
            return Some(times);
        }
        if self.came >= ENOUGH {
            self.phase = Phase::Known;
            self.steps = 0;
            return Some(rate / aim);
        }
        let waited = self.since.until(now);
        let dwell = match (self.phase, self.steps) {
            (Phase::Lost, _) => PATIENCE,
            (_, 0) => (2.0 / aim).clamp(4.0, 10.0),
            (_, _) => 4.0,
        };
        let too_slow = came * (PATIENCE + waited) < f64::from(ENOUGH) * waited;
        if waited < dwell || !too_slow || self.is_lowest() {
            return None;
        }
        let step = if self.came == 0 {
            QUIET_STEP * 4_f64.powi(i32::from(self.steps))
        } else {
            (pace * waited / came).clamp(2.0, QUIET_STEP)
        };
        self.steps = self.steps.saturating_add(1).min(6);
        Some(1.0 / step)
    }

    /// Leaves what is near the aim alone.
    fn watch(&mut self, aim: f64, now: Tick) -> Option<f64> {
        let (known, told) = SILENCE;
        let unheard = self.phase == Phase::Told && self.came == 0;
        if self.last.until(now) * aim >= if unheard { told } else { known } {
            // What was but said may be off by anything, and a minute is soon over.
            let told = self.phase == Phase::Told;
            self.phase = if told { Phase::Unknown } else { Phase::Lost };
            self.steps = if told { 3 } else { 1 };
            return Some(if told { QUIET_STEP.powi(-2) } else { 1.0 / QUIET_STEP });
        }
        let alarm = if self.rise.up(now, aim) >= ALARM {
            Some(self.rise)
        } else if self.fall.down(now, aim) >= ALARM {
            Some(self.fall)
        } else {
            None
        };
        if let Some(window) = alarm {
            let (came, due) = (f64::from(window.came), window.since.until(now) * aim);
            if came > STRANGE * due || STRANGE * came < due {
                self.phase = if came > due { Phase::Unknown } else { Phase::Lost };
                self.steps = 0;
                self.begin(now);
                return None;
            }
            return Some((came + PRIOR) / (due + PRIOR));
        }
        let (came, due) = (f64::from(self.came), self.since.until(now) * aim);
        if due < LONG {
            return None;
        }
        let off = (came - due).abs() > 3.0 * due.sqrt();
        if !off {
            (self.since, self.came) = (now, 0);
        }
        off.then_some(came / due)
    }

    /// Keeps to a fixed difficulty, but in a flood.
    fn flood(&mut self, now: Tick) -> Option<f64> {
        let seconds = self.since.until(now);
        let rate = f64::from(self.came) / seconds.max(10.0);
        if rate >= FIXED_SHARES_PER_SECOND && stands(Defence::FixedFlood) {
            return Some(rate / PACE);
        }
        if seconds > 60.0 {
            self.begin(now);
        }
        None
    }
}

impl Tick {
    fn at(now: Duration) -> Self {
        let low = now.as_millis() & u128::from(u32::MAX);
        Self(u32::try_from(low).expect("32 bits"))
    }

    /// Seconds from here to `later`; 0 where that came before.
    fn until(self, later: Self) -> f64 {
        let milliseconds = later.0.wrapping_sub(self.0);
        let ahead = milliseconds < u32::MAX - 60_000;
        if ahead { f64::from(milliseconds) / 1000.0 } else { 0.0 }
    }
}

impl Window {
    const fn new(since: Tick) -> Self {
        Self { since, came: 0 }
    }

    /// How much likelier (natural logarithm) the shares since its beginning are at twice the rate
    /// aimed at.
    fn up(&self, now: Tick, aim: f64) -> f64 {
        f64::from(self.came) * std::f64::consts::LN_2 - self.since.until(now) * aim
    }

    /// The same at half of it.
    fn down(&self, now: Tick, aim: f64) -> f64 {
        self.since.until(now) * aim * 0.5 - f64::from(self.came) * std::f64::consts::LN_2
    }
}

/// The rate aimed at.
fn per_second(settings: &DifficultySettings) -> f64 {
    settings.shares_per_minute.max(0.01) / 60.0
}

/// Three digits, and whole from 1 on: some devices read no fraction.
fn rounded(difficulty: Difficulty) -> Difficulty {
    let text = format!("{:.2e}", difficulty.get());
    let value: f64 = text.parse().expect("a printed float reads back");
    let value = if value >= 1.0 { value.round() } else { value };
    Difficulty::new(value).unwrap_or(difficulty)
}

fn clamp(difficulty: Difficulty, min: Difficulty, max: Difficulty) -> Difficulty {
    if stands(Defence::DifficultyBounds) { difficulty.easier(max).harder(min) } else { difficulty }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
