//! Machines of several shapes, and what is asked of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::tests::{machine, with_quota};
use super::*;

fn wishes() -> Wishes {
    Wishes::default()
}

fn only(list: &str) -> Affinity {
    Affinity::Only(list.parse().unwrap())
}

/// Where each thread goes, `*` for anywhere.
fn places(plan: &Plan) -> Vec<String> {
    let each = (0..plan.threads()).map(|thread| plan.cpus_of(thread));
    each.map(|cpus| cpus.map_or_else(|| "*".to_owned(), |cpus| cpus.to_string())).collect()
}

fn quota(cpus: usize, hundredths: u64) -> Cpus {
    with_quota(machine(cpus, 1), hundredths)
}

#[test]
fn left_alone_every_cpu_gets_a_thread() {
    let plan = Plan::new(&machine(2, 2), &wishes());
    assert_eq!(places(&plan), ["0", "1", "2", "3"]);
    assert_eq!((plan.nice(), plan.warnings().len()), (10, 0));
}

#[test]
fn few_threads_are_spread_over_cores_first() {
    let neighbours = |cpu| Some(format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1));
    let cpus = Cpus::new(CpuList::first(8), neighbours, None);
    let with = |threads| Plan::new(&cpus, &Wishes { threads: Some(threads), ..wishes() });
    assert_eq!(places(&with(4)), ["0", "2", "4", "6"]);
    assert_eq!(places(&with(6)), ["0", "2", "4", "6", "1", "3"]);
}

#[test]
fn cores_means_one_thread_of_each() {
    let cores = Wishes { smt: Smt::Cores, ..wishes() };
    assert_eq!(places(&Plan::new(&machine(3, 2), &cores)), ["0", "1", "2"]);
    let listed = Wishes { affinity: only("2-5"), ..cores };
    // Of these the first core has CPU 3, the second CPU 4, the third 2 and 5.
    assert_eq!(places(&Plan::new(&machine(3, 2), &listed)), ["3", "4", "2"]);
    let free = Wishes { affinity: Affinity::Off, ..cores };
    assert_eq!(places(&Plan::new(&machine(3, 2), &free)), ["*", "*", "*"]);
}

#[test]
fn threads_that_share_a_core_keep_one_busy() {
    let cpus = machine(4, 2);
    let cores = |threads, affinity| {
        Plan::new(&cpus, &Wishes { threads: Some(threads), affinity, ..wishes() }).cores(&cpus)
    };
    assert_eq!([1, 3, 4, 8, 9].map(|threads| cores(threads, Affinity::Auto)), [1, 3, 4, 4, 4]);
    assert_eq!([1, 3, 8].map(|threads| cores(threads, Affinity::Off)), [1, 3, 4]);
    // CPUs 1 and 5 are of one core, and three threads take turns there.
    assert_eq!([1, 2, 3].map(|threads| cores(threads, only("1,5"))), [1, 1, 1]);
    assert_eq!([2, 3].map(|threads| cores(threads, only("1,2,5"))), [2, 2]);
    assert_eq!(Plan::free(6).cores(&cpus), 4);
}

#[test]
fn a_quota_lowers_the_number_and_leaves_the_threads_free() {
    for (hundredths, threads, place) in [
        (10, 1, "*"),
        (100, 1, "*"),
        (199, 1, "*"),
        (250, 2, "*"),
        (399, 3, "*"),
        // As much as there is: nothing is shared.
        (400, 4, "0"),
        (900, 4, "0"),
    ] {
        let plan = Plan::new(&quota(4, hundredths), &wishes());
        assert_eq!(plan.threads(), threads, "{hundredths}");
        assert_eq!(places(&plan)[0], place, "{hundredths}");
        assert!(plan.warnings().is_empty());
    }
    let listed = Wishes { affinity: only("2-3"), ..wishes() };
    assert_eq!(places(&Plan::new(&quota(4, 150), &listed)), ["2"]);
}

