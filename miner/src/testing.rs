//! What several tests need: a job as a pool sends it, and moments.

use std::time::Duration;

use stratum::v1::client::ClientJob;
use units::{Difficulty, Moment, Target, UnixMillis};

pub(crate) mod crew;
pub(crate) mod doors;

/// The header time of [`job`].
pub(crate) const NTIME: u32 = 1_700_000_000;

/// A job that came at second 0, with an extranonce2 of 4 bytes and BIP 320's version bits.
pub(crate) fn job() -> ClientJob {
    ClientJob {
        id: "1".to_owned(),
        prev_hash: [0x5a; 32],
        coinbase1: vec![1; 60],
        coinbase2: vec![2; 100],
        branch: vec![[3; 32], [4; 32]],
        version: 0x2000_0000,
        nbits: 0x1d00_ffff,
        ntime: NTIME,
        clean: true,
        target: Target::from_difficulty(Difficulty::new(1e-6).unwrap()),
        network_target: Target::difficulty_one(),
        version_mask: 0x1fff_e000,
        xn1: vec![0, 0, 0, 7],
        xn2_size: 4,
        received: at(0),
        generation: 1,
        continues: false,
    }
}

/// So many seconds after the start.
pub(crate) fn at(seconds: u64) -> Moment {
    Moment {
        mono: Duration::from_secs(seconds),
        unix: UnixMillis::new((u64::from(NTIME) + seconds) * 1000),
    }
}
