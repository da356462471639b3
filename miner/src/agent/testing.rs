//! Entries of a farm, for tests.

use std::time::Duration;

use energy::device::interface::Interface;
use energy::device::meter::{DeviceMeter, Wiring};
use energy::device::{Figure, Identity, Quantity, Telemetry};
use energy::meter::{Kind, MeterId, Scope, Tier};
use units::{MicroJoules, UnixMillis};

use super::ask::Place;
use super::farm::{Entry, State};
use super::settings::Device;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An answer of a counter.
pub(crate) fn counter(joules: u64) -> Telemetry {
    let total = MicroJoules::new(u128::from(joules) * 1_000_000);
    let figure = Figure {
        meter: "plug".to_owned(),
        quantity: Quantity::Energy { total, step: MicroJoules::new(1) },
        kind: Kind::Plug,
        scope: Scope::Rig,
        tier: Tier::METERED,
        uncertainty_ppm: 20_000,
        window: None,
        field: "total".to_owned(),
        meaning: "energy since it was made".to_owned(),
    };
    let identity = Identity { maker: "Shelly".to_owned(), ..Identity::default() };
    Telemetry { identity, figures: vec![figure], ..Telemetry::default() }
}

/// A device whose counter began at nothing and has come to so many joules.
pub(crate) fn entry(name: &str, joules: u64) -> Entry {
    let id = MeterId::new(name).unwrap();
    let wiring = Wiring {
        id,
        place: "a plug".to_owned(),
        interval: secs(30),
        most: units::MilliWatts::from_watts(1_000_000),
        scope: None,
        calibration: None,
    };
    let mut meter = DeviceMeter::new(wiring.clone());
    meter.take(&counter(0), secs(0));
    meter.take(&counter(joules), secs(3_600));
    let place = Place::plain("127.0.0.1".to_owned(), 1, 1);
    let interface = Interface::Tasmota(0);
    let worker = Some(format!("addr.{name}"));
    Entry {
        device: Device { interface, place, wiring, worker, counts: true, says_so: true },
        meter,
        state: State::Good,
        sampled_at: Some(UnixMillis::new(1_795_309_039_123)),
        telemetry: Some(counter(joules)),
        error: None,
        coverage_ppm: 1_000_000,
    }
}
