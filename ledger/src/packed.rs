//! The shares of a batch as they stand in the log. What many shares of a batch have in common
//! (the block that they build on, a difficulty, a millisecond) stands there once, in tables that
//! the shares point into, so that a share takes 54 bytes instead of 124.
//!
//! ```text
//! batch:   number of blocks u32 | of works u32 | of instants u32
//!          | blocks, 52 bytes each | works u128 each | instants u64 (ms) each
//!          | shares, 54 bytes each
//! block:   previous hash 32 | bits 4 | network work u128
//! share:   worker u32 | its block u16 | its work u16 | its instant u16
//!          | version 4 | merkle root 32 | time 4 | nonce 4
//! ```
//!
//! Integers are big-endian; the parts of the header (previous hash, bits, version, merkle root,
//! time, nonce) are its bytes as hashed. Pointers count from 0. A table holds nothing twice,
//! nothing unused, and stands in the order in which the shares first point to it: a batch has one
//! form and no other.

use std::collections::BTreeMap;

use units::{UnixMillis, Work};

use crate::error::LedgerError;
use crate::record::{Entry, take};
use crate::types::{Share, WorkerId};

/// Bytes before the tables.
const HEAD_BYTES: usize = 12;
const BLOCK_BYTES: usize = 52;
const WORK_BYTES: usize = 16;
const INSTANT_BYTES: usize = 8;
const SHARE_BYTES: usize = 54;
/// Things of a table that are looked at one by one; mostly there are no more.
const NEAR: usize = 8;

/// What shares point into.
#[derive(Debug)]
struct Table<T> {
    things: Vec<T>,
    places: BTreeMap<T, u16>,
}

/// A header in its parts.
#[derive(Debug, Clone, Copy)]
struct Parts {
    version: [u8; 4],
    previous: [u8; 32],
    root: [u8; 32],
    time: [u8; 4],
    bits: [u8; 4],
    nonce: [u8; 4],
}

/// The batch's form. There are at most [`crate::MAX_BATCH`] shares: as many as a pointer reaches.
pub(crate) fn encode(shares: &[Share]) -> Vec<u8> {
    let (mut blocks, mut works, mut instants) = (Table::new(), Table::new(), Table::new());
    let mut packed = Vec::with_capacity(shares.len().saturating_mul(SHARE_BYTES));
    for share in shares {
        let parts = Parts::of(&share.header);
        let block = blocks.place((parts.previous, parts.bits, share.network_work.get()));
        let mut record = [0; SHARE_BYTES];
        let mut rest = record.as_mut_slice();
        put(&mut rest, share.worker.get().to_be_bytes());
        put(&mut rest, block.to_be_bytes());
        put(&mut rest, works.place(share.work.get()).to_be_bytes());
        put(&mut rest, instants.place(share.at.get()).to_be_bytes());
        put(&mut rest, parts.version);
        put(&mut rest, parts.root);
        put(&mut rest, parts.time);
        put(&mut rest, parts.nonce);
        packed.extend_from_slice(&record);
    }
    let mut bytes = Vec::with_capacity(packed.len().saturating_add(256));
    for length in [blocks.things.len(), works.things.len(), instants.things.len()] {
        let length = u32::try_from(length).expect("no more than there are shares");
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    for (previous, bits, network_work) in blocks.things {
        bytes.extend_from_slice(&previous);
        bytes.extend_from_slice(&bits);
        bytes.extend_from_slice(&network_work.to_be_bytes());
    }
    bytes.extend(works.things.into_iter().flat_map(u128::to_be_bytes));
    bytes.extend(instants.things.into_iter().flat_map(u64::to_be_bytes));
    bytes.extend_from_slice(&packed);
    bytes
}

/// Writes a field at the front of `rest`, which begins behind it then.
pub(crate) fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    let (place, after) =
        core::mem::take(rest).split_first_chunk_mut().expect("the fields sum to the record");
    *place = field;
    *rest = after;
}

/// The shares of a batch but for their evidence, with the network work of the block that each
/// points to.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, LedgerError> {
    read(bytes).ok_or_else(|| LedgerError::damaged("a batch of shares is not whole"))
}

