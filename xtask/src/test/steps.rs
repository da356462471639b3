//! The checks, in the order they run: quick ones first, the demo as the last and longest. Each
//! is a name, what it needs, and what it runs. It deliberately holds no check of its own: the
//! rules of layers and tidiness are tests of this package and run among the tests.
//!
//! A test that needs a Bitcoin Core is marked `#[ignore]` with that reason and finds the node as
//! `node::provide` does; those tests are a step of their own, so that they can be left out by name.

use crate::demo::{self, Node};
use crate::failure::Failure;
use crate::node;
use crate::workspace;

use super::needs::Need;

/// Seconds of mining in the closing demo.
const DEMO_SECONDS: u32 = 20;

/// One check.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn() -> Result<(), Failure>,
}

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "format",
        needs: &[Need::Component("rustfmt")],
        run: || cargo(&["fmt", "--all", "--check"], &[]),
    },
    Step {
        name: "lints",
        needs: &[Need::Component("clippy")],
        run: || cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[]),
    },
    Step { name: "tests", needs: &[], run: || cargo(&["test", "--workspace"], &[]) },
    Step {
        name: "tests on Bitcoin Core",
        needs: &[Need::Node],
        run: || {
            let core = node::provide()?;
            let bitcoind = core.bitcoind.to_string_lossy();
            cargo(&["test", "--workspace", "--", "--ignored"], &[(node::VARIABLE, &bitcoind)])
        },
    },
    Step {
        name: "documentation",
        needs: &[],
        run: || cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    },
    Step { name: "demo", needs: &[], run: || demo::run_for(DEMO_SECONDS, Node::Embedded) },
    Step {
        name: "demo on Bitcoin Core",
        needs: &[Need::Node],
        run: || demo::run_for(DEMO_SECONDS, Node::Core),
    },
];

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
