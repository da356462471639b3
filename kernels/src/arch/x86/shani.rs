//! The kernel on x86's SHA instructions. The code of the hashes is written by `codegen`.
//!
//! Read [`Kernel::scan`]. Three things make it quick:
//! - a `sha256rnds2` waits for the one before it, so that four hashes are under way at once: the
//!   first hashes of two lanes beside the second hashes of the two before them;
//! - versions change the first block alone, so that all versions of one nonce share the second
//!   block's message schedule: it is made once per nonce, and two versions at a time run on it;
//! - 61 of the 64 instructions that do two rounds each are left: rounds 0 to 3 of the second block are one addition
//!   ([`state_before_nonce`]), and the last word of the second hash is known after its round 60.
//!
//! A call answers for the one before it, so that one call more is made at the end. Few versions, and
//! an odd one out, are searched by pairs of nonces, each with its own schedule.
#![expect(unsafe_code, reason = "code for an instruction set is called after detecting it")]

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_set_epi32, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_store_si128,
};

use units::Hashes;

use crate::{
    Backend, Hit, Slice,
    midstate::{INITIAL, midstate},
    rounds::{ROUND, state_before_nonce, tail_words},
    search::Search,
};

#[expect(
    clippy::unreadable_literal,
    clippy::too_many_lines,
    reason = "people read the description that this is made from"
)]
mod code {
    //! What `codegen` wrote.
    use super::{Lane, Vector, Work};

    include!(concat!(env!("OUT_DIR"), "/sha_ni.rs"));
}

/// Words of a vector; the first is the least significant.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy)]
struct Vector([u32; 4]);

/// What the hashes of one version share.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Lane {
    /// (f, e, b, a) and (h, g, d, c) after the first block.
    midstate: [Vector; 2],
    /// The same after rounds 0 to 3 of the second block, with zero for the nonce's word.
    before_nonce: [Vector; 2],
}

/// What the code works in.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Work {
    words: [Vector; code::WORDS],
    constants: [Vector; code::CONSTANTS.len()],
}

/// Two digests on their way from the first hash to the second.
type Digests = [Vector; 4];
/// With fewer versions a schedule made on its own takes longer than one made beside the rounds.
const SHARING_MIN: usize = 8;
/// Groups of four rounds of a schedule that follow the one with the nonce.
const ROWS: usize = 15;
/// A header is 640 bits.
const HEADER_BITS: u32 = 640;
/// The bit that ends a message.
const END: u32 = 0x8000_0000;

/// A proof that this processor has the instruction sets that the code uses: the SHA instructions,
/// and AVX for the three-operand forms of the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShaNi(());

impl ShaNi {
    /// The only way to a proof. Once there is one there will always be one. Miri has none: it is
    /// for the portable code.
    pub(crate) fn detect() -> Option<Self> {
        let has_all = !cfg!(miri)
            && std::arch::is_x86_feature_detected!("sha")
            && std::arch::is_x86_feature_detected!("avx")
            && std::arch::is_x86_feature_detected!("ssse3")
            && std::arch::is_x86_feature_detected!("sse4.1");
        has_all.then_some(Self(()))
    }
}

/// The kernel, with the memory of the hashes under way.
#[derive(Debug)]
pub(crate) struct Kernel {
    _proof: ShaNi,
    work: Work,
    rows: [Vector; ROWS],
    pipeline: Pipeline,
    prepared: Option<Prepared>,
    faults: u64,
}

/// The hashes between their halves.
#[derive(Debug)]
struct Pipeline {
    /// Those of the call before, and those of the next.
    digests: [Digests; 2],
    /// What the digests of the call before are of.
    tried: Option<Tried>,
}

/// The lanes of the work at hand: slices of one work follow one another.
#[derive(Debug)]
struct Prepared {
    header: [u8; 80],
    versions: Vec<u32>,
    lanes: Vec<Lane>,
}

/// What two lanes are tried with.
type Tried = [Hit; 2];

