//! The command line: what may be written there, and one line of text for what is wrong with it.
//!
//! The letters mean what they mean in cpuminer. Without a subcommand the miner mines. The meaning
//! of the values (a pool's URL, a backend's name) is [`crate::settings`]'s, so that a flag, a
//! variable and the file are judged alike.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use config::Secret;

use crate::agent::discover::network::Network;
use crate::cpus::THREADS_MAX;
use crate::error::Failure;

/// wattproof-miner: mines, and reports the energy it takes
#[derive(Debug, Clone, Parser)]
#[command(name = "wattproof-miner", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; mining when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to mine.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the miner can be told to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Mine (what it does without a subcommand)
    Run(Box<RunArgs>),
    /// Measure this machine: the path that mines, without a pool
    Bench(BenchArgs),
    /// List what this machine can mine with
    Devices(OutputArgs),
    /// Run every backend on known blocks and random headers; exit status 1 if any is wrong
    Selftest(OutputArgs),
    /// Read a farm's meters (ASICs, plugs, power units) and report for its workers, without hashing
    Agent(AgentArgs),
    /// Hold a device's own power figure against a plug, and print the line that corrects it
    Calibrate(CalibrateArgs),
    /// Read a configuration file and print every key in force, or every mistake
    Check(CheckArgs),
}

/// How to mine.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Algorithm; sha256d is the one there is
    #[arg(short = 'a', long = "algo", value_name = "ALGO")]
    pub algorithm: Option<String>,
    /// Pool, as stratum+tcp://HOST:PORT, or stratum+ssl:// for TLS; several are tried in this order
    #[arg(short = 'o', long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// User name there, usually an address, a dot and a rig's name; once, or once for each pool
    #[arg(short = 'u', long = "user", value_name = "USER")]
    pub users: Vec<String>,
    /// Password there ("x" when left out); once, or once for each pool
    #[arg(short = 'p', long = "pass", value_name = "PASS", value_parser = secret)]
    pub passwords: Vec<Secret>,
    /// User name and password in one
    #[arg(short = 'O', long = "userpass", value_name = "USER:PASS", value_parser = secret, conflicts_with_all = ["users", "passwords"])]
    pub userpass: Option<Secret>,
    /// The one certificate that a stratum+ssl pool may show, by its SHA-256; once for all such
    /// pools, or once for each
    #[arg(long = "tls-fingerprint", value_name = "HEX")]
    pub fingerprints: Vec<String>,
    /// SOCKS5 proxy, as socks5://HOST:PORT; once for all pools, or once for each
    #[arg(short = 'x', long = "proxy", value_name = "URL")]
    pub proxies: Vec<String>,
    /// Threads that hash, or auto: as many as this process may use CPUs
    #[arg(short = 't', long = "threads", value_name = "N")]
    pub threads: Option<String>,
    /// Configuration file (TOML); flags and variables go before it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// CPU backend: auto, off, portable, sha-ni, avx2, avx512
    #[arg(long, value_name = "BACKEND")]
    pub cpu: Option<String>,
    /// Measure the kernels again, instead of believing what was measured before
    #[arg(long)]
    pub retune: bool,
    /// GPUs: auto, off, or a list of them, by number or a part of their names; auto takes software
    /// adapters only with --cpu off
    #[arg(long, value_name = "LIST")]
    pub gpu: Option<String>,
    /// Where to serve metrics and the summary, or off
    #[arg(long, value_name = "ADDR")]
    pub api: Option<String>,
    /// Draw so many watts at the most
    #[arg(long, value_name = "W")]
    pub power_cap: Option<String>,
    /// Hash for so much of the time, 1 to 100
    #[arg(long, value_name = "PERCENT")]
    pub duty: Option<String>,
    /// Full-screen display
    #[arg(long)]
    pub tui: bool,
    /// Print warnings only
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// How to measure.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// cpu, gpu or gpu:N (`devices` lists them)
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: String,
    /// Backend; the fastest when left out
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Threads that hash
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(THREADS_MAX)))]
    pub threads: u16,
    /// How long
    #[arg(long, default_value_t = 5.0, value_name = "S", value_parser = seconds)]
    pub seconds: f64,
    /// Versions that may be rolled, a power of two up to 65536; 1 for plain nonces
    #[arg(long, default_value_t = 65_536, value_name = "N", value_parser = versions)]
    pub versions: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How to print.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What to read and report.
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("printed").args(["once", "discover"])))]
pub struct AgentArgs {
    /// The agent's configuration file (TOML)
    #[arg(short = 'c', long = "config", value_name = "FILE", required_unless_present = "discover")]
    pub config: Option<PathBuf>,
    /// Look for devices on a private network of at most a /20, such as 10.0.0.0/24, and print their
    /// entries for the file; several are looked through in this order
    #[arg(long, value_name = "NETWORK", conflicts_with_all = ["config", "check"])]
    pub discover: Vec<Network>,
    /// With --discover: seconds that an address may take over each question
    #[arg(long, default_value_t = 1.0, value_name = "S", requires = "discover", value_parser = patience)]
    pub patience: f64,
    /// Ask every device once, print what each answered, and end; exit status 1 if one gave no figure
    #[arg(long)]
    pub once: bool,
    /// Only read the file, and print every key in force or every mistake
    #[arg(long, conflicts_with = "once")]
    pub check: bool,
    /// With --once or --discover: print one JSON object
    #[arg(long, requires = "printed")]
    pub json: bool,
    /// Print warnings only
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// What to hold against what.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    /// The agent's configuration file (TOML), which has both devices
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: PathBuf,
    /// The device whose own figure is to be corrected, by its name in the file
    #[arg(long, value_name = "NAME")]
    pub device: String,
    /// The plug or meter that it is behind, alone, by its name in the file
    #[arg(long, value_name = "NAME")]
    pub plug: String,
    /// How long; change the load meanwhile, so that a slope can be told from an offset
    #[arg(long, default_value_t = 30.0, value_name = "M", value_parser = minutes)]
    pub minutes: f64,
    /// Seconds from one pair of readings to the next
    #[arg(long, default_value_t = 10.0, value_name = "S", value_parser = seconds)]
    pub every: f64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What to check.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Configuration file (TOML)
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: PathBuf,
}

