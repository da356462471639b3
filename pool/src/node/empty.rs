//! The block without transactions that is mined while the node still assembles its template: made
//! from the header of the new tip and from the template before.
//!
//! Read [`possible`] and [`template`]. A block of it must be taken by every node, so there is none
//! where a rule could have changed with the new tip: not where the difficulty is set anew, and not
//! on chains where the bits depend on the time (testnet4) or blocks may need a signature (signet).
//! It deliberately asks the node nothing: who calls has the [`Parent`] already.

use units::{Moment, Sats, Target};

use super::check::{commitment_script, subsidy};
use super::settings::Network;
use super::template::Template;
use super::watch::Seen;

/// Blocks from one setting of the difficulty to the next, on the main network.
const ADJUSTMENT: u32 = 2016;

/// What the block to be needs to know of the tip that it builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    /// Its hash, internal order.
    pub(super) hash: [u8; 32],
    /// Its height.
    pub(super) height: u32,
    /// Median time of it and the ten before it, Unix seconds.
    pub(super) median_time: u32,
    /// The compact target of the block on top of it.
    pub(super) next_bits: u32,
}

/// Whether an empty block of this height can be made without the node's template.
pub(super) const fn possible(height: u32, network: Network) -> bool {
    match network {
        Network::Bitcoin => !height.is_multiple_of(ADJUSTMENT),
        Network::Regtest => true,
        Network::Testnet4 | Network::Signet => false,
    }
}

/// An empty block on `parent`, at `now`; rules and the node's clock are taken from `last`. `None`
/// where the parent's figures make no block.
pub(super) fn template(
    parent: &Parent,
    last: &Seen,
    network: Network,
    now: Moment,
) -> Option<Template> {
    let height = parent.height.checked_add(1)?;
    let age = now.mono.saturating_sub(last.at.mono).as_secs();
    let clock = last.template.cur_time.saturating_add(u32::try_from(age).ok()?);
    let min_time = parent.median_time.checked_add(1)?;
    let commits = last.template.witness_commitment.is_some();
    Some(Template {
        version: last.template.version,
        vb_required: last.template.vb_required,
        height,
        prev_hash: parent.hash,
        bits: parent.next_bits,
        target: Target::from_compact(parent.next_bits).ok()?,
        said_target: None,
        cur_time: clock.max(min_time),
        min_time,
        coinbase_value: subsidy(height, network),
        fees: Some(Sats::ZERO),
        weight: Some(0),
        transactions: Vec::new(),
        witness_commitment: commits.then(|| commitment_script(Vec::new())),
        longpollid: String::new(),
        mutable: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use units::UnixMillis;

    use super::super::check::check;
    use super::*;

    const NOW: Moment = Moment { mono: Duration::from_secs(100), unix: UnixMillis::new(0) };

    fn last() -> Seen {
        let template = Template::from_json(&json!({
            "version": 0x2000_0004, "vbrequired": 4, "height": 149, "bits": "207fffff",
            "curtime": 1_700_000_000, "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_700_i64,
            "transactions": [{"data": "00", "txid": "00".repeat(32), "fee": 700}],
            "previousblockhash": "11".repeat(32), "default_witness_commitment": "6a",
        }).to_string());
        Seen::new(template.unwrap(), Moment { mono: Duration::from_secs(90), ..NOW })
    }

    #[test]
    fn it_is_true_takes_the_subsidy_alone_and_keeps_the_times() {
        let parent = Parent {
            hash: [7; 32],
            height: 149,
            median_time: 1_700_000_004,
            next_bits: 0x207f_ffff,
        };
        let empty = template(&parent, &last(), Network::Regtest, NOW).unwrap();
        assert_eq!(check(&empty, Network::Regtest), Ok(()));
        // Halved, and without the fees of the template before.
        assert_eq!((empty.height, empty.coinbase_value.to_sat()), (150, 2_500_000_000));
        assert_eq!((empty.version, empty.vb_required, empty.prev_hash), (0x2000_0004, 4, [7; 32]));
        assert_eq!((empty.min_time, empty.cur_time), (1_700_000_005, 1_700_000_010));
        let ahead = Parent { median_time: 1_700_000_100, ..parent };
        let empty = template(&ahead, &last(), Network::Regtest, NOW).unwrap();
        assert_eq!((empty.min_time, empty.cur_time), (1_700_000_101, 1_700_000_101));
    }

    #[test]
    fn there_is_none_where_a_rule_may_have_changed() {
        let bitcoin = |height| possible(height, Network::Bitcoin);
        assert!(bitcoin(840_001) && bitcoin(2015) && bitcoin(2017));
        assert!(!bitcoin(2016) && !bitcoin(840_672), "the difficulty is set anew");
        assert!(possible(2016, Network::Regtest));
        assert!(!possible(5, Network::Testnet4) && !possible(5, Network::Signet));
        let parent = Parent { hash: [7; 32], height: 1, median_time: 1, next_bits: 0xff12_3456 };
        assert_eq!(template(&parent, &last(), Network::Regtest, NOW), None);
    }
}
