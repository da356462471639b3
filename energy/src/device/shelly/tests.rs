//! Answers as Shelly's devices give them, and each trap in them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    counter::{Counter, Limits, Step},
    device::exact::testing::{energy, mutated, plausible, power, quantities},
    meter::Tier,
};

/// As recorded of a plug.
const SWITCH: &[u8] = br#"{"id":0,"source":"WS_in","output":true,"apower":10.7,"voltage":120.7,"current":0.133,"aenergy":{"total":46791.262,"by_minute":[73.921,177.749,177.749],"minute_ts":1682952864},"temperature":{"tC":47.9,"tF":118.3}}"#;
const PLUG: &[u8] = br#"{"relays":[{"ison":true}],"meters":[{"power":85.05,"overpower":0.00,"is_valid":true,"timestamp":1618501251,"counters":[90.138,26.141,0.000],"total":116}],"mac":"AABBCC"}"#;
const CLAMPS: &[u8] = br#"{"emeters":[{"power":10.66,"pf":1.0,"current":0.08,"voltage":232.06,"is_valid":true,"total":5.3,"total_returned":0.0},{"power":-3.5,"is_valid":true,"total":0.0},{"power":1.0,"is_valid":false,"total":9.0}],"total_power":10.66}"#;
const EM1: &[u8] = br#"{"id":1,"current":22.780,"voltage":224.6,"act_power":5080.3,"aprt_power":5142.4,"pf":0.99,"freq":50.0,"calibration":"factory"}"#;
const EM1_DATA: &[u8] = br#"{"id":1,"total_act_energy":6644.90,"total_act_ret_energy":2595.26}"#;
const EM: &[u8] =
    br#"{"id":0,"a_act_power":100.1,"b_act_power":0.0,"c_act_power":null,"total_act_power":100.1}"#;
const EM_DATA: &[u8] = br#"{"id":0,"a_total_act_energy":0.06,"b_total_act_energy":0.06,"c_total_act_energy":26289.44,"total_act":26289.57,"total_act_ret":131881.86}"#;

fn one(channel: Channel, answer: &[u8]) -> Telemetry {
    read(channel, &[Some(answer)]).unwrap()
}

fn reason(channel: Channel, answer: &[u8]) -> String {
    let telemetry = one(channel, answer);
    assert_eq!(telemetry.figures, [], "{channel:?}");
    telemetry.refused[0].reason.clone()
}

#[test]
fn a_plug_of_the_second_generation_counts_watt_hours() {
    let shelly = br#"{"id":"shellyplus1pm-x","mac":"A8","model":"SNSW","gen":2,"ver":"1.0.3"}"#;
    let telemetry = read(Channel::Switch(0), &[Some(SWITCH), Some(shelly)]).unwrap();
    let expected = [energy(168_448_543_200_000, 3_600_000), power(10_700)];
    assert_eq!(quantities(&telemetry), expected);
    let counter = &telemetry.figures[0];
    assert_eq!(
        (counter.kind, counter.scope, counter.tier),
        (Kind::Plug, Scope::Rig, Tier::METERED)
    );
    assert_eq!((counter.meter.as_str(), counter.uncertainty_ppm), ("switch:0", 20_000));
    assert_eq!(counter.field, "Switch.GetStatus: aenergy.total");
    assert!(counter.meaning.contains("Wh"), "{}", counter.meaning);
    assert_eq!(telemetry.figures[1].field, "Switch.GetStatus: apower");
    assert_eq!(telemetry.identity.firmware.as_deref(), Some("1.0.3"));
    assert_eq!(telemetry.refused, []);
}

#[test]
fn relays_of_the_first_generation_count_watt_minutes() {
    let telemetry = one(Channel::Relay(0), PLUG);
    assert_eq!(quantities(&telemetry), [energy(116 * 60_000_000, 60_000_000), power(85_050)]);
    assert_eq!(telemetry.figures[0].field, "/status: meters[0].total");
    assert!(telemetry.figures[0].meaning.contains("Wmin"));
}

