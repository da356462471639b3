//! Joules beside the work of the same time, of one worker or of many, and the flags that are up.
//!
//! Read [`WindowsNow::of`] and [`FlagsNow::of`]. Windows of several workers are the sum of theirs:
//! each ends at its worker's last report, and a worker that has been silent for longer than the
//! window is in it no more. Exact figures are shown beside the ratio that is made of them, so that
//! whoever divides gets the same digits.

use std::{cmp::Reverse, collections::BTreeMap};

use energy::{
    interval::{Factors, Level},
    plausibility::{Flag, Kind},
    windows::{Span, Stretch},
};
use serde::Serialize;
use units::UnixMillis;

use crate::energy_desk::Standing;

/// Flags that one answer lists.
pub const FLAGS_SHOWN: usize = 100;

/// The three windows of some workers; all empty where none reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowsNow {
    sums: [Option<Stretch>; 3],
    /// How many workers are in each.
    workers: [u64; 3],
    /// How many report at all.
    reporters: u64,
}

/// The flags of some workers, and of accounts as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlagsNow {
    counts: BTreeMap<Kind, u64>,
    /// The gravest first, at most [`FLAGS_SHOWN`].
    list: Vec<Flagged>,
}

/// A flag, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flagged {
    /// Payout address.
    pub account: String,
    /// The worker's name, which may be empty; `None` where it is about the account as a whole.
    pub worker: Option<String>,
    /// What is to be thought of it.
    pub flag: Flag,
}

/// A window in the API.
#[derive(Debug, Serialize)]
pub(super) struct ShownWindow {
    window: &'static str,
    seconds_asked: u64,
    /// The most that any of its workers covers.
    seconds_covered: f64,
    workers: u64,
    joules: Option<String>,
    hashes: Option<String>,
    /// Between these the truth is in 95 of 100 cases, by the luck of shares.
    hashes_low: Option<String>,
    hashes_high: Option<String>,
    shares: u64,
    shares_effective: f64,
    joules_per_terahash: Option<String>,
    /// Between these it is, by the luck of shares and the meters' uncertainty.
    low: Option<f64>,
    high: Option<f64>,
    uncertainty_of_meters: Option<f64>,
    claimed: Option<ShownClaim>,
}

/// The miner's own count beside the proven one of the same time.
#[derive(Debug, Serialize)]
struct ShownClaim {
    hashes_claimed: String,
    hashes_proven: String,
    claimed_over_proven: f64,
    low: f64,
    /// Null where next to nothing is proven.
    high: Option<f64>,
}

/// A flag in the API; whose it is, where that is not clear from where it stands.
#[derive(Debug, Serialize)]
pub(super) struct ShownFlag {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    kind: &'static str,
    reason: String,
}

impl WindowsNow {
    /// Sums up the windows of workers, as of `now`. O(workers).
    #[must_use]
    pub fn of<'a>(standings: impl IntoIterator<Item = &'a Standing>, now: UnixMillis) -> Self {
        let mut all = Self::default();
        for standing in standings {
            all.reporters = all.reporters.saturating_add(1);
            let silent = now.saturating_since(standing.at);
            for (index, span) in Span::ALL.into_iter().enumerate() {
                let Some(one) = standing.windows[index].filter(|_| silent <= span.length()) else {
                    continue;
                };
                let sum = &mut all.sums[index];
                *sum = Some(sum.map_or(one, |sum| sum.beside(one)));
                all.workers[index] = all.workers[index].saturating_add(1);
            }
        }
        all
    }

    /// All three, or none where nobody reports.
    pub(super) fn shown(&self) -> Vec<ShownWindow> {
        if self.reporters == 0 {
            return Vec::new();
        }
        let windows = Span::ALL.into_iter().zip(self.sums).zip(self.workers);
        windows.map(|((span, sum), workers)| shown_window(span, sum.as_ref(), workers)).collect()
    }
}

fn shown_window(span: Span, sum: Option<&Stretch>, workers: u64) -> ShownWindow {
    // What only claims hashes has no joules: nothing unknown is a zero.
    let metered = sum.filter(|sum| !sum.covered.is_zero());
    let factors = metered.map(|sum| sum.proven.factors(Level::Shown));
    let both = metered.zip(factors);
    let interval = both.and_then(|(sum, work)| sum.interval_beside(work, Level::Shown));
    let hashes = |part: fn(Factors) -> f64| {
        both.and_then(|(sum, work)| whole(sum.proven.work.as_f64() * part(work)))
    };
    ShownWindow {
        window: span.as_str(),
        seconds_asked: span.length().as_secs(),
        seconds_covered: metered.map_or(0.0, |sum| sum.covered.as_secs_f64()),
        workers,
        joules: metered.map(|sum| sum.joules.joules()),
        hashes: metered.map(|sum| sum.proven.work.get().to_string()),
        hashes_low: hashes(|factors| factors.low),
        hashes_high: hashes(|factors| factors.high),
        shares: metered.map_or(0, |sum| sum.proven.shares),
        shares_effective: metered.map_or(0.0, |sum| sum.proven.effective()),
        joules_per_terahash: metered.and_then(Stretch::per_terahash).map(|ratio| ratio.to_string()),
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high).filter(|high| high.is_finite()),
        uncertainty_of_meters: metered.map(Stretch::uncertainty),
        claimed: sum.and_then(shown_claim),
    }
}

