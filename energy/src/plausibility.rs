//! What cannot be true of a worker's joules, or of its hashes: flags, each with its reason.
//!
//! Work is proven and joules are claimed, so the two are held against one another and against the
//! devices that are sold. Read [`judge`]. The rules, and a worked example, are in `docs/energy.md`.
//!
//! Every bound is that of an interval which holds in 99.73 of 100 cases ([`Level::Verdict`]), and
//! not of the figure itself: few shares say little, and honest bad luck is no lie. A flag is a
//! reason to look, and no proof; nothing is paid or withheld by it.
//!
//! No miner gets out of being judged by what it says: counters that begin anew excuse a few times a
//! day ([`Starts`]), a stated uncertainty is believed up to what is usual, few shares are looked at
//! over the day, and many small workers together ([`Together`]).
//!
//! Deliberately no verdict above: a processor takes a thousand times the joules of a good device,
//! honestly. Only where the operator says what model a worker is, or what it takes, more than that
//! is worth a look. And deliberately not here: who is told, and when.
//!
//! Units: joules per terahash; all figures are of windows.

use std::time::Duration;

use units::{Hashes, UnixMillis};

use crate::{
    efficiency,
    interval::Level,
    profile::Figure,
    windows::{Span, Stretch, Windows},
};

/// What a flag is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Fewer joules per terahash than the best device sold needs.
    Impossible,
    /// Not what the named model uses, or the operator's own figure.
    Inconsistent,
    /// Too early, or too little, to be judged.
    StartUp,
    /// The last hour is not like the day before it.
    Drift,
    /// The miner's own count of hashes is not what its shares prove.
    ClaimMismatch,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// What it is about.
    pub kind: Kind,
    /// Why, with the figures, for people.
    pub reason: String,
}

/// What is known of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its windows; the newest stretch ends now.
    pub windows: &'a Windows,
    /// When counters of its meters started anew.
    pub starts: &'a Starts,
    /// What the operator says that it is, or takes.
    pub figure: Option<&'a Figure>,
    /// Now.
    pub now: UnixMillis,
}

/// When counters of a worker's meters started anew, as far as that was seen, and which of these
/// starts excuse: [`EXCUSES_A_DAY`] of them, each for [`START_UP`]. Starts within that time are a
/// part of it, and make it no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    newest: Option<UnixMillis>,
    /// Of the last day, oldest first.
    excuses: Vec<UnixMillis>,
}

/// Workers of one account, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Together {
    /// How many.
    pub workers: u64,
    /// Their last hour and day, of those whose meters rose meanwhile.
    pub spans: [Option<Stretch>; 2],
    /// The last day of those that are gone, and whose meters never rose.
    pub still: Option<Stretch>,
    /// The covered time of that, one worker's after another's.
    pub still_time: Duration,
}

/// Covered time without which nothing is said, and how long a new start is a transient: a device
/// that has just been switched on hashes before it draws its power, or the other way about.
pub const START_UP: Duration = Duration::from_secs(600);
/// Starts in a day that excuse: a morning's new firmware and settings, and a reset or two.
pub const EXCUSES_A_DAY: usize = 4;
/// Work for so long without a joule: no counter has steps so large that this is in order.
pub const STILL_MOST: Duration = Duration::from_secs(2 * 3600);
/// The same of workers that are gone before that, one after the other or beside one another.
pub const STILL_TOGETHER_MOST: Duration = Duration::from_secs(12 * 3600);
/// Effective shares without which nothing is said.
pub const SHARES_LEAST: f64 = 20.0;
/// A model's joules per terahash vary by so much with firmware, tuning and temperature.
pub const BAND: f64 = 0.25;
/// A smaller change than this is weather.
pub const DRIFT_LEAST: f64 = 0.10;
/// Covered time that a drift is measured from.
pub const DRIFT_AFTER: Duration = Duration::from_secs(2 * 3600);
/// A new start so long ago may be what a drift comes from.
const EPOCH_RECENT: Duration = Duration::from_secs(3 * 3600);
/// What the miner's count and the proven one may differ by beyond luck: shares that came too late,
/// or were refused.
pub const CLAIM_LEEWAY: f64 = 0.10;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Impossible, Self::Inconsistent, Self::StartUp, Self::Drift, Self::ClaimMismatch];

    /// The word in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Impossible => "impossible",
            Self::Inconsistent => "inconsistent",
            Self::StartUp => "start-up",
            Self::Drift => "drift",
            Self::ClaimMismatch => "claim-mismatch",
        }
    }
}

