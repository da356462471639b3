//! `cargo xtask joules`: that joules survive a restart of either side, without loss and without
//! repetition, with the finished programs and counters whose every figure is known.
//!
//! Read [`run`], then `scene.rs` (who is there, what happens to them), `books.rs` (what the pool owes,
//! worked out a second time) and `ending.rs` (what has to agree at the end). A miner reads a counter as
//! processors have one (`tree.rs`), an agent a plug (`plug.rs`), and both report by way of a tap
//! (`tap.rs`) to a pool; all of them are killed and started again (`events.rs`). What was credited must
//! then be what was reported, to the last microjoule, what was reported must be what the counters have
//! shown, and what is lost must lie where a miner was away. It deliberately looks into no program: all
//! it knows is what its counters have shown, what went over the line, and what a user can ask for.

mod books;
mod ending;
mod events;
mod history;
mod plug;
mod programs;
mod prometheus;
mod random;
mod repeat;
mod rows;
mod scene;
mod tap;
mod tree;

use std::path::Path;

use clap::Args;

use crate::demo::interrupt::Interrupt;
use crate::demo::put_away;
use crate::failure::Failure;
use crate::workspace::{self, Binaries};

use random::Random;
use scene::Scene;

/// What `cargo xtask joules` may be told.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Let the same happen in the same order as in the run with this seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Keep the data and the logs, and say where they are
    #[arg(long)]
    keep: bool,
}

/// Runs the check from the build to the summary.
///
/// # Errors
/// Says what failed, or what was expected and what was found; data and logs are then kept.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let binaries = workspace::build_release()?;
    let folder = tempfile::Builder::new()
        .prefix("wattproof-joules-")
        .tempdir()
        .map_err(|e| Failure::new(format!("no temporary directory: {e}")))?;
    let interrupt = Interrupt::install()?;
    let seed = options.seed.unwrap_or_else(Random::seed);
    println!("seed {seed}");
    let outcome = play(binaries, folder.path(), seed, &interrupt);
    let outcome = outcome.map_err(|failure| failure.with(&format!(" (seed {seed})")));
    put_away(folder, options.keep, outcome)
}

fn play(
    binaries: Binaries,
    folder: &Path,
    seed: u64,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    let events = events::order(&mut random);
    let mut scene = Scene::begin(binaries, folder, random, interrupt)?;
    for event in &events {
        scene.perform(*event)?;
    }
    let ending = scene.finish()?;
    print!("{}", ending.summary(&events));
    Ok(())
}
