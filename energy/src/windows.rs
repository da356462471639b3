//! Joules and the work of the same stretch of time, over the last ten minutes, hour and day.
//!
//! Every report that was taken adds one [`Stretch`]: what it credited, the work proven between the
//! readings that it goes on from and itself, and so long. A window is a sum of whole stretches, so
//! its joules and its work are always of the same time, and never more than it is long; but for a
//! last stretch of more than a day, which is all of the day's window. Read [`Windows::add`], then
//! [`Windows::over`].
//!
//! Memory is fixed: stretches are put together in pieces of a tenth of ten minutes, a sixth of an
//! hour and a twelfth of a day, so that a window may be up to one piece shorter than its name; what
//! it covers it says. Nothing is kept over a restart of whoever owns it: windows begin anew, with
//! the first stretch that a report adds.
//!
//! Deliberately not here: what counts (the book's), and what work a reading covers (the ledger's).
//!
//! Units: microjoules, hashes, Unix milliseconds by the pool's clock. Squares of work, and joules
//! weighted by their uncertainty, are floats: intervals alone are made of them.

use std::{collections::VecDeque, time::Duration};

use units::{Hashes, JoulesPerTerahash, MicroJoules, UnixMillis, Work};

use crate::interval::{Factors, Level, effective};

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// Ten minutes.
    TenMinutes,
    /// An hour.
    Hour,
    /// A day of 24 hours.
    Day,
}

/// Shares of some work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Proven {
    /// How many.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// The sum of the squares of the work of each.
    pub squares: f64,
}

/// What was used and proven in the same stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stretch {
    /// How much of the time it covers.
    pub covered: Duration,
    /// Joules of counted meters.
    pub joules: MicroJoules,
    /// Those joules, each times its meter's uncertainty as a part of one; in microjoules.
    pub doubtful: f64,
    /// The same, with no more than is usual of each meter's kind: what verdicts go by.
    pub doubtful_usual: f64,
    /// What was proven meanwhile.
    pub proven: Proven,
    /// The hashes that the miner says it made, where it said so at both ends.
    pub claimed: Hashes,
    /// What was proven while it made them.
    pub beside_claimed: Proven,
}

/// One worker's windows.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    rings: [Ring; 3],
    newest: Option<UnixMillis>,
    still: Stretch,
}

/// The pieces of one window, oldest first.
#[derive(Clone, Debug, Default)]
struct Ring(VecDeque<Piece>);

/// Stretches one after the other.
#[derive(Clone, Copy, Debug)]
struct Piece {
    since: UnixMillis,
    until: UnixMillis,
    sum: Stretch,
}

impl Span {
    /// Every span, shortest first.
    pub const ALL: [Self; 3] = [Self::TenMinutes, Self::Hour, Self::Day];

    /// The word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenMinutes => "10m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }

    /// How long it is.
    #[must_use]
    pub const fn length(self) -> Duration {
        match self {
            Self::TenMinutes => Duration::from_secs(600),
            Self::Hour => Duration::from_secs(3_600),
            Self::Day => Duration::from_secs(86_400),
        }
    }

    /// A piece begins at least so long after the one before.
    const fn piece(self) -> Duration {
        match self {
            Self::TenMinutes => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(600),
            Self::Day => Duration::from_secs(7_200),
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::TenMinutes => 0,
            Self::Hour => 1,
            Self::Day => 2,
        }
    }
}

impl Proven {
    /// Counts one share.
    pub fn add(&mut self, work: Work) {
        self.shares = self.shares.saturating_add(1);
        self.work = self.work.saturating_add(work);
        self.squares += work.as_f64() * work.as_f64();
    }

    /// The two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            shares: self.shares.saturating_add(other.shares),
            work: self.work.saturating_add(other.work),
            squares: self.squares + other.squares,
        }
    }

    /// As if its work were `work`: where the ledger knows what was covered to the hash, and the
    /// shares were counted over a little more or less of the time. Where none was counted, all of
    /// it is held to be one share.
    #[must_use]
    pub fn scaled_to(self, work: Work) -> Self {
        if work == self.work || work == Work::ZERO {
            return if work == Work::ZERO { Self::default() } else { self };
        }
        if self.work == Work::ZERO || self.shares == 0 {
            return Self { shares: 1, work, squares: work.as_f64() * work.as_f64() };
        }
        let factor = work.as_f64() / self.work.as_f64();
        Self { shares: scaled(self.shares, factor), work, squares: self.squares * factor }
    }

    /// How many shares of one work it is as good as.
    #[must_use]
    pub fn effective(&self) -> f64 {
        effective(self.work.as_f64(), self.squares, self.shares)
    }

    /// Between what numbers of hashes the truth is, as parts of `work`.
    #[must_use]
    pub fn factors(&self, level: Level) -> Factors {
        Factors::of_count(self.effective(), level)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "about so many shares; what is credited is their work, which is exact"
)]
fn scaled(shares: u64, factor: f64) -> u64 {
    ((shares as f64 * factor).round() as u64).max(1)
}