impl Starts {
    /// Takes note of a counter that started anew.
    pub fn begun(&mut self, at: UnixMillis) {
        self.newest = Some(at);
        let day = Span::Day.length();
        self.excuses.retain(|excuse| *excuse <= at && at.saturating_since(*excuse) < day);
        if self.excuse(at).is_none() && self.excuses.len() < EXCUSES_A_DAY {
            self.excuses.push(at);
        }
    }

    /// How long ago the start was that excuses now, if one does.
    fn excuse(&self, now: UnixMillis) -> Option<Duration> {
        let last = self.excuses.last().filter(|last| **last <= now)?;
        Some(now.saturating_since(*last)).filter(|running| *running < START_UP)
    }
}

impl Together {
    /// Takes in a worker's hour and day, where it has them, and whether it is gone. A meter that is
    /// about to rise says nothing beside one that has.
    pub fn add(&mut self, spans: [Option<Stretch>; 2], gone: bool) {
        let beside = |sum: &mut Option<Stretch>, one: Stretch| {
            *sum = Some(sum.map_or(one, |sum| sum.beside(one)));
        };
        self.workers = self.workers.saturating_add(1);
        for (sum, one) in self.spans.iter_mut().zip(spans) {
            one.filter(|one| !one.stands_still()).into_iter().for_each(|one| beside(sum, one));
        }
        if let Some(day) = spans[1].filter(|day| gone && day.stands_still()) {
            beside(&mut self.still, day);
            self.still_time = self.still_time.saturating_add(day.covered);
        }
    }

    /// Why what they use together is impossible, if it is. A worker alone is [`judge`]d as such.
    #[must_use]
    pub fn judge(&self) -> Option<Flag> {
        if self.workers < 2 {
            return None;
        }
        let spans = self.spans.into_iter().flatten();
        let beyond = spans.filter(judgeable).find_map(|sum| impossible(&sum));
        let still = self.still.filter(|_| self.still_time >= STILL_TOGETHER_MOST).filter(enough);
        let still = || still.map(|day| standing_still(&day, self.still_time));
        let found = beyond.or_else(still)?;
        let reason = format!("{} workers together: {}", self.workers, found.reason);
        Some(Flag { reason, ..found })
    }
}

