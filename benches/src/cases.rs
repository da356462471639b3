//! What can be measured.

mod commits;
mod judge;
mod search;

use std::path::PathBuf;

use clap::ValueEnum;
use kernels::{Backend, BackendError};
use ledger::LedgerError;

use crate::measure::{Measured, Meter, WrongAnswer};

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Hashes per second of each backend on one thread.
    Kernels,
    /// Shares per second through the judge on one thread.
    Judge,
    /// Shares per second made durable by the ledger.
    Ledger,
}

/// What a case leaves to whoever runs it.
#[derive(Debug)]
pub(crate) struct Choices {
    /// Only this backend in the kernels case.
    pub(crate) backend: Option<Backend>,
    /// Where the ledger case makes its database.
    pub(crate) dir: PathBuf,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    #[error("wrong answer: {0}")]
    Wrong(#[from] WrongAnswer),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    #[error("a directory under {dir}: {error}")]
    Directory { dir: PathBuf, error: std::io::Error },
}

impl Case {
    pub(crate) const ALL: [Self; 3] = [Self::Kernels, Self::Judge, Self::Ledger];

    /// Measures every variant.
    pub(crate) fn run(self, meter: &Meter, choices: &Choices) -> Result<Vec<Measured>, CaseError> {
        match self {
            Self::Kernels => search::run(meter, choices.backend),
            Self::Judge => judge::run(meter),
            Self::Ledger => commits::run(meter, &choices.dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Every case's answers, one pass each: what a bench asserts is tested wherever tests run.
    #[test]
    fn every_case_gives_its_answers() {
        let choices = Choices { backend: None, dir: std::env::temp_dir() };
        for case in Case::ALL {
            let meter = Meter::new(Duration::ZERO, crate::clock::read());
            let measured = case.run(&meter, &choices).unwrap();
            assert!(!measured.is_empty(), "{case:?}");
            for one in measured {
                assert!(one.passes == 1 && one.units > 0, "{one:?}");
            }
        }
    }
}
