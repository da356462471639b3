//! Code for x86's SHA instructions: four hashes under way at once.
//!
//! A `sha256rnds2` does two rounds and waits for the one before it, about four times as long as
//! the unit needs to start the next. So each function runs the first hashes of two lanes beside
//! the second hashes of the two lanes of the call before, group of four rounds by group; it
//! gives the answer of that call. The message words that do not fit the registers are read from
//! memory, where the instructions take operands anyway.
//!
//! The operations are those of the instruction set, so there is no graph here: the two hashes are
//! the ones of [`super::sha256`], left out in the same places. Each text is the body of a function
//! of the System V ABI:
//! - `rdi`: the two lanes, four vectors each: the midstate as (f, e, b, a) and (h, g, d, c), and so
//!   the state after round 3 with zero for the nonce;
//! - `rsi`: for two versions, words 4 to 63 of the schedule with their constants; for two nonces,
//!   the second block's first vector with zero for the nonce;
//! - `rdx`: the nonces' words, the first lane's in the lower half; two versions have the same;
//! - `rcx`: the two digests to hash, two vectors each;
//! - `r8`: message words of the hashes under way, [`WORDS`] vectors, and after them [`constants`];
//! - `r9`: where the digests of the first hashes go;
//! - `rax`: `e` after round 60 of the second hashes, that of the first lane in the lower half.

use std::fmt::Write as _;

use super::sha256::{INITIAL, K};

/// Vectors of message words: four for each of four hashes.
const WORDS: usize = 4 * 4;
/// Groups of four rounds.
const GROUPS: usize = 16;
/// Places in the table of constants, by vectors: the round constants; then, with their constants
/// in them, groups 1 to 3 of a header's second block and groups 2 and 3 of a digest's block; then
/// those words without; then the state that a hash starts from.
const HEADER_GROUPS: usize = GROUPS;
const DIGEST_GROUPS: usize = HEADER_GROUPS + 3;
const END: usize = DIGEST_GROUPS + 2;
const ZERO: usize = END + 1;
const HEADER_LENGTH: usize = ZERO + 1;
const DIGEST_LENGTH: usize = HEADER_LENGTH + 1;
const START: usize = DIGEST_LENGTH + 1;

/// Rust source of the functions, and of their tables.
#[must_use]
pub fn rust() -> String {
    let mut text = String::new();
    let kinds = [("versions", Some(Kind::Version)), ("nonces", Some(Kind::Nonce)), ("last", None)];
    for (name, first) in kinds {
        let body = function(first);
        write!(
            text,
            "#[unsafe(naked)]\npub(super) unsafe extern \"sysv64\" fn {name}(\nlanes: *const Lane, \
             message: *const Vector, nonces: u64, digests: *const [Vector; 4], work: *mut Work, \
             next: *mut [Vector; 4],\n) -> u64 {{\ncore::arch::naked_asm!(r\"{body}\", options(raw))\n}}\n"
        )
        .expect("a string takes all");
    }
    let constants = constants();
    writeln!(text, "pub(super) const WORDS: usize = {WORDS};").expect("a string takes all");
    writeln!(
        text,
        "pub(super) const CONSTANTS: [Vector; {}] = [{}];",
        constants.len(),
        constants.iter().map(|words| format!("Vector({words:?})")).collect::<Vec<_>>().join(", ")
    )
    .expect("a string takes all");
    text
}

fn constants() -> Vec<[u32; 4]> {
    let k = |group: usize| -> [u32; 4] { std::array::from_fn(|i| K[4 * group + i]) };
    let with = |group: usize, words: [u32; 4]| -> [u32; 4] {
        std::array::from_fn(|i| k(group)[i].wrapping_add(words[i]))
    };
    let end = [0x8000_0000, 0, 0, 0];
    let mut table: Vec<[u32; 4]> = (0..GROUPS).map(k).collect();
    table.extend([with(1, end), with(2, [0; 4]), with(3, [0, 0, 0, 640])]);
    table.extend([with(2, end), with(3, [0, 0, 0, 256])]);
    table.extend([end, [0; 4], [0, 0, 0, 640], [0, 0, 0, 256]]);
    let [a, b, c, d, e, f, g, h] = INITIAL;
    table.extend([[f, e, b, a], [h, g, d, c]]);
    table
}

