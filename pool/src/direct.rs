//! Coinbases that pay miners themselves: which outputs a block can have, and how many of them a
//! device's firmware and the block's weight leave room for.
//!
//! Read [`Payroll`]. What an account gets of a block is fixed by the slice that the block's job
//! commits to, so the coinbase may pay it; whoever has no output, since it would be too small or there
//! is no room, is credited by the ledger as ever, from the pool's own output. It deliberately rounds
//! every output down: what is left, less than a satoshi each, is the ledger's to give.

use std::{path::PathBuf, str::FromStr};

use bitcoin::{Address, Amount, ScriptBuf, TxOut, consensus::encode::serialize};
use ledger::{AccountId, Direct, LedgerError, Reader, Scheme, SliceHead, SliceIndex};
use stratum::device::DeviceClass;
use units::{BasisPoints, Sats, U256};

use crate::node::Template;

/// Most that a block may weigh: consensus (BIP 141).
const MAX_WEIGHT: u64 = 4_000_000;
/// What the header, the number of transactions, and the coinbase without outputs to miners weigh at
/// most: 80 and 5 bytes, the coinbase's 300 counted four times, and its witness.
const KEPT_WEIGHT: u64 = (80 + 5 + 300) * 4 + 40;
/// What nodes keep free for a coinbase where they are not told otherwise: what may be used where the
/// node does not say what its transactions weigh.
const RESERVED_WEIGHT: u64 = 8_000;
/// Cost of signature operations that nodes keep free for a coinbase, less what the pool's own output
/// may cost.
const RESERVED_SIGOPS: usize = 400 - SIGOP_COST;
/// What a signature operation in an output costs.
const SIGOP_COST: usize = 4;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectConfig {
    /// Most outputs to miners.
    pub outputs: u16,
    /// The smallest.
    pub least: Sats,
}

/// Everything that a payroll is read by.
#[derive(Debug, Clone)]
pub struct DirectPay {
    /// The ledger's file.
    pub path: PathBuf,
    /// Who shares a reward.
    pub scheme: Scheme,
    /// The pool's own account, which has the pool's own output.
    pub own: String,
    /// The pool's part.
    pub fee: BasisPoints,
    /// What the operator wants.
    pub config: DirectConfig,
}

/// What accounts get of a block that commits to a slice.
#[derive(Debug, Clone, Default)]
pub struct Payroll {
    /// Those with the most first: script and weight.
    accounts: Vec<(ScriptBuf, u128)>,
    /// The sum of all weights, of those left out too.
    total: u128,
    fee: Option<BasisPoints>,
    config: Option<DirectConfig>,
}

impl DirectPay {
    /// What the ledger says for a block that commits to `slice`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn payroll(&self, slice: SliceIndex) -> Result<Payroll, LedgerError> {
        let Self { path, scheme, own, fee, config } = self;
        let window = Reader::open(path)?.window(*scheme, slice)?;
        let total = window.iter().fold(0_u128, |sum, (_, _, weight)| sum.saturating_add(*weight));
        let mut paid: Vec<(AccountId, ScriptBuf, u128)> = window
            .into_iter()
            .filter(|(_, name, _)| name != own)
            .filter_map(|(id, name, weight)| Some((id, script_of(&name)?, weight)))
            .collect();
        paid.sort_by_key(|(id, _, weight)| (std::cmp::Reverse(*weight), *id));
        paid.truncate(config.outputs.into());
        let accounts = paid.into_iter().map(|(_, script, weight)| (script, weight)).collect();
        Ok(Payroll { accounts, total, fee: Some(*fee), config: Some(*config) })
    }
}

impl Payroll {
    /// The outputs of a block with this template, the largest first.
    #[must_use]
    pub fn outputs(&self, template: &Template) -> Vec<TxOut> {
        let Some((fee, config)) = self.fee.zip(self.config) else { return Vec::new() };
        let reward = template.coinbase_value;
        let rest = reward.checked_sub(fee.of(reward)).unwrap_or(Sats::ZERO);
        let mut room = Room::of(template);
        let output = |(script, weight): &(ScriptBuf, u128)| {
            let part = U256::product(rest.to_sat().into(), *weight).div_rem(self.total.into());
            let sats = part.and_then(|(sats, _)| sats.to_u128());
            let value = Amount::from_sat(sats.and_then(|sats| u64::try_from(sats).ok())?);
            let least = script.minimal_non_dust().max(Amount::from_sat(config.least.to_sat()));
            (value >= least).then(|| TxOut { value, script_pubkey: script.clone() })
        };
        let outputs = self.accounts.iter().map_while(output);
        outputs.take_while(|output| room.take(output)).collect()
    }
}

/// How many of these outputs a job has, and each smaller job after it, so that every kind of device
/// gets as many as it can hold: falling, none twice, 0 at the end. `length` is the coinbase's without
/// them.
#[must_use]
pub fn sizes(outputs: &[TxOut], length: usize) -> Vec<usize> {
    let mut limits: Vec<usize> = DeviceClass::all().map(|class| class.longest_coinbase).collect();
    limits.sort_unstable();
    limits.dedup();
    let mut sizes: Vec<usize> =
        limits.iter().rev().map(|most| fitting(outputs, length, *most)).collect();
    sizes.dedup();
    if sizes.last() != Some(&0) {
        sizes.push(0);
    }
    sizes
}

