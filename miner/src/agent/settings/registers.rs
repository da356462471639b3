//! `[device.registers]`: where a Modbus meter that has no name here keeps its figures.
//!
//! `power` and `energy` are tables each: the register's address, how the number in it is written, its
//! unit, and how much of that unit one of it is.

use config::{Section, parse};
use energy::device::modbus::{Form, Map, Register, Table, Unit, Words};
use units::MilliWatts;

/// The map; `Some(None)` where there is no such table.
pub(super) fn read(section: &mut Section<'_>) -> Option<Option<Map>> {
    if !section.has("registers") {
        return Some(None);
    }
    let mut section = section.section("registers");
    let model = section.or("name", "\"a meter\"", parse::string());
    let most = section.or("max_watts", "100000", parse::u64_in(1..=1_000_000_000));
    let power = register(&mut section, "power", &[Unit::Watt, Unit::Kilowatt]);
    let energy = register(&mut section, "energy", &[Unit::WattHour, Unit::KilowattHour]);
    let returned = register(&mut section, "returned", &[Unit::WattHour, Unit::KilowattHour]);
    let (power, energy) = (power?, energy?);
    if power.is_none() && energy.is_none() {
        section.problem("power", "either power or energy has to be there");
        return None;
    }
    let most = MilliWatts::from_watts(most?);
    Some(Some(Map { model: model?, energy, returned: returned?, power, most }))
}

fn register(section: &mut Section<'_>, key: &str, units: &[Unit]) -> Option<Option<Register>> {
    if !section.has(key) {
        return Some(None);
    }
    let mut section = section.section(key);
    let address = section.required("address", parse::u64_in(0..=65_535));
    let tables = [("holding", Table::Holding), ("input", Table::Input)];
    let table = section.or("table", "\"holding\"", parse::one_of(&tables));
    let forms = [
        ("u16", Form::U16),
        ("i16", Form::I16),
        ("u32", Form::U32),
        ("i32", Form::I32),
        ("u64", Form::U64),
        ("f32", Form::F32),
    ];
    let form = section.required("form", parse::one_of(&forms));
    let orders = [("high-first", Words::HighFirst), ("low-first", Words::LowFirst)];
    let words = section.or("words", "\"high-first\"", parse::one_of(&orders));
    let all = [Unit::Watt, Unit::Kilowatt, Unit::WattHour, Unit::KilowattHour];
    let named = ["W", "kW", "Wh", "kWh"].into_iter().zip(all);
    let named: Vec<_> = named.filter(|(_, unit)| units.contains(unit)).collect();
    let unit = section.required("unit", parse::one_of(&named));
    let numerator = section.or("numerator", "1", parse::u64_in(1..=1_000_000));
    let denominator = section.or("denominator", "1", parse::u64_in(1..=1_000_000));
    let negative = section.or("negative", "false", parse::boolean());
    let numerator = i32::try_from(numerator?).ok()?;
    Some(Some(Register {
        table: table?,
        address: u16::try_from(address?).ok()?,
        form: form?,
        words: words?,
        numerator: if negative? { -numerator } else { numerator },
        denominator: u32::try_from(denominator?).ok()?,
        unit: unit?,
    }))
}