/// A function of the code.
type Function = unsafe extern "sysv64" fn(
    *const Lane,
    *const Vector,
    u64,
    *const Digests,
    *mut Work,
    *mut Digests,
) -> u64;

impl Kernel {
    pub(crate) fn new(proof: ShaNi) -> Self {
        let zero = Vector([0; 4]);
        Self {
            _proof: proof,
            work: Work { words: [zero; code::WORDS], constants: code::CONSTANTS },
            rows: [zero; ROWS],
            pipeline: Pipeline { digests: [[zero; 4]; 2], tried: None },
            prepared: None,
            faults: 0,
        }
    }

    /// Pairs of the first so many versions with every nonce: one schedule for all of them.
    fn search_versions(
        &mut self,
        prepared: &Prepared,
        sharing: usize,
        (first, last): (u32, u32),
        found: &mut Search<'_, '_>,
    ) {
        let pairs = prepared.lanes[..sharing].as_chunks::<2>().0;
        let versions = prepared.versions[..sharing].as_chunks::<2>().0;
        let tail = tail_words(&prepared.header);
        if pairs.is_empty() {
            return;
        }
        for nonce in first..=last {
            let word = nonce.swap_bytes();
            // SAFETY: `self._proof` stands for the instruction sets that `schedule` is compiled for.
            unsafe { schedule(tail, word, &mut self.rows) };
            let rows = self.rows;
            for (pair, versions) in pairs.iter().zip(versions) {
                let tried = versions.map(|version| Hit { version, nonce });
                self.call(code::versions, pair, &rows, [word; 2], Some(tried), found);
            }
        }
        self.drain(found);
    }

    /// One version with every nonce, two at a time, each with its schedule.
    fn search_nonces(
        &mut self,
        header: &[u8; 80],
        version: u32,
        lane: Lane,
        (first, last): (u32, u32),
        found: &mut Search<'_, '_>,
    ) {
        let [w0, w1, w2] = tail_words(header);
        let mut message = [Vector([0; 4]); ROWS];
        message[0] = Vector([w0, w1, w2, 0]);
        for nonce in (first..=last).step_by(2) {
            // An odd one out is hashed twice, and counted once.
            let nonces = [nonce, last.min(nonce.saturating_add(1))];
            let tried = nonces.map(|nonce| Hit { version, nonce });
            let words = nonces.map(u32::swap_bytes);
            self.call(code::nonces, &[lane; 2], &message, words, Some(tried), found);
        }
        self.drain(found);
    }

    /// Gets the answer that is still owed.
    fn drain(&mut self, found: &mut Search<'_, '_>) {
        let zero = Vector([0; 4]);
        let lane = Lane { midstate: [zero; 2], before_nonce: [zero; 2] };
        self.call(code::last, &[lane; 2], &[zero; ROWS], [0; 2], None, found);
    }

    /// Begins two hashes and ends the two of the call before.
    #[inline]
    fn call(
        &mut self,
        function: Function,
        lanes: &[Lane; 2],
        message: &[Vector; ROWS],
        nonces: [u32; 2],
        begun: Option<Tried>,
        found: &mut Search<'_, '_>,
    ) {
        let Pipeline { digests: [before, next], tried } = &mut self.pipeline;
        let nonces = u64::from(nonces[0]) | u64::from(nonces[1]) << 32;
        // SAFETY: `self._proof` stands for the instruction sets. The code reads two lanes, at most
        // `ROWS` vectors of the message and two digests, and reads and writes `Work` and two other
        // digests; all are aligned to 16 bytes and nobody else refers to what is written during the
        // call. It follows the calling convention and touches nothing else.
        let words = unsafe {
            let (lanes, message) = (lanes.as_ptr(), message.as_ptr());
            function(lanes, message, nonces, before, &raw mut self.work, next)
        };
        core::mem::swap(before, next);
        answer(words, core::mem::replace(tried, begun), found);
    }
}

