//! Payouts by transactions, as an outbox: what a payout is, what may become of it, and what its
//! transaction must be. Read [`PayoutState`] for the life of one, then [`PayoutPlan`].
//!
//! Why nobody is paid twice: the satoshis of a payout leave their accounts' balances in the same
//! write that keeps its transaction, before anybody outside has seen it; every version of the
//! transaction spends the first version's first input, so that at most one of them can ever be on
//! the chain; no coin is spent by two payouts; and the satoshis go back to the balances only while
//! no version was ever released.
//!
//! What it deliberately does not do: it knows no node and no key. Whether a transaction is on the
//! chain is told by the caller, and signatures are the node's to judge. Only transactions whose
//! number no signature changes are taken (native segwit), so that a payout's txid is known from
//! the first moment. Units: satoshis; hashes in internal byte order.

use std::collections::BTreeSet;
use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::{Address, ScriptBuf, Transaction};
use units::{Sats, UnixMillis};

use crate::error::{LedgerError, Refusal};
use crate::record::take;
use crate::types::AccountId;

/// Most accounts that one payout pays; a transaction of so many outputs has some 86 kvB.
pub const MAX_PAYMENTS: usize = 2_000;
/// Longest serialized transaction, and longest PSBT, that is kept: 4 MB, a whole block's.
pub(crate) const MAX_TRANSACTION: usize = 4_000_000;

/// The number of a payout, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayoutId(u64);

/// A transaction's number, in internal byte order.
pub type PayoutTxid = [u8; 32];

/// The bytes of a version: its transaction, and its PSBT (empty where it is signed).
pub type PayoutBytes = (Vec<u8>, Vec<u8>);

/// Accounts and what each is paid.
pub(crate) type Parts = Vec<(AccountId, Sats)>;

/// Where a payout stands.
///
/// ```text
/// planned -> unsigned -> signed -> confirmed -> settled
///               |          |           |
///               +----------+ <---------+   a reorganisation took its block
///               +----------+-> cancelled   only while no version was released
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayoutState {
    /// Taken back before anybody outside saw it; its satoshis are balances again.
    Cancelled,
    /// A version of it is on the chain, not deep yet.
    Confirmed,
    /// Deep on the chain: paid.
    Settled,
    /// Its newest version is signed.
    Signed,
    /// Its newest version waits for a signature made elsewhere.
    Unsigned,
}

/// One account's part of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The account: its name is the address that is paid.
    pub account: String,
    /// How much; more than zero.
    pub sats: Sats,
}

/// One version of a payout's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutTransaction {
    /// The serialized transaction: with all witnesses where it is signed, with none where not.
    pub transaction: Vec<u8>,
    /// The PSBT to be signed elsewhere; empty where the transaction is signed.
    pub psbt: Vec<u8>,
    /// The sum of the coins that it spends. What its outputs leave of that is the fee.
    pub inputs: Sats,
}

/// A payout that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutPlan {
    /// Who gets how much; at most [`MAX_PAYMENTS`], each account once.
    pub payments: Vec<Payment>,
    /// The pool's own address: the one that what is left over goes back to.
    pub custody: String,
    /// Its first version.
    pub version: PayoutTransaction,
    /// When it is planned.
    pub at: UnixMillis,
}

/// What a payout's transaction says, as far as the ledger holds it to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) txid: PayoutTxid,
    pub(crate) signed: bool,
    pub(crate) fee: u64,
    /// The coins that it spends: transaction and output, in its own order.
    pub(crate) spends: Vec<([u8; 32], u32)>,
}

impl PayoutId {
    /// The payout of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl core::fmt::Display for PayoutId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl PayoutState {
    /// Every state once.
    pub const ALL: [Self; 5] =
        [Self::Cancelled, Self::Confirmed, Self::Settled, Self::Signed, Self::Unsigned];

