//! Numbers from a seed, the same on every machine. It deliberately has no more statistics than
//! cases need: the few values that are likelier than others by its remainder do not matter here.

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one case: other numbers for each, whatever their order.
    pub(crate) fn of(seed: u64, case: u64) -> Self {
        let start = Self(case).next_u64();
        Self(seed ^ start)
    }

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

    /// From 0 up to `end`, which is not among them and not 0.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.next_u32() % end
    }

    /// From `first` to `last`, both among them.
    pub(crate) fn within(&mut self, first: u32, last: u32) -> u32 {
        first + self.below(last - first + 1)
    }

    /// An index into something that has `len` entries, at least one.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u32::try_from(len).expect("a case has a few thousand of anything");
        usize::try_from(self.below(len)).expect("it is below a usize")
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}
