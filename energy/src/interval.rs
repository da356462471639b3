//! How far a number of hashes may be off that was counted by shares: exact intervals of a Poisson
//! count.
//!
//! A share at a target of work w turns up once in w hashes, so N shares prove about N w hashes, and
//! the truth lies between the quantiles of a Gamma of shape N (the lower end) and of shape N + 1
//! (the upper end), over N: the interval of Garwood (1936), whose quantiles are half of those of
//! chi-square with twice the degrees of freedom. Shares of different work w count as
//! (sum w)^2 / sum w^2 shares of one work, which is their number where all are alike: see
//! [`effective`].
//!
//! Deliberately in floats: an interval is an approximation of how wrong an exact figure may be, and
//! nothing is credited by it. The ledger has integers of its own for what headers show.

/// How sure an interval is, on both sides together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It holds in 95 of 100 cases: what is shown.
    Shown,
    /// It holds in 99.73 of 100 cases, as three standard deviations do: what verdicts are by.
    Verdict,
}

/// The ends of an interval as parts of the figure that it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// The lower end over the figure: 0 to 1.
    pub low: f64,
    /// The upper end over the figure: 1 or more, infinite where the figure is nothing.
    pub high: f64,
}

/// From this shape on the quantile of Wilson and Hilferty is right to five digits.
const LARGE: f64 = 250.0;
/// Nearer than this part of itself a quantile is not looked for.
const CLOSE: f64 = 1e-8;
/// Steps of a sum, and of the search for a quantile: none takes as many.
const STEPS_MAX: u32 = 10_000;
/// What is below this part of a figure is not looked for.
const NEGLIGIBLE: f64 = 1e-15;

impl Level {
    /// The part of cases that is beyond one end.
    const fn tail(self) -> f64 {
        match self {
            Self::Shown => 0.025,
            Self::Verdict => 0.001_35,
        }
    }

    /// How many standard deviations that is for a normal distribution.
    #[must_use]
    pub const fn deviations(self) -> f64 {
        match self {
            Self::Shown => 1.959_964,
            Self::Verdict => 2.999_977,
        }
    }

    /// An uncertainty of two standard deviations, as meters state theirs, at this level.
    #[must_use]
    pub fn widened(self, uncertainty: f64) -> f64 {
        match self {
            Self::Shown => uncertainty,
            Self::Verdict => uncertainty * 1.5,
        }
    }
}

impl Factors {
    /// The interval of a count of so many (effective) shares.
    #[must_use]
    pub fn of_count(count: f64, level: Level) -> Self {
        if !count.is_finite() || count <= 0.0 {
            return Self { low: 0.0, high: f64::INFINITY };
        }
        Self {
            low: quantile(count, level, false) / count,
            high: quantile(count + 1.0, level, true) / count,
        }
    }

    /// The interval of energy over work: the meters' uncertainty (two standard deviations, as a
    /// part of one) and the work's interval, which know nothing of one another, so that their
    /// squares add up.
    #[must_use]
    pub fn of_ratio(uncertainty: f64, work: Self, level: Level) -> Self {
        let meters = level.widened(uncertainty.max(0.0));
        let down = meters.hypot(1.0 - work.high.recip());
        let up = if work.low > 0.0 { meters.hypot(work.low.recip() - 1.0) } else { f64::INFINITY };
        Self { low: (1.0 - down).max(0.0), high: 1.0 + up }
    }
}

/// How many shares of one work tell as much as shares whose work sums up to `sum` and whose squares
/// of work to `squares`; never more than there are.
#[must_use]
pub fn effective(sum: f64, squares: f64, shares: u64) -> f64 {
    let most = float(shares);
    if squares > 0.0 && squares.is_finite() { (sum * sum / squares).min(most) } else { most }
}

#[expect(clippy::cast_precision_loss, reason = "an interval is an approximation")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// The point of a Gamma of this shape and scale 1 that the level's tail is beyond.
fn quantile(shape: f64, level: Level, upper: bool) -> f64 {
    let near = wilson_hilferty(shape, level, upper);
    if shape >= LARGE {
        return near;
    }
    let past = |x: f64| {
        let (below, above) = tails(shape, x);
        if upper { above < level.tail() } else { below > level.tail() }
    };
    let (mut low, mut high) = (0.0, shape + 12.0 * shape.sqrt() + 20.0);
    // Two probes beside the guess close the search in; halving does the rest.
    let close = 0.02 * shape.sqrt();
    let mut middle = near - close;
    for step in 0..100 {
        if middle > low && middle < high {
            *(if past(middle) { &mut high } else { &mut low }) = middle;
        }
        if high - low <= CLOSE * high {
            break;
        }
        middle = if step == 0 { near + close } else { f64::midpoint(low, high) };
    }
    f64::midpoint(low, high)
}

/// The quantile of Wilson and Hilferty (1931).
fn wilson_hilferty(shape: f64, level: Level, upper: bool) -> f64 {
    let z = if upper { level.deviations() } else { -level.deviations() };
    let base = 1.0 - (9.0 * shape).recip() + z / (3.0 * shape.sqrt());
    shape * base.max(0.0).powi(3)
}

