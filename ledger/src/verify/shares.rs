//! The shares of a batch, decoded from the text of `packed.rs` (and of `record.rs` for logs of the
//! first format): read from the front, field by field, and held to the one form that is allowed.

use std::collections::HashSet;
use std::hash::Hash;

use super::entries::{self, AuditedEntry};

/// Bytes of a share in logs of the first format: worker 4, work 16, network work 16, instant 8,
/// header 80.
const OLD: usize = 124;
/// Bytes of a packed share: worker 4, three places of 2, version 4, root 32, time 4, nonce 4.
const PACKED: usize = 54;

/// One share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditedShare {
    pub(super) worker: u32,
    pub(super) work: u128,
    pub(super) network_work: u128,
    /// When it was accepted, in milliseconds.
    pub(super) at: u64,
    pub(super) header: [u8; 80],
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

/// Things that shares point to, of which so many were pointed to.
struct Pointed<T> {
    things: Vec<T>,
    met: usize,
}

/// Whether events of this kind are batches of shares.
pub(super) fn is_batch(kind: &str) -> bool {
    ["shares", "batch", "entries"].contains(&kind)
}

/// The shares of an event of `kind`, oldest first, without their headers where there are any.
pub(super) fn decode_entries(kind: &str, data: &[u8]) -> Result<Vec<AuditedEntry>, String> {
    if kind == "entries" {
        return entries::decode(data);
    }
    Ok(decode(kind, data)?.iter().map(AuditedShare::entry).collect())
}

/// Packed shares that a slice keeps, of which there may be none.
pub(super) fn kept(data: &[u8]) -> Option<Vec<AuditedShare>> {
    packed(data)
}

/// The whole shares of an event of `kind`, oldest first.
pub(super) fn decode(kind: &str, data: &[u8]) -> Result<Vec<AuditedShare>, String> {
    let shares = if kind == "batch" { old(data) } else { packed(data) };
    let not_whole = || format!("{} bytes are no whole shares", data.len());
    shares.filter(|shares| !shares.is_empty()).ok_or_else(not_whole)
}

fn old(data: &[u8]) -> Option<Vec<AuditedShare>> {
    let (records, rest) = data.as_chunks::<OLD>();
    let read = |record: &[u8; OLD]| {
        let mut bytes = Bytes(record);
        let (worker, work) = (bytes.u32()?, bytes.u128()?);
        let network_work = bytes.u128()?;
        let at = u64::from_be_bytes(bytes.array()?);
        Some(AuditedShare { worker, work, network_work, at, header: bytes.array()? })
    };
    if rest.is_empty() { records.iter().map(read).collect() } else { None }
}

fn packed(data: &[u8]) -> Option<Vec<AuditedShare>> {
    let mut bytes = Bytes(data);
    let lengths = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
    let mut blocks = Pointed::read(&mut bytes, lengths.0, |bytes| {
        Some((bytes.array::<32>()?, bytes.array::<4>()?, bytes.u128()?))
    })?;
    let mut works = Pointed::read(&mut bytes, lengths.1, Bytes::u128)?;
    let mut instants = Pointed::read(&mut bytes, lengths.2, Bytes::array::<8>)?;
    let mut shares = Vec::with_capacity(bytes.0.len().wrapping_div(PACKED));
    while !bytes.0.is_empty() {
        let worker = bytes.u32()?;
        let (previous, bits, network_work) = blocks.at(bytes.u16()?)?;
        let work = works.at(bytes.u16()?)?;
        let at = u64::from_be_bytes(instants.at(bytes.u16()?)?);
        let version = bytes.array::<4>()?;
        let root = bytes.array::<32>()?;
        let (time, nonce) = (bytes.array::<4>()?, bytes.array::<4>()?);
        let parts: [&[u8]; 6] = [&version, &previous, &root, &time, &bits, &nonce];
        let header = parts.concat().try_into().ok()?;
        shares.push(AuditedShare { worker, work, network_work, at, header });
    }
    let all_met = blocks.all_met() && works.all_met() && instants.all_met();
    all_met.then_some(shares)
}