/// The shares of a batch, whole.
pub(crate) fn shares(bytes: &[u8]) -> Result<Vec<Share>, LedgerError> {
    read_whole(bytes).ok_or_else(|| LedgerError::damaged("a batch of shares is not whole"))
}

/// A batch taken apart: what its shares point to, and they.
struct Tables<'a> {
    blocks: &'a [[u8; BLOCK_BYTES]],
    works: &'a [[u8; WORK_BYTES]],
    instants: &'a [[u8; INSTANT_BYTES]],
    shares: &'a [[u8; SHARE_BYTES]],
}

impl<'a> Tables<'a> {
    /// `None` where the bytes are not a whole batch.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let mut head = head.as_slice();
        let mut count = || usize::try_from(u32::from_be_bytes(take(&mut head))).ok();
        let (blocks, works, instants) = (count()?, count()?, count()?);
        let blocks = cut::<BLOCK_BYTES>(&mut rest, blocks)?;
        let works = cut::<WORK_BYTES>(&mut rest, works)?;
        let instants = cut::<INSTANT_BYTES>(&mut rest, instants)?;
        let (shares, tail) = rest.as_chunks::<SHARE_BYTES>();
        tail.is_empty().then_some(Self { blocks, works, instants, shares })
    }
}

fn read_whole(bytes: &[u8]) -> Option<Vec<Share>> {
    let Tables { blocks, works, instants, shares } = Tables::of(bytes)?;
    let whole = |share: &[u8; SHARE_BYTES]| {
        let mut fields = share.as_slice();
        let worker = WorkerId::new(u32::from_be_bytes(take(&mut fields)));
        let mut pointer = || usize::from(u16::from_be_bytes(take(&mut fields)));
        let mut block = blocks.get(pointer())?.as_slice();
        let (work, instant) = (works.get(pointer())?, instants.get(pointer())?);
        let (previous, bits) = (take(&mut block), take(&mut block));
        let parts = Parts {
            version: take(&mut fields),
            previous,
            root: take(&mut fields),
            time: take(&mut fields),
            bits,
            nonce: take(&mut fields),
        };
        Some(Share {
            worker,
            work: Work::new(u128::from_be_bytes(*work)),
            network_work: Work::new(u128::from_be_bytes(take(&mut block))),
            at: UnixMillis::new(u64::from_be_bytes(*instant)),
            header: parts.header(),
        })
    };
    shares.iter().map(whole).collect()
}

fn read(bytes: &[u8]) -> Option<Vec<Entry>> {
    let Tables { blocks, works, instants, shares } = Tables::of(bytes)?;
    let entry = |share: &[u8; SHARE_BYTES]| {
        let mut fields = share.as_slice();
        let worker = WorkerId::new(u32::from_be_bytes(take(&mut fields)));
        let mut pointer = || usize::from(u16::from_be_bytes(take(&mut fields)));
        let (block, work) = (blocks.get(pointer())?, works.get(pointer())?);
        let at = UnixMillis::new(u64::from_be_bytes(*instants.get(pointer())?));
        let network_work = u128::from_be_bytes(*block.last_chunk()?);
        Some(Entry { worker, work: u128::from_be_bytes(*work), network_work, at })
    };
    shares.iter().map(entry).collect()
}

/// A table of `count` things, taken off the front of `rest`.
fn cut<'a, const N: usize>(rest: &mut &'a [u8], count: usize) -> Option<&'a [[u8; N]]> {
    let (table, after) = rest.split_at_checked(count.checked_mul(N)?)?;
    *rest = after;
    Some(table.as_chunks().0)
}

impl<T: Copy + Ord> Table<T> {
    const fn new() -> Self {
        Self { things: Vec::new(), places: BTreeMap::new() }
    }

    /// Where `thing` stands, from now on at the latest.
    fn place(&mut self, thing: T) -> u16 {
        if let Some((place, _)) =
            (0..).zip(self.things.iter().take(NEAR)).find(|(_, one)| **one == thing)
        {
            return place;
        }
        let next = self.things.len();
        *self.places.entry(thing).or_insert_with(|| {
            self.things.push(thing);
            u16::try_from(next).expect("a batch has at most 65,536 shares")
        })
    }
}

