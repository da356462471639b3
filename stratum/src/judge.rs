//! The judge of shares: one pure function decides what is credited.
//!
//! Read [`judge()`] first. It is given the job as it was issued to one connection ([`Issued`]) and
//! what the miner sent ([`Submit`]), rebuilds the header, hashes it and compares.
//!
//! It deliberately does not know whether a share was seen before, whether its job is stale or who
//! sent it: the session does, and answers with the same [`Reason`]s. Nothing here is a float.

use std::ops::Deref;

use defences::{Defence, stands};
use units::{Target, UnixMillis, Work};

use crate::hash::header_hash;
use crate::job::{Job, rolled_version};

/// How far a header's time may run ahead, seconds: consensus takes two hours.
pub const NTIME_AHEAD_SECONDS: u64 = 7200;

/// What a miner sends for a share, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// Extranonce 2; its length was checked by the session.
    pub xn2: Extranonce2,
    /// The header's time, Unix seconds.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The rolled version bits, where the miner sent any.
    pub version_bits: Option<u32>,
}

/// A miner's extranonce 2, at most [`Extranonce2::MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Extranonce2 {
    bytes: [u8; Self::MAX],
    length: u8,
}

/// A job as one connection got it.
#[derive(Debug, Clone, Copy)]
pub struct Issued<'a> {
    /// The job.
    pub job: &'a Job,
    /// The share target announced with it.
    pub target: Target,
    /// That target's [`Target::work`], which is credited: made once, since it takes a division.
    pub work: Work,
    /// The version bits that this connection was allowed to roll; 0 for none.
    pub version_mask: u32,
    /// The connection's extranonce 1.
    pub xn1: [u8; 4],
}

/// A share that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What was hashed.
    pub header: [u8; 80],
    /// Its hash, internal order.
    pub hash: [u8; 32],
    /// What is credited: the work of the target that it was judged by, never of the hash itself.
    pub work: Work,
    /// Whether the hash meets the network's target.
    pub is_block: bool,
}

/// Why a share is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// More unanswered shares or requests than the session keeps.
    Busy,
    /// The header was credited before.
    Duplicate,
    /// The ledger could not make the share durable.
    LedgerUnavailable,
    /// The hash is above the target that the job was issued at.
    LowDifficulty,
    /// A parameter is missing or is not what it should be.
    Malformed(&'static str),
    /// Shares before `mining.subscribe`.
    NotSubscribed,
    /// The time is before what consensus takes, or more than two hours ahead.
    NtimeOutOfRange,
    /// The job builds on a block that has a successor.
    StaleJob,
    /// The worker was not authorized on this connection.
    Unauthorized,
    /// No such job, or one too old to be kept.
    UnknownJob,
    /// The version differs outside the negotiated mask.
    VersionOutsideMask,
}

impl Extranonce2 {
    /// The longest.
    pub const MAX: usize = 8;

    /// `None` where `bytes` are too many.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = u8::try_from(bytes.len()).ok()?;
        let mut padded = [0; Self::MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: padded, length })
    }
}

impl Deref for Extranonce2 {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }
}

impl std::fmt::Debug for Extranonce2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&**self))
    }
}

impl Reason {
    /// Every reason once, for tables of metrics.
    pub const ALL: [Self; 11] = [
        Self::StaleJob,
        Self::UnknownJob,
        Self::Duplicate,
        Self::LowDifficulty,
        Self::Unauthorized,
        Self::NotSubscribed,
        Self::NtimeOutOfRange,
        Self::VersionOutsideMask,
        Self::Malformed("malformed"),
        Self::Busy,
        Self::LedgerUnavailable,
    ];

