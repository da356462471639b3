//! Transactions of a descriptor's coins, by `bdk_wallet`: it chooses among them, works out fees
//! and change, and signs where the descriptor has keys.
//!
//! A wallet is made for one transaction, of the coins that the node has just named, and dropped:
//! it keeps no state that could disagree with the ledger's or the chain's, so `bdk_wallet`'s
//! change sets are deliberately not kept. Change goes back to the pool's own address. Only native
//! segwit is taken, since a payout's txid must be known before it is signed.

use std::{
    fmt,
    fs::{self, File},
    io::Read as _,
    path::Path,
    sync::Arc,
};

use bdk_wallet::{
    KeychainKind, SignOptions, TxOrdering, Update, Wallet,
    chain::{BlockId, ConfirmationBlockTime, TxUpdate},
    descriptor::{ExtendedDescriptor, IntoWalletDescriptor},
    keys::KeyMap,
    miniscript::descriptor::DescriptorType,
    signer::SignersContainer,
};
use bitcoin::{
    Amount, FeeRate, Network, OutPoint, Psbt, ScriptBuf, Transaction, TxOut,
    consensus::encode::serialize, secp256k1::Secp256k1,
};
use config::Secret;
use ledger::{Payment, PayoutTransaction};
use units::Sats;

use super::order::{PayoutError, refused};
use crate::{receipts::is_open, user::parse_address};

/// Addresses of a descriptor with `*` that are looked at, from the first.
const INDEXES: u32 = 100;

/// Most bytes of an input without what satisfies its script: coin, sequence number, empty script,
/// and the count of what satisfies it.
const INPUT_BYTES: u64 = 42;

/// Longest descriptor file read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads `payout.descriptor_file`, which may hold keys to all of the pool's coins: a plain file that
/// only its owner may read.
///
/// # Errors
/// When it is not such a file, or cannot be read.
pub(super) fn read_secret(path: &Path) -> Result<Secret, PayoutError> {
    let unread = |why: &str| refused(format!("payout.descriptor_file {}: {why}", path.display()));
    // Before it is opened: a pipe would be waited at for ever.
    let metadata = fs::metadata(path).map_err(|error| unread(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(unread("expected a plain file"));
    }
    if is_open(&metadata) {
        return Err(unread("others may read it; chmod 600 it"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| unread(&error.to_string()))?;
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| unread(&error.to_string()))?;
    Ok(Secret::new(text))
}

/// A coin that the node has named.
#[derive(Debug, Clone)]
pub(super) struct Coin {
    pub(super) outpoint: OutPoint,
    /// The transaction that it is an output of.
    pub(super) transaction: Arc<Transaction>,
    /// Where that is on the chain.
    pub(super) block: BlockId,
}

/// The coins to choose from, and the tip under which they were found.
#[derive(Debug, Clone)]
pub(super) struct Purse {
    pub(super) coins: Vec<Coin>,
    pub(super) tip: BlockId,
}

impl Purse {
    /// Satoshis that the coins are worth when spending each takes this fee; those that are worth
    /// no more than it are left out.
    pub(super) fn worth(&self, fee: u64) -> u64 {
        let worth = |coin: &Coin| {
            let vout = usize::try_from(coin.outpoint.vout).ok()?;
            Some(coin.transaction.output.get(vout)?.value.to_sat().saturating_sub(fee))
        };
        self.coins.iter().filter_map(worth).fold(0, u64::saturating_add)
    }
}

/// What a transaction is to do.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) payments: &'a [Payment],
    pub(super) fee_rate: FeeRate,
    /// Coins that it must spend, first of all.
    pub(super) must: &'a [OutPoint],
    /// Coins that it must not spend.
    pub(super) taken: &'a [OutPoint],
}

/// Where the pool's coins are, and how they are spent.
pub(super) struct Custody {
    descriptor: ExtendedDescriptor,
    keys: KeyMap,
    network: Network,
    /// The pool's own address.
    script: ScriptBuf,
}

/// Without its keys, and without its descriptor, which shows what belongs to the pool.
impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("script", &self.script).finish_non_exhaustive()
    }
}

impl Custody {
    /// Reads a descriptor, which must have the pool's own address among its own.
    pub(super) fn read(text: &str, address: &str, network: Network) -> Result<Self, PayoutError> {
        // Its errors may quote the text, which may hold a key.
        let unread =
            || refused("payout.descriptor is none of this network, or its checksum is wrong");
        let secp = Secp256k1::new();
        let (descriptor, keys) =
            text.trim().into_wallet_descriptor(&secp, network.into()).map_err(|_| unread())?;
        let kind = descriptor.desc_type();
        let native = [
            DescriptorType::Wpkh,
            DescriptorType::Wsh,
            DescriptorType::WshSortedMulti,
            DescriptorType::Tr,
        ];
        if !native.contains(&kind) {
            let why = format!("payout.descriptor is {kind:?}; expected wpkh, wsh or tr");
            return Err(refused(why));
        }
        let script = parse_address(address, network).map_err(refused)?.script_pubkey();
        let custody = Self { descriptor, keys, network, script };
        if !custody.scripts()?.contains(&custody.script) {
            return Err(refused(format!(
                "payout.address {address} is not among the first {INDEXES} of payout.descriptor"
            )));
        }
        Ok(custody)
    }

