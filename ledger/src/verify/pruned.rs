//! What stays of the shares of a slice that is pruned, from the text of `docs/retention.md`: the tops
//! over them, by which its root is made again, and the best headers.

use std::collections::HashSet;

use super::audit::{Audit, Fault, expect, length, nth};
use super::body::Body;
use super::chain::Cursor;
use super::pow;
use super::shares::{self, AuditedShare};
use super::slices::Row;
use crate::error::LedgerError;
use crate::store::RawBest;

/// A pruned slice keeps the best header of so many shares of an account.
const ONE_IN: u64 = 16;
/// After all events that there can be.
const LAST: u64 = u64::MAX.wrapping_shr(1);

/// What stays of an account's shares, as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    account: u32,
    top: [u8; 32],
    numbers: Vec<u8>,
    shares: Vec<u8>,
}

/// A share that is kept whole.
#[derive(Debug)]
pub(super) struct Best {
    /// Most significant byte first.
    pub(super) hash: [u8; 32],
    pub(super) number: u64,
    share: AuditedShare,
}

impl Audit<'_> {
    /// The headers of a closed slice are dropped, or will be.
    pub(super) fn slice_pruned(
        &mut self,
        event: u64,
        body: &Body,
        data: &[u8],
    ) -> Result<(), Fault> {
        let index: u64 = body.number("slice")?;
        let place = usize::try_from(index.saturating_sub(1)).unwrap_or(usize::MAX);
        let slice = self.slices.get_mut(place).filter(|_| index > 0);
        let slice = slice.ok_or_else(|| format!("slice {index} is not closed"))?;
        if slice.form < 2 {
            return Err(format!("the root of slice {index} is not over its shares").into());
        }
        slice.doubted = false;
        if slice.pruned.replace(event).is_some() {
            return Err(format!("slice {index} was pruned before").into());
        }
        let after = core::mem::replace(&mut self.newest_pruned, index);
        if after > index {
            self.newest_pruned = after;
            return Err(format!("slice {index} is pruned after slice {after}").into());
        }
        let kept = decode(data)?;
        self.check_tops(place, &kept)?;
        self.check_kept(place, &kept)?;
        let stored = self.raw.slice_best(index)?;
        if stored.len() != kept.len() || !stored.iter().zip(&kept).all(|(row, kept)| kept.is(row)) {
            return Err(format!("slice {index} does not keep its best headers").into());
        }
        Ok(())
    }

    /// That the accounts are the slice's, and that its root follows from their tops.
    fn check_tops(&self, place: usize, kept: &[Kept]) -> Result<(), Fault> {
        let slice = self.slices.get(place).ok_or_else(|| "it is not closed".to_owned())?;
        if !slice.rows.iter().map(|row| row.0).eq(kept.iter().map(|kept| kept.account)) {
            return Err("its accounts are not those of the slice".to_owned().into());
        }
        let tops = kept.iter().map(|kept| (kept.account, kept.top)).collect();
        let root = self.root(&self.head_of(place), &slice.rows, &tops).unwrap_or_default();
        expect("root", hex::encode(root), hex::encode(slice.root)).map_err(Fault::from)
    }

    /// That the best headers are as many as they must be, and prove their work.
    fn check_kept(&mut self, place: usize, kept: &[Kept]) -> Result<(), Fault> {
        let slice = self.slices.get(place).ok_or_else(|| "it is not closed".to_owned())?;
        let (most, last) = (slice.best, slice.last);
        let first = last.saturating_sub(slice.shares);
        let count = |row: &Row| row.1.wrapping_div(ONE_IN).min(most);
        let counts: Vec<u64> = slice.rows.iter().map(count).collect();
        let mut known = HashSet::new();
        for (kept, count) in kept.iter().zip(counts) {
            let account = kept.account;
            let of = |problem: String| format!("of account {account}, {problem}");
            let best = best(&kept.numbers, &kept.shares)
                .ok_or_else(|| of("the best headers are no whole shares".to_owned()))?;
            expect("number of best headers", length(best.len()), count).map_err(of)?;
            for one in &best {
                let number = one.number;
                if number <= first || number > last || !known.insert(number) {
                    return Err(of(format!("share {number} is not there to be kept")).into());
                }
                self.check_header(account, one)
                    .map_err(|problem| of(format!("share {number} {problem}")))?;
            }
            if !best.is_sorted_by(|one, next| one.hash < next.hash) {
                return Err(of("the best headers stand out of order".to_owned()).into());
            }
        }
        Ok(())
    }

    fn check_header(&mut self, account: u32, best: &Best) -> Result<(), String> {
        let id = best.share.worker;
        let worker = nth(&self.workers, id).ok_or_else(|| format!("is of no worker {id}"))?;
        if worker.account != account {
            return Err(format!("is of account {}", worker.account));
        }
        let mut hash = best.hash;
        hash.reverse();
        self.check_proof(&best.share, &hash)
    }

    /// Takes the prunings after event `last` of slices whose headers were missing before it: a pool
    /// that is at work may have pruned them while they were read.
    pub(super) fn pruned_since(&mut self, last: u64) -> Result<(), LedgerError> {
        let mut after = last;
        while self
            .slices
            .iter()
            .any(|slice| (slice.bare || slice.doubted) && slice.pruned.is_none())
        {
            let events = self.raw.events(after, LAST)?;
            let Some(newest) = events.last() else { break };
            after = newest.seq;
            for event in events.iter().filter(|event| event.kind == "slice_pruned") {
                let data = event.data.as_deref().unwrap_or_default();
                let taken = Body::parse(&event.body)
                    .map_err(Fault::from)
                    .and_then(|body| self.slice_pruned(event.seq, &body, data));
                self.note(event, taken)?;
            }
        }
        Ok(())
    }

    /// Slices without headers that were not pruned become problems, and so does a table that has
    /// others than were pruned by event `last`.
    pub(super) fn compare_pruned(&self, table: &[(u64, u64)], last: u64, found: &mut Vec<String>) {
        let said = (1_u64..).zip(&self.slices).filter_map(|(number, slice)| {
            Some((number, slice.pruned.filter(|event| *event <= last)?))
        });
        if !said.eq(table.iter().copied()) {
            found.push("the table of pruned slices differs from the log".to_owned());
        }
        for (number, slice) in (1_u64..).zip(&self.slices) {
            if slice.doubted {
                found.push(format!("slice {number} does not keep its best headers"));
            }
        }
        let closed = self.slices.iter().map(|slice| slice.bare && slice.pruned.is_none());
        for (number, unsaid) in (1_u64..).zip(closed.chain([self.bare])) {
            if unsaid {
                found.push(format!("slice {number} has shares without headers and was not pruned"));
            }
        }
    }
}

