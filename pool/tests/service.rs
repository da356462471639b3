//! The shipped systemd units: systemd takes them without a complaint, and the commands that they
//! start are ones that the programs have. It does not start them: that needs a running systemd.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    io::{ErrorKind, Write as _},
    path::Path,
    process::Command,
};

/// The unit's text with the program at `program`: systemd wants it to be there.
fn unit(name: &str, program: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/systemd");
    let text = fs::read_to_string(folder.join(format!("{name}.service"))).unwrap();
    let installed = format!("/usr/local/bin/{name} ");
    assert!(text.contains(&format!("\nExecStart={installed}")), "{text}");
    text.replace(&format!("={installed}"), &format!("={program} "))
}

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["wattproof-pool", "wattproof-miner"] {
        let file = folder.path().join(format!("{name}.service"));
        fs::write(&file, unit(name, "/bin/sh")).unwrap();
        let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output();
        let output = match verified {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let strict = env::var("WATTPROOF_STRICT").is_ok_and(|value| value == "1");
                assert!(!strict, "systemd-analyze is not installed (Debian's package systemd)");
                let line = "left out: systemd-analyze is not installed: systemd_takes_the_units";
                writeln!(std::io::stderr(), "\n{line}").unwrap();
                return;
            }
            verified => verified.unwrap(),
        };
        // What it does not know it only mentions.
        let said = String::from_utf8(output.stderr).unwrap();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(output.status.success() && ours.is_empty(), "{name}: {}: {said}", output.status);
    }
}

#[test]
fn the_pools_unit_starts_a_command_that_the_pool_has() {
    let unit = unit("wattproof-pool", env!("CARGO_BIN_EXE_wattproof-pool"));
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words.map(|word| word.replace("${CREDENTIALS_DIRECTORY}", "/nonexistent")))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // The status that the unit does not restart after.
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/nonexistent/pool.toml"), "{said}");
    assert!(unit.contains("\nRestartPreventExitStatus=2\n"));
}
