//! What is in a block's window, by the rule that its candidate was recorded with: written from
//! `docs/schemes.md`, walking back slice by slice and share by share (where the ledger uses sums).

use std::collections::{BTreeMap, BTreeSet};

use units::U256;

use super::audit::{Audit, Fault, length, nth};
use super::blocks::Block;
use super::body::Body;
use super::money;
use super::shares::{decode_entries, is_batch};
use super::slices::Slice;

/// The score of a block.
const BLOCK: u128 = 0x1_0000_0000_0000_0000;

/// How a block's reward is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Finder,
    Reserve,
    Round,
    /// The newest so much score.
    Scores(u128),
    /// Work of so many milliseconds.
    Time(u64),
    /// The newest so much work.
    Work(u128),
}

/// The slices that a settled block was paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Took {
    UpTo(u64),
    These(BTreeSet<u64>),
}

/// What a share weighs in a window: its account, and work or score.
type Weighed = Vec<(u32, u128)>;

/// A share's part of a block, in 2^-64 of one, rounded down.
pub(super) fn score(work: u128, network_work: u128) -> Option<u128> {
    let (score, _) = U256::product(work, BLOCK).div_rem(U256::from(network_work))?;
    score.to_u128()
}

impl Rule {
    pub(super) fn of(body: &Body) -> Result<Self, String> {
        let hundredths: u32 = body.number("window_hundredths")?;
        let scores = money::part_of_wide(BLOCK, hundredths.into(), 100).max(1);
        Ok(match body.optional_text("scheme")? {
            None if hundredths == 0 => Self::Finder,
            None => Self::Work(money::window_length(hundredths, body.decimal("network_work")?)),
            Some("solo") => Self::Finder,
            Some("prop") => Self::Round,
            Some("pps" | "fpps") => Self::Reserve,
            Some("pplns") if hundredths > 0 => Self::Scores(scores),
            Some("tides") if hundredths == 800 => Self::Scores(scores),
            Some("pplnt") => Self::Time(body.number("window_ms")?),
            Some(scheme) => return Err(format!("its scheme {scheme:?} has no such window")),
        })
    }
}

impl Took {
    /// The slices in rising order.
    pub(super) fn slices(&self) -> Vec<u64> {
        match self {
            Self::UpTo(last) => (1..=*last).collect(),
            Self::These(slices) => slices.iter().copied().collect(),
        }
    }

    fn has(&self, slice: u64) -> bool {
        match self {
            Self::UpTo(last) => slice <= *last,
            Self::These(slices) => slices.contains(&slice),
        }
    }
}

