//! The commands that need no pool, as they print.

use gpu::Method;
use serde_json::Value;

use super::*;
use crate::cli::{BenchArgs, OutputArgs};

fn bench_args(device: &str, backend: Option<&str>, versions: u32) -> BenchArgs {
    BenchArgs {
        device: device.to_owned(),
        backend: backend.map(str::to_owned),
        threads: 2,
        seconds: 0.3,
        versions,
        json: true,
    }
}

#[test]
fn bench_prints_the_agreed_object_for_every_backend() {
    for backend in kernels::available() {
        for versions in [1, 65_536] {
            let args = bench_args("cpu", Some(backend.name()), versions);
            let printed: Value = serde_json::from_str(&bench::bench(&args).unwrap()).unwrap();
            assert_eq!(printed["schema"], 1);
            assert_eq!(printed["algorithm"], "sha256d");
            assert_eq!(printed["device"], "cpu");
            assert_eq!(printed["backend"], backend.name());
            assert_eq!(printed["versions"], versions);
            assert_eq!(printed["threads"], 2);
            assert!(printed["seconds"].as_f64().unwrap() >= 0.3);
            assert!(printed["hashes"].as_u64().unwrap() > 0);
            assert!(printed["hashes_per_second"].as_f64().unwrap() > 0.0);
            let source = printed["energy_source"].as_str().unwrap();
            assert_eq!(printed["joules"].is_null(), source == "none");
        }
    }
}

#[test]
fn bench_says_what_is_not_here() {
    for (device, backend, named) in [
        ("gpu:99", None, "\"99\" names no GPU"),
        ("gpux", None, "cpu, gpu or gpu:N"),
        ("asic", None, "asic"),
        ("cpu:1", None, "cpu:1"),
        ("cpu", Some("wgpu"), "wgpu is a GPU's"),
        ("gpu", Some("avx2"), "a GPU's is wgpu"),
        ("cpu", Some("best"), "best"),
    ] {
        let failure = bench::bench(&bench_args(device, backend, 1)).unwrap_err();
        let text = failure.to_string();
        assert!(matches!(failure, Failure::Usage(_)), "{text}");
        assert!(text.contains(named) && !text.contains('\n'), "{text}");
    }
}

#[test]
fn selftest_checks_every_backend_that_is_here() {
    let (text, passed) = selftest::selftest(&OutputArgs { json: true });
    assert!(passed, "{text}");
    let printed: Value = serde_json::from_str(&text).unwrap();
    let results = printed["results"].as_array().unwrap();
    let right = results.iter().filter(|result| result["ok"] == true).count();
    let gpus = gpu::adapters::all().len();
    assert_eq!(right, kernels::available().len() + Method::ALL.len() * gpus);
    let (text, _) = selftest::selftest(&OutputArgs { json: false });
    assert_eq!(text.lines().count(), Backend::ALL.len() + Method::ALL.len() * gpus);
    assert!(text.contains("cpu    portable           ok: "), "{text}");
}

#[test]
fn devices_lists_the_processor_and_its_backends() {
    let printed: Value =
        serde_json::from_str(&devices::devices(&OutputArgs { json: true })).unwrap();
    let cpu = &printed["devices"][0];
    assert_eq!(cpu["device"], "cpu");
    assert!(cpu["backends"].as_array().unwrap().contains(&"portable".into()));
    let number = |value: &Value| value.as_array().unwrap().len();
    let by_core: usize = cpu["cpus_by_core"].as_array().unwrap().iter().map(number).sum();
    assert_eq!(by_core, number(&cpu["cpus"]));
    assert!(cpu["quota_cpus"].is_null() || cpu["quota_cpus"].as_f64().unwrap() > 0.0);
    let threads = cpu["threads"].as_u64().unwrap();
    assert!(threads >= 1 && threads <= u64::try_from(by_core).unwrap());
    let text = devices::devices(&OutputArgs { json: false });
    for said in ["backends: portable", "usable:   CPUs ", &format!("threads:  {threads} ")] {
        assert!(text.contains(said), "{said} is not in:\n{text}");
    }
}
