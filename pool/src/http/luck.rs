//! Luck as it is shown: the pool's, that of the accounts that are listed, and who is suspected of
//! keeping blocks back.
//!
//! Read [`LuckNow::of`]. Every account is looked at; those that are named are few, the rest are
//! summed as `other`. How likely luck is says `crate::luck`.

use std::{cmp::Ordering, collections::BTreeMap};

use ledger::{AccountLuck, AccountSummary};
use serde::Serialize;

use crate::luck::{Luck, Probability, Watch};

/// Suspects that are named; more are counted.
pub const SUSPECTS_SHOWN: usize = 20;

/// The luck of the pool and of its accounts.
#[derive(Debug)]
pub struct LuckNow {
    /// All accounts together.
    pub pool: Luck,
    /// When an account is suspected.
    pub watch: Watch,
    /// Those whose luck is least likely first, at most [`SUSPECTS_SHOWN`].
    pub suspects: Vec<Suspect>,
    /// How many there are.
    pub suspects_total: usize,
    /// The luck of accounts that are listed anyway, and of the suspects, by name.
    pub named: BTreeMap<String, Luck>,
    /// All others together.
    pub other: Luck,
}

/// An account that may be keeping blocks back.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// Payout address.
    pub account: String,
    /// Its luck.
    pub luck: Luck,
    /// How likely an honest miner finds as few blocks.
    pub chance: Probability,
    /// Why it is suspected.
    pub reason: String,
}

/// Luck in the API.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    blocks_expected: String,
    blocks_found: u64,
    blocks_decided: u64,
    blocks_orphaned: u64,
    ratio: Option<f64>,
    /// Of as few blocks or fewer, for one who hands in all of them.
    probability_at_most: f64,
    probability_at_least: f64,
    orphan_rate: Option<f64>,
}

/// An account's in the API.
#[derive(Debug, Serialize)]
pub(super) struct ShownAccount {
    #[serde(flatten)]
    luck: Shown,
    /// Why it is suspected of keeping blocks back; null when it is not.
    suspected: Option<String>,
}

/// The pool's in the API.
#[derive(Debug, Serialize)]
pub(super) struct ShownPool {
    #[serde(flatten)]
    luck: Shown,
    withholding: Withholding,
}

#[derive(Debug, Serialize)]
struct Withholding {
    suspected_below: f64,
    suspects_total: usize,
    suspects: Vec<ShownSuspect>,
}

#[derive(Debug, Serialize)]
struct ShownSuspect {
    account: String,
    blocks_expected: String,
    blocks_found: u64,
    probability_at_most: f64,
    reason: String,
}

impl LuckNow {
    /// Sums up `all` accounts, and judges each; `listed` are named whatever their luck.
    #[must_use]
    pub fn of(all: &[AccountLuck], listed: &[AccountSummary], watch: Watch) -> Self {
        let suspect = |one: &AccountLuck| {
            let luck = Luck::from(one);
            let reason = watch.judge(luck, all.len())?;
            let (account, chance) = (one.account.clone(), luck.at_most());
            Some(Suspect { account, luck, chance, reason })
        };
        let mut suspects = Vec::from_iter(all.iter().filter_map(suspect));
        let suspects_total = suspects.len();
        suspects.sort_by(|a, b| {
            let by_chance = a.chance.partial_cmp(&b.chance).unwrap_or(Ordering::Equal);
            by_chance.then_with(|| a.account.cmp(&b.account))
        });
        suspects.truncate(SUSPECTS_SHOWN);
        let listed = listed.iter().map(|account| account.name.clone());
        let named = listed.chain(suspects.iter().map(|suspect| suspect.account.clone()));
        let mut now = Self {
            pool: Luck::default(),
            watch,
            suspects_total,
            named: named.map(|name| (name, Luck::default())).collect(),
            suspects,
            other: Luck::default(),
        };
        for one in all {
            let luck = Luck::from(one);
            now.pool = now.pool.plus(luck);
            match now.named.get_mut(&one.account) {
                Some(named) => *named = luck,
                None => now.other = now.other.plus(luck),
            }
        }
        now
    }

    pub(super) fn shown(&self) -> ShownPool {
        let suspect = |suspect: &Suspect| ShownSuspect {
            account: suspect.account.clone(),
            blocks_expected: suspect.luck.expected_decimal(),
            blocks_found: suspect.luck.found,
            probability_at_most: suspect.chance.get(),
            reason: suspect.reason.clone(),
        };
        ShownPool {
            luck: shown(self.pool),
            withholding: Withholding {
                suspected_below: self.watch.below,
                suspects_total: self.suspects_total,
                suspects: self.suspects.iter().map(suspect).collect(),
            },
        }
    }
}

pub(super) fn shown_account(luck: Luck, suspected: Option<&str>) -> ShownAccount {
    ShownAccount { luck: shown(luck), suspected: suspected.map(str::to_owned) }
}

fn shown(luck: Luck) -> Shown {
    Shown {
        blocks_expected: luck.expected_decimal(),
        blocks_found: luck.found,
        blocks_decided: luck.decided,
        blocks_orphaned: luck.orphaned,
        ratio: luck.ratio(),
        probability_at_most: luck.at_most().get(),
        probability_at_least: luck.at_least().get(),
        orphan_rate: luck.orphan_rate(),
    }
}

