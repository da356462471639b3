//! Runs tests of one binary, with all defences or without one, and says how it went.
//!
//! A test binary says at its end how many tests passed and failed; what it says of each is not
//! looked at, because programs that a test starts may write in between. It deliberately believes
//! no exit status alone: a binary that ran no test also ends well.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock;

/// The variable that switches a defence off: `defences::WITHOUT`.
const WITHOUT: &str = "WATTPROOF_WITHOUT";
/// A test that takes longer has no end without its defence, and is then no test of it.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a running test is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// What `defences` says of a name that is none.
const NO_SUCH: &str = "there is no defence named";

/// A built test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// The package's folder, where its tests run.
    pub(crate) folder: PathBuf,
}

/// How some tests ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// What was printed, the tests' own output included.
    pub(crate) output: String,
    pub(crate) took: Duration,
}

/// Runs the tests of these names and no others.
///
/// # Errors
/// Says why there is no count: the program cannot be run, was killed at the time limit, ended
/// otherwise than test programs do, or knows no such defence.
pub(crate) fn run(
    program: &Program,
    names: &[&str],
    without: Option<&str>,
    scratch: &Path,
) -> Result<Ran, String> {
    let begun = clock::now();
    let out = scratch.join("output");
    let status = start(program, names, without, &out)
        .and_then(|child| wait(child, LIMIT))
        .map_err(|e| format!("{} cannot be run: {e}", program.path.display()))?;
    let output = fs::read(&out).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let output = output.map_err(|e| format!("{} cannot be read: {e}", out.display()))?;
    let Some(status) = status else {
        return Err(format!("it had not ended after {} s", LIMIT.as_secs()));
    };
    if output.contains(NO_SUCH) {
        return Err(format!("{NO_SUCH} {}", without.unwrap_or_default()));
    }
    let (passed, failed) =
        counts(&output).ok_or_else(|| format!("it ended with {status} and no count of tests"))?;
    Ok(Ran { passed, failed, output, took: begun.elapsed() })
}

impl Ran {
    /// Where and why the first test failed, in one line; nothing where none did.
    pub(crate) fn why(&self) -> String {
        let mut lines = self.output.lines().skip_while(|line| !line.contains(" panicked at "));
        let place = lines.next().and_then(|line| line.split_once(" panicked at "));
        let place = place.map_or("", |(_, place)| place.trim_end_matches(':'));
        let words = lines.next().unwrap_or_default();
        format!("{place}: {words}").chars().take(140).collect()
    }
}

/// Starts the tests in a process group of their own, so that what they start can be ended too.
fn start(
    program: &Program,
    names: &[&str],
    without: Option<&str>,
    out: &Path,
) -> io::Result<Child> {
    let file = File::create(out)?;
    let mut command = Command::new(&program.path);
    command
        .arg("--exact")
        .args(names)
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .env_remove(WITHOUT)
        .envs(without.map(|name| (WITHOUT, name)))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
}

/// Waits for the end; `None` where it had to be killed.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = clock::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            let group = child.id().to_string();
            Command::new("sh").args(["-c", r#"kill -s KILL -- "-$1""#, "sh", &group]).status()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// `test result: FAILED. 3 passed; 1 failed; …`
fn counts(output: &str) -> Option<(usize, usize)> {
    let (_, result) = output.rsplit_once("\ntest result: ")?;
    let (_, numbers) = result.split_once(". ")?;
    let count = |part: Option<&str>, word: &str| part?.trim().strip_suffix(word)?.parse().ok();
    let mut parts = numbers.split(';');
    Some((count(parts.next(), " passed")?, count(parts.next(), " failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts;

    const FAILED: &str = "\nrunning 1 test\ntest a ... FAILED\n\nthread 'a' (7) panicked at a.rs:5:9:\n\
        assertion failed\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n";

    /// A program that does what `script` says in place of tests.
    fn program(folder: &Path, script: &str) -> Program {
        Program { path: scripts::script(folder, "tests.sh", script), folder: folder.to_owned() }
    }

    #[test]
    fn the_count_is_the_last_that_is_printed() {
        assert_eq!(counts(FAILED), Some((0, 1)));
        assert_eq!(counts("\ntest result: ok. 3 passed; 0 failed; 0 ignored"), Some((3, 0)));
        assert_eq!(counts("Segmentation fault"), None);
        let ran = Ran { passed: 0, failed: 1, output: FAILED.to_owned(), took: Duration::ZERO };
        assert_eq!(ran.why(), "a.rs:5:9: assertion failed");
    }

    #[test]
    fn a_program_gets_the_names_and_the_switch() {
        let folder = tempfile::tempdir().unwrap();
        let said = "echo \"$@ $WATTPROOF_WITHOUT\"\necho 'test result: ok. 1 passed; 0 failed;'";
        let program = program(folder.path(), said);
        let ran = run(&program, &["a", "b"], Some("share-flood"), folder.path()).unwrap();
        assert_eq!((ran.passed, ran.failed), (1, 0));
        assert!(ran.output.starts_with("--exact a b share-flood\n"), "{}", ran.output);
        let ran = run(&program, &["a"], None, folder.path()).unwrap();
        assert!(ran.output.starts_with("--exact a \n"), "{}", ran.output);
    }

    #[test]
    fn what_is_no_verdict_is_told_apart_from_a_failed_test() {
        let folder = tempfile::tempdir().unwrap();
        let verdict = |script: &str| {
            run(&program(folder.path(), script), &["a"], Some("x"), folder.path()).unwrap_err()
        };
        assert!(verdict("kill -ABRT $$").contains("no count of tests"));
        let unknown = "echo 'WATTPROOF_WITHOUT: there is no defence named \"x\"'\n\
            echo 'test result: FAILED. 0 passed; 1 failed;'";
        assert!(verdict(unknown).contains("there is no defence named x"));
    }

    #[test]
    fn what_does_not_end_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), "sleep 600 &\necho $! > pid\nwait");
        let child = start(&program, &[], None, &folder.path().join("out")).unwrap();
        let pid = folder.path().join("pid");
        while fs::read_to_string(&pid).is_ok_and(|text| text.is_empty()) || !pid.exists() {
            thread::sleep(LOOK);
        }
        assert_eq!(wait(child, Duration::ZERO).unwrap(), None);
        let pid = fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let gone = || fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
        let begun = clock::now();
        while !gone() && begun.elapsed() < LIMIT {
            thread::sleep(LOOK);
        }
        assert!(gone(), "process {pid} is still there");
    }
}
