//! `wattproof-miner`: the command line; everything else is the library.

use std::io::Write as _;
use std::process::ExitCode;

use miner::cli::{self, Parsed};
use miner::commands;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(Parsed::Cli(cli)) => commands::execute(&cli),
        Ok(Parsed::Text(text)) => commands::print(&text),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where stderr is closed there is nobody to tell; the status still says it.
            let _unread = writeln!(std::io::stderr(), "wattproof-miner: {failure}");
            failure.exit_code()
        }
    }
}