#[cfg(test)]
mod tests {
    use ledger::{Candidate, Ledger, Reader, Scheme, Settings, Share, WorkerId};
    use units::{BasisPoints, Sats, UnixMillis, Work};

    use super::*;

    const BLOCK: u128 = 1 << 64;
    const WATCH: Watch = Watch { below: 1e-4 };

    fn luck(account: &str, expected: u128, found: u64) -> AccountLuck {
        let account = account.to_owned();
        AccountLuck { account, score: expected * BLOCK, found, decided: found, orphaned: found / 4 }
    }

    fn listed(name: &str) -> AccountSummary {
        AccountSummary { name: name.to_owned(), work: Work::new(1), shares: 1 }
    }

    #[test]
    fn who_keeps_blocks_back_is_named_beside_those_that_are_listed() {
        let all = [
            luck("big", 40, 44),
            luck("worse", 20, 0),
            luck("small", 2, 0),
            luck("thief", 12, 0),
            luck("smaller", 1, 4),
        ];
        let now = LuckNow::of(&all, &[listed("big"), listed("new")], WATCH);
        let suspects = Vec::from_iter(now.suspects.iter().map(|suspect| suspect.account.as_str()));
        assert_eq!(suspects, ["worse", "thief"]);
        let named = Vec::from_iter(now.named.keys().map(String::as_str));
        assert_eq!(named, ["big", "new", "thief", "worse"]);
        let other = Luck { score: 3 * BLOCK, found: 4, decided: 4, orphaned: 1 };
        assert_eq!(now.other, other);
        let pool = Luck { score: 75 * BLOCK, found: 48, decided: 48, orphaned: 12 };
        assert_eq!(now.pool, pool);

        let answer = serde_json::to_value(now.shown()).unwrap();
        assert_eq!(answer["blocks_expected"], "75.000000000000");
        assert_eq!((&answer["ratio"], &answer["orphan_rate"]), (&0.64.into(), &0.25.into()));
        assert_eq!(answer["withholding"]["suspects"][1]["account"], "thief");
        let reason = answer["withholding"]["suspects"][1]["reason"].as_str().unwrap();
        assert!(reason.contains("12.00 blocks and it found 0"), "{reason}");
    }

    fn share(worker: WorkerId) -> Share {
        let work = Work::new(512);
        Share { worker, work, network_work: work, at: UnixMillis::new(1), header: [0; 80] }
    }

    fn block(finder: WorkerId, number: u8) -> Candidate {
        Candidate {
            hash: [number; 32],
            height: number.into(),
            reward: Sats::ZERO,
            network_work: Work::new(512),
            finder,
            committed_slice: ledger::SliceIndex::new(1),
            block: vec![number],
            at: UnixMillis::new(2),
        }
    }

    /// Twelve shares as hard as a block each: twelve blocks are expected.
    #[test]
    fn a_ledger_in_which_one_of_two_keeps_its_blocks_back_names_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.sqlite");
        let settings = Settings {
            scheme: Scheme::Solo,
            fee: BasisPoints::new(100).unwrap(),
            fee_account: "pool".to_owned(),
            maturity: 100,
        };
        let mut ledger = Ledger::open(&path, settings).unwrap();
        let at = UnixMillis::new(0);
        let honest = ledger.worker("honest", "r", at).unwrap();
        let thief = ledger.worker("thief", "r", at).unwrap();
        for worker in [honest, thief] {
            ledger.commit(&vec![share(worker); 12]).unwrap();
        }
        ledger.close_slice(at).unwrap();
        (1..=9).for_each(|number| ledger.candidate(&block(honest, number)).unwrap());
        let all = Reader::open(&path).unwrap().luck().unwrap();
        let now = LuckNow::of(&all, &[], WATCH);
        let [suspect] = &*now.suspects else { panic!("{:?}", now.suspects) };
        assert_eq!((suspect.account.as_str(), suspect.luck.found), ("thief", 0));
        assert_eq!(suspect.luck.expected_decimal(), "12.000000000000");
        // It brings two after all: still less than one would expect, and no reason any more.
        (20..22).for_each(|number| ledger.candidate(&block(thief, number)).unwrap());
        let all = Reader::open(&path).unwrap().luck().unwrap();
        assert_eq!(LuckNow::of(&all, &[], WATCH).suspects, []);
    }

    #[test]
    fn suspects_without_end_are_counted_and_the_worst_named() {
        let all = Vec::from_iter((0..100).map(|n| luck(&format!("a{n:02}"), 12 + n, 0)));
        let now = LuckNow::of(&all, &[], WATCH);
        assert_eq!((now.suspects.len(), now.suspects_total), (SUSPECTS_SHOWN, 100));
        assert_eq!(now.suspects[0].account, "a99");
        assert_eq!(now.named.len(), SUSPECTS_SHOWN);
    }

    #[test]
    fn an_accounts_answer_says_why_it_is_suspected() {
        let honest = serde_json::to_value(shown_account(Luck::default(), None)).unwrap();
        assert!(honest["suspected"].is_null() && honest["ratio"].is_null(), "{honest}");
        assert_eq!(honest["probability_at_most"], 1.0);
        let luck = Luck::from(&luck("thief", 12, 0));
        let reason = WATCH.judge(luck, 1);
        let thief = serde_json::to_value(shown_account(luck, reason.as_deref())).unwrap();
        assert_eq!(thief["suspected"].as_str(), reason.as_deref());
    }
}
