//! Decimal numbers as meters write them, to microjoules and milliwatts without a float between.
//!
//! A counter in watt-hours with three decimals has more digits than a rounded product keeps, and a
//! counter that rounds differently from one poll to the next counts energy that was not there. So the
//! text of the number is taken apart: `46791.262` Wh is exactly 168,448,543,200,000 µJ.
//!
//! What meters have in common stands here too: a power that may truly be zero, a counter with its
//! unit, and what becomes of answers that are missing.
//!
//! Deliberately not here: numbers longer than what `serde_json` keeps of one, which is 15 digits for
//! certain; no meter's counter has more.
//!
//! Units: microjoules and milliwatts, rounded down.

use serde_json::Value;
use units::{MicroJoules, MilliWatts};

use super::{
    Answers, Figure, Quantity, Refused, Telemetry, Unreadable,
    value::{cut, json},
};
use crate::meter::{Kind, Scope, Tier};

/// More than any meter's counter shows: a terawatt-hour.
pub(super) const MOST_ENERGY: u128 = 1_000_000_000_000 * WATT_HOUR.microjoules;
/// More digits than any meter writes, before or behind the point.
const MOST_DIGITS: usize = 24;

/// A unit of energy, as it would stand behind a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EnergyUnit {
    pub(super) word: &'static str,
    pub(super) microjoules: u128,
}

pub(super) const WATT_MINUTE: EnergyUnit = EnergyUnit { word: "Wmin", microjoules: 60_000_000 };
pub(super) const WATT_HOUR: EnergyUnit = EnergyUnit { word: "Wh", microjoules: 3_600_000_000 };
pub(super) const KILOWATT_HOUR: EnergyUnit =
    EnergyUnit { word: "kWh", microjoules: 3_600_000_000_000 };

/// A decimal number: `digits` divided by ten to the power of `places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: i128,
    places: u32,
}

impl Decimal {
    /// The number that a text begins with, and what stands behind it.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = digits(unsigned);
        let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
        let length = whole.len() + fraction.len();
        if length == 0 || length > MOST_DIGITS {
            return None;
        }
        let size: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (exponent, rest) = exponent(rest);
        let number = if text.starts_with('-') { -size } else { size };
        let places = i32::try_from(fraction.len()).ok()? - exponent;
        Some((Self::scaled(number, places)?, rest))
    }

    /// `number` divided by ten to the power of `places`, which may be negative.
    fn scaled(number: i128, places: i32) -> Option<Self> {
        match u32::try_from(places) {
            Ok(places) => (places <= 30).then_some(Self { digits: number, places }),
            Err(_) => {
                let factor = 10_i128.checked_pow(places.unsigned_abs())?;
                Some(Self { digits: number.checked_mul(factor)?, places: 0 })
            }
        }
    }

    /// The number of a value, which may be a string with nothing or `unit` behind the number.
    fn of(value: &Value, unit: &str) -> Result<Self, String> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        let (number, rest) = Self::parse(&text).ok_or("it is no number")?;
        let word = rest.trim();
        if word.is_empty() || word.eq_ignore_ascii_case(unit) {
            return Ok(number);
        }
        Err(format!("its unit is {:?} where {unit} stands elsewhere", cut(word)))
    }

    /// How many decimals there are.
    pub(super) const fn places(self) -> u32 {
        self.places
    }

    /// This many units, each of so many small ones: rounded down; none for what is negative.
    fn times(self, unit: u128) -> Option<u128> {
        let product = u128::try_from(self.digits).ok()?.checked_mul(unit)?;
        product.checked_div(10_u128.checked_pow(self.places)?)
    }
}

/// The digits that a text begins with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The power of ten that a text begins with, such as `e-7`, and the rest; 0 where there is none.
fn exponent(text: &str) -> (i32, &str) {
    let Some(behind) = text.strip_prefix(['e', 'E']) else { return (0, text) };
    let (number, rest) = digits(behind.strip_prefix(['-', '+']).unwrap_or(behind));
    match number.parse::<i32>() {
        Ok(power) if power <= 40 => (if behind.starts_with('-') { -power } else { power }, rest),
        _ => (0, text),
    }
}

