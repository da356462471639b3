//! What ten-minute aggregates take on disk: some periods of shares and readings of many workers
//! through the ledger's usual path, and from their bytes a year's.
//!
//! A year of the shares themselves would fill the disk, so a year of aggregates is reckoned from
//! the periods that were written, whose workers all did something. A database's pages take a
//! little more than the bytes that are in them: [`PAGES`].

use std::{path::PathBuf, time::Duration};

use clap::Args;
use ledger::{Ledger, Reader, Reading, Scheme, Settings, Share, WorkerId};
use serde_json::{Value, json};
use units::{BasisPoints, MicroJoules, UnixMillis, Work};

use super::{BooksError, folder};
use crate::measure::WrongAnswer;

/// Milliseconds of a period, and periods in a year.
const PERIOD: u64 = 600_000;
/// A moment at which a period begins, in November 2026, and one long after all of them.
const START: u64 = 2_992_182 * PERIOD;
const LATEST: u64 = u64::MAX >> 12;
const A_YEAR: u64 = 365 * 24 * 6;
/// Bytes on disk for a thousand in long rows: 4,092 of each page of 4,096 hold the row, the last
/// one is half empty, and two small tables say where each is.
const PAGES: u64 = 1_030;
/// Shares of a worker in a period: one in ten seconds.
const SHARES: u64 = 60;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Workers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Periods of shares.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    periods: u64,
    /// Where the ledger lies meanwhile; the system's place for temporary files when left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What they take.
#[derive(Debug)]
pub(crate) struct Kept {
    options: Options,
    /// Bytes of one worker's line without a reading and with one.
    plain: f64,
    reported: f64,
    /// Reading a worker's series.
    read: Duration,
}

