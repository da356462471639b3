//! How a device's own power figure compares with a better meter's: a line through pairs of readings.
//!
//! Read [`fit`], then [`Calibration`]. A plug and the device behind it are read together for a while;
//! the line `plug = slope x device + offset` that leaves the least squares is the calibration, and what
//! it leaves over is its uncertainty. With one load alone a slope cannot be told from an offset: the
//! line then goes through zero, and says so.
//!
//! A calibrated figure is one tier better, at most [`Tier::DEVICE_REPORTED`] for a modelled one, and
//! no surer than the meter that it was held against. A calibration is of one device with one
//! firmware: another firmware may count otherwise.
//!
//! Units: milliwatts; slopes and residuals in parts per million. Floats are inside the fit alone.

use units::MilliWatts;

use crate::meter::{Kind, MeterSpec, PPM, Tier};

/// Pairs that a fit takes at the least, and at the most.
pub const PAIRS: std::ops::RangeInclusive<usize> = 10..=100_000;
/// Slopes that can be true: a supply is at least half efficient, and a sensor at least half right.
const SLOPES: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// The loads must differ by so much of their mean for a slope to be told from an offset.
const SPREAD: f64 = 0.15;
/// A line that leaves more than this over describes nothing, in parts per million of the mean.
const RESIDUAL_MOST_PPM: u32 = 100_000;

/// Readings of both, taken at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What the device says of itself.
    pub device: MilliWatts,
    /// What the better meter says.
    pub plug: MilliWatts,
}

/// The line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// By how much a watt of the device's is more than one, in parts per million: 1,200,000 for 1.2.
    pub slope_ppm: u32,
    /// What is added after that, in milliwatts.
    pub offset_milliwatts: i64,
    /// How far the line is off, in parts per million of the mean power (two standard deviations).
    pub residual_ppm: u32,
    /// The better meter's own uncertainty, in parts per million.
    pub reference_ppm: u32,
    /// The firmware that it was made with, where the device says one: it holds for no other.
    pub firmware: Option<String>,
}

/// The line, as it is written into a meter's source.
impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.slope_ppm / PPM, self.slope_ppm % PPM);
        write!(f, "x {whole}.{part:06} {:+} mW", self.offset_milliwatts)
    }
}

/// A fit, with what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The line.
    pub calibration: Calibration,
    /// Pairs that went into it.
    pub pairs: usize,
    /// Whether a slope and an offset could be told apart.
    pub two_loads: bool,
    /// The part of the variance that the line explains; 1 where there is none to explain.
    pub r_squared: f64,
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoFit {
    /// Not enough pairs, or too many.
    #[error("{0} pairs of readings; {least} to {most} are needed", least = PAIRS.start(), most = PAIRS.end())]
    Pairs(usize),
    /// A slope that no supply and no sensor has.
    #[error("a slope of {0:.3}: these two do not measure the same thing")]
    Slope(f64),
    /// The readings lie around no line.
    #[error("the readings are {0:.1} % off any line: these two do not measure the same thing")]
    Scattered(f64),
}

/// The line through `pairs`; `reference_ppm` is the better meter's own uncertainty.
///
/// # Errors
/// Why there is none.
pub fn fit(pairs: &[Pair], reference_ppm: u32) -> Result<Fit, NoFit> {
    if !PAIRS.contains(&pairs.len()) {
        return Err(NoFit::Pairs(pairs.len()));
    }
    let points: Vec<(f64, f64)> =
        pairs.iter().map(|pair| (watts(pair.device), watts(pair.plug))).collect();
    let (mean_x, mean_y) = (mean(points.iter().map(|p| p.0)), mean(points.iter().map(|p| p.1)));
    let spread = (mean(points.iter().map(|p| (p.0 - mean_x).powi(2)))).sqrt();
    let two_loads = spread >= SPREAD * mean_x / 2.0;
    let (slope, offset) = if two_loads {
        let cross = mean(points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)));
        let slope = cross / spread.powi(2);
        (slope, mean_y - slope * mean_x)
    } else {
        (mean_y / mean_x, 0.0)
    };
    if !SLOPES.contains(&slope) {
        return Err(NoFit::Slope(slope));
    }
    let left = mean(points.iter().map(|p| (p.1 - slope * p.0 - offset).powi(2)));
    let variance = mean(points.iter().map(|p| (p.1 - mean_y).powi(2)));
    let residual_ppm = to_ppm(2.0 * left.sqrt() / mean_y);
    if residual_ppm > RESIDUAL_MOST_PPM {
        return Err(NoFit::Scattered(f64::from(residual_ppm) / 1e4));
    }
    let calibration = Calibration {
        slope_ppm: to_ppm(slope),
        offset_milliwatts: to_milliwatts(offset),
        residual_ppm,
        reference_ppm,
        firmware: None,
    };
    let r_squared = if variance > 0.0 { (1.0 - left / variance).max(0.0) } else { 1.0 };
    Ok(Fit { calibration, pairs: pairs.len(), two_loads, r_squared })
}

impl Calibration {
    /// The power that the better meter would show; never below zero.
    #[must_use]
    pub fn apply(&self, power: MilliWatts) -> MilliWatts {
        let scaled = u128::from(power.get()).saturating_mul(self.slope_ppm.into());
        let scaled = i128::try_from(scaled / u128::from(PPM)).unwrap_or(i128::MAX);
        let shifted = scaled.saturating_add(self.offset_milliwatts.into()).max(0);
        MilliWatts::new(u64::try_from(shifted).unwrap_or(u64::MAX))
    }

    /// The line as people write it: a factor, watts, and parts of one.
    #[must_use]
    pub fn of_parts(slope: f64, offset_watts: f64, residual: f64, reference: f64) -> Self {
        Self {
            slope_ppm: to_ppm(slope),
            offset_milliwatts: to_milliwatts(offset_watts),
            residual_ppm: to_ppm(residual),
            reference_ppm: to_ppm(reference),
            firmware: None,
        }
    }