impl Stretch {
    /// The two together: of one worker one after the other, or of several workers. `covered` is then
    /// the sum, or the longest.
    #[must_use]
    fn plus(self, other: Self, covered: Duration) -> Self {
        Self {
            covered,
            joules: self.joules.saturating_add(other.joules),
            doubtful: self.doubtful + other.doubtful,
            doubtful_usual: self.doubtful_usual + other.doubtful_usual,
            proven: self.proven.plus(other.proven),
            claimed: self.claimed.saturating_add(other.claimed),
            beside_claimed: self.beside_claimed.plus(other.beside_claimed),
        }
    }

    /// What came after it, as well.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        self.plus(next, self.covered.saturating_add(next.covered))
    }

    /// Another worker's of the same window, as well.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        self.plus(other, self.covered.max(other.covered))
    }

    /// Joules over proven terahashes, from the exact figures.
    #[must_use]
    pub const fn per_terahash(&self) -> Option<JoulesPerTerahash> {
        JoulesPerTerahash::of(self.joules, self.proven.work)
    }

    /// The meters' uncertainty, weighted by their joules, as a part of one (two standard
    /// deviations), taken as fully correlated.
    #[must_use]
    pub fn uncertainty(&self) -> f64 {
        self.part(self.doubtful)
    }

    fn part(&self, doubtful: f64) -> f64 {
        let joules = self.joules.joules_f64() * 1e6;
        if joules > 0.0 { doubtful / joules } else { 0.0 }
    }

    /// Whether work was done and no meter rose: its joules are not nothing, they are not known.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.joules == MicroJoules::ZERO && self.proven.work != Work::ZERO
    }

    /// Between what joules per terahash the truth is; the upper end is infinite where next to
    /// nothing was proven. `None` while no work is covered.
    #[must_use]
    pub fn interval(&self, level: Level) -> Option<(f64, f64)> {
        self.interval_beside(self.proven.factors(level), level)
    }

    /// The same, where the interval of its work is known already.
    #[must_use]
    pub fn interval_beside(&self, work: Factors, level: Level) -> Option<(f64, f64)> {
        let ratio = self.per_terahash()?.value_f64();
        let doubtful = match level {
            Level::Shown => self.doubtful,
            Level::Verdict => self.doubtful.min(self.doubtful_usual),
        };
        let factors = Factors::of_ratio(self.part(doubtful), work, level);
        Some((ratio * factors.low, ratio * factors.high))
    }

    /// The same by the work alone: for figures of the same meters, whose error is common to both.
    #[must_use]
    pub fn interval_by_work(&self, level: Level) -> Option<(f64, f64)> {
        let ratio = self.per_terahash()?.value_f64();
        let work = self.proven.factors(level);
        Some((ratio / work.high, ratio / work.low))
    }

    /// Claimed hashes over proven ones, and between what the truth is; `None` where nothing was
    /// claimed, or nothing proven meanwhile.
    #[must_use]
    pub fn claimed_over_proven(&self, level: Level) -> Option<(f64, f64, f64)> {
        let proven = self.beside_claimed.work.as_f64();
        if self.claimed == Hashes::ZERO || proven <= 0.0 {
            return None;
        }
        let ratio = self.claimed.as_f64() / proven;
        let work = self.beside_claimed.factors(level);
        Some((ratio, ratio / work.high, ratio / work.low))
    }
}

impl Windows {
    /// Takes in what happened from `since` to `at`. A clock that was set back loses windows that
    /// would begin in its future.
    pub fn add(&mut self, since: UnixMillis, at: UnixMillis, stretch: Stretch) {
        self.newest = Some(at);
        if stretch.stands_still() {
            self.still = self.still.then(stretch);
        } else if stretch.joules != MicroJoules::ZERO {
            self.still = Stretch::default();
        }
        for span in Span::ALL {
            self.rings[span.index()].add(span, since.min(at), at, stretch);
        }
    }