    /// Its name, in the log's tables and outside.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Confirmed => "confirmed",
            Self::Settled => "settled",
            Self::Signed => "signed",
            Self::Unsigned => "unsigned",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether a version of it may still come onto the chain, or leave it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Confirmed | Self::Signed | Self::Unsigned => true,
            Self::Cancelled | Self::Settled => false,
        }
    }

    pub(crate) const fn of_signed(signed: bool) -> Self {
        if signed { Self::Signed } else { Self::Unsigned }
    }
}

/// Holds a version of a transaction to the payments that it is to make: one output for each, of
/// its account's address and its amount, and besides at most one, which goes back to `custody`.
pub(crate) fn inspect(
    version: &PayoutTransaction,
    payments: &[Payment],
    custody: &str,
) -> Result<Inspected, LedgerError> {
    let refuse = |why: String| LedgerError::from(Refusal::Transaction(why));
    let PayoutTransaction { transaction: bytes, psbt, inputs } = version;
    if bytes.len().max(psbt.len()) > MAX_TRANSACTION {
        return Err(refuse(format!("it has more than {MAX_TRANSACTION} bytes")));
    }
    let tx: Transaction =
        deserialize(bytes).map_err(|error| refuse(format!("it is no transaction: {error}")))?;
    let signed = signed(&tx).map_err(refuse)?;
    if signed != psbt.is_empty() {
        return Err(refuse("it is either signed or has a PSBT, and not both".to_owned()));
    }
    let outputs = pays(&tx, payments, custody).map_err(refuse)?;
    let fee = inputs.to_sat().checked_sub(outputs);
    let fee = fee.ok_or_else(|| refuse(format!("it pays {outputs} of {} sat", inputs.to_sat())))?;
    let spends: Vec<_> = tx
        .input
        .iter()
        .map(|input| (input.previous_output.txid.to_byte_array(), input.previous_output.vout))
        .collect();
    if spends.iter().collect::<BTreeSet<_>>().len() != spends.len() {
        return Err(refuse("it spends a coin twice".to_owned()));
    }
    Ok(Inspected { txid: tx.compute_txid().to_byte_array(), signed, fee, spends })
}

/// Whether all inputs are signed, or none is.
fn signed(tx: &Transaction) -> Result<bool, String> {
    if tx.input.is_empty() || tx.input.iter().any(|input| !input.script_sig.is_empty()) {
        return Err("its number is not sure before it is signed: it is not native segwit".into());
    }
    let witnesses = tx.input.iter().filter(|input| !input.witness.is_empty()).count();
    match witnesses {
        0 => Ok(false),
        some if some == tx.input.len() => Ok(true),
        some => Err(format!("{some} of its {} inputs are signed", tx.input.len())),
    }
}

/// The sum of the outputs, where they are what they must be.
fn pays(tx: &Transaction, payments: &[Payment], custody: &str) -> Result<u64, String> {
    let mut left: Vec<(ScriptBuf, u64)> =
        tx.output.iter().map(|o| (o.script_pubkey.clone(), o.value.to_sat())).collect();
    let sum = left.iter().try_fold(0_u64, |sum, (_, sats)| sum.checked_add(*sats));
    for Payment { account, sats } in payments {
        let wanted = (script_of(account)?, sats.to_sat());
        let place = left.iter().position(|output| *output == wanted);
        let place =
            place.ok_or_else(|| format!("no output pays {} sat to {account}", sats.to_sat()))?;
        left.swap_remove(place);
    }
    match left.as_slice() {
        [] => {}
        [(script, _)] if *script == script_of(custody)? => {}
        [..] => return Err(format!("{} of its outputs pay somebody else", left.len())),
    }
    sum.ok_or_else(|| "its outputs are out of range".to_owned())
}

/// The output script of an account, whose name is an address.
fn script_of(account: &str) -> Result<ScriptBuf, String> {
    let address = Address::<NetworkUnchecked>::from_str(account)
        .map_err(|error| format!("{account:?} is no address: {error}"))?;
    Ok(address.assume_checked().script_pubkey())
}

