//! The recorded tree, and small trees made from it where the record has no such case.

use super::*;
use crate::tree::testing::{Made, Recorded};

const RANGE: u128 = 262_143_328_850;

impl Made {
    fn zone(self, folder: &str, name: &str, raw: u128) -> Self {
        for (file, text) in [
            ("name", format!("{name}\n")),
            ("energy_uj", format!("{raw}\n")),
            ("max_energy_range_uj", format!("{RANGE}\n")),
        ] {
            self.file(&format!("{FOLDER}/{folder}/{file}"), Ok(text));
        }
        self
    }

    fn set(&self, folder: &str, raw: u128) {
        self.put(folder, Ok(raw.to_string()));
    }

    fn put(&self, folder: &str, content: Result<String, io::ErrorKind>) {
        self.file(&format!("{FOLDER}/{folder}/energy_uj"), content);
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn joules(joules: u128) -> MicroJoules {
    MicroJoules::new(joules * 1_000_000)
}

#[test]
fn the_recorded_tree_is_one_package() {
    // Four zones show one counter: MSR, MMIO, a mirrored package, and the cores within.
    let mut rapl = Rapl::discover(&Recorded, secs(0)).unwrap();
    assert_eq!(rapl.zones().collect::<Vec<_>>(), ["package-0"]);
    assert_eq!(rapl.spec().id.as_str(), "rapl:package");
    assert_eq!(rapl.spec().source, "powercap zones package-0, package-10");
    assert_eq!(rapl.zones[0].counter.last_raw(), Some(MicroJoules::new(240_422_366_267)));
    assert_eq!(rapl.zones[0].range, MicroJoules::new(RANGE));
    // 262 kJ at 2 kW are 131 s; a quarter is above the bound for a standing counter.
    assert_eq!(rapl.poll_within(), secs(10));
    // A recording stands still: that is a gap, not a machine that draws nothing.
    assert!(matches!(rapl.poll(&Recorded, secs(60)), Step::Gap { reason: GapReason::Stuck, .. }));
    assert_eq!((rapl.total(), rapl.coverage_ppm(secs(60))), (MicroJoules::ZERO, 0));
}

#[test]
fn the_platform_is_preferred_and_alone() {
    let tree = Made::default()
        .zone("intel-rapl:0", "package-0", 1)
        .zone("intel-rapl:1", "psys", 5)
        .zone("intel-rapl:0:2", "dram", 1);
    let rapl = Rapl::discover(&tree, secs(0)).unwrap();
    assert_eq!(rapl.zones().collect::<Vec<_>>(), ["psys"]);
    assert_eq!((rapl.spec().id.as_str(), rapl.spec().scope), ("rapl:psys", Scope::Rig));

    // Beside boards with meters of their own the packages count, whatever the platform shows.
    let beside = Rapl::discover_packages(&tree, secs(0)).unwrap();
    assert_eq!(beside.zones().collect::<Vec<_>>(), ["package-0", "dram"]);
    assert_eq!(beside.spec().scope, Scope::Device);

    tree.set("intel-rapl:1", 0);
    let rapl = Rapl::discover(&tree, secs(0)).unwrap();
    assert_eq!(rapl.zones().collect::<Vec<_>>(), ["package-0", "dram"]);
    assert_eq!(rapl.spec().id.as_str(), "rapl:package+dram");
}

#[test]
fn each_zone_wraps_by_itself() {
    let tree = Made::default().zone("intel-rapl:0", "package-0", RANGE - 10_000_000).zone(
        "intel-rapl:1",
        "package-1",
        100_000_000,
    );
    let mut rapl = Rapl::discover(&tree, secs(0)).unwrap();
    tree.set("intel-rapl:0", 90_000_000);
    tree.set("intel-rapl:1", 150_000_000);
    assert_eq!(rapl.poll(&tree, secs(1)), Step::Added(joules(150)));
    assert_eq!(rapl.power(), Some(MilliWatts::from_watts(150)));
    assert_eq!((rapl.total(), rapl.coverage_ppm(secs(1))), (joules(150), 1_000_000));
}

#[test]
fn mirrors_count_once_until_they_part() {
    let tree = Made::default().zone("intel-rapl:0", "package-0-die-0", 700_000_000).zone(
        "intel-rapl:1",
        "package-0-die-1",
        700_020_000,
    );
    let mut rapl = Rapl::discover(&tree, secs(0)).unwrap();
    tree.set("intel-rapl:0", 768_000_000);
    tree.set("intel-rapl:1", 768_030_000);
    assert_eq!(rapl.poll(&tree, secs(1)), Step::Added(joules(68)));
    assert_eq!(rapl.zones().count(), 1);
    // Two sockets after all: nothing that the second counted is missing.
    tree.set("intel-rapl:0", 800_000_000);
    tree.set("intel-rapl:1", 900_020_000);
    rapl.poll(&tree, secs(2));
    assert_eq!((rapl.zones().count(), rapl.total()), (2, joules(300)));
}

#[test]
fn a_failing_zone_is_a_gap_and_comes_back() {
    let tree = Made::default().zone("intel-rapl:0", "package-0", 1_000_000);
    let mut rapl = Rapl::discover(&tree, secs(0)).unwrap();
    for (content, reason) in [
        (Err(io::ErrorKind::PermissionDenied), GapReason::Permission),
        (Err(io::ErrorKind::NotFound), GapReason::Vanished),
        (Err(io::ErrorKind::TimedOut), GapReason::ReadError),
        (Ok(String::new()), GapReason::Malformed),
        (Ok("-5".to_owned()), GapReason::Malformed),
    ] {
        tree.put("intel-rapl:0", content);
        assert_eq!(rapl.poll(&tree, secs(5)), Step::Gap { reason, length: secs(5) });
        assert_eq!((rapl.total(), rapl.power()), (MicroJoules::ZERO, None));
    }
    tree.set("intel-rapl:0", 101_000_000);
    assert_eq!(rapl.poll(&tree, secs(10)), Step::Added(joules(100)));
    assert_eq!(rapl.coverage_ppm(secs(10)), 1_000_000);
}

#[test]
fn time_lost_is_told_by_reason() {
    let tree = Made::default().zone("intel-rapl:0", "package-0", 100_000_000_000);
    let mut rapl = Rapl::discover(&tree, secs(0)).unwrap();
    tree.set("intel-rapl:0", 5_000_000);
    assert_eq!(rapl.poll(&tree, secs(3)), Step::NewEpoch { length: secs(3) });
    assert_eq!(rapl.lost(), BTreeMap::from([(GapReason::Reset, secs(3))]));
}

#[test]
fn says_why_there_is_no_meter() {
    assert_eq!(Rapl::discover(&Made::default(), secs(0)).unwrap_err(), Unavailable::Absent);
    let only_cores = Made::default().zone("intel-rapl:0:0", "core", 1);
    assert_eq!(Rapl::discover(&only_cores, secs(0)).unwrap_err(), Unavailable::Absent);

    let tree = Made::default().zone("intel-rapl:0", "package-0", 1);
    tree.put("intel-rapl:0", Err(io::ErrorKind::PermissionDenied));
    let refused = Rapl::discover(&tree, secs(0)).unwrap_err();
    let path = "class/powercap/intel-rapl:0/energy_uj".to_owned();
    assert_eq!(refused, Unavailable::Permission { path });
    assert_eq!(refused.as_str(), "permission");
    tree.put("intel-rapl:0", Ok("many".to_owned()));
    let said = Rapl::discover(&tree, secs(0)).unwrap_err().to_string();
    assert_eq!(said, "class/powercap/intel-rapl:0/energy_uj: \"many\" is no number");
}

#[test]
fn a_small_range_asks_for_frequent_polls() {
    let tree = Made::default().zone("intel-rapl:0", "package-0", 1);
    let file = format!("{FOLDER}/intel-rapl:0/max_energy_range_uj");
    // A 32-bit counter of 15.3 microjoules a step.
    tree.file(&file, Ok("65532610987".to_owned()));
    let rapl = Rapl::discover(&tree, secs(0)).unwrap();
    assert_eq!(rapl.poll_within(), Duration::from_millis(8_191));
}

#[test]
fn mmio_serves_where_it_is_alone() {
    let tree = Made::default().zone("intel-rapl-mmio:0", "package-0", 7).zone(
        "intel-rapl:1",
        "package-1",
        900_000_000,
    );
    let rapl = Rapl::discover(&tree, secs(0)).unwrap();
    assert_eq!(rapl.zones().collect::<Vec<_>>(), ["package-1", "package-0"]);
}
