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
    let value = rig.instruments.signed("someone.rig1".to_owned()).unwrap();
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
    let value = rig.instruments.signed("someone.rig1".to_owned()).unwrap();
    let later = energy::report::verify(&value.to_string()).unwrap();
    assert_eq!(later.report().hashes.unwrap().total, Hashes::new(1_500));
    assert_eq!(later.report().meters[0].total.joules(), "300.000000");
    assert_eq!(later.report().meters[0].epoch, report.meters[0].epoch);
    assert_eq!(report.hashes.unwrap().epoch, report.meters[0].epoch);
}

#[test]
fn a_snapshot_shows_devices_meter_and_pool_together() {
    let mut rig = rig(true);
    rig.device.add_slice(Hashes::new(2_000), Duration::from_secs(2));
    rig.device.add_hardware_errors(3);
    rig.status.send_modify(|status| status.proven = units::Work::new(1_900));
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
    let report = rig.desk.report("someone").await.unwrap();
    assert_eq!(report["worker"], "someone");
    end.cancel();
    let last = tasks.join_next().await.unwrap().unwrap();
    assert_eq!(last.hashes(), Hashes::ZERO);
    assert_eq!(rig.desk.report("someone").await, None);
}

#[test]
fn without_a_meter_there_is_nothing_to_report() {
    let mut rig = rig(false);
    assert_eq!(rig.instruments.signed("someone".to_owned()), None);
    assert!(rig.snapshots.borrow().meters.is_empty());
}
