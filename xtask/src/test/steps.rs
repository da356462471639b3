//! The checks, in the order they run: quick ones first, the soak and the demos as the last and
//! longest. Each is a name, what it needs and wants, and what it runs. It deliberately holds no
//! check of its own: the rules of layers and tidiness are tests of this package and run among the
//! tests.
//!
//! A test that wants something of the machine (a Bitcoin Core, promtool) looks for it itself, says
//! `left out` on stderr where there is none, and fails instead where `WATTPROOF_STRICT` is 1. Here
//! that is set once everything wanted is there, so that no test is left out unseen. The tests that
//! want a GPU run on those that they find, and fail without any where `WATTPROOF_NEEDS_GPU` is 1,
//! which is set once there is the one in software.

use crate::debian::{Brings, Package};
use crate::demo::{self, Hasher, Node};
use crate::failure::Failure;
use crate::joules;
use crate::threats;
use crate::workspace;

use super::fuzz;
use super::needs::Need;
use super::soak;

/// Seconds of the soak: long enough for connections to come, go and come back.
const SOAK_SECONDS: u32 = 60;
/// Seconds of mining in the closing demo.
const DEMO_SECONDS: u32 = 20;

/// With the value 1, a test that lacks something of the machine fails.
const STRICT: &str = "WATTPROOF_STRICT";
/// With the value 1, a test of GPUs that finds none fails.
const NEEDS_GPU: &str = "WATTPROOF_NEEDS_GPU";
const PROMTOOL: Package = Package { name: "prometheus", brings: Brings::Program("promtool") };
const SYSTEMD: Package = Package { name: "systemd", brings: Brings::Program("systemd-analyze") };

/// One check.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// It does not run without these.
    pub(crate) needs: &'static [Need],
    /// Without these, parts of it are left out.
    pub(crate) wants: &'static [Need],
    /// Told which of what it wants is not there.
    pub(crate) run: fn(&[Need]) -> Result<(), Failure>,
}

/// Checks the kernels as they are built for processors other than x86-64. The flags are theirs
/// alone: nothing that they depend on is built again.
#[rustfmt::skip]
const PORTABLE_KERNELS: &[&str] = &[
    "rustc", "--package", "kernels", "--lib", "--profile", "check",
    "--", "--cfg", "force_portable", "--deny", "warnings",
];

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "format",
        needs: &[Need::Component("rustfmt")],
        wants: &[],
        run: |_| cargo(&["fmt", "--all", "--check"], &[]),
    },
    Step {
        name: "lints",
        needs: &[Need::Component("clippy")],
        wants: &[],
        run: |_| {
            cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[])
        },
    },
    Step {
        name: "portable kernels",
        needs: &[],
        wants: &[],
        run: |_| cargo(PORTABLE_KERNELS, &[]),
    },
    Step {
        name: "tests",
        needs: &[],
        wants: &[Need::Node, Need::Package(PROMTOOL), Need::Package(SYSTEMD), Need::SoftwareGpu],
        run: |without| cargo(&["test", "--workspace"], &of_tests(without)),
    },
    Step {
        name: "threats",
        needs: &[],
        wants: &[],
        run: |_| threats::run(&threats::Options::default()),
    },
    Step { name: "fuzz", needs: &[Need::Component("rustfmt")], wants: &[], run: |_| fuzz::run() },
    Step {
        name: "documentation",
        needs: &[],
        wants: &[],
        run: |_| cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    },
    Step { name: "soak", needs: &[], wants: &[], run: |_| soak::run(SOAK_SECONDS) },
    Step {
        name: "joules",
        needs: &[],
        wants: &[Need::Package(PROMTOOL)],
        run: |_| joules::run(&joules::Options::default()),
    },
    Step {
        name: "demo",
        needs: &[],
        wants: &[],
        run: |_| demo::run_for(DEMO_SECONDS, Node::Embedded, Hasher::Cpu),
    },
    Step {
        name: "demo on Bitcoin Core",
        needs: &[Need::Node],
        wants: &[],
        run: |_| demo::run_for(DEMO_SECONDS, Node::Core, Hasher::Cpu),
    },
    Step {
        name: "demo on a GPU",
        needs: &[Need::Node, Need::SoftwareGpu],
        wants: &[],
        run: |_| demo::run_for(DEMO_SECONDS, Node::Core, Hasher::Gpu),
    },
];

/// The environment of the tests on a machine without these.
fn of_tests(without: &[Need]) -> Vec<(&'static str, &'static str)> {
    let complete = without.is_empty().then_some((STRICT, "1"));
    let gpu = (!without.contains(&Need::SoftwareGpu)).then_some((NEEDS_GPU, "1"));
    complete.into_iter().chain(gpu).collect()
}

/// Runs cargo with its output as it is.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let shown = format!("cargo {}", arguments.join(" "));
    println!("{shown}");
    let status = workspace::cargo()
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .map_err(|e| Failure::new(format!("{shown} cannot be started: {e}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{shown} ended with {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_what_there_is_so_that_they_leave_nothing_out_unseen() {
        assert_eq!(of_tests(&[]), [(STRICT, "1"), (NEEDS_GPU, "1")]);
        assert_eq!(of_tests(&[Need::Node]), [(NEEDS_GPU, "1")]);
        assert_eq!(of_tests(&[Need::SoftwareGpu]), []);
    }
}