fn shown_claim(sum: &Stretch) -> Option<ShownClaim> {
    let (claimed_over_proven, low, high) = sum.claimed_over_proven(Level::Shown)?;
    Some(ShownClaim {
        hashes_claimed: sum.claimed.get().to_string(),
        hashes_proven: sum.beside_claimed.work.get().to_string(),
        claimed_over_proven,
        low,
        high: Some(high).filter(|high| high.is_finite()),
    })
}

/// About so many hashes, in digits; `None` where there is no end to them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the end of an interval; a float that is too big is the biggest number"
)]
fn whole(hashes: f64) -> Option<String> {
    hashes.is_finite().then(|| (hashes.round() as u128).to_string())
}

impl FlagsNow {
    /// Gathers the flags of workers; the lists go by gravity, then by name. O(workers).
    #[must_use]
    pub fn of<'a>(standings: impl IntoIterator<Item = &'a Standing>) -> Self {
        let mut counts = BTreeMap::new();
        let mut flags = Vec::new();
        for standing in standings {
            for flag in &standing.flags {
                count(&mut counts, flag.kind);
                flags.push((Reverse(gravity(flag.kind)), standing, flag));
            }
        }
        flags.sort_by(|(a, one, _), (b, other, _)| {
            a.cmp(b).then_with(|| (&one.account, &one.worker).cmp(&(&other.account, &other.worker)))
        });
        let list = flags.into_iter().take(FLAGS_SHOWN).map(|(_, standing, flag)| Flagged {
            account: standing.account.clone(),
            worker: Some(standing.worker.clone()),
            flag: flag.clone(),
        });
        Self { counts, list: list.collect() }
    }

    /// The same with the flags of accounts as a whole, after those of workers that are as grave.
    #[must_use]
    pub fn with_accounts<'a>(
        mut self,
        accounts: impl IntoIterator<Item = (&'a String, &'a Flag)>,
    ) -> Self {
        for (account, flag) in accounts {
            count(&mut self.counts, flag.kind);
            let (account, flag) = (account.clone(), flag.clone());
            self.list.push(Flagged { account, worker: None, flag });
        }
        self.list.sort_by_key(|flagged| Reverse(gravity(flagged.flag.kind)));
        self.list.truncate(FLAGS_SHOWN);
        self
    }

    /// How many workers, and accounts as a whole, have each kind, every kind once.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.counts.get(&kind).copied().unwrap_or(0)))
    }

    /// Those that are listed, but for those that only start up.
    pub fn serious(&self) -> impl Iterator<Item = &Flagged> {
        self.list.iter().filter(|flagged| flagged.flag.kind != Kind::StartUp)
    }

    /// How many flags are up.
    pub(super) fn total(&self) -> usize {
        let total = self.counts.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        usize::try_from(total).unwrap_or(usize::MAX)
    }

    pub(super) fn shown(&self) -> Vec<ShownFlag> {
        let shown = |flagged: &Flagged| ShownFlag {
            account: Some(flagged.account.clone()),
            worker: flagged.worker.clone(),
            ..shown_flag(&flagged.flag)
        };
        self.list.iter().map(shown).collect()
    }
}

fn count(counts: &mut BTreeMap<Kind, u64>, kind: Kind) {
    let count = counts.entry(kind).or_default();
    *count = count.saturating_add(1);
}

/// One worker's flags.
pub(super) fn shown_flags(flags: &[Flag]) -> Vec<ShownFlag> {
    flags.iter().map(shown_flag).collect()
}

fn shown_flag(flag: &Flag) -> ShownFlag {
    let (kind, reason) = (flag.kind.as_str(), flag.reason.clone());
    ShownFlag { account: None, worker: None, kind, reason }
}

/// A start-up is no reason to worry; the others are in the order in which they are to be looked at.
const fn gravity(kind: Kind) -> u8 {
    match kind {
        Kind::StartUp => 0,
        Kind::Drift => 1,
        Kind::ClaimMismatch => 2,
        Kind::Inconsistent => 3,
        Kind::Impossible => 4,
    }
}

#[cfg(test)]
pub(in crate::http) mod tests {
    use std::time::Duration;

    use energy::{
        plausibility::{Facts, Starts, judge},
        windows::{Proven, Windows},
    };
    use units::{Hashes, MicroJoules, Work};

    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

