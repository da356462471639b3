//! The search space of a job, dealt out in claims: no header is ever dealt twice, and none is
//! left out.
//!
//! Read [`Space::claim`] first. The space is a line of *fields*: a field is one extranonce2 with
//! one header time, and in it all nonces under all granted versions (2^48 hashes with the bits of
//! BIP 320). Devices may differ a thousandfold in speed, and each has a [`Layout`] that suits it:
//! so a device takes a whole field for itself, and its workers share that out in claims, nonces
//! innermost, then versions. One atomic number says which field is next. Along the line
//! extranonce2 is innermost and the time last, never beyond the seconds that have passed since
//! the job came: before they have passed the space is simply exhausted, and says so.
//!
//! It deliberately knows nothing of hashing or of threads. Units: nonces, seconds.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kernels::Backend;

/// Number of nonces of one header, as a power of two.
const NONCES_LOG2: u32 = 32;
/// Extranonce2 bytes that are counted through, the last ones; any others stay zero. A field's
/// number has 64 bits, 32 of them for the second; the other 32 are 2^64 hashes a second even
/// where no versions are granted, more than any miner does.
const XN2_BYTES_MAX: usize = 4;
/// Most versions of a GPU's claim, as a power of two.
const GPU_VERSIONS_LOG2_MAX: u32 = 12;

/// How large one claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Hashes of a claim, as a power of two.
    hashes_log2: u32,
    /// Versions of a claim where the pool grants as many, as a power of two.
    versions_log2: u32,
}

/// A part of the space that belongs to whoever claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Extranonce2, as wide as the pool asks for.
    pub xn2: Vec<u8>,
    /// The header's time.
    pub ntime: u32,
    /// Full version fields, at least one.
    pub versions: Vec<u32>,
    /// First nonce.
    pub first_nonce: u32,
    /// Number of nonces.
    pub nonces: u32,
}

/// What asking for a claim gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// A part to search.
    Part(Claim),
    /// Nothing is left for this device until another second has passed.
    Exhausted,
}

/// The space itself, as several devices search it. A clone is the same space: it deals nothing
/// that the other has dealt.
#[derive(Debug, Clone)]
pub struct Space {
    version: u32,
    mask: u32,
    least_ntime: u32,
    line: Arc<Line>,
    seats: Arc<[Seat]>,
}

/// The fields of all spaces with the same content, whatever versions they are searched with.
#[derive(Debug)]
struct Line {
    xn2_size: usize,
    first_ntime: u32,
    /// Number of the next field: seconds since `first_ntime`, then extranonce2 in the low bits.
    next: AtomicU64,
}

/// Where a device is.
#[derive(Debug)]
struct Seat {
    layout: Layout,
    /// The field that it has, and what comes next in there. Its workers alone wait here for one
    /// another, for as long as a few numbers are counted up, once a claim.
    field: Mutex<Option<Field>>,
}

/// A field and a place in it.
#[derive(Debug, Clone, Copy)]
struct Field {
    ntime: u32,
    xn2: u32,
    /// Which versions.
    block: u64,
    /// Which nonces under these versions.
    chunk: u64,
}

/// How a field falls into claims, for one device and one mask: powers of two.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Nonces of a claim.
    nonces_log2: u32,
    /// Versions of a claim.
    versions_log2: u32,
    /// Blocks of versions.
    blocks_log2: u32,
}

impl Layout {
    /// Claims of `2^hashes_log2` hashes (at most 2^31), if possible over `2^versions_log2`
    /// versions (at most 2^16).
    ///
    /// # Panics
    /// Beyond those limits, and when the versions are more than the hashes.
    #[must_use]
    pub const fn new(hashes_log2: u32, versions_log2: u32) -> Self {
        assert!(hashes_log2 <= 31, "a claim's nonces are counted in 32 bits");
        assert!(versions_log2 <= 16, "a claim lists its versions");
        assert!(versions_log2 <= hashes_log2, "a claim has at least one nonce");
        Self { hashes_log2, versions_log2 }
    }

