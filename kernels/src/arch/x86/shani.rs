//! The kernel on x86's SHA instructions.
//!
//! Read [`search`] first. Three things make it quick:
//! - a `sha256rnds2` waits for the one before it, so that one hash alone leaves the unit idle
//!   half of the time: two hashes run interleaved, four where the schedule is shared;
//! - versions change the first block alone, so that all versions of one nonce share the second
//!   block's message schedule: with four versions or more it is made once per nonce;
//! - 61 of the 128 instructions are left: rounds 0 to 3 of the second block are one addition
//!   ([`state_before_nonce`]), and the last word of the second hash is known after its round 61.
//!
//! Two operations are unsafe: the call into code that needs the instruction sets, and an empty
//! piece of assembly that keeps hashes interleaved. All else works on values.
//!
//! The rate depends on everything inside the loops being inlined; the compiler does not do that
//! reliably to closures, so there are none. Measure after any change: `wattproof-bench kernels`.
#![expect(unsafe_code, reason = "code for an instruction set is called after detecting it")]

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si32, _mm_insert_epi32, _mm_set_epi32,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};

use units::Hashes;

use crate::{
    Backend, Hit, Slice,
    midstate::{INITIAL, midstate},
    rounds::{ROUND, state_before_nonce, tail_words},
    search::Search,
};

/// Lanes that share a schedule: their states fill half of the registers.
const SHARING: usize = 4;
/// How many lots of [`SHARING`] lanes meet one schedule before the next: 64 lanes take 8 KiB,
/// which leaves room in any first-level cache.
const LOTS: usize = 16;
/// A header is 640 bits, a hash 256.
const HEADER_BITS: u32 = 640;
const HASH_BITS: u32 = 256;
/// Shuffles: the upper half moved to the lower, and neighbours changed over.
const UPPER: i32 = 0b11_10_11_10;
const SWAP: i32 = 0b10_11_00_01;
/// The bit that ends a message.
const END: u32 = 0x8000_0000;

/// A proof that this processor has the instruction sets sha, ssse3 and sse4.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShaNi(());

impl ShaNi {
    /// The only way to a proof. Once there is one there will always be one. Miri has none: it is
    /// for the portable code.
    pub(crate) fn detect() -> Option<Self> {
        let has_all = !cfg!(miri)
            && std::arch::is_x86_feature_detected!("sha")
            && std::arch::is_x86_feature_detected!("ssse3")
            && std::arch::is_x86_feature_detected!("sse4.1");
        has_all.then_some(Self(()))
    }
}

/// Stateless but for the count of faults.
#[derive(Debug)]
pub(crate) struct Kernel {
    _proof: ShaNi,
    faults: u64,
}

impl Kernel {
    pub(crate) fn new(proof: ShaNi) -> Self {
        Self { _proof: proof, faults: 0 }
    }
}

impl crate::Kernel for Kernel {
    fn backend(&self) -> Backend {
        Backend::ShaNi
    }

    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        let Some(range) = slice.nonce_range() else { return Hashes::ZERO };
        let mut found = Search::new(slice, hits);
        // SAFETY: `self._proof` exists only where `ShaNi::detect` saw the three instruction sets
        // that `search` is compiled for.
        unsafe { search(slice, range, &mut found) };
        self.faults += found.faults();
        slice.hashes()
    }

    fn faults(&self) -> u64 {
        self.faults
    }
}

/// A state of SHA-256 as the instructions want it; words from the least significant lane.
#[derive(Debug, Clone, Copy)]
struct State {
    /// f, e, b, a
    abef: __m128i,
    /// h, g, d, c
    cdgh: __m128i,
}

/// What the hashes of one version share.
#[derive(Debug, Clone, Copy)]
struct Lane {
    version: u32,
    midstate: State,
    /// After rounds 0 to 3 of the second block, with zero for the nonce's word.
    before_nonce: State,
}

/// The sixteen latest words of a message schedule, four to a vector.
type Words = [__m128i; 4];
/// Words 4 to 63 of the second block's schedule with the rounds' constants added.
type Schedule = [__m128i; 15];

/// Repeats the body with a constant for each group of four rounds: the loops must be unrolled
/// for the vectors to stay in registers, and the compiler does not do so by itself.
macro_rules! unrolled {
    ($group:ident in [$($value:literal)*] $body:block) => {
        $({
            const $group: usize = $value;
            $body
        })*
    };
}

/// Every nonce with every version: versions by fours, what is left over by pairs of nonces.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn search(slice: &Slice<'_>, range: (u32, u32), found: &mut Search<'_, '_>) {
    let block = second_block(tail_words(slice.header));
    let (fours, rest) = slice.versions.as_chunks::<SHARING>();
    for some in fours.chunks(LOTS) {
        let lots: Vec<[Lane; SHARING]> =
            some.iter().map(|four| four.map(|version| lane(slice.header, version))).collect();
        search_versions(&lots, block, range, found);
    }
    for &version in rest {
        search_nonces(&lane(slice.header, version), block, range, found);
    }
}