/// That payments are some, each of more than nothing, and each account's only one.
pub(crate) fn check_payments(payments: &[Payment], custody: &str) -> Result<Sats, LedgerError> {
    let count = payments.len();
    if count == 0 || count > MAX_PAYMENTS {
        return Err(Refusal::Payments { count, most: MAX_PAYMENTS }.into());
    }
    let mut seen = BTreeSet::new();
    let mut sum = Sats::ZERO;
    for Payment { account, sats } in payments {
        let twice = !seen.insert(account);
        if twice || *sats == Sats::ZERO || account == custody {
            return Err(Refusal::Payment { account: account.clone(), sats: sats.to_sat() }.into());
        }
        sum = sum.checked_add(*sats).ok_or(LedgerError::Overflow("satoshis"))?;
    }
    Ok(sum)
}

/// The bytes beside `payout_planned`: number of payments u32, for each its account u32 and its
/// satoshis u64, and then as [`encode_version`].
pub(crate) fn encode_plan(payments: &[(AccountId, Sats)], version: &PayoutTransaction) -> Vec<u8> {
    let count = u32::try_from(payments.len()).expect("at most MAX_PAYMENTS");
    let mut bytes = count.to_be_bytes().to_vec();
    for (account, sats) in payments {
        bytes.extend_from_slice(&account.get().to_be_bytes());
        bytes.extend_from_slice(&sats.to_sat().to_be_bytes());
    }
    bytes.extend(encode_version(version));
    bytes
}

/// The bytes beside `payout_replaced`: length of the transaction u32, the transaction, and all
/// that follows is its PSBT.
pub(crate) fn encode_version(version: &PayoutTransaction) -> Vec<u8> {
    let length = u32::try_from(version.transaction.len()).expect("at most MAX_TRANSACTION");
    [length.to_be_bytes().as_slice(), &version.transaction, &version.psbt].concat()
}

/// The payments of a plan, and the bytes of its version.
pub(crate) fn decode_plan(bytes: &[u8]) -> Result<(Parts, &[u8]), LedgerError> {
    let torn = || LedgerError::damaged("a payout's bytes are cut short");
    let (count, rest) = bytes.split_first_chunk().ok_or_else(torn)?;
    let count = usize::try_from(u32::from_be_bytes(*count)).map_err(|_| torn())?;
    let (records, version) = rest.split_at_checked(count.saturating_mul(12)).ok_or_else(torn)?;
    let payments = records.as_chunks::<12>().0.iter().map(|record| {
        let mut fields = record.as_slice();
        let account = AccountId::new(u32::from_be_bytes(take(&mut fields)));
        let sats = Sats::from_sat(u64::from_be_bytes(take(&mut fields)));
        Ok((account, sats.map_err(|error| LedgerError::damaged(format!("a payment: {error}")))?))
    });
    Ok((payments.collect::<Result<_, LedgerError>>()?, version))
}

/// A version's transaction and its PSBT.
pub(crate) fn decode_version(bytes: &[u8]) -> Result<(&[u8], &[u8]), LedgerError> {
    let parts = bytes.split_first_chunk().and_then(|(length, rest)| {
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
    });
    parts.ok_or_else(|| LedgerError::damaged("a payout's transaction is cut short"))
}

/// The coins that a version in the log spends.
pub(crate) fn spends_of(version: &[u8]) -> Result<Vec<([u8; 32], u32)>, LedgerError> {
    let (bytes, _) = decode_version(version)?;
    let tx: Transaction = deserialize(bytes)
        .map_err(|error| LedgerError::damaged(format!("a payout's transaction: {error}")))?;
    let point = |input: &bitcoin::TxIn| {
        (input.previous_output.txid.to_byte_array(), input.previous_output.vout)
    };
    Ok(tx.input.iter().map(point).collect())
}

/// A txid as it is shown.
#[must_use]
pub fn display_txid(txid: &PayoutTxid) -> String {
    crate::block::display_hex(txid)
}
