//! Two things that are measured in turn, A B A B, so that whatever else the machine does in these
//! minutes disturbs both alike. What counts is the median of the pairs' ratios.

/// Rates of two sides, pair by pair.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pairs {
    /// What is compared.
    pub(crate) name: String,
    /// The first side of every pair.
    pub(crate) ours: String,
    /// The second.
    pub(crate) theirs: String,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// Units per second of both sides.
    pub(crate) rates: Vec<(f64, f64)>,
}

/// What the pairs say together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// Of the pairs' ratios, ours to theirs.
    pub(crate) median_ratio: f64,
    pub(crate) lowest_ratio: f64,
    pub(crate) highest_ratio: f64,
    /// The best rate of ours to the best of theirs.
    pub(crate) ratio_of_best: f64,
    /// Units per second.
    pub(crate) median_ours: f64,
    pub(crate) median_theirs: f64,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Theirs,
}

/// Measures so many pairs, each side's turn giving units per second.
pub(crate) fn in_turn<E>(
    pairs: u32,
    mut turn: impl FnMut(Side) -> Result<f64, E>,
) -> Result<Vec<(f64, f64)>, E> {
    (0..pairs).map(|_| Ok((turn(Side::Ours)?, turn(Side::Theirs)?))).collect()
}

impl Pairs {
    /// Ours to theirs, pair by pair.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.rates.iter().map(|(ours, theirs)| ours / theirs).collect()
    }

    /// `None` without a pair.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let ratios = sorted(self.ratios());
        let [ours, theirs] = [|pair: &(f64, f64)| pair.0, |pair: &(f64, f64)| pair.1]
            .map(|side| sorted(self.rates.iter().map(side).collect()));
        Some(Summary {
            median_ratio: median(&ratios)?,
            lowest_ratio: *ratios.first()?,
            highest_ratio: *ratios.last()?,
            ratio_of_best: ours.last()? / theirs.last()?,
            median_ours: median(&ours)?,
            median_theirs: median(&theirs)?,
        })
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values; of an even number, the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted[sorted.len() / 2 - 1];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns() {
        let mut turns = Vec::new();
        let rates = in_turn(3, |side| {
            turns.push(side);
            Ok::<f64, ()>(if side == Side::Ours { 3.0 } else { 2.0 })
        });
        assert_eq!(turns, [Side::Ours, Side::Theirs].repeat(3));
        assert_eq!(rates, Ok(vec![(3.0, 2.0); 3]));
    }

    #[test]
    fn the_first_failure_ends_the_turns() {
        let mut turns = 0;
        let rates = in_turn(3, |side| {
            turns += 1;
            if side == Side::Ours { Ok(1.0) } else { Err("silent") }
        });
        assert_eq!((rates, turns), (Err("silent"), 2));
    }

    #[test]
    fn the_median_is_of_the_ratios() {
        let pairs = |rates: &[(f64, f64)]| Pairs {
            name: "x".to_owned(),
            ours: "a".to_owned(),
            theirs: "b".to_owned(),
            unit: "hashes",
            rates: rates.to_vec(),
        };
        // Ratios 2, 1.25 and 1.5.
        let odd = pairs(&[(20.0, 10.0), (5.0, 4.0), (15.0, 10.0)]).summary().unwrap();
        let expected = Summary {
            median_ratio: 1.5,
            lowest_ratio: 1.25,
            highest_ratio: 2.0,
            ratio_of_best: 2.0,
            median_ours: 15.0,
            median_theirs: 10.0,
        };
        assert_eq!(odd, expected);
        let even = pairs(&[(20.0, 10.0), (10.0, 10.0)]).summary().unwrap();
        assert!((even.median_ratio - 1.5).abs() < 1e-12, "{even:?}");
        assert_eq!(pairs(&[]).summary(), None);
    }
}
