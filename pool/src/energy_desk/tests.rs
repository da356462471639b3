//! The desk against reports that come too often, by strangers, or of several meters.

use energy::{
    SigningKey,
    meter::{Kind, Tier},
    report::{EnergyReport, MeterReading},
};
use ledger::{Scheme, Settings, Share};
use units::{BasisPoints, MicroJoules};

use super::*;

const INTERVAL: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> UnixMillis {
    UnixMillis::new(1_800_000_000_000 + seconds * 1000)
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        scheme: Scheme::Solo,
        fee: BasisPoints::new(0).unwrap(),
        fee_account: "pool".to_owned(),
        maturity: 100,
        best_headers: 256,
    };
    let ledger = Ledger::open(&folder.path().join("ledger"), settings).unwrap();
    (folder, ledger)
}

fn share(worker: WorkerId, work: u128) -> Share {
    let work = Work::new(work);
    Share { worker, work, network_work: work, at: seconds(0), header: [0; 80] }
}

fn signed(at: UnixMillis, joules: u128) -> String {
    signed_by(&SigningKey::from_bytes(&[7; 32]), at, joules)
}

fn signed_by(key: &SigningKey, at: UnixMillis, joules: u128) -> String {
    let meter = MeterReading {
        id: MeterId::new("rapl:psys").unwrap(),
        kind: Kind::Rapl,
        scope: Scope::Rig,
        tier: Tier::DEVICE_REPORTED,
        epoch: 1,
        total: MicroJoules::new(joules * 1_000_000),
        coverage_ppm: 1_000_000,
        uncertainty_ppm: 80_000,
    };
    let report = EnergyReport { worker: "a.rig".to_owned(), at, meters: vec![meter], hashes: None };
    report.sign(key).unwrap().to_string()
}

#[test]
fn a_worker_is_held_to_its_interval_before_anything_is_looked_at() {
    let (_folder, mut ledger) = ledger();
    let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
    let other = ledger.worker("a", "other", seconds(0)).unwrap();
    let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
    // 127 reports in a second: the burst is taken, and no more is written.
    let often = Err("reports come more often than every 30 s".to_owned());
    for count in 0..127 {
        let at = UnixMillis::new(seconds(0).get() + count * 8);
        let taken = desk.take(&mut ledger, rig, &signed(at, count.into()), at);
        assert_eq!(taken, if count < u64::from(BURST) { Ok(()) } else { often.clone() }, "{count}");
    }
    assert_eq!(ledger.meters().unwrap()[0].total, MicroJoules::new(7_000_000));
    // Not even its text is looked at; one that is, and is wrong, costs as much as a good one.
    assert_eq!(desk.take(&mut ledger, rig, "{", seconds(2)), often);
    let looked_at = desk.take(&mut ledger, rig, "{", seconds(30)).unwrap_err();
    assert!(looked_at.contains("not a JSON object"), "{looked_at}");
    assert_eq!(desk.take(&mut ledger, rig, &signed(seconds(31), 9), seconds(31)), often);
    // Another's is its own affair, and half an interval makes room for one more.
    assert_eq!(desk.take(&mut ledger, other, &signed(seconds(31), 5), seconds(31)), Ok(()));
    assert_eq!(desk.take(&mut ledger, rig, &signed(seconds(60), 9), seconds(60)), Ok(()));
    // Who keeps to the interval is never refused.
    for minute in 2..100 {
        let at = seconds(minute * 60);
        let taken = desk.take(&mut ledger, rig, &signed(at, u128::from(minute) * 60), at);
        assert_eq!(taken, Ok(()), "{minute}");
    }
}

