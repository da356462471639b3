//! What a counter of ours has shown, and when: the truth that the pool's figures are held against.
//!
//! Read [`History::note`] and [`anchor`]. Totals that somebody else reports count from a moment that
//! he alone knows. But what our counter shows rises by random amounts, so that there is only one
//! moment from which all of his totals end on figures that it has shown. It deliberately knows nothing
//! of wraps: its figures are what a counter that never wraps would show.
//!
//! Units: microjoules.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Figures kept: an hour of twenty a second.
const MOST: usize = 72_000;

/// A counter's figures, shared between who raises it and who looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<Vec<Shown>>>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// It was shown from here on.
    pub(crate) at: Instant,
    pub(crate) value: u128,
}

impl History {
    /// Notes a figure, before anybody can see it.
    ///
    /// # Errors
    /// Where there are too many.
    pub(crate) fn note(&self, at: Instant, value: u128) -> Result<(), String> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() >= MOST {
            return Err(format!("a counter has shown {MOST} figures, and no more are kept"));
        }
        shown.push(Shown { at, value });
        Ok(())
    }

    /// All of them, the first one first.
    pub(crate) fn all(&self) -> Vec<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What was shown at that time: the newest figure that is not younger, else the first.
pub(crate) fn at(history: &[Shown], when: Instant) -> u128 {
    let until = history.partition_point(|shown| shown.at <= when);
    history.get(until.saturating_sub(1)).map_or(0, |shown| shown.value)
}

/// The one figure, shown from `since` until `until`, from which on all of these totals count.
///
/// # Errors
/// Where there is none, since somebody counted what was not shown; or several that totals begin to
/// count from, since there are too few of them to tell.
pub(crate) fn anchor(
    history: &[Shown],
    (since, until): (Instant, Instant),
    totals: &[u128],
) -> Result<u128, String> {
    let first = history.partition_point(|shown| shown.at <= since).saturating_sub(1);
    let last = history.partition_point(|shown| shown.at <= until);
    let window = history.get(first..last).unwrap_or_default();
    let was_shown = |value: u128| history.binary_search_by_key(&value, |shown| shown.value).is_ok();
    let fits = |from: u128| totals.iter().all(|total| was_shown(from.saturating_add(*total)));
    let mut found: Vec<u128> =
        window.iter().map(|shown| shown.value).filter(|value| fits(*value)).collect();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(*one),
        // A run that was killed before its counter rose again: it has added nothing, from wherever.
        [.., last] if totals.iter().all(|total| *total == 0) => Ok(*last),
        [] => Err(format!(
            "there is no figure from which on totals of {totals:?} microjoules end on figures that \
             the counter has shown"
        )),
        several => Err(format!("{} figures fit totals of {totals:?} microjoules", several.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    /// Shown at seconds 1, 2, 3 and so on after the instant.
    fn history(values: &[u128]) -> (Instant, Vec<Shown>) {
        let begun = clock::now();
        let at = |second| begun + Duration::from_secs(second);
        let shown =
            (1..).zip(values).map(|(second, value)| Shown { at: at(second), value: *value });
        (begun, shown.collect())
    }

    #[test]
    fn a_figure_stands_until_the_next() {
        let (begun, history) = history(&[10, 17, 31]);
        let at = |millis| at(&history, begun + Duration::from_millis(millis));
        assert_eq!([at(0), at(1000), at(2999), at(3000), at(9000)], [10, 10, 17, 31, 31]);
    }

    #[test]
    fn totals_tell_where_they_count_from() {
        let (begun, history) = history(&[10, 17, 31, 40, 44]);
        let seconds = |second| begun + Duration::from_secs(second);
        let all = (begun, seconds(9));
        assert_eq!(anchor(&history, all, &[0, 14, 23]), Ok(17));
        let late = (seconds(3), seconds(4));
        assert!(anchor(&history, late, &[0, 14]).unwrap_err().contains("no figure"));
        assert_eq!(anchor(&history, late, &[0, 13]), Ok(31));
        assert!(anchor(&history, all, &[0, 15]).is_err(), "that was not shown");
        assert!(anchor(&history, all, &[4, 7]).is_err(), "nothing counts so");
        assert_eq!(anchor(&history, all, &[0]), Ok(44), "nothing was added, from wherever");
    }

    #[test]
    fn a_history_is_bounded() {
        let (history, now) = (History::default(), clock::now());
        assert!((0..MOST).all(|_| history.note(now, 1).is_ok()));
        assert!(history.note(now, 1).is_err());
        assert_eq!(history.all().len(), MOST);
    }
}
