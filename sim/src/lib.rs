//! A seeded world around the pool's and the miner's cores: links that break, a clock that jumps, a
//! node that falls silent, a chain that reorganises, a disk that is full or torn, a pool that is
//! killed or replaced, and miners that go on through all of it.
//!
//! Read [`run`], then `world/mod.rs` (what happens in a step), then `books.rs` and `hunger.rs` (what
//! must hold all along) and `world/end.rs` (what must hold at the end). A run is a function of its
//! seed and its [`Scenario`], to the byte ([`Outcome::digest`]); a failure prints the command that
//! replays it.
//!
//! Sessions of both sides, the judge, jobs, subscriptions and the ledger with its `SQLite` file are
//! the real ones; what stands between them in the pool's tasks is written again here (`pool/`), to
//! be driven by hand. What it deliberately does not do: no socket, no thread, no runtime and no
//! real clock (those are tested with real processes, in `pool/tests`).

mod books;
mod chain;
mod disk;
mod hunger;
mod link;
mod miner;
mod pool;
mod rng;
mod sabotage;
mod scenario;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use self::{
    books::Heard,
    scenario::Scenario,
    world::{Counts, Failure, Outcome, STEPS, run},
};