    /// A worker that used so many joules a terahash, a million shares of one, in the last ten
    /// minutes, and says that it made as many hashes.
    pub(in crate::http) fn standing(worker: &str, joules_per_terahash: u128) -> Standing {
        let work = Work::new(1_000_000_000_000_000_000);
        let squares = work.as_f64() * work.as_f64() / 1e6;
        let proven = Proven { shares: 1_000_000, work, squares };
        let stretch = Stretch {
            covered: Duration::from_secs(600),
            joules: MicroJoules::new(joules_per_terahash * 1_000_000 * 1_000_000),
            doubtful: 0.0,
            doubtful_usual: 0.0,
            proven,
            claimed: Hashes::new(work.get()),
            beside_claimed: proven,
        };
        let mut windows = Windows::default();
        windows.add(UnixMillis::new(NOW.get() - 600_000), NOW, stretch);
        let starts = Starts::default();
        let facts = Facts { windows: &windows, starts: &starts, figure: None, now: NOW };
        Standing {
            account: "a".to_owned(),
            worker: worker.to_owned(),
            at: NOW,
            windows: Span::ALL.map(|span| windows.over(span)),
            flags: judge(facts),
        }
    }

    fn shown(standings: &[Standing], minutes_later: u64) -> serde_json::Value {
        let now = UnixMillis::new(NOW.get() + minutes_later * 60_000);
        serde_json::to_value(WindowsNow::of(standings, now).shown()).unwrap()
    }

    #[test]
    fn a_window_shows_both_figures_its_ratio_and_how_far_it_may_be_off() {
        let one = shown(&[standing("r", 30)], 0);
        let ten = &one[0];
        assert_eq!((&ten["window"], &ten["seconds_asked"]), (&"10m".into(), &600.into()));
        assert_eq!(ten["joules"], "30000000.000000");
        assert_eq!(ten["hashes"], "1000000000000000000");
        assert_eq!(ten["joules_per_terahash"], "30.000000");
        assert_eq!((&ten["shares"], &ten["seconds_covered"]), (&1_000_000.into(), &600.0.into()));
        // 1.96 parts of a thousand, as of a million shares.
        let (low, high) = (ten["low"].as_f64().unwrap(), ten["high"].as_f64().unwrap());
        assert!((29.93..29.95).contains(&low) && (30.05..30.07).contains(&high), "{ten}");
        assert!(ten["hashes_low"].as_str().unwrap().starts_with("9980"), "{ten}");
        assert!(ten["hashes_high"].as_str().unwrap().starts_with("10019"), "{ten}");
        assert_eq!(ten["claimed"]["claimed_over_proven"], 1.0);
    }

    #[test]
    fn windows_of_many_are_their_sum_and_silence_leaves_them() {
        let two = [standing("r", 30), standing("s", 10)];
        let sum = shown(&two, 10);
        assert_eq!((&sum[0]["workers"], &sum[0]["joules"]), (&2.into(), &"40000000.000000".into()));
        assert_eq!(sum[0]["joules_per_terahash"], "20.000000");
        assert_eq!(sum[0]["seconds_covered"], 600.0);
        let later = shown(&two, 11);
        assert!(later[0]["joules"].is_null() && later[0]["workers"] == 0, "{later}");
        assert_eq!(later[1]["workers"], 2);
        assert_eq!(shown(&[], 0), serde_json::json!([]));
    }

    #[test]
    fn flags_go_by_gravity_and_few_are_listed() {
        let mut standings: Vec<Standing> =
            (0..200).map(|index| standing(&format!("r{index:03}"), 30)).collect();
        for standing in &mut standings {
            let flag = Flag { kind: Kind::StartUp, reason: "early".to_owned() };
            standing.flags = vec![flag];
        }
        standings.push(standing("z", 9));
        let flags = FlagsNow::of(&standings);
        assert_eq!((flags.list.len(), flags.total()), (FLAGS_SHOWN, 201));
        let of = |flagged: &Flagged| (flagged.worker.clone(), flagged.flag.kind);
        assert_eq!(of(&flags.list[0]), (Some("z".to_owned()), Kind::Impossible));
        assert_eq!(of(&flags.list[1]), (Some("r000".to_owned()), Kind::StartUp));
        assert_eq!(flags.serious().count(), 1);
        let counts = |flags: &FlagsNow| Vec::from_iter(flags.counts().map(|(_, count)| count));
        assert_eq!(counts(&flags), [1, 0, 200, 0, 0]);
        let (account, flag) = ("a".to_owned(), flags.list[0].flag.clone());
        let flags = flags.with_accounts([(&account, &flag)]);
        assert_eq!((counts(&flags), flags.list.len()), (vec![2, 0, 200, 0, 0], FLAGS_SHOWN));
        assert_eq!(of(&flags.list[1]), (None, Kind::Impossible));
    }
}
