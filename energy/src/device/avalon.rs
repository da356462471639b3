//! Canaan's Avalon devices, whose `stats` and `estats` hold a text of fields in brackets.
//!
//! The field that matters is `PS[error v_control v_boards amperes watts v_set wall]`. Canaan's manual
//! of the API (A10, v0.1 of 2019-08-31) defines the first six: a code, two voltages in hundredths of
//! a volt, the output in amperes and watts, and the voltage that is set, again in hundredths: so the
//! sixth is no power, though other software shows it as one (2245 W for an idle Avalon Q that takes
//! 146). The fifth is direct current. The seventh, which newer devices add, is what goes in at the
//! wall: an A15's answer shows `PS[0 1209 1187 297 3526 1188 3731] WALLPOWER[3731]`, and recorded
//! ones (`energy/fixtures/asic/avalon`) have 91 % of it coming out.
//!
//! The small ones lay `PS` out in another way. A Nano 3S has its input seventh, behind a supply of
//! its own that is not seen. A Nano 3 has volts fifth and a setting seventh (miner-sentinel's issue
//! 16 read 326 W from a device of 90), which nobody documents, and nothing of it is believed. A
//! layout that is neither is known by volts times amperes, which are not the watts then.
//!
//! Deliberately not here: `MPO`, which is a target, and devices before the A10, which have no `PS`.
//!
//! Units: watts; `GHS` fields are in 10^9 hashes a second.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use units::MilliWatts;

use super::{
    Answers, Figure, Identity, Request, Telemetry, Unreadable,
    cgminer::{self, MOST, field, replies, row, rows, supply_input, supply_output, total},
    value::{cut, hash_rate, number, text, whole},
};
use crate::meter::Scope;

const COMMANDS: [&str; 3] = ["stats", "estats", "version"];
/// So many modules of one device are read.
const MODULES: usize = 64;

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    cgminer::requests(&COMMANDS)
}

/// What the answers say.
///
/// # Errors
///
/// If not one of them can be read.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut telemetry = Telemetry::default();
    let [stats, estats, version] = replies(COMMANDS, answers, &mut telemetry)?;
    let (command, modules) = [("stats", stats), ("estats", estats)]
        .into_iter()
        .map(|(command, reply)| (command, modules(&reply)))
        .find(|(_, modules)| !modules.is_empty())
        .unwrap_or_default();
    telemetry.identity = identity(row(&version, "VERSION"), modules.values().next());
    note_work(&mut telemetry, &modules);
    note_power(&mut telemetry, command, &modules);
    Ok(telemetry)
}

/// The texts of the modules by number. A key is `MM ID0`, or that with a part's name behind it.
fn modules(reply: &Value) -> BTreeMap<u32, String> {
    let mut modules = BTreeMap::new();
    let fields = rows(reply, "STATS").chain(rows(reply, "ESTATS")).filter_map(Value::as_object);
    for (key, value) in fields.flatten() {
        let digits: Option<&str> = key
            .strip_prefix("MM ID")
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let number = digits.and_then(|digits| digits.parse().ok());
        let Some((number, text)) = number.zip(value.as_str()) else { continue };
        if modules.len() < MODULES
            && (bracket(text, "PS").is_some() || bracket(text, "Ver").is_some())
        {
            modules.entry(number).or_insert_with(|| text.to_owned());
        }
    }
    modules
}

/// What stands in a text's brackets behind this name.
fn bracket<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices(name).find_map(|(at, _)| {
        let inner = text[at + name.len()..].strip_prefix('[')?;
        // Not the end of a longer name.
        let before = text[..at].chars().next_back();
        let whole = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        if whole { inner.split_once(']').map(|(inner, _)| inner) } else { None }
    })
}

/// That as a value; null where there is none.
fn bracketed(text: &str, name: &str) -> Value {
    bracket(text, name).map_or(Value::Null, Value::from)
}

fn identity(version: &Value, module: Option<&String>) -> Identity {
    let said = |name| module.and_then(|text| bracket(text, name)).filter(|text| !text.is_empty());
    let build = said("Ver");
    // "1246-83-21072802_4ec6bb0" is an Avalon 1246.
    let model =
        build.and_then(|build| build.split('-').next()).map(|name| format!("Avalon {name}"));
    let dna = said("DNA").filter(|dna| !dna.starts_with('<')).map(cut);
    Identity {
        maker: "Canaan".to_owned(),
        model: text(field(version, "PROD")).or_else(|| model.as_deref().map(cut)),
        firmware: build.map(cut).or_else(|| text(field(version, "CGVERSION"))),
        serial: text(field(version, "DNA")).or(dna).or_else(|| text(field(version, "MAC"))),
    }
}

