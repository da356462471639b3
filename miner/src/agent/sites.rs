//! A site's meter against the sum of what is behind it.
//!
//! Read [`Books::take`]. Both are counted from one moment on; what the site's meter saw and no meter
//! behind it did is the residual: cables, fans, a device without a meter, or a meter that lies. A wider
//! meter includes the narrower ones, so the two are compared and never added. Where one of them loses
//! joules, the comparison begins anew: what is not known cannot be missing.
//!
//! Units: microjoules, the residual signed; parts per million.

use std::collections::BTreeMap;
use std::time::Duration;

use energy::meter::PPM;
use units::MicroJoules;

use super::farm::{Entry, State};
use super::settings::Site;

/// Below this the meters' answers, which are not of one instant, say nothing.
const LEAST: Duration = Duration::from_secs(300);
/// A comparison is of a day at the most: of a year, a meter that has just died would not show.
const MOST: Duration = Duration::from_secs(86_400);

/// Every site's comparison.
#[derive(Debug)]
pub struct Books {
    sites: Vec<(Site, Option<Baseline>)>,
}

/// The totals that a comparison began with.
#[derive(Debug)]
struct Baseline {
    at: Duration,
    totals: BTreeMap<String, MicroJoules>,
    /// Whether it was said that they disagree.
    warned: bool,
}

/// One site's comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The site.
    pub site: String,
    /// Since when, as a length.
    pub length: Duration,
    /// What its meter saw.
    pub seen: MicroJoules,
    /// The sum of what is behind it.
    pub sum: MicroJoules,
    /// What the two leave, in microjoules; negative where the sum is more.
    pub residual: i128,
    /// How far both may be off together, in microjoules.
    pub uncertainty: u128,
    /// What that comes to.
    pub verdict: Verdict,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has just begun.
    TooShort,
    /// They agree within what is to be expected.
    Agrees,
    /// The site used more than the meters behind it know of.
    Missing,
    /// The meters behind it claim more than the site used.
    Excess,
}

impl Verdict {
    /// The word for metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::Agrees => "agrees",
            Self::Missing => "missing",
            Self::Excess => "excess",
        }
    }
}

impl Comparison {
    /// The residual as a part of what the site's meter saw; `None` where it saw nothing.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a gauge is an approximation")]
    pub fn ratio(&self) -> Option<f64> {
        let seen = self.seen.get();
        (seen > 0).then(|| self.residual as f64 / seen as f64)
    }
}

impl Books {
    /// Books of these sites.
    #[must_use]
    pub fn new(sites: &[Site]) -> Self {
        Self { sites: sites.iter().map(|site| (site.clone(), None)).collect() }
    }

    /// The comparisons as of `entries`; where some have just begun to disagree, the log says so.
    pub fn take(&mut self, entries: &[Entry], at: Duration) -> Vec<Comparison> {
        let by_name: BTreeMap<&str, &Entry> =
            entries.iter().map(|entry| (entry.meter.id().as_str(), entry)).collect();
        let each = self.sites.iter_mut();
        each.filter_map(|(site, baseline)| compare(site, baseline, &by_name, at)).collect()
    }
}

fn compare(
    site: &Site,
    baseline: &mut Option<Baseline>,
    entries: &BTreeMap<&str, &Entry>,
    at: Duration,
) -> Option<Comparison> {
    let names = std::iter::once(&site.meter).chain(&site.behind);
    let members: Vec<&Entry> =
        names.map(|name| entries.get(name.as_str()).copied()).collect::<Option<_>>()?;
    if members.iter().any(|entry| matches!(entry.state, State::Lost | State::Waiting)) {
        *baseline = None;
        return None;
    }
    if members.iter().any(|entry| entry.state == State::Held) {
        return None;
    }
    let begin = || Baseline {
        at,
        totals: members.iter().map(|e| (e.meter.id().to_string(), e.meter.total())).collect(),
        warned: false,
    };
    let baseline = baseline.get_or_insert_with(begin);
    let since = |entry: &Entry| {
        let before = baseline.totals.get(entry.meter.id().as_str()).copied().unwrap_or_default();
        entry.meter.total().checked_sub(before).unwrap_or_default()
    };
    let rises: Vec<MicroJoules> = members.iter().map(|entry| since(entry)).collect();
    let (&seen, behind) = rises.split_first()?;
    let sum = behind.iter().fold(MicroJoules::ZERO, |sum, rise| sum.saturating_add(*rise));
    let uncertainty = members.iter().zip(&rises).map(|(entry, rise)| off(entry, *rise)).sum();
    let residual = signed(seen).saturating_sub(signed(sum));
    let length = at.saturating_sub(baseline.at);
    let verdict = verdict(length, residual, uncertainty, part(seen, site.tolerance_ppm));
    let comparison =
        Comparison { site: site.name.clone(), length, seen, sum, residual, uncertainty, verdict };
    let disagrees = matches!(verdict, Verdict::Missing | Verdict::Excess);
    if disagrees && !baseline.warned {
        say(&comparison);
    }
    baseline.warned = disagrees;
    if length >= MOST {
        let warned = baseline.warned;
        *baseline = Baseline { warned, ..begin() };
    }
    Some(comparison)
}

