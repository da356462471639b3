//! Builds Bitcoin Core with cmake and ninja: only `bitcoind` and `bitcoin-cli`, lightly optimised,
//! in a staging folder whose finished part is renamed into place. About ten minutes on two cores.
//!
//! A build that was interrupted goes on where it was: ninja knows what it had finished. Everything
//! that cmake and ninja print is in `build.log` of the staging folder, and its end is shown where
//! they fail. This module deliberately installs nothing outside the user's cache directory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::clock;
use crate::debian::{self, Brings, Package};
use crate::failure::Failure;

use super::cache::Cache;
use super::source;

/// What the build needs from the machine.
const NEEDS: &[Package] = &[
    Package { name: "g++", brings: Brings::Program("c++") },
    Package { name: "cmake", brings: Brings::Program("cmake") },
    Package { name: "ninja-build", brings: Brings::Program("ninja") },
    Package { name: "libboost-dev", brings: Brings::Header("boost/multi_index_container.hpp") },
];
/// The node and its command line, and nothing beside them.
const PROGRAMS: [&str; 2] = ["bitcoind", "bitcoin-cli"];
/// The package lacks the wallet, ZMQ and the data of address maps; the rest is not needed. The
/// light optimisation takes half the time of the usual one, and a test chain does not notice.
const OPTIONS: &[&str] = &[
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_C_FLAGS_RELEASE=-O1",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
    "-DENABLE_WALLET=OFF",
    "-DENABLE_IPC=OFF",
    "-DENABLE_EXTERNAL_SIGNER=OFF",
    "-DWITH_ZMQ=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
    "-DBUILD_BITCOIN_BIN=OFF",
    "-DBUILD_GUI=OFF",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_FUZZ_BINARY=OFF",
];
/// How often a line of progress is printed.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);
/// How many lines of the log are shown under a failure.
const LOG_LINES: usize = 25;

/// Builds into `cache`, unless somebody else has done so while this waited for the lock.
///
/// # Errors
/// Names what is missing on this machine, or shows the end of the log of what failed.
pub(crate) fn build(cache: &Cache) -> Result<(), Failure> {
    let lock = cache.lock()?;
    if cache.is_built() {
        return Ok(());
    }
    eprintln!("building Bitcoin Core once, into {}", cache.home().display());
    debian::provide(NEEDS).map_err(|why| Failure::new(format!("Bitcoin Core needs: {why}")))?;
    let staging = cache.staging();
    let source = source::fetch(&staging.join("package"))?;
    let made = staging.join("build");
    let works = Works { log: staging.join("build.log"), lock };
    let begun = clock::now();
    works.configure(&source, &made)?;
    works.compile(&made)?;
    let finished = staging.join("finished");
    collect(&made, &finished)
        .map_err(|e| Failure::new(format!("{} cannot be made: {e}", finished.display())))?;
    cache.publish(&finished)?;
    eprintln!("built in {}", minutes(begun.elapsed()));
    Ok(())
}

/// How the two tools are run: logged, and each holding the lock for as long as it lives, so that
/// tools that outlive this program keep the next build out of their folder.
struct Works {
    log: std::path::PathBuf,
    lock: File,
}

impl Works {
    fn configure(&self, source: &Path, made: &Path) -> Result<(), Failure> {
        let mut cmake = Command::new("cmake");
        cmake.arg("-S").arg(source).arg("-B").arg(made).args(["-G", "Ninja"]).args(OPTIONS);
        self.run("cmake", cmake, |_| {})
    }

    fn compile(&self, made: &Path) -> Result<(), Failure> {
        let mut ninja = Command::new("ninja");
        ninja.arg("-C").arg(made).args(PROGRAMS).env("NINJA_STATUS", "[%f/%t] ");
        let mut progress = Progress::new();
        self.run("ninja", ninja, |line| progress.see(line))
    }

