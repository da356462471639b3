//! What the pool owes to a worker, worked out a second time from the reports that it took, and held
//! against what the counters have shown.
//!
//! Read [`Epoch`], [`credited`], then [`settle`]. Within an epoch totals are cumulative, so that what
//! is credited is the last one less the first. Between two epochs lies what nobody was credited with:
//! the [`Loss`], from what the last report of the one had counted up to what the first of the other
//! begins with. It deliberately forgives nothing as rounding.
//!
//! Units: microjoules.

use std::time::{Duration, Instant};

use crate::demo::decimal::Decimal;
use crate::joules::history::{self, Shown, anchor};
use crate::joules::tap::{Report, Verdict};

/// What a killed miner may have metered and not written down: it does so every second.
pub(crate) const UNWRITTEN: Duration = Duration::from_secs(2);

/// A worker's reports of one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    /// The first that the pool took: a baseline.
    pub(crate) first: Mark,
    /// The last that it took.
    pub(crate) last: Mark,
    /// All totals, whatever became of them.
    totals: Vec<u128>,
}

/// A total, and when it was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) total: u128,
}

/// A life of the miner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) started: Instant,
    /// When it was killed, or asked to stop.
    pub(crate) ended: Instant,
}

/// What nobody was credited with, from one life to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) joules: u128,
    /// What the counter went on by from [`UNWRITTEN`] before the end to the next baseline.
    pub(crate) most: u128,
}

/// What the counter went on by, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// What the counter showed at the first baseline, and at the last reading.
    pub(crate) from: u128,
    pub(crate) to: u128,
    pub(crate) credited: u128,
    pub(crate) losses: Vec<Loss>,
}

/// The epochs of a worker, the first one first.
#[must_use]
pub(crate) fn epochs(reports: &[Report], worker: &str) -> Vec<Epoch> {
    let mut epochs: Vec<Epoch> = Vec::new();
    let of_worker = || reports.iter().filter(|report| report.worker == worker);
    for report in of_worker().filter(|report| report.verdict == Verdict::Taken) {
        let mark = Mark { at: report.at, total: report.total };
        match epochs.iter_mut().find(|epoch| epoch.number == report.epoch) {
            Some(epoch) if mark.total >= epoch.last.total => epoch.last = mark,
            Some(_) => {}
            None => {
                let number = report.epoch;
                epochs.push(Epoch { number, first: mark, last: mark, totals: Vec::new() });
            }
        }
    }
    for epoch in &mut epochs {
        let in_epoch = of_worker().filter(|report| report.epoch == epoch.number);
        epoch.totals = in_epoch.map(|report| report.total).collect();
    }
    epochs.sort_by_key(|epoch| epoch.number);
    epochs
}

/// What the pool owes for these.
pub(crate) fn credited(epochs: &[Epoch]) -> u128 {
    epochs.iter().map(|epoch| epoch.last.total.saturating_sub(epoch.first.total)).sum()
}

/// For people.
pub(crate) fn joules(microjoules: u128) -> Decimal {
    Decimal::from_millionths(microjoules)
}

/// Holds a worker's epochs against what its counter has shown, a life for each.
///
/// # Errors
/// Where something was counted twice, or that the counter did not show, or more is lost than may be.
pub(crate) fn settle(
    epochs: &[Epoch],
    lives: &[Life],
    counter: &[Shown],
) -> Result<Account, String> {
    if epochs.len() != lives.len() {
        return Err(format!(
            "{} epochs are expected, one for each of its lives, and it reported {}: a meter has lost \
             joules, or an epoch was never reported",
            lives.len(),
            epochs.len()
        ));
    }
    let mut spans = Vec::new();
    for (epoch, life) in epochs.iter().zip(lives) {
        let anchor = anchor(counter, (life.started, epoch.first.at), &epoch.totals)
            .map_err(|why| format!("epoch {}: {why}", epoch.number))?;
        spans.push((anchor + epoch.first.total, anchor + epoch.last.total));
    }
    let mut losses = Vec::new();
    for ((life, next), span) in lives.iter().zip(epochs.iter().skip(1)).zip(spans.windows(2)) {
        losses.push(loss(life, next, (span[0].1, span[1].0), counter)?);
    }
    let (Some((from, _)), Some((_, to))) = (spans.first(), spans.last()) else {
        return Err("nothing was reported".to_owned());
    };
    said_goodbye(*to, lives, counter)?;
    Ok(Account { from: *from, to: *to, credited: credited(epochs), losses })
}