/// The rate of now rather than the average: an idle device still shows the average of before, beside
/// a power of now that would make it far more efficient than any.
fn note_work(telemetry: &mut Telemetry, modules: &BTreeMap<u32, String>) {
    let rate = |text: &String| {
        let names = ["GHSspd", "GHSavg"];
        names.into_iter().find_map(|name| hash_rate(&bracketed(text, name), 1e9))
    };
    let rates: Option<Vec<u128>> = modules.values().map(rate).collect();
    telemetry.claimed_hashes_per_second =
        rates.filter(|rates| !rates.is_empty()).map(|rates| rates.iter().sum());
    let uptime = modules.values().next().and_then(|text| whole(&bracketed(text, "Elapsed")));
    telemetry.uptime = uptime.map(Duration::from_secs);
}

fn note_power(telemetry: &mut Telemetry, command: &str, modules: &BTreeMap<u32, String>) {
    if modules.is_empty() {
        telemetry.refuse("stats", &Value::Null, "no module's text, in which a power would stand");
        return;
    }
    let (mut walls, mut outputs) = (Vec::new(), Vec::new());
    let mut small = false;
    for (number, text) in modules {
        let module = module(telemetry, &format!("{command}: MM ID{number}"), text);
        walls.push(module.wall);
        outputs.push(module.output);
        small |= module.small;
    }
    let place = format!("{command}: MM ID.PS[6]");
    if let Some(power) = total(telemetry, &place, &walls) {
        let meaning = if small {
            "power into the device by its own sensors; what its separate supply loses is missing"
        } else {
            "alternating current into the supply, by the supply's own sensors"
        };
        let figure = supply_input(power, &place, meaning);
        telemetry.figures.push(if small { behind_a_supply(figure) } else { figure });
    }
    let place = format!("{command}: MM ID.PS[4]");
    if let Some(power) = total(telemetry, &place, &outputs) {
        let meaning = "direct current out of the supply, to the boards; what the supply loses, and \
                       what it takes at the wall, is not known from this";
        telemetry.figures.push(supply_output(power, &place, meaning));
    }
}

/// A figure of what a device takes from a supply that it does not see.
fn behind_a_supply(figure: Figure) -> Figure {
    Figure { meter: "input".to_owned(), scope: Scope::Device, uncertainty_ppm: 150_000, ..figure }
}

#[derive(Default)]
struct Module {
    wall: Option<MilliWatts>,
    output: Option<MilliWatts>,
    /// Whether it has a separate supply, so that `wall` is not at the wall.
    small: bool,
}

/// What one module's `PS` says.
fn module(telemetry: &mut Telemetry, place: &str, text: &str) -> Module {
    let place = format!("{place}.PS");
    let shown = bracketed(text, "PS");
    let words = bracket(text, "PS").unwrap_or_default().split_whitespace().take(16);
    let fields: Option<Vec<f64>> = words.map(|word| number(&Value::from(word))).collect();
    let fields = fields.unwrap_or_default();
    let name = bracket(text, "Ver").unwrap_or_default().to_ascii_lowercase();
    let small = name.starts_with("nano3s");
    if let Some(reason) = unbelievable(&fields, &name) {
        telemetry.refuse(&place, &shown, reason);
        return Module::default();
    }
    let named = bracketed(text, "WALLPOWER");
    let wall =
        if named.is_null() { fields.get(6).map_or(named, |w| Value::from(*w)) } else { named };
    let at_wall = telemetry.power(&format!("{place}[6]"), &wall, MOST);
    // Nothing comes out while a device is idle: that is true, and no figure of it.
    let output = if small || (fields[4] == 0.0 && at_wall.is_some()) {
        None
    } else {
        telemetry.power(&format!("{place}[4]"), &Value::from(fields[4]), MOST)
    };
    if output
        .zip(at_wall)
        .is_some_and(|(output, wall)| output.watts_f64() > wall.watts_f64() * 1.02)
    {
        telemetry.refuse(
            &format!("{place}[6]"),
            &wall,
            "more comes out of the supply than goes in",
        );
        return Module { wall: None, output, small };
    }
    Module { wall: at_wall, output, small }
}

/// Why none of these fields is believed, if so.
fn unbelievable(fields: &[f64], name: &str) -> Option<&'static str> {
    let [error, _, hundredths, amperes, watts, ..] = *fields else {
        return Some("a supply's state has five numbers at least");
    };
    if error != 0.0 {
        return Some("the supply reports an error");
    }
    if name.starts_with("nano3s") {
        return None;
    }
    if name.starts_with("nano3") {
        return Some("a Nano 3 lays these out in a way that nobody documents");
    }
    // Recorded answers agree within 0.3 %. One ampere is the step of the current, and a fifth leaves
    // room for readings of different moments; another layout is off by a factor.
    let volts = hundredths / 100.0;
    let off = (volts * amperes - watts).abs();
    let agrees = off <= volts.abs() + 0.2 * watts.abs().max((volts * amperes).abs());
    (!agrees).then_some("volts times amperes are not the watts: another layout than the documented")
}

#[cfg(test)]
mod tests;