/// How far a meter's rise may be off: by what it is good for, and by a step of its counter at each end.
fn off(entry: &Entry, rise: MicroJoules) -> u128 {
    let ppm = entry.meter.spec().map_or(PPM, |spec| spec.uncertainty_ppm);
    part(rise, ppm).saturating_add(entry.meter.step().get().saturating_mul(2))
}

fn verdict(length: Duration, residual: i128, uncertainty: u128, tolerated: u128) -> Verdict {
    let beyond = residual.unsigned_abs() > uncertainty;
    if length < LEAST {
        Verdict::TooShort
    } else if residual < 0 && beyond {
        Verdict::Excess
    } else if residual > 0 && residual.unsigned_abs() > uncertainty.saturating_add(tolerated) {
        Verdict::Missing
    } else {
        Verdict::Agrees
    }
}

fn say(comparison: &Comparison) {
    let Comparison { site, seen, sum, length, verdict, .. } = comparison;
    let (seen, sum, seconds) = (seen.joules(), sum.joules(), length.as_secs());
    match verdict {
        Verdict::Missing => tracing::warn!(
            "site {site}: its meter saw {seen} J in {seconds} s and the meters behind it {sum} J: \
             something draws power that no meter knows of"
        ),
        Verdict::Excess => tracing::warn!(
            "site {site}: the meters behind it claim {sum} J in {seconds} s and its own saw {seen} J: \
             one of them is wrong"
        ),
        Verdict::TooShort | Verdict::Agrees => {}
    }
}

fn part(energy: MicroJoules, ppm: u32) -> u128 {
    energy.get().saturating_mul(ppm.into()) / u128::from(PPM)
}

fn signed(energy: MicroJoules) -> i128 {
    i128::try_from(energy.get()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use energy::counter::GapReason;

    use super::*;
    use crate::agent::testing::{entry, secs};

    fn site() -> Site {
        Site {
            name: "hall".to_owned(),
            meter: "pdu".to_owned(),
            behind: vec!["a".to_owned(), "b".to_owned()],
            tolerance_ppm: 50_000,
        }
    }

    /// Totals of the three meters, in joules.
    fn at(joules: [u64; 3]) -> Vec<Entry> {
        ["pdu", "a", "b"].iter().zip(joules).map(|(name, joules)| entry(name, joules)).collect()
    }

    #[test]
    fn what_no_meter_knows_of_is_missing_and_what_is_too_much_is_named() {
        for (joules, expected) in [
            ([1_000_000, 500_000, 480_000], Verdict::Agrees),
            ([1_000_000, 500_000, 350_000], Verdict::Missing),
            ([1_000_000, 700_000, 500_000], Verdict::Excess),
            ([1_000_000, 500_000, 520_000], Verdict::Agrees),
        ] {
            let mut books = Books::new(&[site()]);
            books.take(&at([7, 5, 3]), secs(100));
            let early = books.take(&at([8, 5, 3]), secs(110));
            assert_eq!(early[0].verdict, Verdict::TooShort);
            let later = joules.map(|joules| joules + 1);
            let later = [later[0] + 6, later[1] + 4, later[2] + 2];
            let [comparison] = &books.take(&at(later), secs(3_700))[..] else { panic!() };
            assert_eq!(comparison.verdict, expected, "{comparison:?}");
            assert_eq!(comparison.seen, MicroJoules::new(u128::from(joules[0]) * 1_000_000));
            let residual = i128::from(joules[0]) - i128::from(joules[1] + joules[2]);
            assert_eq!(comparison.residual, residual * 1_000_000);
            assert_eq!(comparison.length, secs(3_600));
        }
    }

    #[test]
    fn a_meter_that_lost_joules_begins_the_comparison_anew() {
        let mut books = Books::new(&[site()]);
        books.take(&at([0, 0, 0]), secs(0));
        let mut entries = at([1_000_000, 1, 1]);
        entries[1].state = State::Lost;
        assert_eq!(books.take(&entries, secs(1_000)), []);
        entries[1].state = State::Held;
        entries[1].error = Some(GapReason::ReadError.as_str().to_owned());
        assert_eq!(books.take(&entries, secs(1_030)), []);
        entries[1].state = State::Good;
        let [comparison] = &books.take(&entries, secs(1_060))[..] else { panic!() };
        assert_eq!((comparison.seen, comparison.length), (MicroJoules::ZERO, Duration::ZERO));
        assert_eq!(comparison.ratio(), None);
    }
}
