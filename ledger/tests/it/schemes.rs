//! The examples of `docs/schemes.md`, figure by figure.

use std::time::Duration;

use ledger::{BlockId, Refusal, Scheme, WorkerId};
use units::UnixMillis;

use crate::support::{BITS, World, refused, sats, settings};

/// A block of 1,024 hashes, in the tables of the retarget.
const HARDER: u32 = 0x1f3f_ffff;
const REWARD: u64 = 10_000;
const START: u64 = 1_790_000_000_000;

/// The seven shares: account (0 is A), work, minute. Slices close after the shares 2, 4, 6 and 7.
const SHARES: [(usize, u128, u64); 7] =
    [(0, 128, 0), (1, 64, 10), (2, 256, 20), (0, 64, 30), (1, 128, 40), (0, 256, 50), (2, 64, 65)];
const CLOSES: [(usize, u64); 4] = [(2, 15), (4, 35), (6, 60), (7, 70)];

/// The history of the examples, under one scheme.
struct History {
    world: World,
    workers: [WorkerId; 3],
}

fn minute(minute: u64) -> UnixMillis {
    UnixMillis::new(START + minute * 60_000)
}

/// What the accounts A, B and C have been credited for a block, with the kinds.
type Credits = Vec<(String, &'static str, u64)>;

fn shares(parts: &[(&str, u64)]) -> Credits {
    let mut credits: Credits =
        parts.iter().map(|(name, sats)| ((*name).to_owned(), "share", *sats)).collect();
    credits.push(("pool".to_owned(), "fee", 100));
    credits
}

fn finder(name: &str) -> Credits {
    vec![(name.to_owned(), "finder", 9_900), ("pool".to_owned(), "fee", 100)]
}

impl History {
    /// With `bits` from share 4 on.
    fn new(scheme: Scheme, bits: u32) -> Self {
        let mut history = Self::empty(scheme);
        let mut begin = 0;
        for (end, closed) in CLOSES {
            history.slice(begin..end, bits);
            history.world.close_at(minute(closed));
            begin = end;
        }
        history
    }

    fn empty(scheme: Scheme) -> Self {
        let mut world = World::new(scheme);
        let workers = ["A", "B", "C"].map(|account| world.worker(account, "rig"));
        Self { world, workers }
    }

    fn slice(&mut self, range: std::ops::Range<usize>, bits: u32) {
        for (place, (who, work, at)) in SHARES.into_iter().enumerate().take(range.end) {
            if range.contains(&place) {
                let bits = if place < 3 { BITS } else { bits };
                let share = self.world.forge.share_of(self.workers[who], work, bits, minute(at));
                self.world.ledger.commit(&[share]).unwrap();
            }
        }
    }

    /// Who finds a block, and the slice that its job had committed to.
    fn find(&mut self, who: usize, slice: u64) -> BlockId {
        self.world.find(self.workers[who], slice, REWARD)
    }

    fn settled(&mut self, who: usize, slice: u64) -> (BlockId, Credits) {
        let hash = self.find(who, slice);
        self.world.on_chain(hash, 1);
        (hash, self.world.credits(&hash))
    }

    /// What C's block with slice 3 pays.
    fn pays(mut self) -> Credits {
        let (_, credits) = self.settled(2, 3);
        self.world.assert_sound();
        credits
    }
}

#[test]
fn solo() {
    assert_eq!(History::new(Scheme::Solo, BITS).pays(), finder("C"));
}

#[test]
fn prop_pays_rounds_and_an_orphan_gives_its_own_back() {
    let x = shares(&[("A", 6_600), ("B", 3_300)]);
    let y = shares(&[("A", 4_500), ("B", 1_800), ("C", 3_600)]);
    let both = || {
        let mut history = History::new(Scheme::Prop, BITS);
        let (first, credits) = history.settled(2, 1);
        assert_eq!(credits, x);
        let (_, credits) = history.settled(1, 3);
        assert_eq!(credits, y);
        (history, first)
    };
    // Example 3: an orphan after the next block.
    let (mut history, first) = both();
    history.world.orphan(first);
    let (_, credits) = history.settled(0, 4);
    assert_eq!(credits, shares(&[("A", 4_950), ("B", 2_475), ("C", 2_475)]));
    // Back on the chain, it pays what it paid.
    history.world.on_chain(first, 3);
    assert_eq!(history.world.credits(&first), x);
    history.world.assert_sound();
    // Example 4: nothing left.
    let (mut history, _) = both();
    assert_eq!(history.settled(0, 3).1, finder("A"));
    history.world.assert_sound();
}

#[test]
fn prop_pays_an_orphans_round_to_the_next_block() {
    let y = shares(&[("A", 4_950), ("B", 2_121), ("C", 2_829)]);
    for bits in [BITS, HARDER] {
        let mut history = History::new(Scheme::Prop, bits);
        let (first, _) = history.settled(2, 1);
        history.world.orphan(first);
        assert_eq!(history.settled(1, 3).1, y);
        history.world.assert_sound();
    }
}

#[test]
fn prop_keeps_the_round_of_an_earlier_block_that_is_seen_later() {
    let mut history = History::new(Scheme::Prop, BITS);
    let first = history.find(2, 1);
    let (_, later) = history.settled(1, 3);
    assert_eq!(later, shares(&[("A", 4_500), ("B", 1_800), ("C", 3_600)]));
    history.world.on_chain(first, 2);
    assert_eq!(history.world.credits(&first), shares(&[("A", 6_600), ("B", 3_300)]));
    history.world.assert_sound();
}

#[test]
fn pplns_cuts_a_share_and_breaks_a_tie() {
    let one = History::new(Scheme::Pplns { window_hundredths: 100 }, BITS).pays();
    assert_eq!(one, shares(&[("A", 6_188), ("B", 2_475), ("C", 1_237)]));
}

#[test]
fn an_unfilled_window_divides_by_what_there_is() {
    let all = shares(&[("A", 4_950), ("B", 2_121), ("C", 2_829)]);
    assert_eq!(History::new(Scheme::Pplns { window_hundredths: 200 }, BITS).pays(), all);
    assert_eq!(History::new(Scheme::Tides, BITS).pays(), all);
}

#[test]
fn pplns_weighs_each_share_by_its_own_difficulty() {
    let one = History::new(Scheme::Pplns { window_hundredths: 100 }, HARDER).pays();
    assert_eq!(one, shares(&[("A", 3_094), ("B", 1_856), ("C", 4_950)]));
}

#[test]
fn without_shares_the_finder_is_paid() {
    for scheme in [
        Scheme::Pplns { window_hundredths: 100 },
        Scheme::Pplnt { window: Duration::from_secs(2_400) },
        Scheme::Prop,
        Scheme::Tides,
    ] {
        let mut history = History::new(scheme, BITS);
        assert_eq!(history.settled(2, 0).1, finder("C"), "{scheme:?}");
        history.world.assert_sound();
    }
}

#[test]
fn tides_takes_eight_blocks_worth() {
    for (bits, credits) in [
        (BITS, [("C", 1_856), ("B", 3_713), ("A", 4_331)]),
        (HARDER, [("C", 2_376), ("B", 3_168), ("A", 4_356)]),
    ] {
        let mut world = World::new(Scheme::Tides);
        let [c, b, a] = ["C", "B", "A"].map(|account| world.worker(account, "rig"));
        let works = [c, b, a, a, b, c, a, b, a].into_iter().zip((1..=9).map(|n| n == 9));
        for (place, (worker, last)) in works.enumerate() {
            let bits = if place < 4 { BITS } else { bits };
            let work = if last { 256 } else { 512 };
            let at = world.now();
            let share = world.forge.share_of(worker, work, bits, at);
            world.ledger.commit(&[share]).unwrap();
            world.close();
        }
        let hash = world.find(b, 9, REWARD);
        world.on_chain(hash, 1);
        let mut paid = world.credits(&hash);
        paid.sort();
        let mut must = shares(&credits);
        must.sort();
        assert_eq!(paid, must);
        world.assert_sound();
    }
}

#[test]
fn pplnt_takes_what_is_later_than_its_window() {
    let window = |minutes: u64| Scheme::Pplnt { window: Duration::from_secs(minutes * 60) };
    for bits in [BITS, HARDER] {
        let pays = History::new(window(40), bits).pays();
        assert_eq!(pays, shares(&[("A", 7_071), ("B", 2_829)]));
        assert_eq!(History::new(window(5), bits).pays(), finder("C"));
    }
    // Longer than all there is: everything.
    let all = History::new(window(600), BITS).pays();
    assert_eq!(all, shares(&[("A", 4_950), ("B", 2_121), ("C", 2_829)]));
}

/// Credits of three slices by account, and what is left in the reserve after each.
struct Paid {
    value: u64,
    slices: [([u64; 3], u64); 3],
}

fn pay_per_share(scheme: Scheme, paid: &Paid) {
    let mut history = History::empty(scheme);
    let value = sats(paid.value);
    history.world.ledger.begin(Some(sats(20_000)), minute(0)).unwrap();
    let mut sums = [0; 3];
    for ((range, closed), (credits, left)) in
        [(0..2, 15), (2..4, 35), (4..6, 60)].into_iter().zip(paid.slices)
    {
        history.slice(range, HARDER);
        history.world.close_at(minute(closed));
        let payday = history.world.ledger.pay_slices(value, minute(closed)).unwrap();
        assert_eq!((payday.owed_slices, payday.reserve.to_sat()), (0, left));
        assert_eq!(payday.paid.to_sat(), credits.iter().sum::<u64>());
        for (sum, sats) in sums.iter_mut().zip(credits) {
            *sum += sats;
        }
        let money = ["A", "B", "C"].map(|account| history.world.money(account).1);
        assert_eq!(money, sums);
        let (always, reader) =
            ((UnixMillis::new(0), UnixMillis::new(u64::MAX)), history.world.reader());
        for (account, sum) in ["A", "B", "C"].into_iter().zip(sums) {
            let statement = reader.statement(account, always.0, always.1, 100).unwrap().unwrap();
            assert_eq!(statement.closing, i64::try_from(sum).unwrap(), "{account}");
        }
    }
    // A block is the reserve's, once it is mature, and nobody's balance.
    let (block, credits) = history.settled(2, 3);
    assert_eq!(credits, [("pool".to_owned(), "reserve", REWARD)]);
    history.world.on_chain(block, 100);
    let left = history.world.ledger.pay_slices(value, minute(80)).unwrap().reserve.to_sat();
    assert_eq!(left, paid.slices[2].1 + REWARD);
    assert_eq!(history.world.money("pool"), (0, 0));
    history.world.assert_sound();
    let mut history = History { world: history.world.reopen(scheme), ..history };
    history.world.assert_sound();
    history.world.ledger.begin(Some(sats(20_000)), minute(90)).unwrap();
}

#[test]
fn pps_pays_each_share_at_its_own_difficulty() {
    let slices =
        [([2_475, 1_237, 0], 16_288), ([618, 0, 4_950], 10_720), ([2_475, 1_238, 0], 7_007)];
    pay_per_share(Scheme::Pps, &Paid { value: 10_000, slices });
}

#[test]
fn fpps_pays_for_fees_too() {
    let slices =
        [([2_515, 1_257, 0], 16_228), ([629, 0, 5_030], 10_569), ([2_515, 1_258, 0], 6_796)];
    pay_per_share(Scheme::Fpps, &Paid { value: 10_162, slices });
}

#[test]
fn a_reserve_that_does_not_suffice_owes_and_pays_when_it_does() {
    let mut history = History::empty(Scheme::Pps);
    let value = sats(10_000);
    let begin = |history: &mut History, reserve: Option<u64>| {
        history.world.ledger.begin(reserve.map(sats), minute(0))
    };
    assert_eq!(refused(begin(&mut history, None).unwrap_err()), Refusal::NoReserve);
    assert_eq!(refused(begin(&mut history, Some(0)).unwrap_err()), Refusal::NoReserve);
    begin(&mut history, Some(10_000)).unwrap();
    for (range, left, owed) in [(0..2, 6_288, 0), (2..4, 720, 0), (4..6, 720, 1)] {
        history.slice(range, HARDER);
        history.world.close();
        let payday = history.world.ledger.pay_slices(value, minute(60)).unwrap();
        assert_eq!((payday.reserve.to_sat(), payday.owed_slices), (left, owed));
    }
    let money = |history: &History| ["A", "B", "C"].map(|name| history.world.money(name).1);
    assert_eq!(money(&history), [3_093, 1_237, 4_950]);
    // The scheme cannot be left with that owed, nor more taken out than there is.
    let mut world = history.world.reopen(Scheme::Solo);
    let error = world.ledger.begin(None, minute(61)).unwrap_err();
    assert_eq!(refused(error), Refusal::SlicesOwed { slices: 1 });
    history.world = world.reopen(Scheme::Pps);
    assert!(matches!(
        refused(begin(&mut history, Some(9_000)).unwrap_err()),
        Refusal::ReserveSpent { .. }
    ));
    begin(&mut history, Some(13_000)).unwrap();
    let payday = history.world.ledger.pay_slices(value, minute(62)).unwrap();
    assert_eq!((payday.paid.to_sat(), payday.reserve.to_sat()), (3_713, 7));
    assert_eq!(money(&history), [5_568, 2_475, 4_950]);
    history.world.assert_sound();
    // Now it can be left; what comes later is not paid per share.
    let mut world = history.world.reopen(Scheme::Solo);
    world.ledger.begin(None, minute(63)).unwrap();
    world.ledger.begin(None, minute(64)).unwrap();
    history.world = world;
    history.slice(6..7, HARDER);
    history.world.close();
    let payday = history.world.ledger.pay_slices(value, minute(70)).unwrap();
    assert_eq!((payday.paid.to_sat(), payday.owed_slices), (0, 0));
    history.world.assert_sound();
}

#[test]
fn a_window_in_time_of_nothing_is_refused() {
    let path = tempfile::tempdir().unwrap();
    let nothing = settings(Scheme::Pplnt { window: Duration::from_micros(999) });
    let error = ledger::Ledger::open(&path.path().join("pool.sqlite"), nothing).unwrap_err();
    assert_eq!(refused(error), Refusal::WindowOfNothing);
}
