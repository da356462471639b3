//! A temperature ceiling: from the hottest sensor to the duty that keeps below it.
//!
//! Read [`Heat::step`] and [`hottest`]. The last [`BAND`] degrees below the ceiling take the duty
//! down in proportion, so that a rig settles in them and does not stop and go. Above the ceiling the
//! least is left, [`BAND`] degrees above it nothing, until it is below again. It falls within
//! seconds and rises within a minute. A temperature that nobody can read is not below any ceiling:
//! after [`BLIND_MAX`] without one the miner pauses, and goes on when there is one.
//!
//! Deliberately not read: NVIDIA's boards, whose driver shows no sensors in the tree and which guard
//! themselves; drives, wireless cards and what a board's maker calls "temp3". Degrees Celsius.

use std::time::Duration;

use energy::tree::Tree;

use super::cap::thousandths;
use super::duty::WHOLE;

/// Degrees below the ceiling in which the duty falls, and above it in which the least is left.
pub const BAND: f64 = 5.0;
/// What is left of the duty at the ceiling.
const AT_CEILING: f64 = 100.0;
/// Thousandths a second.
const FALL: f64 = 100.0;
const RISE: f64 = 15.0;
/// So long without a reading is borne.
pub const BLIND_MAX: Duration = Duration::from_secs(10);
/// What is outside cannot be the temperature of something that computes.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = -40.0..=150.0;

/// Processors' own sensors, by the names that their drivers give them.
const PROCESSORS: [&str; 5] = ["coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal"];
/// Graphics boards'. The first sensor is the board's edge, which is what a ceiling is usually meant
/// for: the hottest spot may be 20 degrees above it.
const BOARDS: [&str; 5] = ["amdgpu", "radeon", "nouveau", "i915", "xe"];

/// A sensor's reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Temperature {
    /// Degrees.
    pub celsius: f64,
    /// Which sensor it is, for people.
    pub sensor: String,
}

/// The ceiling's state.
#[derive(Debug, Clone)]
pub struct Heat {
    duty: f64,
    paused: bool,
    blind: Duration,
}

impl Heat {
    /// Nothing is too hot yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { duty: 1000.0, paused: false, blind: Duration::ZERO }
    }

    /// The duty after `dt`, at this temperature under that ceiling.
    pub fn step(&mut self, celsius: Option<f64>, ceiling: f64, dt: Duration) -> u16 {
        let Some(celsius) = celsius else {
            self.blind = self.blind.saturating_add(dt);
            return if self.is_blind() { 0 } else { self.duty() };
        };
        self.blind = Duration::ZERO;
        self.paused = celsius > ceiling + BAND || (self.paused && celsius > ceiling);
        let seconds = dt.as_secs_f64();
        let wanted = wanted(celsius, ceiling);
        self.duty =
            wanted.clamp(FALL.mul_add(-seconds, self.duty), RISE.mul_add(seconds, self.duty));
        if self.paused {
            self.duty = AT_CEILING;
        }
        self.duty()
    }

    /// Whether it was too long without a reading.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.blind > BLIND_MAX
    }

    fn duty(&self) -> u16 {
        if self.paused { 0 } else { thousandths(self.duty) }
    }
}

/// What would be right for a temperature that stays.
fn wanted(celsius: f64, ceiling: f64) -> f64 {
    let left = ((ceiling - celsius) / BAND).clamp(0.0, 1.0);
    left.mul_add(f64::from(WHOLE) - AT_CEILING, AT_CEILING)
}

/// The hottest of the processors' and graphics boards' sensors; of the thermal zones where there are
/// none of those.
#[must_use]
pub fn hottest(tree: &dyn Tree) -> Option<Temperature> {
    let hottest = |readings: Vec<Temperature>| {
        readings.into_iter().max_by(|one, other| one.celsius.total_cmp(&other.celsius))
    };
    hottest(chips(tree)).or_else(|| hottest(zones(tree)))
}

