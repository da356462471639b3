//! The shipped Prometheus rules, scrape configuration and Grafana dashboard against a running
//! pool: every metric that they name is served, and promtool takes the files and `/metrics`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../config/prometheus/check.rs"]
mod check;
#[expect(dead_code, reason = "what the other tests need as well")]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::OnceLock,
};

use energy::{
    SigningKey,
    meter::{Kind, MeterId, Scope, Tier},
    report::{EnergyReport, MeterReading},
};
use serde_json::{Value, json};
use units::{MicroJoules, UnixMillis};

use self::{
    check::{promtool, shipped, unmatched},
    support::{ADDRESS, Miner, PATIENCE, Pool},
};

const JOB: &str = "wattproof-pool";
/// The most that the pool says between a request and its answer.
const LINES_MAX: u32 = 1000;

/// What a pool serves after shares and two reports of energy: made once, for all tests here.
fn served() -> &'static str {
    static SERVED: OnceLock<String> = OnceLock::new();
    SERVED.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        let pool = Pool::start(data.path());
        let mut miner = Miner::connect(pool.stratum);
        // A worker's energy is taken once it has proven work.
        assert!(miner.mine(|miner| miner.accepted >= 5));
        let mut reporter = Reporter::connect(&pool);
        reporter.report(1_000_000);
        assert!(miner.mine(|miner| miner.accepted >= 50));
        miner.settle();
        reporter.report(13_345_678);
        // The view behind all surfaces is refreshed now and then.
        // So are windows, once a second: they are the ledger's figures of both reports.
        let seen = pool.wait_until("the reported energy", |pool| {
            pool["energy"]["joules"] == "12.345678" && pool["windows"][0]["joules"] == "12.345678"
        });
        let (energy, hour) = (&seen["energy"], &seen["windows"][1]);
        assert_eq!(hour["hashes"], energy["covered_work_hashes"], "{seen}");
        assert_eq!(hour["joules_per_terahash"], energy["joules_per_terahash"], "{seen}");
        assert!(hour["shares"].as_u64().is_some_and(|shares| shares > 0), "{seen}");
        assert_eq!(seen["flags"][0]["kind"], "start-up", "{seen}");
        assert_eq!(seen["flags"][0]["worker"], "test", "{seen}");
        let metrics = pool.get("/metrics");
        assert!(pool.stop());
        metrics
    })
}

/// A connection that meters the test miner's worker.
struct Reporter {
    lines: BufReader<TcpStream>,
    at: u64,
}

impl Reporter {
    fn connect(pool: &Pool) -> Self {
        let stream = TcpStream::connect(pool.stratum).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reporter = Self { lines: BufReader::new(stream), at: 1_795_309_039_123 };
        let extension = json!([["energy-report"], { "energy-report.version": 1 }]);
        let answer = reporter.ask("mining.configure", &extension);
        assert_eq!(answer["energy-report"], true);
        reporter.ask("mining.subscribe", &json!(["test"]));
        let answer = reporter.ask("mining.authorize", &json!([worker(), "x"]));
        assert_eq!(answer, true);
        reporter
    }

    /// Reports a plug that has counted so many microjoules.
    fn report(&mut self, total: u128) {
        self.at += 5000;
        let meter = MeterReading {
            id: MeterId::new("plug:1").unwrap(),
            kind: Kind::Plug,
            scope: Scope::Rig,
            tier: Tier::METERED,
            epoch: 1,
            total: MicroJoules::new(total),
            coverage_ppm: 990_000,
            uncertainty_ppm: 100_000,
        };
        let at = UnixMillis::new(self.at);
        let report = EnergyReport { worker: worker(), at, meters: vec![meter], hashes: None };
        let signed = report.sign(&SigningKey::from_bytes(&[7; 32])).unwrap();
        let answer = self.ask("mining.report_energy", &json!([signed]));
        assert_eq!(answer, true);
    }

    /// The answer's result; what the pool says in between is passed over.
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({ "id": method, "method": method, "params": params });
        writeln!(self.lines.get_mut(), "{request}").unwrap();
        for _ in 0..LINES_MAX {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "{method}: hung up");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == method {
                assert!(answer["error"].is_null(), "{answer}");
                return answer["result"].clone();
            }
        }
        panic!("{method}: no answer among {LINES_MAX} lines")
    }
}

fn worker() -> String {
    format!("{ADDRESS}.test")
}

/// The values of a key in YAML text, whose lines these are.
fn named<'a>(yaml: &'a str, key: &str) -> BTreeSet<&'a str> {
    let found = yaml.lines().filter_map(|line| line.trim_start_matches(['-', ' ']).split_once(key));
    found.filter(|(before, _)| before.is_empty()).map(|(_, value)| value.trim()).collect()
}

#[test]
fn every_metric_of_the_rules_and_the_dashboard_is_served() {
    let missing = unmatched(JOB, served());
    assert!(missing.is_empty(), "{missing:#?}\n{}", served());
}

#[test]
fn energy_is_served_to_the_last_digit_with_source_and_tier() {
    let line = "wattproof_energy_joules_total{meter=\"plug\",kind=\"plug\",scope=\"rig\",tier=\"2\"} 12.345678";
    assert!(served().lines().any(|served| served == line), "{}", served());
}

#[test]
fn flags_are_counted_by_kind() {
    for (kind, workers) in [("start-up", 1), ("impossible", 0), ("drift", 0)] {
        let line = format!("wattproof_energy_flags{{kind=\"{kind}\"}} {workers}");
        assert!(served().lines().any(|served| served == line), "{line} in {}", served());
    }
}

#[test]
fn promtool_takes_what_the_pool_serves() {
    let complaint =
        promtool("promtool_takes_what_the_pool_serves", &["check", "metrics"], served());
    assert_eq!(complaint, None);
}

#[test]
fn promtool_takes_the_rules_their_cases_and_the_scrape_configuration() {
    for arguments in [
        &["check", "rules", "--lint-fatal", "rules.yml"][..],
        &["check", "config", "--lint-fatal", "prometheus.yml"],
        &["test", "rules", "rules.test.yml"],
    ] {
        let test = "promtool_takes_the_rules_their_cases_and_the_scrape_configuration";
        assert_eq!(promtool(test, arguments, ""), None);
    }
}

#[test]
fn every_rule_has_its_case_and_every_job_its_target() {
    let read = |file: &str| fs::read_to_string(shipped("prometheus").join(file)).unwrap();
    let (rules, cases) = (read("rules.yml"), read("rules.test.yml"));
    let alerts = named(&rules, "alert:");
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(alerts, named(&cases, "alertname:"));
    let untried: Vec<&str> = named(&rules, "record:")
        .into_iter()
        .filter(|record| !named(&cases, "expr:").contains(record))
        .collect();
    assert!(untried.is_empty(), "records without a case: {untried:?}");
    let configuration = read("prometheus.yml");
    assert!(named(&configuration, "job_name:").contains(JOB));
}