/// The flags of a worker, at most one of each kind, in the order in which they are defined. While it
/// starts up that is the only one, unless what it uses is impossible already; where it meters
/// nothing, its hashes alone are looked at.
#[must_use]
pub fn judge(facts: Facts<'_>) -> Vec<Flag> {
    let spans = [Span::Hour, Span::Day].map(|span| facts.windows.over(span));
    let spans = || spans.into_iter().flatten();
    let longest = spans().last().unwrap_or_default();
    if longest.covered == Duration::ZERO && longest.claimed != Hashes::ZERO {
        // It counts hashes and meters nothing that counts.
        return mismatch(&longest).into_iter().collect();
    }
    let still = facts.windows.still();
    if still.covered >= STILL_MOST && still.proven.effective() >= SHARES_LEAST {
        return vec![standing_still(still, still.covered)];
    }
    let Some(lately) = spans().find(judgeable) else {
        return vec![Flag { kind: Kind::StartUp, reason: too_little(&longest) }];
    };
    let beyond = spans().filter(judgeable).find_map(|sum| impossible(&sum));
    if let Some(running) = facts.starts.excuse(facts.now) {
        let reason = format!(
            "a meter's counter started anew {} ago: figures of the first {} are a transient",
            span(running),
            span(START_UP),
        );
        return vec![beyond.unwrap_or(Flag { kind: Kind::StartUp, reason })];
    }
    [beyond, inconsistent(&lately, facts.figure), drift(facts), mismatch(&lately)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether there is enough of it to say anything.
fn enough(stretch: &Stretch) -> bool {
    stretch.covered >= START_UP && stretch.proven.effective() >= SHARES_LEAST
}

/// Whether its joules can be held against its work.
fn judgeable(stretch: &Stretch) -> bool {
    enough(stretch) && !stretch.stands_still()
}

fn too_little(longest: &Stretch) -> String {
    let shares = longest.proven.effective();
    if longest.covered < START_UP {
        format!(
            "joules and work are known of {} so far, less than {}",
            span(longest.covered),
            span(START_UP)
        )
    } else if shares < SHARES_LEAST {
        let count = longest.proven.shares;
        format!(
            "{count} shares, as good as {shares:.0} of one difficulty, in {}: too few to judge",
            span(longest.covered)
        )
    } else {
        format!(
            "no meter has risen in {} of work: its steps may be as large, for up to {}",
            span(longest.covered),
            span(STILL_MOST)
        )
    }
}

fn standing_still(stretch: &Stretch, time: Duration) -> Flag {
    let reason = format!(
        "0 J, and {} shares in {}: its meters stand still, or see nothing of what works",
        stretch.proven.shares,
        span(time),
    );
    Flag { kind: Kind::Impossible, reason }
}

fn impossible(lately: &Stretch) -> Option<Flag> {
    let floor = efficiency::floor();
    let (_, high) = lately.interval(Level::Verdict)?;
    (high < floor.joules_per_terahash).then(|| Flag {
        kind: Kind::Impossible,
        reason: format!(
            "{} J/TH in {}, {high:.2} at the most, and the best device sold ({}) takes {:.2}: \
             joules are missing, or the work is another's as well",
            ratio(lately),
            span(lately.covered),
            floor.model,
            floor.joules_per_terahash,
        ),
    })
}

fn inconsistent(lately: &Stretch, figure: Option<&Figure>) -> Option<Flag> {
    let figure = figure?;
    let (low, high) = lately.interval(Level::Verdict)?;
    let expected = figure.joules_per_terahash();
    let (least, most) = (expected * (1.0 - BAND), expected * (1.0 + BAND));
    let outside = high < least || low > most;
    let whose = figure.device().map_or_else(
        || "the operator's own figure is".to_owned(),
        |device| format!("{} takes", device.model),
    );
    outside.then(|| Flag {
        kind: Kind::Inconsistent,
        reason: format!(
            "{} J/TH, between {low:.2} and {high:.2}, and {whose} {expected:.2}, between \
             {least:.2} and {most:.2}: another device, a part of its meters, or shares of others",
            ratio(lately),
        ),
    })
}

/// The meters are the same in both figures, and so is their error: the work alone is uncertain.
fn drift(facts: Facts<'_>) -> Option<Flag> {
    let hour = facts.windows.over(Span::Hour).filter(|hour| !hour.stands_still())?;
    let before = facts.windows.day_before_the_hour()?;
    if before.covered < DRIFT_AFTER || before.proven.effective() < SHARES_LEAST {
        return None;
    }
    let (was, is) = (before.per_terahash()?.value_f64(), hour.per_terahash()?.value_f64());
    let (was_low, was_high) = before.interval_by_work(Level::Verdict)?;
    let (low, high) = hour.interval_by_work(Level::Verdict)?;
    let apart = low > was_high || high < was_low;
    if !apart || (is / was - 1.0).abs() < DRIFT_LEAST {
        return None;
    }
    let recent = facts.starts.newest.map(|epoch| facts.now.saturating_since(epoch));
    let since = match recent.filter(|ago| *ago < EPOCH_RECENT) {
        Some(ago) => {
            format!("; a counter started anew {} ago (new firmware, or settings)", span(ago))
        }
        None => "; no counter started anew".to_owned(),
    };
    Some(Flag {
        kind: Kind::Drift,
        reason: format!(
            "{is:.2} J/TH in the last {}, between {low:.2} and {high:.2}, after {was:.2} in {} \
             before that, between {was_low:.2} and {was_high:.2}{since}",
            span(hour.covered),
            span(before.covered),
        ),
    })
}

fn mismatch(lately: &Stretch) -> Option<Flag> {
    if lately.beside_claimed.effective() < SHARES_LEAST {
        return None;
    }
    let (ratio, low, high) = lately.claimed_over_proven(Level::Verdict)?;
    let outside = low > 1.0 + CLAIM_LEEWAY || high < 1.0 - CLAIM_LEEWAY;
    outside.then(|| Flag {
        kind: Kind::ClaimMismatch,
        reason: format!(
            "the miner counts {} hashes and its shares prove {}: {ratio:.4} times, between \
             {low:.4} and {high:.4}",
            lately.claimed.get(),
            lately.beside_claimed.work.get(),
        ),
    })
}

fn ratio(stretch: &Stretch) -> String {
    stretch.per_terahash().map_or_else(String::new, |ratio| ratio.to_string())
}

/// A length of time in the largest unit that it has two of.
fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests;