impl Parts {
    fn of(header: &[u8; 80]) -> Self {
        let mut rest = header.as_slice();
        Self {
            version: take(&mut rest),
            previous: take(&mut rest),
            root: take(&mut rest),
            time: take(&mut rest),
            bits: take(&mut rest),
            nonce: take(&mut rest),
        }
    }

    fn header(&self) -> [u8; 80] {
        let mut header = [0; 80];
        let mut rest = header.as_mut_slice();
        put(&mut rest, self.version);
        put(&mut rest, self.previous);
        put(&mut rest, self.root);
        put(&mut rest, self.time);
        put(&mut rest, self.bits);
        put(&mut rest, self.nonce);
        header
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(worker: u32, previous: u8, work: u128, at: u64) -> Share {
        let mut header: [u8; 80] = core::array::from_fn(|at| u8::try_from(at).unwrap());
        header[4..36].fill(previous);
        Share {
            worker: WorkerId::new(worker),
            work: Work::new(work),
            network_work: Work::new(u128::from(previous)),
            at: UnixMillis::new(at),
            header,
        }
    }

    /// Bytes as they stand in logs that exist: they may never change.
    #[test]
    fn a_batch_is_as_released() {
        let bytes = encode(&[share(7, 9, 5, 80), share(8, 9, 5, 81), share(7, 9, 6, 80)]);
        let header = share(0, 9, 0, 0).header;
        let tail = [&header[..4], &header[36..72], &header[76..]].concat();
        let shares = [[7, 0, 0, 0], [8, 0, 0, 1], [7, 0, 1, 0]].map(|[worker, block, work, at]| {
            [&[0, 0, 0, worker, 0, block, 0, work, 0, at], &*tail].concat()
        });
        let mut expected = vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2];
        expected.extend_from_slice(&header[4..36]);
        expected.extend_from_slice(&header[72..76]);
        expected.extend_from_slice(&9_u128.to_be_bytes());
        expected.extend_from_slice(&5_u128.to_be_bytes());
        expected.extend_from_slice(&6_u128.to_be_bytes());
        expected.extend_from_slice(&80_u64.to_be_bytes());
        expected.extend_from_slice(&81_u64.to_be_bytes());
        expected.extend(shares.concat());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_largest_batch_of_shares_with_nothing_in_common_is_kept() {
        let shares: Vec<_> = (0..65_536).map(|n| share(1, 0, n, 0)).collect();
        let read = entries(&encode(&shares)).unwrap();
        assert_eq!(read, shares.iter().map(Entry::of).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn shares_survive(
            drawn in prop::collection::vec((0..5_u32, 0..3_u8, 0..4_u128, 0..4_u64), 0..40),
        ) {
            let shares: Vec<_> =
                drawn.into_iter().map(|(w, previous, work, at)| share(w, previous, work, at)).collect();
            let read = entries(&encode(&shares)).unwrap();
            prop_assert_eq!(read, shares.iter().map(Entry::of).collect::<Vec<_>>());
            prop_assert_eq!(super::shares(&encode(&shares)).unwrap(), shares);
        }

        #[test]
        fn a_batch_cut_short_or_drawn_out_is_refused(cut in 1..400_usize, shares in 1..9_u64) {
            let shares: Vec<_> = (0..shares).map(|n| share(1, 1, n.into(), n)).collect();
            let mut bytes = encode(&shares);
            let kept = bytes.len().saturating_sub(cut);
            let whole = cut % SHARE_BYTES == 0;
            prop_assert_eq!(entries(&bytes[..kept]).is_ok(), whole && cut / SHARE_BYTES <= shares.len());
            bytes.extend(core::iter::repeat_n(0, cut));
            prop_assert_eq!(entries(&bytes).is_ok(), whole);
            prop_assert_eq!(super::shares(&bytes).is_ok(), whole);
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(0..3_u8, 0..300)) {
            let _ = (entries(&bytes), shares(&bytes));
        }
    }
}
