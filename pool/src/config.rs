//! What `pool.toml` may say, read into types: one function a section, every mistake reported at
//! once by [`config::Reader`].
//!
//! Read [`Config`] first; `config/pool.toml` is the commented example. It deliberately does not
//! open, bind or contact anything: a configuration that reads is not yet one that runs.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use config::{Effective, Errors, Reader, Section, Source, Value, parse};
use energy::carbon::{Factor, FactorPack};
use stratum::vardiff::DifficultySettings;
use units::{BasisPoints, Difficulty};

use crate::{
    coinbase::{Payee, TAG_MAX},
    limits::{Limits, Subnet},
    node::{Auth, Network, NodeSettings},
    user::parse_address,
};

/// Environment variables that set keys begin with this.
const ENVIRONMENT: &str = "WATTPROOF_POOL";

/// Everything that the pool needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Bitcoin node to follow.
    pub node: NodeSettings,
    /// Others, in the order in which they take over.
    pub backups: Vec<NodeSettings>,
    /// On a template older than this no work is given out.
    pub template_max_age: Duration,
    /// The chain that addresses must belong to.
    pub network: Network,
    /// The miners' side.
    pub stratum: StratumConfig,
    /// How rewards are shared, and the pool's own address.
    pub payout: PayoutConfig,
    /// The accounts.
    pub ledger: LedgerConfig,
    /// Where the page, the metrics and the API are served.
    pub http: SocketAddr,
    /// How joules become grams.
    pub energy: EnergyConfig,
    /// How many may connect.
    pub limits: Limits,
}

/// The section `[stratum]`.
#[derive(Debug, Clone)]
pub struct StratumConfig {
    /// Addresses that miners connect to.
    pub listen: Vec<SocketAddr>,
    /// How share difficulty is chosen.
    pub difficulty: DifficultySettings,
    /// Version bits that miners may roll.
    pub version_mask: u32,
    /// Where miners are sent when the pool stops; nowhere where there is none.
    pub reconnect: Vec<HostPort>,
}

/// A host and a port that miners can connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an address without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// The section `[payout]`.
#[derive(Debug, Clone)]
pub struct PayoutConfig {
    /// How a reward is split.
    pub scheme: ledger::Scheme,
    /// The pool's own account: its fee and, until paid out, everybody's rewards.
    pub account: String,
    /// What coinbases pay and carry.
    pub payee: Payee,
    /// The pool's part.
    pub fee: BasisPoints,
}

/// The section `[ledger]`.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// The ledger's file.
    pub path: PathBuf,
    /// When a share is answered.
    pub ack: Ack,
    /// Length of a slice of work.
    pub slice: Duration,
}

/// When "accepted" is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Once the batch that holds the share is on disk.
    Durable,
    /// Once the share is queued; a crash may lose those of the last commit.
    Received,
}

/// The section `[energy]`.
#[derive(Debug, Clone)]
pub struct EnergyConfig {
    /// The emission factor in force.
    pub factor: Factor,
    /// How often miners report.
    pub interval: Duration,
}

impl Config {
    /// Reads a configuration with the process's environment laid over it.
    ///
    /// # Errors
    /// Every mistake in the text and the environment, each with its place and key.
    pub fn read(source: Source) -> Result<(Self, Effective), Errors> {
        Self::read_with(
            source,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        )
    }

    /// The same, with the environment as an argument.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read_with(
        source: Source,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Effective), Errors> {
        let mut reader =
            Reader::new(source)?.environment(ENVIRONMENT, environment, &["WATTPROOF_POOL_LOG"]);
        // Every section is read before the first `?`, so that one run names every mistake.
        let network = reader.section("node").required("network", network());
        let node = read_node(&mut reader.section("node"), network);
        let backups = reader.section("node").each("backup", |section| read_node(section, network));
        let template_max_age = reader.section("node").or(
            "template_max_age_seconds",
            "90",
            parse::seconds(3.0..=3600.0),
        );
        let stratum = read_stratum(&mut reader.section("stratum"));
        let payout = read_payout(&mut reader.section("payout"), network);
        let ledger = read_ledger(&mut reader.section("ledger"));
        let http =
            reader.section("http").or("listen", "\"127.0.0.1:8080\"", parse::socket_address());
        let energy = read_energy(&mut reader.section("energy"));
        let limits = read_limits(&mut reader.section("limits"));
        let config = (|| {
            Some(Self {
                node: node?,
                backups: backups?,
                template_max_age: template_max_age?,
                network: network?,
                stratum: stratum?,
                payout: payout?,
                ledger: ledger?,
                http: http?,
                energy: energy?,
                limits: limits?,
            })
        })();
        reader.finish(config)
    }
}

