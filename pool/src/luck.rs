//! Luck in figures: how likely it is that an honest miner finds as few blocks as an account did.
//!
//! Each share is a block with a small probability of its own, so the blocks that shares bring are
//! Poisson-distributed around the number expected of them. A miner that hands in its shares and
//! keeps back those that are blocks cannot be told from an honest one by any share; but the blocks
//! that it does not find become ever less likely. Read [`Luck`], then [`Watch::judge`].
//!
//! Tails are computed as logarithms, so that one of 10^-400 is that and not zero. It deliberately
//! punishes nobody: with enough accounts some honest one is always that unlucky, and the reason
//! that is given says how many to expect.

use defences::{Defence, stands};
use ledger::AccountLuck;

/// Terms of a tail after which what is left is below any digit of the sum.
const NEGLIGIBLE: f64 = 1e-18;
/// Terms that are added at most: at a million blocks expected some 10,000 are enough.
const TERMS_MAX: u32 = 10_000_000;
/// Decimals of the blocks expected where they are exact figures.
const DECIMALS: u32 = 12;
/// From here on a factorial is a series.
const SERIES_FROM: u64 = 20;

/// Blocks expected of shares, and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Luck {
    /// Blocks expected, in parts of 2^64.
    pub score: u128,
    /// Blocks found, whatever became of them.
    pub found: u64,
    /// Those of them that the chain decided on.
    pub decided: u64,
    /// Those of the decided ones that are not on the chain.
    pub orphaned: u64,
}

/// A probability, kept as its natural logarithm.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Probability(f64);

/// When an account is suspected of keeping blocks back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watch {
    /// An account is suspected when luck as bad as its own is less likely than this.
    pub below: f64,
}

impl Probability {
    /// The probability as such; 0 where it is below what a float can hold.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0.exp()
    }

    /// Its natural logarithm, at most 0.
    #[must_use]
    pub const fn ln(self) -> f64 {
        self.0
    }

    fn of_ln(ln: f64) -> Self {
        Self(ln.min(0.0))
    }

    fn complement(self) -> Self {
        Self::of_ln((-self.0.exp()).ln_1p())
    }

    /// "once in so many times".
    fn once_in(self) -> String {
        let times = (-self.0).exp();
        if times < 1e6 { format!("{times:.0}") } else { format!("{times:.1e}") }
    }
}

impl Luck {
    /// Blocks expected.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a probability is an approximation")]
    pub fn expected(self) -> f64 {
        self.score as f64 / 2_f64.powi(64)
    }

    /// Blocks expected, rounded down to the twelfth decimal.
    #[must_use]
    pub fn expected_decimal(self) -> String {
        let unit = 10_u128.pow(DECIMALS);
        let fraction = u128::from(u64::try_from(self.score & u128::from(u64::MAX)).unwrap_or(0));
        format!("{}.{:012}", self.score >> 64, (fraction * unit) >> 64)
    }

    /// Blocks found over blocks expected; `None` while none is expected.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        (self.score > 0).then(|| float(self.found) / self.expected())
    }

    /// Of the blocks that the chain decided on, the part that is not on it; `None` without any.
    #[must_use]
    pub fn orphan_rate(self) -> Option<f64> {
        (self.decided > 0).then(|| float(self.orphaned) / float(self.decided))
    }

    /// How likely as few blocks as were found are, or fewer, for one who hands in all of them.
    #[must_use]
    pub fn at_most(self) -> Probability {
        at_most(self.found, self.expected())
    }

    /// How likely as many blocks as were found are, or more.
    #[must_use]
    pub fn at_least(self) -> Probability {
        at_least(self.found, self.expected())
    }

    /// The two together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            score: self.score.saturating_add(other.score),
            found: self.found.saturating_add(other.found),
            decided: self.decided.saturating_add(other.decided),
            orphaned: self.orphaned.saturating_add(other.orphaned),
        }
    }
}

impl From<&AccountLuck> for Luck {
    fn from(luck: &AccountLuck) -> Self {
        let AccountLuck { account: _, score, found, decided, orphaned } = *luck;
        Self { score, found, decided, orphaned }
    }
}