/// One schedule per nonce, met by four lanes at a time.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn search_versions(
    lots: &[[Lane; SHARING]],
    block: Words,
    (first, last): (u32, u32),
    found: &mut Search<'_, '_>,
) {
    for nonce in first..=last {
        let schedule = schedule(block, nonce);
        for lot in lots {
            let [a, b, c, d] = hash_sharing(lot, nonce, &schedule);
            // The second hash needs its own schedules: four would not fit the registers.
            keep([lot[0].with(nonce), lot[1].with(nonce)], last_words([a, b]), found);
            keep([lot[2].with(nonce), lot[3].with(nonce)], last_words([c, d]), found);
        }
    }
}

/// One version: two nonces at a time, each with its schedule.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn search_nonces(lane: &Lane, block: Words, (first, last): (u32, u32), found: &mut Search<'_, '_>) {
    for nonce in (first..=last).step_by(2) {
        // An odd one out is hashed twice, and `confirm` counts it once.
        let next = last.min(nonce.saturating_add(1));
        let words = last_words(hash_pair(lane, block, [nonce, next]));
        keep([lane.with(nonce), lane.with(next)], words, found);
    }
}

/// The filter, for two hashes at once.
#[inline]
fn keep(tried: [Hit; 2], words: [u32; 2], found: &mut Search<'_, '_>) {
    if found.may_meet(words) {
        confirm(tried, words, found);
    }
}

/// Each of the two by itself, once.
#[cold]
fn confirm(tried: [Hit; 2], words: [u32; 2], found: &mut Search<'_, '_>) {
    if found.may_meet([words[0]]) {
        found.confirm(tried[0], words[0]);
    }
    if found.may_meet([words[1]]) && tried[1] != tried[0] {
        found.confirm(tried[1], words[1]);
    }
}

impl Lane {
    #[inline]
    fn with(&self, nonce: u32) -> Hit {
        Hit { version: self.version, nonce }
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn lane(header: &[u8; 80], version: u32) -> Lane {
    let midstate = midstate(header, version);
    let before_nonce = state_before_nonce(midstate, tail_words(header));
    Lane { version, midstate: state(midstate), before_nonce: state(before_nonce) }
}

/// The schedule of the second block, shared by all versions of a nonce.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn schedule(block: Words, nonce: u32) -> Schedule {
    let mut words = [block_with(block, nonce)];
    let mut schedule = [_mm_setzero_si128(); 15];
    unrolled!(GROUP in [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        extend(&mut words, GROUP);
        schedule[GROUP - 1] = _mm_add_epi32(words[0][GROUP % 4], constants(GROUP));
    });
    schedule
}

/// The first hash of one nonce for four versions, as the message of the second.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_sharing(
    lanes: &[Lane; SHARING],
    nonce: u32,
    schedule: &Schedule,
) -> [[__m128i; 2]; SHARING] {
    let [a, b, c, d] = lanes;
    let mut states =
        [with_nonce(a, nonce), with_nonce(b, nonce), with_nonce(c, nonce), with_nonce(d, nonce)];
    unrolled!(INDEX in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14] {
        four_rounds(&mut states, [schedule[INDEX]; SHARING]);
    });
    [digest(a, states[0]), digest(b, states[1]), digest(c, states[2]), digest(d, states[3])]
}

/// The first hash of two nonces for one version, as the message of the second.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_pair(lane: &Lane, block: Words, [a, b]: [u32; 2]) -> [[__m128i; 2]; 2] {
    let mut states = [with_nonce(lane, a), with_nonce(lane, b)];
    let mut words = [block_with(block, a), block_with(block, b)];
    unrolled!(GROUP in [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        group(&mut states, &mut words, GROUP);
    });
    [digest(lane, states[0]), digest(lane, states[1])]
}

/// The last words of two second hashes: `h` after round 63 is `e` after round 60, counted from 0.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn last_words([a, b]: [[__m128i; 2]; 2]) -> [u32; 2] {
    let end = vector([END, 0, 0, 0]);
    let length = vector([0, 0, 0, HASH_BITS]);
    let mut states = [state(INITIAL); 2];
    let mut words = [[a[0], a[1], end, length], [b[0], b[1], end, length]];
    unrolled!(GROUP in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14] {
        group(&mut states, &mut words, GROUP);
    });
    extend(&mut words, 15);
    [last_word(states[0], words[0]), last_word(states[1], words[1])]
}

