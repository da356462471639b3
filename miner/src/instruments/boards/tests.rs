//! Which meters are opened for which rig, and that those of several boards add up.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use energy::meter::Kind;
use energy::nvml::Fault;
use units::{MilliWatts, UnixMillis};

use super::*;

/// A board whose counter the test sets, in millijoules.
#[derive(Debug, Clone)]
pub(crate) struct Counter(pub(crate) Arc<Mutex<Result<u64, Fault>>>);

impl Board for Counter {
    fn energy(&self) -> Result<u64, Fault> {
        self.0.lock().map_err(|poisoned| Fault::Failed(poisoned.to_string()))?.clone()
    }

    fn power(&self) -> Result<u32, Fault> {
        Err(Fault::NotSupported)
    }
}

/// One board that NVIDIA's library knows, at 0000:65:00.0.
pub(crate) fn one_board(
    counter: &Counter,
) -> impl Fn(PciAddress) -> Result<Box<dyn Board + Send>, String> {
    let board = counter.clone();
    move |address| match address.to_string().as_str() {
        "0000:65:00.0" => Ok(Box::new(board.clone())),
        other => Err(format!("{other} is not known")),
    }
}

pub(crate) fn counter(millijoules: u64) -> Counter {
    Counter(Arc::new(Mutex::new(Ok(millijoules))))
}

pub(crate) fn gpu(device: &str, pci: &str) -> GpuToMeter {
    let (device, name) = (device.to_owned(), "A Board".to_owned());
    GpuToMeter { device, name, pci: Some(pci.parse().unwrap()), software: false }
}

fn software(device: &str) -> GpuToMeter {
    let (device, name) = (device.to_owned(), "llvmpipe".to_owned());
    GpuToMeter { device, name, pci: None, software: true }
}

pub(crate) fn settings(root: &Path, watts: Option<u64>) -> settings::Energy {
    let watts = watts.map(MilliWatts::from_watts);
    settings::Energy { sysfs: root.to_owned(), watts, chip: None, uncertainty: 0.4, key: None }
}

pub(crate) fn write(root: &Path, folder: &str, files: &[(&str, &str)]) {
    let folder = root.join(folder);
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), format!("{text}\n")).unwrap();
    }
}

pub(crate) fn zone(root: &Path, name: &str, microjoules: &str) {
    let number = if name == "psys" { 1 } else { 0 };
    let files =
        [("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", "262143328850")];
    write(root, &format!("class/powercap/intel-rapl:{number}"), &files);
}

pub(crate) fn chip(root: &Path, microjoules: &str) {
    let files = [("name", "amdgpu"), ("energy1_input", microjoules)];
    write(root, "bus/pci/devices/0000:03:00.0/hwmon/hwmon3", &files);
}

/// Opens the meters of a rig of two cores with `threads` hashing threads.
fn meters(root: &Path, watts: Option<u64>, threads: usize, gpus: &[GpuToMeter]) -> Opened {
    let processor = Processor { name: "A Processor of Tomorrow".to_owned(), cores: 2 };
    let host = Host { processor: &processor, threads };
    let at = Moment { mono: std::time::Duration::ZERO, unix: UnixMillis::new(0) };
    open(&settings(root, watts), host, gpus, one_board(&counter(1)), at)
}

fn ids(opened: &Opened) -> Vec<&str> {
    opened.meters.iter().map(|meter| meter.spec().id.as_str()).collect()
}

#[test]
fn each_board_has_its_meter_beside_the_processors() {
    let root = tempfile::tempdir().unwrap();
    chip(root.path(), "5");
    let gpus = [gpu("gpu:0", "0000:65:00.0"), gpu("gpu:1", "0000:03:00.0"), software("gpu:2")];
    let opened = meters(root.path(), None, 1, &gpus);
    assert_eq!(ids(&opened), ["model:host", "gpu:0", "gpu:1"]);
    let kinds: Vec<Kind> = opened.meters.iter().map(|meter| meter.spec().kind).collect();
    assert_eq!(kinds, [Kind::Model, Kind::Nvml, Kind::Hwmon]);
    assert!(opened.meters.iter().all(|meter| meter.spec().scope == Scope::Device));
    assert_eq!(opened.unknown(), None);
    // The software adapter takes both cores, whatever the processor's own threads are.
    assert!(opened.meters[0].spec().source.starts_with("2 cores of"));
    let lines = opened.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[2], "gpu:0: nvml (NVML, energy counter of A Board at 0000:65:00.0), +-5 %");
    assert_eq!(lines[3], "gpu:1: hwmon (hwmon amdgpu at 0000:03:00.0, energy1_input), +-5 %");
}

