//! The command line of `wattproof-pool`: what it can do, and how it says that it could not.
//!
//! Exit status: 0 done, 1 failed, 2 usage or configuration. Errors are one line on stderr that
//! names the thing. This module alone prints; everything below it returns or traces.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod payouts;

use std::{
    io::{ErrorKind, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::Source;
use ledger::BlockId;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    bundles::{self, Export, OverArgs, VerifyBundle, VerifyReceipt},
    clock::Clock,
    config::Config,
    demo,
    handover::{State, relay},
    large_pages,
    limits::{self, Room},
    run::{self, Asked, Reloader},
    tables::{self, ListArgs, StatementArgs, Table, TableArgs},
};

/// A pool that proves its energy as well as its work.
#[derive(Debug, Parser)]
#[command(name = "wattproof-pool", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pool until SIGINT or SIGTERM; SIGHUP reads the configuration again, SIGUSR2 puts the
    /// program's newest file in its place without dropping a miner
    Run(ConfigFile),
    /// Read a configuration and its certificate; print every key in force, or every mistake
    Check(ConfigFile),
    /// Print a commented pool.toml to start from
    Init {
        /// The network to fill in
        #[arg(long, value_enum, default_value = "regtest")]
        network: InitNetwork,
    },
    /// Hold sockets for a pool that is renewed; started by it
    #[command(hide = true)]
    Hold,
    /// Run an embedded development chain and a pool on it, without a miner
    Demo(DemoArgs),
    /// List accounts with their work and balances
    Accounts(TableArgs),
    /// List found blocks and their states
    Blocks(ListArgs),
    /// List what each account is owed
    Balances(TableArgs),
    /// List payouts
    Payouts(ListArgs),
    /// Write an account's credits and payouts, line by line, with the balance after each
    Statement(StatementArgs),
    /// Copy the ledger to a new file, while the pool runs or not, and audit the copy
    Backup(BackupArgs),
    /// Put a copy in the place of a ledger that is gone, or that the copy has all events of
    Restore(RestoreArgs),
    /// Make payouts, or see to those that are made
    Payout {
        #[command(subcommand)]
        what: payouts::Payout,
    },
    /// Write a bundle that anyone can check offline
    Export {
        #[command(subcommand)]
        what: Export,
    },
    /// Recompute everything from the event log and compare
    Verify {
        #[command(subcommand)]
        what: Verify,
    },
}

#[derive(Debug, Subcommand)]
enum Verify {
    /// Every share, slice, settlement and balance of a ledger
    Ledger(VerifyArgs),
    /// Every satoshi of a block's settlement, from a bundle or a ledger
    Block {
        /// The block
        #[arg(value_name = "HASH", value_parser = bundles::block_hash)]
        hash: BlockId,
        #[command(flatten)]
        args: VerifyBundle,
    },
    /// An account's work below the roots of slices, from a bundle or a ledger
    Account {
        /// The account, as it is paid
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[command(flatten)]
        over: OverArgs,
        #[command(flatten)]
        args: VerifyBundle,
    },
    /// A signed receipt, and that its slice has the shares
    Receipt(VerifyReceipt),
}

/// Which ledger.
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// The pool's configuration, which names the ledger
    #[arg(short, long, value_name = "FILE", conflicts_with = "dir")]
    pub(crate) config: Option<PathBuf>,
    /// A data directory that holds pool.sqlite
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The pool's configuration
    #[arg(short, long, value_name = "FILE", default_value = "pool.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct BackupArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// The new file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// What `backup` made
    copy: PathBuf,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// One JSON object instead of sentences
    #[arg(long)]
    json: bool,
}

/// What `demo` may be told.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after this many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Where miners connect; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3333")]
    pub(crate) stratum: SocketAddr,
    /// Where the page is served; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Where the chain's RPC is served; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) node: SocketAddr,
    /// Where chain and ledger are kept; the same directory again goes on where it ended
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Networks by the names of `pool.toml`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum InitNetwork {
    Bitcoin,
    Testnet4,
    Signet,
    Regtest,
}

/// How a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Usage or configuration: exit status 2.
    Usage(String),
    /// Anything else: exit status 1.
    Failed(String),
}

