//! Frames as meters send them, and each trap in them.

use proptest::prelude::*;

use super::*;
use crate::{
    device::exact::testing::{energy, plausible, power, quantities},
    meter::Tier,
};

const ASKED: Asked = Asked { unit: 1, transaction: 0x0102 };

fn b23() -> Map {
    Map::named("abb-b23").unwrap()
}

/// The answer to the request of that number, holding these bytes.
fn answer(at: u16, function: u8, registers: &[u8]) -> Vec<u8> {
    let mut frame = (ASKED.transaction + at).to_be_bytes().to_vec();
    let length = u8::try_from(registers.len() + 3).unwrap();
    frame.extend([0, 0, 0, length, ASKED.unit, function, length - 3]);
    frame.extend(registers);
    frame
}

/// What a map makes of these registers, one after the other.
fn shows(map: &Map, function: u8, registers: &[&[u8]]) -> Telemetry {
    let frames: Vec<Vec<u8>> =
        (0..).zip(registers).map(|(at, held)| answer(at, function, held)).collect();
    let answers: Vec<Option<&[u8]>> = frames.iter().map(|frame| Some(&frame[..])).collect();
    read(map, ASKED, &answers).unwrap()
}

fn reasons(telemetry: &Telemetry) -> Vec<&str> {
    telemetry.refused.iter().map(|one| one.reason.as_str()).collect()
}

#[test]
fn a_b23_counts_hundredths_of_kilowatt_hours_and_of_watts() {
    // 123,456.78 kWh drawn, nothing fed back, 3,456.78 W.
    let registers: [&[u8]; 3] =
        [&12_345_678_u64.to_be_bytes(), &0_u64.to_be_bytes(), &345_678_i32.to_be_bytes()];
    let telemetry = shows(&b23(), 3, &registers);
    let expected = [energy(444_444_408_000_000_000, 36_000_000_000), power(3_456_780)];
    assert_eq!(quantities(&telemetry), expected);
    let counter = &telemetry.figures[0];
    assert_eq!((counter.kind, counter.scope), (Kind::Modbus, Scope::Site));
    assert_eq!((counter.tier, counter.uncertainty_ppm), (Tier::REVENUE_GRADE, 10_000));
    assert_eq!(counter.field, "registers 0x5000");
    assert!(counter.meaning.contains("drawn"));
    assert_eq!(telemetry.figures[1].field, "registers 0x5b14");
    assert_eq!(telemetry.refused, []);
}

#[test]
fn requests_and_frames_are_those_of_the_protocol() {
    let (holding, input) = (Table::Holding, Table::Input);
    let expected = [
        Request::Modbus { table: holding, start: 0x5000, count: 4 },
        Request::Modbus { table: holding, start: 0x5004, count: 4 },
        Request::Modbus { table: holding, start: 0x5b14, count: 2 },
    ];
    assert_eq!(requests(&b23()), expected);
    let sdm = requests(&Map::named("eastron-sdm630").unwrap());
    assert_eq!(sdm[2], Request::Modbus { table: input, start: 0x34, count: 2 });
    assert_eq!(frame(ASKED, holding, 0x5b14, 2), [1, 2, 0, 0, 0, 6, 1, 3, 0x5b, 0x14, 0, 2]);
    assert_eq!(frame(ASKED, input, 0x34, 2)[7], 4);
    let last = Asked { transaction: u16::MAX, ..ASKED };
    let frames = frames(&b23(), last);
    assert_eq!(frames[0], frame(last, holding, 0x5000, 4));
    assert_eq!(frames[2], frame(Asked { transaction: 1, ..ASKED }, holding, 0x5b14, 2));
    assert_eq!(Map::named("no such"), None);
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let good = answer(0, 3, &[0, 0, 0, 5]);
    let check = |frame: &[u8]| response(frame, ASKED, Table::Holding, 2).map(<[u8]>::to_vec);
    assert_eq!(check(&good), Ok(vec![0, 0, 0, 5]));
    // Transaction, protocol, length, unit, function, byte count.
    for (at, what) in [(1, "request"), (3, "protocol"), (5, "length"), (6, "unit"), (7, "function")]
    {
        let mut wrong = good.clone();
        wrong[at] ^= 0x10;
        let error = check(&wrong).unwrap_err().to_string();
        assert!(error.contains(what), "{at}: {error}");
    }
    let mut wrong = good.clone();
    wrong[8] = 2;
    assert!(check(&wrong).unwrap_err().to_string().contains("2 registers"));
    assert!(check(&good[..9]).is_err() && check(&[]).is_err());
    assert!(response(&good, ASKED, Table::Input, 2).is_err());
}

