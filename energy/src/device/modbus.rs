//! Meters over Modbus TCP: frames, registers, and maps of registers for meters by name or by hand.
//!
//! Read [`Map`] first: where a meter keeps its power and its counters. [`Map::named`] knows some meters,
//! and any other is a `Map` in the configuration. [`requests`] says what to read, [`frames`] makes the
//! frames of it, and [`read`] takes the frames that came back. A frame is taken only if it answers
//! that very request: a late one to an earlier request, or one that a gateway gives for another meter,
//! would make old figures look like new ones.
//!
//! Facts: the Modbus Application Protocol 1.1b3 and Modbus Messaging on TCP/IP 1.0b; the registers of
//! ABB's B23/B24 and of Eastron's SDM630 and SDM230 as several independent readers of them have them;
//! those of ABB's M4M20 from one, with a state of that meter.
//! Deliberately not here: writing, serial lines, registers of currents and voltages, ratios of current
//! transformers (a meter that knows them has applied them).
//!
//! Units: a register times its ratio is watts, kilowatts, watt-hours or kilowatt-hours; rounded down.

use units::{MicroJoules, MilliWatts};

use super::{
    Answers, Quantity, Refused, Request, Telemetry, Unreadable,
    exact::{BACKWARDS, MOST_ENERGY, Meter, finish, malformed},
};
use crate::meter::{Kind, Scope};

/// Which of a meter's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Holding registers: function 3.
    Holding,
    /// Input registers: function 4.
    Input,
}

impl Table {
    /// The function that reads them.
    #[must_use]
    pub const fn function(self) -> u8 {
        match self {
            Self::Holding => 3,
            Self::Input => 4,
        }
    }
}

/// How a number is written in registers, each of which is 16 bits with the higher byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One register without a sign.
    U16,
    /// One register in two's complement.
    I16,
    /// Two registers without a sign.
    U32,
    /// Two registers in two's complement.
    I32,
    /// Four registers without a sign.
    U64,
    /// Two registers, IEEE 754.
    F32,
}

impl Form {
    /// How many registers.
    #[must_use]
    pub const fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 => 4,
        }
    }
}

/// Which of several registers comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// The highest, as most meters have it.
    HighFirst,
    /// The lowest.
    LowFirst,
}

/// What a register's number times its ratio is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Watts.
    Watt,
    /// Kilowatts.
    Kilowatt,
    /// Watt-hours.
    WattHour,
    /// Kilowatt-hours.
    KilowattHour,
}

impl Unit {
    /// The unit of a word: `W`, `kW`, `Wh` or `kWh`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "W" => Some(Self::Watt),
            "kW" => Some(Self::Kilowatt),
            "Wh" => Some(Self::WattHour),
            "kWh" => Some(Self::KilowattHour),
            _ => None,
        }
    }

    /// In milliwatts, if it is one of power.
    const fn milliwatts(self) -> Option<i128> {
        match self {
            Self::Watt => Some(1_000),
            Self::Kilowatt => Some(1_000_000),
            Self::WattHour | Self::KilowattHour => None,
        }
    }

    /// In microjoules, if it is one of energy.
    const fn microjoules(self) -> Option<i128> {
        match self {
            Self::Watt | Self::Kilowatt => None,
            Self::WattHour => Some(3_600_000_000),
            Self::KilowattHour => Some(3_600_000_000_000),
        }
    }
}

/// Where a number stands, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which registers.
    pub table: Table,
    /// The address in the frame, counted from 0: mostly one less than in a manual that counts from 1.
    pub address: u16,
    /// How it is written.
    pub form: Form,
    /// In which order.
    pub words: Words,
    /// What one is of the unit: this, negative where what is drawn counts as negative,
    pub numerator: i32,
    /// divided by this, which is at least 1.
    pub denominator: u32,
    /// The unit.
    pub unit: Unit,
}

/// Where a meter keeps its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The meter, for people.
    pub model: String,
    /// The counter of what was drawn.
    pub energy: Option<Register>,
    /// The counter of what was fed back. It is never a figure; it tells a meter that is connected the
    /// wrong way round.
    pub returned: Option<Register>,
    /// Active power now, of all phases.
    pub power: Option<Register>,
    /// More than goes through it.
    pub most: MilliWatts,
}

/// Whom a request was sent to, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The meter behind the address: 1 for one alone, mostly.
    pub unit: u8,
    /// The number of the first request; each further one has the next. No poll may begin with a number
    /// of the one before.
    pub transaction: u16,
}

impl Asked {
    /// As the request of that number within a poll is asked, counted from 0.
    const fn nth(self, at: u16) -> Self {
        Self { unit: self.unit, transaction: self.transaction.wrapping_add(at) }
    }
}