impl Kept {
    fn is(&self, row: &RawBest) -> bool {
        let same = row.account == self.account && row.records == self.top;
        same && row.numbers == self.numbers && row.shares == self.shares
    }
}

/// The accounts of an event `slice_pruned`.
fn decode(data: &[u8]) -> Result<Vec<Kept>, String> {
    let mut cursor = Cursor(data);
    let mut kept = Vec::new();
    while !cursor.0.is_empty() {
        let account = u32::from_be_bytes(cursor.array()?);
        let top = cursor.array()?;
        let numbers = u64::from(u32::from_be_bytes(cursor.array()?)).saturating_mul(8);
        let numbers = cursor.take(usize::try_from(numbers).unwrap_or(usize::MAX))?.to_vec();
        let size = u32::from_be_bytes(cursor.array()?);
        let shares = cursor.take(usize::try_from(size).unwrap_or(usize::MAX))?.to_vec();
        kept.push(Kept { account, top, numbers, shares });
    }
    Ok(kept)
}

/// The shares that are kept of an account, with their numbers; `None` where these do not go together.
pub(super) fn best(numbers: &[u8], shares: &[u8]) -> Option<Vec<Best>> {
    let (numbers, rest) = numbers.as_chunks::<8>();
    let shares = shares::kept(shares)?;
    if !rest.is_empty() || numbers.len() != shares.len() {
        return None;
    }
    let one = |(number, share): (&[u8; 8], AuditedShare)| {
        let mut hash = pow::double_sha256(&share.header);
        hash.reverse();
        Best { hash, number: u64::from_be_bytes(*number), share }
    };
    Some(numbers.iter().zip(shares).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One account with a share kept, in a batch of one block, one work and one instant.
    fn one() -> (Vec<u8>, Vec<u8>) {
        let mut shares = vec![0; 12 + 52 + 16 + 8 + 54];
        (shares[3], shares[7], shares[11]) = (1, 1, 1);
        (shares[63], shares[79], shares[87], shares[91]) = (9, 7, 5, 2);
        (9_u64.to_be_bytes().to_vec(), shares)
    }

    #[test]
    fn accounts_are_read_from_their_places() {
        let (numbers, shares) = one();
        let bytes = [
            [&[0, 0, 0, 3], &[5; 32][..], &[0, 0, 0, 1], &numbers, &[0, 0, 0, 142], &shares]
                .concat(),
            [&[0, 0, 0, 4], &[6; 32][..], &[0; 4], &[0, 0, 0, 12], &[0; 12]].concat(),
        ]
        .concat();
        let must = [
            Kept { account: 3, top: [5; 32], numbers, shares },
            Kept { account: 4, top: [6; 32], numbers: vec![], shares: vec![0; 12] },
        ];
        assert_eq!(decode(&bytes).unwrap(), must);
        let ends = [0, 4 + 32 + 4 + 8 + 4 + 142, bytes.len()];
        for end in 0..=bytes.len() {
            assert_eq!(decode(&bytes[..end]).is_ok(), ends.contains(&end), "{end}");
        }
    }

    #[test]
    fn a_share_that_is_kept_has_its_number_and_its_hash() {
        let (numbers, shares) = one();
        let kept = best(&numbers, &shares).unwrap();
        let mut hash = pow::double_sha256(&[0; 80]);
        hash.reverse();
        let share = &kept[0].share;
        assert_eq!((kept[0].number, kept[0].hash, share.worker), (9, hash, 2));
        assert_eq!((share.work, share.network_work, share.at), (7, 9, 5));
        assert_eq!(best(&[], &[0; 12]).map(|kept| kept.len()), Some(0));
        for (numbers, shares) in [
            (&numbers[..7], &shares[..]),
            (&[][..], &shares),
            (&[0; 16], &shares),
            (&numbers, &shares[..141]),
            (&numbers, &[0; 12]),
            (&[], &[0; 11]),
            (&[], &[]),
        ] {
            assert!(best(numbers, shares).is_none(), "{numbers:?} {shares:?}");
        }
    }
}
