//! `cargo xtask test`: every check by name, with its time and its own output, one after the
//! other. A failed step does not stop the next ones; everything left out is listed by name at the
//! end, and is a failure where `strict` is asked for.
//!
//! The steps are a table in `steps.rs`, what they need from the machine is in `needs.rs`. A step
//! without what it *needs* is left out; without something it *wants* it runs, and the part of it
//! that is left out is listed as well. It deliberately filters no output and retries nothing.

mod fuzz;
mod needs;
mod soak;
mod steps;

use std::time::Duration;

use crate::clock;
use crate::failure::Failure;

use needs::Need;
use steps::{STEPS, Step};

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    LeftOut(String),
}

/// One step's line in the closing list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    name: &'static str,
    outcome: Outcome,
    /// What the step wanted and ran without, with the reasons.
    without: Vec<(&'static str, String)>,
    took: Duration,
}

/// Runs all steps and prints the closing list.
///
/// # Errors
/// Fails where a step failed, or, when `strict`, where one was left out.
pub(crate) fn run(strict: bool) -> Result<(), Failure> {
    let records: Vec<Record> = STEPS.iter().map(|step| run_step(step, Need::provide)).collect();
    print!("\n{}", listing(&records));
    verdict(&records, strict)
}

fn run_step(step: &Step, provide: fn(&Need) -> Result<(), String>) -> Record {
    println!("\n== {} ==", step.name);
    let begun = clock::now();
    let mut lacking = Vec::new();
    let outcome = match step.needs.iter().try_for_each(provide) {
        Err(missing) => Outcome::LeftOut(missing),
        Ok(()) => {
            let lacks = |need: &Need| Some((*need, provide(need).err()?));
            lacking = step.wants.iter().filter_map(lacks).collect();
            let needs: Vec<Need> = lacking.iter().map(|(need, _)| *need).collect();
            (step.run)(&needs).map_or_else(|e| Outcome::Failed(e.to_string()), |()| Outcome::Passed)
        }
    };
    let without = lacking.into_iter().map(|(need, why)| (need.name(), why)).collect();
    let record = Record { name: step.name, outcome, without, took: begun.elapsed() };
    println!("== {} ==", line(&record));
    record
}

fn line(record: &Record) -> String {
    let Record { name, outcome, without, took } = record;
    let seconds = took.as_secs_f64();
    let mut line = match outcome {
        Outcome::Passed => format!("{name}: passed in {seconds:.1} s"),
        Outcome::Failed(why) => format!("{name}: FAILED after {seconds:.1} s: {why}"),
        Outcome::LeftOut(why) => format!("{name}: left out: {why}"),
    };
    for (need, why) in without {
        line.push_str(&format!("\n  without {need}: {why}"));
    }
    line
}

/// Every step on a line of its own, then what was left out, by name.
fn listing(records: &[Record]) -> String {
    let mut text: String = records.iter().map(|record| line(record) + "\n").collect();
    let left_out = left_out(records);
    let left_out = if left_out.is_empty() { "nothing".to_owned() } else { left_out.join(", ") };
    text.push_str(&format!("left out: {left_out}\n"));
    text
}

fn verdict(records: &[Record], strict: bool) -> Result<(), Failure> {
    let is_failed = |record: &&Record| matches!(record.outcome, Outcome::Failed(_));
    let failed: Vec<&str> = records.iter().filter(is_failed).map(|record| record.name).collect();
    let left_out = left_out(records);
    if !failed.is_empty() {
        return Err(Failure::new(format!("failed: {}", failed.join(", "))));
    }
    if strict && !left_out.is_empty() {
        let why = format!("left out, which --strict forbids: {}", left_out.join(", "));
        return Err(Failure::new(why));
    }
    Ok(())
}

/// Steps that did not run, and the parts of others that did not: "tests (promtool)".
fn left_out(records: &[Record]) -> Vec<String> {
    let mut names = Vec::new();
    for Record { name, outcome, without, .. } in records {
        if matches!(outcome, Outcome::LeftOut(_)) {
            names.push((*name).to_owned());
        }
        names.extend(without.iter().map(|(need, _)| format!("{name} ({need})")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &'static str, outcome: Outcome) -> Record {
        Record { name, outcome, without: Vec::new(), took: Duration::from_millis(1500) }
    }

    #[test]
    fn what_is_left_out_is_named_and_strict_forbids_it() {
        let why = "rustfmt cannot be installed".to_owned();
        let records = [record("format", Outcome::LeftOut(why)), record("tests", Outcome::Passed)];
        let text = listing(&records);
        assert!(text.ends_with("left out: format\n"), "{text}");
        assert!(text.contains("tests: passed in 1.5 s\n"), "{text}");
        verdict(&records, false).unwrap();
        assert!(verdict(&records, true).unwrap_err().to_string().contains("format"));
    }

    #[test]
    fn a_failed_step_fails_the_whole() {
        let records = [record("lints", Outcome::Failed("no".to_owned()))];
        assert!(listing(&records).ends_with("left out: nothing\n"));
        assert!(verdict(&records, false).unwrap_err().to_string().contains("lints"));
    }

    #[test]
    fn a_step_that_lacks_something_is_not_run() {
        let step = Step {
            name: "impossible",
            needs: &[Need::Component("rustfmt")],
            wants: &[],
            run: |_| panic!("ran without what it needs"),
        };
        let record = run_step(&step, |_| Err("not to be had".to_owned()));
        assert_eq!(record.outcome, Outcome::LeftOut("not to be had".to_owned()));
    }

    #[test]
    fn a_step_runs_without_what_it_only_wants_and_the_part_is_named() {
        let step = Step {
            name: "tests",
            needs: &[],
            wants: &[Need::Node, Need::Component("clippy")],
            run: |without| match without {
                [Need::Node] => Err(Failure::new("was told")),
                others => panic!("was told of {others:?}"),
            },
        };
        let record = run_step(&step, |need| match need {
            Need::Node => Err("no compiler".to_owned()),
            Need::Component(_) | Need::Package(_) | Need::SoftwareGpu => Ok(()),
        });
        assert_eq!(record.outcome, Outcome::Failed("was told".to_owned()));
        let records = [Record { outcome: Outcome::Passed, ..record }];
        let text = listing(&records);
        assert!(text.contains("\n  without Bitcoin Core: no compiler\n"), "{text}");
        assert!(text.ends_with("left out: tests (Bitcoin Core)\n"), "{text}");
        verdict(&records, false).unwrap();
        assert!(verdict(&records, true).unwrap_err().to_string().contains("Bitcoin Core"));
    }

    #[test]
    fn a_step_with_all_it_wants_is_told_so() {
        let step = Step {
            name: "tests",
            needs: &[],
            wants: &[Need::Node],
            run: |without| {
                if without.is_empty() { Ok(()) } else { Err(Failure::new("incomplete")) }
            },
        };
        assert_eq!(run_step(&step, |_| Ok(())).outcome, Outcome::Passed);
    }
}
