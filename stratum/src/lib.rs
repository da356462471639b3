//! Stratum without I/O: jobs, the judge of shares, variable difficulty, and the V1 sessions of
//! both sides.
//!
//! Read [`job`] (what a miner is asked to hash), then [`judge()`] (the one function that decides
//! whether a share is credited), then [`v1::server::Session`] and [`v1::client::ClientSession`]
//! (bytes in, events and bytes out).
//!
//! What it deliberately does not do: no socket, no clock, no file, no log. Time comes in as
//! [`units::Moment`]; whoever owns the socket hands bytes in and writes out what
//! `transmit` gives. Who may mine, where a share is stored and what it pays are the pool's.
//!
//! Units: hashes and header fields are in internal order (as SHA-256 gives them and as a header
//! carries them) unless a name says `wire`. Work is [`units::Work`], exact; difficulty is for
//! the wire and for people.

pub mod device;
mod hash;
pub mod job;
mod jobs;
pub mod judge;
pub mod v1;
pub mod vardiff;

#[cfg(test)]
mod known_blocks;

pub use device::DeviceClass;
pub use hash::START as SHA256_START;
pub use job::{Job, JobId, JobTemplate};
pub use jobs::{Jobs, SavedJobs};
pub use judge::{Extranonce2, Issued, Judged, Reason, Submit, judge};
pub use vardiff::{DifficultySettings, Vardiff};
