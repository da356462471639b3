//! The demo: the embedded chain, the pool and the miner on this machine, watched from outside
//! once a second, ended in order, and cross-checked.
//!
//! Read [`run`] first: build, start, watch, finish. The ending keeps an order: the miner stops
//! and hands in what it has, the pool settles, its figures are read everywhere it shows them, the
//! pool stops, and the ledger is verified from its event log. Whatever fails on the way, both
//! programs are gone before this returns. It deliberately holds no figure of its own: every one
//! comes from a program's public interface.

mod api;
mod check;
mod children;
mod course;
mod decimal;
mod exposition;
mod interrupt;
mod line;
mod ports;
mod summary;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tempfile::TempDir;

use crate::clock;
use crate::failure::Failure;
use crate::workspace::{self, Binaries};

use api::{PoolStatus, Reader, Verified};
use check::Sources;
use children::Running;
use course::{Course, Look};
use interrupt::Interrupt;

/// The demo's miner: a well-known regtest address that nobody holds the key of, and a worker.
const MINER_USER: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.rig1";
/// The longest that a program may take to announce itself.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest that a program may take to stop when it is asked.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// The longest that the pool may take to settle after the last share.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks that must be equal before the pool counts as settled.
const SETTLE_PAUSE: Duration = Duration::from_millis(300);
/// Looks that may fail in a row before the demo gives up.
const FAILED_LOOKS_MAX: u32 = 10;
/// Rows between two headings.
const ROWS_PER_HEADING: u64 = 20;
/// How soon an interrupt or a dead child is noticed.
const NAP: Duration = Duration::from_millis(50);

/// What `cargo xtask demo` may be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Stop after this many seconds of mining instead of at Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Print the summary as one JSON object on the last line
    #[arg(long)]
    json: bool,
    /// Mining threads; left out, the miner decides
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// Keep the data directory and the logs, and say where they are
    #[arg(long)]
    keep: bool,
    /// The chain to mine on
    #[arg(long, value_enum, default_value_t = Node::Embedded)]
    node: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Node {
    /// The development chain inside the pool
    Embedded,
    /// A real Bitcoin Core on a private signet
    Core,
}

/// Runs the demo from the build to the summary.
///
/// # Errors
/// Says what failed, or which two figures disagree; the data and the logs are then kept.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    mined_seconds(options).map(|_| ())
}

/// A demo as a check: it has to last its whole time.
///
/// # Errors
/// As [`run`], and where somebody cut it short.
pub(crate) fn run_for(seconds: u32) -> Result<(), Failure> {
    let limit = Some(u64::from(seconds));
    let node = Node::Embedded;
    let options = Options { seconds: limit, json: false, threads: None, keep: false, node };
    if mined_seconds(&options)? < f64::from(seconds) {
        return Err(Failure::new(format!("the demo was stopped before its {seconds} s were over")));
    }
    Ok(())
}

/// Runs the demo and returns how long it mined.
fn mined_seconds(options: &Options) -> Result<f64, Failure> {
    if options.node == Node::Core {
        return Err(Failure::usage("demo --node core comes with a later version"));
    }
    let interrupt = Interrupt::install()?;
    let binaries = workspace::build_release()?;
    if interrupt.take() {
        return Err(Failure::new("stopped before anything was started"));
    }
    let folder = tempfile::Builder::new()
        .prefix("wattproof-demo-")
        .tempdir()
        .map_err(|e| Failure::new(format!("no temporary directory: {e}")))?;
    let outcome = start_and_finish(options, &binaries, folder.path(), &interrupt);
    put_away(folder, options.keep, outcome)
}

/// The two programs while they run. Fields drop in order: the miner ends before the pool.
struct Demo<'a> {
    miner: Running,
    pool: Running,
    reader: Reader,
    data: PathBuf,
    begun: Instant,
    interrupt: &'a Interrupt,
}

fn start_and_finish(
    options: &Options,
    binaries: &Binaries,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let mut demo = Demo::start(options, binaries, folder, interrupt)?;
    let mut course = demo.watch(options.seconds)?;
    println!("stopping the miner, then the pool");
    let status = demo.finish(&mut course, &binaries.pool)?;
    print!("{}", summary::table(&course, &status));
    println!("  {:<16}the API, the metrics, the page and the ledger agree", "cross-check");
    if options.json {
        println!("{}", summary::json(&course, &status));
    }
    Ok(course.last().seconds)
}

impl<'a> Demo<'a> {
    fn start(
        options: &Options,
        binaries: &Binaries,
        folder: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let data = folder.join("data");
        let mut command = Command::new(&binaries.pool);
        command.current_dir(folder).arg("demo").arg("--data").arg(&data);
        command.args(["--stratum", &ports::listen("stratum", 3333)]);
        command.args(["--http", &ports::listen("page", 8080)]);
        let mut pool = Running::start("pool", command, folder)?;
        let stratum = pool.announced("stratum", START_LIMIT, interrupt)?;
        let page = pool.announced("page", START_LIMIT, interrupt)?;

        let mut command = Command::new(&binaries.miner);
        command.current_dir(folder); // the miner keeps the key of its reports where it runs
        command.args(["-o", &stratum, "-u", MINER_USER, "-p", "x", "--api", "127.0.0.1:0"]);
        if let Some(threads) = options.threads {
            command.args(["-t", &threads.to_string()]);
        }
        let mut miner = Running::start("miner", command, folder)?;
        let miner_api = miner.announced("api", START_LIMIT, interrupt)?;
        println!("page    {page}\nstratum {stratum}\nminer   {miner_api}\n");
        let reader = Reader::new(&page, &miner_api);
        Ok(Self { miner, pool, reader, data, begun: clock::now(), interrupt })
    }

