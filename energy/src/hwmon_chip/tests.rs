//! The recorded chips, one or a few at a time, and small trees where the record has no such case.

use std::io;

use super::*;
use crate::tree::testing::{Made, Recorded};

/// Of the recorded chips these alone, as a machine would have them.
struct Machine(&'static [&'static str]);

impl Tree for Machine {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        Recorded.read(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let names = Recorded.list(folder)?;
        if folder != FOLDER {
            return Ok(names);
        }
        Ok(names.into_iter().filter(|name| self.0.contains(&name.as_str())).collect())
    }
}

fn channel(chip: &str, label: Option<&str>) -> Channel {
    Channel { chip: chip.to_owned(), label: label.map(str::to_owned) }
}

fn discover(tree: &dyn Tree, chip: &str, label: Option<&str>) -> Result<ChipMeter, Unavailable> {
    let id = MeterId::new("board:0").unwrap();
    ChipMeter::discover(tree, &channel(chip, label), id, Duration::ZERO)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a channel reads, and its power by a second of it in milliwatts.
fn reads(machine: &Machine, chip: &str, label: Option<&str>) -> (String, u128) {
    let mut meter = discover(machine, chip, label).unwrap();
    let sensor = meter.sensor.describe();
    assert!(meter.spec().source.ends_with(&sensor), "{}", meter.spec().source);
    meter.poll(machine, secs(1));
    (sensor, meter.total().get() / 1_000)
}

fn error(machine: &Machine, chip: &str, label: Option<&str>) -> String {
    discover(machine, chip, label).unwrap_err().to_string()
}

#[test]
fn a_power_is_known_by_its_label_or_its_files() {
    let machine = Machine(&["hwmon0"]);
    let package = ("power1_input".to_owned(), 45_000);
    assert_eq!(reads(&machine, "k10temp", Some("Package")), package);
    assert_eq!(reads(&machine, "k10temp", Some("power1")), package);
    assert_eq!(reads(&machine, "k10temp", Some("Core")), ("power2_input".to_owned(), 15_000));
    let spec = discover(&machine, "k10temp", Some("Core")).unwrap().spec().clone();
    assert_eq!((spec.kind, spec.scope), (Kind::Hwmon, Scope::Device));
    assert_eq!((spec.tier, spec.uncertainty_ppm), (Tier::DEVICE_REPORTED, 50_000));
    assert_eq!(spec.source, "hwmon k10temp Core, power2_input");
}

#[test]
fn channels_are_never_added_and_never_guessed() {
    assert!(error(&Machine(&["hwmon0"]), "k10temp", None).contains("all fit"));
    // Two channels with one label.
    let text = error(&Machine(&["hwmon_aggregate"]), "multi_sensor", Some("package"));
    assert!(text.contains("power1_input") && text.contains("power2_input"), "{text}");
    // Two chips with one name.
    let two = Machine(&["hwmon_voltage_current", "hwmon_voltage_current_average"]);
    assert!(error(&two, "ina3221", Some("VDD_CPU")).contains("all fit"));
    assert!(error(&two, "ina226", None).contains("ina3221"));
    assert!(error(&two, "ina3221", Some("VDD")).contains("VDD_CPU"));
    assert!(error(&Machine(&[]), "ina3221", None).contains("no chip"));
}

#[test]
fn a_counter_is_preferred_and_one_that_is_off_is_passed_over_with_its_reason() {
    let machine = Machine(&["hwmon_energy_disabled"]);
    let mut meter = discover(&machine, "energy_with_enable", Some("Rail_B")).unwrap();
    assert_eq!(meter.sensor, Sensor::Energy("energy2_input".to_owned()));
    assert_eq!(meter.poll(&machine, secs(1)), Step::Added(MicroJoules::ZERO));
    let text = error(&machine, "energy_with_enable", Some("Rail_C"));
    assert!(text.contains("energy3 is switched off"), "{text}");
    let machine = Machine(&["hwmon_disabled_power"]);
    let text = error(&machine, "test_power_chip", Some("PSU_Rail_C"));
    assert!(text.contains("power3 is switched off"), "{text}");
    let rail = ("power2_input".to_owned(), 15_000);
    assert_eq!(reads(&machine, "test_power_chip", Some("PSU_Rail_B")), rail);
}

#[test]
fn shunts_are_not_rails() {
    let machine = Machine(&["hwmon_ina3221"]);
    let product = |at: u8, power| (format!("in{at}_input x curr{at}_input"), power);
    assert_eq!(reads(&machine, "ina3221", Some("curr1")), product(1, 12_000));
    assert_eq!(reads(&machine, "ina3221", Some("curr2")), product(2, 2_500));
    assert_eq!(reads(&machine, "ina3221", Some("curr3")), product(3, 660));
    let machine = Machine(&["hwmon_ina226"]);
    assert_eq!(reads(&machine, "ina226", None), product(1, 60_000));
    // A recorded ina226 that shows its shunt alone.
    let text = error(&Machine(&["hwmon_voltage_current_no_labels"]), "ina226", None);
    assert!(text.contains("no voltage of a rail"), "{text}");
    // A converter: 48 V in, 12 V and 10 A out.
    let text = error(&Machine(&["hwmon_max20730"]), "max20730", None);
    assert!(text.contains("not known of max20730"), "{text}");
}

#[test]
fn labels_pair_voltages_with_currents() {
    let machine = Machine(&["hwmon_voltage_current_multi"]);
    let gpu = ("in2_input x curr2_input".to_owned(), 33_000);
    assert_eq!(reads(&machine, "ina3221", Some("VDD_GPU")), gpu);
    let machine = Machine(&["hwmon_disabled_channel"]);
    let text = error(&machine, "ina3221", Some("channel_3"));
    assert!(text.contains("in3 is switched off"), "{text}");
    // Averages of both, or of neither.
    let machine = Machine(&["hwmon_voltage_current_average"]);
    let average = ("in1_average x curr1_average".to_owned(), 57_820);
    assert_eq!(reads(&machine, "ina3221", None), average);
    let machine = Machine(&["hwmon_voltage_current_partial_average"]);
    let moment = ("in1_input x curr1_input".to_owned(), 60_000);
    assert_eq!(reads(&machine, "ina3221", None), moment);
    // The same by hand, where the numbers differ.
    let tree = Made::default();
    for (file, text) in [
        ("name", "other"),
        ("in1_input", "48000"),
        ("in1_label", "vin"),
        ("in2_input", "12000"),
        ("in2_label", "out"),
        ("curr1_input", "10000"),
        ("curr1_label", "out"),
    ] {
        tree.file(&format!("{FOLDER}/hwmon5/{file}"), Ok(format!("{text}\n")));
    }
    let meter = discover(&tree, "other", None).unwrap();
    assert_eq!(meter.sensor.describe(), "in2_input x curr1_input");
}

#[test]
fn a_chip_that_vanishes_is_found_again_and_a_dead_one_is_a_gap() {
    let tree = Made::default();
    let chip = |number: u8, power: &str| {
        tree.file(&format!("{FOLDER}/hwmon{number}/name"), Ok("ina226\n".to_owned()));
        tree.file(&format!("{FOLDER}/hwmon{number}/power1_input"), Ok(format!("{power}\n")));
    };
    chip(3, "20000000");
    let mut meter = discover(&tree, "ina226", None).unwrap();
    assert_eq!(meter.poll(&tree, secs(1)), Step::Added(MicroJoules::new(20_000_000)));
    tree.remove(&format!("{FOLDER}/hwmon3"));
    let gap = |reason, seconds| Step::Gap { reason, length: secs(seconds) };
    assert_eq!(meter.poll(&tree, secs(2)), gap(GapReason::Vanished, 1));
    chip(7, "40000000");
    assert_eq!(meter.poll(&tree, secs(3)), Step::Added(MicroJoules::new(60_000_000)));
    chip(7, "0");
    assert_eq!(meter.poll(&tree, secs(4)), gap(GapReason::Stuck, 1));
    tree.file(&format!("{FOLDER}/hwmon7/power1_input"), Err(io::ErrorKind::PermissionDenied));
    assert_eq!(meter.poll(&tree, secs(5)), gap(GapReason::Permission, 2));
    assert_eq!(meter.total(), MicroJoules::new(80_000_000));
    assert_eq!(meter.coverage_ppm(secs(4)), 750_000);
    assert_eq!(meter.lost(), &BTreeMap::new());
}

#[test]
fn what_cannot_be_read_or_be_true_is_no_meter() {
    let tree = Made::default();
    tree.file(&format!("{FOLDER}/hwmon3/name"), Ok("ina226\n".to_owned()));
    for (text, expected) in [("0", "no rail carries"), ("n/a", "no number"), ("-5", "no number")] {
        tree.file(&format!("{FOLDER}/hwmon3/power1_input"), Ok(text.to_owned()));
        let error = discover(&tree, "ina226", None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
