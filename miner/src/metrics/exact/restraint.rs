//! The families that say what holds the miner back. A cap, a temperature or a governor that is not
//! there has no family, and never a zero.

use super::family;
use crate::restraint::Kind;
use crate::restraint::duty::WHOLE;
use crate::telemetry::Snapshot;

pub(super) fn render(out: &mut String, snapshot: &Snapshot) {
    let state = &snapshot.restraint;
    let one = |value: String| vec![(vec![], value)];
    let duty = f64::from(state.allowance.duty) / f64::from(WHOLE);
    let help = "Part of the time that may be hashed, 0 to 1.";
    family(out, "wattproof_miner_duty_ratio", "gauge", help, one(duty.to_string()));

    let active = snapshot.active_threads().to_string();
    let help = "Workers that may hash: threads of the CPU, and one for each GPU.";
    family(out, "wattproof_miner_active_threads", "gauge", help, one(active));

    let pauses = Kind::ALL.into_iter().map(|kind| {
        let paused = state.pauses().any(|reason| reason.kind == kind);
        (vec![("reason", kind.label())], u8::from(paused).to_string())
    });
    let help = "Whether this pauses the miner, 0 or 1.";
    family(out, "wattproof_miner_paused", "gauge", help, pauses.collect());

    let rested = snapshot.devices.iter().map(|device| {
        (vec![("device", device.name.as_str())], device.rested.as_secs_f64().to_string())
    });
    let help = "Time that workers rested because they were held back, summed over them.";
    family(out, "wattproof_miner_rested_seconds_total", "counter", help, rested.collect());

    let known = |value: Option<f64>| value.into_iter().map(|v| (vec![], v.to_string())).collect();
    let help = "Power that the rig may draw.";
    family(out, "wattproof_miner_power_cap_watts", "gauge", help, known(state.cap_watts));
    let hottest = state
        .hottest
        .iter()
        .map(|hottest| (vec![("sensor", hottest.sensor.as_str())], hottest.celsius.to_string()));
    let help = "The hottest of the sensors that the ceiling is held against.";
    family(out, "wattproof_miner_hottest_celsius", "gauge", help, hottest.collect());
    governor(out, snapshot);
}

fn governor(out: &mut String, snapshot: &Snapshot) {
    let Some(view) = snapshot.restraint.governor else { return };
    let one = |value: String| vec![(vec![], value)];
    let help = "Whether the governor is measuring, 0 or 1.";
    let measuring = u8::from(view.measuring).to_string();
    family(out, "wattproof_miner_governor_measuring", "gauge", help, one(measuring));
    let help = "Threads of the CPU that the governor has set.";
    let threads = view.setting.threads.to_string();
    family(out, "wattproof_miner_governor_threads", "gauge", help, one(threads));
    let help = "Length of a GPU's dispatches that the governor has set, as a part of the usual.";
    let batch = (f64::from(view.setting.batch) / 100.0).to_string();
    family(out, "wattproof_miner_governor_batch_ratio", "gauge", help, one(batch));
    let Some(best) = view.best else { return };
    let bounds =
        [("lower", best.mean - best.error), ("mean", best.mean), ("upper", best.mean + best.error)];
    let samples = bounds
        .into_iter()
        .map(|(bound, joules)| (vec![("bound", bound)], (joules * 1e12).to_string()));
    let help = "Energy per 10^12 hashes of the best setting, with the bounds of its 99 % interval.";
    let name = "wattproof_miner_governor_per_terahash_joules";
    family(out, name, "gauge", help, samples.collect());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use units::UnixMillis;

    use super::*;
    use crate::restraint::duty::Allowance;
    use crate::restraint::governor::{Estimate, Setting, View};
    use crate::restraint::heat::Temperature;
    use crate::restraint::{Reason, State};
    use crate::telemetry::sample;

    fn rendered(state: State) -> String {
        let mut snapshot = sample();
        snapshot.restraint = Arc::new(state);
        let mut out = String::new();
        render(&mut out, &snapshot);
        out
    }

    #[test]
    fn a_free_miner_has_its_duty_and_no_pause_and_nothing_that_is_not_there() {
        let text = rendered(State::free());
        assert!(text.contains("wattproof_miner_duty_ratio 1\n"), "{text}");
        assert!(text.contains("wattproof_miner_active_threads 2\n"), "{text}");
        for kind in Kind::ALL {
            let line = format!("wattproof_miner_paused{{reason=\"{}\"}} 0\n", kind.label());
            assert!(text.contains(&line), "{line} is not in:\n{text}");
        }
        for absent in ["cap_watts", "miner_governor", "celsius"] {
            assert!(!text.contains(absent), "{absent} in:\n{text}");
        }
    }

    #[test]
    fn what_holds_the_miner_back_has_its_samples() {
        let detail = "running on battery BAT0".to_owned();
        let since = UnixMillis::new(1);
        let text = rendered(State {
            allowance: Allowance { duty: 0, threads: 1, batch: 50 },
            reasons: vec![Reason { kind: Kind::Battery, duty: 0, detail, since }],
            cap_watts: Some(80.5),
            hottest: Some(Temperature { celsius: 61.5, sensor: "k10temp Tdie".to_owned() }),
            governor: Some(View {
                setting: Setting { threads: 1, batch: 50 },
                measuring: false,
                windows: 0,
                best: Some(Estimate { mean: 2e-6, error: 5e-7 }),
            }),
            ..State::free()
        });
        for line in [
            "wattproof_miner_duty_ratio 0",
            "wattproof_miner_active_threads 0",
            "wattproof_miner_paused{reason=\"battery\"} 1",
            "wattproof_miner_paused{reason=\"heat\"} 0",
            "wattproof_miner_power_cap_watts 80.5",
            "wattproof_miner_hottest_celsius{sensor=\"k10temp Tdie\"} 61.5",
            "wattproof_miner_governor_measuring 0",
            "wattproof_miner_governor_threads 1",
            "wattproof_miner_governor_batch_ratio 0.5",
            "wattproof_miner_governor_per_terahash_joules{bound=\"lower\"} 1500000",
            "wattproof_miner_governor_per_terahash_joules{bound=\"upper\"} 2500000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