    /// When the newest stretch ended; `None` before the first.
    #[must_use]
    pub const fn newest(&self) -> Option<UnixMillis> {
        self.newest
    }

    /// What was done since a meter last rose: the stretches with work and without a joule.
    #[must_use]
    pub const fn still(&self) -> &Stretch {
        &self.still
    }

    /// The window that ends with the newest stretch; `None` where no stretch lies in it whole. A
    /// newest stretch of more than a day is the day's.
    #[must_use]
    pub fn over(&self, span: Span) -> Option<Stretch> {
        self.rings[span.index()].0.iter().map(|piece| piece.sum).reduce(Stretch::then)
    }

    /// What of the day ended at least an hour before the newest stretch did.
    #[must_use]
    pub fn day_before_the_hour(&self) -> Option<Stretch> {
        let newest = self.newest?;
        let hour = Span::Hour.length();
        let pieces = self.rings[Span::Day.index()].0.iter();
        let earlier = pieces.filter(|piece| newest.saturating_since(piece.until) >= hour);
        earlier.map(|piece| piece.sum).reduce(Stretch::then)
    }
}

impl Ring {
    fn add(&mut self, span: Span, since: UnixMillis, at: UnixMillis, stretch: Stretch) {
        if self.0.back().is_some_and(|last| last.since > at) {
            self.0.clear();
            return;
        }
        if at.saturating_since(since) <= span.length() {
            match self.0.back_mut() {
                Some(last) if since.saturating_since(last.since) < span.piece() => {
                    last.sum = last.sum.then(stretch);
                    last.since = last.since.min(since);
                    last.until = last.until.max(at);
                }
                Some(_) | None => self.0.push_back(Piece { since, until: at, sum: stretch }),
            }
        }
        self.0.retain(|piece| at.saturating_since(piece.since) <= span.length());
        if self.0.is_empty() && span == Span::Day {
            self.0.push_back(Piece { since, until: at, sum: stretch });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minute(minute: u64) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000 + minute * 60_000)
    }

    fn stretch(minutes: u64, joules: u128, work: u128) -> Stretch {
        let mut proven = Proven::default();
        proven.add(Work::new(work));
        Stretch {
            covered: Duration::from_secs(minutes * 60),
            joules: MicroJoules::new(joules * 1_000_000),
            doubtful: 0.0,
            proven,
            ..Stretch::default()
        }
    }

    fn steady(minutes: u64) -> Windows {
        let mut windows = Windows::default();
        for at in 1..=minutes {
            windows.add(minute(at - 1), minute(at), stretch(1, 30, 2_000_000_000_000));
        }
        windows
    }

    #[test]
    fn windows_are_as_long_as_they_say_and_to_the_last_digit() {
        let windows = steady(3000);
        for (span, least) in [(Span::TenMinutes, 10), (Span::Hour, 50), (Span::Day, 1320)] {
            let sum = windows.over(span).unwrap();
            let covered = sum.covered.as_secs() / 60;
            assert!((least..=span.length().as_secs() / 60).contains(&covered), "{covered}");
            assert_eq!(sum.joules.get(), u128::from(covered) * 30_000_000);
            assert_eq!(sum.proven.work.get(), u128::from(covered) * 2_000_000_000_000);
            assert_eq!(sum.proven.shares, covered);
            assert_eq!(sum.per_terahash().unwrap().to_string(), "15.000000");
        }
        let pieces = windows.rings.iter().map(|ring| ring.0.len()).max().unwrap();
        assert!(pieces <= 13, "{pieces}");
        let before = windows.day_before_the_hour().unwrap().covered;
        assert!(before >= Duration::from_secs(18 * 3600), "{before:?}");
    }

    #[test]
    fn a_window_just_begun_says_how_long_it_is_and_a_long_stretch_is_in_the_day_alone() {
        assert_eq!(Windows::default().over(Span::Hour), None);
        let mut windows = steady(3);
        assert_eq!(windows.over(Span::Day).unwrap().covered, Duration::from_secs(180));
        assert_eq!(windows.day_before_the_hour(), None);
        windows.add(minute(3), minute(100), stretch(97, 1, 1));
        assert_eq!(windows.over(Span::TenMinutes), None);
        assert_eq!(windows.over(Span::Hour), None);
        assert_eq!(windows.over(Span::Day).unwrap().covered, Duration::from_secs(6_000));
    }

