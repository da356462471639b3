//! Whether a template can be true: what the pool can work out by itself must agree with what the
//! node says. A node that is broken, or not the operator's, would otherwise make miners search for
//! blocks that every other node refuses.
//!
//! Read [`check`]. It deliberately trusts the node in what only a node can know: which block is the
//! tip, which transactions are valid, and what the next target is.

use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, Transaction, WitnessMerkleNode, Wtxid, merkle_tree};
use defences::{Defence, stands};
use units::Sats;

use super::settings::Network;
use super::template::{Template, TemplateError};

/// What a witness commitment's script begins with (BIP 141): `OP_RETURN`, a push of 36 bytes, and
/// the magic.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// The first subsidy in satoshis, which every `halving` blocks cut in two.
const FIRST_SUBSIDY: u64 = 50 * 100_000_000;

/// Holds a template against what follows from it.
///
/// # Errors
/// Names the field that cannot be true.
pub(super) fn check(template: &Template, network: Network) -> Result<(), TemplateError> {
    if !stands(Defence::TemplateTruth) {
        return Ok(());
    }
    check_header(template)?;
    check_value(template, network)?;
    let mut wtxids = Vec::with_capacity(template.transactions.len());
    let (mut has_witness, mut weight) = (false, 0_u64);
    for (index, transaction) in template.transactions.iter().enumerate() {
        let untrue = |what: &'static str| TemplateError::Untrue {
            field: "transactions",
            why: format!("number {index} {what}"),
        };
        let parsed: Transaction =
            deserialize(&transaction.data).map_err(|_| untrue("is no transaction"))?;
        // What reads is written in one way only, so without witnesses the bytes' hash is the id.
        let with_witness = parsed.input.iter().any(|input| !input.witness.is_empty());
        let wtxid = Wtxid::from_byte_array(transaction.wtxid);
        let txid =
            if with_witness { parsed.compute_txid().to_byte_array() } else { transaction.wtxid };
        if txid != transaction.txid {
            return Err(untrue("has another txid than the node says"));
        }
        weight = weight.saturating_add(parsed.weight().to_wu());
        has_witness |= with_witness;
        wtxids.push(wtxid);
    }
    // Coinbases are made as long as the transactions leave room for.
    if template.weight.is_some_and(|said| said != weight) {
        return Err(TemplateError::Untrue {
            field: "transactions.weight",
            why: format!("they weigh {weight}"),
        });
    }
    let Some(commitment) = &template.witness_commitment else {
        if !has_witness {
            return Ok(());
        }
        return Err(TemplateError::Untrue {
            field: "default_witness_commitment",
            why: "it is missing beside transactions with witnesses".to_owned(),
        });
    };
    if *commitment != commitment_script(wtxids) {
        return Err(TemplateError::Untrue {
            field: "default_witness_commitment",
            why: "it does not commit to these transactions".to_owned(),
        });
    }
    Ok(())
}

/// Versions below this are refused everywhere since BIP 65.
const VERSION_MIN: u32 = 4;

fn check_header(template: &Template) -> Result<(), TemplateError> {
    let untrue = |field: &'static str, why: String| Err(TemplateError::Untrue { field, why });
    let Template { version, cur_time, min_time, .. } = *template;
    if version.cast_signed() < VERSION_MIN.cast_signed() {
        return untrue("version", format!("{version} is refused by every node"));
    }
    if min_time > cur_time {
        return untrue("mintime", format!("{min_time} is after the present time, {cur_time}"));
    }
    if template.said_target.is_some_and(|target| target != template.target) {
        return untrue("bits", "they are not the compact form of the target".to_owned());
    }
    Ok(())
}

/// A coinbase may take the subsidy and the fees; one that takes more makes no valid block.
fn check_value(template: &Template, network: Network) -> Result<(), TemplateError> {
    let Some(fees) = template.fees else { return Ok(()) };
    let most = subsidy(template.height, network).checked_add(fees);
    if most.is_some_and(|most| template.coinbase_value <= most) {
        return Ok(());
    }
    Err(TemplateError::Untrue {
        field: "coinbasevalue",
        why: format!(
            "{} satoshis are more than the subsidy and {} of fees",
            template.coinbase_value.to_sat(),
            fees.to_sat()
        ),
    })
}

