//! Every hit is hashed again before it leaves: by the plain reference, on the header that the
//! pool will rebuild.
//!
//! A hit that doesn't hash below the target is a hardware error (an overclocked device, a faulty
//! core, a wrong kernel). It is counted and never sent.

use defences::{Defence, stands};
use kernels::{Hit, hash_header, with_version_and_nonce};
use units::Target;

/// A hit that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The header with the hit's version and nonce in place.
    pub header: [u8; 80],
    /// Its double SHA-256, in internal byte order.
    pub hash: [u8; 32],
}

/// Hashes the header of a hit again; `None` when it misses the target after all.
#[must_use]
pub fn verify(header: &[u8; 80], hit: Hit, target: &Target) -> Option<Verified> {
    let header = with_version_and_nonce(header, hit.version, hit.nonce);
    let hash = hash_header(&header);
    let holds = target.is_met_by(&hash) || !stands(Defence::HitVerified);
    holds.then_some(Verified { header, hash })
}

#[cfg(test)]
mod tests {
    use units::Difficulty;

    use super::*;

    /// The genesis block's header; its nonce is 0x7c2bac1d.
    fn genesis() -> [u8; 80] {
        let text = concat!(
            "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a",
            "7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
        );
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_true_hit_gives_its_header_and_hash() {
        let mut blank = genesis();
        blank[..4].fill(0);
        blank[76..].fill(0);
        let hit = Hit { version: 1, nonce: 0x7c2b_ac1d };
        let target = Target::from_difficulty(Difficulty::ONE);
        let verified = verify(&blank, hit, &target).unwrap();
        assert_eq!(verified.header, genesis());
        assert_eq!(&verified.hash[28..], [0; 4]);
    }

    #[test]
    fn a_false_hit_is_refused() {
        let target = Target::from_difficulty(Difficulty::ONE);
        assert_eq!(verify(&genesis(), Hit { version: 1, nonce: 0x7c2b_ac1e }, &target), None);
        assert_eq!(verify(&genesis(), Hit { version: 2, nonce: 0x7c2b_ac1d }, &target), None);
    }
}
