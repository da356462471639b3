//! One header with what is searched and what the reference finds in it.
//!
//! Read [`make`]. Sizes are drawn so that a case is cheap on average (about 250 hashes) and all of
//! 1 to 70 versions and nonces come up, in every combination. Most targets are made from the
//! case's own hashes: the least of them as the target is one hit, anywhere in the slice. Hits at
//! difficulty 1 and above cannot be had from random headers, so some cases are blocks of Bitcoin's
//! chain, each put at a random place of a random slice.

use std::{collections::BTreeSet, fmt};

use kernels::{Hit, hash_header, with_version_and_nonce};
use units::Target;

use crate::{blocks::BLOCKS, random::Random};

/// The most versions and the most nonces of a case.
const MOST: u32 = 70;
/// Bytes of a header whose bits other work differs in: what is neither version nor nonce.
const FIELDS: (u32, u32) = (4, 76);
/// What is asked, and the answer.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) header: [u8; 80],
    pub(crate) versions: Vec<u32>,
    pub(crate) first_nonce: u32,
    pub(crate) nonces: u32,
    pub(crate) target: Target,
    pub(crate) parts: Parts,
    /// Work that is nearly the same, in some cases: the header or its versions differ a little.
    pub(crate) decoy: Option<([u8; 80], Vec<u32>)>,
    /// Every hit, in order.
    pub(crate) expected: Vec<Hit>,
}

/// How the range is asked for.
#[derive(Debug)]
pub(crate) enum Parts {
    /// At once.
    Whole,
    /// So many nonces first, or none, then the rest.
    Split(u32),
}

/// Where the search goes on from: a header with a range, before there is a target.
struct Area {
    header: [u8; 80],
    versions: Vec<u32>,
    first_nonce: u32,
    nonces: u32,
}

/// A hash as a big-endian number, and whose it is.
type Hashed = ([u8; 32], Hit);

/// The case of this number, always the same.
pub(crate) fn make(seed: u64, number: u64) -> Case {
    let mut random = Random::of(seed, number);
    let block = number % 8 == 7;
    let area = if block { Area::around_a_block(&mut random) } else { Area::anywhere(&mut random) };
    let hashed = area.hash();
    let target = if block { hard(&hashed, &mut random) } else { target(&hashed, &mut random) };
    let mut expected: Vec<Hit> = hashed
        .iter()
        .filter(|(hash, _)| *hash <= target.to_be_bytes())
        .map(|(_, hit)| *hit)
        .collect();
    expected.sort_unstable();
    let parts = match random.below(4) {
        0 => Parts::Split(random.below(area.nonces)),
        _ => Parts::Whole,
    };
    let decoy = (random.below(3) == 0).then(|| area.nearly_the_same(&mut random));
    let Area { header, versions, first_nonce, nonces } = area;
    Case { header, versions, first_nonce, nonces, target, parts, decoy, expected }
}

impl Case {
    /// Whether the target is difficulty 1 or above.
    pub(crate) fn is_hard(&self) -> bool {
        self.target <= Target::difficulty_one()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} versions x {} nonces from {:08x} ({:?}), target {}, header {}, versions {:08x?}",
            self.versions.len(),
            self.nonces,
            self.first_nonce,
            self.parts,
            hex::encode(self.target.to_be_bytes()),
            hex::encode(self.header),
            self.versions
        )
    }
}

impl Area {
    fn anywhere(random: &mut Random) -> Self {
        let mut header = [0; 80];
        random.fill(&mut header);
        let (count, nonces) = sizes(random);
        let versions = versions(count, random);
        Self { header, versions, first_nonce: first_nonce(nonces, random), nonces }
    }

    /// The block's version at any place among others, its nonce at any place of the range.
    fn around_a_block(random: &mut Random) -> Self {
        let mut header = [0; 80];
        let text = BLOCKS[random.index(BLOCKS.len())];
        hex::decode_to_slice(text, &mut header).expect("a constant of 160 hex digits");
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four"));
        let (version, nonce) = (field(0), field(76));
        let (count, nonces) = sizes(random);
        let mut versions = versions(count, random);
        if !versions.contains(&version) {
            let place = random.index(versions.len());
            versions[place] = version;
        }
        let first_nonce = nonce - random.below(nonces);
        Self { header, versions, first_nonce, nonces }
    }

