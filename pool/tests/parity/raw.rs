//! Blocks as bytes that no library writes: encodings that the real node reads in its own way.

use bitcoin::Block;
use bitcoin::consensus::encode::serialize;
use bitcoin::hashes::{Hash as _, sha256d};

use super::rig::solve;

/// A block of the coinbase and one transaction given as its bytes, with the merkle root over
/// `id_bytes`, solved.
pub(crate) fn block_with(mut block: Block, transaction: &[u8], id_bytes: &[u8]) -> Vec<u8> {
    block.txdata.truncate(1);
    let coinbase = block.txdata[0].compute_txid().to_byte_array();
    let other = sha256d::Hash::hash(id_bytes).to_byte_array();
    let root = sha256d::Hash::hash(&[coinbase, other].concat()).to_byte_array();
    block.header.merkle_root = bitcoin::TxMerkleNode::from_byte_array(root);
    solve(&mut block, true);
    let mut bytes = serialize(&block.header);
    bytes.push(2);
    bytes.extend(serialize(&block.txdata[0]));
    bytes.extend_from_slice(transaction);
    bytes
}

/// Version 2, the middle, lock time 0.
pub(crate) fn transaction(middle: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0], middle, &[0; 4]].concat()
}