    /// The tier of a calibrated figure: one better, and never better than its kind can be.
    #[must_use]
    pub fn tier_of(&self, kind: Kind, tier: Tier) -> Tier {
        let better = Tier::new(tier.get().saturating_sub(1)).unwrap_or(tier);
        better.max(kind.best_tier())
    }

    /// What a meter is with it.
    pub fn improve(&self, spec: &mut MeterSpec) {
        spec.tier = self.tier_of(spec.kind, spec.tier);
        let uncertainty = self.residual_ppm.saturating_add(self.reference_ppm);
        spec.uncertainty_ppm = uncertainty.clamp(spec.kind.least_uncertainty_ppm(), PPM);
        spec.source = format!("{}, calibrated: {self}", spec.source);
    }
}

fn watts(power: MilliWatts) -> f64 {
    power.watts_f64()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 100,000 pairs")]
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a saturating cast of a figure that the caller bounds"
)]
fn to_ppm(part: f64) -> u32 {
    (part * f64::from(PPM)).round() as u32
}

#[expect(clippy::cast_possible_truncation, reason = "a saturating cast")]
fn to_milliwatts(watts: f64) -> i64 {
    (watts * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::meter::{MeterId, Scope};

    fn pairs(of: impl Fn(u64) -> (u64, u64)) -> Vec<Pair> {
        let pair = |n| {
            let (device, plug) = of(n);
            Pair { device: MilliWatts::new(device), plug: MilliWatts::new(plug) }
        };
        (0..60).map(pair).collect()
    }

    #[test]
    fn two_loads_give_a_slope_and_an_offset() {
        // A supply of 92 % behind 25 W of fans that the device does not see.
        let fit = fit(
            &pairs(|n| (2_000_000 + n % 2 * 1_400_000, 0))
                .into_iter()
                .map(|pair| {
                    let plug = pair.device.get() * 1_087 / 1_000 + 25_000;
                    Pair { plug: MilliWatts::new(plug), ..pair }
                })
                .collect::<Vec<_>>(),
            20_000,
        )
        .unwrap();
        assert!(fit.two_loads && fit.r_squared > 0.999_999);
        assert_eq!(fit.calibration.slope_ppm, 1_087_000);
        assert_eq!(fit.calibration.offset_milliwatts, 25_000);
        assert_eq!(fit.calibration.residual_ppm, 0);
        assert_eq!(fit.calibration.apply(MilliWatts::new(3_000_000)).get(), 3_286_000);
    }

    #[test]
    fn one_load_gives_a_line_through_zero() {
        let fit = fit(&pairs(|n| (14_000 + n % 3 * 10, 24_000)), 20_000).unwrap();
        assert!(!fit.two_loads);
        assert_eq!(fit.calibration.offset_milliwatts, 0);
        assert!((1_713_000..1_714_000).contains(&fit.calibration.slope_ppm), "{fit:?}");
    }

    #[test]
    fn what_does_not_measure_the_same_is_no_calibration() {
        assert_eq!(fit(&pairs(|n| (n, n))[..9], 0), Err(NoFit::Pairs(9)));
        assert!(matches!(fit(&pairs(|_| (1_000, 3_000_000)), 0), Err(NoFit::Slope(_))));
        let scattered = pairs(|n| (3_000_000, if n % 2 == 0 { 2_000_000 } else { 4_000_000 }));
        assert!(matches!(fit(&scattered, 0), Err(NoFit::Scattered(_))));
        assert!(fit(&pairs(|_| (0, 0)), 0).is_err());
    }

    #[test]
    fn a_calibrated_model_is_a_tier_better_and_no_surer_than_its_plug() {
        let calibration = Calibration {
            slope_ppm: 1_100_000,
            offset_milliwatts: -500,
            residual_ppm: 15_000,
            reference_ppm: 20_000,
            firmware: None,
        };
        let mut spec = MeterSpec {
            id: MeterId::known("rig"),
            kind: Kind::AsicModel,
            scope: Scope::Rig,
            tier: Tier::FIRMWARE_MODEL,
            uncertainty_ppm: 100_000,
            source: "Braiins".to_owned(),
        };
        calibration.improve(&mut spec);
        assert_eq!(spec.tier, Tier::DEVICE_REPORTED);
        assert_eq!(spec.uncertainty_ppm, Kind::AsicModel.least_uncertainty_ppm().max(35_000));
        assert_eq!(spec.source, "Braiins, calibrated: x 1.100000 -500 mW");
        spec.kind = Kind::AsicPsu;
        calibration.improve(&mut spec);
        calibration.improve(&mut spec);
        assert_eq!(spec.tier, Tier::METERED, "no better than what it was held against");
        assert_eq!(calibration.apply(MilliWatts::ZERO), MilliWatts::ZERO);
    }

    proptest! {
        #[test]
        fn a_line_with_noise_is_found_again(
            slope in 900_000_u64..1_400_000,
            offset in 0_u64..50_000,
            noise in prop::collection::vec(0_u64..2_000, 60),
        ) {
            let line = |n: u64| {
                let device = 1_000_000 + n * 40_000;
                let noise = noise[usize::try_from(n).unwrap()];
                (device, device * slope / 1_000_000 + offset + noise)
            };
            let fit = fit(&pairs(line), 20_000).unwrap();
            let device = MilliWatts::new(2_000_000);
            let truth = 2_000_000 * slope / 1_000_000 + offset + 1_000;
            let found = fit.calibration.apply(device).get();
            prop_assert!(found.abs_diff(truth) < 2_000, "{found} {truth}");
        }
    }
}
