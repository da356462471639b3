//! The blocks expected of each account, added up anew: see `docs/schemes.md` for what a score is.
//! Divided bit by bit, and not as the ledger divides.

use std::collections::BTreeMap;

/// Scores by account.
#[derive(Debug, Default)]
pub(super) struct Luck {
    open: BTreeMap<u32, u128>,
    closed: BTreeMap<u32, u128>,
    /// The work and network work met last, and their score.
    last: (u128, u128, u128),
}

impl Luck {
    pub(super) fn share(&mut self, account: u32, work: u128, network: u128) {
        if (self.last.0, self.last.1) != (work, network) {
            self.last = (work, network, score(work, network));
        }
        let sum = self.open.entry(account).or_default();
        *sum = sum.saturating_add(self.last.2);
    }

    /// The open slice counts from now on.
    pub(super) fn close(&mut self) {
        for (account, score) in core::mem::take(&mut self.open) {
            let sum = self.closed.entry(account).or_default();
            *sum = sum.saturating_add(score);
        }
    }

    pub(super) fn compare(&self, stored: &BTreeMap<u32, u128>, found: &mut Vec<String>) {
        if *stored != self.closed {
            found.push("the blocks expected of the accounts differ from the log".to_owned());
        }
    }
}

/// The whole part of `work / network` and 64 bits of its fraction; past 128 bits, all ones.
fn score(work: u128, network: u128) -> u128 {
    let (Some(mut quotient), Some(mut rest)) =
        (work.checked_div(network), work.checked_rem(network))
    else {
        return 0;
    };
    if quotient.leading_zeros() < 64 {
        return u128::MAX;
    }
    for _ in 0..64 {
        // `rest` is below `network`: twice `rest` holds it at most once.
        let room = network.saturating_sub(rest);
        let bit = rest >= room;
        rest = if bit { rest.saturating_sub(room) } else { rest.saturating_add(rest) };
        quotient = quotient.wrapping_shl(1) | u128::from(bit);
    }
    quotient
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use units::U256;

    use super::*;

    proptest! {
        #[test]
        fn a_score_is_the_floor(work in any::<u128>(), network in 1_u128.., by in 0_u32..128) {
            let network = (network >> by).max(1);
            let scaled = U256::product(work, 1 << 64);
            let (floor, _) = scaled.div_rem(U256::from(network)).unwrap();
            prop_assert_eq!(score(work, network), floor.to_u128().unwrap_or(u128::MAX));
        }
    }

    #[test]
    fn of_no_network_there_is_no_score() {
        assert_eq!(score(5, 0), 0);
    }
}
