//! The search for a nonce, described once: two hashes of which only what a miner needs is left.
//!
//! An 80-byte header is two blocks of SHA-256; the nonce is word 3 of the second, the version is
//! in the first. So the first block's state (the midstate) is shared by all nonces, and the second
//! block's message schedule by all versions. The second hash is followed to its round 60 only:
//! what is `e` then is `h` after round 63, the word of the digest that must be small.
//!
//! Five descriptions; four have nonces in the lanes:
//! - [`direct`]: the first hash of one version; schedule and rounds together;
//! - [`schedule`]: the words of the second block's schedule with the rounds' constants added, for
//!   all versions of these nonces;
//! - [`rounds`]: first hashes of versions on such a schedule;
//! - [`second`]: second hashes;
//! - [`prepare`], with versions in the lanes: what the hashes of a version start from.
//!
//! Rounds and constants: FIPS 180-4. The kernels take theirs from here, as their build writes them.

use super::graph::{Graph, Logic, Value};

/// The state that a hash starts from.
pub(crate) const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The constants of the 64 rounds.
#[rustfmt::skip]
pub(crate) const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Uniform inputs of one version. 0 to 7: the midstate; 8 to 10: the second block's words before
/// the nonce; 16 to 23: the state after round 3 with zero for the nonce. The next version's follow.
pub(crate) const MIDSTATE: usize = 0;
pub(crate) const TAIL: usize = 8;
pub(crate) const BEFORE_NONCE: usize = 16;
/// Uniform inputs of each version.
pub(crate) const INPUTS: usize = 24;
/// Lane input 0 is the nonce's word; input `SCHEDULE + row` is a row of the schedule's table, whose
/// first is that of round [`FIRST_ROUND`].
pub(crate) const NONCE: usize = 0;
pub(crate) const SCHEDULE: usize = 100;
/// Uniform input `FIRST_BLOCK + i` is word i of a header's first block, whose version is lane input 0.
pub(crate) const FIRST_BLOCK: usize = 300;
/// Lane input `DIGEST + i` is word i of the first hash.
pub(crate) const DIGEST: usize = 200;
/// The first word of the schedule that is not the same for all nonces is the nonce itself.
pub(crate) const FIRST_ROUND: usize = 4;
/// Rows of the schedule's table: a word for each round from then on.
pub(crate) const ROWS: usize = K.len() - FIRST_ROUND;
/// After this round of the second hash `e` is the digest's last word but for an addition.
const LAST_ROUND: usize = 60;

/// A computation and its results.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) graph: Graph,
    pub(crate) results: Vec<Value>,
}

/// The first hash of one version, schedule and rounds together: the 8 words of its digest.
pub(crate) fn direct() -> Described {
    let mut graph = Graph::default();
    let midstate: [Value; 8] = std::array::from_fn(|i| graph.uniform_input(MIDSTATE + i));
    let message = second_block(&mut graph);
    let mut hasher = Hasher { graph, words: message };
    let mut state = midstate;
    for round in 0..64 {
        let word = hasher.word_with_constant(round, 0);
        state = hasher.round(state, word);
    }
    let results = hasher.digest(midstate, state);
    Described { graph: hasher.graph, results }
}

/// Words 4 to 63 of the schedule, each with its round's constant.
pub(crate) fn schedule() -> Described {
    let mut graph = Graph::default();
    let message = second_block(&mut graph);
    let mut hasher = Hasher { graph, words: message };
    let results = (FIRST_ROUND..64).map(|round| hasher.word_with_constant(round, 0)).collect();
    Described { graph: hasher.graph, results }
}

/// The first hashes of so many versions on a schedule that is given, round by round side by side:
/// the 8 words of each digest.
pub(crate) fn rounds(versions: usize) -> Described {
    let mut graph = Graph::default();
    let nonce = graph.lane_input(NONCE);
    let mut hasher = Hasher { graph, words: Vec::new() };
    let words8 = |hasher: &mut Hasher, first: usize| -> [Value; 8] {
        std::array::from_fn(|i| hasher.graph.uniform_input(first + i))
    };
    let mut states = Vec::new();
    for version in 0..versions {
        let mut state = words8(&mut hasher, version * INPUTS + BEFORE_NONCE);
        for with_nonce in [0, 4] {
            state[with_nonce] = hasher.graph.sum(&[state[with_nonce], nonce]);
        }
        states.push(state);
    }
    for round in FIRST_ROUND..64 {
        for state in &mut states {
            let word = hasher.graph.lane_input(SCHEDULE + round - FIRST_ROUND);
            *state = hasher.round(*state, word);
        }
    }
    let mut results = Vec::new();
    for (version, state) in states.into_iter().enumerate() {
        let midstate = words8(&mut hasher, version * INPUTS + MIDSTATE);
        results.extend(hasher.digest(midstate, state));
    }
    Described { graph: hasher.graph, results }
}

