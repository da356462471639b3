//! What holds the miner back, as JSON. It deliberately says nothing that the progress line and the
//! metrics do not say too.

use serde_json::{Value, json};
use units::UnixMillis;

use crate::restraint::duty::WHOLE;
use crate::restraint::governor::{Estimate, View};
use crate::restraint::{Reason, State};
use crate::telemetry::Snapshot;

pub(super) fn restraint(snapshot: &Snapshot) -> Value {
    let state = &snapshot.restraint;
    json!({
        "duty": part(state.allowance.duty),
        "paused": state.allowance.is_pause(),
        "threads": snapshot.active_threads(),
        "reasons": state.reasons.iter().map(reason).collect::<Value>(),
        "cap_watts": state.cap_watts,
        "watts": state.watts,
        "hottest": state.hottest.as_ref().map(|hottest| {
            json!({ "celsius": hottest.celsius, "sensor": hottest.sensor })
        }),
        "governor": governor(state),
        "next_change": state.next.as_ref().map(|next| {
            json!({ "at": seconds(next.at), "detail": next.detail })
        }),
    })
}

fn reason(reason: &Reason) -> Value {
    json!({
        "reason": reason.kind.label(),
        "duty": part(reason.duty),
        "detail": reason.detail,
        "since": seconds(reason.since),
    })
}

fn governor(state: &State) -> Value {
    let Some(View { setting, measuring, windows, best }) = state.governor else {
        return Value::Null;
    };
    json!({
        "measuring": measuring,
        "windows": windows,
        "threads": setting.threads,
        "batch": f64::from(setting.batch) / 100.0,
        "joules_per_terahash": best.map(|Estimate { mean, error }| {
            json!({ "value": mean * 1e12, "error": error * 1e12 })
        }),
    })
}

fn part(thousandths: u16) -> f64 {
    f64::from(thousandths) / f64::from(WHOLE)
}

/// Since the epoch.
fn seconds(at: UnixMillis) -> u64 {
    at.seconds()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::restraint::duty::Allowance;
    use crate::restraint::governor::Setting;
    use crate::restraint::heat::Temperature;
    use crate::restraint::{Change, Kind};
    use crate::telemetry::sample;

    #[test]
    fn a_free_miner_says_so() {
        let shown = restraint(&sample());
        assert_eq!((&shown["duty"], &shown["paused"]), (&json!(1.0), &json!(false)));
        assert_eq!((&shown["threads"], &shown["reasons"]), (&json!(2), &json!([])));
        for absent in ["cap_watts", "watts", "hottest", "governor", "next_change"] {
            assert!(shown[absent].is_null(), "{absent}");
        }
    }

    #[test]
    fn every_reason_is_shown_with_what_it_leaves_and_since_when() {
        let at = UnixMillis::new(1_795_309_039_123);
        let detail = "coretemp at 79 C, ceiling 80 C".to_owned();
        let mut snapshot = sample();
        snapshot.restraint = Arc::new(State {
            allowance: Allowance { duty: 280, threads: 1, batch: 200 },
            reasons: vec![Reason {
                kind: Kind::Heat,
                duty: 280,
                detail: detail.clone(),
                since: at,
            }],
            cap_watts: Some(80.0),
            watts: Some(71.5),
            hottest: Some(Temperature { celsius: 79.0, sensor: "coretemp".to_owned() }),
            governor: Some(View {
                setting: Setting { threads: 1, batch: 200 },
                measuring: true,
                windows: 7,
                best: Some(Estimate { mean: 5e-6, error: 1e-7 }),
            }),
            next: Some(Change { at, detail: "pause (mon 08:00-09:00)".to_owned() }),
        });
        let shown = restraint(&snapshot);
        assert_eq!(shown["threads"], 1);
        let reasons = json!([
            { "reason": "heat", "duty": 0.28, "detail": detail, "since": 1_795_309_039_u64 }
        ]);
        assert_eq!(shown["reasons"], reasons);
        assert_eq!((&shown["cap_watts"], &shown["watts"]), (&json!(80.0), &json!(71.5)));
        assert_eq!(shown["governor"]["joules_per_terahash"]["value"], 5e6);
        assert_eq!(shown["governor"]["batch"], 2.0);
        assert_eq!(shown["next_change"]["at"], 1_795_309_039_u64);
    }
}