/// What a block of this height brings besides fees.
///
/// # Panics
/// Never: no subsidy is more than all coins.
#[must_use]
pub fn subsidy(height: u32, network: Network) -> Sats {
    let halvings = height / network.halving();
    let subsidy = FIRST_SUBSIDY.checked_shr(halvings).unwrap_or(0);
    Sats::from_sat(subsidy).expect("at most 50 coins")
}

/// The script that commits to the witnesses of these transactions, with the reserved value of 32
/// zero bytes that the pool's coinbases carry (BIP 141).
pub(super) fn commitment_script(wtxids: Vec<Wtxid>) -> Vec<u8> {
    // The coinbase's own witness is counted as zero, so that there is always a root.
    let leaves = std::iter::once(Wtxid::all_zeros()).chain(wtxids);
    let root = merkle_tree::calculate_root(leaves).expect("one leaf at the least");
    let root = WitnessMerkleNode::from_raw_hash(root.to_raw_hash());
    let mut script = COMMITMENT_PREFIX.to_vec();
    script.extend(Block::compute_witness_commitment(&root, &[0; 32]).to_byte_array());
    script
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::encode::serialize;
    use units::Target;

    use super::*;
    use crate::node::TemplateTransaction;

    /// A template with one transaction, true in everything.
    fn template() -> Template {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let transaction = &genesis.txdata[0];
        let data = serialize(transaction);
        Template {
            version: 0x2000_0000,
            vb_required: 0,
            height: 101,
            prev_hash: [7; 32],
            bits: 0x207f_ffff,
            target: Target::from_compact(0x207f_ffff).unwrap(),
            said_target: None,
            cur_time: 1_700_000_000,
            min_time: 1_699_999_999,
            coinbase_value: Sats::from_sat(FIRST_SUBSIDY + 10).unwrap(),
            fees: Some(Sats::from_sat(10).unwrap()),
            weight: None,
            witness_commitment: Some(commitment_script(vec![transaction.compute_wtxid()])),
            transactions: vec![TemplateTransaction::new(
                data.into(),
                transaction.compute_txid().to_byte_array(),
            )],
            longpollid: String::new(),
            mutable: Vec::new(),
        }
    }

    type Lie = fn(&mut Template);

    #[test]
    fn what_is_true_passes_and_every_lie_is_named() {
        let lies: [(&str, Lie); 6] = [
            ("coinbasevalue", |t| t.coinbase_value = Sats::from_sat(FIRST_SUBSIDY + 11).unwrap()),
            ("coinbasevalue", |t| t.height = 150),
            ("number 0 has another txid", |t| t.transactions[0].txid[0] ^= 1),
            ("number 0 is no transaction", |t| {
                let data = [&*t.transactions[0].data, &[0]].concat();
                t.transactions[0] = TemplateTransaction::new(data.into(), t.transactions[0].txid);
            }),
            ("default_witness_commitment", |t| t.transactions.clear()),
            ("default_witness_commitment", |t| t.witness_commitment = Some(vec![0x6a])),
        ];
        assert_eq!(check(&template(), Network::Regtest), Ok(()));
        for (name, lie) in lies {
            let mut template = template();
            lie(&mut template);
            let error = check(&template, Network::Regtest).unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn subsidies_halve_and_end() {
        let sats = |height, network| subsidy(height, network).to_sat();
        assert_eq!(sats(840_000, Network::Bitcoin), 312_500_000);
        assert_eq!(sats(839_999, Network::Bitcoin), 625_000_000);
        assert_eq!(sats(150, Network::Regtest), 2_500_000_000);
        assert_eq!(sats(u32::MAX, Network::Regtest), 0);
    }
}