/// What a found block's coinbase pays to accounts: everything but the pool's own output.
#[must_use]
pub fn paid(
    coinbase: &bitcoin::Transaction,
    own: &ScriptBuf,
    network: bitcoin::Network,
) -> Vec<Direct> {
    let to_others = coinbase
        .output
        .iter()
        .filter(|output| output.script_pubkey != *own && !output.script_pubkey.is_op_return());
    to_others
        .filter_map(|output| {
            let address = Address::from_script(&output.script_pubkey, network).ok()?;
            Some(Direct {
                account: address.to_string(),
                script: output.script_pubkey.to_bytes(),
                sats: Sats::from_sat(output.value.to_sat()).ok()?,
            })
        })
        .collect()
}

/// The newest closed slice, with what a block that commits to it pays.
pub type Committed = (SliceHead, Payroll);

fn fitting(outputs: &[TxOut], length: usize, most: usize) -> usize {
    // The number of outputs takes up to two bytes more.
    let mut left = most.saturating_sub(length.saturating_add(2));
    let fits = |output: &&TxOut| {
        let rest = left.checked_sub(serialize(*output).len());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    outputs.iter().take_while(fits).count()
}

fn script_of(account: &str) -> Option<ScriptBuf> {
    Address::from_str(account).ok().map(|address| address.assume_checked().script_pubkey())
}

/// What a block leaves for the outputs of its coinbase.
#[derive(Debug)]
struct Room {
    weight: u64,
    sigops: usize,
}

impl Room {
    fn of(template: &Template) -> Self {
        let free = match template.weight {
            Some(weight) => MAX_WEIGHT.saturating_sub(weight),
            None => RESERVED_WEIGHT,
        };
        Self { weight: free.saturating_sub(KEPT_WEIGHT), sigops: RESERVED_SIGOPS }
    }

    /// Whether there was room for one more.
    fn take(&mut self, output: &TxOut) -> bool {
        let sigops = output.script_pubkey.count_sigops_legacy().saturating_mul(SIGOP_COST);
        let left = self.weight.checked_sub(output.weight().to_wu());
        match (left, self.sigops.checked_sub(sigops)) {
            (Some(weight), Some(sigops)) => {
                *self = Self { weight, sigops };
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(number: u16) -> ScriptBuf {
        let hash = number.to_be_bytes().repeat(10);
        ScriptBuf::from_bytes([vec![0, 20], hash].concat())
    }

    fn template(value: u64, weight: Option<u64>) -> Template {
        let mut template = Template::from_json(
            &serde_json::json!({
                "version": 0x2000_0000, "height": 101, "bits": "207fffff",
                "curtime": 1_700_000_000, "mintime": 1_699_999_999, "coinbasevalue": value,
                "previousblockhash": "00".repeat(32), "transactions": [],
            })
            .to_string(),
        )
        .unwrap();
        template.weight = weight;
        template
    }

    fn payroll(weights: &[u128]) -> Payroll {
        let accounts = (1..).map(script).zip(weights.iter().copied()).collect();
        let config = DirectConfig { outputs: 500, least: Sats::from_sat(1_000).unwrap() };
        let total = weights.iter().sum();
        Payroll { accounts, total, fee: BasisPoints::new(100).ok(), config: Some(config) }
    }

    fn values(outputs: &[TxOut]) -> Vec<u64> {
        outputs.iter().map(|output| output.value.to_sat()).collect()
    }

    #[test]
    fn outputs_are_rounded_down_and_end_where_they_are_too_small() {
        let outputs = payroll(&[2 << 64, 1 << 64, 1]).outputs(&template(10_000, Some(0)));
        assert_eq!(values(&outputs), [6_600 - 1, 3_300 - 1], "a part of 2^-64 is the third's");
        let outputs = payroll(&[9, 1]).outputs(&template(10_000, Some(0)));
        assert_eq!(values(&outputs), [8_910], "990 are fewer than 1,000");
        assert!(Payroll::default().outputs(&template(10_000, Some(0))).is_empty());
    }

    #[test]
    fn there_are_as_many_as_the_block_has_room_for() {
        let many = payroll(&[1; 500]);
        let count = |weight| many.outputs(&template(5_000_000_000, weight)).len();
        // 31 bytes each, four times.
        let room = |weight: u64| usize::try_from((weight - KEPT_WEIGHT) / 124).unwrap();
        assert_eq!(count(Some(0)), 500);
        assert_eq!(count(Some(MAX_WEIGHT - 10_000)), room(10_000));
        assert_eq!(count(None), room(RESERVED_WEIGHT));
        assert_eq!(count(Some(MAX_WEIGHT)), 0);
    }

    #[test]
    fn signature_operations_are_counted() {
        let hash = ScriptBuf::from_bytes([&[0x76, 0xa9, 20][..], &[7; 20], &[0x88, 0xac]].concat());
        let mut many = payroll(&[1; 300]);
        many.accounts.iter_mut().for_each(|(script, _)| script.clone_from(&hash));
        assert_eq!(many.outputs(&template(5_000_000_000, Some(0))).len(), 99, "and the pool's own");
    }

    #[test]
    fn each_kind_of_device_gets_what_it_can_hold() {
        let outputs = payroll(&[1; 500]).outputs(&template(5_000_000_000, Some(0)));
        // 16,000, 6,500, 2,250, 750, 512, 500 and 256 bytes less 202, by 31.
        assert_eq!(sizes(&outputs, 200), [500, 203, 66, 17, 10, 9, 1, 0]);
        assert_eq!(sizes(&outputs[..12], 200), [12, 10, 9, 1, 0]);
        assert_eq!(sizes(&[], 200), [0]);
        assert_eq!(sizes(&outputs[..1], 300), [1, 0]);
    }
}
