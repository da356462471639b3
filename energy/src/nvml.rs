//! An NVIDIA board's energy, from what NVIDIA's management library answers.
//!
//! Read [`Nvml::open`], then [`Nvml::poll`]. The answers come through a [`Board`]; loading the
//! library and finding the board is the caller's business. The counter of millijoules is preferred
//! (Volta and newer); it starts over when the driver is loaded again, and never wraps. Else the
//! power of the whole board is summed: since Ampere it is a mean over the last second.
//!
//! Deliberately not here: the counters of parts of a board, and of several boards together.
//!
//! Units: millijoules and milliwatts in, microjoules out; times are monotonic.

use std::{collections::BTreeMap, fmt, time::Duration};

use units::MicroJoules;

use crate::{
    board::Gauge,
    counter::{GapReason, Step},
    meter::{Kind, MeterId, MeterSpec, Scope, Tier},
};

/// What can be asked of a board.
pub trait Board: fmt::Debug {
    /// Energy since the driver was loaded, in millijoules.
    ///
    /// # Errors
    /// Why there is no answer.
    fn energy(&self) -> Result<u64, Fault>;

    /// Power of the whole board, in milliwatts.
    ///
    /// # Errors
    /// Why there is no answer.
    fn power(&self) -> Result<u32, Fault>;
}

/// Why a board gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The board or its driver cannot tell.
    #[error("not supported by this board")]
    NotSupported,
    /// The board is not there: it fell off the bus, or its driver is gone.
    #[error("the board is not there")]
    Lost,
    /// This user may not ask.
    #[error("this user may not ask")]
    Permission,
    /// Anything else, in the library's words.
    #[error("{0}")]
    Failed(String),
}

impl Fault {
    const fn gap(&self) -> GapReason {
        match self {
            Self::Lost => GapReason::Vanished,
            Self::Permission => GapReason::Permission,
            Self::NotSupported | Self::Failed(_) => GapReason::ReadError,
        }
    }
}

/// The meter of one board.
#[derive(Clone, Debug)]
pub struct Nvml {
    spec: MeterSpec,
    gauge: Gauge,
}

impl Nvml {
    /// Takes the first reading of the board; `name` says which it is, for people. The meter will be
    /// called `id`.
    ///
    /// # Errors
    /// Why the board tells neither its energy nor its power.
    pub fn open(board: &dyn Board, id: MeterId, name: &str, at: Duration) -> Result<Self, Fault> {
        let energy = match energy(board) {
            Ok(first) => {
                let gauge = Gauge::counter(first, at);
                return Ok(Self { spec: spec(id, name, "energy counter"), gauge });
            }
            Err(fault) => fault,
        };
        match power(board) {
            Ok(first) => {
                let impossible =
                    |_| Fault::Failed(format!("{first} microwatts, which no board in use draws"));
                let gauge = Gauge::power(first, at).map_err(impossible)?;
                Ok(Self { spec: spec(id, name, "power readings"), gauge })
            }
            Err(Fault::NotSupported) => Err(energy),
            Err(fault) => Err(fault),
        }
    }

    /// What this meter is.
    #[must_use]
    pub const fn spec(&self) -> &MeterSpec {
        &self.spec
    }

    /// Asks the board: the energy added since the last poll, or why there is none.
    pub fn poll(&mut self, board: &dyn Board, at: Duration) -> Step {
        let reading = match &self.gauge {
            Gauge::Counter { .. } => energy(board),
            Gauge::Power(_) => power(board),
        };
        self.gauge.take(reading.map_err(|fault| fault.gap()), at)
    }

    /// The energy since it was opened; never falls.
    #[must_use]
    pub const fn total(&self) -> MicroJoules {
        self.gauge.total()
    }

    /// The part of the time since it was opened that the total covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        self.gauge.coverage_ppm(now)
    }

    /// Time lost for good, by reason.
    #[must_use]
    pub const fn lost(&self) -> &BTreeMap<GapReason, Duration> {
        self.gauge.lost()
    }
}

/// In microjoules.
fn energy(board: &dyn Board) -> Result<u128, Fault> {
    board.energy().map(|millijoules| u128::from(millijoules).saturating_mul(1000))
}

/// In microwatts.
fn power(board: &dyn Board) -> Result<u128, Fault> {
    board.power().map(|milliwatts| u128::from(milliwatts).saturating_mul(1000))
}

fn spec(id: MeterId, name: &str, what: &str) -> MeterSpec {
    MeterSpec {
        id,
        kind: Kind::Nvml,
        scope: Scope::Device,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: Kind::Nvml.least_uncertainty_ppm(),
        source: format!("NVML, {what} of {name}"),
    }
}

