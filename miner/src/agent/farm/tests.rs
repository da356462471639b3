//! The book over answers, failures and restarts; reports as a pool would read them.

use energy::book::Book;
use energy::device::{Figure, Quantity};
use energy::report::{SignedReport, verify};
use tempfile::TempDir;
use units::{MicroJoules, MilliWatts};

use super::*;
use crate::agent::ask::AskError;
use crate::agent::poller::PollError;
use crate::agent::testing::{counter, entry, secs};

const WORKER: &str = "addr.plug";

/// A farm without pollers: the test brings the answers.
struct Bench {
    farm: Farm,
    _results: mpsc::Sender<Polled>,
}

fn config(names: &[&str]) -> Config {
    let device = |name: &&str| Device { worker: Some(WORKER.to_owned()), ..entry(name, 0).device };

    Config {
        pool: None,
        devices: names.iter().map(device).collect(),
        sites: Vec::new(),
        patience: secs(1),
        interval: secs(30),
        state: "unused".into(),
        key: None,
        api: None,
    }
}

fn bench(folder: &TempDir, config: &Config) -> Bench {
    let clock = Clock::start();
    let (store, saved, axis) = Store::open(&folder.path().join("agent.json"), at(0)).unwrap();
    let (sender, results) = mpsc::channel(4);
    let key = SigningKey::from_bytes(&[7; 32]);
    let wakes = config.devices.iter().map(|_| Arc::default()).collect();
    let parts = Parts { clock, axis, store, saved, key, results, wakes };
    let (farm, _, _) = Farm::new(config, parts);
    Bench { farm, _results: sender }
}

fn at(seconds: u64) -> Moment {
    Moment { mono: secs(seconds), unix: UnixMillis::new((1_795_309_039 + seconds) * 1000) }
}

fn watts(watts: u64) -> Telemetry {
    let mut said = counter(0);
    let quantity = Quantity::Power(MilliWatts::from_watts(watts));
    said.figures = vec![Figure { quantity, ..said.figures.remove(0) }];
    said
}

impl Bench {
    fn hear(&mut self, index: usize, seconds: u64, said: Telemetry) {
        self.farm.take(Polled { index, at: at(seconds), result: Ok(said) });
    }

    fn fail(&mut self, index: usize, seconds: u64) {
        let error = PollError::Ask(AskError::Late(secs(1)));
        self.farm.take(Polled { index, at: at(seconds), result: Err(error) });
    }

    fn report(&mut self) -> Result<SignedReport, String> {
        let mut reports = self.farm.reports(vec![WORKER.to_owned()]);
        let (worker, report) = reports.remove(0);
        assert_eq!(worker, WORKER);
        report.map(|report| verify(&report.to_string()).expect("a report of ours"))
    }
}

/// Epoch and joules of the only meter.
fn only(report: &SignedReport) -> (u64, MicroJoules) {
    let [meter] = &report.report().meters[..] else { panic!("{report:?}") };
    (meter.epoch, meter.total)
}

#[test]
fn a_restart_goes_on_in_the_same_series_and_a_pool_counts_every_joule_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&["plug"]);
    let mut book = Book::new(secs(300));
    let mut farm = bench(&folder, &config);
    let mut credited = MicroJoules::ZERO;
    let mut epochs = BTreeSet::new();
    for (turn, joules) in [100_u64, 400, 400, 900, 1_000_000].into_iter().enumerate() {
        let seconds = u64::try_from(turn).unwrap() * 100;
        farm.hear(0, seconds, counter(joules));
        let report = farm.report().unwrap();
        epochs.insert(only(&report).0);
        let taken = book.take(1, &report, at(seconds).unix).unwrap();
        credited = credited.saturating_add(taken.meters[0].credited);
        // Killed: nothing is written but what the report wrote.
        drop(farm);
        farm = bench(&folder, &config);
    }
    assert_eq!(credited, MicroJoules::new(999_900 * 1_000_000));
    assert_eq!(epochs.len(), 1);
}

#[test]
fn while_a_meter_gives_nothing_there_is_no_report_and_afterwards_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut farm = bench(&folder, &config(&["plug"]));
    assert!(farm.report().unwrap_err().contains("no answer yet"));
    farm.hear(0, 0, counter(5));
    let (epoch, _) = only(&farm.report().unwrap());
    farm.fail(0, 30);
    assert!(farm.report().unwrap_err().contains("no answer within 1.0 s"));
    farm.hear(0, 600, counter(605));
    assert_eq!(only(&farm.report().unwrap()), (epoch, MicroJoules::new(600_000_000)));
}

#[test]
fn joules_that_are_lost_begin_another_series_of_all_meters() {
    let folder = tempfile::tempdir().unwrap();
    let mut farm = bench(&folder, &config(&["psu-a", "psu-b"]));
    farm.hear(0, 0, watts(1_000));
    farm.hear(1, 0, watts(1_000));
    let first = farm.report().unwrap();
    let epoch = first.report().meters[0].epoch;
    assert_eq!(first.report().meters[1].epoch, epoch);
    // Three intervals of thirty seconds are joined; this is longer.
    farm.hear(0, 60, watts(1_000));
    farm.hear(1, 200, watts(1_000));
    farm.hear(0, 120, watts(1_000));
    let later = farm.report().unwrap();
    let meters = &later.report().meters;
    assert!(meters.iter().all(|meter| meter.epoch > epoch && meter.epoch == meters[0].epoch));
    assert_eq!(meters[0].total, MicroJoules::new(120_000_000_000));
    assert_eq!(meters[1].total, MicroJoules::ZERO);
    let again = farm.report().unwrap();
    assert_eq!(again.report().meters[0].epoch, meters[0].epoch, "once");
}

