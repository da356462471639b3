//! Reports are signed, cumulative and of one instant; rates and energy come from the same reading.

use std::path::Path;

use kernels::Backend;
use units::MilliWatts;

use super::*;
use crate::instruments::sensors::Processor;
use crate::settings;

fn metering(root: &Path, clock: Clock) -> Metering {
    let settings = settings::Energy {
        sysfs: root.to_owned(),
        watts: Some(MilliWatts::from_watts(100)),
        uncertainty: 0.5,
        key: None,
    };
    let processor = Processor { name: String::new(), cores: 2 };
    let (meter, _) = Meter::open(&settings, &processor, 2, clock.now());
    Metering { meter, key: SigningKey::from_bytes(&[7; 32]) }
}

struct Rig {
    device: Arc<Device>,
    desk: Desk,
    status: watch::Sender<Status>,
    instruments: Instruments,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    _root: tempfile::TempDir,
}

fn rig(with_meter: bool) -> Rig {
    let root = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let device = Arc::new(Device::new("cpu", Backend::Portable, 2));
    let (desk, requests) = Desk::open();
    let (status, listener) = watch::channel(Status::new());
    let metering = with_meter.then(|| metering(root.path(), clock));
    let devices = vec![Arc::clone(&device)];
    let (instruments, snapshots) = Instruments::new(clock, devices, metering, listener, requests);
    Rig { device, desk, status, instruments, snapshots, _root: root }
}

#[test]
fn a_report_is_signed_and_holds_what_was_read_at_that_instant() {
    let mut rig = rig(true);
    rig.device.add_slice(Hashes::new(1_000), Duration::from_secs(4));
    let value = rig.instruments.signed("someone.rig1".to_owned(), "a".to_owned()).unwrap();
    let signed = energy::report::verify(&value.to_string()).unwrap();
    let report = signed.report();
    assert_eq!(report.worker, "someone.rig1");
    assert_eq!(signed.key(), &SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
    assert_eq!(report.hashes.unwrap().total, Hashes::new(1_000));
    // Four thread seconds on two threads: two seconds at 100 W.
    assert_eq!(report.meters[0].total.joules(), "200.000000");
    assert_eq!(report.meters[0].uncertainty_ppm, 500_000);
    assert_eq!(report.meters[0].coverage_ppm, 1_000_000);

    rig.device.add_slice(Hashes::new(500), Duration::from_secs(2));
    let value = rig.instruments.signed("someone.rig1".to_owned(), "a".to_owned()).unwrap();
    let later = energy::report::verify(&value.to_string()).unwrap();
    assert_eq!(later.report().hashes.unwrap().total, Hashes::new(1_500));
    assert_eq!(later.report().meters[0].total.joules(), "300.000000");
    assert_eq!(later.report().meters[0].epoch, report.meters[0].epoch);
    assert_eq!(report.hashes.unwrap().epoch, report.meters[0].epoch);
}

#[test]
fn a_meter_that_fails_holds_the_report_back_until_it_is_read_again() {
    let zone = |root: &Path, energy: Option<u64>| {
        let folder = root.join("class/powercap/intel-rapl:0");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("name"), "package-0\n").unwrap();
        std::fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
        match energy {
            Some(energy) => std::fs::write(folder.join("energy_uj"), format!("{energy}\n")),
            None => std::fs::remove_file(folder.join("energy_uj")),
        }
        .unwrap();
    };
    let mut rig = rig(true);
    let root = rig._root.path().to_owned();
    zone(&root, Some(1_000));
    rig.instruments.metering = Some(metering(&root, rig.instruments.clock));
    let work = |rig: &mut Rig, total| {
        rig.device.add_slice(Hashes::new(1_000), Duration::from_millis(1));
        rig.status.send_modify(|status| status.proven = Work::new(total));
        rig.instruments.signed("someone".to_owned(), "a".to_owned())
    };
    std::thread::sleep(Duration::from_millis(5));
    zone(&root, Some(5_000_000));
    assert!(work(&mut rig, 1_000).is_some());
    let good = Arc::clone(&rig.snapshots.borrow());
    zone(&root, None);
    assert_eq!(work(&mut rig, 2_000), None);
    let held = Arc::clone(&rig.snapshots.borrow());
    assert_eq!(held.meters[0].watts, None);
    assert_eq!(held.joules_per_terahash_proven(), good.joules_per_terahash_proven());
    assert_eq!(held.joules_per_terahash_reported(), good.joules_per_terahash_reported());
    std::thread::sleep(Duration::from_millis(5));
    zone(&root, Some(9_000_000));
    let again = work(&mut rig, 3_000).unwrap();
    let again = energy::report::verify(&again.to_string()).unwrap();
    assert_eq!(again.report().hashes.unwrap().total, Hashes::new(3_000));
    assert_eq!(rig.snapshots.borrow().metered.proven, Work::new(3_000));
}

#[test]
fn another_pool_is_another_epoch_and_the_same_one_is_not() {
    let mut rig = rig(true);
    let mut epoch = |pool: &str| {
        let value = rig.instruments.signed("someone".to_owned(), pool.to_owned()).unwrap();
        let report = energy::report::verify(&value.to_string()).unwrap().report().clone();
        assert_eq!(report.hashes.unwrap().epoch, report.meters[0].epoch);
        report.meters[0].epoch
    };
    let (first, same, other, back) = (epoch("a"), epoch("a"), epoch("b"), epoch("a"));
    assert_eq!(first, same);
    assert!(same < other && other < back, "{same}, {other}, {back}");
}

#[test]
fn a_snapshot_shows_devices_meter_and_pool_together() {
    let mut rig = rig(true);
    rig.device.add_slice(Hashes::new(2_000), Duration::from_secs(2));
    rig.device.add_hardware_errors(3);
    rig.status.send_modify(|status| status.proven = Work::new(1_900));
    rig.instruments.sample();
    let snapshot = Arc::clone(&rig.snapshots.borrow());
    assert_eq!(snapshot.hashes(), Hashes::new(2_000));
    assert_eq!(snapshot.hardware_errors(), 3);
    assert_eq!(snapshot.energy().unwrap().joules(), "100.000000");
    assert_eq!(snapshot.energy_source(), Some("model"));
    assert_eq!(snapshot.upstream.proven.get(), 1_900);
}

#[tokio::test]
async fn the_desk_answers_while_the_task_runs_and_not_after() {
    let rig = rig(true);
    let end = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    let until = end.clone();
    tasks.spawn(async move { rig.instruments.run(until).await });
    let report = rig.desk.report("someone", "a").await.unwrap();
    assert_eq!(report["worker"], "someone");
    end.cancel();
    let last = tasks.join_next().await.unwrap().unwrap();
    assert_eq!(last.hashes(), Hashes::ZERO);
    assert_eq!(rig.desk.report("someone", "a").await, None);
}

#[test]
fn without_a_meter_there_is_nothing_to_report() {
    let mut rig = rig(false);
    assert_eq!(rig.instruments.signed("someone".to_owned(), "a".to_owned()), None);
    assert!(rig.snapshots.borrow().meters.is_empty());
}
