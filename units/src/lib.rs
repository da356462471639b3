//! Quantities as types: what the whole house counts in, each with one unit and no conversion
//! that can fail at run time by surprise.
//!
//! Read [`Target`] and [`Work`] first (proof of work), then [`Sats`] and [`MicroJoules`].
//!
//! What it deliberately does not do: no I/O, no clock, no dependency, no wire format. Floats
//! appear only in [`Difficulty`] (Stratum's wire carries one) and in functions whose name ends
//! in `_f64`, which are for gauges and people. A type whose unit is not canonical has no
//! `Display`: the caller names the unit (`joules()`, `grams()`).

mod carbon;
mod decimal;
mod difficulty;
mod energy;
mod money;
mod target;
mod time;
mod u256;
mod work;

pub use carbon::{CarbonIntensity, CarbonMass, IntensityError};
pub use difficulty::{Difficulty, DifficultyError};
pub use energy::{JoulesPerTerahash, MicroJoules, MilliWatts};
pub use money::{BasisPoints, MoneyError, Sats};
pub use target::{Target, TargetError};
pub use time::{Moment, UnixMillis};
pub use u256::U256;
pub use work::{Hashes, Work};