#[test]
fn another_pool_is_another_series() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&["plug"]);
    let pool = |url: &str| crate::upstream::Pool {
        url: url.parse().unwrap(),
        user: String::new(),
        password: config::Secret::new("x"),
        fingerprint: None,
        proxy: None,
    };
    config.pool = Some(pool("stratum+tcp://a:1"));
    let mut farm = bench(&folder, &config);
    farm.hear(0, 0, counter(5));
    let (epoch, _) = only(&farm.report().unwrap());
    drop(farm);
    config.pool = Some(pool("stratum+tcp://b:1"));
    let mut farm = bench(&folder, &config);
    farm.hear(0, 60, counter(50));
    assert!(only(&farm.report().unwrap()).0 > epoch);
}

#[test]
fn a_total_that_is_not_on_disk_is_not_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut farm = bench(&folder, &config(&["plug"]));
    farm.hear(0, 0, counter(5));
    std::fs::create_dir(folder.path().join("agent.new")).unwrap();
    assert!(farm.report().unwrap_err().contains("cannot be written"));
    std::fs::remove_dir(folder.path().join("agent.new")).unwrap();
    farm.report().unwrap();
}

/// Saved by another's report or a clean stop while its device is off.
#[test]
fn a_meter_that_is_off_at_a_restart_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&["plug"]);
    let mut farm = bench(&folder, &config);
    farm.hear(0, 0, counter(1_000));
    farm.hear(0, 60, counter(4_000));
    let (epoch, _) = only(&farm.report().unwrap());
    drop(farm);
    let mut farm = bench(&folder, &config);
    farm.fail(0, 90);
    assert!(farm.farm.save());
    drop(farm);
    let mut farm = bench(&folder, &config);
    farm.hear(0, 600, counter(5_000));
    assert_eq!(only(&farm.report().unwrap()), (epoch, MicroJoules::new(4_000_000_000)));
}

/// A plug that was another rig's for a week, and is back.
#[test]
fn what_was_counted_for_others_meanwhile_is_not_counted_again() {
    let folder = tempfile::tempdir().unwrap();
    let ours = config(&["plug"]);
    let mut farm = bench(&folder, &ours);
    farm.hear(0, 0, counter(0));
    let (epoch, _) = only(&farm.report().unwrap());
    drop(farm);
    let mut others = ours.clone();
    others.devices[0].worker = Some("addr.other".to_owned());
    let mut farm = bench(&folder, &others);
    farm.hear(0, 100, counter(50_000));
    assert!(farm.farm.reports(vec!["addr.other".to_owned()])[0].1.is_ok());
    drop(farm);
    let mut farm = bench(&folder, &ours);
    farm.hear(0, 200, counter(100_000));
    assert!(only(&farm.report().unwrap()).0 > epoch);
}

#[test]
fn other_meters_than_before_are_another_series() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&["plug", "asic"]);
    let mut farm = bench(&folder, &config);
    farm.hear(0, 0, counter(5));
    farm.hear(1, 0, counter(5));
    let epoch = farm.report().unwrap().report().meters[0].epoch;
    drop(farm);
    config.devices[1].counts = false;
    let mut farm = bench(&folder, &config);
    farm.hear(0, 60, counter(65));
    assert!(only(&farm.report().unwrap()).0 > epoch);
}

#[test]
fn claims_are_of_all_that_mines_or_of_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&["plug", "asic-a", "asic-b"]);
    for device in &mut config.devices[1..] {
        device.interface =
            energy::device::interface::Interface::named("luxos", <_>::default()).unwrap();
        device.counts = false;
    }
    let mut farm = bench(&folder, &config);
    let claims = |rate| Telemetry { claimed_hashes_per_second: rate, ..watts(3_000) };
    for seconds in [0, 30] {
        farm.hear(0, seconds, counter(seconds));
        farm.hear(1, seconds, claims(Some(100)));
        farm.hear(2, seconds, claims(Some(50)));
    }
    let hashes = farm.report().unwrap().report().hashes.unwrap();
    assert_eq!(hashes.total, Hashes::new(30 * 150), "what counts for nothing claims all the same");
    farm.hear(2, 60, claims(None));
    assert_eq!(farm.report().unwrap().report().hashes, None);
}

#[test]
fn a_report_waits_for_the_answers_that_it_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut farm = bench(&folder, &config(&["psu-a", "psu-b"]));
    farm.hear(0, 0, counter(5));
    farm.hear(1, 0, counter(5));
    let (reply, mut answers) = mpsc::channel(4);
    farm.farm.begin(Asked { workers: vec![WORKER.to_owned()], reply });
    farm.farm.answer_who_waited();
    assert!(answers.try_recv().is_err());
    farm.hear(0, 60, counter(65));
    farm.farm.answer_who_waited();
    assert!(answers.try_recv().is_err());
    farm.fail(1, 61);
    farm.farm.answer_who_waited();
    // It failed, and so there is none: but nobody waits for ever.
    let (_, report) = answers.try_recv().unwrap();
    assert!(report.unwrap_err().contains("psu-b"));
}