/// One of the hashes under way.
struct Hash {
    /// Registers of (a, b, e, f) and (c, d, g, h).
    state: [usize; 2],
    /// The register of the newest message words: the next ones wait for them.
    newest: usize,
    kind: Kind,
    lane: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A first hash on a schedule that is given.
    Version,
    /// A first hash with its own schedule.
    Nonce,
    /// A second hash.
    Second,
}

impl Hash {
    fn first(kind: Kind, lane: usize) -> Self {
        Self { state: [1 + 2 * lane, 2 + 2 * lane], newest: 9 + lane, kind, lane }
    }

    fn second(lane: usize) -> Self {
        let state = [5 + 2 * lane, 6 + 2 * lane];
        Self { state, newest: 11 + lane, kind: Kind::Second, lane }
    }

    /// Where word group `group` of the message is, as an operand.
    fn word(&self, group: usize) -> String {
        let slot = group % 4;
        match (self.kind, group) {
            (Kind::Second, 0 | 1) => {
                format!("xmmword ptr [rcx + {}]", 16 * (2 * self.lane + group))
            }
            (Kind::Second, 2) | (Kind::Nonce, 1) => constant(END),
            (Kind::Second, 3) => constant(DIGEST_LENGTH),
            (Kind::Nonce, 2) => constant(ZERO),
            (Kind::Nonce, 3) => constant(HEADER_LENGTH),
            _ => {
                let hash = self.lane + if self.kind == Kind::Second { 2 } else { 0 };
                format!("xmmword ptr [r8 + {}]", 16 * (4 * hash + slot))
            }
        }
    }

    /// What comes before the first group.
    fn begin(&self, text: &mut String) {
        let [abef, cdgh] = self.state;
        let mut line = |line: String| writeln!(text, "{line}").expect("a string takes all");
        if self.kind == Kind::Second {
            line(format!("vmovdqa xmm{}, {}", self.newest, self.word(3)));
            line(format!("vmovdqa xmm{abef}, {}", constant(START)));
            line(format!("vmovdqa xmm{cdgh}, {}", constant(START + 1)));
            return;
        }
        let lane = 64 * self.lane;
        let nonce = if self.kind == Kind::Nonce && self.lane == 1 { "r11d" } else { "edx" };
        let word = self.newest;
        // The nonce's word is an addend of e and a, which stand second and last.
        line(format!("vmovd xmm{word}, {nonce}"));
        line(format!("vpshufd xmm{word}, xmm{word}, 17"));
        line(format!("vpaddd xmm{abef}, xmm{word}, xmmword ptr [rdi + {}]", lane + 32));
        line(format!("vmovdqa xmm{cdgh}, xmmword ptr [rdi + {}]", lane + 48));
        if self.kind == Kind::Nonce {
            line(format!("vmovdqa xmm{word}, xmmword ptr [rsi]"));
            line(format!("vpinsrd xmm{word}, xmm{word}, {nonce}, 3"));
            line(format!("vmovdqa {}, xmm{word}", self.word(0)));
            line(format!("vmovdqa xmm{}, {}", self.newest, self.word(3)));
        }
    }

