//! The library as a program of the system loads it: from a file, by the names of its functions.
//! No board is here, so that a small library written in C answers as NVIDIA's header says; what the
//! answers come to is tested with the meter itself, in `energy`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

/// Two boards: one with a counter, and one without that has fallen off the bus.
const ANSWERS: &str = r#"
#include <string.h>
typedef struct board { int number; } *device;
static struct board boards[2] = { { 0 }, { 1 } };
static unsigned long long asked;
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, device *found) {
    if (strcmp(bus_id, "00000000:65:00.0") == 0) *found = &boards[0];
    else if (strcmp(bus_id, "00000001:AF:00.0") == 0) *found = &boards[1];
    else return 6; /* NVML_ERROR_NOT_FOUND */
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *millijoules) {
    if (d->number == 1) return 3; /* NVML_ERROR_NOT_SUPPORTED */
    *millijoules = 4294967295123ULL + 350 * asked++;
    return 0;
}
int nvmlDeviceGetPowerUsage(device d, unsigned int *milliwatts) {
    if (d->number == 1) return 15; /* NVML_ERROR_GPU_IS_LOST */
    *milliwatts = 350123;
    return 0;
}
"#;

/// Builds the library with the compiler that links this very test.
fn build(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("answers.c"), folder.join("libanswers.so"));
    fs::write(&source, ANSWERS).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().unwrap().success());
    library
}

#[test]
fn a_board_is_found_by_its_address_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::load_from(build(folder.path()).as_os_str()).unwrap();
    let board = library.board("0000:65:00.0".parse().unwrap());
    assert_eq!(board.energy(), Ok(4_294_967_295_123));
    assert_eq!(board.energy(), Ok(4_294_967_295_473));
    assert_eq!(board.power(), Ok(350_123));
    let old = library.board("0001:af:00.0".parse().unwrap());
    assert_eq!((old.energy(), old.power()), (Err(Fault::NotSupported), Err(Fault::Lost)));
    let nobody = library.board("0000:66:00.0".parse().unwrap());
    assert_eq!(nobody.energy(), Err(Fault::Lost));
}

#[test]
fn a_library_that_is_not_there_is_a_plain_line() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("libnvidia-ml.so.1");
    let why = Library::load_from(nowhere.as_os_str()).unwrap_err();
    assert_eq!(why, "NVIDIA's management library is not installed");
}

#[test]
fn what_the_library_says_is_understood() {
    let lost = [NvmlError::GpuLost, NvmlError::NotFound, NvmlError::DriverNotLoaded];
    assert!(lost.iter().all(|error| fault(error) == Fault::Lost));
    assert_eq!(fault(&NvmlError::NoPermission), Fault::Permission);
    let missing = NvmlError::FailedToLoadSymbol("nvmlDeviceGetPowerUsage".to_owned());
    assert_eq!(fault(&missing), Fault::NotSupported);
    let other = fault(&NvmlError::Unknown);
    assert_eq!(other, Fault::Failed("an internal driver error occurred".to_owned()));
}