impl Map {
    /// The meters that have one.
    pub const NAMES: [&str; 5] =
        ["abb-b23", "abb-b24", "abb-m4m20", "eastron-sdm630", "eastron-sdm230"];

    /// The map of a meter by name.
    #[must_use]
    pub fn named(model: &str) -> Option<Self> {
        // Watts as a fraction of them, and a counter in hundredths of a kilowatt-hour.
        let abb = |power: u16, numerator, denominator, most| Self {
            model: model.to_owned(),
            energy: Some(Register::abb(0x5000, Form::U64, 1, 100, Unit::KilowattHour)),
            returned: Some(Register::abb(0x5004, Form::U64, 1, 100, Unit::KilowattHour)),
            power: Some(Register::abb(power, Form::I32, numerator, denominator, Unit::Watt)),
            most: MilliWatts::from_watts(most),
        };
        let eastron = |power, most| Self {
            model: model.to_owned(),
            energy: Some(Register::eastron(0x0048, Unit::KilowattHour)),
            returned: Some(Register::eastron(0x004a, Unit::KilowattHour)),
            power: Some(Register::eastron(power, Unit::Watt)),
            most: MilliWatts::from_watts(most),
        };
        match model {
            // 65 A at 400 V, in three phases.
            "abb-b23" => Some(abb(0x5b14, 1, 100, 60_000)),
            // Behind transformers.
            "abb-b24" => Some(abb(0x5b14, 1, 100, 10_000_000)),
            // Also behind transformers of voltage; as recorded, what is drawn is negative in it.
            "abb-m4m20" => Some(abb(0xcb1a, -1, 1, 100_000_000)),
            "eastron-sdm630" => Some(eastron(0x0034, 100_000)),
            "eastron-sdm230" => Some(eastron(0x000c, 30_000)),
            _ => None,
        }
    }

    /// What is read, in the order of the requests.
    fn parts(&self) -> impl Iterator<Item = (&'static str, Register)> {
        let energy = self.energy.map(|register| ("energy", register));
        let returned = self.returned.map(|register| ("returned", register));
        let power = self.power.map(|register| ("power", register));
        [energy, returned, power].into_iter().flatten()
    }
}

impl Register {
    const fn abb(address: u16, form: Form, numerator: i32, denominator: u32, unit: Unit) -> Self {
        let (table, words) = (Table::Holding, Words::HighFirst);
        Self { table, address, form, words, numerator, denominator, unit }
    }

    const fn eastron(address: u16, unit: Unit) -> Self {
        let (table, form, words) = (Table::Input, Form::F32, Words::HighFirst);
        Self { table, address, form, words, numerator: 1, denominator: 1, unit }
    }
}

/// What to ask: the counter, what tells whether it is the right one, and the power.
#[must_use]
pub fn requests(map: &Map) -> Vec<Request> {
    let request = |(_, register): (_, Register)| Request::Modbus {
        table: register.table,
        start: register.address,
        count: register.form.registers(),
    };
    map.parts().map(request).collect()
}

/// The frames of all that is to be read of a meter, in the order of [`requests`].
#[must_use]
pub fn frames(map: &Map, asked: Asked) -> Vec<[u8; 12]> {
    let parts = (0..).zip(map.parts());
    parts
        .map(|(at, (_, register))| {
            frame(asked.nth(at), register.table, register.address, register.form.registers())
        })
        .collect()
}

/// The frame that reads `count` registers from `start` on.
#[must_use]
pub fn frame(asked: Asked, table: Table, start: u16, count: u16) -> [u8; 12] {
    let [transaction_high, transaction_low] = asked.transaction.to_be_bytes();
    let [start_high, start_low] = start.to_be_bytes();
    let [count_high, count_low] = count.to_be_bytes();
    [
        transaction_high,
        transaction_low,
        0,
        0,
        0,
        6,
        asked.unit,
        table.function(),
        start_high,
        start_low,
        count_high,
        count_low,
    ]
}