/// What a command line comes to.
#[derive(Debug)]
pub enum Parsed {
    /// Something to do.
    Cli(Box<Cli>),
    /// Something to print: the help text or the version.
    Text(String),
}

/// Reads the command line, the program's name first.
///
/// # Errors
/// When it is wrong: one line that names the argument.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(Parsed::Cli(Box::new(cli))),
        Err(error) if is_text(error.kind()) => Ok(Parsed::Text(error.render().to_string())),
        Err(error) => Err(Failure::usage(one_line(&error.render().to_string()))),
    }
}

const fn is_text(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// The first paragraph of a message, without its "error:", on one line.
fn one_line(message: &str) -> String {
    let paragraph = message.split("\n\n").next().unwrap_or(message);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a clap value parser")]
fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("a number of seconds from 0.1 to 86400".to_owned()),
    }
}

fn patience(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("a number of seconds from 0.1 to 60".to_owned()),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.01..=1440.0).contains(&minutes) => Ok(minutes),
        Ok(_) | Err(_) => Err("a number of minutes from 0.01 to 1440".to_owned()),
    }
}

fn versions(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(count) if count.is_power_of_two() && count <= 65_536 => Ok(count),
        Ok(_) | Err(_) => Err("a power of two from 1 to 65536".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Parsed, Failure> {
        parse(line.split(' ').map(OsString::from))
    }

    fn cli(line: &str) -> Cli {
        match parsed(line).unwrap() {
            Parsed::Cli(cli) => *cli,
            Parsed::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn cpuminers_letters_mean_what_they_mean_there() {
        let args = cli("m -a sha256d -o stratum+tcp://a:1 -u u -p x -t 2 -c f.toml -q").run;
        assert_eq!(args.urls, ["stratum+tcp://a:1"]);
        assert_eq!((args.users, args.passwords), (vec!["u".into()], vec![Secret::new("x")]));
        assert_eq!(args.threads.as_deref(), Some("2"));
        assert_eq!(args.config, Some("f.toml".into()));
        assert!(args.quiet);
        assert_eq!(cli("m -x socks5://a:1").run.proxies, ["socks5://a:1"]);
        assert_eq!(cli("m -O user:pass").run.userpass, Some(Secret::new("user:pass")));
        assert!(!format!("{:?}", cli("m -p hunter2")).contains("hunter2"));
    }

    #[test]
    fn mining_is_what_it_does_with_and_without_the_word() {
        assert!(cli("m -o stratum+tcp://a:1").command.is_none());
        let Some(Command::Run(args)) = cli("m run -o a -o b").command else { panic!("no run") };
        assert_eq!(args.urls, ["a", "b"]);
        let Some(Command::Bench(bench)) = cli("m bench --json").command else { panic!("no bench") };
        assert_eq!((bench.versions, bench.threads), (65_536, 1));
    }

    #[test]
    fn mistakes_are_one_line_that_names_the_thing() {
        for (line, named) in [
            ("m --nonsense", "--nonsense"),
            ("m check", "--config"),
            ("m bench --versions 3", "a power of two"),
            ("m bench --seconds 0", "from 0.1"),
            ("m bench --threads 0", "--threads"),
            ("m bench --threads 1025", "1..=1024"),
            ("m -O a:b -u c", "--user"),
            ("m agent --once", "--config"),
            ("m agent --discover 10.0.0.0/24 -c f", "--config"),
            ("m agent -c f --json", "--once"),
            ("m agent --discover 8.8.8.0/24", "strangers"),
            ("m agent --discover 10.0.0.0/19", "/20"),
            ("m mine", "mine"),
        ] {
            let failure = parsed(line).unwrap_err();
            let text = failure.to_string();
            assert!(matches!(failure, Failure::Usage(_)), "{line}");
            assert!(text.contains(named), "{line}: {text}");
            assert!(!text.contains('\n') && !text.starts_with("error"), "{line}: {text}");
        }
    }

    #[test]
    fn an_agent_that_looks_for_devices_wants_no_file() {
        let line = "m agent --discover 10.0.0.0/24 --discover 192.168.1.9 --patience 0.5 --json";
        let Some(Command::Agent(args)) = cli(line).command else { panic!("no agent") };
        assert_eq!((args.discover.len(), args.config, args.json), (2, None, true));
        assert!(cli("m agent -c f --once --json").command.is_some());
        assert!(cli("m agent -c f").command.is_some());
    }

    #[test]
    fn help_and_version_are_texts() {
        for line in ["m -h", "m --help", "m -V", "m bench -h"] {
            assert!(matches!(parsed(line), Ok(Parsed::Text(_))), "{line}");
        }
    }
}
