//! APC's metered rack distribution units of the second generation, by SNMP.
//!
//! The whole unit gives its power in hundredths of a kilowatt, that is in steps of 10 W, and its energy
//! in tenths of a kilowatt-hour, that is in steps of 360 kJ: at 3 kW one step is two minutes. Half a
//! step of power is added to its uncertainty. Outlets of the models that meter them give watts, and the
//! same tenths. What a model does not have is -1. The counter can be set to zero by its owner.
//!
//! Facts: PowerNet-MIB, rPDU2 (`rPDU2DeviceStatusPower`, `rPDU2DeviceStatusEnergy`,
//! `rPDU2OutletMeteredStatusPower`, `rPDU2OutletMeteredStatusEnergy`) and the maker's FA156179.
//! Deliberately not here: phases and banks, which are currents; units of the first generation; outlets
//! added up, which leaves out what the unit itself draws.

use units::{MicroJoules, MilliWatts};

use super::{
    Answers, Quantity, Refused, Request, Telemetry, Unreadable,
    exact::{KILOWATT_HOUR, Meter, finish},
    snmp::{self, Value},
    value::cut,
};
use crate::meter::{Kind, PPM, Scope};

/// More than such a unit carries: 3 phases of 63 A at 400 V, and a margin.
const MOST: MilliWatts = MilliWatts::from_watts(50_000);
/// What one of the counter's steps is.
const STEP: u128 = KILOWATT_HOUR.microjoules / 10;
/// More steps than any unit has counted.
const MOST_STEPS: u64 = 1_000_000_000;
/// The object of rPDU2 in the MIB.
const UNIT: [u32; 10] = [1, 3, 6, 1, 4, 1, 318, 1, 1, 26];

/// What of a unit is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The whole unit; several in a chain are counted from 1.
    Unit(u32),
    /// One metered outlet, counted from 1 through all the units of a chain.
    Outlet(u32),
}

impl Point {
    /// Table, column of the power, column of the energy.
    const fn columns(self) -> ([u32; 3], u32, u32) {
        match self {
            Self::Unit(_) => ([4, 3, 1], 5, 9),
            Self::Outlet(_) => ([9, 4, 3], 7, 11),
        }
    }

    const fn row(self) -> u32 {
        match self {
            Self::Unit(row) | Self::Outlet(row) => row,
        }
    }

    fn object(self, column: u32) -> Vec<u32> {
        let (table, _, _) = self.columns();
        // The entry of an outlet's table has one number more.
        let entry: &[u32] = if matches!(self, Self::Outlet(_)) { &[1] } else { &[] };
        [&UNIT[..], &table, entry, &[column, self.row()]].concat()
    }

    fn power(self) -> Vec<u32> {
        self.object(self.columns().1)
    }

    fn energy(self) -> Vec<u32> {
        self.object(self.columns().2)
    }

    /// One step of the power, in watts.
    const fn power_step(self) -> u64 {
        match self {
            Self::Unit(_) => 10,
            Self::Outlet(_) => 1,
        }
    }
}

/// Firmware, model and serial number of the first unit.
fn identity() -> [Vec<u32>; 3] {
    [6, 8, 9].map(|column| [&UNIT[..], &[2, 1, column, 1]].concat())
}

/// What to ask.
#[must_use]
pub fn requests(point: Point) -> Vec<Request> {
    let [firmware, model, serial] = identity();
    vec![Request::Snmp { objects: vec![point.energy(), point.power(), firmware, model, serial] }]
}

/// What the answer says. It has to be the one to the request with this number.
///
/// # Errors
/// Where no answer came, or none that such a unit gives.
pub fn read(point: Point, request_id: i32, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut telemetry = Telemetry::default();
    let Some(bytes) = answers.first().copied().flatten() else {
        return Err(Unreadable::Silent);
    };
    let objects = snmp::response(bytes, request_id)?;
    let held =
        |object: &[u32]| objects.iter().find(|(found, _)| found == object).map(|(_, value)| value);
    energy(point, held(&point.energy()), &mut telemetry);
    power(point, held(&point.power()), &mut telemetry);
    let text = |object: &[u32]| match held(object) {
        Some(Value::Text(text)) if !text.is_empty() => Some(cut(&String::from_utf8_lossy(text))),
        _ => None,
    };
    let [firmware, model, serial] = identity();
    telemetry.identity.maker = "APC".to_owned();
    telemetry.identity.firmware = text(&firmware);
    telemetry.identity.model = text(&model);
    telemetry.identity.serial = text(&serial);
    finish(answers, Vec::new(), telemetry)
}

