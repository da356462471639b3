//! The families whose values are exact: printed at scrape time from the integers themselves, in
//! Prometheus' text format. A registry that counts in floats could not.

mod restraint;

use std::fmt::Write as _;

use crate::rates::WINDOWS;
use crate::telemetry::Snapshot;

/// A sample's labels.
pub(crate) type Labels<'a> = Vec<(&'static str, &'a str)>;
/// One sample: labels and the value as text.
pub(crate) type Sample<'a> = (Labels<'a>, String);

/// Every exact family of one instant.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    build_info(&mut out);
    devices(&mut out, snapshot);
    hashrate(&mut out, snapshot);
    restraint::render(&mut out, snapshot);
    meters(&mut out, snapshot);
    per_terahash(&mut out, snapshot);
    out
}

pub(crate) fn build_info(out: &mut String) {
    let labels = vec![("program", "wattproof-miner"), ("version", env!("CARGO_PKG_VERSION"))];
    let help = "What is running; always 1.";
    family(out, "wattproof_build_info", "gauge", help, vec![(labels, "1".to_owned())]);
}

fn devices(out: &mut String, snapshot: &Snapshot) {
    let of_each = |value: fn(&crate::telemetry::DeviceReading) -> String| {
        let sample = |device| (vec![("device", name_of(device))], value(device));
        snapshot.devices.iter().map(sample).collect()
    };
    family(
        out,
        "wattproof_miner_hashes_total",
        "counter",
        "Hashes done, as the device counts them.",
        of_each(|device| device.hashes.get().to_string()),
    );
    family(
        out,
        "wattproof_miner_hardware_errors_total",
        "counter",
        "Hits that did not hash again on the reference and were not sent.",
        of_each(|device| device.hardware_errors.to_string()),
    );
    family(
        out,
        "wattproof_miner_device_losses_total",
        "counter",
        "Times that the device was lost and had to be opened again.",
        of_each(|device| device.losses.to_string()),
    );
    let percent = snapshot.devices.iter().filter_map(|device| {
        Some((vec![("device", name_of(device))], device.percent_of_limit()?.to_string()))
    });
    family(
        out,
        "wattproof_miner_percent_of_limit",
        "gauge",
        "What is reached, while hashing, of the rate that the device's own throughput allows.",
        percent.collect(),
    );
}

fn name_of(device: &crate::telemetry::DeviceReading) -> &str {
    &device.name
}

fn hashrate(out: &mut String, snapshot: &Snapshot) {
    let samples = WINDOWS.iter().zip(snapshot.rates).filter_map(|(window, rate)| {
        rate.map(|rate| (vec![("window", window.label)], rate.claimed.to_string()))
    });
    family(
        out,
        "wattproof_miner_hashrate_hashes_per_second",
        "gauge",
        "Hashes a second over a window, as the devices count them.",
        samples.collect(),
    );
    let proven = snapshot.upstream.proven.get().to_string();
    family(
        out,
        "wattproof_miner_work_hashes_total",
        "counter",
        "Expected hashes that accepted shares prove.",
        vec![(vec![], proven)],
    );
}

fn meters(out: &mut String, snapshot: &Snapshot) {
    let energy = snapshot.meters.iter().map(|meter| {
        let spec = &meter.spec;
        let labels = vec![
            ("meter", spec.id.as_str()),
            ("kind", spec.kind.as_str()),
            ("scope", spec.scope.as_str()),
            ("tier", spec.tier.as_str()),
        ];
        (labels, meter.total.joules())
    });
    let help = "Energy counted by the meter since the miner started.";
    family(out, "wattproof_energy_joules_total", "counter", help, energy.collect());

    let meter = |id| vec![("meter", id)];
    let power = snapshot.meters.iter().filter_map(|reading| {
        reading.watts.map(|watts| (meter(reading.spec.id.as_str()), watts.to_string()))
    });
    let help = "Power between the meter's last two samples.";
    family(out, "wattproof_energy_power_watts", "gauge", help, power.collect());

    let gaps = snapshot.meters.iter().flat_map(|reading| {
        reading.gaps.iter().map(|(reason, length)| {
            let labels = vec![("meter", reading.spec.id.as_str()), ("reason", reason.as_str())];
            (labels, length.as_secs_f64().to_string())
        })
    });
    let help = "Time that the meter could not measure.";
    family(out, "wattproof_energy_gap_seconds_total", "counter", help, gaps.collect());

    let sampled = snapshot.meters.iter().filter_map(|reading| {
        let millis = reading.sampled_at?.get();
        let text = format!("{}.{:03}", millis / 1000, millis % 1000);
        Some((meter(reading.spec.id.as_str()), text))
    });
    let help = "When the meter last gave a good sample, in seconds since the epoch.";
    let name = "wattproof_energy_last_sample_timestamp_seconds";
    family(out, name, "gauge", help, sampled.collect());
}

