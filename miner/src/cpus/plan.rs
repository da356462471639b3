//! How many threads hash, on which CPUs and how nicely.
//!
//! Read [`Wishes`] and [`Plan::new`]: from what the user asks for and what the machine has. A plan
//! is a value; [`super::system::settle`] carries it out, thread by thread. It deliberately does not
//! check that the CPUs asked for may be used: that is said of the key, where the user wrote it.
//!
//! Left to itself it pins each thread to a CPU of its own, physical cores first. Not where a quota
//! holds: those CPUs are shared by design, and containers that all pinned to the first ones would
//! wait for one another while others idle. Nor where there are more threads than CPUs, which only
//! the scheduler can spread evenly.

use super::list::CpuList;
use super::quota::Quota;
use super::{Cpus, counted};

/// How nice hashing threads are where nothing else is asked for: everything else goes first, and
/// they still get a part of a busy machine.
pub const NICE: i32 = 10;

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// So many threads; as many as there are CPUs to use when `None`.
    pub threads: Option<usize>,
    /// Which threads of a core.
    pub smt: Smt,
    /// Which CPUs.
    pub affinity: Affinity,
    /// How nicely, from -20 to 19.
    pub nice: i32,
}

/// Which threads of a physical core hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Smt {
    /// All of them.
    All,
    /// One.
    Cores,
}

/// Which CPUs the threads are put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affinity {
    /// Each on one of its own, where that helps.
    Auto,
    /// None: the system moves them as it likes.
    Off,
    /// These.
    Only(CpuList),
}

/// How the hashing threads are to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    threads: usize,
    nice: i32,
    pinning: Pinning,
    warnings: Vec<String>,
}

/// Where each thread may run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pinning {
    /// Each on one CPU, in this order.
    Each(Vec<usize>),
    /// Each on any of these.
    Among(CpuList),
    /// Anywhere; why.
    Free(&'static str),
}

/// What the shipped file shows as the defaults.
impl Default for Wishes {
    fn default() -> Self {
        Self { threads: None, smt: Smt::All, affinity: Affinity::Auto, nice: NICE }
    }
}

impl Plan {
    /// What comes of `wishes` on a machine with these CPUs.
    #[must_use]
    pub fn new(cpus: &Cpus, wishes: &Wishes) -> Self {
        let order = spread(&chosen(cpus, wishes));
        let room = cpus.quota().map_or(usize::MAX, Quota::whole_cpus);
        let threads = wishes.threads.unwrap_or_else(|| order.len().min(room)).max(1);
        let mut warnings: Vec<String> = too_many(cpus, threads, order.len()).into_iter().collect();
        if let (Affinity::Only(list), false) = (&wishes.affinity, cpus.can_pin()) {
            let why = "this system does not let a program choose its CPUs";
            warnings.push(format!("cpu.affinity {list}: {why}; the threads run anywhere"));
        }
        let pinning = pinning(cpus, wishes, threads, order);
        Self { threads, nice: wishes.nice, pinning, warnings }
    }

    /// So many threads that run anywhere, as nicely as the process itself.
    #[must_use]
    pub const fn free(threads: usize) -> Self {
        let pinning = Pinning::Free("as for a measurement");
        Self { threads, nice: 0, pinning, warnings: Vec::new() }
    }

    /// How many threads; at least 1.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// How nicely they are to run, as `cpu.nice` has it.
    #[must_use]
    pub const fn nice(&self) -> i32 {
        self.nice
    }

    /// The CPUs that this thread is to be kept to; `None` for any.
    #[must_use]
    pub fn cpus_of(&self, thread: usize) -> Option<CpuList> {
        match &self.pinning {
            Pinning::Each(order) => order.get(thread).map(|cpu| CpuList::from_iter([*cpu])),
            Pinning::Among(list) => Some(list.clone()),
            Pinning::Free(_) => None,
        }
    }