#[test]
fn an_old_answer_does_not_look_live() {
    let registers: [&[u8]; 1] = [&5_u64.to_be_bytes()];
    let frame = answer(0, 3, registers[0]);
    let next = Asked { transaction: ASKED.transaction + 3, ..ASKED };
    let error = read(&b23(), next, &[Some(&frame), None, None]).unwrap_err();
    assert!(matches!(error, Unreadable::Malformed { .. }), "{error}");
    assert_eq!(read(&b23(), ASKED, &[None, None, None]), Err(Unreadable::Silent));
}

#[test]
fn an_exception_is_a_refusal() {
    let frame = [1, 2, 0, 0, 0, 3, 1, 0x83, 2];
    let error = read(&b23(), ASKED, &[Some(&frame), None, None]).unwrap_err();
    assert!(error.to_string().contains("does not have these registers"), "{error}");
    // A meter without one of them still gives the others.
    let watts = answer(2, 3, &100_i32.to_be_bytes());
    let telemetry = read(&b23(), ASKED, &[Some(&frame), None, Some(&watts)]).unwrap();
    assert_eq!((quantities(&telemetry), telemetry.refused.len()), (vec![power(1_000)], 1));
}

#[test]
fn reversed_transformers_are_named_and_nothing_is_negative() {
    let registers: [&[u8]; 3] =
        [&0_u64.to_be_bytes(), &1_493_107_599_u64.to_be_bytes(), &(-345_678_i32).to_be_bytes()];
    let telemetry = shows(&b23(), 3, &registers);
    assert_eq!(telemetry.figures, []);
    assert_eq!(reasons(&telemetry), [REVERSED, BACKWARDS]);
    // Of an M4M20 what is drawn is negative; its counter is still the wrong one.
    let m4m20 = Map::named("abb-m4m20").unwrap();
    let watts = (-22_144_000_i32).to_be_bytes();
    let telemetry = shows(&m4m20, 3, &[registers[0], registers[1], &watts]);
    assert_eq!(quantities(&telemetry), [power(22_144_000_000)]);
    assert_eq!(reasons(&telemetry), [REVERSED]);
    // Where the other counter did not come, a zero says nothing.
    let frame = answer(0, 3, registers[0]);
    let telemetry = read(&b23(), ASKED, &[Some(&frame), None, None]).unwrap();
    assert_eq!((quantities(&telemetry), reasons(&telemetry)), (vec![], vec![UNCERTAIN]));
    // A meter that has counted nothing at all is new.
    let telemetry = shows(&b23(), 3, &[registers[0], registers[0], &[0; 4]]);
    assert_eq!(quantities(&telemetry), [energy(0, 36_000_000_000), power(0)]);
}

#[test]
fn floats_are_exact_and_know_their_step() {
    let map = Map::named("eastron-sdm230").unwrap();
    let held = |number: f32| number.to_bits().to_be_bytes();
    let registers = [held(12_345.5), held(0.0), held(230.25)];
    let telemetry = shows(&map, 4, &registers.each_ref().map(|held| &held[..]));
    // Above 8192 a step is 2^-10 kWh.
    let expected = [energy(44_443_800_000_000_000, 3_515_625_000), power(230_250)];
    assert_eq!(quantities(&telemetry), expected);
    for wrong in [f32::NAN, f32::INFINITY, -1.0, 1e30, f32::MAX] {
        let registers = [held(wrong), held(0.0), held(wrong)];
        let telemetry = shows(&map, 4, &registers.each_ref().map(|held| &held[..]));
        assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (0, 2), "{wrong}");
    }
}

