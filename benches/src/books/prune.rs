//! Dropping the headers of old shares: what one call holds a commit up by, and what is left of a
//! share. The audit must count the same shares. (Headers of a bench prove no work, so it is not asked
//! for more.)

use std::time::Duration;

use clap::Args;
use ledger::{Ledger, Pruned, Retention, Share, verify};
use serde_json::{Value, json};

use super::{BooksError, at, folder, length, settle};
use crate::measure::WrongAnswer;

/// Slices that follow, so that all that is measured can go.
const LATER: u64 = 40;

/// What is pruned.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Shares whose headers go.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    shares: u64,
    /// Workers that they are of.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Shares that are committed together.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    batch: u64,
    /// Shares after which a slice is closed.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    slice: u64,
    /// Where the ledger lies meanwhile; the system's place for temporary files when left out.
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Dropped {
    options: Options,
    /// Calls that dropped something or began a slice, all of them together, and the longest.
    calls: u64,
    took: Duration,
    longest: Duration,
    /// Bytes of the file before, and of those that are free for other rows after.
    bytes: u64,
    free: u64,
}

/// Runs it.
pub(crate) fn run(options: &Options, clock: &dyn Fn() -> Duration) -> Result<Dropped, BooksError> {
    let folder = folder(options.dir.as_ref())?;
    let path = settle::path_in(folder.path());
    write(options, &path)?;
    let bytes = length(&path);
    let mut ledger = Ledger::open(&path, settle::settings(1))?;
    let (mut calls, mut took, mut longest, mut shares) = (0, Duration::ZERO, Duration::ZERO, 0);
    loop {
        let before = clock();
        let Pruned { shares: some, more, .. } = ledger.prune(at(0), Retention::default())?;
        let call = clock() - before;
        (calls, took, longest, shares) = (calls + 1, took + call, longest.max(call), shares + some);
        if !more {
            break;
        }
    }
    drop(ledger);
    // And some of those that follow.
    let all = (options.shares..options.shares + LATER).contains(&shares);
    WrongAnswer::unless_equal("whether all lost their headers", &true, &all)?;
    let report = verify::ledger(&path)?;
    WrongAnswer::unless_equal("shares without a header", &shares, &report.without_header)?;
    let free = free(&path)?;
    Ok(Dropped { options: options.clone(), calls, took, longest, bytes, free })
}

/// Commits the shares and closes their slices, and some after them.
fn write(options: &Options, path: &std::path::Path) -> Result<(), BooksError> {
    let mut ledger = Ledger::open(path, settle::settings(1))?;
    let names: Vec<String> = (0..options.workers).map(|n| format!("rig{n:06}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| ("account", name.as_str())).collect();
    let workers = ledger.workers(&names, at(0))?;
    let (mut next, mut open) = (0, 0);
    while next < options.shares {
        let end = options.shares.min(next + options.batch).min(next + options.slice - open);
        let shares: Vec<Share> = (next..end).map(|n| settle::share(n, &workers)).collect();
        ledger.commit(&shares)?;
        open += end - next;
        next = end;
        if open == options.slice || next == options.shares {
            ledger.close_slice(at(next / 100))?;
            open = 0;
        }
    }
    for later in 0..LATER {
        ledger.commit(&[settle::share(next + later, &workers)])?;
        ledger.close_slice(at(next / 100))?;
    }
    Ok(())
}

/// Bytes of the file's free pages.
fn free(path: &std::path::Path) -> Result<u64, BooksError> {
    // The header of an SQLite file: the size of a page at 16, the number of free ones at 36.
    let mut head = [0; 40];
    let mut file = std::fs::File::open(path).map_err(BooksError::io("the ledger"))?;
    std::io::Read::read_exact(&mut file, &mut head).map_err(BooksError::io("the ledger"))?;
    let page = u64::from(u16::from_be_bytes([head[16], head[17]]));
    Ok(page * u64::from(u32::from_be_bytes([head[36], head[37], head[38], head[39]])))
}

impl Dropped {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn each(&self, bytes: u64) -> f64 {
        bytes as f64 / self.options.shares as f64
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "shares": self.options.shares,
            "workers": self.options.workers,
            "batch": self.options.batch,
            "slice": self.options.slice,
            "calls": self.calls,
            "seconds": self.took.as_secs_f64(),
            "longest_call_seconds": self.longest.as_secs_f64(),
            "bytes_before": self.bytes,
            "bytes_free_after": self.free,
        })
    }

    pub(crate) fn text(&self) -> String {
        let Options { shares, workers, batch, slice, .. } = self.options;
        format!(
            "{shares} shares of {workers} workers, {batch} a commit, {slice} a slice\n\
             dropped in     {:.2} s, {} calls, the longest {:.1} ms\n\
             before         {:.1} bytes a share\n\
             after          {:.1} bytes a share, the rest of the file is free",
            self.took.as_secs_f64(),
            self.calls,
            1e3 * self.longest.as_secs_f64(),
            self.each(self.bytes),
            self.each(self.bytes.saturating_sub(self.free)),
        )
    }
}
