//! Reports are signed, cumulative and of one instant; rates and energy come from the same reading.

use std::path::Path;

use energy::book::Book;
use kernels::Backend;
use units::{MicroJoules, MilliWatts};

use super::*;
use crate::instruments::boards::tests::{self as rigs, Counter};
use crate::instruments::boards::{self, GpuToMeter, Host};
use crate::instruments::sensors::Processor;
use crate::settings;

fn metering(root: &Path, clock: Clock) -> Metering {
    let settings = settings::Energy {
        sysfs: root.to_owned(),
        watts: Some(MilliWatts::from_watts(100)),
        chip: None,
        uncertainty: 0.5,
        key: None,
    };
    let processor = Processor { name: String::new(), cores: 2 };
    let (meter, _) = Meter::open(&settings, &processor, 2, clock.now());
    Metering { meters: vec![meter], key: SigningKey::from_bytes(&[7; 32]), words: None }
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
    assert_eq!(snapshot.energy_source().as_deref(), Some("model"));
    assert_eq!(snapshot.upstream.proven.get(), 1_900);
}

#[tokio::test]
async fn the_desk_answers_while_the_task_runs_and_not_after() {
    let rig = rig(true);
    let end = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    let until = end.clone();
    tasks.spawn(async move { rig.instruments.run(until).await });
    let report = rig.desk.reports("someone", "a").await.remove(0);
    assert_eq!(report["worker"], "someone");
    end.cancel();
    let last = tasks.join_next().await.unwrap().unwrap();
    assert_eq!(last.hashes(), Hashes::ZERO);
    assert!(rig.desk.reports("someone", "a").await.is_empty());
}

#[test]
fn without_a_meter_there_is_nothing_to_report() {
    let mut rig = rig(false);
    assert_eq!(rig.instruments.signed("someone".to_owned(), "a".to_owned()), None);
    assert!(rig.snapshots.borrow().meters.is_empty());
}

/// A rig of a processor with counters, a board of NVIDIA's and another: three meters.
struct Three {
    rig: Rig,
    counter: Counter,
    root: tempfile::TempDir,
}

impl Three {
    fn new() -> Self {
        let (mut rig, root, counter) = (rig(false), tempfile::tempdir().unwrap(), rigs::counter(9));
        rigs::zone(root.path(), "package-0", "1000000");
        rigs::chip(root.path(), "77");
        let gpus = [rigs::gpu("gpu:0", "0000:65:00.0"), rigs::gpu("gpu:1", "0000:03:00.0")];
        rig.instruments.metering =
            Some(opened(root.path(), &counter, &gpus, rig.instruments.clock));
        Self { rig, counter, root }
    }

    /// The counters after `seconds` of 0.1 W, 0.3 W and 0.7 W.
    fn after(&self, seconds: u64) {
        rigs::zone(self.root.path(), "package-0", &(1_000_000 + 100_000 * seconds).to_string());
        *self.counter.0.lock().unwrap() = Ok(9 + 300 * seconds);
        rigs::chip(self.root.path(), &(77 + 700_000 * seconds).to_string());
    }

    fn hash(&self, hashes: u128) {
        self.rig.device.add_slice(Hashes::new(hashes), Duration::from_millis(1));
    }

    fn signed(&mut self) -> Option<energy::report::SignedReport> {
        std::thread::sleep(Duration::from_millis(2));
        let report = self.rig.instruments.signed("someone.rig1".to_owned(), "a".to_owned())?;
        Some(energy::report::verify(&report.to_string()).unwrap())
    }
}

fn opened(root: &Path, counter: &Counter, gpus: &[GpuToMeter], clock: Clock) -> Metering {
    let processor = Processor { name: String::new(), cores: 2 };
    let host = Host { processor: &processor, threads: 2 };
    let board = rigs::one_board(counter);
    let opened = boards::open(&rigs::settings(root, None), host, gpus, board, clock.now());
    Metering { meters: opened.meters, key: SigningKey::from_bytes(&[7; 32]), words: None }
}