    /// Runs a tool to its end. Its output goes line by line to the log and to `see`.
    fn run(
        &self,
        name: &str,
        mut command: Command,
        mut see: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::new(format!("{name}: {e}"));
        let mut log = File::options().create(true).append(true).open(&self.log).map_err(failed)?;
        // One pipe for both, so that the log has everything in the order it was said.
        let (output, both) = std::io::pipe().map_err(failed)?;
        command
            .stdin(Stdio::from(self.lock.try_clone().map_err(failed)?))
            .stdout(both.try_clone().map_err(failed)?)
            .stderr(both);
        let mut child = command.spawn().map_err(failed)?;
        drop(command); // and with it this end of the pipe, which would never close
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(failed)?;
            log.write_all(&line).and_then(|()| log.write_all(b"\n")).map_err(failed)?;
            see(&String::from_utf8_lossy(&line));
        }
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let why = format!("{name} ended with {status}; all it said is in {}", self.log.display());
        Err(Failure::new(why).with(&self.last_words()))
    }

    /// The end of the log, as lines to put under a failure.
    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        tail.iter().map(|line| format!("\n  {line}")).collect()
    }
}

/// A line now and then about how far ninja is.
struct Progress {
    begun: Instant,
    /// When the last line was printed.
    said: Instant,
}

impl Progress {
    fn new() -> Self {
        let now = clock::now();
        Self { begun: now, said: now }
    }

    fn see(&mut self, line: &str) {
        let Some((done, all)) = steps(line) else { return };
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = clock::now();
            eprintln!("  {done} of {all} steps in {}", minutes(self.begun.elapsed()));
        }
    }
}

/// The figures of a line such as `[12/345] Building CXX object …`.
fn steps(line: &str) -> Option<(u32, u32)> {
    let (done, all) = line.strip_prefix('[')?.split_once(']')?.0.split_once('/')?;
    Some((done.parse().ok()?, all.parse().ok()?))
}

/// Puts the programs into `finished/bin`, on the disk when it returns.
fn collect(made: &Path, finished: &Path) -> std::io::Result<()> {
    let bin = finished.join("bin");
    fs::create_dir_all(&bin)?;
    for program in PROGRAMS {
        let place = bin.join(program);
        fs::copy(made.join("bin").join(program), &place)?;
        File::open(&place)?.sync_all()?;
    }
    File::open(&bin)?.sync_all()
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn works(folder: &Path) -> Works {
        let lock = Cache::in_folder(folder).lock().unwrap();
        Works { log: folder.join("build.log"), lock }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn ninjas_steps_are_read_and_other_lines_are_not() {
        assert_eq!(steps("[12/345] Building CXX object a.o"), Some((12, 345)));
        for line in ["[x/2] a", "ninja: entering", "[1/2", "FAILED: [3] a"] {
            assert_eq!(steps(line), None, "{line}");
        }
        assert_eq!(minutes(Duration::from_secs(605)), "10 min 05 s");
    }

    #[test]
    fn a_tool_is_logged_and_followed_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let script = "echo one; echo two >&2; echo three";
        works(folder.path()).run("tool", shell(script), |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two", "three"]);
        let log = fs::read_to_string(folder.path().join("build.log")).unwrap();
        assert_eq!(log, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_tool_that_fails_is_named_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let tool = shell("seq 1 100; echo 'no such header' >&2; exit 3");
        let failure = works(folder.path()).run("ninja", tool, |_| {}).unwrap_err().to_string();
        assert!(failure.starts_with("ninja ended with exit status: 3"), "{failure}");
        assert!(failure.contains("no such header"), "{failure}");
        assert!(!failure.contains("\n  50\n"), "{failure}");
    }

    #[test]
    fn a_tool_that_outlives_the_builder_keeps_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let works = works(folder.path());
        let mut tool = shell("exec sleep 60")
            .stdin(Stdio::from(works.lock.try_clone().unwrap()))
            .spawn()
            .unwrap();
        drop(works);
        let path = folder.path().join(format!("bitcoin-core-{}.lock", source::VERSION));
        let other = File::open(path).unwrap();
        assert!(other.try_lock().is_err());
        tool.kill().unwrap();
        tool.wait().unwrap();
        other.try_lock().unwrap();
    }

    #[test]
    fn the_programs_are_collected() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("build");
        fs::create_dir_all(made.join("bin")).unwrap();
        for program in PROGRAMS {
            fs::write(made.join("bin").join(program), program).unwrap();
        }
        let finished = folder.path().join("finished");
        collect(&made, &finished).unwrap();
        assert_eq!(fs::read_to_string(finished.join("bin/bitcoin-cli")).unwrap(), "bitcoin-cli");
    }
}
