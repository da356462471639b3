//! Whose work counts for a block, and with what weight, by the scheme's name.
//!
//! | scheme | who |
//! |---|---|
//! | `solo` | nobody: all but the fee goes to the finder; the bundle has the committed slice alone |
//! | `pps`, `fpps` | nobody: the reserve gets it, out of which shares were paid for; the committed slice alone |
//! | `prop` | all shares of the bundle's slices, by their work: `round.rs` says whether those are the round |
//! | `pplns`, `tides` | the newest floor(hundredths x 2^64 / 100) of score up to the committed slice's end, at least 1; the share on the edge with its part inside; while there is less, all of it. A share's score is floor(work x 2^64 / its network work) |
//! | `pplnt` | by their work, the shares of the committed slice and of those before it that were not over `window_ms` before the committed one was closed; of the first of them only the shares whose own instant is later than that |
//! | `pplns-work` | the same as `pplns` by work, of floor(hundredths x network work / 100), as ledgers of the first two formats have it |
//!
//! Slices come oldest first, so the edge is in the first one: its shares are kept, and of the later
//! ones the sums. When slices were closed is said by their roots (from form 3 on).

use std::collections::BTreeMap;

use units::U256;

use super::Fault;
use super::lines::ShareLine;
use super::terms::Terms;

/// The window of a block while its shares come in.
#[derive(Debug)]
pub(super) struct Window {
    reach: Reach,
    /// Whether shares count by their score, and not by their work.
    by_score: bool,
    slices: u64,
    /// Of the shares of the first slice.
    edge: Vec<Edge>,
    /// When slices were opened and closed, where the window is one of time.
    times: Times,
    /// Work by account of the slices after the first.
    later: BTreeMap<u32, u128>,
}

/// A share that the window's edge may cut: its account, its weight, and when it was accepted.
#[derive(Debug, Clone, Copy)]
struct Edge {
    account: u32,
    weight: u128,
    at: u64,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// When the first slice was opened.
    first_opened: u64,
    /// The earliest that a later one was opened.
    opened: u64,
    /// When the newest was closed.
    closed: u64,
}

/// How far it reaches back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nobody's work counts.
    Nowhere,
    /// Over all slices of the bundle.
    All,
    /// Over so much at the most.
    Newest(u128),
    /// Over so many milliseconds.
    Time(u64),
}

/// The weight of each account.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pub(super) accounts: BTreeMap<u32, u128>,
    pub(super) total: u128,
}

impl Window {
    /// The window that the terms ask for.
    pub(super) fn of(terms: &Terms) -> Result<Self, Fault> {
        let Terms { window_hundredths, window_ms, .. } = *terms;
        let (reach, by_score) = match (terms.scheme.as_str(), window_hundredths, window_ms) {
            ("solo" | "pps" | "fpps", 0, 0) => (Reach::Nowhere, false),
            ("prop", 0, 0) => (Reach::All, false),
            ("pplns" | "tides", hundredths @ 1.., 0) => {
                (Reach::Newest(length(hundredths, BLOCK)), true)
            }
            ("pplns-work", hundredths @ 1.., 0) => {
                (Reach::Newest(length(hundredths, terms.network_work)), false)
            }
            ("pplnt", 0, millis @ 1..) => (Reach::Time(millis), false),
            (scheme, ..) => {
                let unknown = format!(
                    "nobody knows the scheme {scheme:?} with a window of {window_hundredths} \
                     hundredths and {window_ms} ms"
                );
                return Err(unknown.into());
            }
        };
        let times = Times { first_opened: 0, opened: u64::MAX, closed: 0 };
        Ok(Self { reach, by_score, slices: 0, edge: Vec::new(), times, later: BTreeMap::new() })
    }

    /// The shares of the next slice follow, of which `times` says when it was opened and closed.
    pub(super) fn begin_slice(&mut self, times: Option<(u64, u64)>) -> Result<(), Fault> {
        self.slices = self.slices.saturating_add(1);
        if !matches!(self.reach, Reach::Time(_)) {
            return Ok(());
        }
        let (opened, closed) = times.ok_or("the slice's root does not say when it was closed")?;
        if self.slices == 1 {
            self.times.first_opened = opened;
        } else {
            self.times.opened = self.times.opened.min(opened);
        }
        self.times.closed = closed;
        Ok(())
    }