/// The parts of a Gamma of this shape below and above `x`: the regularised incomplete Gamma
/// functions, by their series or their continued fraction (Abramowitz and Stegun, 6.5.29 and
/// 6.5.31), whichever gets there soon.
fn tails(shape: f64, x: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    let front = (shape.mul_add(x.ln(), -x) - ln_gamma(shape)).exp();
    if x < shape + 1.0 {
        let below = front * series(shape, x);
        (below, 1.0 - below)
    } else {
        let above = front * fraction(shape, x);
        (1.0 - above, above)
    }
}

fn series(shape: f64, x: f64) -> f64 {
    let mut term = shape.recip();
    let mut sum = term;
    for step in 1..STEPS_MAX {
        term *= x / (shape + f64::from(step));
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    sum
}

/// By the method of Lentz (1976).
fn fraction(shape: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut b = x + 1.0 - shape;
    let mut c = TINY.recip();
    let mut d = away(b).recip();
    let mut product = d;
    for step in 1..STEPS_MAX {
        let n = f64::from(step);
        let a = n * (shape - n);
        b += 2.0;
        d = away(a.mul_add(d, b)).recip();
        c = away(b + a / c);
        product *= d * c;
        if (d * c - 1.0).abs() < NEGLIGIBLE {
            break;
        }
    }
    product
}

/// ln Gamma by the series of Stirling (Abramowitz and Stegun, 6.1.41), moved up to where its next
/// term is below 10^-13.
fn ln_gamma(x: f64) -> f64 {
    let (mut at, mut moved) = (x, 1.0);
    while at < 20.0 {
        moved *= at;
        at += 1.0;
    }
    let square = (at * at).recip();
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0))) / at;
    (at - 0.5).mul_add(at.ln(), -at) + 0.5 * std::f64::consts::TAU.ln() + series - moved.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, known: f64) -> bool {
        (found - known).abs() <= 6e-4 * known
    }

    /// From tables of chi-square with 2 K degrees of freedom, halved.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (shape, low, high) in [
            (1.0, 0.025_318, 3.688_88),
            (3.0, 0.618_672, 7.224_69),
            (10.0, 4.795_39, 17.084_8),
            (50.0, 37.110_9, 64.780_6),
            (256.0, 225.598, 288.296),
        ] {
            let found = [false, true].map(|upper| quantile(shape, Level::Shown, upper));
            assert!(close(found[0], low) && close(found[1], high), "{shape}: {found:?}");
        }
        // Of a shape of 1 the tails are exponentials.
        assert!(close(quantile(1.0, Level::Verdict, false), -f64::ln_1p(-0.001_35)));
        assert!(close(quantile(1.0, Level::Verdict, true), -f64::ln(0.001_35)));
    }

    #[test]
    fn an_interval_is_garwoods_and_of_nothing_it_is_everything() {
        let ten = Factors::of_count(10.0, Level::Shown);
        assert!(close(ten.low, 0.479_54) && close(ten.high, 1.839_04), "{ten:?}");
        // 19.6 % at 100 shares, 1.96 % at 10,000, as the normal distribution has it.
        for (count, half) in [(100.0, 0.196), (10_000.0, 0.019_6), (1e8, 0.000_196)] {
            let found = Factors::of_count(count, Level::Shown);
            assert!((found.high - found.low - 2.0 * half).abs() < 0.06 * half, "{found:?}");
        }
        let nothing = Factors::of_count(0.0, Level::Shown);
        assert_eq!(nothing, Factors { low: 0.0, high: f64::INFINITY });
        assert_eq!(
            Factors::of_ratio(0.1, nothing, Level::Shown),
            Factors { low: 0.0, high: f64::INFINITY }
        );
    }

    #[test]
    fn meters_and_work_add_up_by_their_squares() {
        let work = Factors { low: 1.0 / 1.03, high: 1.0 / 0.97 };
        let both = Factors::of_ratio(0.04, work, Level::Shown);
        assert!(close(both.low, 0.95) && close(both.high, 1.05), "{both:?}");
        let wider = Factors::of_ratio(0.04, work, Level::Verdict);
        assert!(wider.low < both.low && wider.high > both.high);
    }

    #[test]
    fn shares_of_one_work_count_each_and_an_easy_one_hardly() {
        assert_eq!(effective(700.0, 7.0 * 100.0 * 100.0, 7), 7.0);
        let mixed = effective(1001.0, 1_000_001.0, 2);
        assert!((1.0..1.01).contains(&mixed), "{mixed}");
        assert_eq!(effective(5.0, 0.0, 3), 3.0);
    }

    proptest! {
        #[test]
        fn tails_sum_up_and_quantiles_are_where_they_say(
            shape in 0.5..2_000_f64, verdict: bool, upper: bool,
        ) {
            let level = if verdict { Level::Verdict } else { Level::Shown };
            let x = quantile(shape, level, upper);
            let (below, above) = tails(shape, x);
            prop_assert!((below + above - 1.0).abs() < 1e-9);
            let tail = if upper { above } else { below };
            prop_assert!((tail / level.tail() - 1.0).abs() < 2e-2, "{tail}");
        }

        #[test]
        fn more_shares_tell_more(count in 1.0..5_000_f64, more in 1.0..5_000_f64) {
            let few = Factors::of_count(count, Level::Shown);
            let many = Factors::of_count(count + more, Level::Shown);
            prop_assert!(few.low <= many.low && many.high <= few.high);
            prop_assert!(many.low < 1.0 && many.high > 1.0);
            let wide = Factors::of_count(count, Level::Verdict);
            prop_assert!(wide.low < few.low && wide.high > few.high);
        }
    }
}
