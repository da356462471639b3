//! Variable difficulty: how hard a connection's shares should be so that about
//! `shares_per_minute` of them arrive.
//!
//! Read [`Vardiff`]. It keeps one window: the difficulty credited since its last change, against
//! what the present difficulty should have brought. The session calls [`Vardiff::share`] for each
//! credited share and [`Vardiff::poll`] after it and at every sweep, so that a connection that
//! falls quiet is lowered too.
//!
//! It deliberately never touches a share: each is judged by the target that its job was issued
//! at, and a change takes effect with the next job. Estimates are floats; nothing here is
//! credited.
//!
//! Thresholds are in expected shares, so that a chance change at the right difficulty is rare
//! (Poisson): 8 or more where 1 was due, 20 where 10 were, 6 or fewer where 16 were, none where 6
//! were due, each under 1 %.

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
    settings: DifficultySettings,
    /// The operator's minimum or the connection's own, whichever is harder.
    floor: Difficulty,
    current: Difficulty,
    /// Asked for by password: followed unless shares come in faster than a person would want.
    fixed: bool,
    since: Duration,
    credited: f64,
    shares: u32,
    /// Quiet windows in a row; each lowers further than the one before.
    quiet: i32,
}

/// Largest change in one step, either way.
const STEP: f64 = 64.0;
/// A connection at a fixed difficulty keeps it up to this many shares a second: past that its
/// shares are a flood and the difficulty rises all the same.
const FIXED_SHARES_PER_SECOND: f64 = 100.0;

impl Vardiff {
    /// Starts at the operator's starting difficulty.
    #[must_use]
    pub fn new(mut settings: DifficultySettings, now: Duration) -> Self {
        // Nothing is easier than a target that every hash meets.
        settings.min = settings.min.harder(Target::MAX.difficulty());
        let current = clamp(settings.start, settings.min, settings.max);
        Self {
            settings,
            floor: settings.min,
            current,
            fixed: false,
            since: now,
            credited: 0.0,
            shares: 0,
            quiet: 0,
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

    /// A share was credited at `difficulty`.
    pub fn share(&mut self, difficulty: Difficulty) {
        self.credited += difficulty.get();
        self.shares = self.shares.saturating_add(1);
        self.quiet = 0;
    }

    /// The new difficulty, when it is time for one.
    pub fn poll(&mut self, now: Duration) -> Option<Difficulty> {
        if !self.settings.vardiff {
            return None;
        }
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        let due = seconds * self.settings.shares_per_minute.max(0.01) / 60.0;
        let came = self.credited / self.current.get();
        let flood = f64::from(self.shares) >= FIXED_SHARES_PER_SECOND * seconds.max(10.0);
        if self.fixed && !(flood && stands(Defence::FixedFlood)) {
            if seconds > 60.0 {
                self.restart(now);
            }
            return None;
        }
        let Some(factor) = self.factor(due, came) else {
            if due >= 60.0 || came >= 60.0 {
                self.restart(now);
            }
            return None;
        };
        self.restart(now);
        let wanted = Difficulty::new(self.current.get() * factor).unwrap_or(self.current);
        let next = clamp(rounded(wanted), self.floor, self.settings.max);
        let changed = next != self.current;
        self.current = next;
        changed.then_some(next)
    }

    /// Starts counting anew: nothing before `now` speaks for the present difficulty.
    pub const fn restart(&mut self, now: Duration) {
        self.since = now;
        self.credited = 0.0;
        self.shares = 0;
    }

    /// Goes on from `difficulty`, as a miner suggests; the rate still moves it. Changes nothing
    /// where a difficulty was asked for by password.
    pub fn suggest(&mut self, difficulty: Difficulty, now: Duration) {
        if !self.fixed {
            self.current = clamp(difficulty, self.floor, self.settings.max);
            self.restart(now);
        }
    }

    /// Keeps to `difficulty` (a password's `d=`), within the operator's bounds.
    pub fn fix(&mut self, difficulty: Difficulty, now: Duration) {
        self.fixed = false;
        self.suggest(difficulty, now);
        self.fixed = true;
    }

    /// Goes on from what suits `terahashes_per_second` (a password's `th=`): a share of
    /// difficulty 1 takes 4,295,032,833 hashes.
    pub fn suggest_rate(&mut self, terahashes_per_second: f64, now: Duration) {
        let per_share = 60.0 / self.settings.shares_per_minute.max(0.01);
        let value = terahashes_per_second * 1e12 * per_share / 4_295_032_833.0;
        if let Ok(difficulty) = Difficulty::new(value) {
            self.suggest(rounded(difficulty), now);
        }
    }

    /// Never goes below `floor` on this connection (BIP 310 `minimum-difficulty`), as far as the
    /// operator's maximum allows.
    pub fn raise_floor(&mut self, floor: Difficulty) {
        self.floor = clamp(floor, self.settings.min, self.settings.max);
        self.current = self.current.harder(self.floor);
    }

    /// How long one share should take: a good interval for sweeps.
    #[must_use]
    pub fn share_interval(&self) -> Duration {
        Duration::from_secs_f64(60.0 / self.settings.shares_per_minute.clamp(0.01, 6000.0))
    }

    /// What to multiply by, where `due` shares were expected and `came` arrived (both in shares
    /// of the present difficulty).
    fn factor(&mut self, due: f64, came: f64) -> Option<f64> {
        let enough = self.shares >= 8;
        let too_many = (came >= 8.0 && came >= 8.0 * due)
            || (came >= 20.0 && came >= 2.0 * due)
            || (came >= 60.0 && came >= 1.5 * due);
        if enough && too_many {
            return Some((came / due.max(f64::MIN_POSITIVE)).min(STEP));
        }
        if due >= 6.0 && came < 0.5 {
            self.quiet = (self.quiet + 1).min(3);
            return Some(4_f64.powi(-self.quiet));
        }
        let too_few = (due >= 16.0 && came <= 0.4 * due) || (due >= 60.0 && came <= 0.7 * due);
        too_few.then(|| ((came + 0.5) / due).max(1.0 / STEP))
    }
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
mod tests;