/// Writes periods, and looks at what was kept of them.
pub(crate) fn run(options: &Options, clock: &dyn Fn() -> Duration) -> Result<Kept, BooksError> {
    let folder = folder(options.dir.as_ref())?;
    let path = folder.path().join("bench.sqlite");
    let mut ledger = Ledger::open(&path, settings())?;
    let names: Vec<String> = (0..options.workers).map(|n| format!("account{n:06}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "rig")).collect();
    let workers = ledger.workers(&names, at(0))?;
    let reader = Reader::open(&path)?;
    for period in 0..options.periods {
        commit(&mut ledger, &workers, period)?;
    }
    let shares = reader.aggregates_kept()?;
    let lines = options.periods * u64::from(options.workers);
    WrongAnswer::unless_equal("lines of shares", &lines, &shares.workers)?;
    let readings = |turn| {
        let reading = |(worker, number)| reading(worker, number, options.periods, turn);
        workers.iter().copied().zip(1..).map(reading).collect::<Vec<_>>()
    };
    ledger.record_readings(&readings(0))?;
    ledger.record_readings(&readings(1))?;
    commit(&mut ledger, &workers, options.periods)?;
    let all = reader.aggregates_kept()?;
    let more = all.bytes - shares.bytes;
    let (plain, reported) = (per(shares.bytes, lines), per(more, options.workers.into()));
    let before = clock();
    let series = reader.aggregates(workers[0], at(0), at(LATEST))?;
    let read = clock() - before;
    WrongAnswer::unless_equal("the series", &(options.periods + 1), &count(series.len()))?;
    for one in &series {
        WrongAnswer::unless_equal("shares of a period", &SHARES, &one.shares)?;
    }
    let done: u128 = series.iter().map(|one| one.work.get()).sum();
    let each = |period| u128::from(SHARES) * work(0, period);
    let expected: u128 = (0..=options.periods).map(each).sum();
    WrongAnswer::unless_equal("work of all periods", &expected, &done)?;
    Ok(Kept { options: options.clone(), plain, reported, read })
}

/// A period's shares, and the slice that is closed after it.
fn commit(ledger: &mut Ledger, workers: &[WorkerId], period: u64) -> Result<(), BooksError> {
    for round in 0..SHARES {
        for chunk in (0_u64..).zip(workers).collect::<Vec<_>>().chunks(5_000) {
            let share = |(number, worker): &(u64, &WorkerId)| {
                let mut header = [0; 80];
                let serial = (period * SHARES + round) << 32 | number;
                header[36..44].copy_from_slice(&serial.to_le_bytes());
                Share {
                    worker: **worker,
                    work: Work::new(work(*number, period)),
                    network_work: Work::new(1 << 78),
                    at: at(period * PERIOD + round * 10_000),
                    header,
                }
            };
            ledger.commit(&chunk.iter().map(share).collect::<Vec<_>>())?;
        }
    }
    ledger.close_slice(at((period + 1) * PERIOD))?;
    Ok(())
}

/// A share of a rig of 1 to 500 TH/s that finds one in ten seconds, never a round number.
fn work(worker: u64, period: u64) -> u128 {
    let terahashes = u128::from(worker % 500 + 1);
    terahashes * 10_000_000_000_000 + u128::from(worker * 7_919 + period * 104_729 + 1)
}

/// One of two readings, of which the second credits what a rig of some kilowatts takes in ten
/// minutes.
fn reading(worker: WorkerId, number: u64, period: u64, turn: u64) -> Reading {
    let total = u128::from(turn * (1_800_000_000_000 + number * 7_919));
    Reading {
        worker,
        meter: "asic-psu".to_owned(),
        kind: "asic-psu".to_owned(),
        scope: "rig".to_owned(),
        tier: 3,
        epoch: 1,
        total: MicroJoules::new(total),
        hashes_total: None,
        credited: MicroJoules::new(total),
        gap: Duration::ZERO,
        counted: true,
        coverage_ppm: 1_000_000,
        uncertainty_ppm: 50_000,
        at: at(period * PERIOD + turn),
    }
}

/// So many milliseconds after a moment at which ten minutes begin, as the ledger counts them: a
/// slice that fills up meanwhile ends none of them.
fn at(millis: u64) -> UnixMillis {
    UnixMillis::new((START + millis).min(LATEST))
}

fn settings() -> Settings {
    Settings {
        scheme: Scheme::Pplns { window_hundredths: 200 },
        fee: BasisPoints::new(100).expect("one percent is at most all"),
        fee_account: "pool".to_owned(),
        maturity: 100,
        best_headers: 0,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits")
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per(bytes: u64, lines: u64) -> f64 {
    bytes as f64 / lines as f64
}

impl Kept {
    /// Gigabytes of a year in which every worker reports its energy.
    fn year(&self) -> f64 {
        let lines = u64::from(self.options.workers) * A_YEAR;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let lines = lines as f64;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let pages = PAGES as f64 / 1e3;
        lines * self.reported * pages / 1e9
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "workers": self.options.workers,
            "periods": self.options.periods,
            "bytes_a_line": self.plain,
            "bytes_a_line_with_energy": self.reported,
            "gigabytes_a_year": self.year(),
            "read_seconds": self.read.as_secs_f64(),
        })
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "ledger/aggregates: {} workers, {} periods of ten minutes\n  a worker's line {:>6.2} \
             bytes, {:.2} with energy\n  a year          {:>6.2} GB with energy of everybody, \
             reckoned from these (bar: 25 GB)\n  a series of {} read in {:.1} ms",
            self.options.workers,
            self.options.periods,
            self.plain,
            self.reported,
            self.year(),
            self.options.periods + 1,
            self.read.as_secs_f64() * 1e3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_workers_take_few_bytes() {
        // So many that slices fill up within a period.
        let options = Options { workers: 1_500, periods: 2, dir: None, json: false };
        let kept = run(&options, &crate::clock::read()).unwrap();
        assert!((5.0..20.0).contains(&kept.plain), "{kept:?}");
        assert!((kept.plain..kept.plain + 8.0).contains(&kept.reported), "{kept:?}");
    }
}
