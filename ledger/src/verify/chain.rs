//! A serialized block as the chain defines it: as much as it takes to be sure of its reward.
//! Its header must commit to its transactions, and its coinbase says what it pays.

use defences::{Defence, stands};

use super::commitment;
use super::pow::double_sha256;

/// What a block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inspected {
    pub(super) header: [u8; 80],
    pub(super) hash: [u8; 32],
    /// Sum of the outputs of its coinbase, in satoshis.
    pub(super) coinbase_value: u64,
    /// Its outputs: satoshis and script.
    pub(super) outputs: Vec<(u64, Vec<u8>)>,
    /// What its coinbase commits to, if it does.
    pub(super) commitment: Option<[u8; 32]>,
}

/// What of a block it takes to check its coinbase without the rest.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) header: [u8; 80],
    /// Serialized without its witness.
    pub(crate) coinbase: Vec<u8>,
    /// The nodes beside the coinbase's on the way up to the merkle root.
    pub(crate) branch: Vec<[u8; 32]>,
}

/// A coinbase that stands alone.
#[derive(Debug, Clone)]
pub(super) struct Coinbase {
    pub(super) id: [u8; 32],
    /// Sum of its outputs, in satoshis.
    pub(super) value: u64,
    /// Them: satoshis and script.
    pub(super) outputs: Vec<(u64, Vec<u8>)>,
    pub(super) commitment: Option<[u8; 32]>,
    /// The block's, as its script begins with it (BIP 34).
    pub(super) height: Option<u64>,
}

/// A transaction as far as it matters here.
struct Transaction {
    id: [u8; 32],
    /// Serialized without its witness.
    stripped: Vec<u8>,
    is_coinbase: bool,
    outputs: Vec<(u64, Vec<u8>)>,
    value: u64,
    /// The script of its first input.
    script: Vec<u8>,
}

/// The bytes not read yet.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

/// Reads a whole block.
pub(super) fn inspect(block: &[u8]) -> Result<Inspected, String> {
    let mut cursor = Cursor(block);
    let header: [u8; 80] = cursor.array()?;
    let count = cursor.length()?;
    let mut ids = Vec::new();
    let mut coinbase = None;
    for position in 0..count {
        let transaction = cursor.transaction()?;
        if transaction.is_coinbase != (position == 0) {
            return Err(format!("its transaction {position} is in the wrong place"));
        }
        ids.push(transaction.id);
        coinbase.get_or_insert(transaction);
    }
    if !cursor.0.is_empty() {
        return Err(format!("{} bytes follow its transactions", cursor.0.len()));
    }
    if stands(Defence::AuditMerkle) && header[36..68] != merkle_root(ids) {
        return Err("its header does not commit to its transactions".to_owned());
    }
    let coinbase = coinbase.ok_or("it has no coinbase")?;
    Ok(Inspected {
        header,
        hash: double_sha256(&header),
        coinbase_value: coinbase.value,
        commitment: commitment::found_in(&coinbase.script)?,
        outputs: coinbase.outputs,
    })
}

/// Takes a whole block apart.
pub(crate) fn open(block: &[u8]) -> Result<Opened, String> {
    let mut cursor = Cursor(block);
    let header: [u8; 80] = cursor.array()?;
    let count = cursor.length()?;
    let mut coinbase = None;
    let mut level = Vec::new();
    for _ in 0..count {
        let transaction = cursor.transaction()?;
        level.push(transaction.id);
        coinbase.get_or_insert(transaction.stripped);
    }
    let mut branch = Vec::new();
    while level.len() > 1 {
        branch.extend(level.get(1));
        level = level_above(&level);
    }
    Ok(Opened { header, coinbase: coinbase.ok_or("it has no coinbase")?, branch })
}

/// Reads a coinbase without its witness.
pub(super) fn coinbase(bytes: &[u8]) -> Result<Coinbase, String> {
    let mut cursor = Cursor(bytes);
    let transaction = cursor.transaction()?;
    if !cursor.0.is_empty() || transaction.stripped.as_slice() != bytes {
        return Err("its coinbase is not one transaction without a witness".to_owned());
    }
    if !transaction.is_coinbase {
        return Err("its coinbase spends something".to_owned());
    }
    let Transaction { id, value, outputs, script, .. } = transaction;
    let (commitment, height) = (commitment::found_in(&script)?, height_in(&script));
    Ok(Coinbase { id, value, outputs, commitment, height })
}

/// The number that a coinbase's script begins with: an opcode of its own up to 16, or a push with
/// the lowest byte first.
fn height_in(script: &[u8]) -> Option<u64> {
    let (opcode, rest) = script.split_first()?;
    match opcode {
        0x51..=0x60 => Some(u64::from(opcode.saturating_sub(0x50))),
        1..=8 => {
            let digits = rest.get(..usize::from(*opcode))?.iter().rev();
            Some(digits.fold(0, |height, byte| height << 8 | u64::from(*byte)))
        }
        _ => None,
    }
}

