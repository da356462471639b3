//! `cargo xtask test`: every check by name, with its time and its own output, one after the
//! other. A failed step does not stop the next ones; everything left out is listed by name at the
//! end, and is a failure where `strict` is asked for.
//!
//! The steps are a table in `steps.rs`, what they need from the machine is in `needs.rs`. It
//! deliberately filters no output and retries nothing.

mod needs;
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
    let outcome = match step.needs.iter().try_for_each(provide) {
        Err(missing) => Outcome::LeftOut(missing),
        Ok(()) => {
            (step.run)().map_or_else(|e| Outcome::Failed(e.to_string()), |()| Outcome::Passed)
        }
    };
    let record = Record { name: step.name, outcome, took: begun.elapsed() };
    println!("== {} ==", line(&record));
    record
}

fn line(record: &Record) -> String {
    let Record { name, outcome, took } = record;
    let seconds = took.as_secs_f64();
    match outcome {
        Outcome::Passed => format!("{name}: passed in {seconds:.1} s"),
        Outcome::Failed(why) => format!("{name}: FAILED after {seconds:.1} s: {why}"),
        Outcome::LeftOut(why) => format!("{name}: left out: {why}"),
    }
}

/// Every step on a line of its own, then what was left out, by name.
fn listing(records: &[Record]) -> String {
    let mut text: String = records.iter().map(|record| line(record) + "\n").collect();
    let left_out = names(records, |outcome| matches!(outcome, Outcome::LeftOut(_)));
    let left_out = if left_out.is_empty() { "nothing".to_owned() } else { left_out.join(", ") };
    text.push_str(&format!("left out: {left_out}\n"));
    text
}

fn verdict(records: &[Record], strict: bool) -> Result<(), Failure> {
    let failed = names(records, |outcome| matches!(outcome, Outcome::Failed(_)));
    let left_out = names(records, |outcome| matches!(outcome, Outcome::LeftOut(_)));
    if !failed.is_empty() {
        return Err(Failure::new(format!("failed: {}", failed.join(", "))));
    }
    if strict && !left_out.is_empty() {
        let why = format!("left out, which --strict forbids: {}", left_out.join(", "));
        return Err(Failure::new(why));
    }
    Ok(())
}

fn names(records: &[Record], wanted: fn(&Outcome) -> bool) -> Vec<&'static str> {
    records.iter().filter(|record| wanted(&record.outcome)).map(|record| record.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &'static str, outcome: Outcome) -> Record {
        Record { name, outcome, took: Duration::from_millis(1500) }
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
            run: || panic!("ran without what it needs"),
        };
        let record = run_step(&step, |_| Err("not to be had".to_owned()));
        assert_eq!(record.outcome, Outcome::LeftOut("not to be had".to_owned()));
    }
}