fn chips(tree: &dyn Tree) -> Vec<Temperature> {
    let mut found = Vec::new();
    for chip in tree.list("class/hwmon").unwrap_or_default() {
        let folder = format!("class/hwmon/{chip}");
        let Some(name) = text(tree, &format!("{folder}/name")) else { continue };
        let inputs = if PROCESSORS.contains(&name.as_str()) {
            inputs(tree, &folder)
        } else if BOARDS.contains(&name.as_str()) {
            vec!["temp1".to_owned()]
        } else {
            continue;
        };
        found.extend(inputs.into_iter().filter_map(|input| {
            let celsius = degrees(tree, &format!("{folder}/{input}_input"))?;
            let label = text(tree, &format!("{folder}/{input}_label"));
            let sensor = label.map_or_else(|| name.clone(), |label| format!("{name} {label}"));
            Some(Temperature { celsius, sensor })
        }));
    }
    found
}

/// All of a chip's sensors. Where it has its die's temperature, the one that only steers fans, and
/// on some processors is 27 degrees higher, is left out.
fn inputs(tree: &dyn Tree, folder: &str) -> Vec<String> {
    let names = tree.list(folder).unwrap_or_default();
    let input = |name: &String| {
        let input = name.strip_suffix("_input")?;
        input.starts_with("temp").then(|| input.to_owned())
    };
    let inputs: Vec<String> = names.iter().filter_map(input).collect();
    let labelled = |input: &String, label: &str| {
        text(tree, &format!("{folder}/{input}_label")).as_deref() == Some(label)
    };
    let has_die = inputs.iter().any(|input| labelled(input, "Tdie"));
    inputs.into_iter().filter(|input| !(has_die && labelled(input, "Tctl"))).collect()
}

fn zones(tree: &dyn Tree) -> Vec<Temperature> {
    let mut found = Vec::new();
    for zone in tree.list("class/thermal").unwrap_or_default() {
        let folder = format!("class/thermal/{zone}");
        let Some(kind) = text(tree, &format!("{folder}/type")) else { continue };
        let is_processors = ["x86_pkg_temp", "cpu", "soc"].iter().any(|part| kind.contains(part));
        let celsius = degrees(tree, &format!("{folder}/temp")).filter(|_| is_processors);
        found.extend(celsius.map(|celsius| Temperature { celsius, sensor: kind }));
    }
    found
}

fn degrees(tree: &dyn Tree, path: &str) -> Option<f64> {
    let celsius = text(tree, path)?.parse::<f64>().ok()? / 1000.0;
    PLAUSIBLE.contains(&celsius).then_some(celsius)
}