fn meter(point: Point) -> Meter {
    match point {
        Point::Unit(row) => Meter::new(format!("unit:{row}"), Kind::Pdu, Scope::Site),
        Point::Outlet(row) => Meter::new(format!("outlet:{row}"), Kind::Pdu, Scope::Rig),
    }
}

fn energy(point: Point, value: Option<&Value>, telemetry: &mut Telemetry) {
    let field = match point {
        Point::Unit(row) => format!("rPDU2DeviceStatusEnergy.{row}"),
        Point::Outlet(row) => format!("rPDU2OutletMeteredStatusEnergy.{row}"),
    };
    let Some(steps) = whole(&field, value, MOST_STEPS, telemetry) else { return };
    let total = MicroJoules::new(u128::from(steps) * STEP);
    let quantity = Quantity::Energy { total, step: MicroJoules::new(STEP) };
    let meaning = "energy of the load in tenths of a kWh; it starts over when its owner resets it";
    telemetry.figures.push(meter(point).figure(quantity, &field, meaning));
}

fn power(point: Point, value: Option<&Value>, telemetry: &mut Telemetry) {
    let (field, meaning) = match point {
        Point::Unit(row) => (
            format!("rPDU2DeviceStatusPower.{row}"),
            "active power of the load now, in steps of 10 W; 0 is less than a step",
        ),
        Point::Outlet(row) => (
            format!("rPDU2OutletMeteredStatusPower.{row}"),
            "active power of the outlet now, in steps of 1 W",
        ),
    };
    let step = point.power_step();
    let most = MOST.get() / 1000 / step;
    let Some(steps) = whole(&field, value, most, telemetry) else { return };
    let power = MilliWatts::from_watts(steps * step);
    let mut meter = meter(point);
    meter.uncertainty_ppm = with_half_a_step(meter.uncertainty_ppm, steps);
    telemetry.figures.push(meter.figure(Quantity::Power(power), &field, meaning));
}

/// The uncertainty of that many steps: the meter's own, and half a step.
fn with_half_a_step(own: u32, steps: u64) -> u32 {
    let half = u64::from(PPM / 2).checked_div(steps).and_then(|half| u32::try_from(half).ok());
    half.map_or(PPM, |half| own.saturating_add(half).min(PPM))
}