    /// Whether payouts are signed here.
    pub(super) fn is_hot(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The output scripts to look for.
    pub(super) fn scripts(&self) -> Result<Vec<ScriptBuf>, PayoutError> {
        let wallet = self.wallet()?;
        let count = if self.descriptor.has_wildcard() { INDEXES } else { 1 };
        let script =
            |index| wallet.peek_address(KeychainKind::External, index).address.script_pubkey();
        Ok((0..count).map(script).collect())
    }

    /// Most virtual bytes of an input that spends one of the coins.
    pub(super) fn input_bytes(&self) -> Result<u64, PayoutError> {
        let satisfied = self.descriptor.max_weight_to_satisfy();
        let satisfied = satisfied.map_err(|error| refused(error.to_string()))?;
        Ok(INPUT_BYTES.saturating_add(satisfied.to_vbytes_ceil()))
    }

    /// Makes a transaction, signed where there are keys.
    pub(super) fn make(
        &self,
        purse: &Purse,
        wanted: &Wanted<'_>,
    ) -> Result<PayoutTransaction, PayoutError> {
        let mut wallet = self.wallet()?;
        fill(&mut wallet, purse)?;
        let recipients = wanted.payments.iter().map(|payment| {
            let address = parse_address(&payment.account, self.network).map_err(refused)?;
            Ok((address.script_pubkey(), Amount::from_sat(payment.sats.to_sat())))
        });
        let recipients = recipients.collect::<Result<Vec<_>, PayoutError>>()?;
        let mut builder = wallet.build_tx();
        builder
            .set_recipients(recipients)
            .drain_to(self.script.clone())
            .fee_rate(wanted.fee_rate)
            .ordering(TxOrdering::Untouched)
            .unspendable(wanted.taken.to_vec());
        builder.add_utxos(wanted.must).map_err(|error| refused(error.to_string()))?;
        let mut psbt = builder.finish().map_err(|error| refused(error.to_string()))?;
        let inputs = spent(&psbt)?;
        if !self.is_hot() {
            let transaction = serialize(&psbt.unsigned_tx);
            return Ok(PayoutTransaction { transaction, psbt: psbt.serialize(), inputs });
        }
        let external = wallet.public_descriptor(KeychainKind::External);
        let signers = SignersContainer::build(self.keys.clone(), external, wallet.secp_ctx());
        let signed = wallet.sign_with_signers(&mut psbt, &[&signers], SignOptions::default());
        if !signed.map_err(|error| refused(error.to_string()))? {
            return Err(refused("payout.descriptor's keys are not enough to sign by themselves"));
        }
        Ok(PayoutTransaction { transaction: whole(psbt)?, psbt: Vec::new(), inputs })
    }

    /// The signed transaction of a PSBT that was signed elsewhere.
    pub(super) fn finish(&self, mut psbt: Psbt) -> Result<Vec<u8>, PayoutError> {
        let wallet = self.wallet()?;
        let done = wallet.finalize_psbt(&mut psbt, SignOptions::default());
        if done.map_err(|error| refused(format!("the PSBT: {error}")))? {
            whole(psbt)
        } else {
            Err(refused("the PSBT has not all the signatures that it needs"))
        }
    }

    fn wallet(&self) -> Result<Wallet, PayoutError> {
        Wallet::create_single(self.descriptor.clone())
            .network(self.network)
            .lookahead(INDEXES)
            .create_wallet_no_persist()
            .map_err(|_| refused("payout.descriptor cannot be used by itself"))
    }
}

/// Tells the wallet of the coins and the chain that they are on.
fn fill(wallet: &mut Wallet, purse: &Purse) -> Result<(), PayoutError> {
    let mut tx_update = TxUpdate::default();
    let mut blocks: Vec<BlockId> = purse.coins.iter().map(|coin| coin.block).collect();
    blocks.push(purse.tip);
    blocks.sort_unstable_by_key(|block| block.height);
    blocks.dedup();
    for coin in &purse.coins {
        tx_update.txs.push(Arc::clone(&coin.transaction));
        let anchor = ConfirmationBlockTime { block_id: coin.block, confirmation_time: 0 };
        tx_update.anchors.insert((anchor, coin.outpoint.txid));
    }
    let mut chain = wallet.latest_checkpoint();
    for block in blocks {
        chain = chain
            .push(block)
            .map_err(|_| refused("the chain moved while its coins were looked at; try again"))?;
    }
    wallet
        .apply_update(Update { tx_update, chain: Some(chain), ..Update::default() })
        .map_err(|error| refused(error.to_string()))
}

/// The sum of the coins that a PSBT spends.
fn spent(psbt: &Psbt) -> Result<Sats, PayoutError> {
    let outputs: Vec<&TxOut> = psbt
        .iter_funding_utxos()
        .collect::<Result<_, _>>()
        .map_err(|error| refused(error.to_string()))?;
    let sum = outputs.iter().try_fold(0_u64, |sum, output| sum.checked_add(output.value.to_sat()));
    sum.and_then(|sum| Sats::from_sat(sum).ok())
        .ok_or_else(|| refused("its coins are out of range"))
}

fn whole(psbt: Psbt) -> Result<Vec<u8>, PayoutError> {
    let tx = psbt.extract_tx().map_err(|error| refused(format!("the PSBT: {error}")))?;
    Ok(serialize(&tx))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_descriptor_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("descriptor");
        fs::write(&path, "wpkh(secret)\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let why = read_secret(&path).unwrap_err().to_string();
        assert!(why.contains("descriptor: others may read it; chmod 600"), "{why}");
        assert!(!why.contains("secret"), "{why}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), "wpkh(secret)\n");
        assert!(read_secret(dir.path()).unwrap_err().to_string().contains("a plain file"));
    }
}
