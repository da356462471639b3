//! SHA-256's rounds for kernels that do them themselves: the constants, and the rounds of the
//! second block that no nonce reaches. FIPS 180-4 section 6.2 is the source of names and formulas.

// `ROUND`, as `codegen` wrote it.
include!(concat!(env!("OUT_DIR"), "/round.rs"));

/// Words 0 to 2 of the second block: the end of the Merkle root, the time and the bits.
pub(crate) fn tail_words(header: &[u8; 80]) -> [u32; 3] {
    let words = header[64..76].as_chunks::<4>().0;
    core::array::from_fn(|i| u32::from_be_bytes(words[i]))
}

/// The state after rounds 0 to 3 of the second block, with zero for the nonce's word.
///
/// Word 3 enters round 3 by one addition, and only into the new `a` and `e`: adding it to those
/// two gives the state of any nonce.
pub(crate) fn state_before_nonce(midstate: [u32; 8], tail: [u32; 3]) -> [u32; 8] {
    let words = [tail[0], tail[1], tail[2], 0];
    words.iter().zip(ROUND).fold(midstate, |state, (word, k)| round(state, k.wrapping_add(*word)))
}

/// One round, given the sum of its constant and its word of the schedule.
fn round([a, b, c, d, e, f, g, h]: [u32; 8], addend: u32) -> [u32; 8] {
    let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let choice = g ^ (e & (f ^ g));
    let t1 = h.wrapping_add(sum1).wrapping_add(choice).wrapping_add(addend);
    let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    let majority = (a & b) | (c & (a | b));
    let t2 = sum0.wrapping_add(majority);
    [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::midstate::INITIAL;

    /// The message "abc" in its one block, after all rounds: FIPS 180-4's own example.
    #[test]
    fn the_rounds_hash_abc() {
        let mut words = [0_u32; 64];
        words[0] = 0x6162_6380;
        words[15] = 24;
        for t in 16..64 {
            let (w2, w15) = (words[t - 2], words[t - 15]);
            let s0 = w15.rotate_right(7) ^ w15.rotate_right(18) ^ (w15 >> 3);
            let s1 = w2.rotate_right(17) ^ w2.rotate_right(19) ^ (w2 >> 10);
            let sum = words[t - 16].wrapping_add(s0).wrapping_add(words[t - 7]).wrapping_add(s1);
            words[t] = sum;
        }
        let addends = words.iter().zip(ROUND).map(|(word, k)| word.wrapping_add(k));
        let state = addends.fold(INITIAL, round);
        let hash = core::array::from_fn(|i| state[i].wrapping_add(INITIAL[i]));
        let published: [u32; 8] = [
            0xba78_16bf,
            0x8f01_cfea,
            0x4141_40de,
            0x5dae_2223,
            0xb003_61a3,
            0x9617_7a9c,
            0xb410_ff61,
            0xf200_15ad,
        ];
        assert_eq!(hash, published);
    }
}