#[test]
fn clamps_of_the_first_generation_count_watt_hours() {
    let telemetry = one(Channel::Clamp(0), CLAMPS);
    assert_eq!(quantities(&telemetry), [energy(19_080_000_000, 360_000_000), power(10_660)]);
}

#[test]
fn counters_apart_from_their_power_are_watt_hours_too() {
    let telemetry = read(Channel::Em1(1), &[Some(EM1), Some(EM1_DATA), None]).unwrap();
    let expected = [energy(23_921_640_000_000, 36_000_000), power(5_080_300)];
    assert_eq!(quantities(&telemetry), expected);
    let telemetry = read(Channel::Em(0), &[Some(EM), Some(EM_DATA)]).unwrap();
    let expected = [energy(94_642_452_000_000, 36_000_000), power(100_100)];
    assert_eq!(quantities(&telemetry), expected);
    let telemetry = read(Channel::Phase(0, Phase::B), &[Some(EM), Some(EM_DATA)]).unwrap();
    assert_eq!(quantities(&telemetry), [energy(216_000_000, 36_000_000), power(0)]);
    assert_eq!(telemetry.figures[0].meter, "em:0:b");
    // A phase that is not connected has a counter and no power.
    let telemetry = read(Channel::Phase(0, Phase::C), &[Some(EM), Some(EM_DATA)]).unwrap();
    assert_eq!(quantities(&telemetry), [energy(94_641_984_000_000, 36_000_000)]);
    // Half of the answers is half of the figures.
    let telemetry = read(Channel::Em1(1), &[Some(EM1), None]).unwrap();
    assert_eq!(quantities(&telemetry), [power(5_080_300)]);
}

#[test]
fn a_relay_without_a_meter_is_no_data() {
    let first = br#"{"relays":[{"ison":true}],"meters":[{"power":0.00,"is_valid":true}]}"#;
    assert_eq!(reason(Channel::Relay(0), first), UNMETERED);
    let setting = br#"{"relays":[{"ison":true}],"meters":[{"power":60.0,"is_valid":true}]}"#;
    assert_eq!(reason(Channel::Relay(0), setting), UNMETERED);
    let second = br#"{"id":0,"source":"init","output":true,"temperature":{"tC":40}}"#;
    assert_eq!(reason(Channel::Switch(0), second), UNMETERED);
    let zero = br#"{"id":0,"output":true,"apower":0.0}"#;
    assert_eq!(reason(Channel::Switch(0), zero), UNMETERED);
}

#[test]
fn a_metered_plug_that_is_off_truly_draws_nothing() {
    let off = br#"{"id":0,"output":false,"apower":0.0,"aenergy":{"total":12.5}}"#;
    let telemetry = one(Channel::Switch(0), off);
    assert_eq!(quantities(&telemetry), [energy(45_000_000_000, 3_600_000), power(0)]);
    let off = br#"{"relays":[{"ison":false}],"meters":[{"power":0,"is_valid":true,"total":0}]}"#;
    assert_eq!(quantities(&one(Channel::Relay(0), off)), [energy(0, 60_000_000), power(0)]);
}

#[test]
fn a_reversed_clamp_is_refused_and_never_negative() {
    let telemetry = one(Channel::Clamp(1), CLAMPS);
    assert_eq!(quantities(&telemetry), [energy(0, 360_000_000)]);
    assert!(telemetry.refused[0].reason.contains("backwards"));
}

#[test]
fn a_meter_that_fails_says_so() {
    assert_eq!(reason(Channel::Clamp(2), CLAMPS), SELF_CHECK);
    let failing = br#"{"id":0,"total_act_power":0.0,"errors":["power_meter_failure"]}"#;
    let telemetry = read(Channel::Em(0), &[Some(failing), Some(EM_DATA)]).unwrap();
    assert_eq!((telemetry.figures.len(), telemetry.refused[0].reason.as_str()), (0, SELF_CHECK));
    assert!(reason(Channel::Relay(3), PLUG).contains("no such channel"));
}

