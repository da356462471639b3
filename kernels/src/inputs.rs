//! What the hashes of one version start from, as the code that `codegen` writes takes it.

use crate::midstate::midstate;
use crate::rounds::{state_before_nonce, tail_words};

use layout::{BEFORE_NONCE, INPUTS, MIDSTATE, TAIL};

mod layout {
    include!(concat!(env!("OUT_DIR"), "/layout.rs"));
}

/// The state after the first block, the second block's words before the nonce, and the state after
/// round 3 with zero for the nonce.
#[must_use]
pub fn version_inputs(header: &[u8; 80], version: u32) -> [u32; INPUTS] {
    let (midstate, tail) = (midstate(header, version), tail_words(header));
    let mut inputs = [0; INPUTS];
    let mut put = |at: usize, words: &[u32]| inputs[at..][..words.len()].copy_from_slice(words);
    put(MIDSTATE, &midstate);
    put(TAIL, &tail);
    put(BEFORE_NONCE, &state_before_nonce(midstate, tail));
    inputs
}