/// The registers that a frame holds, if it is the answer to this request.
///
/// # Errors
/// Where it is another answer or none, and where the meter refuses.
pub fn response(frame: &[u8], asked: Asked, table: Table, count: u16) -> Result<&[u8], Unreadable> {
    const COMMAND: &str = "Modbus";
    let wrong = |reason: String| Err(malformed(COMMAND, reason));
    let Some((&[t0, t1, p0, p1, l0, l1, unit, function], data)) = frame.split_first_chunk::<8>()
    else {
        return wrong(format!("{} bytes are no frame", frame.len()));
    };
    let transaction = u16::from_be_bytes([t0, t1]);
    if transaction != asked.transaction {
        return wrong(format!("it answers request {transaction}, not {}", asked.transaction));
    }
    if u16::from_be_bytes([p0, p1]) != 0 {
        return wrong("its protocol is not Modbus".to_owned());
    }
    if usize::from(u16::from_be_bytes([l0, l1])) != data.len() + 2 {
        return wrong("its length is not what it says".to_owned());
    }
    if unit != asked.unit {
        return wrong(format!("unit {unit} answers, not {}", asked.unit));
    }
    match data {
        [code] if function == table.function() | 0x80 => {
            Err(Unreadable::Refused { command: COMMAND.to_owned(), message: exception(*code) })
        }
        _ if function != table.function() => wrong(format!("it answers function {function}")),
        [bytes, registers @ ..]
            if usize::from(*bytes) == registers.len()
                && registers.len() == 2 * usize::from(count) =>
        {
            Ok(registers)
        }
        _ => wrong(format!("it does not hold {count} registers")),
    }
}

/// Modbus Application Protocol, section 7.
fn exception(code: u8) -> String {
    match code {
        1 => "it does not have this function".to_owned(),
        2 => "it does not have these registers".to_owned(),
        3 => "it does not read so many registers".to_owned(),
        4 => "it has failed".to_owned(),
        6 => "it is busy".to_owned(),
        10 => "the gateway has no way to it".to_owned(),
        11 => "it does not answer the gateway".to_owned(),
        other => format!("exception {other}"),
    }
}

/// What the answers say.
///
/// # Errors
/// Where no answer came, or none to these requests.
pub fn read(map: &Map, asked: Asked, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut telemetry = Telemetry::default();
    let mut failures = Vec::new();
    let mut held = |name: &str| {
        let at = map.parts().position(|(part, _)| part == name)?;
        let (_, register) = map.parts().nth(at)?;
        let bytes = answers.get(at).copied().flatten()?;
        let asked = asked.nth(u16::try_from(at).ok()?);
        match response(bytes, asked, register.table, register.form.registers()) {
            Ok(registers) => Some(Held { register, number: Number::of(register, registers) }),
            Err(failure) => {
                failures.push(failure);
                None
            }
        }
    };
    let (drawn, returned, power) = (held("energy"), held("returned"), held("power"));
    if let Some(drawn) = drawn {
        counter(map, &drawn, returned.as_ref(), &mut telemetry);
    }
    if let Some(power) = power {
        draw(map, &power, &mut telemetry);
    }
    telemetry.identity.maker = "Modbus".to_owned();
    telemetry.identity.model = Some(map.model.clone());
    finish(answers, failures, telemetry)
}

fn counter(map: &Map, drawn: &Held, returned: Option<&Held>, telemetry: &mut Telemetry) {
    let field = drawn.field();
    let amount = drawn.amount(Unit::microjoules).and_then(|(total, step)| {
        let total = u128::try_from(total).map_err(|_| "a counter of energy is not negative")?;
        Ok((total, step))
    });
    let back = returned.and_then(|held| held.amount(Unit::microjoules).ok());
    let (total, step) = match amount {
        Ok((0, _)) if back.is_some_and(|(back, _)| back > 0) => {
            return drawn.refuse(&field, REVERSED, telemetry);
        }
        Ok((0, _)) if map.returned.is_some() && back.is_none() => {
            return drawn.refuse(&field, UNCERTAIN, telemetry);
        }
        Ok((total, _)) if total > MOST_ENERGY => {
            return drawn.refuse(&field, "more energy than any meter has counted", telemetry);
        }
        Ok(amount) => amount,
        Err(reason) => return drawn.refuse(&field, reason, telemetry),
    };
    let (total, step) = (MicroJoules::new(total), MicroJoules::new(step));
    let quantity = Quantity::Energy { total, step };
    let meaning = format!("active energy drawn, as the {} counts it", map.model);
    telemetry.figures.push(meter().figure(quantity, &field, &meaning));
}

const REVERSED: &str = "nothing drawn and something fed back: the current transformers are on the \
                        wrong way round";
const UNCERTAIN: &str = "nothing drawn, and what was fed back is not known: the current \
                         transformers may be on the wrong way round";

fn draw(map: &Map, power: &Held, telemetry: &mut Telemetry) {
    let field = power.field();
    let milliwatts = match power.amount(Unit::milliwatts) {
        Ok((number, _)) if number < 0 => return power.refuse(&field, BACKWARDS, telemetry),
        Ok((number, _)) => u64::try_from(number).unwrap_or(u64::MAX),
        Err(reason) => return power.refuse(&field, reason, telemetry),
    };
    let watts = MilliWatts::new(milliwatts);
    if watts > map.most {
        return power.refuse(&field, "more than goes through this meter", telemetry);
    }
    let meaning = format!("active power of all phases now, as the {} measures it", map.model);
    telemetry.figures.push(meter().figure(Quantity::Power(watts), &field, &meaning));
}

