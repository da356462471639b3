//! The CPU time that this process's control groups grant it: what `cpu.max` (version 2) and
//! `cpu.cfs_quota_us` with its period (version 1) say.
//!
//! Read [`tightest`]. A container sees all of the host's CPUs and may still have the time of one
//! and a half of them. Each group on the way up may have a limit, and the kernel holds all of them,
//! so the tightest counts. Files are read by whoever calls: this deliberately does not touch the
//! system. Units: microseconds of CPU time in each so many microseconds.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// The period that the kernel takes where none is written.
const PERIOD_MICROS: u64 = 100_000;

/// So much CPU time in each period; neither is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    micros: u64,
    period_micros: u64,
}

impl Quota {
    fn new(micros: u64, period_micros: u64) -> Option<Self> {
        (micros > 0 && period_micros > 0).then_some(Self { micros, period_micros })
    }

    /// As a number of CPUs, which need not be whole.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people; microseconds are far below 2^53")]
    pub fn cpus(self) -> f64 {
        self.micros as f64 / self.period_micros as f64
    }

    /// How many CPUs it can keep busy all the time: rounded down, and at least 1.
    #[must_use]
    pub fn whole_cpus(self) -> usize {
        usize::try_from(self.micros / self.period_micros).unwrap_or(usize::MAX).max(1)
    }

    fn is_tighter_than(self, other: Self) -> bool {
        let cross = |a: Self, b: Self| u128::from(a.micros) * u128::from(b.period_micros);
        cross(self, other) < cross(other, self)
    }
}

/// The tightest limit on this process: `cgroup` is the text of `/proc/self/cgroup`, `mountinfo`
/// that of `/proc/self/mountinfo`, and `read` gives a file's text where there is such a file.
/// `None` where there is no limit, or none that can be read.
#[must_use]
pub fn tightest(
    cgroup: &str,
    mountinfo: &str,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<Quota> {
    let mut tightest: Option<Quota> = None;
    for (version, folder) in folders(cgroup, mountinfo) {
        let quota = match version {
            Version::One => of_v1(&read, &folder),
            Version::Two => read(&folder.join("cpu.max")).and_then(|text| of_cpu_max(&text)),
        };
        if let Some(quota) = quota
            && tightest.is_none_or(|known| quota.is_tighter_than(known))
        {
            tightest = Some(quota);
        }
    }
    tightest
}

/// Of control groups, which a system may have both of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Of the text of `cpu.max`: `max 100000` is no limit, `150000 100000` is one and a half CPUs.
fn of_cpu_max(text: &str) -> Option<Quota> {
    let mut words = text.split_whitespace();
    let micros = words.next()?.parse().ok()?;
    let period = words.next().map_or(Some(PERIOD_MICROS), |word| word.parse().ok())?;
    Quota::new(micros, period)
}

fn of_v1(read: &impl Fn(&Path) -> Option<String>, folder: &Path) -> Option<Quota> {
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<i64>().ok();
    // -1 is no limit.
    let micros = u64::try_from(number("cpu.cfs_quota_us")?).ok()?;
    let period = u64::try_from(number("cpu.cfs_period_us")?).ok()?;
    Quota::new(micros, period)
}

/// Every group that this process is in, from its own up to the root that can be seen from here.
fn folders(cgroup: &str, mountinfo: &str) -> Vec<(Version, PathBuf)> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::of_line).collect();
    let groups = cgroup.lines().filter_map(group);
    groups
        .flat_map(|(version, group)| {
            let mut mounts = mounts.iter().filter(|mount| mount.version == version);
            let first = mounts.clone().next();
            let mount = mounts.find(|mount| group.starts_with(&mount.root)).or(first);
            mount.map(|mount| mount.folders(group)).unwrap_or_default()
        })
        .collect()
}

/// Of a line of `/proc/self/cgroup`: `4:cpu,cpuacct:/a/b`, or `0::/a/b` of version 2.
fn group(line: &str) -> Option<(Version, &Path)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = match (number, controllers) {
        ("0", "") => Version::Two,
        _ if controllers.split(',').any(|name| name == "cpu") => Version::One,
        _ => return None,
    };
    Some((version, Path::new(path)))
}

/// Where a hierarchy of groups can be seen, and from which of its groups down.
#[derive(Debug)]
struct Mount {
    version: Version,
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// Of a line of `/proc/self/mountinfo`, if it is of groups that have a say about the CPU.
    fn of_line(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
        let mut fields = after.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1).unwrap_or_default());
        let version = match kind {
            "cgroup2" => Version::Two,
            "cgroup" if options.split(',').any(|option| option == "cpu") => Version::One,
            _ => return None,
        };
        Some(Self { version, root, point })
    }

    /// The folders of `group` and of all above it, as far as they can be seen here. A group beside
    /// what is mounted (as from within a container, of the host) leaves the mount itself.
    fn folders(&self, group: &Path) -> Vec<(Version, PathBuf)> {
        let below = group.strip_prefix(&self.root).unwrap_or_else(|_| Path::new(""));
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let below = if is_plain { below } else { Path::new("") };
        below.ancestors().map(|part| (self.version, self.point.join(part))).collect()
    }
}

/// Blanks and the like are written as a backslash and three octal digits.
fn unescaped(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut path = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = field.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(meant) => {
                path.push(meant);
                at += 4;
            }
            None => {
                path.push(*byte);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests;