#[test]
fn a_refusal_a_page_and_another_channels_answer_are_no_figures() {
    let refused = br#"{"code":-105,"message":"Argument 'id', value 7 not found!"}"#;
    let error = read(Channel::Switch(7), &[Some(refused)]).unwrap_err();
    assert!(matches!(error, Unreadable::Refused { .. }), "{error}");
    let page = read(Channel::Switch(0), &[Some(b"<html>401</html>")]).unwrap_err();
    assert!(matches!(page, Unreadable::Malformed { .. }), "{page}");
    let other = read(Channel::Switch(1), &[Some(SWITCH)]).unwrap_err().to_string();
    assert!(other.contains("id 0"), "{other}");
    assert_eq!(read(Channel::Em(0), &[None, None, None]), Err(Unreadable::Silent));
    let telemetry = read(Channel::Em1(1), &[Some(refused), Some(EM1_DATA)]).unwrap();
    assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (1, 1));
}

#[test]
fn kilowatt_hours_in_place_of_watt_hours_are_refused() {
    let wrong = br#"{"id":0,"output":true,"apower":"10.7W","aenergy":{"total":"46.791 kWh"}}"#;
    let telemetry = one(Channel::Switch(0), wrong);
    assert_eq!(quantities(&telemetry), [power(10_700)]);
    assert!(telemetry.refused[0].reason.contains("kWh"));
}

#[test]
fn a_counter_that_was_reset_costs_no_energy() {
    let limits = Limits { range: None, max_power: MOST_OF_A_RELAY, stuck_after: None };
    let mut counter = Counter::new(limits);
    let mut show = |total: &str, second| {
        let answer = format!(r#"{{"meters":[{{"power":60,"is_valid":true,"total":{total}}}]}}"#);
        let telemetry = one(Channel::Relay(0), answer.as_bytes());
        let Quantity::Energy { total, .. } = telemetry.figures[0].quantity else { panic!() };
        counter.advance(total, Duration::from_secs(second))
    };
    assert_eq!(show("116", 0), Step::Baseline);
    assert_eq!(show("117", 60), Step::Added(MicroJoules::new(60_000_000)));
    assert_eq!(show("0", 120), Step::NewEpoch { length: Duration::from_secs(60) });
    assert_eq!(show("2", 180), Step::Added(MicroJoules::new(120_000_000)));
}

#[test]
fn each_channel_asks_for_itself() {
    let paths = |channel| -> Vec<String> {
        let requests = requests(channel).into_iter();
        requests
            .map(|request| {
                let Request::Http { path } = request else { panic!("{request:?}") };
                path
            })
            .collect()
    };
    assert_eq!(paths(Channel::Relay(1)), ["/status", "/shelly"]);
    assert_eq!(paths(Channel::Switch(1)), ["/rpc/Switch.GetStatus?id=1", "/shelly"]);
    assert_eq!(paths(Channel::Pm1(0)), ["/rpc/PM1.GetStatus?id=0", "/shelly"]);
    let three = ["/rpc/EM.GetStatus?id=0", "/rpc/EMData.GetStatus?id=0", "/shelly"];
    assert_eq!(paths(Channel::Phase(0, Phase::A)), three);
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for channel in [Channel::Relay(0), Channel::Switch(0), Channel::Em(0)] {
            let read = read(channel, &[Some(&bytes), Some(&bytes), Some(&bytes)]);
            prop_assert!(plausible(&read, MOST_OF_THREE));
        }
    }

    #[test]
    fn no_change_of_a_sample_breaks_it(
        switch in mutated(SWITCH),
        plug in mutated(PLUG),
        em in mutated(EM),
        data in mutated(EM_DATA),
    ) {
        prop_assert!(plausible(&read(Channel::Switch(0), &[Some(&switch)]), MOST_OF_A_RELAY));
        prop_assert!(plausible(&read(Channel::Relay(0), &[Some(&plug)]), MOST_OF_A_RELAY));
        prop_assert!(plausible(&read(Channel::Em(0), &[Some(&em), Some(&data)]), MOST_OF_THREE));
    }
}