    /// What suits a CPU thread with this backend: 2^18 hashes, a few hundredths of a second, so
    /// that dealing costs nothing and a dropped claim wastes nothing.
    #[must_use]
    pub const fn of_cpu(backend: Backend) -> Self {
        Self::new(18, backend.versions_per_slice().ilog2())
    }

    /// What suits a GPU that takes `2^versions_log2` versions (at most 2^12) in one dispatch:
    /// 2^31 hashes, the most that a claim can have, which last the fastest for a tenth of a
    /// second and so hold its dispatches of some hundredths whole.
    ///
    /// # Panics
    /// Beyond that limit.
    #[must_use]
    pub const fn of_gpu(versions_log2: u32) -> Self {
        assert!(versions_log2 <= GPU_VERSIONS_LOG2_MAX, "a dispatch carries its versions");
        Self::new(31, versions_log2)
    }

    /// How claims of this layout divide a field with this version mask.
    const fn cut(self, mask: u32) -> Cut {
        let granted = mask.count_ones();
        let versions_log2 = if granted < self.versions_log2 { granted } else { self.versions_log2 };
        Cut {
            nonces_log2: self.hashes_log2 - versions_log2,
            versions_log2,
            blocks_log2: granted - versions_log2,
        }
    }
}

impl Space {
    /// A space that nothing was dealt from, for one device of each layout. Its headers have
    /// `version` with any bits of `mask` flipped, an extranonce2 of `xn2_size` bytes and a time
    /// from `first_ntime` on.
    #[must_use]
    pub fn new(
        layouts: &[Layout],
        version: u32,
        mask: u32,
        xn2_size: usize,
        first_ntime: u32,
    ) -> Self {
        let line = Arc::new(Line { xn2_size, first_ntime, next: AtomicU64::new(0) });
        Self { version, mask, least_ntime: first_ntime, line, seats: seats(layouts) }
    }

    /// The space of a job that has the same content and perhaps other versions, and comes with
    /// this time. It deals nothing that this space has dealt or may still deal, and nothing
    /// before its time. With the same versions every device goes on in its field; with others
    /// each starts in a new one, since their parts can't be told apart one by one.
    #[must_use]
    pub fn again(&self, version: u32, mask: u32, ntime: u32) -> Self {
        self.line.skip_to(ntime);
        let same = (self.version, self.mask) == (version, mask);
        let fresh = || seats(&self.seats.iter().map(|seat| seat.layout).collect::<Vec<_>>());
        Self {
            version,
            mask,
            // A job may come again under an earlier time. Its headers keep the later one, which
            // the pool itself gave to the job's content before.
            least_ntime: ntime.max(self.least_ntime),
            line: Arc::clone(&self.line),
            seats: if same { Arc::clone(&self.seats) } else { fresh() },
        }
    }

    /// Takes the next part for this device, which is its place among the layouts. `last_ntime` is
    /// the latest time that a header may have by now.
    ///
    /// # Panics
    /// When there is no such device.
    #[must_use]
    pub fn claim(&self, device: usize, last_ntime: u32) -> Claimed {
        let seat = &self.seats[device];
        let cut = seat.layout.cut(self.mask);
        let place = seat.take(cut, &self.line, self.least_ntime..=last_ntime);
        place.map_or(Claimed::Exhausted, |place| Claimed::Part(self.part(cut, place)))
    }

    /// The earliest time of the headers that are dealt.
    #[must_use]
    pub const fn least_ntime(&self) -> u32 {
        self.least_ntime
    }

    fn part(&self, cut: Cut, place: Field) -> Claim {
        let first_nonce = u32::try_from(place.chunk << cut.nonces_log2);
        Claim {
            xn2: self.line.xn2_bytes(place.xn2),
            ntime: place.ntime,
            versions: self.version_block(cut, place.block),
            first_nonce: first_nonce.expect("chunk < 2^32 / nonces of a claim"),
            nonces: 1 << cut.nonces_log2,
        }
    }

