//! The shares of a batch without their headers, as they stand in the log once a slice is pruned:
//! whose, how much, at what network work and when. `docs/retention.md` has the form.
//!
//! It deliberately keeps no evidence: what is left cannot be hashed again.

use std::collections::{BTreeMap, BTreeSet};

use units::UnixMillis;

use crate::error::LedgerError;
use crate::ledger::MAX_BATCH;
use crate::record::Entry;
use crate::types::WorkerId;

/// Things in the order in which they first come up.
#[derive(Debug, Default)]
struct Palette {
    things: Vec<u128>,
    places: BTreeMap<u128, u64>,
}

/// The bytes of a batch of at least one share.
pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    let (mut networks, mut works) = (Palette::default(), Palette::default());
    for entry in entries {
        networks.place(entry.network_work);
        works.place(entry.work);
    }
    let mut bytes = Vec::with_capacity(entries.len().saturating_mul(6).saturating_add(48));
    write(&mut bytes, u128::try_from(entries.len()).expect("a length fits"));
    networks.write(&mut bytes);
    works.write(&mut bytes);
    let mut before = entries.first().map_or(0, |first| first.at.get());
    write(&mut bytes, before.into());
    for (position, entry) in entries.iter().enumerate() {
        write(&mut bytes, entry.worker.get().into());
        write(&mut bytes, works.place(entry.work).into());
        if networks.things.len() > 1 {
            write(&mut bytes, networks.place(entry.network_work).into());
        }
        if position > 0 {
            let since = entry.at.get().wrapping_sub(before).cast_signed();
            write(&mut bytes, folded(since).into());
        }
        before = entry.at.get();
    }
    bytes
}

/// What the bytes of a batch say.
///
/// # Errors
/// Where they are not as [`encode`] writes them.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Vec<Entry>, LedgerError> {
    let rest = &mut bytes;
    let count = usize::try_from(read(rest)?).ok().filter(|count| (1..=MAX_BATCH).contains(count));
    let count = count.ok_or_else(|| wrong("has a number of shares that none has"))?;
    let (networks, works) = (table(rest, count)?, table(rest, count)?);
    let mut before = narrow(read(rest)?)?;
    let mut entries = Vec::with_capacity(count);
    let (mut works_met, mut networks_met) = (0, 0);
    for position in 0..count {
        let worker = u32::try_from(read(rest)?).map_err(|_| wrong("has no such worker"))?;
        let work = pointed(&works, read(rest)?, &mut works_met)?;
        let place = if networks.len() > 1 { read(rest)? } else { 0 };
        let network_work = pointed(&networks, place, &mut networks_met)?;
        if position > 0 {
            before = before.wrapping_add(unfolded(narrow(read(rest)?)?).cast_unsigned());
        }
        let (worker, at) = (WorkerId::new(worker), UnixMillis::new(before));
        entries.push(Entry { worker, work, network_work, at });
    }
    if !rest.is_empty() || (works_met, networks_met) != (works.len(), networks.len()) {
        return Err(wrong("says more than its shares need"));
    }
    Ok(entries)
}

impl Palette {
    fn place(&mut self, thing: u128) -> u64 {
        if let Some(place) = self.places.get(&thing) {
            return *place;
        }
        let place = u64::try_from(self.things.len()).expect("a length fits");
        self.places.insert(thing, place);
        self.things.push(thing);
        place
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        write(bytes, u128::try_from(self.things.len()).expect("a length fits"));
        self.things.iter().for_each(|thing| write(bytes, *thing));
    }
}

fn table(rest: &mut &[u8], most: usize) -> Result<Vec<u128>, LedgerError> {
    let count = usize::try_from(read(rest)?).ok().filter(|count| *count <= most);
    let count = count.ok_or_else(|| wrong("has more works than shares"))?;
    let things: Vec<u128> = (0..count).map(|_| read(rest)).collect::<Result<_, _>>()?;
    if things.iter().collect::<BTreeSet<_>>().len() < count {
        return Err(wrong("says a work twice"));
    }
    Ok(things)
}

