//! What the kernel says of a process: processor time, resident memory; and how many files this
//! one may open. It reads `/proc`, so there is nothing to be had outside Linux.

use std::{fs, time::Duration};

use nix::{time::clock_getcpuclockid, unistd::Pid};

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

    /// User and system time of all its threads so far, as the scheduler counts it: `/proc/PID/stat`
    /// has steps of 10 ms, in which writing to 15,000 miners is a handful.
    pub(crate) fn cpu(self) -> Result<Duration, ProcessError> {
        let pid = i32::try_from(self.0).map_err(|_| self.error("there is no such number"))?;
        let time = clock_getcpuclockid(Pid::from_raw(pid)).and_then(|clock| clock.now());
        time.map(Duration::from).map_err(|errno| self.error(format!("its processor time: {errno}")))
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

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(this.cpu().unwrap() > Duration::ZERO);
        let before = this.files().unwrap();
        let _open = fs::File::open("/proc/self/stat").unwrap();
        // Other tests open and close files meanwhile.
        assert!(before > 2 && this.files().unwrap() > 2);
        let error = Process::new(u32::MAX).cpu().unwrap_err().to_string();
        assert!(error.contains("process 4294967295"), "{error}");
    }
}
