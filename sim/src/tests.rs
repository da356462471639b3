//! That mistakes are found: a world with one in it fails, and says so in these words.

use crate::{Scenario, sabotage::Sabotage, world::run_with};

/// What is said of a mistake, in the first of some seeds that meets it.
fn found(sabotage: Sabotage, scenario: Scenario) -> String {
    let runs = (1..=5).map(|seed| run_with(seed, scenario, 1500, Some(sabotage)));
    let failure = runs.filter_map(Result::err).next();
    failure.unwrap_or_else(|| panic!("{sabotage:?} is not found")).to_string()
}

fn says(sabotage: Sabotage, scenario: Scenario, words: &str) {
    let text = found(sabotage, scenario);
    assert!(text.contains(words), "{sabotage:?}: {text}");
    assert!(text.contains("replay: cargo run -p sim -- --seed "), "{text}");
}

#[test]
fn an_answer_before_its_commit_is_found() {
    says(Sabotage::EarlyAnswer, Scenario::Quiet, "answered and not on disk");
}

#[test]
fn an_answer_without_a_commit_is_found() {
    says(Sabotage::SilentDisk, Scenario::Disk, "answered and not on disk");
}

#[test]
fn credit_by_another_difficulty_is_found() {
    says(Sabotage::PresentDifficulty, Scenario::Quiet, "for a share announced at");
}

#[test]
fn a_batch_that_is_credited_twice_is_found() {
    says(Sabotage::TwiceCredited, Scenario::Restarts, "the ledger has");
}

#[test]
fn a_shared_extranonce_is_found() {
    says(Sabotage::LiveExtranonce, Scenario::Recycling, "two connections have extranonce 1");
}

#[test]
fn an_extranonce_that_serves_again_is_found() {
    says(Sabotage::LeaseForgotten, Scenario::Restarts, "extranonce 1");
}

#[test]
fn a_miner_that_starves_is_found() {
    says(Sabotage::NoWorkAgain, Scenario::Node, "no work on the tip");
}