/// The second hashes of so many digests, side by side: the last word of each.
pub(crate) fn second(digests: usize) -> Described {
    let mut hashers = Hasher { graph: Graph::default(), words: Vec::new() };
    let mut messages: Vec<Vec<Value>> = (0..digests)
        .map(|digest| {
            let first = DIGEST + 8 * digest;
            let mut words: Vec<Value> =
                (0..8).map(|i| hashers.graph.lane_input(first + i)).collect();
            words.resize(16, Value::Const(0));
            words[8] = Value::Const(0x8000_0000);
            words[15] = Value::Const(256);
            words
        })
        .collect();
    let mut states = vec![INITIAL.map(Value::Const); digests];
    for round in 0..=LAST_ROUND {
        for (state, words) in states.iter_mut().zip(&mut messages) {
            std::mem::swap(&mut hashers.words, words);
            // The digest's last word is `e` of the last round plus a word of the initial state:
            // added to the round's constant it costs nothing.
            let extra = if round == LAST_ROUND { INITIAL[7] } else { 0 };
            let word = hashers.word_with_constant(round, extra);
            *state = hashers.round(*state, word);
            std::mem::swap(&mut hashers.words, words);
        }
    }
    let results = states.into_iter().map(|state| state[4]).collect();
    Described { graph: hashers.graph, results }
}

/// What a version's hashes start from: the midstate, and the state after round 3 with zero for the
/// nonce; 8 words each.
pub(crate) fn prepare() -> Described {
    let mut graph = Graph::default();
    let mut message = vec![graph.lane_input(0)];
    message.extend((1..16).map(|i| graph.uniform_input(FIRST_BLOCK + i)));
    let tail: [Value; 3] = std::array::from_fn(|i| graph.uniform_input(TAIL + i));
    let mut hasher = Hasher { graph, words: message };
    let initial = INITIAL.map(Value::Const);
    let mut state = initial;
    for round in 0..64 {
        let word = hasher.word_with_constant(round, 0);
        state = hasher.round(state, word);
    }
    let mut results = hasher.digest(initial, state);
    let mut state = std::array::from_fn(|i| results[i]);
    for (word, k) in tail.into_iter().chain([Value::Const(0)]).zip(K) {
        let word = hasher.graph.sum(&[word, Value::Const(k)]);
        state = hasher.round(state, word);
    }
    results.extend(state);
    Described { graph: hasher.graph, results }
}

/// The second block of a header, with the nonce in every lane.
fn second_block(graph: &mut Graph) -> Vec<Value> {
    let mut words = vec![Value::Const(0); 16];
    for (i, word) in words.iter_mut().take(3).enumerate() {
        *word = graph.uniform_input(TAIL + i);
    }
    words[3] = graph.lane_input(NONCE);
    words[4] = Value::Const(0x8000_0000);
    words[15] = Value::Const(640);
    words
}

struct Hasher {
    graph: Graph,
    words: Vec<Value>,
}

impl Hasher {
    /// Word `t` of the schedule with its round's constant, and `extra`.
    fn word_with_constant(&mut self, t: usize, extra: u32) -> Value {
        let word = self.word(t);
        self.graph.sum(&[word, Value::Const(K[t].wrapping_add(extra))])
    }

    /// One round; `word` has its constant in it.
    fn round(&mut self, [a, b, c, d, e, f, g, h]: [Value; 8], word: Value) -> [Value; 8] {
        let choice = self.graph.logic(Logic::Choose, [e, f, g]);
        let sigma1 = self.rotations(e, [6, 11, 25]);
        // What waits for `e` is added last.
        let temporary = self.graph.sum(&[h, word, choice, sigma1]);
        let majority = self.graph.logic(Logic::Majority, [a, b, c]);
        let sigma0 = self.rotations(a, [2, 13, 22]);
        let other = self.graph.sum(&[majority, sigma0]);
        let next_e = self.graph.sum(&[d, temporary]);
        let next_a = self.graph.sum(&[other, temporary]);
        [next_a, a, b, c, next_e, e, f, g]
    }

    /// Word `t` of the schedule.
    fn word(&mut self, t: usize) -> Value {
        while self.words.len() <= t {
            let next = self.words.len();
            let old = self.words[next - 15];
            let new = self.words[next - 2];
            let sigma0 = self.rotations_and_shift(old, [7, 18], 3);
            let sigma1 = self.rotations_and_shift(new, [17, 19], 10);
            let terms = [self.words[next - 16], self.words[next - 7], sigma0, sigma1];
            let word = self.graph.sum(&terms);
            self.words.push(word);
        }
        self.words[t]
    }

    fn rotations(&mut self, x: Value, by: [u32; 3]) -> Value {
        let rotated = by.map(|by| self.graph.rotate(x, by));
        self.graph.logic(Logic::Xor, rotated)
    }

    fn rotations_and_shift(&mut self, x: Value, by: [u32; 2], shift: u32) -> Value {
        let [one, two] = by.map(|by| self.graph.rotate(x, by));
        let three = self.graph.shift(x, shift);
        self.graph.logic(Logic::Xor, [one, two, three])
    }

    fn digest(&mut self, before: [Value; 8], after: [Value; 8]) -> Vec<Value> {
        (0..8).map(|i| self.graph.sum(&[before[i], after[i]])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_is_wasted() {
        let [direct, rounds, second, schedule] = [direct(), rounds(1), second(1), schedule()]
            .map(|described| described.graph.count(&described.results).total());
        assert!(direct + second <= 2848, "{direct} + {second}");
        assert!(rounds + second <= 2390, "{rounds} + {second}");
        assert!(schedule <= 462, "{schedule}");
    }
}
