//! The shares of a batch without headers, decoded from the text of `docs/retention.md`: read from
//! the front, number by number, and held to the one form that is allowed.

use std::collections::HashSet;

use super::audit::length;

/// Most shares of a batch.
const MOST: u64 = 65_536;

/// What accounts are made of: a share without its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuditedEntry {
    pub(super) worker: u32,
    pub(super) work: u128,
    pub(super) network_work: u128,
    /// When it was accepted, in milliseconds.
    pub(super) at: u64,
}

/// Numbers that are read from the front.
struct Numbers<'a>(&'a [u8]);

/// Works that shares name by their places, of which so many were named.
struct Named {
    works: Vec<u128>,
    met: usize,
}

/// The shares of an event `entries`, oldest first.
pub(super) fn decode(data: &[u8]) -> Result<Vec<AuditedEntry>, String> {
    let mut numbers = Numbers(data);
    let count = numbers.u64()?;
    if !(1..=MOST).contains(&count) {
        return Err(format!("it says that it has {count} shares"));
    }
    let mut networks = Named::read(&mut numbers, count)?;
    let mut works = Named::read(&mut numbers, count)?;
    let mut at = numbers.u64()?;
    let mut entries = Vec::new();
    for share in 0..count {
        let worker = numbers.u32()?;
        let work = works.at(numbers.number()?)?;
        let place = if networks.works.len() == 1 { 0 } else { numbers.number()? };
        let network_work = networks.at(place)?;
        if share > 0 {
            at = later(at, numbers.u64()?)?;
        }
        entries.push(AuditedEntry { worker, work, network_work, at });
    }
    if !numbers.0.is_empty() {
        return Err(format!("{} bytes follow its shares", numbers.0.len()));
    }
    networks.all_met()?;
    works.all_met()?;
    Ok(entries)
}

/// The instant that comes after `at` by a step that is written as 2d, or as -2d - 1 where it goes
/// back.
fn later(at: u64, step: u64) -> Result<u64, String> {
    let half = step.wrapping_shr(1);
    let next = if step & 1 == 0 {
        at.checked_add(half)
    } else {
        at.checked_sub(half).and_then(|at| at.checked_sub(1))
    };
    next.ok_or_else(|| "an instant is out of range".to_owned())
}

impl Numbers<'_> {
    /// The next number: base 128, the lowest digit first, the last one below 128.
    fn number(&mut self) -> Result<u128, String> {
        let mut number = 0_u128;
        let mut base = Some(1_u128);
        loop {
            let (byte, rest) = self.0.split_first().ok_or("its bytes end too early")?;
            self.0 = rest;
            let part = base.and_then(|base| base.checked_mul(u128::from(byte & 127)));
            let sum = part.and_then(|part| part.checked_add(number));
            number = sum.ok_or("a number is out of range")?;
            if *byte < 128 {
                let longer = *byte == 0 && base != Some(1);
                let too_long = || "a number is written longer than it need be".to_owned();
                return if longer { Err(too_long()) } else { Ok(number) };
            }
            base = base.and_then(|base| base.checked_mul(128));
        }
    }

    fn u64(&mut self) -> Result<u64, String> {
        u64::try_from(self.number()?).map_err(|_| "a number is out of range".to_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        u32::try_from(self.number()?).map_err(|_| "a number is out of range".to_owned())
    }
}

impl Named {
    /// Reads a table of works, no two alike and none of them 0, for so many shares.
    fn read(numbers: &mut Numbers<'_>, shares: u64) -> Result<Self, String> {
        let count = numbers.u64()?;
        if !(1..=shares).contains(&count) {
            return Err(format!("it says that its {shares} shares have {count} different works"));
        }
        let mut works = Vec::new();
        let mut known = HashSet::new();
        for _ in 0..count {
            let work = numbers.number()?;
            works.push(work);
            if work == 0 {
                return Err("a work is 0".to_owned());
            }
            if !known.insert(work) {
                return Err(format!("the work {work} stands in a table twice"));
            }
        }
        Ok(Self { works, met: 0 })
    }

