//! The thin shell around [`super::plan`]: asks the system what there is, and puts a thread where it
//! is to be.
//!
//! Read [`of_this_machine`] and [`settle`]. It deliberately decides nothing, and what a thread got
//! is read back from the system and not assumed. Niceness is a thread's own on Linux alone; on
//! other systems the whole process becomes as nice as its hashing threads are to be.

use rustix::process::{getpriority_process, setpriority_process};

use super::Cpus;
use super::list::CpuList;

/// What a thread got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The CPUs that it is kept to; `None` where it is kept to none in particular.
    pub cpus: Option<CpuList>,
    /// How nice it is; `None` where the system does not say.
    pub nice: Option<i32>,
    /// What could not be had, a line each.
    pub problems: Vec<String>,
}

/// What this process may use.
#[must_use]
pub fn of_this_machine() -> Cpus {
    machine::cpus().unwrap_or_else(|| {
        Cpus::counted(std::thread::available_parallelism().map_or(1, usize::from))
    })
}

/// Puts the calling thread on `cpus`, if any, and makes it as nice as `nice`. It never becomes less
/// nice than it was, as by `nice -n 15 wattproof-miner`, unless `nice` is negative and so asks for
/// just that.
pub fn settle(cpus: Option<&CpuList>, nice: i32) -> Settled {
    let mut problems = Vec::new();
    let cpus = cpus.and_then(|cpus| match machine::pin(cpus) {
        Ok(got) => Some(got),
        Err(error) => {
            problems.push(format!("a thread cannot be kept to CPU {cpus}: {error}"));
            None
        }
    });
    let before = getpriority_process(None).ok();
    let wanted = if nice < 0 { nice } else { before.map_or(nice, |before| before.max(nice)) };
    if before != Some(wanted)
        && let Err(error) = setpriority_process(None, wanted)
    {
        problems.push(format!("cpu.nice {nice} cannot be had: {error}"));
    }
    Settled { cpus, nice: getpriority_process(None).ok(), problems }
}

#[cfg(target_os = "linux")]
mod machine {
    use std::fs;
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::super::quota::tightest;
    use super::{CpuList, Cpus};

    /// `None` where the mask does not fit, on a machine with more than 1024 CPUs.
    pub(super) fn cpus() -> Option<Cpus> {
        let allowed = mask().ok()?;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cgroup, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
        let quota = tightest(&cgroup, &mounts, |path| fs::read_to_string(path).ok());
        let siblings = |cpu: usize| {
            let folder = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
            fs::read_to_string(format!("{folder}/thread_siblings_list")).ok()
        };
        Some(Cpus::new(allowed, siblings, quota))
    }

    /// Keeps the calling thread to `cpus`, and says what it is kept to.
    pub(super) fn pin(cpus: &CpuList) -> io::Result<CpuList> {
        let mut set = CpuSet::new();
        for cpu in cpus.iter().filter(|cpu| *cpu < CpuSet::MAX_CPU) {
            set.set(cpu);
        }
        sched_setaffinity(None, &set)?;
        mask()
    }

    fn mask() -> io::Result<CpuList> {
        let set = sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::io;

    use super::{CpuList, Cpus};

    pub(super) fn cpus() -> Option<Cpus> {
        None
    }

    pub(super) fn pin(_cpus: &CpuList) -> io::Result<CpuList> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `settle` does to a thread, and what it read before.
    fn on_a_thread(cpus: Option<CpuList>, nice: i32) -> (Option<i32>, Settled) {
        let settled = move || (getpriority_process(None).ok(), settle(cpus.as_ref(), nice));
        std::thread::spawn(settled).join().unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_gets_what_is_asked_and_the_others_keep_theirs() {
        let cpus = of_this_machine();
        let before = getpriority_process(None).unwrap();
        for cpu in cpus.allowed().iter() {
            let list = CpuList::from_iter([cpu]);
            let (_, settled) = on_a_thread(Some(list.clone()), 10);
            let nice = Some(before.max(10));
            assert_eq!(settled, Settled { cpus: Some(list), nice, problems: Vec::new() });
        }
        assert_eq!(of_this_machine(), cpus);
        assert_eq!(getpriority_process(None), Ok(before));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_nice_thread_is_not_made_less_nice() {
        let nicer = || {
            let first = settle(None, 17).nice.unwrap();
            (first, settle(None, 10).nice.unwrap(), settle(None, 0).nice.unwrap())
        };
        let (first, second, third) = std::thread::spawn(nicer).join().unwrap();
        assert!(first >= 17);
        assert_eq!((second, third), (first, first));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_cannot_be_had_is_said_and_the_rest_is_done() {
        let (before, settled) = on_a_thread(Some("8000".parse().unwrap()), 12);
        assert_eq!((settled.cpus, settled.nice), (None, before.map(|nice| nice.max(12))));
        assert_eq!(settled.problems.len(), 1);
        assert!(settled.problems[0].contains("CPU 8000"), "{:?}", settled.problems);
    }

    #[test]
    fn this_machine_has_at_least_one_cpu() {
        let cpus = of_this_machine();
        assert!(!cpus.allowed().is_empty() && !cpus.cores().is_empty());
        assert_eq!(cpus.cores().iter().map(CpuList::len).sum::<usize>(), cpus.allowed().len());
    }
}