impl AuditedShare {
    /// Without the header.
    pub(super) const fn entry(&self) -> AuditedEntry {
        let Self { worker, work, network_work, at, header: _ } = *self;
        AuditedEntry { worker, work, network_work, at }
    }
}

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_be_bytes)
    }
}

impl<T: Copy + Eq + Hash> Pointed<T> {
    /// Reads so many things, no two alike.
    fn read<'a>(
        bytes: &mut Bytes<'a>,
        length: u32,
        mut one: impl FnMut(&mut Bytes<'a>) -> Option<T>,
    ) -> Option<Self> {
        let mut things = Vec::new();
        let mut known = HashSet::new();
        for _ in 0..length {
            let thing = one(bytes)?;
            things.push(thing);
            if !known.insert(thing) {
                return None;
            }
        }
        Some(Self { things, met: 0 })
    }

    /// The thing at a place, which no share may name before those in front of it were named.
    fn at(&mut self, place: u16) -> Option<T> {
        let place = usize::from(place);
        if place > self.met {
            return None;
        }
        self.met = self.met.max(place.saturating_add(1));
        self.things.get(place).copied()
    }

    const fn all_met(&self) -> bool {
        self.met == self.things.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use units::{UnixMillis, Work};

    use super::*;
    use crate::packed;
    use crate::types::{Share, WorkerId};

    prop_compose! {
        fn share()(
            worker in 0..4_u32, work in 0..4_u128, network in 0..2_u128, at in 0..4_u64,
            filling in prop::sample::select(vec![1_u8, 2]), place in 0..80_usize,
        ) -> Share {
            let mut header = [0; 80];
            header[place] = filling;
            Share {
                worker: WorkerId::new(worker),
                work: Work::new(work),
                network_work: Work::new(network),
                at: UnixMillis::new(at),
                header,
            }
        }
    }

    proptest! {
        #[test]
        fn reads_what_the_ledger_packs(shares in prop::collection::vec(share(), 1..60)) {
            let must: Vec<_> = shares
                .iter()
                .map(|share| AuditedShare {
                    worker: share.worker.get(),
                    work: share.work.get(),
                    network_work: share.network_work.get(),
                    at: share.at.get(),
                    header: share.header,
                })
                .collect();
            let bytes = packed::encode(&shares);
            prop_assert_eq!(decode("shares", &bytes).unwrap(), must);
            prop_assert_eq!(packed::entries(&bytes).unwrap().len(), shares.len());
        }

        /// Whatever byte is changed: the shares are others, or it is no batch.
        #[test]
        fn no_two_forms_are_the_same_shares(
            shares in prop::collection::vec(share(), 1..6), at: prop::sample::Index, flip in 1_u8..,
        ) {
            let bytes = packed::encode(&shares);
            let mut other = bytes.clone();
            let at = at.index(bytes.len());
            other[at] ^= flip;
            let (before, after) = (decode("shares", &bytes).unwrap(), decode("shares", &other));
            if let Ok(after) = after {
                prop_assert_ne!(before, after);
            }
        }
    }

    #[test]
    fn old_shares_are_read_from_their_places() {
        let mut bytes = vec![0; OLD];
        (bytes[3], bytes[19], bytes[35], bytes[43]) = (1, 2, 3, 6);
        (bytes[44], bytes[123]) = (4, 5);
        let mut header = [0; 80];
        (header[0], header[79]) = (4, 5);
        let share = AuditedShare { worker: 1, work: 2, network_work: 3, at: 6, header };
        assert_eq!(decode("batch", &bytes).unwrap(), [share]);
        assert!(decode("batch", &bytes[1..]).is_err());
        assert!(decode("batch", &[]).is_err());
    }
}