    /// The work at a place, which no share may name before those in front of it were named.
    fn at(&mut self, place: u128) -> Result<u128, String> {
        let nothing = || format!("nothing stands at place {place} of a table");
        let place = usize::try_from(place).map_err(|_| nothing())?;
        let work = *self.works.get(place).ok_or_else(nothing)?;
        if place > self.met {
            return Err(format!("place {place} of a table comes up out of order"));
        }
        self.met = self.met.max(place.saturating_add(1));
        Ok(work)
    }

    fn all_met(&self) -> Result<(), String> {
        let unused = length(self.works.len()).saturating_sub(length(self.met));
        if unused == 0 { Ok(()) } else { Err(format!("no share has {unused} of the works")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use units::UnixMillis;

    use super::*;
    use crate::record::Entry;
    use crate::thin;
    use crate::types::WorkerId;

    proptest! {
        #[test]
        fn reads_what_the_ledger_leaves(
            entries in prop::collection::vec(
                (any::<u32>(), 1..5_u128, 1..4_u128, 0..1_u64 << 62).prop_map(
                    |(worker, work, network, at)| entry(worker, work << 60, network << 90, at),
                ),
                1..60,
            ),
        ) {
            let theirs: Vec<_> = entries
                .iter()
                .map(|one| Entry {
                    worker: WorkerId::new(one.worker),
                    work: one.work,
                    network_work: one.network_work,
                    at: UnixMillis::new(one.at),
                })
                .collect();
            prop_assert_eq!(decode(&thin::encode(&theirs)).unwrap(), entries);
        }
    }

    const fn entry(worker: u32, work: u128, network_work: u128, at: u64) -> AuditedEntry {
        AuditedEntry { worker, work, network_work, at }
    }

    /// Worked out by hand from the text: three shares, two network works (300 = 2 x 128 + 44 and 5),
    /// two works (7 and 1), the first instant 1,000 = 7 x 128 + 104.
    const THREE: [u8; 21] = [
        3, 2, 0xac, 2, 5, 2, 7, 1, 0xe8, 7, // the tables and the first instant
        9, 0, 0, // worker 9: work 7, network work 300
        0x81, 1, 1, 0, 6, // worker 129: work 1, network work 300, 3 later
        9, 0, 1, // worker 9: work 7, network work 5, and then its instant
    ];

    fn three(last: &[u8]) -> Vec<u8> {
        [&THREE, last].concat()
    }

    #[test]
    fn shares_are_read_from_bytes_worked_out_by_hand() {
        let must = |at| [entry(9, 7, 300, 1_000), entry(129, 1, 300, 1_003), entry(9, 7, 5, at)];
        // As -2d - 1: 1 is 1 back, 0x83 0x01 = 131 is 66 back.
        assert_eq!(decode(&three(&[1])).unwrap(), must(1_002));
        assert_eq!(decode(&three(&[0x83, 1])).unwrap(), must(937));
        assert_eq!(decode(&three(&[0])).unwrap(), must(1_003));
        // One network work alone: no place of it.
        let one = [2, 1, 5, 1, 7, 0, 1, 0, 2, 0, 4];
        assert_eq!(decode(&one).unwrap(), [entry(1, 7, 5, 0), entry(2, 7, 5, 2)]);
    }

    fn leb(mut number: u128) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push(u8::try_from(number & 127).unwrap() | 128);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).unwrap());
        bytes
    }

    #[test]
    fn the_widest_numbers_are_read() {
        let wide = [
            vec![2, 1],
            leb(u128::MAX),
            vec![1],
            leb(u128::MAX - 1),
            leb(u64::MAX.into()),
            leb(u32::MAX.into()),
            vec![0, 0, 0],
            leb(u64::MAX.into()),
        ];
        let (work, network) = (u128::MAX - 1, u128::MAX);
        let last = u64::MAX.wrapping_sub(1_u64.wrapping_shl(63));
        let must = [entry(u32::MAX, work, network, u64::MAX), entry(0, work, network, last)];
        assert_eq!(decode(&wide.concat()).unwrap(), must);
    }

