//! Energy as evidence: meters to microjoules, signed reports, the pool's book of them, and carbon.
//!
//! Read in this order: [`meter`] (what a meter is), [`counter`] (how readings become energy that
//! only grows), [`rapl`] and [`model`] (two sources of readings for a processor), [`nvml`] and
//! [`hwmon`] (two for a graphics board, which [`pci`] names), [`hwmon_chip`] (a chip of a mainboard),
//! [`device`] (what meters and miners on the network answer) and [`calibration`] (how far that is
//! off), [`report`] (what a miner signs and a pool checks), [`book`] (what a pool credits), [`windows`]
//! (joules beside the work of the same time), [`interval`] (how far that work may be off),
//! [`plausibility`] (what cannot be true of it), [`profile`] (an estimate of work without a reading),
//! [`carbon`] and [`efficiency`].
//!
//! What holds everywhere:
//! - Energy is an integer of microjoules that never falls. Where it could not be measured there is
//!   a gap with a reason, never a zero and never a guess.
//! - A figure carries its kind, scope, tier and uncertainty ([`meter::MeterSpec`]).
//! - A wider meter includes the narrower ones, and they are never added ([`book`]).
//!
//! Deliberately not here: clocks, files and sockets (readings and times are arguments), the ledger
//! of energy by hour, and any proof of a joule: work is proven, joules are claimed, signed and held
//! against a band.
//!
//! Units: microjoules, milliwatts, parts per million for coverage and uncertainty, milligrams per
//! kilowatt hour for intensities. Floats appear in reports' JSON and in ratios, never in sums.

mod board;
pub mod book;
pub mod calibration;
pub mod carbon;
pub mod counter;
pub mod device;
pub mod efficiency;
pub mod hwmon;
pub mod hwmon_chip;
pub mod integrator;
pub mod interval;
pub mod meter;
pub mod model;
pub mod nvml;
pub mod pci;
pub mod plausibility;
pub mod profile;
pub mod rapl;
pub mod report;
mod table;
pub mod tree;
pub mod windows;

pub use ed25519_dalek::SigningKey;
