//! What Prometheus' own tool says to what the programs serve. Where it is not on the path that is said,
//! and left out. It deliberately checks the form alone: the figures are `books.rs`'s.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Whether there is a `promtool`.
pub(crate) fn is_there() -> bool {
    let asked = Command::new("promtool").arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// `promtool check metrics` over what the program `who` serves.
///
/// # Errors
/// What it said.
pub(crate) fn check(who: &str, metrics: &str) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(format!("promtool check metrics of the {who}: {why}"));
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let written = tool.stdin.take().map(|mut stdin| stdin.write_all(metrics.as_bytes()));
    let output = tool.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if let Some(Err(e)) = written {
        return Err(failed(e.to_string()));
    }
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim())))
}