#[test]
fn beside_boards_the_packages_count_and_not_the_platform() {
    let root = tempfile::tempdir().unwrap();
    zone(root.path(), "package-0", "7");
    zone(root.path(), "psys", "9");
    assert_eq!(ids(&meters(root.path(), None, 1, &[])), ["rapl:psys"]);
    assert_eq!(ids(&meters(root.path(), None, 1, &[software("gpu:0")])), ["rapl:psys"]);
    let board = [gpu("gpu:0", "0000:65:00.0")];
    assert_eq!(ids(&meters(root.path(), None, 1, &board)), ["rapl:package", "gpu:0"]);
    // The processor draws power where it does not mine, too; a model of no cores knows nothing.
    assert_eq!(ids(&meters(root.path(), None, 0, &board)), ["rapl:package", "gpu:0"]);
    let bare = tempfile::tempdir().unwrap();
    assert_eq!(ids(&meters(bare.path(), None, 0, &board)), ["gpu:0"]);
}

#[test]
fn the_owners_figure_is_of_the_whole_rig_and_stands_alone() {
    let root = tempfile::tempdir().unwrap();
    let board = [gpu("gpu:0", "0000:65:00.0")];
    assert_eq!(ids(&meters(root.path(), Some(400), 1, &board)), ["model:configured"]);
    // Where everything can be read, it does not serve.
    zone(root.path(), "package-0", "7");
    assert_eq!(ids(&meters(root.path(), Some(400), 1, &board)), ["rapl:package", "gpu:0"]);
}

#[test]
fn a_board_without_a_meter_leaves_the_rigs_energy_unknown() {
    let root = tempfile::tempdir().unwrap();
    zone(root.path(), "package-0", "7");
    let gpus = [gpu("gpu:0", "0000:65:00.0"), gpu("gpu:1", "0000:66:00.0")];
    let opened = meters(root.path(), None, 1, &gpus);
    assert!(opened.meters.is_empty());
    assert_eq!(
        opened.unknown().unwrap(),
        "none is reported, as there is no meter for gpu:1 (A Board): NVML: 0000:66:00.0 \
         is not known; hwmon: no hardware monitor at bus/pci/devices/0000:66:00.0/hwmon; set \
         energy.watts to what the whole rig draws while it mines"
    );
    // The owner's figure stands for all of it, even beside counters that can be read.
    let opened = meters(root.path(), Some(400), 1, &gpus);
    assert_eq!(ids(&opened), ["model:configured"]);
    assert_eq!(opened.meters[0].spec().scope, Scope::Rig);
    assert!(opened.lines()[0].starts_with("no meter for gpu:1 (A Board): NVML"));
    // Nor can a meter be tied to a board of which nobody says where it is.
    let nowhere = GpuToMeter { pci: None, ..gpu("gpu:0", "0000:65:00.0") };
    let why = meters(root.path(), None, 1, &[nowhere]).unknown().unwrap();
    assert!(why.contains("gpu:0 (A Board): its PCI address is not known"), "{why}");
}

#[test]
fn one_board_behind_two_adapters_is_metered_once() {
    let root = tempfile::tempdir().unwrap();
    let twice = [gpu("gpu:0", "0000:65:00.0"), gpu("gpu:1", "00000000:65:00.0")];
    assert_eq!(ids(&meters(root.path(), None, 1, &twice)), ["model:host", "gpu:0"]);
}

#[test]
fn a_chip_that_the_owner_names_is_the_rigs_only_meter() {
    let root = tempfile::tempdir().unwrap();
    zone(root.path(), "psys", "1000000");
    let rail = |milliamperes: &str| {
        let files = [
            ("name", "ina3221"),
            ("in1_label", "VDD_IN"),
            ("in1_input", "5000"),
            ("curr1_input", milliamperes),
        ];
        write(root.path(), "class/hwmon/hwmon2", &files);
    };
    rail("2000");
    let chip = |label: &str| {
        let label = Some(label.to_owned());
        let chip = Some(Channel { chip: "ina3221".to_owned(), label });
        settings::Energy { chip, ..settings(root.path(), Some(65)) }
    };
    let processor = Processor { name: "A Processor of Tomorrow".to_owned(), cores: 2 };
    let host = Host { processor: &processor, threads: 2 };
    let gpus = [gpu("gpu:0", "0000:65:00.0")];
    let at = |seconds| Moment {
        mono: std::time::Duration::from_secs(seconds),
        unix: UnixMillis::new(seconds * 1000),
    };
    let mut opened = open(&chip("VDD_IN"), host, &gpus, one_board(&counter(1)), at(0));
    let [meter] = &mut opened.meters[..] else { panic!("{:?}", opened.meters) };
    assert_eq!((meter.spec().kind, meter.spec().scope), (Kind::Hwmon, Scope::Rig));
    rail("3000");
    meter.sample(at(2), std::time::Duration::ZERO);
    // From 10 to 15 W in two seconds.
    assert_eq!(meter.total().joules(), "25.000000");
    // Without it, the owner's figure serves, and why is said.
    let opened = open(&chip("VDD_OUT"), host, &gpus, one_board(&counter(1)), at(0));
    assert_eq!(opened.meters[0].spec().kind, Kind::Model);
    assert!(opened.lines()[0].contains("energy.chip (ina3221)"), "{:?}", opened.lines());
}