    /// Four rounds; of the last group of a second hash only the two that are needed.
    /// `free` are registers for what is soon forgotten.
    fn group(&mut self, group: usize, free: &mut [usize; 2], text: &mut String) {
        let mut line = |line: String| writeln!(text, "{line}").expect("a string takes all");
        let [abef, cdgh] = self.state;
        let shuffled = match (self.kind, group) {
            (Kind::Version, _) => {
                let at = 16 * (group - 1);
                line(format!("vmovdqa xmm0, xmmword ptr [rsi + {at}]"));
                format!("vmovq xmm0, qword ptr [rsi + {}]", at + 8)
            }
            (Kind::Nonce, 1..=3) => {
                line(format!("vmovdqa xmm0, {}", constant(HEADER_GROUPS + group - 1)));
                upper(HEADER_GROUPS + group - 1)
            }
            (Kind::Second, 2 | 3) => {
                line(format!("vmovdqa xmm0, {}", constant(DIGEST_GROUPS + group - 2)));
                upper(DIGEST_GROUPS + group - 2)
            }
            (Kind::Second, 0 | 1) => {
                line(format!("vmovdqa xmm0, {}", self.word(group)));
                line(format!("vpaddd xmm0, xmm0, {}", constant(group)));
                "vpshufd xmm0, xmm0, 14".to_owned()
            }
            _ => {
                let ([word, shifted], newest) = (*free, self.newest);
                // The newest four words replace the oldest, in memory; they stay in their register
                // for the next ones.
                line(format!("vmovdqa xmm{word}, {}", self.word(group - 4)));
                line(format!("sha256msg1 xmm{word}, {}", self.word(group - 3)));
                line(format!("vpalignr xmm{shifted}, xmm{newest}, {}, 4", self.word(group - 2)));
                line(format!("vpaddd xmm{word}, xmm{word}, xmm{shifted}"));
                line(format!("sha256msg2 xmm{word}, xmm{newest}"));
                line(format!("vmovdqa {}, xmm{word}", self.word(group)));
                line(format!("vpaddd xmm0, xmm{word}, {}", constant(group)));
                self.newest = word;
                *free = [shifted, newest];
                "vpshufd xmm0, xmm0, 14".to_owned()
            }
        };
        line(format!("sha256rnds2 xmm{cdgh}, xmm{abef}"));
        if self.kind == Kind::Second && group == GROUPS - 1 {
            return;
        }
        line(shuffled);
        line(format!("sha256rnds2 xmm{abef}, xmm{cdgh}"));
    }

    /// A first hash's digest goes to memory as the message of a second; of a second hash the word
    /// asked for stands lowest: `f` after round 61 is `e` after round 60.
    fn end(&self, text: &mut String) {
        let mut line = |line: String| writeln!(text, "{line}").expect("a string takes all");
        let [abef, cdgh] = self.state;
        if self.kind == Kind::Second {
            let register = if self.lane == 0 { "eax" } else { "r10d" };
            line(format!("vmovd {register}, xmm{cdgh}"));
            return;
        }
        let word = self.newest;
        let lane = 64 * self.lane;
        line(format!("vpaddd xmm{abef}, xmm{abef}, xmmword ptr [rdi + {lane}]"));
        line(format!("vpaddd xmm{cdgh}, xmm{cdgh}, xmmword ptr [rdi + {}]", lane + 16));
        line(format!("vpunpckhqdq xmm{word}, xmm{abef}, xmm{cdgh}"));
        line(format!("vpshufd xmm{word}, xmm{word}, 177"));
        line(format!("vmovdqa {}, xmm{word}", digest(self.lane, 0)));
        line(format!("vpunpcklqdq xmm{word}, xmm{abef}, xmm{cdgh}"));
        line(format!("vpshufd xmm{word}, xmm{word}, 177"));
        line(format!("vmovdqa {}, xmm{word}", digest(self.lane, 1)));
    }
}

/// Where half a digest of a first hash goes.
fn digest(lane: usize, half: usize) -> String {
    format!("xmmword ptr [r9 + {}]", 16 * (2 * lane + half))
}

/// A vector of the table of constants.
fn constant(place: usize) -> String {
    format!("xmmword ptr [r8 + {}]", 16 * (WORDS + place))
}

/// Has the upper half of such a vector lowest.
fn upper(place: usize) -> String {
    format!("vmovq xmm0, qword ptr [r8 + {}]", 16 * (WORDS + place) + 8)
}

/// All hashes of a call, a group of each in turn.
fn function(first: Option<Kind>) -> String {
    let mut text = String::new();
    if first == Some(Kind::Nonce) {
        text.push_str("mov r11, rdx\nshr r11, 32\n");
    }
    let mut hashes: Vec<Hash> = Vec::new();
    for lane in 0..2 {
        hashes.extend(first.map(|kind| Hash::first(kind, lane)));
        hashes.push(Hash::second(lane));
    }
    let mut free = [13, 14];
    hashes.iter().for_each(|hash| hash.begin(&mut text));
    for group in 0..GROUPS {
        for hash in &mut hashes {
            // The first four rounds of a first hash are done for all nonces.
            if group > 0 || hash.kind == Kind::Second {
                hash.group(group, &mut free, &mut text);
            }
        }
    }
    hashes.iter().for_each(|hash| hash.end(&mut text));
    text.push_str("shl r10, 32\nor rax, r10\nret\n");
    text
}
