//! Settling a block over a window of ten million shares: written by the path that a pool's shares
//! take, settled by another process that has read nothing yet.
//!
//! The window begins inside a slice, so that one slice's shares are read one by one. Work differs
//! from share to share and accounts come in an order of chance, so that no two accounts have the
//! same; what each must get is worked out here from the shares alone.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::Args;
use ledger::{
    AccountId, BlockId, Candidate, Ledger, Reader, Scheme, Settings, Share, SliceIndex, WorkerId,
    split,
};
use serde_json::{Value, json};
use units::{BasisPoints, Sats, UnixMillis, Work};

use super::{BooksError, at, folder, forget_files, length};
use crate::measure::WrongAnswer;

const REWARD: u64 = 312_500_001;
const FEE_ACCOUNT: &str = "pool";
const BLOCK: BlockId = [7; 32];
/// Work of the easiest share; others have up to eight times as much.
const WORK: u128 = 1 << 33;
/// Hashes of a block. A power of two, so that no share's part of a block is rounded.
const BLOCK_WORK: u128 = 1 << 44;

/// What is settled.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Shares in the window.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    shares: u64,
    /// Accounts that they are of.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    accounts: u32,
    /// Shares that are committed together.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    batch: u64,
    /// Shares after which a slice is closed.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    slice: u64,
    /// Where the ledger lies meanwhile; the system's place for temporary files when left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
    /// Settle the block of the ledger in this folder: what the run has another process do.
    #[arg(long, hide = true)]
    cold: Option<PathBuf>,
    /// The window for that, in hundredths of a block.
    #[arg(long, hide = true, default_value_t = 100)]
    window: u32,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Settled {
    options: Options,
    /// Time for all commits and slices.
    wrote: Duration,
    bytes: u64,
    /// Whether the kernel forgot the files in between.
    forgotten: bool,
    /// Opening the ledger, and the settlement, in the new process.
    opened: Duration,
    settled: Duration,
    /// What that process had of a processor for all it did; zero where the system does not say.
    processor: Duration,
}

/// Runs it, or the part of it that another process is asked for.
pub(crate) fn run(
    options: &Options,
    clock: &dyn Fn() -> Duration,
) -> Result<Option<Settled>, BooksError> {
    let Some(folder) = &options.cold else { return measure(options, clock).map(Some) };
    let before = clock();
    let mut ledger = Ledger::open(&path_in(folder), settings(options.window))?;
    let opened = clock();
    let change = ledger.on_chain(BLOCK, 1, at(0))?;
    let settled = clock();
    WrongAnswer::unless_equal("settled", &true, &change.changed())?;
    let times = json!({
        "processor": processor_time().as_secs_f64(),
        "opened": (opened - before).as_secs_f64(),
        "settled": (settled - opened).as_secs_f64(),
    });
    // Its parent reads this.
    let printed = std::io::Write::write_all(&mut std::io::stdout(), times.to_string().as_bytes());
    printed.map_err(BooksError::io("standard output"))?;
    Ok(None)
}

fn measure(options: &Options, clock: &dyn Fn() -> Duration) -> Result<Settled, BooksError> {
    let folder = folder(options.dir.as_ref())?;
    let path = path_in(folder.path());
    let total = options.before() + options.shares;
    let window = window_hundredths(options.before()..total)?;
    let start = clock();
    let newest = write(options, &path, total)?;
    let wrote = clock() - start;
    let mut ledger = Ledger::open(&path, settings(window))?;
    ledger.candidate(&candidate(newest))?;
    drop(ledger);
    let bytes = length(&path);
    let forgotten = forget_files();
    let [opened, settled, processor] = settle_elsewhere(folder.path(), window)?;
    check(options, &path, total, window)?;
    Ok(Settled { options: options.clone(), wrote, bytes, forgotten, opened, settled, processor })
}

/// The window that is as long as these shares, but for less than a hundredth of a block.
fn window_hundredths(shares: core::ops::Range<u64>) -> Result<u32, BooksError> {
    let hundredths = shares.map(work).sum::<u128>() * 100 / BLOCK_WORK;
    let fits = u32::try_from(hundredths).ok().filter(|hundredths| *hundredths > 0);
    fits.ok_or_else(|| BooksError::Child(format!("a window of {hundredths}/100 of a block")))
}

