//! The cases: blocks of Bitcoin's chain, and random headers over every shape of slice.

use units::Target;

use crate::{
    Slice,
    reference::{hash_header, with_version_and_nonce},
};

/// A slice that owns its parts.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) header: [u8; 80],
    pub(super) target: Target,
    pub(super) versions: Vec<u32>,
    pub(super) first_nonce: u32,
    pub(super) nonces: u32,
}

/// A block of Bitcoin's chain: header and hash in hexadecimal, the hash as block explorers print
/// it (most significant byte first).
#[derive(Debug)]
pub(super) struct KnownBlock {
    pub(super) name: &'static str,
    header: &'static str,
    hash: &'static str,
}

/// Blocks whose headers everyone can look up.
pub(super) const KNOWN_BLOCKS: [KnownBlock; 4] = [
    KnownBlock {
        name: "block 0",
        header: "0100000000000000000000000000000000000000000000000000000000000000\
                 000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
                 4b1e5e4a29ab5f49ffff001d1dac2b7c",
        hash: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    },
    KnownBlock {
        name: "block 1",
        header: "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d61900\
                 00000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e8\
                 57233e0e61bc6649ffff001d01e36299",
        hash: "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    },
    KnownBlock {
        name: "block 2",
        header: "010000004860eb18bf1b1620e37e9490fc8a427514416fd75159ab86688e9a83\
                 00000000d5fdcc541e25de1c7a5addedf24858b8bb665c9f36ef744ee42c3160\
                 22c90f9bb0bc6649ffff001d08d2bd61",
        hash: "000000006a625f06636b8bb6ac7b960a8d03705d1ace08b1a19da3fdcc99ddbd",
    },
    KnownBlock {
        name: "block 125552",
        header: "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a3080000\
                 00000000e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0\
                 f1fc122bc7f5d74df2b9441a42a14695",
        hash: "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    },
];

/// Version counts around every size that a kernel may group by: two, four, eight and sixteen lanes
/// or twice as many, and a slice's usual 64.
const VERSION_COUNTS: [u32; 17] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 69];
/// Nonce counts around every size that a kernel may group by.
const NONCE_COUNTS: [u32; 14] = [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33];
/// Most significant bits of the random cases' targets: all hashes, about half,
/// one in 16, one in 2^10, hardly any.
const TARGET_TOPS: [u32; 6] = [u32::MAX, 0x7fff_ffff, 0x8000_0000, 0x0fff_ffff, 0x003f_ffff, 0];

/// Every case of this seed.
pub(super) fn all(seed: u64) -> Vec<Case> {
    let mut random = Random(seed);
    let mut cases: Vec<Case> = KNOWN_BLOCKS.iter().flat_map(KnownBlock::cases).collect();
    cases.extend(shapes(&mut random));
    cases.extend((0..4).flat_map(|_| edges(&mut random)));
    cases
}

impl Case {
    pub(super) fn slice(&self) -> Slice<'_> {
        Slice {
            header: &self.header,
            target: &self.target,
            versions: &self.versions,
            first_nonce: self.first_nonce,
            nonces: self.nonces,
        }
    }
}

impl KnownBlock {
    /// Whether the reference gives the published hash.
    pub(super) fn has_its_hash(&self) -> bool {
        hash_header(&self.header()) == self.hash()
    }

    /// The block among others: its nonce first, in the middle and last; its version alone and
    /// among others; the target that its header states, its own hash, and one less than that.
    fn cases(&self) -> Vec<Case> {
        let header = self.header();
        let bits = u32::from_le_bytes(header[72..76].try_into().expect("four bytes"));
        let stated = Target::from_compact(bits).expect("the bits of a valid block");
        let (equal, below) = at_and_below(self.hash());
        let version = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
        let rolled = (0..6).map(|i| version | (i << 13)).collect::<Vec<_>>();
        let nonce = u32::from_le_bytes(header[76..].try_into().expect("four bytes"));
        let case = |what: &str, target, versions: &[u32], first_nonce, nonces| Case {
            name: format!("{}, {what}", self.name),
            header,
            target,
            versions: versions.to_vec(),
            first_nonce,
            nonces,
        };
        vec![
            case("stated target", stated, &[version], nonce - 1000, 2001),
            case("stated target, rolled versions", stated, &rolled, nonce - 100, 201),
            case("first nonce", equal, &[version], nonce, 64),
            case("last nonce", equal, &rolled, nonce - 64, 65),
            case("one less than its hash", below, &rolled, nonce - 8, 17),
        ]
    }

    fn header(&self) -> [u8; 80] {
        let mut header = [0; 80];
        hex::decode_to_slice(self.header, &mut header).expect("a constant of 160 hex digits");
        header
    }

    /// In internal order.
    fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hex::decode_to_slice(self.hash, &mut hash).expect("a constant of 64 hex digits");
        hash.reverse();
        hash
    }
}

/// Every count of versions with every count of nonces, at the ends of the nonce range and
/// somewhere inside.
fn shapes(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for versions in VERSION_COUNTS {
        for nonces in NONCE_COUNTS {
            let end = 0_u32.wrapping_sub(nonces);
            let inside = random.next_u32().min(end);
            for first_nonce in [0, inside, end] {
                let top = TARGET_TOPS[cases.len() % TARGET_TOPS.len()];
                cases.push(Case {
                    name: format!(
                        "{versions} versions x {nonces} nonces from {first_nonce:08x}, \
                         target {top:08x}"
                    ),
                    header: random.header(),
                    target: target_with_top(top, random),
                    versions: random.versions(versions),
                    first_nonce: if nonces == 0 { u32::MAX } else { first_nonce },
                    nonces,
                });
            }
        }
    }
    cases
}

/// Targets that equal one of the hashes, and one less: below difficulty 1, in all 256 bits.
fn edges(random: &mut Random) -> [Case; 2] {
    let header = random.header();
    let versions = random.versions(6);
    let first_nonce = random.next_u32() >> 1;
    let chosen = with_version_and_nonce(&header, versions[4], first_nonce + 11);
    let (equal, below) = at_and_below(hash_header(&chosen));
    [("equal to a hash", equal), ("one less than a hash", below)].map(|(what, target)| Case {
        name: format!("target {what}"),
        header,
        target,
        versions: versions.clone(),
        first_nonce,
        nonces: 23,
    })
}

/// The hash as a target, and the next harder one.
fn at_and_below(mut hash: [u8; 32]) -> (Target, Target) {
    hash.reverse();
    let equal = Target::from_be_bytes(hash);
    for byte in hash.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    (equal, Target::from_be_bytes(hash))
}

fn target_with_top(top: u32, random: &mut Random) -> Target {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    bytes[..4].copy_from_slice(&top.to_be_bytes());
    if top == u32::MAX { Target::MAX } else { Target::from_be_bytes(bytes) }
}

/// `SplitMix64`: enough for test headers, and the same on every machine.
struct Random(u64);

impl Random {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next_u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next_u64().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn header(&mut self) -> [u8; 80] {
        let mut header = [0; 80];
        self.fill(&mut header);
        header
    }

    /// Distinct versions: a random base and a counter in the bits that BIP 320 leaves free.
    fn versions(&mut self, count: u32) -> Vec<u32> {
        let base = self.next_u32();
        (0..count).map(|i| base ^ (i << 13)).collect()
    }
}
