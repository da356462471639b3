//! What all nonces of one version share: the first block's compression.
//!
//! A header is two blocks of message: bytes 0 to 63, which hold the version, and bytes 64 to 79
//! with the padding, which hold the nonce as word 3. So a version costs one compression (its
//! midstate), a nonce costs the second block's and that of the second hash. Names are those of
//! FIPS 180-4.

use sha2::block_api::compress256;

// `INITIAL`, as `codegen` wrote it.
include!(concat!(env!("OUT_DIR"), "/initial.rs"));

/// The state after the header's first 64 bytes, with this version in them.
pub(crate) fn midstate(header: &[u8; 80], version: u32) -> [u32; 8] {
    let mut block = [0; 64];
    block.copy_from_slice(&header[..64]);
    block[..4].copy_from_slice(&version.to_le_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    state
}
