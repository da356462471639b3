//! What the upstream task tells everyone else: one value, always whole, newest wins.

use std::time::Duration;

use units::{Difficulty, Work};

/// What became of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The pool took it.
    Accepted,
    /// Error 23: the pool finds it above the target.
    LowDifficulty,
    /// Error 22: the pool had it before.
    Duplicate,
    /// Error 21: the job is over or unknown.
    Stale,
    /// Errors 24 and 25: the worker isn't authorized or subscribed.
    Unauthorized,
    /// Any other error.
    Other,
    /// No answer in time.
    Unanswered,
    /// Found for a job that had ended, or on a connection that was lost: not sent.
    Unsent,
}

impl Verdict {
    /// All of them, in the order that they are shown.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::LowDifficulty,
        Self::Duplicate,
        Self::Stale,
        Self::Unauthorized,
        Self::Other,
        Self::Unanswered,
        Self::Unsent,
    ];

    /// Its value in the metric's label and in the API.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::LowDifficulty => "low_difficulty",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Unauthorized => "unauthorized",
            Self::Other => "other",
            Self::Unanswered => "unanswered",
            Self::Unsent => "unsent",
        }
    }

    /// The pool refused it.
    #[must_use]
    pub const fn is_rejected(self) -> bool {
        !matches!(self, Self::Accepted | Self::Unanswered | Self::Unsent)
    }

    /// From a pool's error code; -1 is the session's own, where no answer came.
    #[must_use]
    pub const fn of_code(code: i64) -> Self {
        match code {
            21 => Self::Stale,
            22 => Self::Duplicate,
            23 => Self::LowDifficulty,
            24 | 25 => Self::Unauthorized,
            -1 => Self::Unanswered,
            _ => Self::Other,
        }
    }
}

/// Shares by verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; Verdict::ALL.len()]);

impl Counts {
    /// One more share with this verdict.
    pub fn add(&mut self, verdict: Verdict) {
        for (count, known) in self.0.iter_mut().zip(Verdict::ALL) {
            *count += u64::from(known == verdict);
        }
    }

    /// Shares with this verdict.
    #[must_use]
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.each().find(|(known, _)| *known == verdict).map_or(0, |(_, count)| count)
    }

    /// Shares that the pool refused.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.each().filter(|(verdict, _)| verdict.is_rejected()).map(|(_, count)| count).sum()
    }

    /// Every verdict with its count.
    pub fn each(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL.into_iter().zip(self.0)
    }
}

/// What the upstream task is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Opening a connection, subscribing, authorizing.
    Connecting,
    /// Authorized, with work.
    Mining,
    /// Nothing worked: the pools are tried again later.
    Waiting,
    /// Ending.
    Stopping,
}

impl Phase {
    /// In one word.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Mining => "mining",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
        }
    }
}

/// The upstream task's state, as others see it.
#[derive(Debug, Clone)]
pub struct Status {
    /// What it is at.
    pub phase: Phase,
    /// The pool, as written on the command line.
    pub pool: String,
    /// The user name there.
    pub user: String,
    /// The configured pool that let us in last, wherever it has sent us.
    pub mines_for: Option<String>,
    /// When the present connection was authorized, on the monotonic clock.
    pub connected_at: Option<Duration>,
    /// The share difficulty of the present work.
    pub difficulty: Option<Difficulty>,
    /// The network's difficulty.
    pub network_difficulty: Option<Difficulty>,
    /// Shares by verdict.
    pub shares: Counts,
    /// Work that accepted shares prove.
    pub proven: Work,
    /// Accepted shares that met the network's target too.
    pub blocks: u64,
    /// The hardest accepted share's difficulty.
    pub best: Option<Difficulty>,
    /// How long the pool took for its newest verdict.
    pub latency: Option<Duration>,
    /// Connections that were lost or not made.
    pub failures: u64,
    /// Why the last one was.
    pub last_failure: Option<String>,
    /// Energy reports that the pool took.
    pub energy_reports: u64,
}

impl Status {
    /// Before the first connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            pool: String::new(),
            user: String::new(),
            mines_for: None,
            connected_at: None,
            difficulty: None,
            network_difficulty: None,
            shares: Counts::default(),
            proven: Work::ZERO,
            blocks: 0,
            best: None,
            latency: None,
            failures: 0,
            last_failure: None,
            energy_reports: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_contract_has_its_label() {
        for (code, label) in [
            (20, "other"),
            (21, "stale"),
            (22, "duplicate"),
            (23, "low_difficulty"),
            (24, "unauthorized"),
            (25, "unauthorized"),
            (-1, "unanswered"),
            (99, "other"),
        ] {
            assert_eq!(Verdict::of_code(code).label(), label, "{code}");
        }
    }

    #[test]
    fn each_share_is_counted_under_its_verdict() {
        let mut counts = Counts::default();
        for code in [20, 21, 21, 22, 23, 24, 25, -1] {
            counts.add(Verdict::of_code(code));
        }
        counts.add(Verdict::Accepted);
        counts.add(Verdict::Unsent);
        assert_eq!(counts.rejected(), 7);
        assert_eq!(counts.of(Verdict::Unanswered), 1);
        assert_eq!(counts.of(Verdict::Stale), 2);
        assert_eq!(counts.of(Verdict::Unauthorized), 2);
        assert_eq!(counts.of(Verdict::Other), 1);
        assert_eq!(counts.each().map(|(_, count)| count).sum::<u64>(), 10);
    }
}