    /// The next share.
    pub(super) fn share(&mut self, share: &ShareLine) -> Result<(), Fault> {
        let (account, work, at) = (share.account, share.work.0, share.at);
        let weight = if self.by_score { score(work, share.network_work.0)? } else { work };
        match (self.reach, self.slices) {
            (Reach::Nowhere, _) => Ok(()),
            (Reach::Newest(_) | Reach::Time(_), 1) => {
                self.edge.push(Edge { account, weight, at });
                Ok(())
            }
            (Reach::All | Reach::Newest(_) | Reach::Time(_), _) => {
                add(&mut self.later, account, weight)
            }
        }
    }

    /// The weights, once all slices are read, of which `oldest` is the first one's index.
    pub(super) fn weights(self, oldest: Option<u64>) -> Result<Weights, Fault> {
        let mut accounts = self.later;
        let later = total(&accounts)?;
        let length = match self.reach {
            Reach::Newest(length) => length,
            Reach::Time(millis) => {
                let cut = self.times.closed.saturating_sub(millis);
                return after(cut, self.times, &self.edge, accounts);
            }
            Reach::All => return Ok(Weights { accounts, total: later }),
            Reach::Nowhere if self.slices > 1 => {
                return Err("the bundle reaches back further than the window".into());
            }
            Reach::Nowhere => return Ok(Weights::default()),
        };
        let mut left = length.saturating_sub(later);
        if left == 0 && self.slices > 0 {
            return Err("the bundle reaches back further than the window".into());
        }
        for Edge { account, weight, .. } in self.edge.into_iter().rev() {
            let inside = weight.min(left);
            left = left.saturating_sub(inside);
            if inside > 0 {
                add(&mut accounts, account, inside)?;
            }
        }
        if left > 0 && oldest.is_some_and(|oldest| oldest > 1) {
            return Err("the bundle does not reach back over the window".into());
        }
        let total = total(&accounts)?;
        Ok(Weights { accounts, total })
    }
}

/// The weights of a window of time that begins after `cut`; `accounts` has the slices after the first.
fn after(
    cut: u64,
    times: Times,
    edge: &[Edge],
    mut accounts: BTreeMap<u32, u128>,
) -> Result<Weights, Fault> {
    if times.opened <= cut {
        return Err("the bundle reaches back further than the window".into());
    }
    if times.first_opened > cut {
        return Err("the bundle does not reach back over the window".into());
    }
    for Edge { account, weight, .. } in edge.iter().filter(|share| share.at > cut) {
        add(&mut accounts, *account, *weight)?;
    }
    let total = total(&accounts)?;
    Ok(Weights { accounts, total })
}

/// The score of a block.
const BLOCK: u128 = 0x1_0000_0000_0000_0000;

fn score(work: u128, network_work: u128) -> Result<u128, Fault> {
    let score = U256::product(work, BLOCK).div_rem(U256::from(network_work));
    let score = score.and_then(|(score, _)| score.to_u128());
    score.ok_or_else(|| "a share is worth more than 2^64 blocks".into())
}

/// floor(hundredths x network / 100), at least 1.
fn length(hundredths: u32, network: u128) -> u128 {
    let (length, _) = U256::product(network, hundredths.into())
        .div_rem(U256::from(100_u64))
        .expect("100 is not 0");
    length.to_u128().unwrap_or(u128::MAX).max(1)
}

fn total(accounts: &BTreeMap<u32, u128>) -> Result<u128, Fault> {
    let sum = accounts.values().try_fold(0_u128, |sum, work| sum.checked_add(*work));
    sum.ok_or_else(|| "the work sums past 2^128 - 1".into())
}

fn add(accounts: &mut BTreeMap<u32, u128>, account: u32, work: u128) -> Result<(), Fault> {
    let sum = accounts.entry(account).or_default();
    *sum = sum.checked_add(work).ok_or("the work sums past 2^128 - 1")?;
    Ok(())
}
