//! The ledger's large figures: a window of millions of shares settled by a process that has just
//! started, a year of aggregates, and the end of old headers.
//!
//! Read [`settle`], then [`aggregates`] and [`prune`]. Every run knows what its answer must be, worked out share
//! by share without the ledger, and prints no figure of a wrong one. Like the other cases they
//! judge nothing but answers: whether a second is enough is for the reader to see.

pub(crate) mod aggregates;
pub(crate) mod prune;
pub(crate) mod settle;

use std::{fs, path::PathBuf};

use ledger::LedgerError;
use units::UnixMillis;

use crate::measure::WrongAnswer;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BooksError {
    #[error("wrong answer: {0}")]
    Wrong(#[from] WrongAnswer),
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error("the process that settles: {0}")]
    Child(String),
}

impl BooksError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

/// The instant `millis` after the runs begin.
fn at(millis: u64) -> UnixMillis {
    UnixMillis::new(1_795_309_039_000 + millis)
}

/// A folder of its own that goes with the run.
fn folder(dir: Option<&PathBuf>) -> Result<tempfile::TempDir, BooksError> {
    let dir = dir.cloned().unwrap_or_else(std::env::temp_dir);
    tempfile::tempdir_in(&dir).map_err(BooksError::io(format!("a folder in {}", dir.display())))
}

/// Bytes of a file; 0 where there is none.
fn length(path: &std::path::Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Has the kernel forget what it read, which wants root and Linux. Whether it did.
fn forget_files() -> bool {
    fs::write("/proc/sys/vm/drop_caches", "1\n").is_ok()
}
