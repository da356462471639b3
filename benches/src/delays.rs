//! How long something took, many times over, beside the bar that it is held to. It deliberately
//! fails nothing: a busy machine is late, and that is for the reader to see.

use std::time::Duration;

/// Durations of the same thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delays {
    /// What took so long.
    pub(crate) name: String,
    /// What it should not exceed.
    pub(crate) bar: Duration,
    /// Shortest first.
    sorted: Vec<Duration>,
}

impl Delays {
    pub(crate) fn new(name: String, bar: Duration, mut delays: Vec<Duration>) -> Self {
        delays.sort_unstable();
        Self { name, bar, sorted: delays }
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The shortest that at least so many percent of all do not exceed; zero without any.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let place = (self.sorted.len() * percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(place).copied().unwrap_or_default()
    }

    /// How many are longer than the bar.
    pub(crate) fn over(&self) -> usize {
        self.sorted.iter().filter(|delay| **delay > self.bar).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let millis = Duration::from_millis;
        let delays = Delays::new("x".to_owned(), millis(5), (1..=20).rev().map(millis).collect());
        let [median, most, worst] = [50, 95, 100].map(|percent| delays.percentile(percent));
        assert_eq!([median, most, worst], [millis(10), millis(19), millis(20)]);
        assert_eq!((delays.count(), delays.over()), (20, 15));
        let none = Delays::new("x".to_owned(), millis(5), Vec::new());
        assert_eq!((none.percentile(50), none.over()), (Duration::ZERO, 0));
    }
}
