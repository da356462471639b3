//! SHA-256's rounds for kernels that do them themselves: the constants, and the rounds of the
//! second block that no nonce reaches. FIPS 180-4 section 6.2 is the source of names and formulas.

/// The constants of the rounds (section 4.2.2).
#[rustfmt::skip]
pub(crate) const ROUND: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5,
    0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3,
    0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc,
    0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
    0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13,
    0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3,
    0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5,
    0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208,
    0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

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