fn loss(
    life: &Life,
    next: &Epoch,
    (reported, baseline): (u128, u128),
    counter: &[Shown],
) -> Result<Loss, String> {
    let Some(lost) = baseline.checked_sub(reported) else {
        let (reported, baseline) = (joules(reported), joules(baseline));
        return Err(format!(
            "it reported up to {reported} J of the counter, and its next epoch {} begins before, at \
             {baseline} J: that is counted twice",
            next.number
        ));
    };
    let since = life.ended.checked_sub(UNWRITTEN).unwrap_or(life.started);
    let most = baseline.saturating_sub(history::at(counter, since));
    if lost > most {
        let (lost, most, seconds) = (joules(lost), joules(most), UNWRITTEN.as_secs());
        return Err(format!(
            "at most {most} J, all from {seconds} s before it was killed until epoch {} began, are \
             expected to be lost, and {lost} J are",
            next.number
        ));
    }
    Ok(Loss { joules: lost, most })
}

/// Who is asked to stop reports what he has metered until then.
fn said_goodbye(to: u128, lives: &[Life], counter: &[Shown]) -> Result<(), String> {
    let asked = lives.last().map_or(0, |life| history::at(counter, life.ended));
    if to >= asked {
        return Ok(());
    }
    let (asked, to) = (joules(asked), joules(to));
    Err(format!(
        "its last report is expected to be of the counter's {asked} J or more, where it was asked to \
         stop, and is of {to} J"
    ))
}

impl Account {
    /// Everything that was lost.
    pub(crate) fn lost(&self) -> u128 {
        self.losses.iter().map(|loss| loss.joules).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const J: u128 = 1_000_000;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn report(at: Instant, epoch: u64, total: u128, verdict: Verdict) -> Report {
        Report::noted(at, "a.rig1", epoch, total * J, verdict)
    }

    /// A counter that goes on by 10, 11, 12 J and so on each second.
    fn counter(begun: Instant) -> Vec<Shown> {
        let mut value = 0;
        let shown = |second: u64| {
            value += (10 + u128::from(second)) * J;
            Shown { at: begun + secs(second), value }
        };
        (0..60).map(shown).collect()
    }

    /// The counter at a second, in joules.
    fn shown(second: u128) -> u128 {
        10 * (second + 1) + second * (second + 1) / 2
    }

    /// Two lives: from second 2 to 10, and from 14 on; the last words are of second 9.
    fn story(begun: Instant) -> (Vec<Report>, [Life; 2]) {
        let at = |second| begun + secs(second);
        let of = |second, from| shown(second) - shown(from);
        let reports = vec![
            report(at(3), 1, of(3, 2), Verdict::Taken),
            report(at(6), 1, of(6, 2), Verdict::Taken),
            report(at(8), 1, of(8, 2), Verdict::Open),
            report(at(15), 1, of(9, 2), Verdict::Taken),
            report(at(15), 2, of(15, 14), Verdict::Taken),
            report(at(15), 2, of(15, 14), Verdict::Refused("twice".to_owned())),
            report(at(20), 2, of(20, 14), Verdict::Taken),
        ];
        let lives =
            [Life { started: at(1), ended: at(10) }, Life { started: at(14), ended: at(20) }];
        (reports, lives)
    }

    #[test]
    fn what_is_credited_and_what_is_lost_make_what_the_counter_went_on_by() {
        let begun = clock::now();
        let (reports, lives) = story(begun);
        let epochs = epochs(&reports, "a.rig1");
        let account = settle(&epochs, &lives, &counter(begun)).unwrap();
        assert_eq!((account.from, account.to), (shown(3) * J, shown(20) * J));
        assert_eq!(account.lost(), (shown(15) - shown(9)) * J);
        assert_eq!(account.losses[0].most, (shown(15) - shown(8)) * J);
        assert_eq!(account.credited + account.lost(), account.to - account.from);
        assert!(self::epochs(&reports, "a.farm1").is_empty());
    }

    #[test]
    fn without_last_words_too_much_is_lost() {
        let begun = clock::now();
        let (mut reports, lives) = story(begun);
        reports.remove(3);
        let why = settle(&epochs(&reports, "a.rig1"), &lives, &counter(begun)).unwrap_err();
        assert!(why.contains("are expected to be lost, and 189 J are"), "{why}");
    }

    #[test]
    fn what_is_counted_twice_or_never_shown_is_told() {
        let begun = clock::now();
        let (mut reports, mut lives) = story(begun);
        reports[3].total += J;
        let why = settle(&epochs(&reports, "a.rig1"), &lives, &counter(begun)).unwrap_err();
        assert!(why.contains("epoch 1: there is no figure"), "{why}");
        reports[3].total = (shown(17) - shown(2)) * J;
        let why = settle(&epochs(&reports, "a.rig1"), &lives, &counter(begun)).unwrap_err();
        assert!(why.contains("counted twice"), "{why}");
        let (reports, _) = story(begun);
        let epochs = epochs(&reports, "a.rig1");
        let why = settle(&epochs, &lives[..1], &counter(begun)).unwrap_err();
        assert!(why.contains("1 epochs are expected"), "{why}");
        lives[1].ended += secs(1);
        let why = settle(&epochs, &lives, &counter(begun)).unwrap_err();
        assert!(why.contains("asked to stop"), "{why}");
    }
}