#[test]
fn three_meters_of_a_rig_reach_the_pools_book_in_one_report_and_are_added() {
    let mut three = Three::new();
    let mut book = Book::new(Duration::from_secs(300));
    let mut taken = Vec::new();
    for seconds in [0, 1, 4] {
        three.after(seconds);
        let signed = three.signed().unwrap();
        let ids: Vec<&str> = signed.report().meters.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["rapl:package", "gpu:0", "gpu:1"]);
        let taking = book.take(1, &signed, signed.report().at).unwrap();
        assert!(taking.meters.iter().all(|taken| taken.counted));
        taken.push(taking.meters.iter().map(|taken| taken.credited.get()).collect::<Vec<_>>());
    }
    assert_eq!(taken, [[0; 3], [100_000, 300_000, 700_000], [300_000, 900_000, 2_100_000]]);
    let snapshot = Arc::clone(&three.rig.snapshots.borrow());
    assert_eq!(snapshot.energy(), Some(MicroJoules::new(4_400_000)));
    assert_eq!(snapshot.energy_source().as_deref(), Some("rapl+nvml+hwmon"));
}

#[test]
fn one_meter_that_cannot_be_read_holds_the_report_of_all_back() {
    let mut three = Three::new();
    three.hash(100);
    three.after(1);
    let first = three.signed().unwrap();
    three.hash(10);
    three.after(2);
    *three.counter.0.lock().unwrap() = Err(energy::nvml::Fault::Failed("busy".to_owned()));
    assert_eq!(three.signed(), None);
    assert_eq!(three.rig.snapshots.borrow().metered.hashes, Hashes::new(100));
    // Read again, it has the joules of the whole time, and so has the report.
    three.after(3);
    let later = three.signed().unwrap();
    assert_eq!(later.report().meters[1].total, MicroJoules::new(900_000));
    assert_eq!(later.report().meters[1].epoch, first.report().meters[1].epoch);
    assert_eq!(three.rig.snapshots.borrow().metered.hashes, Hashes::new(110));
}

#[test]
fn joules_that_are_lost_for_good_begin_a_new_epoch_of_all_meters() {
    let mut three = Three::new();
    three.hash(100);
    three.after(5);
    let first = three.signed().unwrap();
    // The driver is loaded again: nobody knows what the board drew of the second that made 10.
    three.hash(10);
    three.after(6);
    *three.counter.0.lock().unwrap() = Ok(2);
    assert_eq!(three.signed(), None, "the joules of this time are not to be had");
    assert_eq!(three.rig.snapshots.borrow().metered.hashes, Hashes::new(100));
    three.hash(1);
    three.after(7);
    *three.counter.0.lock().unwrap() = Ok(302);
    let later = three.signed().unwrap();
    let epochs: Vec<u64> = later.report().meters.iter().map(|meter| meter.epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch > first.report().meters[0].epoch), "{epochs:?}");
    assert_eq!(later.report().meters[1].total, MicroJoules::new(1_800_000));
    assert_eq!(three.rig.snapshots.borrow().metered.hashes, Hashes::new(101));
    let shown = three.rig.snapshots.borrow().meters[1].clone();
    assert_eq!(shown.gaps[0].0, "reset");
    // One new epoch for one loss.
    let again = three.signed().unwrap();
    assert_eq!(again.report().meters[0].epoch, later.report().meters[0].epoch);
}

#[test]
fn a_model_of_the_processor_counts_what_runs_on_it_and_no_board() {
    let root = tempfile::tempdir().unwrap();
    let board = GpuToMeter { software: false, ..rigs::gpu("gpu:0", "0000:65:00.0") };
    let software = GpuToMeter { software: true, pci: None, ..rigs::gpu("gpu:1", "0000:66:00.0") };
    let mut rig = rig(false);
    let devices = ["gpu:0", "gpu:1"].map(|name| Arc::new(Device::new(name, Backend::Portable, 1)));
    rig.instruments.devices.extend(devices.clone());
    let gpus = [board, software];
    let metering = opened(root.path(), &rigs::counter(0), &gpus, rig.instruments.clock);
    rig.instruments.metering = Some(metering);
    let mut model = || {
        rig.instruments.sample();
        rig.snapshots.borrow().meters[0].total
    };
    devices[0].add_slice(Hashes::new(1), Duration::from_secs(50));
    assert_eq!(model(), MicroJoules::ZERO);
    devices[1].add_slice(Hashes::new(1), Duration::from_secs(2));
    let busy = model();
    assert!(busy > MicroJoules::ZERO);
    // Four thread seconds on two threads at the same time: the busiest is what counts.
    rig.device.add_slice(Hashes::new(1), Duration::from_secs(4));
    assert_eq!(model(), busy);
}