fn per_terahash(out: &mut String, snapshot: &Snapshot) {
    let bases = [
        ("proven", snapshot.joules_per_terahash_proven()),
        ("reported", snapshot.joules_per_terahash_reported()),
    ];
    let samples = bases.into_iter().filter_map(|(basis, ratio)| {
        ratio.map(|ratio| (vec![("basis", basis)], ratio.to_string()))
    });
    family(
        out,
        "wattproof_energy_per_terahash_joules",
        "gauge",
        "Energy per 10^12 hashes: proven by accepted shares, or reported by the devices.",
        samples.collect(),
    );
}

/// Prints a family; one without samples is left out.
pub(crate) fn family(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    samples: Vec<Sample<'_>>,
) {
    if samples.is_empty() {
        return;
    }
    let mut write = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a String takes everything");
    };
    write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    for (labels, value) in samples {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escape(text))).collect();
        match labels.is_empty() {
            true => write(format_args!("{name} {value}\n")),
            false => write(format_args!("{name}{{{}}} {value}\n", labels.join(","))),
        }
    }
}

/// A label's value, as the text format wants it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sample;

    #[test]
    fn values_are_the_integers_to_the_last_digit() {
        let mut snapshot = sample();
        snapshot.devices[0].hashes = units::Hashes::new(u64::MAX.into());
        let text = render(&snapshot);
        for line in [
            "# TYPE wattproof_miner_hashes_total counter",
            "wattproof_miner_hashes_total{device=\"cpu\"} 18446744073709551615",
            "wattproof_miner_hardware_errors_total{device=\"cpu\"} 0",
            "wattproof_miner_device_losses_total{device=\"cpu\"} 0",
            "wattproof_miner_hashrate_hashes_per_second{window=\"10s\"} 12340000",
            "wattproof_miner_work_hashes_total 900000000",
            "wattproof_energy_joules_total{meter=\"model:cpu\",kind=\"model\",scope=\"device\",tier=\"5\"} 6123.456789",
            "wattproof_energy_power_watts{meter=\"model:cpu\"} 65",
            "wattproof_energy_gap_seconds_total{meter=\"model:cpu\",reason=\"permission\"} 1.5",
            "wattproof_energy_last_sample_timestamp_seconds{meter=\"model:cpu\"} 1795309039.123",
            "wattproof_energy_per_terahash_joules{basis=\"proven\"} 6803840.876667",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn every_meter_has_its_samples_and_the_families_stay_one() {
        let mut snapshot = sample();
        let mut board = snapshot.meters[0].clone();
        board.spec.id = energy::meter::MeterId::new("gpu:0").unwrap();
        board.spec.kind = energy::meter::Kind::Hwmon;
        board.spec.tier = energy::meter::Tier::DEVICE_REPORTED;
        board.watts = Some(118.5);
        board.gaps = vec![("reset".to_owned(), std::time::Duration::from_secs(2))];
        snapshot.meters.push(board);
        let text = render(&snapshot);
        for line in [
            "wattproof_energy_joules_total{meter=\"model:cpu\",kind=\"model\",scope=\"device\",tier=\"5\"} 6123.456789",
            "wattproof_energy_joules_total{meter=\"gpu:0\",kind=\"hwmon\",scope=\"device\",tier=\"3\"} 6123.456789",
            "wattproof_energy_power_watts{meter=\"model:cpu\"} 65",
            "wattproof_energy_power_watts{meter=\"gpu:0\"} 118.5",
            "wattproof_energy_gap_seconds_total{meter=\"model:cpu\",reason=\"permission\"} 1.5",
            "wattproof_energy_gap_seconds_total{meter=\"gpu:0\",reason=\"reset\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert_eq!(text.matches("# TYPE wattproof_energy_joules_total ").count(), 1);
    }

    #[test]
    fn a_miner_without_meters_has_no_energy_families() {
        let mut snapshot = sample();
        snapshot.meters.clear();
        assert!(!render(&snapshot).contains("wattproof_energy"));
    }

    #[test]
    fn every_family_has_help_and_type_and_appears_once() {
        let text = render(&sample());
        let names = |prefix: &str| -> Vec<String> {
            let of_line = |line: &str| line.split(' ').nth(2).map(str::to_owned);
            text.lines().filter(|line| line.starts_with(prefix)).filter_map(of_line).collect()
        };
        let (helped, typed) = (names("# HELP"), names("# TYPE"));
        assert_eq!(helped, typed);
        let distinct: std::collections::BTreeSet<_> = helped.iter().collect();
        assert_eq!(distinct.len(), helped.len());
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
