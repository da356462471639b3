//! What the miner would report if it were asked now, written down every second: should it be ended
//! without a farewell, the next one reports it first, so that no joule that was metered is lost.
//!
//! Read [`LastWords`]. The words are a whole signed report, under the epoch of the run that wrote
//! them. Totals are cumulative within an epoch, so that a pool which has heard them before changes
//! nothing; they are kept until it has taken a report of this run. What was used between the last words and the next start is a gap, as the new epoch says.
//!
//! A file for each pool and worker, beside the key. Written whole under another name first; it is
//! synced when a report goes out, so that a loss of power costs no more than the time since.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use energy::SigningKey;
use energy::report;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Digits of the name that tells one pool and worker from another.
const DIGITS: usize = 16;

/// The files.
#[derive(Debug)]
pub struct LastWords {
    /// The key's file, beside which they lie.
    beside: PathBuf,
    /// Those that are this run's own.
    ours: BTreeSet<PathBuf>,
    /// Writing failed before: once is enough to say.
    said: bool,
}

impl LastWords {
    /// The words beside this key.
    #[must_use]
    pub const fn beside(key: PathBuf) -> Self {
        Self { beside: key, ours: BTreeSet::new(), said: false }
    }

    /// What the run before would have reported for `worker` at `pool`, until this run has words of its
    /// own; nothing where it is not a report that `key` signed.
    #[must_use]
    pub fn of_the_run_before(&self, pool: &str, worker: &str, key: &SigningKey) -> Option<Value> {
        let path = self.path(pool, worker);
        if self.ours.contains(&path) {
            return None;
        }
        let text = read(&path).ok()?;
        let words = report::verify(&text).ok()?;
        let ours = *words.key() == key.verifying_key().to_bytes();
        (ours && words.report().worker == worker).then(|| serde_json::from_str(&text).ok())?
    }

    /// Writes down what would be reported now; with `synced` it is on disk when this returns.
    pub fn note(&mut self, pool: &str, worker: &str, report: &Value, synced: bool) {
        let path = self.path(pool, worker);
        self.ours.insert(path.clone());
        let written = write(&path, &report.to_string(), synced);
        if let Err(error) = written
            && !std::mem::replace(&mut self.said, true)
        {
            let path = path.display();
            tracing::warn!(
                "energy: {path}: {error}; if the miner is killed, the joules since its last report \
                 are lost"
            );
        }
    }

    fn path(&self, pool: &str, worker: &str) -> PathBuf {
        let digest = hex::encode(Sha256::digest(format!("{pool}\n{worker}")));
        self.beside.with_extension(format!("words-{}", &digest[..DIGITS]))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let most = u64::try_from(report::MAX_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)?.take(most).read_to_string(&mut text).map(|_| text)
}

fn write(path: &Path, text: &str, synced: bool) -> io::Result<()> {
    let draft = path.with_extension("words-new");
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    if synced {
        file.sync_all()?;
    }
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use energy::report::EnergyReport;
    use units::UnixMillis;

    use super::*;

    fn signed(worker: &str, key: &SigningKey) -> Value {
        let at = UnixMillis::new(1_795_309_039_123);
        let report =
            EnergyReport { worker: worker.to_owned(), at, meters: Vec::new(), hashes: None };
        report.sign(key).unwrap()
    }

    #[test]
    fn the_next_run_has_the_words_of_the_one_before_until_it_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("miner.key");
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut before = LastWords::beside(beside.clone());
        assert_eq!(before.of_the_run_before("a", "w", &key), None);
        before.note("a", "w", &signed("w", &key), false);
        before.note("a", "w", &signed("w", &key), true);
        assert_eq!(before.of_the_run_before("a", "w", &key), None, "they are its own");

        let next = LastWords::beside(beside.clone());
        assert_eq!(next.of_the_run_before("b", "w", &key), None);
        assert_eq!(next.of_the_run_before("a", "v", &key), None);
        assert_eq!(next.of_the_run_before("a", "w", &key), Some(signed("w", &key)));
        assert_eq!(
            next.of_the_run_before("a", "w", &key),
            Some(signed("w", &key)),
            "until it speaks"
        );
        let other = SigningKey::from_bytes(&[8; 32]);
        let stranger = LastWords::beside(beside);
        assert_eq!(stranger.of_the_run_before("a", "w", &other), None, "another's");
    }

    #[test]
    fn what_is_no_report_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let beside = folder.path().join("miner.key");
        let path = LastWords::beside(beside.clone()).path("a", "w");
        for text in ["", "{}", "[1", "{\"worker\":\"w\"}"] {
            fs::write(&path, text).unwrap();
            let words = LastWords::beside(beside.clone());
            assert_eq!(words.of_the_run_before("a", "w", &key), None, "{text}");
        }
        // A folder that is gone is said once, and mining goes on.
        drop(folder);
        let mut words = LastWords::beside(beside);
        words.note("a", "w", &signed("w", &key), false);
        assert!(words.said);
    }
}
