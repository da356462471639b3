//! Shelly's plugs, relays and clamp meters, of every generation.
//!
//! Read [`Channel`]: which of a device's meters is meant. The first generation answers `/status` for
//! all of them, the later ones have a method for each component; power is in watts throughout, and the
//! counters are not alike:
//! - relays of the first generation count watt-minutes, in whole ones, and start over with a restart;
//! - clamps of the first generation (EM, 3EM) count watt-hours with one decimal;
//! - later ones count watt-hours, with three decimals (`aenergy.total`) or two (`total_act_energy`,
//!   `total_act`).
//!
//! A relay without a meter answers too, with a power that is 0 or a setting of its owner's. It has no
//! counter, and that tells it from a metered one, of which 0 W is a true figure.
//!
//! Facts: Shelly's API documentation (Gen1 `/status`; Gen2 Switch, PM1, EM, EM1, `EMData`, `EM1Data`).
//! Deliberately not here: `by_minute` (milliwatt-hours of minutes by the plug's own clock), energy that
//! was fed in, switching anything.

use serde_json::Value;
use units::{MicroJoules, MilliWatts};

use super::{
    Answers, Quantity, Request, Telemetry, Unreadable,
    exact::{EnergyUnit, Meter, Parsed, WATT_HOUR, WATT_MINUTE, malformed},
    value::text,
};
use crate::meter::{Kind, Scope};

/// More than a plug or a relay carries: 16 A at 250 V, and a margin.
const MOST_OF_A_RELAY: MilliWatts = MilliWatts::from_watts(5_000);
/// More than one clamp sees: 400 A at 250 V.
const MOST_OF_A_CLAMP: MilliWatts = MilliWatts::from_watts(100_000);
/// More than three of them see.
const MOST_OF_THREE: MilliWatts = MilliWatts::from_watts(300_000);

/// Which meter of a device, each counted from 0 as the device counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// First generation: a plug's or relay's meter (`meters`).
    Relay(u8),
    /// First generation: a clamp of an EM or 3EM (`emeters`).
    Clamp(u8),
    /// Later: a plug's or relay's meter (Switch).
    Switch(u8),
    /// Later: a meter without a relay (PM1).
    Pm1(u8),
    /// Later: a single-phase clamp (EM1).
    Em1(u8),
    /// Later: all phases of a three-phase meter (EM).
    Em(u8),
    /// Later: one phase of a three-phase meter (EM).
    Phase(u8, Phase),
}

/// A phase of a three-phase meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first.
    A,
    /// The second.
    B,
    /// The third.
    C,
}

impl Phase {
    const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
            Self::C => 'c',
        }
    }
}

/// What to ask for this channel.
#[must_use]
pub fn requests(channel: Channel) -> Vec<Request> {
    let path = |path: String| Request::Http { path };
    let mut requests = match Component::of(channel) {
        None => vec![path("/status".to_owned())],
        Some(component) => component
            .methods()
            .map(|method| path(format!("/rpc/{method}?id={}", component.id)))
            .collect(),
    };
    requests.push(path("/shelly".to_owned()));
    requests
}

/// What the answers say of this channel.
///
/// # Errors
/// Where no answer came, or none that such a device gives.
pub fn read(channel: Channel, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut parsed = Parsed::new(answers, refusal);
    let mut telemetry = Telemetry::default();
    let requests = match (channel, Component::of(channel)) {
        (_, Some(component)) => component.read(&mut parsed, &mut telemetry),
        (Channel::Clamp(number), None) => {
            first_generation(&parsed.take(0, "/status"), "emeters", number, &mut telemetry)
        }
        (channel, None) => {
            let number = channel.number();
            first_generation(&parsed.take(0, "/status"), "meters", number, &mut telemetry)
        }
    };
    let device = parsed.take(requests, "/shelly");
    let either = |one: &str, other: &str| text(&device[one]).or_else(|| text(&device[other]));
    telemetry.identity.maker = "Shelly".to_owned();
    telemetry.identity.model = either("model", "type");
    telemetry.identity.firmware = either("ver", "fw");
    telemetry.identity.serial = either("mac", "id");
    parsed.finish(telemetry)
}