/// Rounds 60 and 61, after which the lowest lane, f, is what e was between them.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn last_word(state: State, words: Words) -> u32 {
    let addend = _mm_add_epi32(words[3], constants(15));
    let abef = _mm_sha256rnds2_epu32(state.cdgh, state.abef, addend);
    _mm_cvtsi128_si32(abef).cast_unsigned().wrapping_add(INITIAL[7])
}

/// Four rounds with the words of their group of the schedule.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn group<const N: usize>(states: &mut [State; N], words: &mut [Words; N], group: usize) {
    extend(words, group);
    let mut addends = [constants(group); N];
    for (addend, w) in addends.iter_mut().zip(words.iter()) {
        *addend = _mm_add_epi32(w[group % 4], *addend);
    }
    four_rounds(states, addends);
}

/// Replaces the oldest four words by the schedule's next; the first four groups are the message.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn extend<const N: usize>(words: &mut [Words; N], group: usize) {
    if group < 4 {
        return;
    }
    for w in words {
        let [oldest, second, third, newest] =
            [group % 4, (group + 1) % 4, (group + 2) % 4, (group + 3) % 4];
        let sigma0 = _mm_sha256msg1_epu32(w[oldest], w[second]);
        let sum = _mm_add_epi32(sigma0, _mm_alignr_epi8(w[newest], w[third], 4));
        w[oldest] = _mm_sha256msg2_epu32(sum, w[newest]);
    }
}

/// Four rounds of N independent hashes, interleaved.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn four_rounds<const N: usize>(states: &mut [State; N], addends: [__m128i; N]) {
    for (s, addend) in states.iter_mut().zip(addends) {
        s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, addend);
    }
    for (s, addend) in states.iter_mut().zip(addends) {
        let upper = _mm_shuffle_epi32(addend, UPPER);
        s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, upper);
        keep_order(s);
    }
}

/// Emits nothing, and keeps the rounds of all hashes before it before those after it.
///
/// Left alone, the compiler saves registers by ordering the rounds of one hash behind those of the
/// other, and the processor does not look that far ahead: a third of the rate is lost (26 instead
/// of 39 MH/s on one core of an AMD EPYC, family 25, model 17, 2026-11-22).
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn keep_order(state: &mut State) {
    // SAFETY: the assembly is a comment, so both registers keep what they hold.
    unsafe {
        asm!(
            "/* {0} {1} */",
            inout(xmm_reg) state.abef,
            inout(xmm_reg) state.cdgh,
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// The state after round 3: the nonce's word is one addend of `a` and of `e`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn with_nonce(lane: &Lane, nonce: u32) -> State {
    let word = nonce.swap_bytes();
    let abef = _mm_add_epi32(lane.before_nonce.abef, vector([0, word, 0, word]));
    State { abef, cdgh: lane.before_nonce.cdgh }
}

/// Adds the midstate and puts the words in order: a to d, e to h.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn digest(lane: &Lane, state: State) -> [__m128i; 2] {
    let abef = _mm_add_epi32(state.abef, lane.midstate.abef);
    let cdgh = _mm_add_epi32(state.cdgh, lane.midstate.cdgh);
    let badc = _mm_unpackhi_epi64(abef, cdgh);
    let fehg = _mm_unpacklo_epi64(abef, cdgh);
    [_mm_shuffle_epi32(badc, SWAP), _mm_shuffle_epi32(fehg, SWAP)]
}

/// The message of the second block, with zero for the nonce's word.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn second_block([w0, w1, w2]: [u32; 3]) -> Words {
    let end = vector([END, 0, 0, 0]);
    [vector([w0, w1, w2, 0]), end, _mm_setzero_si128(), vector([0, 0, 0, HEADER_BITS])]
}

/// The message of the second block with this nonce.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn block_with(mut block: Words, nonce: u32) -> Words {
    block[0] = _mm_insert_epi32(block[0], nonce.swap_bytes().cast_signed(), 3);
    block
}

/// The constants of a group of four rounds.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn constants(group: usize) -> __m128i {
    let first = 4 * group;
    vector([ROUND[first], ROUND[first + 1], ROUND[first + 2], ROUND[first + 3]])
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn state([a, b, c, d, e, f, g, h]: [u32; 8]) -> State {
    State { abef: vector([f, e, b, a]), cdgh: vector([h, g, d, c]) }
}

/// Four words, the first in the least significant lane.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn vector(words: [u32; 4]) -> __m128i {
    let [w0, w1, w2, w3] = words;
    _mm_set_epi32(w3.cast_signed(), w2.cast_signed(), w1.cast_signed(), w0.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    #[expect(clippy::print_stderr, reason = "a backend that cannot run here says so")]
    fn agrees_with_the_reference() {
        let Some(proof) = ShaNi::detect() else {
            eprintln!("skipped: this processor cannot run {}", Backend::ShaNi);
            return;
        };
        for seed in 0..4 {
            suite::run(&mut Kernel::new(proof), seed).unwrap();
        }
    }
}