/// Parses the command line, does what it says, and gives the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse(); // on a usage error clap prints it and exits with 2
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => {
            eprintln!("wattproof-pool: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("wattproof-pool: {why}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(file) => serve(&file),
        Command::Hold => relay::hold().map_err(|error| Failure::Failed(error.to_string())),
        Command::Check(file) => check(&file),
        Command::Init { network } => {
            print!("{}", template(network));
            Ok(())
        }
        Command::Demo(args) => run_demo(&args),
        Command::Accounts(args) => show(args.accounts()),
        Command::Blocks(args) => show(args.blocks().map_err(Failure::Usage)?),
        Command::Balances(args) => show(args.balances()),
        Command::Payouts(args) => show(args.payouts()),
        Command::Statement(args) => statement(args),
        Command::Payout { what } => payouts::execute(&what),
        Command::Export { what } => bundles::export(&what),
        Command::Backup(args) => {
            let (config, _) = read(&args.file)?;
            copied(&args.output, ledger::backup(&config.ledger.path, &args.output))
        }
        Command::Restore(args) => {
            let (config, _) = read(&args.file)?;
            copied(&config.ledger.path, ledger::restore(&args.copy, &config.ledger.path))
        }
        Command::Verify { what: Verify::Ledger(args) } => verify(&args),
        Command::Verify { what: Verify::Receipt(args) } => answer(bundles::verify_receipt(&args)?),
        Command::Verify { what: Verify::Block { hash, args } } => {
            answer(bundles::verify_block(&hash, &args)?)
        }
        Command::Verify { what: Verify::Account { account, over, args } } => {
            answer(bundles::verify_account(&account, &over, &args)?)
        }
    }
}

impl LedgerArgs {
    /// The ledger's file.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        match (&self.dir, &self.config) {
            (Some(dir), _) => Ok(dir.join(demo::LEDGER_FILE)),
            (None, file) => {
                let config = file.clone().unwrap_or_else(|| PathBuf::from("pool.toml"));
                Ok(read(&ConfigFile { config })?.0.ledger.path)
            }
        }
    }
}

fn read(file: &ConfigFile) -> Result<(Config, config::Effective), Failure> {
    let source = Source::read(&file.config).map_err(|error| Failure::Usage(error.to_string()))?;
    Config::read(source).map_err(|errors| Failure::Usage(errors.to_string()))
}

/// What the text alone does not show is looked at as well: the certificate and its key. Warnings go
/// to stderr, so that what is printed is TOML.
fn check(file: &ConfigFile) -> Result<(), Failure> {
    let (config, effective) = read(file)?;
    if let Some(files) = &config.tls {
        let now = Clock::start().now().unix;
        let loaded = files.load(now).map_err(|error| Failure::Usage(error.to_string()))?;
        for warning in loaded.warnings {
            eprintln!("wattproof-pool: {warning}");
        }
    }
    print!("{effective}");
    Ok(())
}

fn serve(file: &ConfigFile) -> Result<(), Failure> {
    large_pages::begin_again();
    let (mut config, mut effective) = read(file)?;
    start_tracing();
    let mut taken = relay::take().map_err(|error| Failure::Failed(error.to_string()))?;
    loop {
        let state = runtime()?.block_on(serve_once(config, &effective.to_string(), file, taken))?;
        let Some(state) = state else { return Ok(()) };
        // Only where this process could not become another does it go on here.
        let (error, state) = relay::become_another(&program()?, state);
        tracing::error!("{error}; going on as before");
        taken = state;
        (config, effective) = read(file)?;
    }
}

/// Runs the pool until it is asked to stop, or to leave everything to another image.
async fn serve_once(
    mut config: Config,
    effective: &str,
    file: &ConfigFile,
    taken: Option<State>,
) -> Result<Option<State>, Failure> {
    fit_into_open_files(&mut config);
    let before = taken.as_ref().map_or(Duration::ZERO, |state| state.mono);
    let clock = Clock::continuing(before);
    if let Some(state) = &taken {
        tracing::info!("going on with {} connections", state.peers.len());
    }
    let running = run::go_on(config.clone(), clock, taken.unwrap_or_default())
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    announce(&running);
    let reloader = running.reloader(config);
    running.until_asked(asked(file, effective, reloader)).await.map_err(Failure::Failed)
}

/// Takes no more connections than the system has files for, and says how many that is.
fn fit_into_open_files(config: &mut Config) {
    match limits::raise_open_files() {
        Ok(files) => {
            let room = Room::of(&config.limits, files);
            tracing::info!("{room}");
            config.limits.total = room.connections;
        }
        Err(error) => tracing::warn!("the limit on open files cannot be looked at: {error}"),
    }
}

