//! What cannot be true of a worker's joules, or of its hashes: flags, each with its reason.
//!
//! Work is proven and joules are claimed, so the two are held against one another and against the
//! devices that are sold. Read [`judge`]. The rules, and a worked example, are in `docs/energy.md`.
//!
//! Every bound is that of an interval which holds in 99.73 of 100 cases ([`Level::Verdict`]), and
//! not of the figure itself: few shares say little, and honest bad luck is no lie. A flag is a
//! reason to look, and no proof; nothing is paid or withheld by it.
//!
//! Deliberately no verdict above: a processor takes a thousand times the joules of a good device,
//! honestly. Only where the operator says what model a worker is, more than that model uses is
//! worth a look. And deliberately not here: who is told, and when.
//!
//! Units: joules per terahash; all figures are of windows.

use std::time::Duration;

use units::{Hashes, UnixMillis};

use crate::{
    efficiency::{self, Device},
    interval::Level,
    windows::{Span, Stretch, Windows},
};

/// What a flag is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Fewer joules per terahash than the best device sold needs.
    Impossible,
    /// Not what the named model uses.
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
    /// When the counter of one of its meters last started anew, if that was seen.
    pub epoch_at: Option<UnixMillis>,
    /// What the operator says that it is.
    pub device: Option<&'a Device>,
}

/// Covered time without which nothing is said, and how long a new start is a transient: a device
/// that has just been switched on hashes before it draws its power, or the other way about.
pub const START_UP: Duration = Duration::from_secs(600);
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

/// The flags of a worker, at most one of each kind, in the order in which they are defined. While it
/// starts up that is the only one; where it meters nothing, its hashes alone are looked at.
#[must_use]
pub fn judge(facts: Facts<'_>) -> Vec<Flag> {
    let lately = facts.windows.over(Span::Hour).or_else(|| facts.windows.over(Span::Day));
    let lately = lately.unwrap_or_default();
    if lately.covered == Duration::ZERO && lately.claimed != Hashes::ZERO {
        // It counts hashes and meters nothing that counts.
        return mismatch(&lately).into_iter().collect();
    }
    if let Some(early) = start_up(&lately, facts) {
        return vec![early];
    }
    let device = facts.device;
    [impossible(&lately), inconsistent(&lately, device), drift(facts), mismatch(&lately)]
        .into_iter()
        .flatten()
        .collect()
}

fn start_up(lately: &Stretch, facts: Facts<'_>) -> Option<Flag> {
    let newest = facts.windows.newest().unwrap_or_default();
    let running = facts.epoch_at.map(|epoch| newest.saturating_since(epoch));
    let shares = lately.proven.effective();
    let reason = if let Some(running) = running.filter(|running| *running < START_UP) {
        format!(
            "a meter's counter started anew {} ago: figures of the first {} are a transient",
            span(running),
            span(START_UP),
        )
    } else if lately.covered < START_UP {
        format!(
            "joules and work are known of {} so far, less than {}",
            span(lately.covered),
            span(START_UP)
        )
    } else if shares < SHARES_LEAST {
        let count = lately.proven.shares;
        format!(
            "{count} shares, as good as {shares:.0} of one difficulty, in {}: too few to judge",
            span(lately.covered)
        )
    } else {
        return None;
    };
    Some(Flag { kind: Kind::StartUp, reason })
}

fn impossible(lately: &Stretch) -> Option<Flag> {
    let floor = efficiency::floor();
    let (_, high) = lately.interval(Level::Verdict)?;
    (high < floor.joules_per_terahash).then(|| Flag {
        kind: Kind::Impossible,
        reason: format!(
            "{} J/TH, {high:.2} at the most, and the best device sold ({}) takes {:.2}: joules are \
             missing, or the work is another's as well",
            ratio(lately),
            floor.model,
            floor.joules_per_terahash,
        ),
    })
}

fn inconsistent(lately: &Stretch, device: Option<&Device>) -> Option<Flag> {
    let device = device?;
    let (low, high) = lately.interval(Level::Verdict)?;
    let nameplate = device.joules_per_terahash;
    let (least, most) = (nameplate * (1.0 - BAND), nameplate * (1.0 + BAND));
    let outside = high < least || low > most;
    outside.then(|| Flag {
        kind: Kind::Inconsistent,
        reason: format!(
            "{} J/TH, between {low:.2} and {high:.2}, and {} takes {nameplate:.2}, between \
             {least:.2} and {most:.2}: another device, a part of its meters, or shares of others",
            ratio(lately),
            device.model,
        ),
    })
}

/// The meters are the same in both figures, and so is their error: the work alone is uncertain.
fn drift(facts: Facts<'_>) -> Option<Flag> {
    let hour = facts.windows.over(Span::Hour)?;
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
    let newest = facts.windows.newest()?;
    let recent = facts.epoch_at.map(|epoch| newest.saturating_since(epoch));
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
