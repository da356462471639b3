//! Metrics, the API and the page, of one farm.

use http_body_util::BodyExt as _;

use super::*;
use crate::agent::sites::Verdict;
use crate::agent::testing::{entry, secs};

fn show() -> Show {
    let mut bad = entry("bad", 0);
    bad.error = Some("<script>alert(1)</script>".to_owned());
    bad.telemetry.as_mut().unwrap().identity.maker = "<img src=x>".to_owned();
    let comparison = Comparison {
        site: "hall".to_owned(),
        length: secs(3_600),
        seen: units::MicroJoules::new(2_000_000),
        sum: units::MicroJoules::new(2_500_000),
        residual: -500_000,
        uncertainty: 90_000,
        verdict: Verdict::Excess,
    };
    let entries = vec![entry("plug-1", 12_345), bad];
    let farm = Arc::new(Snapshot { entries, sites: vec![comparison] });
    let standing = Standing { workers: 2, reports: 7, last_failure: None };
    let pool = Some("stratum+tcp://127.0.0.1:3333".to_owned());
    Show::new(pool, watch::channel(farm).1, vec![watch::channel(standing).1])
}

fn body(path: &str) -> String {
    let answer = show().answer(&Method::GET, path);
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn metrics_are_exact() {
    let text = body("/metrics");
    for line in [
        "wattproof_energy_joules_total{meter=\"plug-1\",kind=\"plug\",scope=\"rig\",tier=\"2\"} 12345.000000",
        "wattproof_energy_last_sample_timestamp_seconds{meter=\"plug-1\"} 1795309039.123",
        "wattproof_agent_device_up{meter=\"plug-1\"} 1",
        "wattproof_agent_site_residual_joules{site=\"hall\"} -0.500000",
        "wattproof_agent_site_residual_ratio{site=\"hall\"} -0.25",
        "wattproof_agent_reports_total 7",
        "wattproof_agent_workers 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn the_api_says_where_a_figure_comes_from() {
    let value: Value = serde_json::from_str(&body("/api/v1/agent")).unwrap();
    let device = &value["devices"][0];
    assert_eq!(device["joules_total"], "12345.000000");
    assert_eq!(
        device["source"],
        "Shelly of a model that it does not say, total: energy since it was made"
    );
    assert_eq!(device["answer"]["figures"][0]["value"], "12345.000000");
    assert_eq!(value["sites"][0]["verdict"], "excess");
    assert_eq!(value["sites"][0]["residual_microjoules"], "-500000");
}

#[test]
fn what_devices_say_is_shown_and_not_run() {
    let page = body("/");
    assert!(page.contains("&lt;script&gt;") && page.contains("&lt;img"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("12345.000000") && page.contains("excess"), "{page}");
}

#[test]
fn nothing_can_be_changed() {
    let refused = show().answer(&Method::POST, "/");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(show().answer(&Method::GET, "/x").status(), StatusCode::NOT_FOUND);
}