    /// Stratum V1's error code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::StaleJob | Self::UnknownJob => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorized => 24,
            Self::NotSubscribed => 25,
            Self::Busy
            | Self::LedgerUnavailable
            | Self::Malformed(_)
            | Self::NtimeOutOfRange
            | Self::VersionOutsideMask => 20,
        }
    }

    /// The words that go to the miner.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Busy => "too many unanswered requests",
            Self::Duplicate => "duplicate share",
            Self::LedgerUnavailable => "the pool could not record the share",
            Self::LowDifficulty => "low difficulty share",
            Self::Malformed(what) => what,
            Self::NotSubscribed => "not subscribed",
            Self::NtimeOutOfRange => "ntime out of range",
            Self::StaleJob => "stale job",
            Self::Unauthorized => "unauthorized worker",
            Self::UnknownJob => "job not found",
            Self::VersionOutsideMask => "version bits outside the mask",
        }
    }

    /// One word, for a metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Duplicate => "duplicate",
            Self::LedgerUnavailable => "ledger",
            Self::LowDifficulty => "low_difficulty",
            Self::Malformed(_) => "malformed",
            Self::NotSubscribed => "not_subscribed",
            Self::NtimeOutOfRange => "ntime",
            Self::StaleJob => "stale",
            Self::Unauthorized => "unauthorized",
            Self::UnknownJob => "unknown_job",
            Self::VersionOutsideMask => "version",
        }
    }
}

/// Decides one share.
///
/// - The time must lie in `min_ntime ..= max(job's time, now) + 7200 s`.
/// - Version bits outside the mask refuse the share: taking them off silently would judge a
///   header that nobody hashed. The job's own are none: some miners send the whole version.
/// - The hash must meet the target that the job was issued at, and that target's work is
///   credited. A block is never refused for its difficulty: where an operator's floor lies above
///   the network's difficulty, a hash between the two is taken at the network target's work.
///
/// # Errors
/// The reason to refuse it.
pub fn judge(issued: &Issued<'_>, submit: &Submit, now: UnixMillis) -> Result<Judged, Reason> {
    judge_on(issued, submit, now, || issued.job.root(&issued.xn1, &submit.xn2))
}

/// The same, with another way to the Merkle root that [`Job::root`] gives.
pub(crate) fn judge_on(
    issued: &Issued<'_>,
    submit: &Submit,
    now: UnixMillis,
    root: impl FnOnce() -> [u8; 32],
) -> Result<Judged, Reason> {
    let template = &issued.job.template;
    let latest = u64::from(template.ntime).max(now.seconds()).saturating_add(NTIME_AHEAD_SECONDS);
    let in_range = submit.ntime >= template.min_ntime && u64::from(submit.ntime) <= latest;
    if stands(Defence::ShareTime) && !in_range {
        return Err(Reason::NtimeOutOfRange);
    }
    let bits = submit.version_bits.unwrap_or(template.version & issued.version_mask);
    let (outside, kept) = (bits & !issued.version_mask, template.version & !issued.version_mask);
    if stands(Defence::VersionMask) && outside != 0 && outside != kept {
        return Err(Reason::VersionOutsideMask);
    }
    let version = rolled_version(template.version, issued.version_mask, bits);
    let header = issued.job.header_on(&root(), version, submit.ntime, submit.nonce);
    let hash = header_hash(&header);
    let is_block = template.network_target.is_met_by(&hash);
    let work = if issued.target.is_met_by(&hash) || !stands(Defence::ShareTarget) {
        issued.work
    } else if is_block {
        issued.job.network_work
    } else {
        return Err(Reason::LowDifficulty);
    };
    Ok(Judged { header, hash, work, is_block })
}

#[cfg(test)]
mod tests {
    use units::Difficulty;

    use super::*;
    use crate::known_blocks::{BLOCK_125552, GENESIS, KnownBlock};

    fn submit_of(block: &KnownBlock) -> Submit {
        let xn2 = Extranonce2::new(&block.xn2()).unwrap();
        Submit { xn2, ntime: block.ntime, nonce: block.nonce, version_bits: None }
    }

    fn target(difficulty: f64) -> Target {
        Target::from_difficulty(Difficulty::new(difficulty).unwrap())
    }

    fn check(
        block: &KnownBlock,
        difficulty: f64,
        mask: u32,
        submit: &Submit,
        now_seconds: u32,
    ) -> Result<Judged, Reason> {
        let job = Job::new(1, block.template(), true, 1, 0);
        let target = target(difficulty);
        let (work, xn1) = (target.work(), block.xn1());
        let issued = Issued { job: &job, target, work, version_mask: mask, xn1 };
        judge(&issued, submit, UnixMillis::new(u64::from(now_seconds) * 1000))
    }