#[test]
fn codes_for_no_figure_are_none() {
    let all = [0xff; 8];
    let telemetry = shows(&b23(), 3, &[&all, &all, &i32::MAX.to_be_bytes()]);
    assert_eq!(telemetry.figures, []);
    assert!(reasons(&telemetry).iter().all(|reason| reason.contains("code")));
}

#[test]
fn a_map_by_hand_names_any_meter() {
    let register = |address, form, numerator, denominator, unit| Register {
        table: Table::Input,
        address,
        form,
        words: Words::LowFirst,
        numerator,
        denominator,
        unit,
    };
    let map = Map {
        model: "by hand".to_owned(),
        energy: Some(register(10, Form::U32, 10, 1, Unit::WattHour)),
        returned: None,
        power: Some(register(20, Form::I16, 1, 10, Unit::Kilowatt)),
        most: MilliWatts::from_watts(500_000),
    };
    // 0x0001_0002 with its lower half first.
    let telemetry = shows(&map, 4, &[&[0, 2, 0, 1], &(35_i16).to_be_bytes()]);
    assert_eq!(
        quantities(&telemetry),
        [energy(65_538 * 36_000_000_000, 36_000_000_000), power(3_500_000)]
    );
    let swapped = Map { energy: map.power, power: map.energy, ..map };
    let telemetry = shows(&swapped, 4, &[&[0, 1], &[0, 2, 0, 1]]);
    assert_eq!(telemetry.figures, []);
    assert!(reasons(&telemetry).iter().all(|reason| reason.contains("unit")));
    let divided = Register { denominator: 0, ..register(1, Form::U16, 1, 0, Unit::Watt) };
    let map = Map { energy: None, power: Some(divided), ..swapped };
    assert_eq!(shows(&map, 4, &[&[0, 1]]).figures, []);
    assert_eq!(Unit::parse("kWh"), Some(Unit::KilowattHour));
    assert_eq!(Unit::parse("kwh"), None);
}

fn any_register() -> impl Strategy<Value = Register> {
    let form = prop_oneof![
        Just(Form::U16),
        Just(Form::I16),
        Just(Form::U32),
        Just(Form::I32),
        Just(Form::U64),
        Just(Form::F32),
    ];
    let unit = prop_oneof![Just(Unit::Watt), Just(Unit::Kilowatt), Just(Unit::KilowattHour)];
    (form, unit, any::<i32>(), any::<u32>(), any::<bool>()).prop_map(
        |(form, unit, numerator, denominator, low)| Register {
            table: Table::Holding,
            address: 0,
            form,
            words: if low { Words::LowFirst } else { Words::HighFirst },
            numerator,
            denominator,
            unit,
        },
    )
}

proptest! {
    #[test]
    fn no_frame_and_no_map_break_it(
        energy in any_register(),
        power in any_register(),
        held in prop::collection::vec(any::<u8>(), 8),
        bytes in prop::collection::vec(any::<u8>(), 0..30),
        change in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let most = MilliWatts::from_watts(1_000_000);
        let (energy, returned, power) = (Some(energy), None, Some(power));
        let map = Map { model: String::new(), energy, returned, power, most };
        let mut frames: Vec<Vec<u8>> = (0..)
            .zip(map.parts())
            .map(|(at, (_, register))| {
                answer(at, 3, &held[..2 * usize::from(register.form.registers())])
            })
            .collect();
        let all = |frames: &[Vec<u8>]| {
            read(&map, ASKED, &[Some(&frames[0]), Some(&frames[1])])
        };
        prop_assert!(plausible(&all(&frames), most));
        let at = change.0.index(frames[0].len());
        frames[0][at] = change.1;
        frames[1] = bytes;
        prop_assert!(plausible(&all(&frames), most));
    }

    #[test]
    fn a_float_is_what_it_is(number in 0.0_f32..1e9) {
        let exact = Number::float(number).unwrap().times(1_000_000).unwrap();
        let expected = f64::from(number) * 1e6;
        #[expect(clippy::cast_precision_loss, reason = "compared to within a millionth")]
        let difference = (exact as f64 - expected).abs();
        prop_assert!(difference <= 1.0 + expected * 1e-9);
    }
}