    fn version_block(&self, cut: Cut, block: u64) -> Vec<u32> {
        let first = block << cut.versions_log2;
        let end = first + (1 << cut.versions_log2);
        (first..end).map(|index| self.version ^ spread(index, self.mask)).collect()
    }
}

fn seats(layouts: &[Layout]) -> Arc<[Seat]> {
    layouts.iter().map(|layout| Seat { layout: *layout, field: Mutex::new(None) }).collect()
}

impl Seat {
    /// The next place in the device's field, or the first in a new one. A field with a time that
    /// is too early is given up; with one that is still to come it is kept, and nothing dealt.
    fn take(&self, cut: Cut, line: &Line, times: RangeInclusive<u32>) -> Option<Field> {
        // A worker that panicked in here has counted up or has not: either is a place.
        let mut held = self.field.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_use = |field: &Field| field.ntime >= *times.start() && !cut.is_used_up(field);
        let place = match held.filter(is_of_use) {
            Some(field) if field.ntime > *times.end() => return None,
            Some(field) => field,
            None => line.take(*times.end())?,
        };
        *held = Some(cut.after(place));
        Some(place)
    }
}

impl Cut {
    const fn is_used_up(self, field: &Field) -> bool {
        field.block >> self.blocks_log2 != 0
    }

    /// The place behind this one: the next nonces, then the next versions.
    const fn after(self, place: Field) -> Field {
        let chunk = place.chunk + 1;
        if chunk >> (NONCES_LOG2 - self.nonces_log2) == 0 {
            Field { chunk, ..place }
        } else {
            Field { chunk: 0, block: place.block + 1, ..place }
        }
    }
}

impl Line {
    /// Takes the next field, if its time is not beyond `last_ntime`.
    fn take(&self, last_ntime: u32) -> Option<Field> {
        let rolled = u64::from(last_ntime.checked_sub(self.first_ntime)?);
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            (next >> self.xn2_bits() <= rolled).then(|| next.checked_add(1)).flatten()
        });
        let number = taken.ok()?;
        let seconds = number >> self.xn2_bits();
        let xn2 = number & ((1 << self.xn2_bits()) - 1);
        Some(Field {
            ntime: self.first_ntime + u32::try_from(seconds).expect("at most a difference of u32"),
            xn2: u32::try_from(xn2).expect("4 bytes at most are counted"),
            block: 0,
            chunk: 0,
        })
    }

    /// Lets no field be taken any more that has an earlier time.
    fn skip_to(&self, ntime: u32) {
        let seconds = ntime.saturating_sub(self.first_ntime);
        self.next.fetch_max(u64::from(seconds) << self.xn2_bits(), Ordering::Relaxed);
    }

    /// Bits of extranonce2 that are counted: 32 at most.
    fn xn2_bits(&self) -> u32 {
        u8::BITS * u32::try_from(self.xn2_size.min(XN2_BYTES_MAX)).expect("4 at most")
    }

    /// Big-endian, with zeros in front where the pool's extranonce2 is wider than what is counted.
    fn xn2_bytes(&self, value: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.xn2_size];
        for (byte, source) in bytes.iter_mut().rev().zip(value.to_le_bytes()) {
            *byte = source;
        }
        bytes
    }
}

/// The low bits of `index`, laid into the set bits of `mask` from the lowest up.
fn spread(index: u64, mask: u32) -> u32 {
    let mut spread = 0;
    let mut index = index;
    let mut left = mask;
    while left != 0 {
        let lowest = left & left.wrapping_neg();
        if index & 1 == 1 {
            spread |= lowest;
        }
        index >>= 1;
        left ^= lowest;
    }
    spread
}

#[cfg(test)]
mod tests;
