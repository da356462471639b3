//! `cargo xtask threats`: takes each defence of `docs/threats.md` away in turn and sees its test
//! fail.
//!
//! Read [`run`]. The tests are built once, in the build that has a switch for each defence; all of
//! them must pass while every defence stands, and then each must fail without its own. The table is
//! `table.rs`, what runs a test is `trial.rs`. It deliberately judges no failure by its words: it
//! prints them, one line a row, so that a person sees whether a test fails for the right reason.

mod table;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use crate::clock;
use crate::failure::Failure;
use crate::workspace;

use table::{Binary, Row};
use trial::{Program, Ran};

/// Where the table is, from the top of the checkout.
const TABLE: &str = "docs/threats.md";
/// The build with switches.
const FEATURE: &str = "defences/switchable";

type Programs = BTreeMap<Binary, Program>;

/// The command's flags.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only this defence, by the name in the table's last column
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Runs every row's test with its defence and without, and prints a line for each.
///
/// # Errors
/// Fails where the table cannot be read, the tests cannot be built, a test fails with all defences
/// in place, or one passes without its own.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let rows = rows(options)?;
    let begun = clock::now();
    let programs = build(&rows)?;
    println!("{} tests are built ({:.0} s)", rows.len(), begun.elapsed().as_secs_f64());
    let begun = clock::now();
    let scratch = tempfile::tempdir()
        .map_err(|e| Failure::new(format!("no temporary folder can be made: {e}")))?;
    check_all_pass(&rows, &programs, scratch.path())?;
    println!("all of them pass while every defence stands\n");
    let wrong = without_each(&rows, &programs, scratch.path());
    let took = begun.elapsed().as_secs_f64();
    if wrong > 0 {
        let of = rows.len();
        return Err(Failure::new(format!(
            "{wrong} of {of} tests do not fail without their defence"
        )));
    }
    let defences: BTreeSet<&str> = rows.iter().map(|row| &*row.defence).collect();
    let (rows, defences) = (rows.len(), defences.len());
    println!(
        "\n{rows} threats, {defences} defences: each test fails without its own ({took:.0} s)"
    );
    Ok(())
}

fn rows(options: &Options) -> Result<Vec<Row>, Failure> {
    let path = workspace::root().join(TABLE);
    let text = fs::read_to_string(&path)
        .map_err(|e| Failure::new(format!("{TABLE} cannot be read: {e}")))?;
    let mut rows = table::read(&text).map_err(|why| Failure::new(format!("{TABLE}: {why}")))?;
    if let Some(only) = &options.only {
        rows.retain(|row| row.defence == *only);
        if rows.is_empty() {
            return Err(Failure::usage(format!("--only {only}: {TABLE} has no such switch")));
        }
    }
    Ok(rows)
}

/// Builds the tests' programs, and nothing that no row asks for.
fn build(rows: &[Row]) -> Result<Programs, Failure> {
    let wanted = table::binaries(rows);
    let packages: BTreeSet<&str> = wanted.iter().map(|binary| &*binary.package).collect();
    let targets: BTreeSet<&str> =
        wanted.iter().filter_map(|binary| binary.target.as_deref()).collect();
    let mut arguments = vec!["test", "--no-run", "--features", FEATURE];
    arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
    arguments.extend(targets.iter().flat_map(|target| ["--test", target]));
    arguments.extend(wanted.iter().any(|binary| binary.target.is_none()).then_some("--lib"));
    arguments.extend(["--message-format", "json-render-diagnostics"]);
    let built = workspace::build_tests(&arguments)?;
    let program = |binary: Binary| {
        let found = built.iter().find(|test| {
            test.package == binary.package
                && match &binary.target {
                    Some(target) => test.target == *target && !test.is_library,
                    None => test.is_library,
                }
        });
        let found = found.ok_or_else(|| Failure::new(format!("{binary} was not built")))?;
        let program = Program { path: found.path.clone(), folder: found.folder.clone() };
        Ok((binary, program))
    };
    wanted.into_iter().map(program).collect()
}

/// Runs all tests of a binary at once, with every defence.
fn check_all_pass(rows: &[Row], programs: &Programs, scratch: &Path) -> Result<(), Failure> {
    for (binary, program) in programs {
        let of_binary = rows.iter().filter(|row| row.test.binary == *binary);
        let mut names: Vec<&str> = of_binary.map(|row| row.test.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let ran = trial::run(program, &names, None, scratch)
            .map_err(|why| Failure::new(format!("{binary}: {why}")))?;
        if ran.failed > 0 {
            print!("{}", ran.output);
            let failed = ran.failed;
            return Err(Failure::new(format!(
                "{binary}: {failed} fail with all defences in place"
            )));
        }
        if ran.passed != names.len() {
            let missing = missing(program, &names, scratch).join(", ");
            return Err(Failure::new(format!("{binary} has no test {missing}")));
        }
    }
    Ok(())
}

/// Those of the names that no test has.
fn missing<'a>(program: &Program, names: &[&'a str], scratch: &Path) -> Vec<&'a str> {
    let ran_one = |name: &str| {
        trial::run(program, &[name], None, scratch).is_ok_and(|ran| ran.passed + ran.failed == 1)
    };
    names.iter().copied().filter(|name| !ran_one(name)).collect()
}