pub(super) fn text(tree: &dyn Tree, path: &str) -> Option<String> {
    let bytes = tree.read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restraint::testing::{Noise, tree};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_band_takes_the_duty_down_in_proportion() {
        for (celsius, duty) in [(60.0, 1000), (75.0, 1000), (77.5, 550), (80.0, 100), (84.9, 100)] {
            let mut heat = Heat::new();
            let mut now = 0;
            for _ in 0..60 {
                now = heat.step(Some(celsius), 80.0, SECOND);
            }
            assert_eq!(now, duty, "{celsius}");
        }
    }

    #[test]
    fn far_too_hot_is_a_pause_until_it_is_below_the_ceiling_and_it_comes_back_slowly() {
        let mut heat = Heat::new();
        assert_eq!(heat.step(Some(85.1), 80.0, SECOND), 0);
        assert_eq!(heat.step(Some(81.0), 80.0, SECOND), 0, "still above");
        let back = heat.step(Some(60.0), 80.0, SECOND);
        assert_eq!(back, 115, "by 15 thousandths a second");
        let mut seconds = 1;
        while heat.step(Some(60.0), 80.0, SECOND) < WHOLE {
            seconds += 1;
        }
        assert!((50..=70).contains(&seconds), "{seconds} s");
    }

    #[test]
    fn a_temperature_nobody_can_read_is_borne_for_a_moment_and_not_longer() {
        let mut heat = Heat::new();
        for _ in 0..10 {
            assert_eq!(heat.step(None, 80.0, SECOND), WHOLE);
        }
        assert_eq!(heat.step(None, 80.0, SECOND), 0);
        assert!(heat.is_blind());
        assert!(heat.step(Some(50.0), 80.0, SECOND) > 0);
        assert!(!heat.is_blind());
    }

    /// Cooler by 40 degrees when it rests, hotter than the ceiling by 15 at full duty.
    #[test]
    fn a_rig_settles_below_its_ceiling_and_swings_by_less_than_two_degrees() {
        for seed in 0..20 {
            let mut noise = Noise::new(seed);
            let (mut heat, mut celsius, mut duty) = (Heat::new(), 40.0_f64, WHOLE);
            let mut course = Vec::new();
            for _ in 0..1200 {
                let end = 55.0_f64.mul_add(f64::from(duty) / 1000.0, 40.0);
                celsius += (end - celsius) / 25.0;
                course.push(celsius);
                duty = heat.step(Some(0.3_f64.mul_add(noise.normal(), celsius)), 80.0, SECOND);
            }
            let late = &course[600..];
            let most = late.iter().copied().fold(f64::MIN, f64::max);
            let least = late.iter().copied().fold(f64::MAX, f64::min);
            assert!(most < 80.0 && least > 74.0, "seed {seed}: {least} to {most}");
            assert!(most - least < 2.0, "seed {seed}: {least} to {most}");
        }
    }

    #[test]
    fn the_hottest_of_processors_and_boards_counts_and_of_nothing_else() {
        let tree = tree(&[
            ("class/hwmon/hwmon0/name", "nvme\n"),
            ("class/hwmon/hwmon0/temp1_input", "99000\n"),
            ("class/hwmon/hwmon1/name", "coretemp\n"),
            ("class/hwmon/hwmon1/temp1_input", "61000\n"),
            ("class/hwmon/hwmon1/temp1_label", "Package id 0\n"),
            ("class/hwmon/hwmon1/temp2_input", "64500\n"),
            ("class/hwmon/hwmon1/temp2_label", "Core 1\n"),
            ("class/hwmon/hwmon1/temp3_input", "-128000\n"),
            ("class/hwmon/hwmon2/name", "amdgpu\n"),
            ("class/hwmon/hwmon2/temp1_input", "62000\n"),
            ("class/hwmon/hwmon2/temp2_input", "90000\n"),
            ("class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
            ("class/thermal/thermal_zone0/temp", "97000\n"),
        ]);
        let hottest = hottest(&tree).unwrap();
        assert_eq!(hottest, Temperature { celsius: 64.5, sensor: "coretemp Core 1".to_owned() });
    }

    #[test]
    fn what_steers_fans_is_left_out_where_the_die_is_there() {
        let mut files = vec![
            ("class/hwmon/hwmon0/name", "k10temp"),
            ("class/hwmon/hwmon0/temp1_input", "77000"),
            ("class/hwmon/hwmon0/temp1_label", "Tctl"),
        ];
        assert_eq!(hottest(&tree(&files)).unwrap().celsius, 77.0);
        files.push(("class/hwmon/hwmon0/temp2_input", "50000"));
        files.push(("class/hwmon/hwmon0/temp2_label", "Tdie"));
        assert_eq!(hottest(&tree(&files)).unwrap().celsius, 50.0);
    }

    #[test]
    fn thermal_zones_serve_where_there_are_no_chips() {
        let zones = [
            ("class/thermal/thermal_zone0/type", "battery"),
            ("class/thermal/thermal_zone0/temp", "70000"),
            ("class/thermal/thermal_zone1/type", "cpu-thermal"),
            ("class/thermal/thermal_zone1/temp", "55000"),
        ];
        let found = hottest(&tree(&zones)).unwrap();
        assert_eq!((found.celsius, found.sensor.as_str()), (55.0, "cpu-thermal"));
        assert_eq!(hottest(&tree(&zones[..2])), None);
        assert_eq!(hottest(&tree(&[])), None);
    }
}