/// The merkle root over a first transaction, with the nodes beside its own on the way up.
pub(super) fn root_of_first(id: [u8; 32], branch: &[[u8; 32]]) -> [u8; 32] {
    branch.iter().fold(id, |node, beside| double_sha256(&[node, *beside].concat()))
}

/// The chain's merkle root: an odd last node is paired with itself.
fn merkle_root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    while level.len() > 1 {
        level = level_above(&level);
    }
    level.first().copied().unwrap_or_default()
}

fn level_above(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let above = |pair: &[[u8; 32]]| {
        let left = pair.first().expect("a chunk has one");
        let right = pair.last().expect("a chunk has one");
        double_sha256(&[*left, *right].concat())
    };
    level.chunks(2).map(above).collect()
}

impl<'a> Cursor<'a> {
    fn transaction(&mut self) -> Result<Transaction, String> {
        let version: [u8; 4] = self.array()?;
        let segwit = self.0.starts_with(&[0, 1]);
        if segwit {
            self.take(2)?;
        }
        let body_from = self.0;
        let inputs = self.length()?;
        let mut coinbase_inputs = 0_usize;
        let mut script = None;
        for _ in 0..inputs {
            let outpoint: [u8; 36] = self.array()?;
            if outpoint[..32] == [0; 32] && outpoint[32..] == [0xff; 4] {
                coinbase_inputs = coinbase_inputs.saturating_add(1);
            }
            let length = self.length()?;
            let unlocking = self.take(length)?;
            script.get_or_insert(unlocking);
            self.take(4)?;
        }
        let outputs = self.outputs()?;
        let body_length = body_from.len().saturating_sub(self.0.len());
        let body = body_from.get(..body_length).unwrap_or_default();
        if segwit {
            self.skip_witnesses(inputs)?;
        }
        let lock_time: [u8; 4] = self.array()?;
        let stripped = [&version, body, &lock_time].concat();
        let id = double_sha256(&stripped);
        let script = script.unwrap_or_default().to_vec();
        let is_coinbase = inputs == 1 && coinbase_inputs == 1;
        let sum = outputs.iter().try_fold(0_u64, |sum, (value, _)| sum.checked_add(*value));
        let value = sum.ok_or("its outputs are out of range")?;
        Ok(Transaction { id, stripped, is_coinbase, outputs, value, script })
    }

    fn outputs(&mut self) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let mut outputs = Vec::new();
        for _ in 0..self.length()? {
            let value = u64::from_le_bytes(self.array()?);
            let length = self.length()?;
            outputs.push((value, self.take(length)?.to_vec()));
        }
        Ok(outputs)
    }

    fn skip_witnesses(&mut self, inputs: usize) -> Result<(), String> {
        for _ in 0..inputs {
            for _ in 0..self.length()? {
                self.skip_bytes()?;
            }
        }
        Ok(())
    }

    fn skip_bytes(&mut self) -> Result<(), String> {
        let length = self.length()?;
        self.take(length).map(|_| ())
    }

    /// A compact size, as a number of things that must still follow: never more than bytes left.
    pub(super) fn length(&mut self) -> Result<usize, String> {
        let [first] = self.array()?;
        let length = match first {
            0xfd => u64::from(u16::from_le_bytes(self.array()?)),
            0xfe => u64::from(u32::from_le_bytes(self.array()?)),
            0xff => u64::from_le_bytes(self.array()?),
            small => u64::from(small),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.0.len() { Err("it is cut short".to_owned()) } else { Ok(length) }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (array, rest) = self.0.split_first_chunk().ok_or("it is cut short")?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it is cut short")?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first block of the chain.
    const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c0101000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

    #[test]
    fn the_first_block_of_the_chain_pays_fifty() {
        let block = hex::decode(GENESIS).unwrap();
        let seen = inspect(&block).unwrap();
        assert_eq!(seen.coinbase_value, 5_000_000_000);
        let mut display = seen.hash;
        display.reverse();
        assert_eq!(
            hex::encode(display),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
    }

    #[test]
    fn another_value_is_not_committed_to() {
        let mut block = hex::decode(GENESIS).unwrap();
        let at = block.len().wrapping_sub(75);
        block[at] ^= 1;
        assert!(inspect(&block).unwrap_err().contains("commit"), "{:?}", inspect(&block));
    }

    proptest! {
        #[test]
        fn torn_and_garbled_blocks_never_panic(
            cut in 0_usize..286, at in 0_usize..285, value: u8,
        ) {
            let mut block = hex::decode(GENESIS).unwrap();
            block[at] = value;
            let original = hex::decode(GENESIS).unwrap();
            let whole = block == original && cut >= original.len();
            block.truncate(cut);
            let header_only = at < 80 && !(36..68).contains(&at) && cut >= original.len();
            prop_assert_eq!(inspect(&block).is_ok(), whole || header_only);
        }
    }
}