/// Takes each row's defence away, a row on each processor, and says how many tests did not fail.
fn without_each(rows: &[Row], programs: &Programs, scratch: &Path) -> usize {
    let next = AtomicUsize::new(0);
    let wrong = AtomicUsize::new(0);
    let printing = Mutex::new(());
    let work = |folder: PathBuf| {
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ran = fs::create_dir_all(&folder)
                .map_err(|e| format!("{} cannot be made: {e}", folder.display()))
                .and_then(|()| without(row, programs, &folder));
            let _line = printing.lock();
            if !report(row, &ran) {
                wrong.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        for worker in 0..workers {
            let folder = scratch.join(worker.to_string());
            scope.spawn(move || work(folder));
        }
    });
    wrong.into_inner()
}

fn without(row: &Row, programs: &Programs, scratch: &Path) -> Result<Ran, String> {
    let program = programs.get(&row.test.binary).ok_or("its program was not built")?;
    let ran = trial::run(program, &[&row.test.name], Some(&row.defence), scratch)?;
    match (ran.passed, ran.failed) {
        (0, 1) => Ok(ran),
        (1, 0) => Err("the test passes without it".to_owned()),
        (passed, failed) => Err(format!("{} tests ran", passed + failed)),
    }
}

/// Prints a row's line; false where its test did not fail.
fn report(row: &Row, ran: &Result<Ran, String>) -> bool {
    let seconds = |took: Duration| took.as_secs_f64();
    let Row { threat, test, defence } = row;
    match ran {
        Ok(ran) => println!("{defence:22} {:5.1} s  {test}\n    {}", seconds(ran.took), ran.why()),
        Err(why) => println!("{defence:22} WRONG: {why}\n    {threat}: {test}"),
    }
    ran.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts;

    /// One row, and a program in place of its tests that ends as `script` says.
    fn trial_of(folder: &Path, script: &str) -> (Row, Programs) {
        let path = scripts::script(folder, "tests.sh", script);
        let text = "| a | b | `stratum --lib a::b` | `share-target` |";
        let row = table::read(text).unwrap().remove(0);
        let program = Program { path, folder: folder.to_owned() };
        let programs = Programs::from([(row.test.binary.clone(), program)]);
        (row, programs)
    }

    #[test]
    fn only_a_failed_test_is_what_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let verdict = |script: &str| {
            let (row, programs) = trial_of(folder.path(), script);
            without(&row, &programs, folder.path())
        };
        let result = |counts: &str| format!("echo; echo 'test result: ok. {counts};'");
        assert!(verdict(&result("0 passed; 1 failed")).is_ok());
        let passes = verdict(&result("1 passed; 0 failed")).unwrap_err();
        assert_eq!(passes, "the test passes without it");
        assert_eq!(verdict(&result("0 passed; 0 failed")).unwrap_err(), "0 tests ran");
        assert!(verdict("kill -SEGV $$").unwrap_err().contains("no count of tests"));
    }

    #[test]
    fn every_test_must_pass_while_all_defences_stand_and_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let verdict = |counts: &str| {
            let script = format!("echo; echo 'test result: ok. {counts};'");
            let (row, programs) = trial_of(folder.path(), &script);
            check_all_pass(&[row], &programs, folder.path()).map_err(|why| why.to_string())
        };
        assert_eq!(verdict("1 passed; 0 failed"), Ok(()));
        let fails = verdict("0 passed; 1 failed").unwrap_err();
        assert_eq!(fails, "stratum --lib: 1 fail with all defences in place");
        assert_eq!(verdict("0 passed; 0 failed").unwrap_err(), "stratum --lib has no test a::b");
    }

    #[test]
    fn a_switch_that_is_not_in_the_table_is_named() {
        let options = Options { only: Some("share-targets".to_owned()) };
        let error = rows(&options).unwrap_err().to_string();
        assert!(error.contains("--only share-targets"), "{error}");
        let options = Options { only: Some("share-target".to_owned()) };
        assert_eq!(rows(&options).unwrap().len(), 1);
    }
}
