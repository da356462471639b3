//! What the kernel says of a process: processor time, resident memory; and how many files this
//! one may open. It reads `/proc`, so there is nothing to be had outside Linux.

use std::{fs, time::Duration};

/// `/proc/PID/stat` counts in hundredths of a second on every Linux of today (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

/// A process that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("process {pid}: {why}")]
pub(crate) struct ProcessError {
    pid: u32,
    why: String,
}

impl Process {
    pub(crate) const fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// User and system time of all its threads so far, in steps of 10 ms.
    pub(crate) fn cpu(self) -> Result<Duration, ProcessError> {
        cpu(&self.read("stat")?).ok_or_else(|| self.error("its stat does not read"))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(self) -> Result<u64, ProcessError> {
        resident(&self.read("status")?).ok_or_else(|| self.error("its status has no VmRSS"))
    }

    /// Its open files.
    pub(crate) fn files(self) -> Result<u64, ProcessError> {
        let path = format!("/proc/{}/fd", self.0);
        let files = fs::read_dir(&path).map_err(|error| self.error(format!("{path}: {error}")))?;
        Ok(u64::try_from(files.count()).unwrap_or(u64::MAX))
    }

    fn read(self, file: &str) -> Result<String, ProcessError> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).map_err(|error| self.error(format!("{path}: {error}")))
    }

    fn error(self, why: impl Into<String>) -> ProcessError {
        ProcessError { pid: self.0, why: why.into() }
    }
}

/// How many files this process may have open; `None` where that is not said.
pub(crate) fn file_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The fields after the command's name, which may hold anything, even brackets.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_past_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 9 0 0 0 123 45 7 8 20 0 4 0 99 1 2";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1680)));
        assert_eq!(cpu("42 (a) S 1"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident("VmPeak:\t  9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(resident("VmPeak:\t  9 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_reads_itself_and_one_that_is_not_there_is_named() {
        let this = Process::new(std::process::id());
        assert!(this.resident().unwrap() > 100_000 && file_limit().is_some());
        assert!(this.cpu().is_ok());
        let before = this.files().unwrap();
        let _open = fs::File::open("/proc/self/stat").unwrap();
        // Other tests open and close files meanwhile.
        assert!(before > 2 && this.files().unwrap() > 2);
        let error = Process::new(u32::MAX).cpu().unwrap_err().to_string();
        assert!(error.contains("process 4294967295"), "{error}");
    }
}