#[test]
fn more_threads_than_can_run_at_once_are_allowed_with_a_warning() {
    let three = Wishes { threads: Some(3), ..wishes() };
    let plan = Plan::new(&machine(2, 1), &three);
    assert_eq!(places(&plan), ["*", "*", "*"]);
    assert_eq!(plan.warnings(), ["3 threads on 2 CPUs: they take turns"]);

    let listed = Wishes { affinity: only("1,3"), ..three };
    assert_eq!(places(&Plan::new(&machine(4, 1), &listed)), ["1,3", "1,3", "1,3"]);

    let cores = Wishes { smt: Smt::Cores, ..three.clone() };
    let plan = Plan::new(&machine(1, 4), &cores);
    assert_eq!(plan.warnings(), ["3 threads on 1 CPU: they take turns"]);

    let plan = Plan::new(&quota(4, 150), &three);
    assert_eq!(plan.warnings().len(), 1);
    assert!(plan.warnings()[0].contains("1.50 CPUs"), "{:?}", plan.warnings());
}

#[test]
fn where_threads_cannot_be_pinned_they_are_counted_alone() {
    let cpus = Cpus::counted(3);
    assert_eq!(places(&Plan::new(&cpus, &wishes())), ["*", "*", "*"]);
    assert!(Plan::new(&cpus, &wishes()).warnings().is_empty());
    let plan = Plan::new(&cpus, &Wishes { affinity: only("0-7"), ..wishes() });
    assert_eq!(places(&plan), ["*", "*", "*"]);
    assert_eq!(plan.warnings().len(), 1);
    assert!(plan.warnings()[0].contains("0-7"), "{:?}", plan.warnings());
}

#[test]
fn a_line_says_where_the_threads_are() {
    let described = |cpus: &Cpus, wishes: &Wishes, kept: Option<&str>| {
        let kept = kept.map(|list| list.parse().unwrap());
        Plan::new(cpus, wishes).describe(cpus, kept.as_ref())
    };
    let (machine, off) = (machine(1, 2), Wishes { affinity: Affinity::Off, ..wishes() });
    for (said, expected) in [
        (
            described(&machine, &wishes(), Some("0-1")),
            "2 threads on CPUs 0-1 (1 core with 2 threads)",
        ),
        (
            described(&machine, &Wishes { smt: Smt::Cores, ..wishes() }, Some("0")),
            "1 thread on CPU 0 (1 core with 1 thread)",
        ),
        (
            described(&machine, &off, None),
            "2 threads on any of CPUs 0-1 (1 core with 2 threads; cpu.affinity is off)",
        ),
        (
            described(&machine, &wishes(), None),
            "2 threads on any of CPUs 0-1 (1 core with 2 threads)",
        ),
    ] {
        assert_eq!(said, expected);
    }
}

proptest! {
    #[test]
    fn threads_get_cpus_of_their_own_and_no_core_twice_before_each_once(
        cores in 1_usize..20,
        siblings in 1_usize..5,
        threads in 1_usize..100,
        one_each in any::<bool>(),
    ) {
        let cpus = machine(cores, siblings);
        let smt = if one_each { Smt::Cores } else { Smt::All };
        let plan = Plan::new(&cpus, &Wishes { threads: Some(threads), smt, ..wishes() });
        let usable = if one_each { cores } else { cores * siblings };
        prop_assert_eq!(plan.threads(), threads);
        prop_assert_eq!(plan.warnings().is_empty(), threads <= usable);
        let places: Vec<_> = (0..threads).filter_map(|thread| plan.cpus_of(thread)).collect();
        prop_assert_eq!(places.len(), if threads <= usable { threads } else { 0 });
        let taken: BTreeSet<_> = places.iter().flat_map(CpuList::iter).collect();
        prop_assert_eq!(taken.len(), places.len(), "a CPU is taken twice");
        prop_assert!(taken.iter().all(|cpu| cpus.allowed().contains(*cpu)));
        let loads = cpus.cores().iter().map(|core| core.iter().filter(|c| taken.contains(c)).count());
        let (least, most) = (loads.clone().min(), loads.max());
        prop_assert!(most.unwrap() <= least.unwrap() + 1, "{:?}", places);
    }
}
