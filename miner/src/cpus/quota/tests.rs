//! Texts as systems of several kinds show them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const V2: &str = "28 24 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                  33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

/// The tightest limit where these files are all there are.
fn limit(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> Option<f64> {
    let files: HashMap<&Path, &str> =
        files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
    let read = |path: &Path| files.get(path).map(|text| (*text).to_owned());
    tightest(cgroup, mountinfo, read).map(Quota::cpus)
}

#[test]
fn version_two_says_max_or_how_much() {
    for (text, cpus) in [
        ("max 100000\n", None),
        ("150000 100000\n", Some(1.5)),
        ("50000 100000\n", Some(0.5)),
        ("200000\n", Some(2.0)),
        ("0 100000\n", None),
        ("100000 0\n", None),
        ("-1 100000\n", None),
        ("", None),
        ("much\n", None),
        ("1 much\n", None),
    ] {
        let files = [("/sys/fs/cgroup/cpu.max", text)];
        assert_eq!(limit("0::/\n", V2, &files), cpus, "{text:?}");
    }
}

#[test]
fn version_one_has_a_file_for_each_and_minus_one_for_none() {
    let group = "11:cpuset:/a\n4:cpu,cpuacct:/a/b\n0::/\n";
    for (quota, period, cpus) in [
        ("-1\n", "100000\n", None),
        ("250000\n", "100000\n", Some(2.5)),
        ("250000\n", "0\n", None),
        ("", "100000\n", None),
    ] {
        let files = [
            ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", quota),
            ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", period),
        ];
        assert_eq!(limit(group, V1, &files), cpus, "{quota:?}");
    }
    assert_eq!(limit(group, V1, &[]), None, "no file, no limit");
}

#[test]
fn every_group_on_the_way_up_counts_and_the_tightest_wins() {
    let at = |folder: &'static str, text| (folder, text);
    for (own, parent, root, cpus) in [
        ("max 100000", "max 100000", "max 100000", None),
        ("400000 100000", "max 100000", "max 100000", Some(4.0)),
        ("400000 100000", "150000 100000", "max 100000", Some(1.5)),
        ("100000 100000", "150000 100000", "max 100000", Some(1.0)),
        ("max 100000", "max 100000", "300000 100000", Some(3.0)),
        ("30000 20000", "100000 100000", "max 100000", Some(1.0)),
    ] {
        let files = [
            at("/sys/fs/cgroup/a.slice/b.service/cpu.max", own),
            at("/sys/fs/cgroup/a.slice/cpu.max", parent),
            at("/sys/fs/cgroup/cpu.max", root),
            at("/sys/fs/cgroup/other/cpu.max", "1 100000"),
            at("/sys/fs/cpu.max", "1 100000"),
        ];
        assert_eq!(limit("0::/a.slice/b.service\n", V2, &files), cpus, "{own} {parent} {root}");
    }
}

#[test]
fn a_container_sees_its_group_as_the_root_of_the_mount() {
    // Without a namespace of its own: the host's path, mounted from there on.
    let mount = "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
    let files = [
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000"),
        ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
    ];
    assert_eq!(limit("4:cpu:/docker/abc\n", mount, &files), Some(1.5));
    // And a path that leads out of what is mounted: what can be seen is the mount itself.
    for beside in ["4:cpu:/../def\n", "4:cpu:/elsewhere\n", "4:cpu:/docker/abc/../x\n"] {
        assert_eq!(limit(beside, mount, &files), Some(1.5), "{beside}");
    }
}

#[test]
fn both_versions_at_once_and_names_with_blanks() {
    let mount = V1.replace("/sys/fs/cgroup/cpu,cpuacct", "/mnt/a\\040b");
    let group = "4:cpu,cpuacct:/x:y\n0::/z\n";
    let v1 =
        [("/mnt/a b/x:y/cpu.cfs_quota_us", "200000"), ("/mnt/a b/x:y/cpu.cfs_period_us", "100000")];
    let v2 = ("/sys/fs/cgroup/unified/z/cpu.max", "100000 100000");
    assert_eq!(limit(group, &mount, &v1), Some(2.0));
    assert_eq!(limit(group, &mount, &[v1[0], v1[1], v2]), Some(1.0));
    assert_eq!(unescaped("a\\040b\\"), Path::new("a b\\"));
    assert_eq!(unescaped("\\9é\\0"), Path::new("\\9é\\0"));
}

#[test]
fn a_quota_keeps_at_least_one_cpu_busy() {
    let whole = |text| of_cpu_max(text).unwrap().whole_cpus();
    assert_eq!((whole("1000 100000"), whole("199999 100000"), whole("200000 100000")), (1, 1, 2));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        cgroup in "(0::|4:cpu:)?[/a.:\\\\\n]{0,12}",
        mount in "[0-9 /a\\\\]{0,20} - cgroup2? [a ,]{0,6}cpu",
        file in "[0-9max -]{0,24}",
    ) {
        let quota = tightest(&cgroup, &mount, |_| Some(file.clone()));
        prop_assert!(quota.is_none_or(|quota| quota.cpus() > 0.0 && quota.whole_cpus() >= 1));
    }

    #[test]
    fn the_tightest_is_one_of_them_and_none_is_tighter(
        limits in proptest::collection::vec((1_u64..10_000_000, 1_u64..1_000_000), 1..6),
    ) {
        let path: String = (0..limits.len() - 1).map(|step| format!("/{step}")).collect();
        let read = |file: &Path| {
            let depth = file.components().count() - 5; // "/", sys, fs, cgroup and the file itself
            limits.get(depth).map(|(micros, period)| format!("{micros} {period}"))
        };
        let found = tightest(&format!("0::{path}/"), V2, read).unwrap();
        let each: Vec<_> = limits.iter().filter_map(|(m, p)| Quota::new(*m, *p)).collect();
        prop_assert!(each.contains(&found));
        prop_assert!(each.iter().all(|quota| !quota.is_tighter_than(found)));
    }
}