impl Channel {
    const fn number(self) -> u8 {
        match self {
            Self::Relay(number)
            | Self::Clamp(number)
            | Self::Switch(number)
            | Self::Pm1(number)
            | Self::Em1(number)
            | Self::Em(number)
            | Self::Phase(number, _) => number,
        }
    }
}

/// Later generations refuse with a code and a message, at the top or within `error`.
fn refusal(value: &Value) -> Option<&Value> {
    let coded = |value: &Value| value.get("code").is_some_and(Value::is_i64);
    let error = value
        .get("error")
        .filter(|error| coded(error))
        .or_else(|| coded(value).then_some(value))?;
    error.get("message").or(Some(error))
}

/// Reads a channel of `/status`; that is one request.
fn first_generation(status: &Value, list: &str, number: u8, telemetry: &mut Telemetry) -> usize {
    if status.is_null() {
        return 1;
    }
    let (unit, most, step, meaning) = match list {
        "meters" => (WATT_MINUTE, MOST_OF_A_RELAY, 60_000_000, "the relay's meter"),
        _ => (WATT_HOUR, MOST_OF_A_CLAMP, 360_000_000, "the clamp's meter"),
    };
    let channel = &status[list][usize::from(number)];
    let place = format!("/status: {list}[{number}]");
    let valid = channel["is_valid"].as_bool().unwrap_or(true);
    if channel.is_null() {
        telemetry.refuse(&place, channel, "this device has no such channel");
    } else if !valid {
        telemetry.refuse(&format!("{place}.is_valid"), &channel["is_valid"], SELF_CHECK);
    } else if channel["total"].is_null() {
        telemetry.refuse(&format!("{place}.power"), &channel["power"], UNMETERED);
    } else {
        let counter = Field { place: format!("{place}.total"), value: &channel["total"] };
        let power = Field { place: format!("{place}.power"), value: &channel["power"] };
        let meter = Meter::new(format!("{list}:{number}"), Kind::Plug, Scope::Rig);
        Wanted { meter, unit, step, most, meaning }.read(&counter, &power, telemetry);
    }
    1
}

const SELF_CHECK: &str = "the meter's own check has failed";
const UNMETERED: &str =
    "it has no counter: a relay that does not measure, whose power is 0 or a setting";

/// A component of a later generation.
struct Component {
    /// The name in the methods.
    name: &'static str,
    id: u8,
    /// Whether the counter is a component of its own.
    apart: bool,
    /// Where the power stands.
    power: String,
    /// Where the counter stands.
    energy: String,
    step: u128,
    most: MilliWatts,
}

impl Component {
    fn of(channel: Channel) -> Option<Self> {
        let own = |name, id| Self {
            name,
            id,
            apart: false,
            power: "/apower".to_owned(),
            energy: "/aenergy/total".to_owned(),
            step: 3_600_000,
            most: MOST_OF_A_RELAY,
        };
        let apart = |name, id, power: String, energy: String, most| {
            Some(Self { name, id, apart: true, power, energy, step: 36_000_000, most })
        };
        match channel {
            Channel::Relay(_) | Channel::Clamp(_) => None,
            Channel::Switch(id) => Some(own("Switch", id)),
            Channel::Pm1(id) => Some(own("PM1", id)),
            Channel::Em1(id) => {
                let energy = "/total_act_energy".to_owned();
                apart("EM1", id, "/act_power".to_owned(), energy, MOST_OF_A_CLAMP)
            }
            Channel::Em(id) => {
                let power = "/total_act_power".to_owned();
                apart("EM", id, power, "/total_act".to_owned(), MOST_OF_THREE)
            }
            Channel::Phase(id, phase) => {
                let letter = phase.letter();
                let energy = format!("/{letter}_total_act_energy");
                apart("EM", id, format!("/{letter}_act_power"), energy, MOST_OF_A_CLAMP)
            }
        }
    }

    fn methods(&self) -> impl Iterator<Item = String> {
        let status = format!("{}.GetStatus", self.name);
        let data = self.apart.then(|| format!("{}Data.GetStatus", self.name));
        [Some(status), data].into_iter().flatten()
    }

