//! From a node's template to the job that miners get, and from a solved header back to a block.
//!
//! Read [`Payee::job_template`] first. The coinbase carries, in its script and in this order: the
//! height (BIP 34), the 36-byte commitment (`WPC1` and a tagged hash over the pool's roots), the
//! job's number with the mark of the pool's run, the operator's tag, and the 12 bytes of extranonce
//! that make every connection's work its own. Its first output is the pool's own, which holds what is
//! not paid by others (`direct.rs`); who gets what is the ledger's business.

use crate::node::Template;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute::LockTime,
    consensus::encode, opcodes, script, transaction,
};
use ledger::SliceHead;
use sha2::{Digest, Sha256};
use stratum::job::{JobTemplate, sha256d};

/// First bytes of the commitment, so that anyone can find it in a block.
pub const COMMITMENT_MAGIC: [u8; 4] = *b"WPC1";
/// Bytes of extranonce1, set per connection.
pub const EXTRANONCE1_SIZE: usize = 4;
/// Bytes of extranonce2, rolled by the miner.
pub const EXTRANONCE2_SIZE: usize = 8;
/// Longest tag: height, commitment, numbers, extranonces and this are 97 of the script's 100 bytes.
pub const TAG_MAX: usize = 32;

/// Whom the pool's coinbases pay, and what they are signed with.
#[derive(Debug, Clone)]
pub struct Payee {
    /// Where the reward goes.
    pub script: ScriptBuf,
    /// The operator's tag, at most [`TAG_MAX`] bytes.
    pub tag: Vec<u8>,
}

impl Payee {
    /// Builds what every miner of a job shares: the coinbase around the extranonce, the branch
    /// to the merkle root, and the header's other fields.
    ///
    /// `job` is the job's number. Its low 32 bits are in the coinbase, because two jobs made in
    /// the same second of the same template would otherwise share their headers, and a miner that
    /// starts counting anew with each job would find the same shares again. `run` is 4 random bytes
    /// of this run of the pool: extranonces are leased from the ledger, and two servers with a
    /// ledger each, or one with a ledger from a backup, lease the same ones.
    #[must_use]
    pub fn job_template(
        &self,
        template: &Template,
        newest_slice: &SliceHead,
        job: u64,
        run: [u8; 4],
    ) -> JobTemplate {
        let (coinbase1, coinbase2) = self.halves(template, newest_slice, (job, run), &[]);
        JobTemplate {
            height: template.height,
            version: template.version,
            prev_hash: template.prev_hash,
            nbits: template.bits,
            ntime: template.cur_time,
            min_ntime: template.min_time,
            coinbase1,
            coinbase2,
            branch: branch(template.transactions.iter().map(|transaction| transaction.txid)),
            network_target: template.target,
        }
    }

    /// The coinbase of job `job`, which pays these itself, before and after its extranonces.
    #[must_use]
    pub fn halves(
        &self,
        template: &Template,
        newest_slice: &SliceHead,
        (job, run): (u64, [u8; 4]),
        direct: &[TxOut],
    ) -> (Vec<u8>, Vec<u8>) {
        let mut mark = job.to_le_bytes();
        mark[4..].copy_from_slice(&run);
        split_at_extranonce(&self.coinbase(template, commitment(newest_slice), mark, direct))
    }

    fn coinbase(
        &self,
        template: &Template,
        commitment: [u8; 36],
        mark: [u8; 8],
        direct: &[TxOut],
    ) -> Transaction {
        let push = |bytes: &[u8]| {
            script::PushBytesBuf::try_from(bytes.to_vec()).expect("at most 36 bytes are pushed")
        };
        let mut script = script::Builder::new()
            .push_int(template.height.into())
            .push_slice(push(&commitment))
            .push_slice(push(&mark));
        if !self.tag.is_empty() {
            script = script.push_slice(push(&self.tag));
        }
        let script = script.push_slice([0_u8; EXTRANONCE1_SIZE + EXTRANONCE2_SIZE]).into_script();
        let paid: Amount = direct.iter().map(|output| output.value).sum();
        let own = Amount::from_sat(template.coinbase_value.to_sat()).checked_sub(paid);
        let mut output = vec![TxOut {
            value: own.expect("no more is paid than the block brings"),
            script_pubkey: self.script.clone(),
        }];
        output.extend_from_slice(direct);
        if let Some(commitment) = &template.witness_commitment {
            let script_pubkey = ScriptBuf::from_bytes(commitment.clone());
            output.push(TxOut { value: Amount::ZERO, script_pubkey });
        }
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: script,
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output,
        }
    }
}

/// The 36 bytes that fix the accounting before a block can be found: the magic and
/// SHA-256(SHA-256(tag) || SHA-256(tag) || slice index, 8 bytes big-endian || slice root), with
/// the tag `wattproof/commitment/1` (BIP 340's way of telling hashes apart).
#[must_use]
pub fn commitment(newest_slice: &SliceHead) -> [u8; 36] {
    let tag = Sha256::digest(b"wattproof/commitment/1");
    let hash = Sha256::new()
        .chain_update(tag)
        .chain_update(tag)
        .chain_update(newest_slice.index.get().to_be_bytes())
        .chain_update(newest_slice.root)
        .finalize();
    let mut commitment = [0; 36];
    commitment[..4].copy_from_slice(&COMMITMENT_MAGIC);
    commitment[4..].copy_from_slice(&hash);
    commitment
}

