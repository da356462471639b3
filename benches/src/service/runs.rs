//! What a pool is put through, one fresh process each.

use std::time::Duration;

use clap::ValueEnum;

use crate::load;

/// Miners where memory and new work are measured.
pub(super) const MANY: u32 = 15_000;
/// Between two blocks: long enough for quiet before and after.
const BETWEEN_BLOCKS: f64 = 2.5;

/// Shares that each miner sends where memory after use is measured, and how many of all come in a
/// second: few enough that no queue grows.
const USED_SHARES: f64 = 6.0;
const USED_RATE: f64 = 4000.0;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Run {
    /// As many shares as the pool takes, 32 unanswered on each of 200 connections.
    Batches,
    /// The same with a new extranonce 2 for every share.
    Rolled,
    /// 20,000 shares a second over 200 connections.
    Paced20k,
    /// 10,000 shares a second over 200 connections.
    Paced10k,
    /// Memory with 15,000 connections that only listen.
    Idle,
    /// Memory with 15,000 connections after shares on several jobs.
    Used,
    /// New work to 15,000 connections.
    Broadcast,
}

impl Run {
    pub(super) const ALL: [Self; 7] = [
        Self::Batches,
        Self::Rolled,
        Self::Paced20k,
        Self::Paced10k,
        Self::Idle,
        Self::Used,
        Self::Broadcast,
    ];

    /// For tables and programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Rolled => "batches, rolled",
            Self::Paced20k => "20,000 a second",
            Self::Paced10k => "10,000 a second",
            Self::Idle => "idle",
            Self::Used => "after shares and jobs",
            Self::Broadcast => "new work",
        }
    }

    /// Connections, where there are not to be others.
    pub(super) const fn many(self) -> bool {
        matches!(self, Self::Idle | Self::Used | Self::Broadcast)
    }

    /// Blocks that are found during the window.
    pub(super) const fn blocks(self) -> u32 {
        match self {
            Self::Broadcast => 8,
            Self::Used => 3,
            Self::Batches | Self::Rolled | Self::Paced20k | Self::Paced10k | Self::Idle => 0,
        }
    }

    /// Of each template.
    pub(super) const fn transactions(self) -> u32 {
        if self.many() { 2500 } else { 0 }
    }

    /// How the load is set. `seconds` is the window of a run with shares.
    pub(super) fn load(self, seconds: f64, many: u32, usual: load::Options) -> load::Options {
        let connections = if self.many() { many } else { usual.connections };
        let usual = load::Options { connections, seconds, ..usual };
        match self {
            Self::Batches => usual,
            Self::Rolled => load::Options { roll: true, ..usual },
            Self::Paced20k => load::Options { rate: Some(20_000.0), ..usual },
            Self::Paced10k => load::Options { rate: Some(10_000.0), ..usual },
            Self::Idle => load::Options { idle: true, seconds: 3.0, ..usual },
            Self::Used => {
                let (rate, warm_up) = (Some(USED_RATE), 0.0);
                let seconds = f64::from(many) * USED_SHARES / USED_RATE;
                load::Options { rate, warm_up, seconds, roll: true, ..usual }
            }
            Self::Broadcast => {
                let seconds = f64::from(self.blocks()) * BETWEEN_BLOCKS + 1.0;
                load::Options { idle: true, seconds, ..usual }
            }
        }
    }

    /// When the block with this number comes, from the window's beginning.
    pub(super) fn block_at(self, number: u32, window: f64) -> Duration {
        let part = f64::from(number) + 0.5;
        let between = window / f64::from(self.blocks().max(1));
        let between = if self == Self::Broadcast { BETWEEN_BLOCKS } else { between };
        Duration::from_secs_f64(part * between)
    }
}
