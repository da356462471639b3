//! A connection's difficulty on its way to another process: moments as ages, floats as their bits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Difficulty;

use super::{Phase, Tick, Vardiff, Window};

/// [`Vardiff`] without a clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedVardiff {
    floor: u64,
    current: u64,
    /// Milliseconds ago.
    since: u32,
    first: u32,
    last: u32,
    came: u32,
    rise: (u32, u32),
    fall: (u32, u32),
    phase: u8,
    steps: u8,
    fixed: bool,
}

const PHASES: [Phase; 4] = [Phase::Unknown, Phase::Lost, Phase::Told, Phase::Known];

impl Vardiff {
    /// For another process.
    pub(crate) fn save(&self, now: Duration) -> SavedVardiff {
        let now = Tick::at(now);
        let age = |tick: Tick| now.0.wrapping_sub(tick.0);
        let window = |window: Window| (age(window.since), window.came);
        let phase = PHASES.iter().position(|phase| *phase == self.phase);
        SavedVardiff {
            floor: self.floor.get().to_bits(),
            current: self.current.get().to_bits(),
            since: age(self.since),
            first: age(self.first),
            last: age(self.last),
            came: self.came,
            rise: window(self.rise),
            fall: window(self.fall),
            phase: phase.and_then(|phase| u8::try_from(phase).ok()).unwrap_or(0),
            steps: self.steps,
            fixed: self.fixed,
        }
    }
}

impl SavedVardiff {
    /// In another process; `None` where a difficulty is none.
    pub(crate) fn restore(&self, now: Duration) -> Option<Vardiff> {
        let now = Tick::at(now);
        let at = |age: u32| Tick(now.0.wrapping_sub(age));
        let window = |(age, came)| Window { since: at(age), came };
        let difficulty = |bits| Difficulty::new(f64::from_bits(bits)).ok();
        Some(Vardiff {
            floor: difficulty(self.floor)?,
            current: difficulty(self.current)?,
            since: at(self.since),
            first: at(self.first),
            last: at(self.last),
            came: self.came,
            rise: window(self.rise),
            fall: window(self.fall),
            phase: *PHASES.get(usize::from(self.phase))?,
            steps: self.steps,
            fixed: self.fixed,
        })
    }
}