/// The whole block for a solved header: the coinbase gets the witness that its commitment needs.
///
/// # Errors
/// When `coinbase` is no transaction; it is then not one that this module built.
pub fn assemble_block(
    header: &[u8; 80],
    coinbase: &[u8],
    template: &Template,
) -> Result<Vec<u8>, encode::Error> {
    let mut coinbase: Transaction = encode::deserialize(coinbase)?;
    if template.witness_commitment.is_some() {
        coinbase.input[0].witness = Witness::from_slice(&[[0_u8; 32]]);
    }
    let mut block = header.to_vec();
    let transactions = u64::try_from(template.transactions.len()).unwrap_or(u64::MAX);
    block.extend(encode::serialize(&encode::VarInt(transactions.saturating_add(1))));
    block.extend(encode::serialize(&coinbase));
    for transaction in &template.transactions {
        block.extend_from_slice(&transaction.data);
    }
    Ok(block)
}

/// Cuts the serialized coinbase around its extranonce, which is the last push of its script.
fn split_at_extranonce(coinbase: &Transaction) -> (Vec<u8>, Vec<u8>) {
    let bytes = encode::serialize(coinbase);
    // version 4, input count 1, previous output 36, script length 1 (a script is under 100 bytes)
    let script_end = 4 + 1 + 36 + 1 + coinbase.input[0].script_sig.len();
    let script_start_of_extranonce = script_end - EXTRANONCE1_SIZE - EXTRANONCE2_SIZE;
    debug_assert_eq!(
        bytes[script_start_of_extranonce - 1],
        opcodes::all::OP_PUSHBYTES_12.to_u8(),
        "the extranonce is pushed last"
    );
    (bytes[..script_start_of_extranonce].to_vec(), bytes[script_end..].to_vec())
}

/// The hashes that fold the coinbase's up to the merkle root: at each level the sibling of the
/// leftmost node, with the last node of an odd level paired with itself.
fn branch(txids: impl Iterator<Item = [u8; 32]>) -> Vec<[u8; 32]> {
    let mut level: Vec<[u8; 32]> = txids.collect();
    let mut branch = Vec::new();
    while !level.is_empty() {
        branch.push(level[0]);
        let rest = level.split_off(1);
        level =
            rest.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&pair[0]))).collect();
    }
    branch
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    sha256d(&both)
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use units::{Sats, Target};

    use super::*;

    /// The root by the definition: the whole tree, level by level.
    fn merkle_root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&pair[0])))
                .collect();
        }
        level[0]
    }

    #[test]
    fn the_branch_folds_to_the_root_for_every_count() {
        let coinbase = [0xcb; 32];
        for count in 0_u8..20 {
            let txids: Vec<[u8; 32]> = (0..count).map(|index| [index; 32]).collect();
            let folded = branch(txids.iter().copied())
                .iter()
                .fold(coinbase, |node, sibling| parent(&node, sibling));
            let mut leaves = vec![coinbase];
            leaves.extend(txids);
            assert_eq!(folded, merkle_root(leaves), "{count} transactions");
        }
    }

    #[test]
    fn no_two_jobs_share_their_headers() {
        let payee = Payee { script: ScriptBuf::from_bytes(vec![0x51]), tag: Vec::new() };
        let job = |number| payee.job_template(&template(7), &SliceHead::NONE, number, [0; 4]);
        assert_eq!(job(1), job(1));
        assert_ne!(job(1).coinbase1, job(2).coinbase1);
    }

    fn template(height: u32) -> Template {
        Template {
            version: 0x2000_0000,
            vb_required: 0,
            height,
            prev_hash: [7; 32],
            bits: 0x207f_ffff,
            target: Target::from_compact(0x207f_ffff).unwrap(),
            said_target: None,
            cur_time: 1_700_000_000,
            min_time: 1_699_999_000,
            coinbase_value: Sats::from_sat(5_000_000_000).unwrap(),
            fees: Some(Sats::ZERO),
            weight: None,
            transactions: Vec::new(),
            witness_commitment: Some(vec![0x6a; 38]),
            longpollid: String::new(),
            mutable: Vec::new(),
        }
    }

    #[test]
    fn the_coinbase_says_what_it_must_at_every_height() {
        let payee = Payee { script: ScriptBuf::from_bytes(vec![0x51]), tag: vec![b't'; TAG_MAX] };
        let slice = SliceHead::NONE;
        for height in [1, 16, 17, 128, 32_768, 840_000, 8_388_608] {
            let template = template(height);
            let job = payee.job_template(&template, &slice, u64::MAX, [255; 4]);
            let mut bytes = job.coinbase1.clone();
            bytes.extend([0xaa; EXTRANONCE1_SIZE + EXTRANONCE2_SIZE]);
            bytes.extend(&job.coinbase2);
            let coinbase: Transaction = encode::deserialize(&bytes).unwrap();
            assert!(coinbase.is_coinbase());
            let script = &coinbase.input[0].script_sig;
            assert!(script.len() <= 100, "{} bytes", script.len());
            let expected = script::Builder::new().push_int(height.into()).into_script();
            assert!(script.as_bytes().starts_with(expected.as_bytes()), "height {height}");
            assert!(script.as_bytes().windows(36).any(|window| window == commitment(&slice)));
            assert_eq!(coinbase.output[0].value.to_sat(), 5_000_000_000);

            let block = assemble_block(&[0; 80], &bytes, &template).unwrap();
            let block: bitcoin::Block = encode::deserialize(&block).unwrap();
            assert_eq!(block.txdata[0].compute_txid().to_byte_array(), sha256d(&bytes));
            assert_eq!(block.txdata[0].input[0].witness.len(), 1);
        }
    }
}
