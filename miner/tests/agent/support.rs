//! The agent's file, and its binary.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The agent's file with these devices, in a folder of its own.
pub(crate) fn file(folder: &Path, devices: &str) -> std::path::PathBuf {
    let path = folder.join("agent.toml");
    let state = folder.join("agent.json");
    let text = format!(
        "[agent]\nstate = \"{}\"\npatience_seconds = 1\nlisten = \"off\"\n{devices}",
        state.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A device's entry.
pub(crate) fn entry(name: &str, driver: &str, port: u16, more: &str) -> String {
    format!(
        "[[device]]\nname = \"{name}\"\ndriver = \"{driver}\"\nhost = \"127.0.0.1\"\n\
         port = {port}\n{more}\n"
    )
}

/// What `agent --once` prints.
pub(crate) fn once(path: &Path, json: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-miner"));
    command.args(["agent", "--once", "-c"]).arg(path);
    if json {
        command.arg("--json");
    }
    command.output().unwrap()
}

/// The only device of what it prints as JSON.
pub(crate) fn ask(entry: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = once(&file(folder.path(), entry), true);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut said: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    });
    let device = said["devices"][0].take();
    let has_figure = device["figures"].as_array().is_some_and(|figures| !figures.is_empty());
    assert_eq!(output.status.success(), has_figure, "{device}");
    device
}
