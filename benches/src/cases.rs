//! What can be measured.

mod commits;
mod judge;
mod rival;
mod search;
mod whole;

use std::{path::PathBuf, thread};

use clap::ValueEnum;
use kernels::{Backend, BackendError};
use ledger::LedgerError;

use crate::{
    delays::Delays,
    measure::{Measured, Meter, WrongAnswer},
    pairs::Pairs,
};
pub(crate) use rival::RIVAL;
use rival::RivalError;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Hashes per second of each kernel, on one thread and on all.
    Kernels,
    /// The whole miner's rate beside the bare kernel's, and how long it takes to change jobs.
    Miner,
    /// Shares per second through the judge on one thread.
    Judge,
    /// Shares per second made durable by the ledger.
    Ledger,
    /// Our miner and another one in turn; only when it is asked for.
    Rival,
}

/// What a case leaves to whoever runs it.
#[derive(Debug)]
pub(crate) struct Choices {
    /// Only this backend in the cases that hash.
    pub(crate) backend: Option<Backend>,
    /// Only these numbers of versions in the cases that choose them; all when empty.
    pub(crate) versions: Vec<u32>,
    /// These numbers of threads in the cases that hash; the case's own when empty.
    pub(crate) threads: Vec<usize>,
    /// Pairs of turns where two sides are measured in turn.
    pub(crate) pairs: u32,
    /// Jobs that the miner's threads are given.
    pub(crate) changes: u32,
    /// Another miner's binary.
    pub(crate) rival: Option<PathBuf>,
    /// Our miner's binary; the one beside this program when left out.
    pub(crate) miner: Option<PathBuf>,
    /// What the rival calls SHA-256d.
    pub(crate) algorithm: String,
    /// Where the ledger case makes its database.
    pub(crate) dir: PathBuf,
}

/// What a case found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// How fast something is.
    Rate(Measured),
    /// How fast it is beside something else.
    Pairs(Pairs),
    /// How long something takes.
    Delays(Delays),
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    #[error("wrong answer: {0}")]
    Wrong(#[from] WrongAnswer),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("--versions {versions}: kernels are measured with {known}")]
    Versions { versions: String, known: String },
    #[error("the miner's threads: {0}")]
    Workers(String),
    #[error("rival: {0}")]
    Rival(#[from] RivalError),
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    #[error("a directory under {dir}: {error}")]
    Directory { dir: PathBuf, error: std::io::Error },
}

impl Case {
    /// Those that need nothing but this machine.
    pub(crate) const ALONE: [Self; 4] = [Self::Kernels, Self::Miner, Self::Judge, Self::Ledger];

    /// How long each measurement takes where nothing else is asked for, in seconds.
    pub(crate) const fn usual_seconds(self) -> f64 {
        match self {
            Self::Kernels | Self::Miner => 1.0,
            Self::Judge | Self::Ledger => 3.0,
            Self::Rival => 5.0,
        }
    }

    /// Measures every variant.
    pub(crate) fn run(self, meter: &Meter, choices: &Choices) -> Result<Vec<Finding>, CaseError> {
        let rates =
            |measured: Vec<Measured>| measured.into_iter().map(Finding::Rate).collect::<Vec<_>>();
        match self {
            Self::Kernels => search::run(meter, choices).map(rates),
            Self::Miner => whole::run(meter, choices),
            Self::Judge => judge::run(meter).map(rates),
            Self::Ledger => commits::run(meter, &choices.dir).map(rates),
            Self::Rival => Ok(vec![Finding::Pairs(rival::run(meter, choices)?)]),
        }
    }
}

impl Choices {
    /// The numbers of threads that were asked for, or these, each once.
    fn threads_or(&self, usual: &[usize]) -> Vec<usize> {
        let mut threads = if self.threads.is_empty() { usual } else { &self.threads }.to_vec();
        threads.dedup();
        threads
    }
}

/// Threads that this process may run at the same time.
fn usable_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// As `1 thread` and `2 threads`.
fn counted(count: impl ToString, what: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Choices {
        /// As little as possible of everything.
        pub(crate) fn for_tests() -> Self {
            Self {
                backend: None,
                versions: Vec::new(),
                threads: Vec::new(),
                pairs: 1,
                changes: 3,
                rival: None,
                miner: None,
                algorithm: "sha256d".to_owned(),
                dir: std::env::temp_dir(),
            }
        }
    }

    /// Every case's answers, one pass each: what a bench asserts is tested wherever tests run.
    #[test]
    fn every_case_gives_its_answers() {
        let choices = Choices { versions: vec![1, 64], ..Choices::for_tests() };
        for case in Case::ALONE {
            let meter = Meter::new(Duration::ZERO, crate::clock::read());
            let findings = case.run(&meter, &choices).unwrap();
            assert!(!findings.is_empty(), "{case:?}");
            for finding in findings {
                match finding {
                    Finding::Rate(one) => assert!(one.passes > 0 && one.units > 0, "{one:?}"),
                    Finding::Pairs(one) => assert_eq!(one.rates.len(), 1, "{one:?}"),
                    Finding::Delays(one) => assert_eq!(one.count(), 3, "{one:?}"),
                }
            }
        }
    }

    #[test]
    fn threads_are_those_asked_for_or_one_and_all() {
        let choices = Choices::for_tests();
        assert_eq!(choices.threads_or(&[1, 8]), [1, 8]);
        assert_eq!(choices.threads_or(&[1, 1]), [1]);
        assert_eq!(Choices { threads: vec![3], ..choices }.threads_or(&[1, 8]), [3]);
    }
}
