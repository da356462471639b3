//! `wattproof-pool`: see `pool::cli` for what it can do.

use std::process::ExitCode;

fn main() -> ExitCode {
    pool::cli::main()
}
