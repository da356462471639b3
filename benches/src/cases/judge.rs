//! The judge of shares on a job of a main chain's size: twelve levels of Merkle branch, that is
//! up to 4,096 transactions.

use stratum::{Extranonce2, Issued, Job, JobTemplate, Reason, Submit, judge};
use units::{Target, UnixMillis};

use super::CaseError;
use crate::measure::{Measured, Meter, WrongAnswer};

/// Shares in one pass.
const SHARES: u32 = 20_000;
/// How many of them meet the target, which half of all hashes meet.
const ACCEPTED: u32 = 10_085;
const XN1: [u8; 4] = [0, 0, 0, 1];
/// The version bits of BIP 320.
const MASK: u32 = 0x1fff_e000;
const NTIME: u32 = 1_795_309_039;

/// Shares judged per second, accepted and refused ones.
pub(super) fn run(meter: &Meter) -> Result<Vec<Measured>, CaseError> {
    let job = Job::new(1, template(), true, 1, 0);
    let (target, work) = (target(), target().work());
    let issued = Issued { job: &job, target, work, version_mask: MASK, xn1: XN1 };
    let name = "judge/12 levels of branch".to_owned();
    Ok(vec![meter.run(name, "shares", || pass(&issued))?])
}

fn pass(issued: &Issued<'_>) -> Result<u64, WrongAnswer> {
    let now = UnixMillis::new(u64::from(NTIME) * 1000);
    let mut accepted = 0;
    for number in 0..SHARES {
        match judge(issued, &share(number), now) {
            Ok(judged) => {
                accepted += 1;
                WrongAnswer::unless_equal("work", &issued.target.work(), &judged.work)?;
                WrongAnswer::unless_equal("a block", &false, &judged.is_block)?;
            }
            Err(reason) => WrongAnswer::unless_equal("reason", &Reason::LowDifficulty, &reason)?,
        }
    }
    WrongAnswer::unless_equal("accepted shares", &ACCEPTED, &accepted)?;
    Ok(SHARES.into())
}

/// Regtest's limit.
fn target() -> Target {
    Target::from_compact(0x207f_ffff).expect("bits that every regtest header carries")
}

/// Every share has its own extranonce 2, so its own coinbase and Merkle root.
fn share(number: u32) -> Submit {
    Submit {
        xn2: Extranonce2::new(&u64::from(number).to_be_bytes()).expect("8 bytes"),
        ntime: NTIME,
        nonce: number.rotate_left(16),
        version_bits: Some((number << 13) & MASK),
    }
}

/// A coinbase of 250 bytes or so, as a pool with a commitment and one payout output makes it.
fn template() -> JobTemplate {
    JobTemplate {
        height: 900_000,
        version: 0x2000_0000,
        prev_hash: [7; 32],
        nbits: 0x1703_0ecd,
        ntime: NTIME,
        min_ntime: NTIME - 600,
        coinbase1: vec![1; 86],
        coinbase2: vec![2; 152],
        branch: (0..12).map(|level| [level; 32]).collect(),
        network_target: Target::from_compact(0x1703_0ecd).expect("a main chain's bits"),
    }
}

#[cfg(test)]
mod tests {
    use stratum::job;

    use super::*;

    /// [`ACCEPTED`] comes from headers built step by step, not from the judge.
    #[test]
    fn the_steps_one_by_one_give_the_same_answers() {
        let (job, target) = (Job::new(1, template(), true, 1, 0), target());
        let work = target.work();
        let issued = Issued { job: &job, target, work, version_mask: MASK, xn1: XN1 };
        let mut accepted = 0;
        for number in 0..SHARES {
            let share = share(number);
            let coinbase = job::coinbase(&job.template, &XN1, &share.xn2);
            let root = job::merkle_root(job::sha256d(&coinbase), &job.template.branch);
            let version = 0x2000_0000 | share.version_bits.unwrap();
            let (prev_hash, nbits) = (&job.template.prev_hash, job.template.nbits);
            let header = job::header(version, prev_hash, &root, share.ntime, nbits, share.nonce);
            let hash = kernels::hash_header(&header);
            let judged = judge(&issued, &share, UnixMillis::new(0)).ok();
            assert_eq!(judged.is_some(), target.is_met_by(&hash), "share {number}");
            assert!(judged.is_none_or(|judged| judged.header == header && judged.hash == hash));
            accepted += u32::from(target.is_met_by(&hash));
        }
        assert_eq!(accepted, ACCEPTED);
    }
}