/// This program, as it was started: after an update the same name is another file.
fn program() -> Result<PathBuf, Failure> {
    let failed = |error| Failure::Failed(format!("this program's own file: {error}"));
    let path = std::env::current_exe().map_err(failed)?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

fn run_demo(args: &DemoArgs) -> Result<(), Failure> {
    start_tracing();
    let limit = args.seconds.map(Duration::from_secs);
    runtime()?.block_on(async {
        let clock = Clock::start();
        let demo = demo::start(args, clock).await?;
        announce(&demo.pool);
        println!("data     {}", demo.data.display());
        let stop = async {
            tokio::select! {
                () = asked_to_stop() => {}
                () = pause(limit) => {}
            }
        };
        demo.until(stop).await.map_err(Failure::Failed)
    })
}

fn announce(running: &run::Running) {
    for address in &running.stratum {
        println!("stratum  stratum+tcp://{address}");
    }
    println!("page     http://{}/", running.http);
}

async fn pause(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Completes at the first SIGINT or SIGTERM.
async fn asked_to_stop() {
    let (mut interrupt, mut terminate) =
        (hear(SignalKind::interrupt()), hear(SignalKind::terminate()));
    tokio::select! {
        () = next(&mut interrupt) => {}
        () = next(&mut terminate) => {}
    }
    tracing::info!("asked to stop");
}

/// Completes when the pool is asked to stop (SIGINT, SIGTERM) or to be renewed (SIGUSR2). Until
/// then it reads the configuration again at each SIGHUP.
async fn asked(file: &ConfigFile, effective: &str, mut reloader: Reloader) -> Asked {
    let mut again = hear(SignalKind::hangup());
    let mut renew = hear(SignalKind::user_defined2());
    let mut stop = std::pin::pin!(asked_to_stop());
    loop {
        tokio::select! {
            () = &mut stop => return Asked::Stop,
            () = next(&mut again) => reload(file, &mut reloader),
            () = next(&mut renew) => {
                if takes_configuration(file, effective).await {
                    tracing::info!("asked to be renewed");
                    return Asked::Renew;
                }
            }
        }
    }
}

fn hear(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!("a signal cannot be watched: {error}")).ok()
}

/// Completes at the next signal; never where it cannot be watched.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn reload(file: &ConfigFile, reloader: &mut Reloader) {
    let new = match read(file) {
        Ok((mut new, _)) => {
            fit_into_open_files(&mut new);
            new
        }
        Err(Failure::Usage(error) | Failure::Failed(error)) => {
            return tracing::error!("the configuration stays as it was: {error}");
        }
    };
    match reloader.reload(new) {
        Ok(changed) if changed.is_empty() => tracing::info!("the configuration is the same"),
        Ok(changed) => tracing::info!("the configuration was read again: {}", changed.join(", ")),
        Err(lines) => {
            for line in lines {
                tracing::error!("the configuration stays as it was: {line}");
            }
        }
    }
}

/// Whether the program's file, which may be a newer one, takes the configuration: this image ends
/// only for one that will run, and that pays for jobs that are out as they say.
async fn takes_configuration(file: &ConfigFile, effective: &str) -> bool {
    let Ok(program) = program() else { return false };
    let check = tokio::process::Command::new(&program)
        .args(["check".as_ref(), "-c".as_ref(), file.config.as_os_str()])
        .stdin(Stdio::null())
        .output();
    match check.await {
        Ok(output) if output.status.success() => {
            let changed = changed_terms(effective, &String::from_utf8_lossy(&output.stdout));
            if !changed.is_empty() {
                let changed = changed.join(", ");
                tracing::error!("not renewed: {changed}: jobs that are out pay by it: restart");
            }
            changed.is_empty()
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            tracing::error!("not renewed: {} check: {}", program.display(), said.trim());
            false
        }
        Err(error) => {
            tracing::error!("not renewed: {} cannot be started: {error}", program.display());
            false
        }
    }
}

/// What the coinbases of jobs that are out were made by, and so what blocks found on them must be
/// settled by.
const TERMS: [&str; 7] = [
    "node.network",
    "payout.address",
    "payout.scheme",
    "payout.window",
    "payout.window_hours",
    "payout.fee_percent",
    "payout.direct",
];