#[test]
fn a_report_signed_with_another_key_is_refused() {
    let (_folder, mut ledger) = ledger();
    let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
    let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
    let (own, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
    let mut take = |key, minute: u64| {
        let report = signed_by(key, seconds(minute * 60), u128::from(minute) * 1000);
        desk.take(&mut ledger, rig, &report, seconds(minute * 60))
    };
    assert_eq!(take(&own, 0), Ok(()));
    let stranger = take(&other, 1).unwrap_err();
    assert_eq!(stranger, "this worker's reports are signed with another key");
    assert_eq!(take(&own, 2), Ok(()));
    assert_eq!(ledger.meters().unwrap()[0].total, MicroJoules::new(2_000_000_000));
}

#[test]
fn only_workers_seen_lately_are_remembered_and_not_without_end() {
    let mut pace = Pace::new(INTERVAL);
    let most = u32::try_from(MAX_WORKERS).unwrap();
    for worker in 0..most {
        pace.admit(WorkerId::new(worker), seconds(0)).unwrap();
    }
    let one_more = WorkerId::new(most);
    assert!(pace.admit(one_more, seconds(29)).unwrap_err().contains("too many workers"));
    assert!(pace.admit(WorkerId::new(0), seconds(29)).is_ok());
    assert_eq!(pace.buckets.len(), MAX_WORKERS);
    // Half an interval later all but the one that reported again are as if never seen.
    assert_eq!(pace.admit(one_more, seconds(30)), Ok(()));
    assert_eq!(pace.buckets.len(), 2);
}

#[test]
fn a_clock_that_was_set_back_shuts_nobody_out() {
    let mut pace = Pace::new(INTERVAL);
    let worker = WorkerId::new(1);
    for _ in 0..BURST {
        pace.admit(worker, seconds(7200)).unwrap();
    }
    assert!(pace.admit(worker, seconds(0)).is_err());
    assert!(pace.admit(worker, seconds(29)).is_err());
    assert_eq!(pace.admit(worker, seconds(30)), Ok(()));
    assert!(pace.admit(worker, seconds(31)).is_err());
}

/// A report of a processor and two boards, and of the whole rig where it is metered.
fn of_boards(minute: u64, totals: [u128; 3], rig: Option<u128>) -> String {
    let reading = |id: &str, kind: Kind, scope, joules: u128| MeterReading {
        id: MeterId::new(id).unwrap(),
        kind,
        scope,
        tier: kind.best_tier(),
        epoch: 1,
        total: MicroJoules::new(joules * 1_000_000),
        coverage_ppm: 1_000_000,
        uncertainty_ppm: kind.least_uncertainty_ppm(),
    };
    let boards = [("rapl:package", Kind::Rapl), ("gpu:0", Kind::Nvml), ("gpu:1", Kind::Hwmon)];
    let boards = boards.into_iter().zip(totals);
    let mut meters: Vec<MeterReading> =
        boards.map(|((id, kind), joules)| reading(id, kind, Scope::Device, joules)).collect();
    meters.extend(rig.map(|joules| reading("plug", Kind::Plug, Scope::Rig, joules)));
    let (worker, at) = ("a.rig".to_owned(), seconds(minute * 60));
    let report = EnergyReport { worker, at, meters, hashes: None };
    report.sign(&SigningKey::from_bytes(&[7; 32])).unwrap().to_string()
}

#[test]
fn the_meters_of_one_report_are_added_and_a_wider_one_never_to_them() {
    let (_folder, mut ledger) = ledger();
    let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
    let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
    let mut take = |minute: u64, report: String| {
        desk.take(&mut ledger, rig, &report, seconds(minute * 60)).unwrap();
        let meters = ledger.meters().unwrap();
        let sum = |of: fn(&MeterView) -> MicroJoules| -> u128 {
            meters.iter().map(|meter| of(meter).get() / 1_000_000).sum()
        };
        (meters.len(), sum(|meter| meter.credited), sum(|meter| meter.energy))
    };
    assert_eq!(take(0, of_boards(0, [50, 700, 900], None)), (3, 0, 0));
    assert_eq!(take(1, of_boards(1, [53, 720, 1_100], None)), (3, 223, 223));
    // A plug of the whole rig joins: it counts from its first reading on, and alone.
    assert_eq!(take(2, of_boards(2, [56, 740, 1_300], Some(10))), (4, 446, 223));
    assert_eq!(take(3, of_boards(3, [59, 760, 1_500], Some(510))), (4, 1_169, 723));
}

/// What a window shows is what the ledger has of the same reports, to the last digit.
#[test]
fn a_window_is_the_ledgers_own_figures() {
    let (_folder, mut ledger) = ledger();
    let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
    let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
    let mine = |desk: &mut EnergyDesk, ledger: &mut Ledger, work: u128| {
        ledger.commit(&[share(rig, work)]).unwrap();
        desk.count(rig, Work::new(work));
    };
    mine(&mut desk, &mut ledger, 1_000);
    let take = |desk: &mut EnergyDesk, ledger: &mut Ledger, minute: u64| {
        let report = signed(seconds(minute * 60), u128::from(minute) * 777);
        assert_eq!(desk.take(ledger, rig, &report, seconds(minute * 60)), Ok(()));
    };
    take(&mut desk, &mut ledger, 0);
    for minute in 1..=30 {
        mine(&mut desk, &mut ledger, 5_000 + u128::from(minute));
        mine(&mut desk, &mut ledger, 3_000);
        take(&mut desk, &mut ledger, minute);
    }
    let hour = desk.standings(seconds(1800)).0[&rig].windows[1].unwrap();
    let metered = ledger.metered(rig).unwrap();
    assert_eq!((hour.joules, hour.proven.work), (metered.energy, metered.covered_work));
    assert_eq!((hour.covered, hour.proven.shares), (Duration::from_secs(1800), 60));
    assert!((hour.uncertainty() - 0.08).abs() < 1e-12);
    // After a restart windows begin with the first report, and the ledger's sums go on.
    let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
    take(&mut desk, &mut ledger, 31);
    assert_eq!(desk.standings(seconds(1860)).0[&rig].windows, [None; 3]);
    mine(&mut desk, &mut ledger, 9_000);
    take(&mut desk, &mut ledger, 32);
    let hour = desk.standings(seconds(1920)).0[&rig].windows[1].unwrap();
    assert_eq!(
        (hour.joules.joules(), hour.proven.work),
        ("777.000000".to_owned(), Work::new(9_000))
    );
    assert_eq!(ledger.metered(rig).unwrap().energy.joules(), "24864.000000");
}

/// 4.5 J/TH with an uncertainty of all of it, beside a meter that begins anew with every report.
#[test]
fn no_dummy_and_no_stated_doubt_keeps_a_worker_from_being_judged() {
    let (_folder, mut ledger) = ledger();
    let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
    let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
    let meter = |id: &str, epoch: u64, joules: u64| MeterReading {
        id: MeterId::new(id).unwrap(),
        kind: Kind::Rapl,
        scope: Scope::Rig,
        tier: Tier::DEVICE_REPORTED,
        epoch,
        total: MicroJoules::new(u128::from(joules) * 1_000_000),
        coverage_ppm: 1_000_000,
        uncertainty_ppm: 1_000_000,
    };
    for minute in 0..60 {
        let meters = vec![meter("rapl:psys", 1, minute * 4_500), meter("dummy", minute, 0)];
        let (worker, at) = ("a.rig".to_owned(), seconds(minute * 60));
        let report = EnergyReport { worker, at, meters, hashes: None };
        let report = report.sign(&SigningKey::from_bytes(&[7; 32])).unwrap().to_string();
        assert_eq!(desk.take(&mut ledger, rig, &report, at), Ok(()));
        for _ in 0..10 {
            ledger.commit(&[share(rig, 100_000_000_000_000)]).unwrap();
            desk.count(rig, Work::new(100_000_000_000_000));
        }
    }
    let (standings, accounts) = desk.standings(seconds(3_600));
    let standing = &standings[&rig];
    let hour = standing.windows[1].unwrap();
    assert_eq!(hour.per_terahash().unwrap().to_string(), "4.500000");
    assert!((hour.uncertainty() - 1.0).abs() < 1e-9);
    assert_eq!(standing.flags[0].kind, energy::plausibility::Kind::Impossible);
    assert!(accounts.is_empty(), "it is the worker's own");
}
