//! A seeded world around the pool's and the miner's cores: clock, links, a disk that tears, a
//! chain that reorganises, miners, and a pool that is killed.
//!
//! Read [`World::run`] first, then [`World::check`], which says what must hold whatever happens.
//! A run is a function of its seed; a failure prints the seed and the command that replays it:
//! `cargo run -p sim -- SEED`.
//!
//! What it deliberately does not do: no socket, no thread, no runtime and no real clock (those
//! are tested with real processes, in `pool/tests`). Sessions, judge, ledger and its `SQLite` file
//! are the real ones.

mod link;
mod miner;
mod pool;
mod rng;
mod world;

pub use world::{Outcome, World};