/// The thing at a place; `met` is how many of the table were pointed to before, in their order.
fn pointed(table: &[u128], place: u128, met: &mut usize) -> Result<u128, LedgerError> {
    let place = usize::try_from(place).ok().filter(|place| place <= met);
    let thing = place.and_then(|place| table.get(place).copied().map(|thing| (place, thing)));
    let (place, thing) = thing.ok_or_else(|| wrong("points to what is not there"))?;
    if place == *met {
        *met = met.saturating_add(1);
    }
    Ok(thing)
}

/// Seven bits a byte, the lowest first.
fn write(bytes: &mut Vec<u8>, mut number: u128) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number = number.wrapping_shr(7);
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn read(rest: &mut &[u8]) -> Result<u128, LedgerError> {
    let mut number = 0_u128;
    for shift in (0..u128::BITS).step_by(7) {
        let (byte, more) = rest.split_first().ok_or_else(|| wrong("ends inside a number"))?;
        *rest = more;
        let bits = u128::from(byte & 0x7f);
        let placed = bits.wrapping_shl(shift);
        if placed.wrapping_shr(shift) != bits {
            return Err(wrong("has a number past 128 bits"));
        }
        number |= placed;
        if byte & 0x80 == 0 {
            let longer = *byte == 0 && shift > 0;
            return if longer { Err(wrong("has a number that is too long")) } else { Ok(number) };
        }
    }
    Err(wrong("has a number past 128 bits"))
}

/// A signed number as an unsigned one, small where it is near 0.
const fn folded(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ number.wrapping_shr(63)).cast_unsigned()
}

const fn unfolded(number: u64) -> i64 {
    number.wrapping_shr(1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

fn narrow(number: u128) -> Result<u64, LedgerError> {
    u64::try_from(number).map_err(|_| wrong("has an instant past 64 bits"))
}

fn wrong(what: &str) -> LedgerError {
    LedgerError::damaged(format!("a pruned batch {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(worker: u32, work: u128, network_work: u128, at: u64) -> Entry {
        Entry { worker: WorkerId::new(worker), work, network_work, at: UnixMillis::new(at) }
    }

    /// Worked out by hand from `docs/retention.md`.
    #[test]
    fn a_batch_is_as_documented() {
        let entries =
            [entry(1, 200, 512, 1_000), entry(300, 7, 512, 1_001), entry(1, 200, 512, 998)];
        let bytes = encode(&entries);
        assert_eq!(hex::encode(&bytes), "0301800402c80107e8070100ac02010201 0005".replace(' ', ""));
        assert_eq!(decode(&bytes).unwrap(), entries);
    }

    #[test]
    fn there_is_one_form() {
        for (hex, why) in [
            ("", "ends inside"),
            ("00", "a number of shares"),
            ("0101800401c801e80701", "ends inside"),
            ("01018004", "ends inside"),
            ("0101800401c801e8070100aa", "more than its shares need"),
            ("0101800402c80107e8070100", "more works than shares"),
            ("0201800402c80107e8070101", "points to what is not there"),
            ("0201800402c80107e8070100010002", "more than its shares need"),
            ("0201800402c801c801e8070100010102", "says a work twice"),
            ("010180040181808000e8070100", "too long"),
            ("0101800401ffffffffffffffffffffffffffffffffffffff7f", "past 128 bits"),
        ] {
            let error = decode(&hex::decode(hex).unwrap()).unwrap_err().to_string();
            assert!(error.contains(why), "{hex}: {error}");
        }
        assert!(decode(&hex::decode("0101800401c801e8070100").unwrap()).is_ok());
    }

    proptest! {
        #[test]
        fn every_batch_comes_back(
            batch in prop::collection::vec(
                (any::<u32>(), 0..4_u128, any::<bool>(), any::<u64>()), 1..60,
            ),
            large in any::<u128>(),
        ) {
            let of = |(worker, work, other, at): (u32, u128, bool, u64)| {
                entry(worker, if work == 3 { large } else { work.saturating_add(1) }, if other { large } else { 9 }, at)
            };
            let entries: Vec<_> = batch.into_iter().map(of).collect();
            prop_assert_eq!(decode(&encode(&entries)).unwrap(), entries);
        }

        #[test]
        fn bytes_decode_to_themselves_or_not_at_all(
            bytes in prop::collection::vec(0..6_u8, 0..40),
        ) {
            if let Ok(entries) = decode(&bytes) {
                prop_assert_eq!(encode(&entries), bytes);
            }
        }
    }
}