    /// How many physical cores the threads keep busy at once; at least 1.
    #[must_use]
    pub fn cores(&self, cpus: &Cpus) -> usize {
        let among = match &self.pinning {
            Pinning::Each(order) => order.iter().copied().collect(),
            Pinning::Among(list) => list.clone(),
            Pinning::Free(_) => cpus.allowed().clone(),
        };
        let used = cpus.cores().iter().filter(|core| !core.intersection(&among).is_empty());
        used.count().clamp(1, self.threads)
    }

    /// The threads and where they run, in words; `kept` says which CPUs they got. For instance
    /// `2 threads on CPUs 0-1 (1 core with 2 threads)`.
    #[must_use]
    pub fn describe(&self, cpus: &Cpus, kept: Option<&CpuList>) -> String {
        let threads = counted(self.threads, "thread");
        let (any, why) = match (kept, self.pinning.why_free()) {
            (Some(_), _) => ("", String::new()),
            (None, Some(why)) => ("any of ", format!("; {why}")),
            (None, None) => ("any of ", String::new()),
        };
        let which = kept.unwrap_or_else(|| cpus.allowed());
        let number = if which.len() == 1 { "CPU" } else { "CPUs" };
        format!("{threads} on {any}{number} {which} ({}{why})", cpus.layout_of(which))
    }

    /// What the user should know, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Pinning {
    const fn why_free(&self) -> Option<&'static str> {
        match self {
            Self::Free(why) => Some(why),
            Self::Each(_) | Self::Among(_) => None,
        }
    }
}

/// The CPUs that may be used, by core.
fn chosen(cpus: &Cpus, wishes: &Wishes) -> Vec<CpuList> {
    let most = match wishes.smt {
        Smt::All => usize::MAX,
        Smt::Cores => 1,
    };
    let cores = cpus.cores().iter().map(|core| match &wishes.affinity {
        Affinity::Only(list) if cpus.can_pin() => core.intersection(list),
        Affinity::Only(_) | Affinity::Auto | Affinity::Off => core.clone(),
    });
    let cores = cores.map(|core| core.iter().take(most).collect::<CpuList>());
    cores.filter(|core| !core.is_empty()).collect()
}

/// The CPUs of these cores in the order in which threads take them: the first of each core, then
/// the second of each, and so on.
fn spread(cores: &[CpuList]) -> Vec<usize> {
    let most = cores.iter().map(CpuList::len).max().unwrap_or(0);
    (0..most).flat_map(|turn| cores.iter().filter_map(move |core| core.iter().nth(turn))).collect()
}

fn pinning(cpus: &Cpus, wishes: &Wishes, threads: usize, order: Vec<usize>) -> Pinning {
    let shares = cpus.quota().is_some_and(|quota| quota.whole_cpus() < cpus.allowed().len());
    match &wishes.affinity {
        _ if !cpus.can_pin() => Pinning::Free("this system does not let a program choose"),
        Affinity::Off => Pinning::Free("cpu.affinity is off"),
        Affinity::Auto if shares => Pinning::Free("a quota says that the CPUs are shared"),
        Affinity::Auto if threads > order.len() => Pinning::Free("more threads than CPUs"),
        Affinity::Only(_) if threads > order.len() => Pinning::Among(order.into_iter().collect()),
        Affinity::Auto | Affinity::Only(_) => {
            Pinning::Each(order.into_iter().take(threads).collect())
        }
    }
}

/// What to say of more threads than can run at once.
fn too_many(cpus: &Cpus, threads: usize, chosen: usize) -> Option<String> {
    if threads > chosen {
        let cpus = counted(chosen, "CPU");
        return Some(format!("{} on {cpus}: they take turns", counted(threads, "thread")));
    }
    let quota = cpus.quota().filter(|quota| threads > quota.whole_cpus())?;
    Some(format!(
        "{} where the control group's quota is the time of {:.2} CPUs: they take turns",
        counted(threads, "thread"),
        quota.cpus()
    ))
}

#[cfg(test)]
mod tests;
