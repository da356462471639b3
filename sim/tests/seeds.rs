//! A fixed list of seeds for each kind of trouble, and fresh ones from the clock: a failure prints
//! the command that replays it.

use sim::{Outcome, STEPS, Scenario, run};

fn outcome(seed: u64, scenario: Scenario) -> Outcome {
    run(seed, scenario, STEPS).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Runs two seeds; in them, the trouble came.
fn holds(scenario: Scenario, came: impl Fn(&Outcome) -> bool) {
    let outcomes = [1, 2].map(|seed| outcome(seed, scenario));
    for outcome in &outcomes {
        assert!(outcome.shares > 100, "an idle world proves nothing: {outcome:?}");
    }
    assert!(outcomes.iter().any(came), "nothing happened: {outcomes:#?}");
}

#[test]
fn nothing_goes_wrong() {
    holds(Scenario::Quiet, |one| {
        let refused = one.heard.duplicate + one.heard.busy + one.heard.unrecorded;
        refused == 0 && one.counts.on_chain > 0
    });
}

#[test]
fn the_chain_goes_back_and_forth() {
    holds(Scenario::Chain, |one| one.counts.returns > 0 && one.counts.on_chain < one.counts.blocks);
}

#[test]
fn the_clock_jumps() {
    holds(Scenario::Clock, |one| one.counts.jumps > 10);
}

#[test]
fn the_disk_is_full_for_a_while() {
    holds(Scenario::Disk, |one| one.counts.full > 3 && one.heard.unrecorded > 0);
}

#[test]
fn links_stall_and_break() {
    holds(Scenario::Links, |one| one.counts.stalls > 3 && one.counts.cuts > 3);
}

#[test]
fn the_node_falls_silent() {
    holds(Scenario::Node, |one| one.counts.outages > 1);
}

#[test]
fn miners_come_and_go() {
    holds(Scenario::Recycling, |one| one.counts.recycled > 3);
}

#[test]
fn the_pool_is_killed_and_replaced() {
    holds(Scenario::Restarts, |one| {
        one.counts.kills > 1 && one.counts.replaced > 1 && one.counts.on_chain > 0
    });
}

#[test]
fn everything_goes_wrong_at_once() {
    holds(Scenario::All, |one| one.counts.kills > 1 && one.counts.full > 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a fresh seed comes from the clock")]
fn a_fresh_seed_holds() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    outcome(now.as_secs(), Scenario::All);
}

#[test]
fn a_seed_is_a_run_to_the_byte() {
    let twice = [(); 2].map(|()| run(42, Scenario::All, 1500).unwrap());
    assert_eq!(twice[0], twice[1]);
    assert_ne!(twice[0].digest, run(43, Scenario::All, 1500).unwrap().digest);
    assert_ne!(twice[0].digest, run(42, Scenario::Quiet, 1500).unwrap().digest);
}
