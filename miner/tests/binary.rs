//! The binary as scripts use it: exit status, one line on stderr for what is wrong, the API's
//! address on stdout, and a graceful end on a signal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

const MINER: &str = env!("CARGO_BIN_EXE_wattproof-miner");

#[test]
fn mistakes_end_with_status_2_and_one_line_that_names_the_thing() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&[], "no pool"),
        (&["-o", "stratum+ssl://pool.example", "-u", "u"], "stratum+ssl://HOST:PORT"),
        (&["-o", "stratum+tcp://a:1", "-u", "u", "--cpu", "avx512"], "avx512"),
        (&["-o", "stratum+tcp://a:1", "-u", "u", "--gpu", "wgpu"], "--gpu wgpu"),
        (&["-c", "/nonexistent/miner.toml"], "/nonexistent/miner.toml"),
        (&["check", "-c", "/nonexistent/miner.toml"], "/nonexistent/miner.toml"),
        (&["bench", "--device", "gpu"], "gpu"),
    ] {
        let output = Command::new(MINER).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert!(text.starts_with("wattproof-miner: ") && text.contains(named), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_version_and_selftest_end_well() {
    for (arguments, printed) in
        [("--help", "Usage: wattproof-miner"), ("-V", "wattproof-miner"), ("selftest", "portable")]
    {
        let output = Command::new(MINER).arg(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(printed), "{arguments}");
    }
}

#[test]
#[cfg(unix)]
fn a_taken_api_address_ends_with_status_1_and_names_it() {
    let state = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(MINER)
        .args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "-q", "--api", &address])
        .env("XDG_STATE_HOME", state.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&address) && text.lines().count() == 1, "{text}");
}

#[test]
#[cfg(unix)]
fn a_signal_ends_it_with_status_0_and_a_summary() {
    for signal in ["-INT", "-TERM"] {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(MINER)
            .args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "-t", "1"])
            .args(["--cpu", "portable", "--api", "127.0.0.1:0"])
            .env("XDG_STATE_HOME", state.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("api      http://127.0.0.1:"), "{line}");
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}: {text}");
        assert!(text.contains("0 hashes in"), "{signal}: {text}");
        assert!(state.path().join("wattproof/miner.key").exists());
    }
}