/// What this module's meters say of themselves, for the test of what reports may claim.
#[cfg(test)]
pub(crate) fn any_spec() -> MeterSpec {
    spec(MeterId::known("gpu:0"), "a board", "energy counter")
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use super::*;

    /// What a board answers next to each question; it is asked no more often than that.
    #[derive(Debug, Default)]
    struct Script {
        energy: RefCell<VecDeque<Result<u64, Fault>>>,
        power: RefCell<VecDeque<Result<u32, Fault>>>,
    }

    impl Script {
        fn new(
            energy: impl IntoIterator<Item = Result<u64, Fault>>,
            power: impl IntoIterator<Item = Result<u32, Fault>>,
        ) -> Self {
            Self {
                energy: RefCell::new(energy.into_iter().collect()),
                power: RefCell::new(power.into_iter().collect()),
            }
        }
    }

    impl Board for Script {
        fn energy(&self) -> Result<u64, Fault> {
            self.energy.borrow_mut().pop_front().expect("one more question than answers")
        }

        fn power(&self) -> Result<u32, Fault> {
            self.power.borrow_mut().pop_front().expect("one more question than answers")
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn open(board: &Script) -> Result<Nvml, Fault> {
        Nvml::open(board, MeterId::known("gpu:0"), "a board at 0000:65:00.0", secs(0))
    }

    #[test]
    fn the_counter_is_preferred_and_starts_over_with_the_driver() {
        let answers = [
            Ok(4_294_967_295_123),
            Ok(4_294_967_645_456),
            Err(Fault::Failed("an internal driver error occurred".to_owned())),
            Ok(4_294_968_295_123),
            Ok(1_500),
            Ok(351_500),
            Err(Fault::Lost),
            Ok(900_000),
            Ok(900_001),
        ];
        let board = Script::new(answers, []);
        let mut meter = open(&board).unwrap();
        let steps: Vec<Step> = (1..9).map(|second| meter.poll(&board, secs(second))).collect();
        let gap = |reason, seconds| Step::Gap { reason, length: secs(seconds) };
        assert_eq!(
            steps,
            [
                Step::Added(MicroJoules::new(350_333_000)),
                gap(GapReason::ReadError, 1),
                Step::Added(MicroJoules::new(649_667_000)),
                Step::NewEpoch { length: secs(1) },
                Step::Added(MicroJoules::new(350_000_000)),
                gap(GapReason::Vanished, 1),
                Step::NewEpoch { length: secs(2) },
                Step::Added(MicroJoules::new(1_000)),
            ]
        );
        assert_eq!(meter.total(), MicroJoules::new(1_350_001_000));
        assert_eq!(meter.lost(), &BTreeMap::from([(GapReason::Reset, secs(3))]));
        assert_eq!(meter.coverage_ppm(secs(10)), 500_000);
        let spec = meter.spec();
        assert_eq!((spec.kind, spec.scope), (Kind::Nvml, Scope::Device));
        assert_eq!((spec.tier, spec.uncertainty_ppm), (Tier::DEVICE_REPORTED, 50_000));
        assert_eq!(spec.source, "NVML, energy counter of a board at 0000:65:00.0");
    }

    #[test]
    fn a_board_without_a_counter_is_metered_by_its_power() {
        let power = [Ok(69_000), Ok(71_000), Err(Fault::Permission), Ok(350_000), Ok(350_000)];
        let board = Script::new([Err(Fault::NotSupported)], power);
        let mut meter = open(&board).unwrap();
        assert_eq!(meter.poll(&board, secs(1)), Step::Added(MicroJoules::new(70_000_000)));
        let refused = Step::Gap { reason: GapReason::Permission, length: secs(1) };
        assert_eq!(meter.poll(&board, secs(2)), refused);
        assert_eq!(meter.poll(&board, secs(3)), Step::Added(MicroJoules::new(421_000_000)));
        let long = Step::Gap { reason: GapReason::TooLong, length: secs(60) };
        assert_eq!(meter.poll(&board, secs(63)), long);
        assert_eq!(meter.total(), MicroJoules::new(491_000_000));
        assert!(meter.spec().source.contains("power readings"));
    }

    #[test]
    fn a_board_that_tells_nothing_has_no_meter_and_says_why() {
        for (energy, power, why) in [
            (Fault::NotSupported, Err(Fault::NotSupported), Fault::NotSupported),
            (Fault::Lost, Err(Fault::NotSupported), Fault::Lost),
            (Fault::NotSupported, Err(Fault::Permission), Fault::Permission),
        ] {
            assert_eq!(open(&Script::new([Err(energy)], [power])).unwrap_err(), why);
        }
        let zero = open(&Script::new([Err(Fault::NotSupported)], [Ok(0)])).unwrap_err();
        assert_eq!(zero.to_string(), "0 microwatts, which no board in use draws");
    }
}
