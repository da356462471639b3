//! The keys of `[payout]` that say how rewards are paid out by transactions, and from what.
//!
//! It deliberately does not ask a node: whether the coins are there shows when a payout is made.

use std::{path::PathBuf, time::Duration};

use config::{Secret, Section, parse};
use ledger::MAX_PAYMENTS;
use units::Sats;

/// How payouts are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutsConfig {
    /// Where the coins are: a descriptor, with keys or without; `None` makes no payouts.
    pub descriptor: Option<Secret>,
    /// A file that has it.
    pub descriptor_file: Option<PathBuf>,
    /// From how much on an account is paid whose owner has set nothing.
    pub threshold: Sats,
    /// Accounts that one transaction pays at most.
    pub max_outputs: usize,
    /// Satoshis a virtual byte, where the node has no estimate, and the least.
    pub fee_rate: u64,
    /// The most.
    pub max_fee_rate: u64,
    /// Between payouts that the pool makes by itself; zero where it makes none.
    pub interval: Duration,
    /// Blocks from a payout's own to the tip, both counted, at which it counts as paid. Change is
    /// spent again from there on.
    pub confirmations: u32,
    /// Whether payouts rest, whatever was asked for since.
    pub pause: bool,
}

/// Reads the keys; `None` where one is wrong, and reported.
pub(super) fn read(section: &mut Section<'_>) -> Option<PayoutsConfig> {
    let descriptor = section.secret("descriptor");
    let descriptor_file = section.optional("descriptor_file", parse::path());
    let threshold =
        section.or("threshold_satoshis", "100000", parse::u64_in(1..=Sats::MAX.to_sat()));
    let most = u64::try_from(MAX_PAYMENTS).unwrap_or(u64::MAX);
    let max_outputs = section.or("max_outputs", "500", parse::u64_in(1..=most));
    let fee_rate = section.or("fee_rate", "2", parse::u64_in(1..=5_000));
    let max_fee_rate = section.or("max_fee_rate", "100", parse::u64_in(1..=5_000));
    let interval = section.or("interval_seconds", "0", parse::seconds(0.0..=31_536_000.0));
    let confirmations = section.or("confirmations", "6", parse::u64_in(1..=1_000));
    let pause = section.or("pause", "false", parse::boolean());
    let (descriptor, descriptor_file) = (descriptor?, descriptor_file?);
    let (fee_rate, max_fee_rate) = (fee_rate?, max_fee_rate?);
    if descriptor.is_some() && descriptor_file.is_some() {
        section.problem("descriptor_file", "give descriptor or descriptor_file, not both");
        return None;
    }
    if fee_rate > max_fee_rate {
        section.problem("fee_rate", "expected at most payout.max_fee_rate");
        return None;
    }
    Some(PayoutsConfig {
        descriptor,
        descriptor_file,
        threshold: Sats::from_sat(threshold?).ok()?,
        max_outputs: usize::try_from(max_outputs?).ok()?,
        fee_rate,
        max_fee_rate,
        interval: interval?,
        confirmations: u32::try_from(confirmations?).ok()?,
        pause: pause?,
    })
}