    /// Reports that come more rarely than once a day are judged all the same.
    #[test]
    fn a_last_stretch_of_more_than_a_day_is_the_days_window() {
        let mut windows = steady(3);
        windows.add(minute(3), minute(1_803), stretch(1_800, 7, 1));
        let day = windows.over(Span::Day).unwrap();
        assert_eq!((day.covered, day.joules.get()), (Duration::from_secs(108_000), 7_000_000));
        assert_eq!(windows.over(Span::Hour), None);
        windows.add(minute(1_803), minute(1_804), stretch(1, 1, 1));
        assert_eq!(windows.over(Span::Day).unwrap().covered, Duration::from_secs(60));
    }

    /// What comes late is of a longer time than the stretches beside it.
    #[test]
    fn a_stretch_is_in_no_window_shorter_than_itself() {
        let mut windows = steady(120);
        windows.add(minute(80), minute(121), stretch(1, 900, 1));
        let joules = |span| windows.over(span).unwrap().joules.get() / 1_000_000;
        assert_eq!(joules(Span::Day), 120 * 30 + 900);
        assert!(joules(Span::Hour) > 900);
        assert_eq!(joules(Span::TenMinutes), 9 * 30, "what was in it stays");
        windows.add(minute(121), minute(141), stretch(20, 1, 1));
        let hour = windows.over(Span::Hour).unwrap();
        assert!(hour.joules.get() < 900_000_000, "it went when its beginning did: {hour:?}");
    }

    #[test]
    fn a_meter_that_stands_still_is_told_from_a_rig_that_is_off() {
        let mut windows = steady(3);
        assert_eq!(windows.still().covered, Duration::ZERO);
        windows.add(minute(3), minute(13), stretch(10, 0, 5));
        windows.add(minute(13), minute(73), stretch(60, 0, 0));
        windows.add(minute(73), minute(83), stretch(10, 0, 5));
        assert_eq!(windows.still().covered, Duration::from_secs(1_200));
        windows.add(minute(83), minute(84), stretch(1, 1, 5));
        assert_eq!(windows.still().covered, Duration::ZERO);
    }

    #[test]
    fn a_clock_set_back_shows_nothing_of_its_future() {
        let mut windows = steady(20);
        windows.add(minute(1), minute(2), stretch(1, 1, 1));
        assert_eq!(windows.over(Span::TenMinutes), None);
        windows.add(minute(2), minute(3), stretch(1, 7, 1));
        assert_eq!(windows.over(Span::TenMinutes).unwrap().joules.get(), 7_000_000);
    }

    #[test]
    fn shares_follow_the_work_that_the_ledger_knows() {
        let mut proven = Proven::default();
        (0..100).for_each(|_| proven.add(Work::new(10)));
        assert_eq!(proven.scaled_to(Work::new(1_000)), proven);
        let half = proven.scaled_to(Work::new(500));
        assert_eq!((half.shares, half.work.get()), (50, 500));
        assert!((half.effective() - 50.0).abs() < 1e-9);
        assert_eq!(proven.scaled_to(Work::ZERO), Proven::default());
        assert_eq!(Proven::default().scaled_to(Work::new(9)).effective(), 1.0);
    }

    proptest! {
        #[test]
        fn no_window_is_longer_than_its_name_and_none_keeps_much(
            lengths in prop::collection::vec(1_u64..120_000, 1..300),
        ) {
            let mut windows = Windows::default();
            let mut now = 1_800_000_000_000;
            let newest = Duration::from_secs(lengths.last().copied().unwrap_or_default());
            for seconds in lengths {
                let since = UnixMillis::new(now);
                now += seconds * 1000;
                let covered = Duration::from_secs(seconds);
                let one = Stretch { covered, ..stretch(0, 1, 1) };
                windows.add(since, UnixMillis::new(now), one);
            }
            for span in Span::ALL {
                let ring = &windows.rings[span.index()].0;
                prop_assert!(ring.len() <= 14);
                let covered = windows.over(span).map_or(Duration::ZERO, |sum| sum.covered);
                let alone = if span == Span::Day { newest } else { Duration::ZERO };
                prop_assert!(covered <= span.length().max(alone));
            }
        }
    }
}
