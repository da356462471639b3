//! How many connections the system's limit on open files leaves room for.
//!
//! Read [`Room`]. It deliberately asks the system nothing but the limit of this process: the
//! system's own (`fs.file-max`, memory) is far above where anybody runs a pool.

use core::fmt;
use std::io;

use defences::{Defence, stands};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Limits;

/// Held back for everything but miners: 256 connections of the HTTP server, some ten of the node's
/// RPC for each node, the ledger and its readers, listeners, pollers, logs, certificates while they
/// are read.
pub const RESERVED_FILES: u64 = 384;
/// Tried in turn where the hard limit has no end, or more than the system grants.
const TRIES: [u64; 3] = [1 << 20, 1 << 16, 10_240];

/// How many files this process may have open; `None` where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles(Option<u64>);

/// How many connections are served at once, and what binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// At most so many.
    pub connections: u64,
    /// Which limit that is.
    pub bound: Bound,
}

/// The limit that binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `limits.total`.
    Configured,
    /// Files that the process may have open, and how many connections were configured.
    OpenFiles {
        /// The system's limit.
        files: u64,
        /// `limits.total`.
        configured: u64,
    },
}

/// Lifts the soft limit on open files to the hard one.
///
/// # Errors
/// When the system does not let it be raised at all; the limit then stays as it was.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let had = getrlimit(Resource::Nofile);
    if had.current == had.maximum && had.current.is_some() {
        return Ok(OpenFiles(had.current));
    }
    let above = |wanted: &u64| had.current.is_some_and(|current| *wanted > current);
    let wanted = had.maximum.into_iter().chain(TRIES.into_iter().filter(above));
    let mut failed = None;
    for current in wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: had.maximum }) {
            Ok(()) => return Ok(OpenFiles(Some(current))),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(OpenFiles(had.current)), |error| Err(error.into()))
}

/// How many connections so many open files leave room for.
#[must_use]
pub const fn capacity(files: u64) -> u64 {
    files.saturating_sub(RESERVED_FILES)
}

impl OpenFiles {
    /// A limit as the system states it; `None` where there is none.
    #[must_use]
    pub const fn new(files: Option<u64>) -> Self {
        Self(files)
    }

    /// The limit in force, unchanged.
    #[must_use]
    pub fn in_force() -> Self {
        Self(getrlimit(Resource::Nofile).current)
    }
}

impl Room {
    /// What `limits` and the system allow together.
    #[must_use]
    pub fn of(limits: &Limits, files: OpenFiles) -> Self {
        let configured = limits.total;
        match files.0 {
            Some(files) if stands(Defence::OpenFiles) && capacity(files) < configured => {
                Self { connections: capacity(files), bound: Bound::OpenFiles { files, configured } }
            }
            Some(_) | None => Self { connections: configured, bound: Bound::Configured },
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.connections;
        match self.bound {
            Bound::Configured => {
                write!(f, "room for {connections} connections, which is limits.total")
            }
            Bound::OpenFiles { files, configured } => write!(
                f,
                "room for {connections} connections: the system allows {files} open files, and \
                 {RESERVED_FILES} are held back; {} would serve limits.total = {configured} \
                 (ulimit -n, LimitNOFILE of systemd)",
                configured.saturating_add(RESERVED_FILES)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(total: u64, files: Option<u64>) -> Room {
        Room::of(&Limits { total, ..Limits::default() }, OpenFiles::new(files))
    }

    #[test]
    fn the_smaller_of_both_limits_binds_and_is_named() {
        assert_eq!(room(10_000, None).connections, 10_000);
        assert_eq!(room(10_000, Some(20_000)).connections, 10_000);
        let line = room(10_000, Some(20_000)).to_string();
        assert_eq!(line, "room for 10000 connections, which is limits.total");

        let tight = room(10_000, Some(1_024));
        assert_eq!(tight.connections, 640);
        let line = tight.to_string();
        for part in ["640 connections", "1024 open files", "10384 would serve", "limits.total"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(room(10_000, Some(100)).connections, 0, "and never a negative number");
        assert!(room(15_000, Some(20_000)).bound == Bound::Configured, "15,000 of 20,000 files");
    }

    #[test]
    fn the_soft_limit_is_lifted_to_the_hard_one() {
        // A limit of the whole process, and it is only ever raised here.
        let hard = getrlimit(Resource::Nofile).maximum;
        let raised = raise_open_files().unwrap();
        assert_eq!(raised, OpenFiles::in_force());
        if hard.is_some() {
            assert_eq!(getrlimit(Resource::Nofile).current, hard);
        }
    }
}