/// A class 1 meter, at the feed of whatever is behind it.
fn meter() -> Meter {
    Meter::new("meter", Kind::Modbus, Scope::Site)
}

/// A register and what it held.
struct Held {
    register: Register,
    number: Option<Number>,
}

impl Held {
    fn field(&self) -> String {
        format!("registers 0x{:04x}", self.register.address)
    }

    fn refuse(&self, field: &str, reason: &str, telemetry: &mut Telemetry) {
        let text = self.number.map_or_else(String::new, Number::text);
        let (field, reason) = (field.to_owned(), reason.to_owned());
        telemetry.refused.push(Refused { field, text, reason });
    }

    /// The amount in small units, and the least by which it can change.
    fn amount(&self, small: fn(Unit) -> Option<i128>) -> Result<(i128, u128), &'static str> {
        const TOO_BIG: &str = "no such amount";
        let unit = small(self.register.unit).ok_or("the register's unit is not one of this")?;
        let number = self.number.ok_or("the code for a figure that the meter does not have")?;
        let factor = unit * i128::from(self.register.numerator);
        let denominator = i128::from(self.register.denominator);
        let of = |product: Option<i128>| product.and_then(|all| all.checked_div(denominator));
        let step = of(number.step(factor)).ok_or(TOO_BIG)?.unsigned_abs().max(1);
        Ok((of(number.times(factor)).ok_or(TOO_BIG)?, step))
    }
}

/// A number: `size` times two to the power of `power`, which is 0 for whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    size: i128,
    power: i32,
}

impl Number {
    /// What the registers hold; none for the codes that stand for no figure.
    fn of(register: Register, bytes: &[u8]) -> Option<Self> {
        let words = bytes.chunks_exact(2);
        let ordered: Vec<u8> = match register.words {
            Words::HighFirst => words.flatten().copied().collect(),
            Words::LowFirst => words.rev().flatten().copied().collect(),
        };
        let raw = ordered.iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
        let bits = 16 * u32::from(register.form.registers());
        let ones = u64::MAX >> (64 - bits);
        let sign = 1_u64 << (bits - 1);
        match register.form {
            Form::U16 | Form::U32 | Form::U64 => (raw != ones).then(|| Self::whole(raw.into())),
            // The greatest and the least number are codes, the greatest in most meters.
            Form::I16 | Form::I32 if raw == sign || raw == sign - 1 => None,
            Form::I16 | Form::I32 if raw >= sign => {
                Some(Self::whole(i128::from(raw) - i128::from(ones) - 1))
            }
            Form::I16 | Form::I32 => Some(Self::whole(raw.into())),
            Form::F32 => Self::float(f32::from_bits(u32::try_from(raw).ok()?)),
        }
    }

    const fn whole(size: i128) -> Self {
        Self { size, power: 0 }
    }

    /// IEEE 754: a sign, 8 bits of exponent, 23 bits behind a hidden one.
    fn float(number: f32) -> Option<Self> {
        let bits = number.to_bits();
        let exponent = i32::try_from((bits >> 23) & 0xff).ok()?;
        let (hidden, power) = if exponent == 0 { (0, -149) } else { (1 << 23, exponent - 150) };
        let size = i128::from((bits & 0x7f_ffff) | hidden);
        let size = if number.is_sign_negative() { -size } else { size };
        number.is_finite().then_some(Self { size, power })
    }

    /// This many times a factor, rounded towards zero; none where it is too big.
    fn times(self, factor: i128) -> Option<i128> {
        scaled(self.size.checked_mul(factor)?, self.power)
    }

    /// The step to the next number, times a factor.
    fn step(self, factor: i128) -> Option<i128> {
        scaled(factor, self.power)
    }

    fn text(self) -> String {
        if self.power == 0 {
            self.size.to_string()
        } else {
            format!("{}p{}", self.size, self.power)
        }
    }
}

/// A number times two to the power of `power`, rounded towards zero.
fn scaled(number: i128, power: i32) -> Option<i128> {
    let factor = 2_i128.checked_pow(power.unsigned_abs());
    match (factor, power >= 0) {
        (Some(factor), true) => number.checked_mul(factor),
        (None, true) => (number == 0).then_some(0),
        (Some(factor), false) => number.checked_div(factor),
        (None, false) => Some(0),
    }
}

#[cfg(test)]
mod tests;
