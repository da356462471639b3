//! The soak: the pool in its release build under shares, with connections that come and go, for as
//! long as a test may take. The bench does it and judges it; here it is only built and started. It
//! deliberately sets no seed, so that each run is another one: the bench prints it.

use std::process::Command;

use crate::failure::Failure;
use crate::workspace;

/// Builds what it takes and soaks the pool for so long.
///
/// # Errors
/// Fails where something cannot be built, or where the bench found a fault, which it has printed.
pub(crate) fn run(seconds: u32) -> Result<(), Failure> {
    let (bench, pool) = workspace::build_bench()?;
    let seconds = seconds.to_string();
    let arguments = ["pool", "soak", "--seconds", &seconds, "--pool"];
    let shown = format!("{} {}", bench.display(), arguments.join(" "));
    println!("{shown} {}", pool.display());
    let status = Command::new(&bench)
        .args(arguments)
        .arg(&pool)
        .status()
        .map_err(|error| Failure::new(format!("{shown} cannot be started: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{shown} ended with {status}")))
    }
}
