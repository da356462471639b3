//! What an operator sets for every session, and what a session never exceeds.

use std::sync::Arc;
use std::time::Duration;

use units::Difficulty;

use crate::vardiff::DifficultySettings;

/// What every session of a pool shares.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The listener's name, for the log and for metrics: the operator's, never a stranger's.
    pub profile: Arc<str>,
    /// What one connection may use.
    pub limits: Limits,
    /// The version bits that may be rolled; BIP 320: `0x1fff_e000`. 0 offers none.
    pub version_mask: u32,
    /// Bytes of extranonce 2 that each connection gets, 1 to 8.
    pub xn2_size: usize,
    /// How difficulty starts and moves.
    pub difficulty: DifficultySettings,
    /// How often energy reports are asked for; `None` where they are not taken.
    pub energy_interval: Option<Duration>,
}

/// What one connection may use. Each bounds memory or work that a stranger could ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest line, bytes.
    pub max_line: usize,
    /// Longest line before a worker is authorized, bytes.
    pub max_line_unauthorized: usize,
    /// Workers authorized on one connection.
    pub max_workers: usize,
    /// Longest user name, bytes.
    pub max_user: usize,
    /// Shares handed out and not yet acknowledged.
    pub max_in_flight: usize,
    /// Authorizations and energy reports handed out and not yet answered.
    pub max_waiting: usize,
    /// Jobs of the current epoch that shares are taken for.
    pub max_jobs_kept: usize,
    /// Epochs before the current one whose jobs are kept, at most [`Self::max_jobs_kept`]: what is
    /// refused as stale may still be a block.
    pub late_epochs: u64,
    /// Headers remembered as credited, for each previous hash.
    pub max_seen: usize,
    /// Answers not yet written out, bytes. Work is not counted: only the newest is kept.
    pub max_outbox: usize,
    /// Requests and refused shares that may come at once before [`Self::nuisance_per_second`]
    /// bounds them.
    pub nuisance_burst: u32,
    /// Requests and refused shares a second, in the long run.
    pub nuisance_per_second: u32,
    /// Shares that may be credited at once before [`Self::shares_per_second`] bounds them. Only
    /// with variable difficulty, under which far fewer come.
    pub share_burst: u32,
    /// Shares credited a second, in the long run: a faster miner is read more slowly.
    pub shares_per_second: u32,
    /// Lines that are no JSON, in the life of a connection.
    pub max_garbage: u32,
    /// Time to subscribe.
    pub subscribe_within: Duration,
    /// Time to have a worker authorized.
    pub authorize_within: Duration,
    /// Longest silence of an authorized connection.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line: 8192,
            max_line_unauthorized: 1024,
            max_workers: 128,
            max_user: 256,
            max_in_flight: 512,
            max_waiting: 16,
            max_jobs_kept: 64,
            late_epochs: 1,
            max_seen: 65_536,
            max_outbox: 131_072,
            nuisance_burst: 1000,
            nuisance_per_second: 10,
            share_burst: 20_000,
            shares_per_second: 200,
            max_garbage: 10,
            subscribe_within: Duration::from_secs(10),
            authorize_within: Duration::from_secs(30),
            idle: Duration::from_secs(3600),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let difficulty = |value| Difficulty::new(value).unwrap_or(Difficulty::ONE);
        Self {
            profile: "default".into(),
            limits: Limits::default(),
            version_mask: 0x1fff_e000,
            xn2_size: 8,
            difficulty: DifficultySettings {
                start: Difficulty::ONE,
                min: difficulty(1e-9),
                max: difficulty(1e12),
                shares_per_minute: 10.0,
                vardiff: true,
            },
            energy_interval: Some(Duration::from_secs(60)),
        }
    }
}
