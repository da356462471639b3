//! The fuzz targets, each for a few seconds. They are built with the compiler that everything else
//! is built with: coverage is counted by a pass of LLVM's that it has, and libFuzzer is C++ that
//! comes as a crate. Where there is no C++ compiler the same bodies run as properties instead.
//!
//! It deliberately keeps what it found in the build folder alone: a finding becomes a test first.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::workspace;

/// Seconds for each target.
const SECONDS: u32 = 10;
const TARGETS: &[&str] = &["configuration", "lines", "proxy", "session"];
const MANIFEST: &str = "fuzz/Cargo.toml";

/// What libFuzzer is told by: the flags that cargo-fuzz gives, without a sanitizer.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";

/// Builds and runs all of them.
///
/// # Errors
/// Fails where something does not build, or a target finds something.
pub(super) fn run() -> Result<(), Failure> {
    let folder = folder();
    let mut cargo = workspace::cargo();
    cargo.arg("fmt").args(["--manifest-path", MANIFEST, "--check"]);
    done(&mut cargo, "cargo fmt")?;
    if !has_compiler() {
        println!("no C++ compiler, so no libFuzzer: its targets' bodies run as properties");
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--manifest-path", MANIFEST, "--target-dir"]).arg(&folder);
        return done(&mut cargo, "cargo test");
    }
    let host = host()?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--manifest-path", MANIFEST, "--features", "libfuzzer", "--bins"]);
    // A target of its own keeps the flags away from build scripts.
    cargo.args(["--target", &host, "--target-dir"]).arg(&folder).env("RUSTFLAGS", FLAGS);
    done(&mut cargo, "cargo build")?;
    TARGETS.iter().try_for_each(|target| {
        let program = folder.join(&host).join("debug").join(target);
        let [corpus, findings] = ["corpus", "findings"].map(|name| folder.join(name).join(target));
        for folder in [&corpus, &findings] {
            std::fs::create_dir_all(folder)
                .map_err(|e| Failure::new(format!("{}: {e}", folder.display())))?;
        }
        let mut fuzz = Command::new(program);
        fuzz.arg(&corpus).arg(workspace::root().join("fuzz/seeds").join(target));
        fuzz.arg(format!("-max_total_time={SECONDS}")).args(["-max_len=4096", "-timeout=10"]);
        fuzz.arg("-verbosity=0").arg("-print_final_stats=1");
        fuzz.arg(format!("-artifact_prefix={}/", findings.display()));
        println!("fuzzing {target} for {SECONDS} s");
        done(&mut fuzz, target)
    })
}

/// Where all of it is built.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    workspace::root().join(target.unwrap_or_else(|| "target".into())).join("fuzz")
}

/// Whether C++ can be built here the way the `cc` crate does it.
fn has_compiler() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut asked = Command::new(compiler);
    asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    cfg!(unix) && asked.status().is_ok_and(|status| status.success())
}

/// This machine's target, as cargo names it.
fn host() -> Result<String, Failure> {
    let output = workspace::cargo().arg("-vV").output();
    let output = output.map_err(|e| Failure::new(format!("cargo cannot be started: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("cargo does not name its host"))
}

fn done(command: &mut Command, name: &str) -> Result<(), Failure> {
    let status =
        command.status().map_err(|e| Failure::new(format!("{name} cannot be started: {e}")))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{name} ended with {status}"))) }
}