    /// Reads the component; says how many requests that took.
    fn read(&self, parsed: &mut Parsed<'_>, telemetry: &mut Telemetry) -> usize {
        let methods: Vec<String> = self.methods().collect();
        let answers: Vec<Value> =
            methods.iter().enumerate().map(|(at, method)| self.take(parsed, at, method)).collect();
        let (Some(status), Some(data)) = (answers.first(), answers.last()) else { return 0 };
        if self.failing(&methods[0], status, telemetry) {
            return methods.len();
        }
        let field = |method: &str, pointer: &str| {
            format!("{method}: {}", pointer.trim_start_matches('/').replace('/', "."))
        };
        let last = methods.last().map_or("", String::as_str);
        let counter = Field {
            place: field(last, &self.energy),
            value: data.pointer(&self.energy).unwrap_or(&Value::Null),
        };
        let power = Field {
            place: field(&methods[0], &self.power),
            value: status.pointer(&self.power).unwrap_or(&Value::Null),
        };
        if !status.is_null() && !data.is_null() && counter.value.is_null() {
            telemetry.refuse(&power.place, power.value, UNMETERED);
            return methods.len();
        }
        let name = format!("{}:{}{}", self.name.to_lowercase(), self.id, self.suffix());
        let wanted = Wanted {
            meter: Meter::new(name, Kind::Plug, Scope::Rig),
            unit: WATT_HOUR,
            step: self.step,
            most: self.most,
            meaning: "the meter of this channel",
        };
        wanted.read(&counter, &power, telemetry);
        methods.len()
    }

    /// One phase has a name of its own.
    fn suffix(&self) -> String {
        let phase = self.power.strip_suffix("_act_power").and_then(|rest| rest.strip_prefix('/'));
        phase.filter(|phase| phase.len() == 1).map_or_else(String::new, |phase| format!(":{phase}"))
    }

    /// An answer, if it is that of this component.
    fn take(&self, parsed: &mut Parsed<'_>, at: usize, method: &str) -> Value {
        let value = parsed.take(at, method);
        match value.get("id") {
            Some(id) if id.as_u64() != Some(self.id.into()) => {
                parsed.fail(malformed(method, format!("the answer is of id {id}")));
                Value::Null
            }
            _ => value,
        }
    }

    /// Whether the device says that its meter fails, which is noted.
    fn failing(&self, method: &str, status: &Value, telemetry: &mut Telemetry) -> bool {
        let errors = status["errors"].as_array().map_or(&[][..], Vec::as_slice);
        let broken = errors.iter().find(|error| {
            let word = error.as_str().unwrap_or_default();
            word == "power_meter_failure" || word.starts_with("out_of_range:")
        });
        if let Some(error) = broken {
            telemetry.refuse(&format!("{method}: errors"), error, SELF_CHECK);
        }
        broken.is_some()
    }
}

struct Field<'a> {
    place: String,
    value: &'a Value,
}

/// What is known of a channel before it is read.
struct Wanted {
    meter: Meter,
    unit: EnergyUnit,
    step: u128,
    most: MilliWatts,
    meaning: &'static str,
}

impl Wanted {
    /// The counter first: it sees what happens between two readings.
    fn read(self, counter: &Field<'_>, power: &Field<'_>, telemetry: &mut Telemetry) {
        if let Some(count) = telemetry.count(&counter.place, counter.value, self.unit) {
            let step = MicroJoules::new(self.step);
            let meaning = format!(
                "energy through {} in {}; it starts over when it is reset, and may when the device \
                 restarts",
                self.meaning, self.unit.word
            );
            let quantity = Quantity::Energy { total: count.total, step };
            telemetry.figures.push(self.meter.figure(quantity, &counter.place, &meaning));
        }
        if let Some(watts) = telemetry.draw(&power.place, power.value, self.most) {
            let meaning = format!("active power through {} now", self.meaning);
            let quantity = Quantity::Power(watts);
            telemetry.figures.push(self.meter.figure(quantity, &power.place, &meaning));
        }
    }
}

#[cfg(test)]
mod tests;