impl Audit<'_> {
    /// What accounts have in the window of a block that is settled now, and what it takes by that.
    pub(super) fn window(&self, block: &Block) -> Result<(BTreeMap<u32, u128>, Took), Fault> {
        let took = if block.rule == Rule::Round {
            Took::These(self.round(block))
        } else {
            Took::UpTo(block.slice)
        };
        let weights = match block.rule {
            Rule::Finder | Rule::Reserve => BTreeMap::new(),
            Rule::Round => self.whole(took.slices()),
            Rule::Time(millis) => self.since(block.slice, millis)?,
            Rule::Scores(most) => self.newest(block.slice, most, Weigh::Score)?,
            Rule::Work(most) => self.newest(block.slice, most, Weigh::Work)?,
        };
        Ok((weights, took))
    }

    /// Slices up to the block's own that no other block was or will be paid for.
    fn round(&self, block: &Block) -> BTreeSet<u64> {
        let others = || self.blocks.values().filter(|other| other.event != block.event);
        let open = others()
            .filter(|one| ["candidate", "submitted"].contains(&one.state))
            .filter(|one| one.event < block.event);
        let held = open.map(|one| one.slice).max().unwrap_or(0);
        let live: Vec<&Took> = others()
            .filter(|one| ["immature", "mature"].contains(&one.state))
            .filter_map(|one| one.took.as_ref())
            .collect();
        let free = |slice: &u64| *slice > held && !live.iter().any(|took| took.has(*slice));
        (1..=block.slice).filter(free).collect()
    }

    fn whole(&self, slices: Vec<u64>) -> BTreeMap<u32, u128> {
        let mut weights = BTreeMap::new();
        let slices = slices.into_iter().filter_map(|slice| self.slice(slice));
        for (account, _, work, _) in slices.flat_map(|slice| &slice.rows) {
            money::add(&mut weights, *account, *work);
        }
        weights
    }

    fn since(&self, last: u64, millis: u64) -> Result<BTreeMap<u32, u128>, Fault> {
        let mut weights = BTreeMap::new();
        let Some(newest) = self.slice(last) else { return Ok(weights) };
        let cut = newest.closed_at.saturating_sub(millis);
        for index in (1..=last).rev() {
            let earlier = index.checked_sub(1).and_then(|earlier| self.slice(earlier));
            if earlier.is_some_and(|earlier| earlier.closed_at > cut) {
                for (account, work) in self.whole(vec![index]) {
                    money::add(&mut weights, account, work);
                }
                continue;
            }
            let place = usize::try_from(index.saturating_sub(1)).unwrap_or(usize::MAX);
            for (account, work) in self.weighed(place, Weigh::Work, cut)? {
                money::add(&mut weights, account, work);
            }
            break;
        }
        Ok(weights)
    }

    fn newest(&self, last: u64, most: u128, weigh: Weigh) -> Result<BTreeMap<u32, u128>, Fault> {
        let count = usize::try_from(last).unwrap_or(usize::MAX).min(self.slices.len());
        let rows = self.slices[..count].iter().enumerate().rev().map(|(place, slice)| {
            let weighed = slice.rows.iter().map(|row| (row.0, weigh.of_row(row)));
            (place, weighed.collect::<Weighed>())
        });
        money::weights(most, rows, |place| self.weighed(place, weigh, 0))
    }

    /// The shares of the slice at `place` that were accepted after `cut`, oldest first, read again
    /// from the log.
    fn weighed(&self, place: usize, weigh: Weigh, cut: u64) -> Result<Weighed, Fault> {
        let after = place.checked_sub(1).and_then(|place| self.slices.get(place));
        let mut at = after.map_or(0, |slice| slice.closed_by);
        let before = self.slices.get(place).map_or(0, |slice| slice.closed_by);
        let mut shares = Vec::new();
        loop {
            let events = self.raw.events(at, before)?;
            let Some(last) = events.last() else { return Ok(shares) };
            at = last.seq;
            for event in events.iter().filter(|event| is_batch(&event.kind)) {
                let data = event.data.as_deref().unwrap_or_default();
                for share in decode_entries(&event.kind, data)? {
                    let id = share.worker;
                    let worker = nth(&self.workers, id).ok_or_else(|| format!("no worker {id}"))?;
                    let weight = match weigh {
                        Weigh::Work => share.work,
                        Weigh::Score => score(share.work, share.network_work).unwrap_or(u128::MAX),
                    };
                    if cut == 0 || share.at > cut {
                        shares.push((worker.account, weight));
                    }
                }
            }
        }
    }

    fn slice(&self, index: u64) -> Option<&Slice> {
        self.slices.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    /// What the table of rounds must hold: for each settled block its event and its slices.
    pub(super) fn rounds(&self) -> BTreeMap<u64, Vec<u64>> {
        let took = |block: &Block| Some((block.event, block.took.as_ref()?.slices()));
        self.blocks
            .values()
            .filter_map(took)
            .filter(|(_, slices)| length(slices.len()) > 0)
            .collect()
    }
}

/// What shares weigh by.
#[derive(Debug, Clone, Copy)]
enum Weigh {
    Score,
    Work,
}

impl Weigh {
    const fn of_row(self, (_, _, work, score): &(u32, u64, u128, u128)) -> u128 {
        match self {
            Self::Score => *score,
            Self::Work => *work,
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_ledgers_own_score(work: u128, network: u128, shift in 0..128_u32) {
            let (work, network) = (work >> shift, network >> (127 - shift));
            prop_assert_eq!(score(work, network), crate::score::of(work, network).ok());
        }

        #[test]
        fn agrees_with_the_ledgers_own_length(hundredths in 1_u32..) {
            let must = money::part_of_wide(BLOCK, hundredths.into(), 100).max(1);
            prop_assert_eq!(crate::window::blocks(hundredths), must);
        }
    }
}
