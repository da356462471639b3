//! SHA-256 twice over the three things that a share is made of, straight on the compression
//! function: blocks that never change are prepared once, and padding is a constant.
//!
//! Read [`Coinbase`], then [`fold`] and [`header_hash`]. It deliberately knows no jobs, and hashes
//! nothing of another shape: [`crate::job::sha256d`] does, and is what all of this is held to.

use sha2::block_api::compress256;

/// SHA-256's state before its first block (FIPS 180-4, 5.3.3).
pub const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes of extranonce 1 and the usual extranonce 2.
const EXTRANONCES: usize = 12;

/// A coinbase whose extranonces are still to come: the hash of the whole blocks before them, and
/// all blocks from the one in which they begin, padded.
#[derive(Debug, Clone)]
pub(crate) struct Coinbase {
    state: [u32; 8],
    /// Where the extranonces begin in the first of `blocks`.
    at: usize,
    blocks: Box<[[u8; BLOCK]]>,
}

impl Coinbase {
    /// For extranonces of 4 and 8 bytes between `before` and `after`.
    pub(crate) fn new(before: &[u8], after: &[u8]) -> Self {
        let (whole, rest) = before.as_chunks();
        let mut state = START;
        compress256(&mut state, whole);
        let bytes = [rest, &[0; EXTRANONCES], after].concat();
        let length = whole.as_flattened().len() + bytes.len();
        Self { state, at: rest.len(), blocks: padded(&bytes, length) }
    }

    /// Its hash with these extranonces.
    pub(crate) fn hash(&self, xn1: [u8; 4], xn2: [u8; 8]) -> [u8; 32] {
        let count = if self.at + EXTRANONCES > BLOCK { 2 } else { 1 };
        let (open, closed) = self.blocks.split_at(count);
        let mut filled = [[0; BLOCK]; 2];
        filled[..count].copy_from_slice(open);
        let bytes = filled.as_flattened_mut();
        bytes[self.at..self.at + 4].copy_from_slice(&xn1);
        bytes[self.at + 4..self.at + EXTRANONCES].copy_from_slice(&xn2);
        let mut state = self.state;
        compress256(&mut state, &filled[..count]);
        compress256(&mut state, closed);
        again(&state)
    }
}

/// The parent of two nodes of a Merkle tree.
pub(crate) fn fold(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    const END: [u8; BLOCK] = padding(0, BLOCK);
    let mut blocks = [[0; BLOCK], END];
    blocks[0][..32].copy_from_slice(left);
    blocks[0][32..].copy_from_slice(right);
    let mut state = START;
    compress256(&mut state, &blocks);
    again(&state)
}

/// The hash of a header.
pub(crate) fn header_hash(header: &[u8; 80]) -> [u8; 32] {
    const END: [u8; BLOCK] = padding(16, 80);
    let mut blocks = [[0; BLOCK], END];
    blocks.as_flattened_mut()[..80].copy_from_slice(header);
    let mut state = START;
    compress256(&mut state, &blocks);
    again(&state)
}

/// The hash of a hash.
fn again(state: &[u32; 8]) -> [u8; 32] {
    const END: [u8; BLOCK] = padding(32, 32);
    let mut block = END;
    block[..32].copy_from_slice(&bytes(state));
    let mut state = START;
    compress256(&mut state, &[block]);
    bytes(&state)
}

fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (word, part) in state.iter().zip(bytes.as_chunks_mut().0) {
        *part = word.to_be_bytes();
    }
    bytes
}

/// A last block that has message up to `at`, of a message of `length` bytes (below 8192 here).
const fn padding(at: usize, length: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[at] = 0x80;
    let bits = (8 * length).to_be_bytes();
    block[BLOCK - 2] = bits[bits.len() - 2];
    block[BLOCK - 1] = bits[bits.len() - 1];
    block
}

/// `bytes` with the end that SHA-256 gives to a message of `length` bytes.
fn padded(bytes: &[u8], length: usize) -> Box<[[u8; BLOCK]]> {
    let mut blocks = vec![[0; BLOCK]; (bytes.len() + 9).div_ceil(BLOCK)];
    let flat = blocks.as_flattened_mut();
    flat[..bytes.len()].copy_from_slice(bytes);
    flat[bytes.len()] = 0x80;
    let bits = u64::try_from(length).unwrap_or(u64::MAX).saturating_mul(8);
    let end = flat.len() - 8;
    flat[end..].copy_from_slice(&bits.to_be_bytes());
    blocks.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::sha256d;

    proptest! {
        #[test]
        fn coinbases_of_all_lengths_hash_alike(
            before in proptest::collection::vec(any::<u8>(), 0..200),
            after in proptest::collection::vec(any::<u8>(), 0..400),
            xn1: [u8; 4],
            xn2: [u8; 8],
        ) {
            let whole = [&before[..], &xn1, &xn2, &after].concat();
            prop_assert_eq!(Coinbase::new(&before, &after).hash(xn1, xn2), sha256d(&whole));
        }

        #[test]
        fn pairs_and_headers_hash_alike(left: [u8; 32], right: [u8; 32], start: [u8; 16]) {
            prop_assert_eq!(fold(&left, &right), sha256d(&[left, right].concat()));
            let header: [u8; 80] = [&start[..], &left, &right].concat().try_into().unwrap();
            prop_assert_eq!(header_hash(&header), sha256d(&header));
        }
    }
}