fn read_node(section: &mut Section<'_>, network: Option<Network>) -> Option<NodeSettings> {
    let url = section.required("url", parse::string());
    let password = section.secret("auth");
    let cookie = section.optional("cookie", parse::path());
    let timeout = section.or("timeout_seconds", "10", parse::seconds(0.1..=600.0));
    let auth = match (password?, cookie?) {
        (Some(secret), None) => match secret.expose().split_once(':') {
            Some((user, password)) => {
                Auth::UserPassword(user.to_owned(), config::Secret::new(password))
            }
            None => {
                section.problem("auth", "expected \"user:password\"");
                return None;
            }
        },
        (None, Some(path)) => Auth::Cookie(path),
        (None, None) => {
            section.problem("auth", "missing; expected \"user:password\", or a path in cookie");
            return None;
        }
        (Some(_), Some(_)) => {
            section.problem("cookie", "give auth or cookie, not both");
            return None;
        }
    };
    Some(NodeSettings { url: url?, auth, network: network?, timeout: timeout? })
}

fn read_stratum(section: &mut Section<'_>) -> Option<StratumConfig> {
    let listen =
        section.or("listen", "[\"127.0.0.1:3333\"]", parse::list_of(parse::socket_address()));
    let version_mask = section.or("version_mask", "\"1fffe000\"", hexadecimal());
    let host_port =
        parse::text_as(str::parse::<HostPort>, "a host and port such as \"b.example:3333\"");
    let reconnect = section.or("reconnect", "[]", parse::list_of(host_port));
    let difficulty = read_difficulty(&mut section.section("difficulty"));
    Some(StratumConfig {
        listen: listen?,
        difficulty: difficulty?,
        version_mask: version_mask?,
        reconnect: reconnect?,
    })
}

fn read_difficulty(section: &mut Section<'_>) -> Option<DifficultySettings> {
    let start = section.or("start", "1.0", difficulty());
    let min = section.or("min", "1e-9", difficulty());
    let max = section.or("max", "1e12", difficulty());
    let shares_per_minute = section.or("shares_per_minute", "10", parse::f64_in(0.01..=60_000.0));
    let vardiff = section.or("vardiff", "true", parse::boolean());
    let (start, min, max) = (start?, min?, max?);
    if !(min <= start && start <= max) {
        section.problem("start", "expected min <= start <= max");
        return None;
    }
    Some(DifficultySettings {
        start,
        min,
        max,
        shares_per_minute: shares_per_minute?,
        vardiff: vardiff?,
    })
}

fn read_payout(section: &mut Section<'_>, network: Option<Network>) -> Option<PayoutConfig> {
    let window = section.or("window", "\"2.00\"", parse::hundredths_to(100_000));
    let solo = section.or("scheme", "\"pplns\"", scheme());
    let address = section.required("address", parse::string());
    let fee = section.or("fee_percent", "\"1.0\"", parse::percent());
    let tag = section.or("coinbase_tag", "\"/Wattproof/\"", coinbase_tag());
    let address = match parse_address(&address?, network?.to_bitcoin()) {
        Ok(address) => address,
        Err(hint) => {
            section.problem("address", &hint);
            return None;
        }
    };
    let window_hundredths = window?;
    Some(PayoutConfig {
        scheme: if solo? {
            ledger::Scheme::Solo
        } else {
            ledger::Scheme::Pplns { window_hundredths }
        },
        account: address.to_string(),
        payee: Payee { script: address.script_pubkey(), tag: tag?.into_bytes() },
        fee: BasisPoints::new(fee?).ok()?,
    })
}

fn read_ledger(section: &mut Section<'_>) -> Option<LedgerConfig> {
    let path = section.or("path", "\"data/pool.sqlite\"", parse::path());
    let ack = section.or(
        "ack",
        "\"durable\"",
        parse::one_of(&[("durable", Ack::Durable), ("received", Ack::Received)]),
    );
    let slice = section.or("slice_seconds", "60", parse::seconds(0.1..=86_400.0));
    Some(LedgerConfig { path: path?, ack: ack?, slice: slice? })
}

fn read_energy(section: &mut Section<'_>) -> Option<EnergyConfig> {
    let interval = section.or("interval_seconds", "60", parse::seconds(1.0..=3600.0));
    let mut named = section.section("factor");
    let publisher = named.or("publisher", "\"ember\"", parse::string());
    let zone = named.or("zone", "\"CHN\"", parse::string());
    let vintage = named.or("vintage", "2024", parse::u64_in(1990..=2100));
    let vintage = u16::try_from(vintage?).ok()?;
    let factor = match FactorPack::embedded().find(&publisher?, &zone?, vintage) {
        Ok(factor) => factor,
        Err(error) => {
            section.problem("factor", &error.to_string());
            return None;
        }
    };
    Some(EnergyConfig { factor, interval: interval? })
}

