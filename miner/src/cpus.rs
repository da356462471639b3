//! The CPUs that this process may use, and which hashing thread goes where.
//!
//! Read [`Cpus`], then [`plan::Plan`]. What may be used is the affinity mask (`taskset`, cpusets,
//! systemd's `CPUAffinity=`) and of that as much as the control groups' quota grants; which CPUs
//! are two threads of one core is what Linux shows of its topology. [`quota`] and [`list`] read
//! texts, [`plan`] decides, and [`system`] alone asks and tells the operating system. On other
//! systems than Linux the CPUs are only counted, and no thread is put on any of them.
//!
//! It deliberately measures nothing: which backend is fast is `kernels`' to say, and whether both
//! threads of a core help is the user's. Units: CPUs.

pub mod list;
pub mod plan;
pub mod quota;
pub mod system;

use self::list::CpuList;
use self::quota::Quota;

/// More hashing threads than this are refused: as many CPUs as a thread's mask has room for.
pub const THREADS_MAX: u16 = 1024;

/// What this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    allowed: CpuList,
    cores: Vec<CpuList>,
    quota: Option<Quota>,
    can_pin: bool,
}

impl Cpus {
    /// Of the CPUs in `allowed` (CPU 0 where there is none), with `quota`. `siblings` gives what
    /// the system writes about the threads of a CPU's core, such as `0,32`; a CPU about which it
    /// says nothing counts as a core.
    #[must_use]
    pub fn new(
        allowed: CpuList,
        siblings: impl Fn(usize) -> Option<String>,
        quota: Option<Quota>,
    ) -> Self {
        let allowed = if allowed.is_empty() { CpuList::first(1) } else { allowed };
        let mut rest = allowed.clone();
        let mut cores = Vec::new();
        while let Some(cpu) = rest.lowest() {
            let alone = CpuList::from_iter([cpu]);
            let core = siblings(cpu).and_then(|text| text.parse::<CpuList>().ok());
            let core = core.filter(|core| core.contains(cpu)).unwrap_or(alone);
            let core = core.intersection(&rest);
            rest = rest.without(&core);
            cores.push(core);
        }
        Self { allowed, cores, quota, can_pin: true }
    }

    /// So many CPUs of which nothing more is known, and on which no thread can be put.
    #[must_use]
    pub fn counted(count: usize) -> Self {
        Self { can_pin: false, ..Self::new(CpuList::first(count), |_| None, None) }
    }

    /// The CPUs of the affinity mask.
    #[must_use]
    pub const fn allowed(&self) -> &CpuList {
        &self.allowed
    }

    /// The same by physical core, the core of the lowest CPU first.
    #[must_use]
    pub fn cores(&self) -> &[CpuList] {
        &self.cores
    }

    /// How much of them the control groups grant; `None` for all.
    #[must_use]
    pub const fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// Whether a thread can be put on one of them.
    #[must_use]
    pub const fn can_pin(&self) -> bool {
        self.can_pin
    }

    /// How `cpus` are spread over cores, in words: `1 core with 2 threads`.
    #[must_use]
    pub fn layout_of(&self, cpus: &CpuList) -> String {
        let threads = self.cores.iter().map(|core| core.intersection(cpus).len());
        let used: Vec<usize> = threads.filter(|threads| *threads > 0).collect();
        let most = used.iter().copied().max().unwrap_or(0);
        let least = used.iter().copied().min().unwrap_or(0);
        let up_to = if least < most { "up to " } else { "" };
        let each = if used.len() == 1 { "" } else { " each" };
        format!("{} with {up_to}{}{each}", counted(used.len(), "core"), counted(most, "thread"))
    }
}

/// `1 core`, `2 cores`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A machine whose CPU n shares its core with n + `cores`, as many x86 machines number them.
    pub(crate) fn machine(cores: usize, threads: usize) -> Cpus {
        let siblings = move |cpu: usize| {
            let core = cpu % cores;
            let each: Vec<_> = (0..threads).map(|t| (core + t * cores).to_string()).collect();
            Some(each.join(",") + "\n")
        };
        Cpus::new(CpuList::first(cores * threads), siblings, None)
    }

    /// The same with a quota of so many hundredths of a CPU.
    pub(crate) fn with_quota(cpus: Cpus, hundredths: u64) -> Cpus {
        let mount = "28 24 0:25 / /c rw - cgroup2 cgroup2 rw\n";
        let text = format!("{hundredths} 100");
        let quota = quota::tightest("0::/\n", mount, |_| Some(text.clone()));
        assert!(quota.is_some());
        Cpus { quota, ..cpus }
    }

    fn shown(cores: &[CpuList]) -> Vec<String> {
        cores.iter().map(CpuList::to_string).collect()
    }

    #[test]
    fn cpus_are_grouped_by_core() {
        assert_eq!(shown(machine(2, 2).cores()), ["0,2", "1,3"]);
        assert_eq!(shown(machine(3, 1).cores()), ["0", "1", "2"]);
        let neighbours = |cpu| Some(format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1));
        let cpus = Cpus::new(CpuList::first(4), neighbours, None);
        assert_eq!(shown(cpus.cores()), ["0-1", "2-3"]);
        assert_eq!(cpus.layout_of(cpus.allowed()), "2 cores with 2 threads each");
        assert_eq!(cpus.layout_of(&CpuList::first(2)), "1 core with 2 threads");
        assert_eq!(cpus.layout_of(&CpuList::first(3)), "2 cores with up to 2 threads each");
        assert_eq!(cpus.layout_of(&CpuList::first(1)), "1 core with 1 thread");
    }

    #[test]
    fn a_sibling_that_may_not_be_used_is_not_there() {
        let cpus = Cpus::new("1-2".parse().unwrap(), |cpu| Some(format!("{},9", cpu % 2)), None);
        assert_eq!(shown(cpus.cores()), ["1", "2"]);
    }

    #[test]
    fn what_the_system_does_not_say_or_says_wrongly_makes_a_core_of_each() {
        for text in [None, Some("3"), Some("0-"), Some("")] {
            let cpus = Cpus::new(CpuList::first(2), |_| text.map(str::to_owned), None);
            assert_eq!(shown(cpus.cores()), ["0", "1"], "{text:?}");
        }
        assert_eq!(Cpus::new(CpuList::default(), |_| None, None).allowed(), &CpuList::first(1));
    }
}
