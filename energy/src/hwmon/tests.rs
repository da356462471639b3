//! The recorded chips, and small trees made from them where the record has no such case.

use super::*;
use crate::tree::testing::{Made, Recorded};

const CHIP: &str = "bus/pci/devices/0000:03:00.0/hwmon/hwmon3";

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn discover(tree: &dyn Tree, at: &str) -> Result<Hwmon, Unavailable> {
    Hwmon::discover(tree, address(at), MeterId::new("gpu:0").unwrap(), secs(0))
}

fn board(tree: &dyn Tree) -> Result<Hwmon, Unavailable> {
    discover(tree, "0000:03:00.0")
}

/// A chip of that name with these files.
fn chip(folder: &str, name: &str, files: &[(&str, &str)]) -> Made {
    let tree = Made::default();
    add(&tree, folder, name, files);
    tree
}

fn add(tree: &Made, folder: &str, name: &str, files: &[(&str, &str)]) {
    for (file, text) in files.iter().chain(&[("name", name)]) {
        tree.file(&format!("{folder}/{file}"), Ok(format!("{text}\n")));
    }
}

fn set(tree: &Made, file: &str, content: Result<u64, io::ErrorKind>) {
    tree.file(&format!("{CHIP}/{file}"), content.map(|number| number.to_string()));
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn added(microjoules: u128) -> Step {
    Step::Added(MicroJoules::new(microjoules))
}

fn gap(reason: GapReason, seconds: u64) -> Step {
    Step::Gap { reason, length: secs(seconds) }
}

#[test]
fn the_recorded_board_is_metered_by_its_average_power() {
    let mut meter = discover(&Recorded, "00000000:03:00.0").unwrap();
    let spec = meter.spec().clone();
    assert_eq!((spec.id.as_str(), spec.kind, spec.scope), ("gpu:0", Kind::Hwmon, Scope::Device));
    assert_eq!((spec.tier, spec.uncertainty_ppm), (Tier::DEVICE_REPORTED, 50_000));
    assert_eq!(spec.source, "hwmon amdgpu at 0000:03:00.0, power1_average");
    // 118 W, and not the 120 W of the moment.
    assert_eq!(meter.poll(&Recorded, secs(2)), added(236_000_000));
    assert_eq!(
        (meter.total().joules().as_str(), meter.coverage_ppm(secs(2))),
        ("236.000000", 1_000_000)
    );
    assert_eq!(meter.poll(&Recorded, secs(8)), gap(GapReason::TooLong, 6));
    assert_eq!(meter.total().joules(), "236.000000");
    assert_eq!(meter.lost(), &BTreeMap::from([(GapReason::TooLong, secs(6))]));
}

#[test]
fn the_recorded_counter_is_preferred_and_its_first_channel_alone() {
    let mut meter = discover(&Recorded, "0000:04:00.0").unwrap();
    assert_eq!(meter.spec().source, "hwmon energy_with_enable at 0000:04:00.0, energy1_input");
    // A recording stands still: that is a gap, not a board that draws nothing.
    assert_eq!(meter.poll(&Recorded, secs(10)), added(0));
    assert_eq!(meter.poll(&Recorded, secs(11)), gap(GapReason::Stuck, 11));
    assert_eq!((meter.total(), meter.coverage_ppm(secs(11))), (MicroJoules::ZERO, 0));
}

#[test]
fn a_counter_goes_on_over_lost_rights_and_starts_over_when_it_falls() {
    let tree = chip(CHIP, "xe", &[("energy1_input", "7000000"), ("power1_average", "9000000")]);
    let mut meter = board(&tree).unwrap();
    set(&tree, "energy1_input", Ok(257_000_001));
    assert_eq!(meter.poll(&tree, secs(1)), added(250_000_001));
    set(&tree, "energy1_input", Err(io::ErrorKind::PermissionDenied));
    assert_eq!(meter.poll(&tree, secs(2)), gap(GapReason::Permission, 1));
    tree.file(&format!("{CHIP}/energy1_input"), Ok("N/A".to_owned()));
    assert_eq!(meter.poll(&tree, secs(3)), gap(GapReason::Malformed, 2));
    set(&tree, "energy1_input", Err(io::ErrorKind::Interrupted));
    assert_eq!(meter.poll(&tree, secs(4)), gap(GapReason::ReadError, 3));
    set(&tree, "energy1_input", Ok(1_257_000_001));
    assert_eq!(meter.poll(&tree, secs(5)), added(1_000_000_000));
    assert_eq!(meter.coverage_ppm(secs(5)), 1_000_000);
    set(&tree, "energy1_input", Ok(1_000));
    assert_eq!(meter.poll(&tree, secs(6)), Step::NewEpoch { length: secs(1) });
    set(&tree, "energy1_input", Ok(2_000));
    assert_eq!(meter.poll(&tree, secs(10)), added(1_000));
    assert_eq!(meter.total(), MicroJoules::new(1_250_001_001));
    assert_eq!(meter.lost(), &BTreeMap::from([(GapReason::Reset, secs(1))]));
    assert_eq!(meter.coverage_ppm(secs(10)), 900_000);
}

#[test]
fn a_chip_that_vanishes_is_found_again_under_another_number() {
    let tree = chip(CHIP, "xe", &[("energy1_input", "5000000")]);
    let mut meter = board(&tree).unwrap();
    tree.remove(CHIP);
    assert_eq!(meter.poll(&tree, secs(1)), gap(GapReason::Vanished, 1));
    // Another chip of the same board is not it, nor one without its sensor.
    let folder = |number: u32| format!("bus/pci/devices/0000:03:00.0/hwmon/hwmon{number}");
    add(&tree, &folder(4), "other", &[("energy1_input", "6000000")]);
    add(&tree, &folder(5), "xe", &[("power1_input", "6000000")]);
    assert_eq!(meter.poll(&tree, secs(2)), gap(GapReason::Vanished, 2));
    add(&tree, &folder(7), "xe", &[("energy1_input", "900000000")]);
    assert_eq!(meter.poll(&tree, secs(3)), Step::NewEpoch { length: secs(3) });
    add(&tree, &folder(7), "xe", &[("energy1_input", "900000009")]);
    assert_eq!(meter.poll(&tree, secs(4)), added(9));
    assert_eq!(meter.total(), MicroJoules::new(9));
    // A reload between two polls: the count may be another, the number is.
    tree.remove(&folder(7));
    add(&tree, &folder(8), "xe", &[("energy1_input", "900000019")]);
    assert_eq!(meter.poll(&tree, secs(5)), Step::NewEpoch { length: secs(1) });
    assert_eq!(meter.total(), MicroJoules::new(9));
}

#[test]
fn what_cannot_be_read_is_passed_over_for_the_next_best() {
    let tree =
        chip(CHIP, "amdgpu", &[("power1_average", "50000000"), ("power1_input", "40000000")]);
    set(&tree, "energy1_input", Err(io::ErrorKind::PermissionDenied));
    let source = |tree: &Made| board(tree).unwrap().spec().source.clone();
    assert!(source(&tree).ends_with("power1_average"));
    set(&tree, "power1_average", Err(io::ErrorKind::Unsupported));
    assert!(source(&tree).ends_with("power1_input"));
    // Off, or without power while the board is in use: no sensor.
    set(&tree, "power1_enable", Ok(0));
    let refused = Unavailable::Permission { path: format!("{CHIP}/energy1_input") };
    assert_eq!(board(&tree).unwrap_err(), refused);
    set(&tree, "power1_enable", Ok(1));
    set(&tree, "energy1_input", Ok(1));
    set(&tree, "energy1_enable", Ok(0));
    set(&tree, "power1_average", Ok(0));
    assert!(source(&tree).ends_with("power1_input"));
}

#[test]
fn every_chip_of_the_board_is_looked_at_lowest_number_first() {
    let folder = |number: u32| format!("bus/pci/devices/0000:03:00.0/hwmon/hwmon{number}");
    let tree = chip(&folder(10), "i915_gt0", &[("energy1_input", "1")]);
    add(&tree, &folder(9), "i915", &[("energy1_input", "1")]);
    add(&tree, &folder(2), "fan", &[("fan1_input", "900")]);
    assert!(board(&tree).unwrap().spec().source.starts_with("hwmon i915 at"));
    // Another board's is not looked at.
    assert!(discover(&tree, "0000:04:00.0").is_err());
}

#[test]
fn without_a_sensor_it_says_what_is_missing() {
    let absent = board(&Made::default()).unwrap_err();
    assert_eq!(absent.to_string(), "no hardware monitor at bus/pci/devices/0000:03:00.0/hwmon");
    let blind = chip(CHIP, "amdgpu", &[("temp1_input", "45000")]);
    let why = board(&blind).unwrap_err().to_string();
    assert_eq!(why, format!("{CHIP} shows neither energy nor power"));
    let dead = chip(CHIP, "amdgpu", &[("power1_average", "0")]);
    let why = board(&dead).unwrap_err().to_string();
    assert_eq!(why, format!("{CHIP}/power1_average: 0 microwatts, which no board in use draws"));
    set(&blind, "energy1_input", Err(io::ErrorKind::PermissionDenied));
    let why = board(&blind).unwrap_err().to_string();
    assert_eq!(why, format!("{CHIP}/energy1_input may not be read by this user"));
}