    fn hash(&self) -> Vec<Hashed> {
        let mut hashed = Vec::new();
        for &version in &self.versions {
            for step in 0..self.nonces {
                let nonce = self.first_nonce + step;
                let header = with_version_and_nonce(&self.header, version, nonce);
                let mut hash = hash_header(&header);
                hash.reverse();
                hashed.push((hash, Hit { version, nonce }));
            }
        }
        hashed
    }

    /// A header that differs in one bit, or one version fewer, or one that is another.
    fn nearly_the_same(&self, random: &mut Random) -> ([u8; 80], Vec<u32>) {
        let (mut header, mut versions) = (self.header, self.versions.clone());
        match random.below(3) {
            0 => {
                versions.pop();
            }
            1 => {
                let place = random.index(versions.len());
                let changed = versions[place] ^ (1 << random.below(32));
                if !versions.contains(&changed) {
                    versions[place] = changed;
                }
            }
            _ => {
                let byte = usize::try_from(random.within(FIELDS.0, FIELDS.1 - 1));
                header[byte.expect("below 80")] ^= 1 << random.below(8);
            }
        }
        (header, versions)
    }
}

/// How many versions and how many nonces: many of both, many of one, few of both.
fn sizes(random: &mut Random) -> (u32, u32) {
    let (versions, nonces) = match random.below(8) {
        0 => (MOST, MOST),
        1..=3 => (MOST, 6),
        4..=6 => (4, MOST),
        _ => (20, 20),
    };
    (random.within(1, versions), random.within(1, nonces))
}

/// Where the range begins: at 0, so that it ends at the last nonce there is, across a boundary of
/// a power of two, at one, or anywhere.
fn first_nonce(nonces: u32, random: &mut Random) -> u32 {
    let last = u32::MAX - (nonces - 1);
    let boundary = (random.next_u32() >> 1) & (u32::MAX << random.within(3, 30));
    let first = match random.below(6) {
        0 => 0,
        1 => last,
        2 => boundary,
        3 => boundary.saturating_sub(random.below(nonces)),
        _ => random.next_u32(),
    };
    first.min(last)
}

/// Distinct versions in no order: whole fields at random, or one field with a random mask rolled.
fn versions(count: u32, random: &mut Random) -> Vec<u32> {
    let base = random.next_u32();
    let mask = match random.below(2) {
        0 => u32::MAX,
        _ => mask_for(count, random),
    };
    let (mut seen, mut versions) = (BTreeSet::new(), Vec::new());
    while seen.len() < usize::try_from(count).expect("70 at most") {
        let version = base ^ (random.next_u32() & mask);
        if seen.insert(version) {
            versions.push(version);
        }
    }
    versions
}

/// Bits enough for so many versions, and a few more or none.
fn mask_for(count: u32, random: &mut Random) -> u32 {
    let wanted = (u32::BITS - count.leading_zeros() + random.below(4)).min(u32::BITS);
    let mut mask = 0_u32;
    while mask.count_ones() < wanted {
        mask |= 1 << random.below(u32::BITS);
    }
    mask
}

/// From all hashes to hardly any. One that equals a hash is met by that hash.
fn target(hashed: &[Hashed], random: &mut Random) -> Target {
    let least = *hashed.iter().map(|(hash, _)| hash).min().expect("a case has a hash");
    let bytes = match random.below(16) {
        0 => [0xff; 32],
        1..=2 => hashed[random.index(hashed.len())].0,
        3..=9 => least,
        10..=11 => one_less(least),
        12..=14 => with_leading_zeros(random.below(20), random),
        _ => with_leading_zeros(random.within(32, 90), random),
    };
    Target::from_be_bytes(bytes)
}

/// Of a block's slice: the block's own hash, one less than that, or difficulty 1.
fn hard(hashed: &[Hashed], random: &mut Random) -> Target {
    let least = *hashed.iter().map(|(hash, _)| hash).min().expect("a case has a hash");
    match random.below(4) {
        0 => Target::difficulty_one(),
        1 => Target::from_be_bytes(one_less(least)),
        _ => Target::from_be_bytes(least),
    }
}

/// Bits at random after so many zeros and a one.
fn with_leading_zeros(zeros: u32, random: &mut Random) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    let zeros = usize::try_from(zeros).expect("90 at most");
    bytes[..zeros / 8].fill(0);
    let top = &mut bytes[zeros / 8];
    *top = (*top | 0x80) >> (zeros % 8);
    bytes
}

fn one_less(mut number: [u8; 32]) -> [u8; 32] {
    for byte in number.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    number
}