/// A number of steps; -1, and what is not there, is noted.
fn whole(field: &str, value: Option<&Value>, most: u64, telemetry: &mut Telemetry) -> Option<u64> {
    let (text, reason) = match value {
        Some(Value::Integer(number)) => match u64::try_from(*number) {
            Ok(steps) if steps <= most => return Some(steps),
            Ok(_) => (number.to_string(), "more than any such unit carries"),
            Err(_) if *number == -1 => (number.to_string(), "-1: this model does not measure it"),
            Err(_) => (number.to_string(), "it is negative"),
        },
        Some(Value::Unsigned(steps)) if *steps <= most => return Some(*steps),
        Some(Value::Unsigned(steps)) => (steps.to_string(), "more than any such unit carries"),
        Some(Value::Absent) => (String::new(), "the unit has no such object"),
        Some(Value::Text(text)) => (cut(&String::from_utf8_lossy(text)), "it is no number"),
        Some(Value::Other(tag)) => (format!("tag {tag}"), "it is no number"),
        None => (String::new(), "the answer does not hold it"),
    };
    let reason = reason.to_owned();
    telemetry.refused.push(Refused { field: field.to_owned(), text, reason });
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        device::{
            exact::testing::{energy, plausible, power, quantities},
            snmp::testing::answer,
        },
        meter::Tier,
    };

    const OBJECT: &str = "1.3.6.1.4.1.318.1.1.26";

    fn dotted(object: &[u32]) -> String {
        object.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }

    fn shows(point: Point, steps: Value, watts: Value) -> Telemetry {
        let objects = [
            (point.energy(), steps),
            (point.power(), watts),
            (identity()[1].clone(), Value::Text(b"AP8653".to_vec())),
        ];
        read(point, 7, &[Some(&answer(7, 0, &objects))]).unwrap()
    }

    #[test]
    fn the_objects_are_those_of_the_mib() {
        let objects = |point| -> Vec<String> {
            match requests(point).pop() {
                Some(Request::Snmp { objects }) => objects.iter().map(|one| dotted(one)).collect(),
                other => panic!("{other:?}"),
            }
        };
        let unit = objects(Point::Unit(1));
        assert_eq!(unit[..2], [format!("{OBJECT}.4.3.1.9.1"), format!("{OBJECT}.4.3.1.5.1")]);
        assert_eq!(unit[2..4], [format!("{OBJECT}.2.1.6.1"), format!("{OBJECT}.2.1.8.1")]);
        let outlet = objects(Point::Outlet(12));
        assert_eq!(outlet[0], format!("{OBJECT}.9.4.3.1.11.12"));
        assert_eq!(outlet[1], format!("{OBJECT}.9.4.3.1.7.12"));
    }

    #[test]
    fn hundredths_of_kilowatts_and_tenths_of_kilowatt_hours_with_their_quantisation() {
        // 17,098.2 kWh and 3.00 kW.
        let telemetry = shows(Point::Unit(1), Value::Integer(170_982), Value::Integer(300));
        let expected = [energy(61_553_520_000_000_000, 360_000_000_000), power(3_000_000)];
        assert_eq!(quantities(&telemetry), expected);
        let [counter, watts] = &telemetry.figures[..] else { panic!() };
        assert_eq!((counter.kind, counter.scope), (Kind::Pdu, Scope::Site));
        assert_eq!((counter.tier, counter.uncertainty_ppm), (Tier::METERED, 20_000));
        // Half of 10 W in 3 kW is one part in six hundred.
        assert_eq!(watts.uncertainty_ppm, 21_666);
        assert_eq!(counter.field, "rPDU2DeviceStatusEnergy.1");
        assert!(counter.meaning.contains("kWh") && watts.meaning.contains("10 W"));
        assert_eq!(telemetry.identity.model.as_deref(), Some("AP8653"));
        // Less than a step is anything from nothing to 10 W.
        let telemetry = shows(Point::Unit(1), Value::Integer(0), Value::Unsigned(0));
        assert_eq!(quantities(&telemetry), [energy(0, 360_000_000_000), power(0)]);
        assert_eq!(telemetry.figures[1].uncertainty_ppm, PPM);
        let telemetry = shows(Point::Outlet(3), Value::Integer(21), Value::Integer(250));
        assert_eq!(
            quantities(&telemetry),
            [energy(7_560_000_000_000, 360_000_000_000), power(250_000)]
        );
        assert_eq!(telemetry.figures[1].uncertainty_ppm, 22_000);
        assert_eq!(telemetry.figures[1].scope, Scope::Rig);
    }

    #[test]
    fn minus_one_is_no_power_and_an_absent_object_no_energy() {
        let telemetry = shows(Point::Unit(1), Value::Absent, Value::Integer(-1));
        assert_eq!(telemetry.figures, []);
        assert!(telemetry.refused[1].reason.contains("does not measure"));
        let telemetry = shows(Point::Unit(1), Value::Text(b"n/a".to_vec()), Value::Integer(99_999));
        assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (0, 2));
    }

    #[test]
    fn another_requests_answer_is_refused() {
        let objects = [(Point::Unit(1).energy(), Value::Integer(5))];
        let bytes = answer(6, 0, &objects);
        assert!(read(Point::Unit(1), 7, &[Some(&bytes)]).is_err());
        assert_eq!(read(Point::Unit(1), 7, &[None]), Err(Unreadable::Silent));
        // Another row than the one asked for is not taken for it.
        let telemetry = read(Point::Unit(2), 6, &[Some(&bytes)]).unwrap();
        assert_eq!(telemetry.figures, []);
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_it(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            steps in any::<i64>(),
            watts in any::<i64>(),
        ) {
            let point = Point::Unit(1);
            let objects =
                [(point.energy(), Value::Integer(steps)), (point.power(), Value::Integer(watts))];
            let mut bytes = answer(7, 0, &objects);
            prop_assert!(plausible(&read(point, 7, &[Some(&bytes)]), MOST));
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert!(plausible(&read(point, 7, &[Some(&bytes)]), MOST));
        }
    }
}