/// What a counter showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) total: MicroJoules,
    /// How many decimals it was written with; trailing zeros may be lost.
    pub(super) places: u32,
}

impl Telemetry {
    /// A counter that stands in `field`; `None` where there is none, and where what stands there is
    /// refused, which is noted.
    pub(super) fn count(&mut self, field: &str, value: &Value, unit: EnergyUnit) -> Option<Count> {
        if value.is_null() {
            return None;
        }
        let reason = match Decimal::of(value, unit.word) {
            Err(reason) => reason,
            Ok(number) if number.digits < 0 => "a counter of energy is not negative".to_owned(),
            Ok(number) => match number.times(unit.microjoules).filter(|all| *all <= MOST_ENERGY) {
                Some(all) => {
                    return Some(Count { total: MicroJoules::new(all), places: number.places() });
                }
                None => "more energy than any meter has counted".to_owned(),
            },
        };
        self.refuse(field, value, reason);
        None
    }

    /// The power that a meter shows in `field`, in watts. Unlike a mining device's, 0 is a figure:
    /// what is behind the meter may be switched off. Otherwise as `Telemetry::power`.
    pub(super) fn draw(
        &mut self,
        field: &str,
        value: &Value,
        most: MilliWatts,
    ) -> Option<MilliWatts> {
        if value.is_null() {
            return None;
        }
        let reason = match Decimal::of(value, "W") {
            Err(reason) => reason,
            Ok(number) if number.digits < 0 => BACKWARDS.to_owned(),
            Ok(number) => match milliwatts(number, most) {
                Some(power) => return Some(power),
                None => format!("no such meter carries more than {} W", most.watts_f64()),
            },
        };
        self.refuse(field, value, reason);
        None
    }
}

/// Why a negative power is none.
pub(super) const BACKWARDS: &str = "power flows backwards: the current transformer is on the wrong \
                                    way round, or what is behind it feeds in";

fn milliwatts(watts: Decimal, most: MilliWatts) -> Option<MilliWatts> {
    let power = MilliWatts::new(u64::try_from(watts.times(1000)?).ok()?);
    (power <= most).then_some(power)
}

/// What the figures of one meter have in common.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) scope: Scope,
    pub(super) tier: Tier,
    pub(super) uncertainty_ppm: u32,
}

impl Meter {
    /// A meter as good as its kind can be.
    pub(super) fn new(name: impl Into<String>, kind: Kind, scope: Scope) -> Self {
        Self {
            name: name.into(),
            kind,
            scope,
            tier: kind.best_tier(),
            uncertainty_ppm: kind.least_uncertainty_ppm(),
        }
    }

    /// One of its figures.
    pub(super) fn figure(&self, quantity: Quantity, field: &str, meaning: &str) -> Figure {
        Figure {
            meter: self.name.clone(),
            quantity,
            kind: self.kind,
            scope: self.scope,
            tier: self.tier,
            uncertainty_ppm: self.uncertainty_ppm,
            window: None,
            field: field.to_owned(),
            meaning: meaning.to_owned(),
        }
    }
}

/// A device's answers in JSON, and what was wrong with some of them.
pub(super) struct Parsed<'a> {
    answers: &'a Answers<'a>,
    /// Where such a device puts the reason for refusing a request.
    refusal: fn(&Value) -> Option<&Value>,
    failures: Vec<Unreadable>,
}

impl<'a> Parsed<'a> {
    pub(super) const fn new(
        answers: &'a Answers<'a>,
        refusal: fn(&Value) -> Option<&Value>,
    ) -> Self {
        Self { answers, refusal, failures: Vec::new() }
    }

