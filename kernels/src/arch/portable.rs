//! The kernel that runs everywhere: `sha2`'s compression function on the two blocks that depend
//! on the nonce. `sha2` itself uses SHA instructions where the processor has them.

use sha2::block_api::compress256;
use units::Hashes;

use crate::{
    Backend, Hit, Kernel, Slice,
    midstate::{INITIAL, midstate},
    search::Search,
};

/// Bytes 16 to 63 of the second block: a header of 640 bits is padded so.
const HEADER_PADDING: [u8; 48] = padding(640);
/// Bytes 32 to 63 of the second hash's block: a hash of 256 bits is padded so.
const HASH_PADDING: [u8; 32] = padding(256);

/// Stateless but for the count of faults.
#[derive(Debug)]
pub(crate) struct Portable {
    faults: u64,
}

impl Portable {
    pub(crate) fn new() -> Self {
        Self { faults: 0 }
    }
}

impl Kernel for Portable {
    fn backend(&self) -> Backend {
        Backend::Portable
    }

    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        let Some((first, last)) = slice.nonce_range() else { return Hashes::ZERO };
        let mut search = Search::new(slice, hits);
        let mut second = [0; 64];
        second[..16].copy_from_slice(&slice.header[64..]);
        second[16..].copy_from_slice(&HEADER_PADDING);
        for &version in slice.versions {
            let midstate = midstate(slice.header, version);
            for nonce in first..=last {
                second[12..16].copy_from_slice(&nonce.to_le_bytes());
                let word7 = last_word(midstate, &second);
                if search.may_meet([word7]) {
                    search.confirm(Hit { version, nonce }, word7);
                }
            }
        }
        self.faults += search.faults();
        slice.hashes()
    }

    fn faults(&self) -> u64 {
        self.faults
    }
}

/// The last word of the double hash.
fn last_word(midstate: [u32; 8], second: &[u8; 64]) -> u32 {
    let mut state = midstate;
    compress256(&mut state, core::slice::from_ref(second));
    let mut block = [0; 64];
    for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    block[32..].copy_from_slice(&HASH_PADDING);
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    state[7]
}

/// SHA-256's padding of a message of `bits` bits up to the end of its block (FIPS 180-4, 5.1.1).
const fn padding<const N: usize>(bits: u16) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[0] = 0x80;
    [bytes[N - 2], bytes[N - 1]] = bits.to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn agrees_with_the_reference() {
        for seed in 0..4 {
            suite::run(&mut Portable::new(), seed).unwrap();
        }
    }
}