fn read_limits(section: &mut Section<'_>) -> Option<Limits> {
    let count = || parse::u64_in(1..=10_000_000);
    let per_address = section.or("per_address", "64", count());
    let per_subnet = section.or("per_subnet", "1024", count());
    let total = section.or("total", "10000", count());
    let accepts_per_second = section.or("accepts_per_second", "500", count());
    let subnet = parse::text_as(str::parse::<Subnet>, "a network such as \"127.0.0.0/8\"");
    let exempt = section.or("exempt", "[\"127.0.0.0/8\", \"::1/128\"]", parse::list_of(subnet));
    Some(Limits {
        per_address: per_address?,
        per_subnet: per_subnet?,
        total: total?,
        accepts_per_second: accepts_per_second?,
        exempt: exempt?,
    })
}

impl FromStr for HostPort {
    type Err = &'static str;

    /// `name:port`, `1.2.3.4:port` or `[::1]:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("a port is missing")?;
        let port =
            port.parse().ok().filter(|port| *port != 0).ok_or("the port is not 1 to 65535")?;
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_| "no IPv6 address in brackets")?;
            return Ok(Self { host: address.to_string(), port });
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if host.len() > 253 || !host.split('.').all(is_label) {
            return Err("no name of a host");
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

fn network() -> impl Fn(&Value) -> Result<Network, String> {
    let names = [Network::Bitcoin, Network::Testnet4, Network::Signet, Network::Regtest];
    move |value| parse::one_of(&names.map(|network| (network.as_str(), network)))(value)
}

fn difficulty() -> impl Fn(&Value) -> Result<Difficulty, String> {
    let number = parse::f64_in(1e-12..=1e20);
    move |value| number(value).and_then(|number| Difficulty::new(number).map_err(|e| e.to_string()))
}

fn hexadecimal() -> impl Fn(&Value) -> Result<u32, String> {
    parse::text_as(
        |text| u32::from_str_radix(text, 16),
        "up to eight hexadecimal digits such as \"1fffe000\"",
    )
}

/// Whether the scheme is solo. The others are named so that the answer can say what is coming.
fn scheme() -> impl Fn(&Value) -> Result<bool, String> {
    |value| match value.as_str() {
        Some("pplns") => Ok(false),
        Some("solo") => Ok(true),
        Some("prop" | "pps" | "fpps" | "tides") => {
            Err("\"pplns\" or \"solo\": the others are not in this version yet".to_owned())
        }
        _ => Err("\"pplns\" or \"solo\"".to_owned()),
    }
}

fn coinbase_tag() -> impl Fn(&Value) -> Result<String, String> {
    |value| {
        let text = value.as_str().filter(|text| text.len() <= TAG_MAX && text.is_ascii());
        text.map(str::to_owned).ok_or_else(|| format!("at most {TAG_MAX} characters of ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Errors> {
        Config::read_with(Source::new("pool.toml", text), []).map(|(config, _)| config)
    }

    #[test]
    fn the_shipped_file_reads_as_it_is_and_with_every_default_switched_on() {
        let shipped = read(config::POOL_TOML).unwrap();
        let text = config::uncomment(config::POOL_TOML).replace("\ncookie", "\n#cookie");
        let uncommented = read(&text).unwrap();
        assert_eq!(format!("{shipped:?}"), format!("{uncommented:?}"));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let errors = read(
            "[node]\nurl = 5\nauth = \"nocolon\"\nnetwork = \"regtest\"\n\
             [payout]\naddress = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\nscheme = \"pps\"\n\
             [energy]\nfactor = { publisher = \"ember\", zone = \"XXX\", vintage = 2024 }\n\
             [limits]\nper_adress = 3\n",
        )
        .unwrap_err()
        .to_string();
        for part in [
            "node.url",
            "node.auth",
            "another network",
            "not in this version",
            "XXX",
            "per_address",
        ] {
            assert!(errors.contains(part), "{part} in\n{errors}");
        }
        assert!(!errors.contains("nocolon"), "secrets are not shown\n{errors}");
    }

    #[test]
    fn hosts_to_send_miners_to_are_read_or_named() {
        let read = |text: &str| text.parse::<HostPort>();
        let good = |host: &str, port| Ok(HostPort { host: host.to_owned(), port });
        assert_eq!(read("B.example.org:3333"), good("b.example.org", 3333));
        assert_eq!(read("192.0.2.7:1"), good("192.0.2.7", 1));
        assert_eq!(read("[2001:db8::1]:65535"), good("2001:db8::1", 65535));
        for bad in [
            "b.example",
            "b.example:0",
            "b.example:65536",
            "b.example:x",
            ":3333",
            "a b:3333",
            "stratum+tcp://b:3333",
            "::1:3333",
            "[::1:3333",
            "-b.example:1",
            "b..example:1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let text = config::POOL_TOML.replace("[stratum]", "[stratum]\nreconnect = [\"b\"]");
        let text = text.replace("[limits]", "[limits]\ntotal = 0");
        let errors = Config::read_with(Source::new("pool.toml", text), []).unwrap_err().to_string();
        assert!(
            errors.contains("stratum.reconnect") && errors.contains("limits.total"),
            "{errors}"
        );
    }
}