    fn refused(data: &[u8]) -> String {
        decode(data).unwrap_err()
    }

    #[test]
    fn other_forms_are_refused() {
        let many = [leb(65_537), vec![1, 1, 1, 1]].concat();
        let past = |bits: usize| [vec![0x80; bits / 7], vec![1 << (bits % 7)]].concat();
        for (data, word) in [
            (vec![0, 1, 1, 1, 1, 0], "it says that it has 0 shares"),
            (many, "it says that it has 65537 shares"),
            ([vec![1, 1, 5, 1, 7], leb(1 << 64), vec![1, 0]].concat(), "out of range"),
            ([vec![1, 1, 5, 1, 7, 0], leb(1 << 32), vec![0]].concat(), "out of range"),
            ([vec![1, 1], past(128), vec![1, 7, 0, 1, 0]].concat(), "out of range"),
            ([vec![1, 1], past(140), vec![1, 7, 0, 1, 0]].concat(), "out of range"),
            (vec![1, 1, 0x85, 0, 1, 7, 0, 1, 0], "longer than it need be"),
            (vec![1, 1, 5, 1, 7, 0x80, 0, 1, 0], "longer than it need be"),
            (vec![1, 0, 1, 7, 0, 1, 0], "1 shares have 0 different works"),
            (vec![1, 1, 5, 0, 0, 1, 0], "1 shares have 0 different works"),
            (vec![1, 2, 5, 6, 1, 7, 0, 1, 0, 0], "1 shares have 2 different works"),
            (vec![1, 1, 0, 1, 7, 0, 1, 0], "a work is 0"),
            (vec![1, 1, 5, 1, 0, 0, 1, 0], "a work is 0"),
            (vec![2, 2, 5, 5, 1, 7, 0, 1, 0, 0, 1, 0, 1, 0], "the work 5 stands in a table twice"),
            (vec![2, 1, 5, 2, 7, 7, 0, 1, 0, 1, 1, 0], "the work 7 stands in a table twice"),
            (vec![2, 1, 5, 2, 7, 8, 0, 1, 1, 1, 0, 0], "place 1 of a table comes up out of order"),
            (vec![2, 2, 5, 6, 1, 7, 0, 1, 0, 1, 1, 0, 0, 0], "comes up out of order"),
            (vec![1, 1, 5, 1, 7, 0, 1, 1], "nothing stands at place 1"),
            (vec![2, 1, 5, 2, 7, 8, 0, 1, 0, 1, 0, 0], "no share has 1 of the works"),
            (vec![2, 2, 5, 6, 1, 7, 0, 1, 0, 0, 1, 0, 0, 0], "no share has 1 of the works"),
            (vec![2, 1, 5, 1, 7, 3, 1, 0, 1, 0, 7], "an instant is out of range"),
            ([vec![2, 1, 5, 1, 7], leb(u64::MAX.into()), vec![1, 0, 1, 0, 2]].concat(), "instant"),
            (three(&[1, 0]), "1 bytes follow its shares"),
        ] {
            let why = refused(&data);
            assert!(why.contains(word), "{data:?}: {why}");
        }
    }

    #[test]
    fn bytes_that_are_cut_short_are_refused() {
        let whole = three(&[0x83, 1]);
        for end in 0..whole.len() {
            assert_eq!(refused(&whole[..end]), "its bytes end too early", "{end}");
        }
    }

    /// Whatever byte is changed: the shares are others, or it is no batch.
    #[test]
    fn no_two_forms_are_the_same_shares() {
        let whole = three(&[0x83, 1]);
        let before = decode(&whole).unwrap();
        for at in 0..whole.len() {
            for flip in 1..=u8::MAX {
                let mut other = whole.clone();
                other[at] ^= flip;
                assert_ne!(decode(&other).as_ref(), Ok(&before), "{at} {flip}");
            }
        }
    }
}