/// The terms that two configurations, as `check` prints them, have different values of.
fn changed_terms(before: &str, after: &str) -> Vec<&'static str> {
    let value = |text: &str, key: &str| {
        let mut values =
            text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        values.next().map(|rest| rest.split("  # ").next().unwrap_or_default().to_owned())
    };
    TERMS.into_iter().filter(|key| value(before, key) != value(after, key)).collect()
}

fn show((args, table): (TableArgs, Table)) -> Result<(), Failure> {
    let (config, _) = read(&ConfigFile { config: args.config })?;
    let text = tables::render(&config.ledger.path, &table, args.json, config.watch);
    say(&(text.map_err(Failure::Failed)? + "\n"))
}

fn statement(args: StatementArgs) -> Result<(), Failure> {
    let (config, _) = read(&ConfigFile { config: args.config.clone() })?;
    say(&tables::statement(&config.ledger.path, &args).map_err(Failure::Failed)?)
}

/// Prints a text that may be long. Whoever has read enough of it (`head`) closes the pipe, and that
/// is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says what is in a copy that was made or put back.
fn copied(
    to: &std::path::Path,
    done: Result<ledger::verify::VerifyReport, ledger::LedgerError>,
) -> Result<(), Failure> {
    let report = done.map_err(|error| Failure::Failed(error.to_string()))?;
    println!("{}\n{}", to.display(), tables::verified(&report));
    Ok(())
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let path = args.ledger.path()?;
    let shown = path.display();
    let report = ledger::verify::ledger(&path)
        .map_err(|error| Failure::Failed(format!("ledger {shown}: {error}")))?;
    let text = if args.json { tables::verified_json(&report) } else { tables::verified(&report) };
    println!("{text}");
    if report.ok {
        Ok(())
    } else {
        Err(Failure::Failed(format!("ledger {shown}: {} problems", report.problems.len())))
    }
}

/// Prints what a check found, which may be that something is wrong.
fn answer(checked: bundles::Checked) -> Result<(), Failure> {
    if let Some(text) = checked.text {
        println!("{text}");
    }
    checked.refused.map_or(Ok(()), |why| Err(Failure::Failed(why)))
}

fn template(network: InitNetwork) -> String {
    let (name, port) = match network {
        InitNetwork::Bitcoin => ("bitcoin", 8332),
        InitNetwork::Testnet4 => ("testnet4", 48332),
        InitNetwork::Signet => ("signet", 38332),
        InitNetwork::Regtest => ("regtest", 18443),
    };
    config::POOL_TOML
        .replace("network = \"regtest\"", &format!("network = \"{name}\""))
        .replace("127.0.0.1:18443", &format!("127.0.0.1:{port}"))
}

fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WATTPROOF_POOL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!plain && std::io::stderr().is_terminal())
        // A log that cannot be written must not end the pool, as a complaint about it would.
        .log_internal_errors(false)
        .init();
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_names_a_certificate_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.toml");
        let certificate = folder.path().join("chain.pem");
        let tls = format!("\n[tls]\ncertificate = {certificate:?}\nkey = {path:?}\n");
        std::fs::write(&path, config::POOL_TOML.to_owned() + &tls).unwrap();
        match check(&ConfigFile { config: path }) {
            Err(Failure::Usage(why)) => assert!(
                why.starts_with("tls.certificate: ") && why.contains("chain.pem: cannot be read"),
                "{why}"
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_jobs_that_are_out_pay_by_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.toml");
        let effective = |text: String| {
            std::fs::write(&path, text).unwrap();
            read(&ConfigFile { config: path.clone() }).ok().unwrap().1.to_string()
        };
        let before = effective(config::POOL_TOML.to_owned());
        assert!(
            TERMS.iter().all(|key| before.contains(&format!("\n{key} = ")) || *key == TERMS[0])
        );
        assert!(changed_terms(&before, &effective(format!("\n{}", config::POOL_TOML))).is_empty());
        let other = |from: &str, to: &str| {
            assert!(config::POOL_TOML.contains(from), "{from}");
            changed_terms(&before, &effective(config::POOL_TOML.replacen(from, to, 1)))
        };
        assert_eq!(other("fee_percent = \"1.0\"", "fee_percent = \"1.5\""), ["payout.fee_percent"]);
        assert_eq!(other("scheme = \"pplns\"", "scheme = \"tides\""), ["payout.scheme"]);
        assert!(other("#per_address = 64", "per_address = 65").is_empty());
    }
}