    #[test]
    fn real_blocks_are_shares_and_blocks() {
        for block in [GENESIS, BLOCK_125552] {
            let judged = check(&block, 1.0, 0, &submit_of(&block), block.ntime).unwrap();
            assert!(judged.is_block, "{}", block.name);
            assert_eq!(judged.hash, block.hash());
            assert_eq!(judged.work, Work::new(4_295_032_833), "the issued target's work");
        }
    }

    #[test]
    fn a_share_is_credited_at_its_own_target_only() {
        let at = |difficulty| check(&BLOCK_125552, difficulty, 0, &submit_of(&BLOCK_125552), 0);
        assert!(at(0.5).unwrap().work < at(2.0).unwrap().work);
        // Its difficulty is about 3.6e10, the network's was 244,112: past its own only the block
        // counts, at the network target's work.
        let block = at(1e15).unwrap();
        assert_eq!(block.work, BLOCK_125552.template().network_target.work());
        assert!(block.is_block);
    }

    #[test]
    fn a_hash_above_the_target_is_refused() {
        let submit = Submit { nonce: GENESIS.nonce + 1, ..submit_of(&GENESIS) };
        assert_eq!(check(&GENESIS, 1.0, 0, &submit, 0), Err(Reason::LowDifficulty));
        // The same hash counts where the target is easy enough.
        let easy = check(&GENESIS, 1e-12, 0, &submit, 0).unwrap();
        assert!(!easy.is_block);
    }

    #[test]
    fn times_out_of_range_are_refused() {
        let (first, job) = (GENESIS.template().min_ntime, GENESIS.ntime);
        let at = |ntime, now| {
            let submit = Submit { ntime, ..submit_of(&GENESIS) };
            check(&GENESIS, 1e-12, 0, &submit, now).map(|_| ())
        };
        assert_eq!(at(first, 0), Ok(()));
        assert_eq!(at(first - 1, 0), Err(Reason::NtimeOutOfRange));
        assert_eq!(at(job + 7200, 0), Ok(()));
        assert_eq!(at(job + 7201, 0), Err(Reason::NtimeOutOfRange));
        assert_eq!(at(job + 8200, job + 1000), Ok(()), "a late clock gives more room");
        assert_eq!(at(job + 8201, job + 1000), Err(Reason::NtimeOutOfRange));
        assert_eq!(at(u32::MAX, u32::MAX), Ok(()));
    }

    #[test]
    fn version_bits_stay_within_the_mask() {
        let with = |mask, version_bits| {
            let submit = Submit { version_bits, ..submit_of(&GENESIS) };
            check(&GENESIS, 1e-12, mask, &submit, 0)
        };
        assert_eq!(with(0, Some(0)).unwrap().hash, GENESIS.hash());
        assert_eq!(with(0, Some(0x2000)), Err(Reason::VersionOutsideMask));
        assert_eq!(with(0x1fff_e000, Some(4)), Err(Reason::VersionOutsideMask));
        assert_eq!(with(0x1fff_e000, Some(1)).unwrap().hash, GENESIS.hash(), "the whole version");
        assert_eq!(with(0, Some(1)).unwrap().hash, GENESIS.hash());
        let rolled = with(0x1fff_e000, Some(0x0000_2000)).unwrap();
        assert_eq!(rolled.header[..4], 0x2001_u32.to_le_bytes());
        assert_eq!(with(0x1fff_e000, None).unwrap().hash, GENESIS.hash());
    }

    #[test]
    fn an_extranonce2_is_shown_as_it_is_sent() {
        assert_eq!(format!("{:?}", Extranonce2::new(&[1, 0xab]).unwrap()), "01ab");
    }

    #[test]
    fn every_reason_has_its_own_label_and_a_known_code() {
        let labels: std::collections::BTreeSet<_> =
            Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!((20..=25).contains(&reason.code()), "{reason:?}");
            assert!(!reason.message().is_empty());
        }
    }
}
