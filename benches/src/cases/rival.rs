//! Another miner's own benchmark and ours, in turn on the same machine. The rival is any program
//! that takes cpuminer's letters and prints its rate as cpuminer does.
//!
//! Read [`run`]; [`output`] is what the programs print, [`child`] runs one of them. What the rival
//! hashes is the rival's own affair: nothing of its answers can be checked here, while ours fails
//! when its hits are not what its hashes promise.

mod child;
mod output;

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kernels::Backend;

use super::{CaseError, Choices, counted};
use crate::{
    measure::Meter,
    pairs::{Pairs, Side, in_turn},
};
use output::Ours;

/// Where the rival's binary is, unless `--rival` says so.
pub(crate) const RIVAL: &str = "WATTPROOF_RIVAL";
/// Our miner, beside this program.
const MINER: &str = "wattproof-miner";
/// How much longer than it was told to a program may run: it starts, chooses a backend, and ends.
const GRACE: Duration = Duration::from_secs(20);
/// Versions to roll where nothing else is asked for: as many as a pool grants.
const VERSIONS: u32 = 65_536;

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RivalError {
    #[error("no rival: --rival PATH or the variable {RIVAL} says where its binary is")]
    Nowhere,
    #[error("{path} cannot be started: {error}")]
    Start { path: PathBuf, error: io::Error },
    #[error("{path}: its output cannot be read: {error}")]
    Output { path: PathBuf, error: io::Error },
    #[error(
        "{path} was told to end after {told} s, was still running after {waited} s, and was ended"
    )]
    Overrun { path: PathBuf, told: u64, waited: u64 },
    #[error(
        "{path} gave no rate (no line with \"Benchmark:\" or \"Total:\" and a rate); it said last: {last:?}"
    )]
    Silent { path: PathBuf, last: String },
    #[error("{path} gave no result; it said last: {last:?}")]
    NoResult { path: PathBuf, last: String },
    #[error("where this program is: {0}")]
    Here(io::Error),
    #[error("--versions and --threads: one of each at most is compared with a rival")]
    Several,
}

/// What one comparison is about.
struct Duel {
    miner: PathBuf,
    rival: PathBuf,
    algorithm: String,
    backend: Option<Backend>,
    versions: u32,
    threads: usize,
    /// Whole ones: a rival takes no others.
    seconds: u64,
}

/// So many pairs.
pub(super) fn run(meter: &Meter, choices: &Choices) -> Result<Pairs, CaseError> {
    let duel = Duel::new(meter, choices)?;
    let mut backend = None;
    let rates = in_turn(choices.pairs, |side| match side {
        Side::Ours => {
            let ours = duel.ours(meter)?;
            backend = Some(ours.backend);
            Ok(ours.per_second)
        }
        Side::Theirs => duel.theirs(meter),
    });
    let rates = rates.map_err(CaseError::Rival)?;
    let backend = backend.unwrap_or_default();
    Ok(Pairs {
        name: format!(
            "rival/{}/{}/{}",
            duel.algorithm,
            counted(duel.versions, "version"),
            counted(duel.threads, "thread")
        ),
        ours: format!("{} on {backend}", file_name(&duel.miner)),
        theirs: file_name(&duel.rival),
        unit: "hashes",
        rates,
    })
}

impl Duel {
    fn new(meter: &Meter, choices: &Choices) -> Result<Self, RivalError> {
        if choices.versions.len() > 1 || choices.threads.len() > 1 {
            return Err(RivalError::Several);
        }
        let miner = match &choices.miner {
            Some(miner) => miner.clone(),
            None => beside(&env::current_exe().map_err(RivalError::Here)?),
        };
        let seconds = meter.duration().as_secs_f64().ceil();
        Ok(Self {
            miner,
            rival: choices.rival.clone().ok_or(RivalError::Nowhere)?,
            algorithm: choices.algorithm.clone(),
            backend: choices.backend,
            versions: choices.versions.first().copied().unwrap_or(VERSIONS),
            threads: choices.threads.first().copied().unwrap_or(1),
            seconds: Duration::from_secs_f64(seconds).as_secs().max(1),
        })
    }

    fn ours(&self, meter: &Meter) -> Result<Ours, RivalError> {
        let text = self.run(meter, &self.miner, &self.our_arguments())?;
        let last = output::last_line(&text).to_owned();
        output::ours(&text).ok_or_else(|| RivalError::NoResult { path: self.miner.clone(), last })
    }

    fn theirs(&self, meter: &Meter) -> Result<f64, RivalError> {
        let text = self.run(meter, &self.rival, &self.their_arguments())?;
        let last = output::last_line(&text).to_owned();
        output::theirs(&text).ok_or_else(|| RivalError::Silent { path: self.rival.clone(), last })
    }

    fn run(&self, meter: &Meter, path: &Path, with: &[String]) -> Result<String, RivalError> {
        child::output(path, with, self.seconds, GRACE, &|| meter.now())
    }

    fn our_arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["bench", "--json", "--device", "cpu"].map(Into::into).into();
        let backend = self.backend.map(|backend| ("--backend", backend.to_string()));
        arguments.extend(backend.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        for (name, value) in [
            ("--threads", self.threads.to_string()),
            ("--versions", self.versions.to_string()),
            ("--seconds", self.seconds.to_string()),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }

    /// In cpuminer's letters.
    fn their_arguments(&self) -> Vec<String> {
        let (algorithm, threads) = (self.algorithm.clone(), self.threads.to_string());
        let limit = format!("--time-limit={}", self.seconds);
        let fixed = ["-a", &algorithm, "--benchmark", "-t", &threads, &limit, "--no-color"];
        fixed.map(Into::into).into()
    }
}

/// Our miner's path, when this program's is so.
fn beside(program: &Path) -> PathBuf {
    program.with_file_name(format!("{MINER}{}", env::consts::EXE_SUFFIX))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> Choices {
        Choices {
            backend: Some(Backend::ShaNi),
            versions: vec![1],
            threads: vec![2],
            rival: Some(PathBuf::from("/opt/cpuminer")),
            miner: Some(PathBuf::from("/opt/wattproof-miner")),
            ..Choices::for_tests()
        }
    }

    fn meter(seconds: f64) -> Meter {
        Meter::new(Duration::from_secs_f64(seconds), crate::clock::read())
    }

    #[test]
    fn both_are_told_the_same() {
        let duel = Duel::new(&meter(4.2), &choices()).unwrap();
        let ours =
            "bench --json --device cpu --backend sha-ni --threads 2 --versions 1 --seconds 5";
        assert_eq!(duel.our_arguments().join(" "), ours);
        let theirs = "-a sha256d --benchmark -t 2 --time-limit=5 --no-color";
        assert_eq!(duel.their_arguments().join(" "), theirs);
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let rival = choices().rival;
        let duel = Duel::new(&meter(0.0), &Choices { rival, ..Choices::for_tests() }).unwrap();
        assert_eq!((duel.threads, duel.versions, duel.seconds), (1, 65_536, 1));
        assert_eq!(duel.miner.parent(), env::current_exe().unwrap().parent());
        assert!(!duel.our_arguments().contains(&"--backend".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Duel::new(&meter(1.0), &Choices { rival: None, ..choices() }).err().unwrap();
        assert!(error.to_string().contains("WATTPROOF_RIVAL"), "{error}");
        let several = Choices { threads: vec![1, 2], ..choices() };
        assert!(matches!(Duel::new(&meter(1.0), &several), Err(RivalError::Several)));
    }
}
