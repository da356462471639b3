//! The miner: takes work from a pool, searches it on this machine's threads, submits what it
//! finds, and reports the energy that it took.
//!
//! Read in the order of a nonce's life: [`upstream`] (a connection to a pool), [`work`] and
//! [`space`] (a job, and its search space dealt out without overlap or gap), [`workers`] (the
//! hashing threads, which
//! [`cpus`] has a place for), [`verify`] (every hit is hashed again), back to [`upstream`] (the share and
//! its verdict). Beside it, once a second: [`instruments`] (counters and meters read together)
//! makes [`telemetry`], which [`metrics`], [`http`] and [`progress`] show, and [`restraint`] says how
//! much of the time may be hashed. [`run`] puts the tasks together and takes them apart; [`commands`] are the other things the binary can do.
//!
//! What it deliberately does not do: speak the protocol (`stratum`), hash (`kernels`), say what a meter
//! means (`energy`). Only [`clock`] reads the time. Units: hashes, hashes a second, microjoules;
//! difficulty is for the wire and for people.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod cpus;
pub mod device;
pub mod error;
pub mod gpus;
pub mod hands;
pub mod http;
pub mod instruments;
pub mod metrics;
pub mod pace;
pub mod progress;
pub mod rates;
pub mod restraint;
pub mod rig;
pub mod run;
pub mod settings;
pub mod space;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tuning;
pub mod upstream;
pub mod verify;
pub mod work;
pub mod workers;