/// Commits shares and closes slices as a pool does; the newest slice.
fn write(options: &Options, path: &Path, total: u64) -> Result<SliceIndex, BooksError> {
    let mut ledger = Ledger::open(path, settings(100))?;
    let names: Vec<String> = (0..options.accounts).map(|n| format!("account{n:06}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "rig")).collect();
    let workers = ledger.workers(&names, at(0))?;
    let (mut next, mut open) = (0, 0);
    while next < total {
        let end = total.min(next + options.batch).min(next + options.slice - open);
        let share = |number| share(number, &workers);
        let shares: Vec<Share> = (next..end).map(share).collect();
        let committed = ledger.commit(&shares)?;
        WrongAnswer::unless_equal("last share", &end, &committed.last_seq)?;
        open += end - next;
        next = end;
        if open == options.slice || next == total {
            let head = ledger.close_slice(at(next / 100))?;
            WrongAnswer::unless_equal("shares of a slice", &open, &head.shares)?;
            open = 0;
        }
    }
    Ok(ledger.newest_slice().index)
}

/// Has a new process settle the block.
fn settle_elsewhere(folder: &Path, window: u32) -> Result<[Duration; 3], BooksError> {
    let program = std::env::current_exe().map_err(BooksError::io("this program"))?;
    let mut command = Command::new(program);
    command.arg("settle").arg("--cold").arg(folder).args(["--window", &window.to_string()]);
    let output = command.output();
    let output = output.map_err(BooksError::io("the process that settles"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let times: Value = serde_json::from_str(&said).map_err(|error| {
        BooksError::Child(format!("{error}: {said} {}", String::from_utf8_lossy(&output.stderr)))
    })?;
    let time = |key: &str| Duration::from_secs_f64(times[key].as_f64().unwrap_or_default());
    Ok(["opened", "settled", "processor"].map(time))
}

/// What this process has had of a processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// What each account has in the window, counted share by share from its end.
fn weights(options: &Options, total: u64, window: u32) -> Vec<(AccountId, u128)> {
    let mut weights = vec![0_u128; usize::try_from(options.accounts).expect("32 bits fit")];
    let mut left = (u128::from(window) << 64) / 100;
    for number in (0..total).rev() {
        let turn = usize::try_from(account(number, u64::from(options.accounts)));
        let inside = left.min((work(number) << 64) / BLOCK_WORK);
        weights[turn.expect("below the number of accounts")] += inside;
        left -= inside;
        if left == 0 {
            break;
        }
    }
    (1..).map(AccountId::new).zip(weights).filter(|(_, weight)| *weight > 0).collect()
}

/// The pool's part of the reward.
fn fee() -> u64 {
    BasisPoints::new(100).expect("one percent is at most all").of(sats(REWARD)).to_sat()
}

/// Every credit, against what it must be.
fn check(options: &Options, path: &Path, total: u64, window: u32) -> Result<(), BooksError> {
    let fee = fee();
    let weights = weights(options, total, window);
    let parts = split(sats(REWARD - fee), &weights)
        .map_err(|error| BooksError::Child(format!("the window cannot be divided: {error}")))?;
    let mut expected: Vec<(String, u64)> = parts
        .into_iter()
        .map(|(id, part)| (format!("account{:06}", id.get() - 1), part.to_sat()))
        .filter(|(_, part)| *part > 0)
        .collect();
    expected.push((FEE_ACCOUNT.to_owned(), fee));
    let credits = Reader::open(path)?.credits_of(&BLOCK)?;
    let mut got: Vec<(String, u64)> =
        credits.into_iter().map(|credit| (credit.account, credit.sats.to_sat())).collect();
    expected.sort();
    got.sort();
    WrongAnswer::unless_equal("credits", &expected.len(), &got.len())?;
    for (expected, got) in expected.iter().zip(&got) {
        WrongAnswer::unless_equal("a credit", expected, got)?;
    }
    Ok(())
}

/// Chance, the same for the same number (`SplitMix64`).
const fn chance(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const fn account(number: u64, accounts: u64) -> u64 {
    (chance(number) >> 16) % accounts
}

fn work(number: u64) -> u128 {
    WORK << (chance(number) & 3)
}

pub(super) fn share(number: u64, workers: &[WorkerId]) -> Share {
    let mut header = [0; 80];
    header[36..44].copy_from_slice(&number.to_le_bytes());
    let turn = account(number, u64::try_from(workers.len()).expect("a count fits"));
    let worker = workers[usize::try_from(turn).expect("below their number")];
    let at = UnixMillis::new(at(number / 100).get());
    let network_work = Work::new(BLOCK_WORK);
    Share { worker, work: Work::new(work(number)), network_work, at, header }
}

fn candidate(committed_slice: SliceIndex) -> Candidate {
    Candidate {
        hash: BLOCK,
        height: 900_000,
        reward: sats(REWARD),
        network_work: Work::new(BLOCK_WORK),
        finder: WorkerId::new(1),
        committed_slice,
        direct: Vec::new(),
        block: vec![0; 80],
        at: at(0),
    }
}

fn sats(amount: u64) -> Sats {
    Sats::from_sat(amount).expect("less than there are")
}

pub(super) fn settings(window_hundredths: u32) -> Settings {
    Settings {
        scheme: Scheme::Pplns { window_hundredths },
        fee: BasisPoints::new(100).expect("one percent is at most all"),
        fee_account: FEE_ACCOUNT.to_owned(),
        maturity: 100,
        best_headers: 256,
    }
}

pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join("bench.sqlite")
}

impl Options {
    /// Shares before the window: half a slice and some, so that it begins inside one.
    const fn before(&self) -> u64 {
        self.slice / 2 + 17
    }
}

impl Settled {
    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let shares = (self.options.shares + self.options.before()) as f64;
        shares / self.wrote.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn bytes_each(&self) -> f64 {
        self.bytes as f64 / (self.options.shares + self.options.before()) as f64
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "shares": self.options.shares,
            "accounts": self.options.accounts,
            "batch": self.options.batch,
            "slice": self.options.slice,
            "written_seconds": self.wrote.as_secs_f64(),
            "written_per_second": self.per_second(),
            "bytes": self.bytes,
            "files_forgotten": self.forgotten,
            "open_seconds": self.opened.as_secs_f64(),
            "settle_seconds": self.settled.as_secs_f64(),
            "processor_seconds": self.processor.as_secs_f64(),
        })
    }

    pub(crate) fn text(&self) -> String {
        let Options { shares, accounts, batch, slice, .. } = &self.options;
        let cold = if self.forgotten { "files not in memory" } else { "files as they were" };
        format!(
            "ledger/settle: {shares} shares of {accounts} accounts, in commits of {batch}, slices of \
             {slice}\n  written   {:>9.1} s, {:.0} shares a second, {:.1} bytes a share\n  \
             settled   {:>9.3} s by a new process, {cold} (bar: 1 s)\n  opened    {:>9.3} s; \
             processor's time for both {:.3} s",
            self.wrote.as_secs_f64(),
            self.per_second(),
            self.bytes_each(),
            self.settled.as_secs_f64(),
            self.opened.as_secs_f64(),
            self.processor.as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All but the new process: what the bench asserts is tested wherever tests run.
    #[test]
    fn a_small_window_is_settled_as_expected() {
        for (shares, slice) in [(2_000, 300), (500, 5_000)] {
            let options = Options {
                shares,
                accounts: 40,
                batch: 70,
                slice,
                dir: None,
                json: false,
                cold: None,
                window: 0,
            };
            let folder = folder(None).unwrap();
            let path = path_in(folder.path());
            let total = options.before() + shares;
            let window = window_hundredths(options.before()..total).unwrap();
            let newest = write(&options, &path, total).unwrap();
            let mut ledger = Ledger::open(&path, settings(window)).unwrap();
            ledger.candidate(&candidate(newest)).unwrap();
            ledger.on_chain(BLOCK, 1, at(0)).unwrap();
            check(&options, &path, total, window).unwrap();
            assert!(check(&options, &path, total - 1, window).is_err(), "another window");
        }
    }
}
