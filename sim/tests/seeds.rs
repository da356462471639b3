//! A fixed list of seeds, and fresh ones from the clock: a failure prints the command that
//! replays it.

use sim::World;

/// Steps of 20 ms: a minute of the world.
const STEPS: u32 = 3000;

fn run(seeds: impl Iterator<Item = u64>) {
    let mut crashes = 0;
    let mut orphans = 0;
    for seed in seeds {
        let outcome = World::run(seed, STEPS).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(
            outcome.shares > 0 && outcome.blocks > 0,
            "an idle world proves nothing: {outcome:?}"
        );
        crashes += outcome.crashes;
        orphans += outcome.blocks - outcome.on_chain;
    }
    assert!(crashes > 0 && orphans > 0, "no crash or no orphan in all these worlds");
}

#[test]
fn known_seeds_hold() {
    run(1..=6);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "fresh seeds come from the clock")]
fn fresh_seeds_hold() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = now.as_secs();
    run(first..first + 3);
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(World::run(42, 500), World::run(42, 500));
}
