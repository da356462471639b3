//! What the ledger says of itself, asked of the pool's own command line: its verification, and
//! its list of blocks. Both work on the file of a stopped pool. This module deliberately compares
//! nothing: `check.rs` and `coinbases.rs` do.

use std::path::Path;
use std::process::Command;

use serde::de::DeserializeOwned;

use crate::demo::api::Verified;
use crate::demo::coinbases::Listed;
use crate::failure::Failure;

/// The ledger's own verification of the data directory `data`.
///
/// # Errors
/// Fails where the answer cannot be read; a verification that finds problems is an answer.
pub(crate) fn verify(pool: &Path, data: &Path) -> Result<Verified, Failure> {
    ask(pool, &["verify", "ledger", "--json", "--dir"], data)
}

/// The blocks of the ledger that the configuration names, the newest first.
///
/// # Errors
/// Fails where the answer cannot be read.
pub(crate) fn blocks(pool: &Path, config: &Path) -> Result<Vec<Listed>, Failure> {
    ask(pool, &["blocks", "--json", "--config"], config)
}

/// Runs the pool with these words and a path after them, and reads the last line it prints.
fn ask<T: DeserializeOwned>(pool: &Path, words: &[&str], path: &Path) -> Result<T, Failure> {
    let failed = |why: String| Failure::new(format!("wattproof-pool {}: {why}", words.join(" ")));
    let output =
        Command::new(pool).args(words).arg(path).output().map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let object = text.lines().last().unwrap_or_default();
    serde_json::from_str(object).map_err(|e| {
        let said = String::from_utf8_lossy(&output.stderr);
        failed(format!("{e}; it ended with {} and said: {}", output.status, said.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::script;

    #[test]
    fn the_last_line_is_the_answer_whatever_the_status() {
        let folder = tempfile::tempdir().unwrap();
        let says = r#"{"ok":false,"shares":1,"work":"2","problems":["slice 3"]}"#;
        let pool = script(folder.path(), "pool", &format!("echo hello; echo '{says}'; exit 1"));
        let verified = verify(&pool, folder.path()).unwrap();
        assert_eq!((verified.ok, verified.problems), (false, vec!["slice 3".to_owned()]));
    }

    #[test]
    fn no_answer_is_a_failure_with_the_words_and_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let pool = script(folder.path(), "pool", "echo 'no such ledger' >&2; exit 2");
        let failure = blocks(&pool, folder.path()).unwrap_err().to_string();
        assert!(failure.contains("wattproof-pool blocks --json"), "{failure}");
        assert!(failure.contains("exit status: 2 and said: no such ledger"), "{failure}");
    }
}