impl crate::Kernel for Kernel {
    fn backend(&self) -> Backend {
        Backend::ShaNi
    }

    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        let Some(range) = slice.nonce_range() else { return Hashes::ZERO };
        let mut found = Search::new(slice, hits);
        let prepared = match self.prepared.take() {
            Some(prepared) if prepared.is_for(slice) => prepared,
            _ => Prepared::new(slice),
        };
        let sharing = prepared.sharing();
        self.search_versions(&prepared, sharing, range, &mut found);
        for (lane, version) in prepared.lanes.iter().zip(&prepared.versions).skip(sharing) {
            self.search_nonces(slice.header, *version, *lane, range, &mut found);
        }
        self.prepared = Some(prepared);
        self.faults += found.faults();
        slice.hashes()
    }

    fn faults(&self) -> u64 {
        self.faults
    }
}

impl Prepared {
    fn new(slice: &Slice<'_>) -> Self {
        let lane = |version: &u32| {
            let midstate = midstate(slice.header, *version);
            let before_nonce = state_before_nonce(midstate, tail_words(slice.header));
            Lane { midstate: vectors(midstate), before_nonce: vectors(before_nonce) }
        };
        Self {
            header: *slice.header,
            versions: slice.versions.to_vec(),
            lanes: slice.versions.iter().map(lane).collect(),
        }
    }

    /// How many versions share schedules: pairs, and none where there are too few for it to pay.
    fn sharing(&self) -> usize {
        let count = self.versions.len();
        if count < SHARING_MIN { 0 } else { count - count % 2 }
    }

    /// Whether the lanes are those of this work: version and nonce of the header are not read.
    fn is_for(&self, slice: &Slice<'_>) -> bool {
        self.header[4..76] == slice.header[4..76] && self.versions == slice.versions
    }
}

/// Passes on what may meet the target.
#[inline]
fn answer(words: u64, tried: Option<Tried>, found: &mut Search<'_, '_>) {
    let Some(tried) = tried else { return };
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let words = [words as u32, (words >> 32) as u32].map(|e| e.wrapping_add(INITIAL[7]));
    if found.may_meet(words) {
        confirm(tried, words, found);
    }
}

/// Each of the two by itself, once.
#[cold]
fn confirm(tried: Tried, words: [u32; 2], found: &mut Search<'_, '_>) {
    if found.may_meet([words[0]]) {
        found.confirm(tried[0], words[0]);
    }
    if found.may_meet([words[1]]) && tried[1] != tried[0] {
        found.confirm(tried[1], words[1]);
    }
}

fn vectors([a, b, c, d, e, f, g, h]: [u32; 8]) -> [Vector; 2] {
    [Vector([f, e, b, a]), Vector([h, g, d, c])]
}

/// Words 4 to 63 of the second block's schedule with their constants, for all versions of a nonce.
#[target_feature(enable = "sha,avx,ssse3,sse4.1")]
fn schedule([w0, w1, w2]: [u32; 3], nonce: u32, rows: &mut [Vector; ROWS]) {
    let zero = _mm_setzero_si128();
    let mut words =
        [vector([w0, w1, w2, nonce]), vector([END, 0, 0, 0]), zero, vector([0, 0, 0, HEADER_BITS])];
    for (row, group) in rows.iter_mut().zip(1..) {
        if group >= 4 {
            let [oldest, second, third, newest] = [0, 1, 2, 3].map(|i| words[(group + i) % 4]);
            let sigma0 = _mm_sha256msg1_epu32(oldest, second);
            let sum = _mm_add_epi32(sigma0, _mm_alignr_epi8(newest, third, 4));
            words[group % 4] = _mm_sha256msg2_epu32(sum, newest);
        }
        let k = core::array::from_fn(|i| ROUND[4 * group + i]);
        let addend = _mm_add_epi32(words[group % 4], vector(k));
        // SAFETY: a `Vector` is as large as the register and aligned to its size.
        unsafe { _mm_store_si128((&raw mut row.0).cast(), addend) };
    }
}

/// Four words, the first in the least significant lane.
#[inline]
#[target_feature(enable = "sha,avx,ssse3,sse4.1")]
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
