//! The demo: a chain, the pool and the miner on this machine, watched from outside once a second,
//! ended in order, and cross-checked.
//!
//! Read [`run`] first: build, start, watch, finish. The chain is the development chain in the
//! pool's own process, or a real Bitcoin Core (`signet.rs`). The ending keeps an order: the miner
//! stops and hands in what it has, the pool settles, its figures are read everywhere it shows
//! them, the pool stops, the ledger is verified from its event log, and a node's blocks are held
//! against it before the node stops too. With `--gpu` nothing but GPUs may have hashed (`gpus.rs`).
//! Whatever fails on the way, all programs are gone before
//! this returns. It deliberately holds no figure of its own: every one comes from a program's
//! public interface.

pub(crate) mod api;
mod check;
pub(crate) mod children;
mod coinbases;
mod course;
pub(crate) mod decimal;
pub(crate) mod exposition;
mod gpus;
mod guard;
pub(crate) mod interrupt;
pub(crate) mod ledger;
mod line;
mod ports;
mod rpc;
pub(crate) mod signet;
mod summary;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tempfile::TempDir;

use crate::clock;
use crate::failure::Failure;
use crate::node::{self, Core};
use crate::workspace::{self, Binaries};

use api::{Device, PoolStatus, Reader};
use check::Sources;
use children::Running;
use course::{Course, Look};
use interrupt::Interrupt;
use signet::Signet;

/// The demo's miner: the P2WPKH example of BIP 173, whose key is everybody's, and a worker; first
/// for the development chain, which is a regtest, then for a signet.
const MINER_USERS: [&str; 2] = [
    "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.rig1",
    "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx.rig1",
];
/// The longest that a program may take to announce itself.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The same for a miner on GPUs, which measures its shaders first on those that are new to it: 7 s
/// for one in software on a busy virtual machine with two processors, 2026-11-22.
const GPUS_START_LIMIT: Duration = Duration::from_secs(120);
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
    /// Mine on GPUs alone, those in software among them
    #[arg(long, conflicts_with = "threads")]
    gpu: bool,
}

/// What a demo mines with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hasher {
    /// This machine's CPU
    Cpu,
    /// Its GPUs, and not its CPU
    Gpu,
}

/// The chains there are to mine on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Node {
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
pub(crate) fn run_for(seconds: u32, node: Node, hasher: Hasher) -> Result<(), Failure> {
    let (limit, gpu) = (Some(u64::from(seconds)), hasher == Hasher::Gpu);
    let options = Options { seconds: limit, json: false, threads: None, keep: false, node, gpu };
    if mined_seconds(&options)? < f64::from(seconds) {
        return Err(Failure::new(format!("the demo was stopped before its {seconds} s were over")));
    }
    Ok(())
}

/// Runs the demo and returns how long it mined. Until the first program is started, Ctrl-C ends
/// this one as it ends any: there is nothing to put in order.
fn mined_seconds(options: &Options) -> Result<f64, Failure> {
    let core = match options.node {
        Node::Embedded => None,
        Node::Core => Some(node::provide()?),
    };
    let binaries = workspace::build_release()?;
    if options.gpu {
        gpus::require(&binaries.miner)?;
    }
    let folder = tempfile::Builder::new()
        .prefix("wattproof-demo-")
        .tempdir()
        .map_err(|e| Failure::new(format!("no temporary directory: {e}")))?;
    let interrupt = Interrupt::install()?;
    let outcome = start_and_finish(options, core.as_ref(), &binaries, folder.path(), &interrupt);
    put_away(folder, options.keep, outcome)
}

/// The programs while they run. Fields drop in order: the miner ends before the pool, and the
/// pool before the node.
struct Demo<'a> {
    miner: Running,
    pool: Running,
    /// `None` where the chain is in the pool's process.
    signet: Option<Signet>,
    reader: Reader,
    folder: &'a Path,
    /// Whether nothing but GPUs may hash.
    gpu: bool,
    begun: Instant,
    interrupt: &'a Interrupt,
}

/// What was read at the end and found to agree.
struct Ending {
    status: PoolStatus,
    /// The miner's devices, where they had to be GPUs.
    gpus: Option<Vec<Device>>,
}

fn start_and_finish(
    options: &Options,
    core: Option<&Core>,
    binaries: &Binaries,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let mut demo = Demo::start(options, core, binaries, folder, interrupt)?;
    let mut course = demo.watch(options.seconds)?;
    println!("stopping the miner, then the pool");
    let Ending { status, gpus } = demo.finish(&mut course, &binaries.pool)?;
    print!("{}", summary::table(&course, &status));
    let agree = match core {
        None => "the API, the metrics, the page and the ledger agree",
        Some(_) => "the API, the metrics, the page, the ledger and the node's coinbases agree",
    };
    println!("  {:<16}{agree}", "cross-check");
    if let Some(gpus) = &gpus {
        println!("  {:<16}{}, and nothing else", "hashed on", summary::hashed_on(gpus));
    }
    if options.json {
        println!("{}", summary::json(&course, &status, gpus.as_deref()));
    }
    Ok(course.last().seconds)
}