    /// The answer to a request, an object; null where there is none or it could not be read.
    pub(super) fn take(&mut self, index: usize, command: &str) -> Value {
        let Some(bytes) = self.answers.get(index).copied().flatten() else { return Value::Null };
        self.object(bytes, command).unwrap_or_else(|failure| {
            self.failures.push(failure);
            Value::Null
        })
    }

    fn object(&self, bytes: &[u8], command: &str) -> Result<Value, Unreadable> {
        let value = json(command, bytes)?;
        if !value.is_object() {
            return Err(malformed(command, format!("{} is no object", cut(&value.to_string()))));
        }
        match (self.refusal)(&value) {
            Some(reason) => {
                let message = reason.as_str().map_or_else(|| cut(&reason.to_string()), cut);
                Err(Unreadable::Refused { command: command.to_owned(), message })
            }
            None => Ok(value),
        }
    }

    /// Notes that an answer is not the one to the request.
    pub(super) fn fail(&mut self, failure: Unreadable) {
        self.failures.push(failure);
    }

    /// What was read, with a note of every answer that could not be; or why nothing could be read.
    pub(super) fn finish(self, telemetry: Telemetry) -> Result<Telemetry, Unreadable> {
        finish(self.answers, self.failures, telemetry)
    }
}

/// What was read, with a note of every answer that could not be; or why nothing could be read.
pub(super) fn finish(
    answers: &Answers<'_>,
    failures: Vec<Unreadable>,
    mut telemetry: Telemetry,
) -> Result<Telemetry, Unreadable> {
    if answers.iter().all(Option::is_none) {
        return Err(Unreadable::Silent);
    }
    if telemetry.figures.is_empty() && telemetry.refused.is_empty() {
        return failures.into_iter().next().map_or(Ok(telemetry), Err);
    }
    telemetry.refused.extend(failures.into_iter().filter_map(noted));
    Ok(telemetry)
}

fn noted(failure: Unreadable) -> Option<Refused> {
    match failure {
        Unreadable::Silent => None,
        Unreadable::Malformed { command, reason } => {
            Some(Refused { field: command, text: String::new(), reason })
        }
        Unreadable::Refused { command, message } => Some(Refused {
            field: command,
            text: message,
            reason: "the device refused the request".to_owned(),
        }),
    }
}

pub(super) fn malformed(command: &str, reason: impl Into<String>) -> Unreadable {
    Unreadable::Malformed { command: command.to_owned(), reason: reason.into() }
}

#[cfg(test)]
pub(super) mod testing {
    //! What the tests of every meter ask for.

    use proptest::prelude::*;
    use units::{MicroJoules, MilliWatts};

    use super::super::{Quantity, Telemetry, Unreadable};

    /// The counters and powers of a telemetry, in its order: microjoules with their step, milliwatts.
    pub(in super::super) fn quantities(telemetry: &Telemetry) -> Vec<Quantity> {
        telemetry.figures.iter().map(|figure| figure.quantity).collect()
    }

    pub(in super::super) const fn energy(total: u128, step: u128) -> Quantity {
        Quantity::Energy { total: MicroJoules::new(total), step: MicroJoules::new(step) }
    }

    pub(in super::super) const fn power(milliwatts: u64) -> Quantity {
        Quantity::Power(MilliWatts::new(milliwatts))
    }

    /// Whether nothing that cannot be true is among the figures.
    pub(in super::super) fn plausible(
        read: &Result<Telemetry, Unreadable>,
        most: MilliWatts,
    ) -> bool {
        let figures = read.as_ref().map_or(&[][..], |telemetry| &telemetry.figures);
        figures.iter().all(|figure| match figure.quantity {
            Quantity::Power(power) => power <= most,
            Quantity::Energy { total, step } => total.get() <= super::MOST_ENERGY && step.get() > 0,
        })
    }