    /// Prints a row a second until the time is over or somebody asks to stop.
    fn watch(&mut self, seconds: Option<u64>) -> Result<Course, Failure> {
        let mut course = Course::new(Look { seconds: 0.0, claimed: 0, proven: 0, shares: 0 });
        let mut failed_looks = 0;
        let mut second = 0;
        while seconds.is_none_or(|limit| second < limit) {
            second += 1;
            if !self.nap_until(Duration::from_secs(second))? {
                break;
            }
            match self.look() {
                Ok((look, status)) => {
                    failed_looks = 0;
                    course.add(look);
                    print_row(second, &course, &status);
                }
                Err(failure) if failed_looks < FAILED_LOOKS_MAX => {
                    failed_looks += 1;
                    eprintln!("{second} s: {failure}");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(course)
    }

    /// Stops both programs in order and compares what they say; the settled status.
    fn finish(mut self, course: &mut Course, pool: &Path) -> Result<PoolStatus, Failure> {
        let (mut last, _) = self.look()?;
        self.miner.stop(STOP_LIMIT, self.interrupt)?;
        let status = self.settled()?;
        last.proven = status.work_hashes.whole();
        last.shares = status.shares.accepted;
        course.add(last);
        let metrics = self.reader.pool_text("/metrics")?;
        let page = self.reader.pool_text("/")?;
        self.pool.stop(STOP_LIMIT, self.interrupt)?;
        let verified = verify(pool, &self.data)?;
        let found = check::disagreements(&status, &Sources { metrics, page, verified });
        if found.is_empty() {
            return Ok(status);
        }
        print!("{}", summary::table(course, &status));
        Err(Failure::new(format!("the figures disagree:\n  {}", found.join("\n  "))))
    }

    /// Reads both programs at nearly one instant.
    fn look(&self) -> Result<(Look, PoolStatus), Failure> {
        let claimed = self.reader.claimed_hashes()?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let status = self.reader.pool_status()?;
        let (proven, shares) = (status.work_hashes.whole(), status.shares.accepted);
        Ok((Look { seconds, claimed, proven, shares }, status))
    }

    /// Sleeps until so long after the beginning; false where somebody asked to stop.
    fn nap_until(&mut self, end: Duration) -> Result<bool, Failure> {
        while self.begun.elapsed() < end {
            if self.interrupt.take() {
                return Ok(false);
            }
            self.pool.check_alive()?;
            self.miner.check_alive()?;
            thread::sleep(NAP.min(end.saturating_sub(self.begun.elapsed())));
        }
        Ok(true)
    }

    /// The status once nothing moves any more and every block found has its verdict.
    fn settled(&mut self) -> Result<PoolStatus, Failure> {
        let begun = clock::now();
        let mut before = self.reader.pool_status()?;
        while begun.elapsed() < SETTLE_LIMIT {
            thread::sleep(SETTLE_PAUSE);
            self.pool.check_alive()?;
            let status = self.reader.pool_status()?;
            if status == before && status.blocks.unresolved == 0 {
                return Ok(status);
            }
            before = status;
        }
        let limit = SETTLE_LIMIT.as_secs();
        let why = "the pool's figures still moved, or a block had no verdict,";
        Err(Failure::new(format!("{why} {limit} s after the miner stopped: {before:?}")))
    }
}

fn print_row(second: u64, course: &Course, status: &PoolStatus) {
    if (second - 1).is_multiple_of(ROWS_PER_HEADING) {
        println!("{}", line::heading());
    }
    println!("{}", line::progress(second, course.recent_rates(), status));
}

/// Runs the ledger's own verification on the stopped pool's data.
fn verify(pool: &Path, data: &Path) -> Result<Verified, Failure> {
    let failed = |why: String| Failure::new(format!("wattproof-pool verify ledger: {why}"));
    let output = Command::new(pool)
        .args(["verify", "ledger", "--json", "--dir"])
        .arg(data)
        .output()
        .map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let object = text.lines().last().unwrap_or_default();
    serde_json::from_str(object).map_err(|e| {
        let said = String::from_utf8_lossy(&output.stderr);
        failed(format!("{e}; it ended with {} and said: {}", output.status, said.trim()))
    })
}

/// Removes the data of a run that went well, unless it is wanted; names the place otherwise.
fn put_away<T>(folder: TempDir, keep: bool, outcome: Result<T, Failure>) -> Result<T, Failure> {
    match outcome {
        Ok(value) => {
            if keep {
                eprintln!("kept: {}", folder.keep().display());
            }
            Ok(value)
        }
        Err(failure) => {
            let place = format!("\nthe data and the logs are kept in {}", folder.keep().display());
            Err(failure.with(&place))
        }
    }
}
