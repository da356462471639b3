//! What is asked of an engine, and what the reference finds in it.

use std::collections::BTreeSet;

use gpu::{Adapter, Done, Engine, Finished, Method, PATIENCE, Tile, adapters};
use kernels::{Hit, Slice, hash_header, with_version_and_nonce};
use units::{Hashes, Target};

/// A slice that owns its parts.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) header: [u8; 80],
    pub(crate) target: Target,
    pub(crate) versions: Vec<u32>,
    pub(crate) first_nonce: u32,
    pub(crate) nonces: u32,
}

/// `SplitMix64`: numbers from a seed, the same on every machine.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Case {
    pub(crate) fn slice(&self) -> Slice<'_> {
        Slice {
            header: &self.header,
            target: &self.target,
            versions: &self.versions,
            first_nonce: self.first_nonce,
            nonces: self.nonces,
        }
    }

    /// Every pair of a version and a nonce.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Hit> {
        self.versions.iter().flat_map(move |&version| {
            (0..self.nonces).map(move |step| Hit { version, nonce: self.first_nonce + step })
        })
    }

    /// Brute force.
    pub(crate) fn expected(&self) -> BTreeSet<Hit> {
        let meets = |hit: &Hit| {
            let header = with_version_and_nonce(&self.header, hit.version, hit.nonce);
            self.target.is_met_by(&hash_header(&header))
        };
        self.pairs().filter(meets).collect()
    }

    /// Searched at once, by an engine that does nothing else.
    pub(crate) fn check(&self, engine: &mut Engine) {
        engine.submit(&self.slice()).expect("nobody loses it");
        self.check_finished(engine);
    }

    /// The oldest dispatch is this one: its answer is the reference's, each hit once.
    pub(crate) fn check_finished(&self, engine: &mut Engine) {
        let mut hits = Vec::new();
        let done = engine.finish(&mut hits, PATIENCE).expect("nobody loses it");
        self.is_answered(engine.tile(), done, &hits);
        assert_eq!(engine.faults(), 0, "{} {self:?}", engine.tile());
    }

    pub(crate) fn is_answered(&self, tile: Tile, finished: Finished, hits: &[Hit]) {
        let what = || {
            let (count, nonces, first) = (self.versions.len(), self.nonces, self.first_nonce);
            format!("{tile}: {count} versions x {nonces} nonces from {first}")
        };
        let Finished::Done(Done { hashes, .. }) = finished else { panic!("{}", what()) };
        let count = Hashes::new(self.pairs().map(|_| 1).sum());
        assert_eq!(hashes, count, "{}", what());
        let found: BTreeSet<Hit> = hits.iter().copied().collect();
        assert_eq!(found.len(), hits.len(), "{}: a hit twice", what());
        let expected = self.expected();
        let wrong: Vec<_> = expected.symmetric_difference(&found).take(4).collect();
        assert!(wrong.is_empty(), "{}: missed or no hits: {wrong:?}", what());
    }
}

impl Random {
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next_u64().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// From 1 to `most`.
    pub(crate) fn up_to(&mut self, most: u32) -> u32 {
        1 + self.next_u32() % most
    }

    pub(crate) fn header(&mut self) -> [u8; 80] {
        let mut header = [0; 80];
        header.as_chunks_mut::<8>().0.iter_mut().for_each(|chunk| {
            *chunk = self.next_u64().to_le_bytes();
        });
        header
    }

    /// So many versions, no two alike, in no order.
    pub(crate) fn versions(&mut self, count: u32) -> Vec<u32> {
        let (first, step) = (self.next_u32(), self.next_u32() | 1);
        (0..count).map(|at| first.wrapping_add(step.wrapping_mul(at))).collect()
    }

    /// A target with these first bits, and others behind them.
    pub(crate) fn target(&mut self, top: u32) -> Target {
        let mut bytes = [0; 32];
        bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|chunk| {
            *chunk = self.next_u64().to_le_bytes();
        });
        bytes[..4].copy_from_slice(&top.to_be_bytes());
        Target::from_be_bytes(bytes)
    }

    pub(crate) fn case(&mut self, top: u32, versions: u32, first_nonce: u32, nonces: u32) -> Case {
        let (header, target) = (self.header(), self.target(top));
        Case { header, target, versions: self.versions(versions), first_nonce, nonces }
    }
}

/// All adapters; none is no failure unless one is needed.
pub(crate) fn adapters() -> Vec<Adapter> {
    let adapters = adapters::all();
    let needed = std::env::var_os("WATTPROOF_NEEDS_GPU").is_some();
    assert!(!needed || !adapters.is_empty(), "no GPU, not even in software");
    adapters
}

/// Every method on every adapter, in sizes so small that a short range is soon done.
pub(crate) fn small_engines() -> impl Iterator<Item = Engine> {
    let tiles = Method::ALL.map(|method| Tile { method, workgroup: 32, nonces: 4 });
    adapters().into_iter().flat_map(move |adapter| {
        tiles.map(|tile| Engine::open(&adapter, tile).unwrap_or_else(|error| panic!("{error}")))
    })
}