    /// A sample with some bytes changed, and perhaps cut short.
    pub(in super::super) fn mutated(sample: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
        // Digits make other numbers; most other bytes make it no JSON.
        let byte =
            prop_oneof![1 => any::<u8>(), 3 => b'0'..=b'9', 1 => Just(b'e'), 1 => Just(b'-')];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..6);
        (changes, 0..=sample.len()).prop_map(move |(changes, length)| {
            let mut bytes = sample.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            // Half of them keep their length: what is cut short ends early in every parser.
            if length % 2 == 0 {
                bytes.truncate(length);
            }
            bytes
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_counter_is_exact_to_the_microjoule() {
        let mut telemetry = Telemetry::default();
        let mut count = |text: &str, unit| {
            let value = serde_json::from_str(text).unwrap();
            telemetry.count("f", &value, unit).map(|count| count.total.get())
        };
        assert_eq!(count("46791.262", WATT_HOUR), Some(168_448_543_200_000));
        assert_eq!(count("514.153", KILOWATT_HOUR), Some(1_850_950_800_000_000));
        assert_eq!(count("14.68792", KILOWATT_HOUR), Some(52_876_512_000_000));
        assert_eq!(count("116", WATT_MINUTE), Some(6_960_000_000));
        assert_eq!(count("\"46791.262 Wh\"", WATT_HOUR), Some(168_448_543_200_000));
        assert_eq!(count("1e3", WATT_HOUR), Some(3_600_000_000_000));
        assert_eq!(count("0.0000001", WATT_HOUR), Some(360));
        assert_eq!(count("0", WATT_HOUR), Some(0));
        for wrong in ["-1", "\"46.79 kWh\"", "\"\"", "true", "[1]", "1e30", "\"1.2.3\"", "\".\""] {
            assert_eq!(count(wrong, WATT_HOUR), None, "{wrong}");
        }
        assert_eq!(count("null", WATT_HOUR), None);
        assert_eq!(telemetry.refused.len(), 8);
        assert!(telemetry.refused[1].reason.contains("kWh"), "{:?}", telemetry.refused[1]);
    }

    #[test]
    fn a_meter_may_show_no_power_and_never_a_negative_one() {
        let mut telemetry = Telemetry::default();
        let most = MilliWatts::from_watts(5_000);
        let mut draw = |value| telemetry.draw("f", &value, most).map(MilliWatts::get);
        assert_eq!(draw(json!(0.0)), Some(0));
        assert_eq!(draw(json!(10.7)), Some(10_700));
        assert_eq!(draw(json!("58.94W")), Some(58_940));
        for wrong in [json!(-1), json!(5_000.1), json!("NaN"), json!("3 kW"), json!({})] {
            assert_eq!(draw(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(telemetry.refused.len(), 5);
        assert_eq!(telemetry.refused[0].reason, BACKWARDS);
    }

    proptest! {
        #[test]
        fn any_three_decimals_are_exact(watt_hours in 0_u64..1_000_000_000, rest in 0_u64..1_000) {
            let value = serde_json::from_str(&format!("{watt_hours}.{rest:03}")).unwrap();
            let count = Telemetry::default().count("f", &value, WATT_HOUR).unwrap();
            let exact = (u128::from(watt_hours) * 1_000 + u128::from(rest)) * 3_600_000;
            prop_assert_eq!(count.total.get(), exact);
        }

        #[test]
        fn no_text_breaks_it(
            text in "[-+0-9.eE]{0,60}[ a-zµ]{0,4}|-?[0-9]{1,22}([.][0-9]{1,3})?(e[0-9]{1,2})?",
        ) {
            let mut telemetry = Telemetry::default();
            let most = MilliWatts::from_watts(5_000);
            let power = telemetry.draw("f", &json!(text), most);
            prop_assert!(power.is_none_or(|power| power <= most));
            let count = telemetry.count("f", &json!(text), KILOWATT_HOUR);
            prop_assert!(count.is_none_or(|count| count.total.get() <= MOST_ENERGY));
        }
    }
}