impl Watch {
    /// Why an account with this luck is suspected, as one of so many accounts that are looked at;
    /// `None` when it is not.
    #[must_use]
    pub fn judge(self, luck: Luck, accounts: usize) -> Option<String> {
        // Nobody's luck is worse than finding nothing, exp(-expected): mostly there is no more to do.
        let worst = Probability::of_ln(-luck.expected());
        if worst.get() >= self.below || !stands(Defence::WithheldBlocks) {
            return None;
        }
        let chance = luck.at_most();
        (chance.get() < self.below).then(|| {
            let by_chance = chance.get() * float(u64::try_from(accounts).unwrap_or(u64::MAX));
            format!(
                "its shares were expected to find {:.2} blocks and it found {}; an honest miner is \
                 this unlucky once in {} times (of {accounts} honest accounts {by_chance:.1e} would \
                 be): it may be keeping blocks back, or its hardware loses them",
                luck.expected(),
                luck.found,
                chance.once_in(),
            )
        })
    }
}

/// P(X <= k) for X Poisson-distributed around `mean`. A mean that is not above 0 counts as 0.
#[must_use]
pub fn at_most(k: u64, mean: f64) -> Probability {
    if mean.is_nan() || mean <= 0.0 {
        return Probability(0.0);
    }
    if float(k) < mean { below(k, mean) } else { above(k.saturating_add(1), mean).complement() }
}

/// P(X >= k) for X Poisson-distributed around `mean`. A mean that is not above 0 counts as 0.
#[must_use]
pub fn at_least(k: u64, mean: f64) -> Probability {
    match k.checked_sub(1) {
        None => Probability(0.0),
        Some(_) if mean.is_nan() || mean <= 0.0 => Probability(f64::NEG_INFINITY),
        Some(less) if float(less) < mean => below(less, mean).complement(),
        Some(_) => above(k, mean),
    }
}

/// P(X <= k) for k below the mean: terms fall from the last one on.
fn below(k: u64, mean: f64) -> Probability {
    let ratios = (0..k).rev().map(|less| float(less + 1) / mean);
    Probability::of_ln(ln_term(k, mean) + ln_sum(ratios))
}

/// P(X >= k) for k above the mean: terms fall from the first one on.
fn above(k: u64, mean: f64) -> Probability {
    let ratios = (1..).map(|more| mean / float(k.saturating_add(more)));
    Probability::of_ln(ln_term(k, mean) + ln_sum(ratios))
}

/// ln(1 + r1 + r1 r2 + …) for ratios that fall and are at most 1.
fn ln_sum(ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for (ratio, _) in ratios.zip(0..TERMS_MAX) {
        term *= ratio;
        sum += term;
        // With ratios that fall the rest is less than this.
        if term * ratio <= NEGLIGIBLE * sum * (1.0 - ratio) {
            break;
        }
    }
    f64::ln(sum)
}

/// The logarithm of P(X = k): mean^k e^-mean / k!.
fn ln_term(k: u64, mean: f64) -> f64 {
    float(k).mul_add(mean.ln(), -mean) - ln_factorial(k)
}

