//! A demo on GPUs: how the miner is told, and that there is one before anything is started. What
//! the GPUs did is judged by `check.rs`. It deliberately knows no driver: the miner's own list says
//! what there is.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::failure::Failure;

/// What has the miner mine on all GPUs and on nothing else. With the CPU off those in software
/// count too.
pub(crate) const ARGUMENTS: [&str; 4] = ["--cpu", "off", "--gpu", "auto"];
/// The device that the miner lists on every machine.
const CPU: &str = "cpu";

/// `wattproof-miner devices --json`, the member that is read.
#[derive(Debug, Deserialize)]
struct Listed {
    devices: Vec<ListedDevice>,
}

#[derive(Debug, Deserialize)]
struct ListedDevice {
    device: String,
}

/// Nothing where the miner finds a GPU on this machine.
///
/// # Errors
/// One line where it finds none, or cannot be asked.
pub(crate) fn require(miner: &Path) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(format!("{} devices --json: {why}", miner.display()));
    let output = Command::new(miner)
        .args(["devices", "--json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        // Drivers talk there as well: of a miner that succeeds, nothing is shown.
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}: {}", output.status, words.trim())));
    }
    let listed: Listed =
        serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
    if listed.devices.iter().any(|listed| listed.device != CPU) {
        return Ok(());
    }
    Err(Failure::usage(
        "--gpu: the miner finds no GPU on this machine; one in software comes with Debian's \
         libvulkan1 and mesa-vulkan-drivers",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::script;

    /// What a miner that says this makes of it; empty where it has a GPU.
    fn complaint(says: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let miner = script(folder.path(), "miner", says);
        require(&miner).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_machine_without_a_gpu_is_told_in_one_line() {
        let with = r#"echo '{"schema":1,"devices":[{"device":"cpu"},{"device":"gpu:0"}]}'"#;
        assert_eq!(complaint(with), "");
        let without = r#"echo '{"schema":1,"devices":[{"device":"cpu"}]}'"#;
        let text = complaint(without);
        assert!(text.contains("--gpu") && text.contains("mesa-vulkan-drivers"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_miner_that_cannot_say_is_no_machine_without_a_gpu() {
        let failing = "echo 'no such word' >&2; exit 3";
        for (says, why) in [
            (failing, "exit status: 3"),
            (failing, "no such word"),
            ("echo '{}'", "missing field `devices`"),
        ] {
            let text = complaint(says);
            assert!(text.contains(why) && !text.contains("no GPU"), "{text}");
        }
    }
}
