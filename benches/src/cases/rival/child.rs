//! Runs a program for a set time and gives what it printed. One that overruns is ended.
//!
//! Both its outputs go to one file and are read when it has ended, so that nothing reads beside it
//! and it never waits for a reader. It deliberately judges neither the output nor the exit status.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::RivalError;

/// How often to look whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);
/// As much of the output as is read: its end.
const OUTPUT_MAX: u64 = 1 << 20;

/// What `path` prints with these arguments, which tell it to end after so many seconds.
pub(super) fn output(
    path: &Path,
    arguments: &[String],
    seconds: u64,
    grace: Duration,
    clock: &dyn Fn() -> Duration,
) -> Result<String, RivalError> {
    let unreadable = |error| RivalError::Output { path: path.to_owned(), error };
    let mut file = tempfile::tempfile().map_err(unreadable)?;
    let [out, err] = [file.try_clone(), file.try_clone()];
    let begin = clock();
    let child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out.map_err(unreadable)?)
        .stderr(err.map_err(unreadable)?)
        .spawn()
        .map_err(|error| RivalError::Start { path: path.to_owned(), error })?;
    let limit = Duration::from_secs(seconds) + grace;
    let mut running = Running(child);
    loop {
        if running.0.try_wait().map_err(unreadable)?.is_some() {
            return end_of(&mut file).map_err(unreadable);
        }
        let waited = clock().saturating_sub(begin);
        if waited > limit {
            let waited = waited.as_secs();
            return Err(RivalError::Overrun { path: path.to_owned(), told: seconds, waited });
        }
        thread::sleep(LOOK);
    }
}

/// A program that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end or to wait for.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn end_of(file: &mut File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_MAX)))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str], seconds: u64, grace: Duration) -> Result<String, RivalError> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        output(Path::new("sleep"), &arguments, seconds, grace, &crate::clock::read())
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let path = Path::new("/no/such/miner");
        let error = output(path, &[], 1, Duration::ZERO, &crate::clock::read()).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/miner cannot be started"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn both_outputs_are_read() {
        assert_eq!(run(&["0"], 1, Duration::from_secs(60)).unwrap(), "");
        let said = run(&["forever"], 1, Duration::from_secs(60)).unwrap();
        assert!(said.contains("forever"), "{said}");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_overruns_is_ended() {
        let error = run(&["600"], 0, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("sleep was told to end after 0 s"), "{error}");
    }
}
