//! What a header's hash is, said as plainly as possible: every kernel is checked against this.
//!
//! It is deliberately slow (no midstate, nothing kept between calls) and rests on the `sha2`
//! crate alone.

use sha2::{Digest, Sha256};

/// SHA-256 of the SHA-256 of the header, in internal order.
#[must_use]
pub fn hash_header(header: &[u8; 80]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(header)).into()
}

/// The header with another version and nonce, both little-endian in the bytes.
#[must_use]
pub fn with_version_and_nonce(header: &[u8; 80], version: u32, nonce: u32) -> [u8; 80] {
    let mut header = *header;
    header[..4].copy_from_slice(&version.to_le_bytes());
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_the_genesis_block() {
        let mut header = [0; 80];
        let text = "0100000000000000000000000000000000000000000000000000000000000000\
                    000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
                    4b1e5e4a29ab5f49ffff001d1dac2b7c";
        hex::decode_to_slice(text, &mut header).unwrap();
        let mut hash = hash_header(&header);
        hash.reverse();
        let expected = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        assert_eq!(hex::encode(hash), expected);
        assert_eq!(with_version_and_nonce(&header, 1, 0x7c2b_ac1d), header);
    }
}