impl<'a> Demo<'a> {
    fn start(
        options: &Options,
        core: Option<&Core>,
        binaries: &Binaries,
        folder: &'a Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let signet = core.map(|core| Signet::start(core, folder, interrupt)).transpose()?;
        let command = pool_command(&binaries.pool, folder, signet.as_ref())?;
        let mut pool = Running::start("pool", command, folder)?;
        let stratum = pool.announced("stratum", START_LIMIT, interrupt)?;
        let page = pool.announced("page", START_LIMIT, interrupt)?;

        let user = MINER_USERS[usize::from(signet.is_some())];
        let mut command = Command::new(&binaries.miner);
        command.env("WATTPROOF_MINER_ENERGY_KEY", folder.join("miner.key"));
        command.args(["-o", &stratum, "-u", user, "-p", "x", "--api", "127.0.0.1:0"]);
        if let Some(threads) = options.threads {
            command.args(["-t", &threads.to_string()]);
        }
        if options.gpu {
            command.args(gpus::ARGUMENTS);
        }
        let mut miner = Running::start("miner", command, folder)?;
        let limit = if options.gpu { GPUS_START_LIMIT } else { START_LIMIT };
        let miner_api = miner.announced("api", limit, interrupt)?;
        if let (Some(core), Some(signet)) = (core, &signet) {
            println!("node    {} at {}", core.version, signet.url());
        }
        println!("page    {page}\nstratum {stratum}\nminer   {miner_api}\n");
        let reader = Reader::new(&page, &miner_api);
        let (gpu, begun) = (options.gpu, clock::now());
        Ok(Self { miner, pool, signet, reader, folder, gpu, begun, interrupt })
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

    /// Stops the programs in order and compares what they say, which is then returned.
    fn finish(mut self, course: &mut Course, pool: &Path) -> Result<Ending, Failure> {
        let (mut last, _) = self.look()?;
        let gpus = self.gpu.then(|| self.reader.miner_devices()).transpose()?;
        self.miner.stop(STOP_LIMIT, self.interrupt)?;
        let status = self.settled()?;
        last.proven = status.work_hashes.whole();
        last.shares = status.shares.accepted;
        course.add(last);
        let metrics = self.reader.pool_text("/metrics")?;
        let page = self.reader.pool_text("/")?;
        self.pool.stop(STOP_LIMIT, self.interrupt)?;
        let verified = ledger::verify(pool, &data(self.folder))?;
        let mut found = check::disagreements(&status, &Sources { metrics, page, verified });
        if let Some(gpus) = &gpus {
            found.extend(check::not_by_gpus(&status, gpus));
        }
        if let Some(mut signet) = self.signet.take() {
            let listed = ledger::blocks(pool, &config(self.folder))?;
            let chain = signet.blocks()?;
            found.extend(coinbases::disagreements(&status, &listed, &chain, signet::POOL_ADDRESS));
            signet.stop(self.interrupt)?;
        }
        if found.is_empty() {
            return Ok(Ending { status, gpus });
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
            self.signet.as_mut().map_or(Ok(()), Signet::check_alive)?;
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

/// The pool on its own development chain, or on the node.
fn pool_command(pool: &Path, folder: &Path, signet: Option<&Signet>) -> Result<Command, Failure> {
    let (data, config) = (data(folder), config(folder));
    let (stratum, http) = (ports::listen("stratum", 3333), ports::listen("page", 8080));
    let mut command = Command::new(pool);
    command.current_dir(folder);
    match signet {
        None => {
            command.arg("demo").arg("--data").arg(data);
            command.args(["--stratum", &stratum, "--http", &http]);
        }
        Some(signet) => {
            signet.write_config(&config, &data, &stratum, &http)?;
            command.arg("run").arg("--config").arg(config);
            without_overrides(&mut command);
        }
    }
    Ok(command)
}

/// Takes away the environment variables that would set keys over the configuration's.
fn without_overrides(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("WATTPROOF_POOL_") && name != "WATTPROOF_POOL_LOG" {
            command.env_remove(&*name);
        }
    }
}

/// Where the pool keeps its ledger.
fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The configuration of a pool on a node.
fn config(folder: &Path) -> PathBuf {
    folder.join("pool.toml")
}

/// Removes the data of a run that went well, unless it is wanted; names the place otherwise.
pub(crate) fn put_away<T>(
    folder: TempDir,
    keep: bool,
    outcome: Result<T, Failure>,
) -> Result<T, Failure> {
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