/// ln k!: exact to the last digits by the series of Stirling (Abramowitz and Stegun, 6.1.41),
/// whose next term is below 10^-13 at 20.
fn ln_factorial(k: u64) -> f64 {
    if k <= SERIES_FROM {
        return float((1..=k).product()).ln();
    }
    let n = float(k);
    let square = (n * n).recip();
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0))) / n;
    (n + 0.5).mul_add(n.ln(), -n) + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[expect(clippy::cast_precision_loss, reason = "a probability is an approximation")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: u128 = 1 << 64;

    fn luck(expected: u128, found: u64) -> Luck {
        Luck { score: expected * BLOCK, found, ..Luck::default() }
    }

    fn close(found: f64, known: f64) -> bool {
        (found - known).abs() <= 1e-9 * known.abs()
    }

    /// Values summed term by term with 60 digits: k, mean, P(X <= k), P(X >= k).
    #[test]
    fn tails_are_the_known_ones() {
        for (k, mean, most, least) in [
            (0, 12.0, 6.144_212_353_328_21e-6, 1.0),
            (0, 9.3, 9.142_423_147_817_334e-5, 1.0),
            (5, 10.0, 6.708_596_287_903_18e-2, 9.707_473_119_230_39e-1),
            (10, 10.0, 5.830_397_501_929_855e-1, 5.420_702_855_281_478e-1),
            (14, 10.0, 9.165_415_270_653_372e-1, 1.355_355_773_806_89e-1),
            (100, 150.0, 9.050_259_570_857_873e-6, 9.999_940_754_596_646e-1),
            (150, 150.0, 5.216_971_797_074_769e-1, 5.108_582_297_493_597e-1),
            (1000, 1200.0, 1.553_146_982_114_222e-9, 9.999_999_987_118_394e-1),
            (3, 0.5, 9.982_483_774_437_092e-1, 1.438_767_796_697_068_7e-2),
            (50, 5.0, 1.0, 2.181_059_214_078_488_7e-32),
            (100_000, 100_500.0, 5.746_621_797_223e-2, 9.428_967_300_239_713e-1),
        ] {
            let (got_most, got_least) = (at_most(k, mean).get(), at_least(k, mean).get());
            assert!(close(got_most, most), "P(X <= {k} | {mean}) is {most}, not {got_most}");
            assert!(close(got_least, least), "P(X >= {k} | {mean}) is {least}, not {got_least}");
        }
    }

    #[test]
    fn what_no_float_can_hold_has_a_logarithm() {
        let chance = at_most(0, 5_000.0);
        assert_eq!((chance.get(), chance.ln()), (0.0, -5_000.0));
        assert!(at_least(10_000, 1.0).ln() < -80_000.0);
        assert!(chance < at_most(1, 5_000.0));
    }

    #[test]
    fn of_nothing_nothing_is_expected() {
        assert_eq!(at_most(0, 0.0).get(), 1.0);
        assert_eq!(at_most(7, -1.0).get(), 1.0);
        assert_eq!(at_most(7, f64::NAN).get(), 1.0);
        assert_eq!((at_least(0, 0.0).get(), at_least(1, 0.0).get()), (1.0, 0.0));
        assert_eq!(luck(0, 3).ratio(), None);
        assert_eq!(luck(4, 3).ratio(), Some(0.75));
        assert_eq!(luck(4, 3).orphan_rate(), None);
        assert_eq!(Luck { decided: 4, orphaned: 1, ..luck(4, 5) }.orphan_rate(), Some(0.25));
    }

    #[test]
    fn blocks_expected_have_twelve_decimals_rounded_down() {
        let shown = |score| Luck { score, ..Luck::default() }.expected_decimal();
        assert_eq!(shown(0), "0.000000000000");
        assert_eq!(shown(BLOCK * 12 + BLOCK / 4), "12.250000000000");
        assert_eq!(shown(BLOCK / 3), "0.333333333333");
        assert_eq!(shown(BLOCK - 1), "0.999999999999");
        assert_eq!(shown(u128::MAX), "18446744073709551615.999999999999");
    }

    #[test]
    fn an_account_that_keeps_blocks_back_is_suspected_and_an_honest_one_is_not() {
        let watch = Watch { below: 1e-4 };
        let reason = watch.judge(luck(12, 0), 3).expect("12 expected, none found");
        for part in
            ["12.00 blocks", "found 0", "once in 162755 times", "of 3 honest accounts 1.8e-5"]
        {
            assert!(reason.contains(part), "{part:?} in {reason:?}");
        }
        assert!(watch.judge(luck(150, 100), 3).is_some(), "a third is kept back");
        for honest in [luck(12, 12), luck(12, 3), luck(9, 0), luck(0, 0), luck(150, 120)] {
            assert_eq!(watch.judge(honest, 3), None, "{honest:?}");
        }
        assert!(Watch { below: 0.01 }.judge(luck(9, 0), 3).is_some(), "as it is set");
    }

    proptest! {
        #[test]
        fn the_two_tails_share_one_term(k in 0_u64..3_000, mean in 1e-3..3_000_f64) {
            let (most, least) = (at_most(k, mean).get(), at_least(k, mean).get());
            let shared = ln_term(k, mean).exp();
            prop_assert!((most + least - 1.0 - shared).abs() < 1e-9, "{most} {least} {shared}");
            prop_assert!((0.0..=1.0).contains(&most) && (0.0..=1.0).contains(&least));
        }

        #[test]
        fn more_blocks_are_better_luck_and_more_expected_worse(
            k in 0_u64..2_000, mean in 1e-3..2_000_f64, more in 1e-3..50_f64,
        ) {
            prop_assert!(at_most(k, mean) <= at_most(k + 1, mean));
            prop_assert!(at_most(k, mean + more).ln() <= at_most(k, mean).ln() + 1e-12);
            prop_assert!(at_least(k + 1, mean) <= at_least(k, mean));
        }

        #[test]
        fn a_tail_is_the_sum_of_its_terms(k in 0_u64..60, mean in 1e-2..60_f64) {
            let sum: f64 = (0..=k).map(|less| ln_term(less, mean).exp()).sum();
            prop_assert!((at_most(k, mean).get() - sum).abs() <= 1e-11 * sum);
        }

        #[test]
        fn any_luck_has_a_verdict(score: u128, found in 0_u64..10_000, accounts: usize) {
            let luck = Luck { score, found, ..Luck::default() };
            prop_assert!(!luck.at_most().ln().is_nan() && !luck.at_least().ln().is_nan());
            let _ = Watch { below: 1e-4 }.judge(luck, accounts);
        }
    }
}
