//! What the pool answered: counted altogether, and by itself in the measured window.

use std::{collections::BTreeMap, time::Duration};

use crate::delays::Delays;

/// Answers to shares.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Accepted since the start; what the pool's ledger must hold.
    pub(super) accepted: u64,
    /// Refused since the start, by code and words.
    pub(super) refused: BTreeMap<(i64, String), u64>,
    window: Option<Window>,
}

/// Answers that came in the measured window.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// From writing a share to reading its answer.
    pub(crate) delays: Vec<Duration>,
}

impl Tally {
    /// The window begins.
    pub(super) fn open(&mut self) {
        self.window = Some(Window::default());
    }

    /// The window ends.
    pub(super) fn close(&mut self) -> Window {
        self.window.take().unwrap_or_default()
    }

    pub(super) fn accept(&mut self, delay: Duration) {
        self.accepted += 1;
        if let Some(window) = &mut self.window {
            window.accepted += 1;
            window.delays.push(delay);
        }
    }

    pub(super) fn refuse(&mut self, delay: Duration, code: i64, message: String) {
        *self.refused.entry((code, message)).or_default() += 1;
        if let Some(window) = &mut self.window {
            window.refused += 1;
            window.delays.push(delay);
        }
    }
}

impl Window {
    /// Median, 95th and 99th percentile and maximum, in milliseconds.
    pub(super) fn delays_ms(&self) -> [f64; 4] {
        // No bar: the load generator holds nobody to anything.
        let delays = Delays::new(String::new(), Duration::MAX, self.delays.clone());
        [50, 95, 99, 100].map(|percent| delays.percentile(percent).as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_is_measured_and_everything_is_counted() {
        let mut tally = Tally::default();
        let millis = Duration::from_millis;
        tally.accept(millis(900));
        tally.open();
        for delay in 1..=100 {
            tally.accept(millis(delay));
        }
        tally.refuse(millis(200), 21, "stale job".to_owned());
        let window = tally.close();
        tally.accept(millis(900));
        tally.refuse(millis(1), 21, "stale job".to_owned());
        assert_eq!((window.accepted, window.refused), (100, 1));
        let ms = window.delays_ms();
        let expected = [51.0, 96.0, 100.0, 200.0];
        assert!(ms.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{ms:?}");
        assert_eq!(tally.accepted, 102);
        assert_eq!(tally.refused, BTreeMap::from([((21, "stale job".to_owned()), 2)]));
    }
}
