//! What `pool.toml` may say, read into types: one function a section, every mistake reported at
//! once by [`config::Reader`].
//!
//! Read [`Config`] first; `config/pool.toml` is the commented example. What of it may change while
//! the pool runs says [`Config::reload`]. It deliberately does not open, bind or contact anything:
//! a configuration that reads is not yet one that runs.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use config::{Effective, Errors, Reader, Secret, Section, Source, Value, parse};
use energy::{
    carbon::{Factor, FactorPack},
    profile::Profiles,
};
use ledger::{BEST_MOST, Retention};
use units::{BasisPoints, Difficulty, Sats};

use crate::{
    coinbase::{Payee, TAG_MAX},
    direct::DirectConfig,
    limits::{Limits, Subnet},
    luck::Watch,
    node::{Auth, Network, NodeSettings},
    tls::TlsFiles,
    user::parse_address,
};

mod payouts;
mod ports;
mod profiles;
mod reload;

pub use payouts::PayoutsConfig;
pub use ports::{PortConfig, StratumConfig};
pub use reload::Reloaded;

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
    /// When miners get new jobs.
    pub jobs: JobsConfig,
    /// How rewards are shared, and the pool's own address.
    pub payout: PayoutConfig,
    /// How rewards are paid out by transactions.
    pub payouts: PayoutsConfig,
    /// The accounts.
    pub ledger: LedgerConfig,
    /// Where the page, the metrics and the API are served.
    pub http: SocketAddr,
    /// What requests that change something must bear; without it there are none.
    pub http_token: Option<Secret>,
    /// How joules become grams.
    pub energy: EnergyConfig,
    /// How many may connect.
    pub limits: Limits,
    /// When an account is suspected of keeping blocks back.
    pub watch: Watch,
    /// The certificate of the ports that speak TLS.
    pub tls: Option<TlsFiles>,
}

/// A host and a port that miners can connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an address without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// The section `[jobs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobsConfig {
    /// The oldest that a job becomes while the chain stands still.
    pub refresh: Duration,
    /// A job is renewed sooner when its fees have grown by more than this.
    pub fee_growth: BasisPoints,
    /// Between looks at the node's template.
    pub poll: Duration,
}

/// The section `[payout]`.
#[derive(Debug, Clone)]
pub struct PayoutConfig {
    /// How a reward is split.
    pub scheme: ledger::Scheme,
    /// How coinbases pay miners themselves, where they do.
    pub direct: Option<DirectConfig>,
    /// What shares are paid out of, where they are paid for as they come.
    pub reserve: Option<Sats>,
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
    /// Headers that a slice keeps of each account.
    pub best_headers: u32,
    /// How long all other headers are kept.
    pub retention: Retention,
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
    /// Which workers are which device.
    pub profiles: Profiles,
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
        let tls = read_tls(&mut reader.section("tls"));
        // One of the two files is enough here: that the other is missing is a mistake of its own.
        let has_tls = ["certificate", "key"].iter().any(|key| reader.section("tls").has(key));
        let mut taken = Vec::new();
        let stratum = ports::read(&mut reader.section("stratum"), has_tls, &mut taken);
        let jobs = read_jobs(&mut reader.section("jobs"));
        let payout = read_payout(&mut reader.section("payout"), network);
        let payouts = payouts::read(&mut reader.section("payout"));
        let ledger = read_ledger(&mut reader.section("ledger"));
        let http =
            reader.section("http").or("listen", "\"127.0.0.1:8080\"", parse::socket_address());
        let http_token = reader.section("http").secret("token");
        ports::take(&mut reader.section("http"), http.as_slice(), "http.listen", &mut taken);
        let energy = read_energy(&mut reader.section("energy"));
        let limits = read_limits(&mut reader.section("limits"));
        let watch = read_watch(&mut reader.section("watch"));
        let config = (|| {
            Some(Self {
                node: node?,
                backups: backups?,
                template_max_age: template_max_age?,
                network: network?,
                stratum: stratum?,
                jobs: jobs?,
                payout: payout?,
                payouts: payouts?,
                ledger: ledger?,
                http: http?,
                http_token: http_token?,
                energy: energy?,
                limits: limits?,
                watch: watch?,
                tls: tls?,
            })
        })();
        reader.finish(config)
    }

    /// Networks whose addresses are never banned: those exempt from limits, and listed proxies,
    /// since they bring everybody.
    #[must_use]
    pub fn never_banned(&self) -> Vec<Subnet> {
        let ports = self.stratum.all_ports();
        let proxies = ports.iter().flat_map(|port| &port.proxy_protocol);
        let mut networks: Vec<Subnet> = self.limits.exempt.iter().chain(proxies).copied().collect();
        networks.sort_unstable();
        networks.dedup();
        networks
    }
}

fn read_node(section: &mut Section<'_>, network: Option<Network>) -> Option<NodeSettings> {
    let url = section.required("url", parse::string());
    let password = section.secret("auth");
    let cookie = section.optional("cookie", parse::path());
    let timeout = section.or("timeout_seconds", "10", parse::seconds(0.1..=600.0));
    let auth = match (password?, cookie?) {
        (Some(secret), None) => match secret.expose().split_once(':') {
            Some((user, password)) => Auth::UserPassword(user.to_owned(), Secret::new(password)),
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

/// Where there is a section `[tls]` it names both files. Outer `None`: wrong, and reported.
fn read_tls(section: &mut Section<'_>) -> Option<Option<TlsFiles>> {
    let certificate = section.optional("certificate", parse::path());
    let key = section.optional("key", parse::path());
    match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(Some(TlsFiles { certificate, key })),
        (None, None) => Some(None),
        (Some(_), None) => {
            section.problem("key", "missing; expected the path of the certificate's private key");
            None
        }
        (None, Some(_)) => {
            section.problem("certificate", "missing; expected the path of the key's certificate");
            None
        }
    }
}

fn read_jobs(section: &mut Section<'_>) -> Option<JobsConfig> {
    let refresh = section.or("refresh_seconds", "30", parse::seconds(1.0..=600.0));
    let growth = section.or("fee_growth_percent", "\"10\"", parse::percent());
    let poll = section.or("poll_seconds", "5", parse::seconds(1.0..=60.0));
    let (refresh, poll) = (refresh?, poll?);
    if poll > refresh {
        section.problem("poll_seconds", "expected at most jobs.refresh_seconds");
        return None;
    }
    Some(JobsConfig { refresh, fee_growth: BasisPoints::new(growth?).ok()?, poll })
}

fn read_payout(section: &mut Section<'_>, network: Option<Network>) -> Option<PayoutConfig> {
    let scheme = read_scheme(section);
    let reserve = section.optional("reserve", coins());
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
    let (scheme, reserve) = (scheme?, reserve?);
    let direct = read_direct(section, scheme);
    if scheme.pays_per_share() && reserve.is_none() {
        section
            .problem("reserve", "missing; pay per share wants what it is paid out of, in bitcoin");
        return None;
    }
    Some(PayoutConfig {
        scheme,
        direct: direct?,
        reserve: reserve.filter(|_| scheme.pays_per_share()),
        account: address.to_string(),
        payee: Payee { script: address.script_pubkey(), tag: tag?.into_bytes() },
        fee: BasisPoints::new(fee?).ok()?,
    })
}

fn read_direct(section: &mut Section<'_>, scheme: ledger::Scheme) -> Option<Option<DirectConfig>> {
    let direct = section.or("direct", "false", parse::boolean());
    let outputs = section.or("direct_outputs", "100", parse::u64_in(1..=2_000));
    let least = section.or("direct_minimum", "\"0.0001\"", coins());
    let (direct, outputs, least) = (direct?, outputs?, least?);
    let fixed_by_the_slice = matches!(
        scheme,
        ledger::Scheme::Pplns { .. } | ledger::Scheme::Pplnt { .. } | ledger::Scheme::Tides
    );
    if direct && !fixed_by_the_slice {
        section.problem("direct", "expected false, or a scheme of pplns, pplnt and tides");
        return None;
    }
    let outputs = u16::try_from(outputs).ok()?;
    Some(direct.then_some(DirectConfig { outputs, least }))
}

fn read_scheme(section: &mut Section<'_>) -> Option<ledger::Scheme> {
    let window = section.or("window", "\"2.00\"", parse::hundredths_to(100_000));
    let time = section.or("window_hours", "24", parse::f64_in(0.01..=8_784.0));
    let name = section.or("scheme", "\"pplns\"", parse::string());
    let (window_hundredths, time) = (window?, Duration::from_secs_f64(time? * 3_600.0));
    Some(match name?.as_str() {
        "fpps" => ledger::Scheme::Fpps,
        "pplns" => ledger::Scheme::Pplns { window_hundredths },
        "pplnt" => ledger::Scheme::Pplnt { window: time },
        "pps" => ledger::Scheme::Pps,
        "prop" => ledger::Scheme::Prop,
        "solo" => ledger::Scheme::Solo,
        "tides" => ledger::Scheme::Tides,
        _ => {
            section.problem("scheme", "expected one of solo, prop, pps, fpps, pplns, pplnt, tides");
            return None;
        }
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
    let best = section.or("best_headers", "256", parse::u64_in(0..=BEST_MOST.into()));
    let days = section.or("keep_days", "1", parse::u64_in(0..=36_500));
    let all = section.or("keep_all", "false", parse::boolean());
    let best_headers = u32::try_from(best?).ok()?;
    let at_least = Duration::from_secs(days?.saturating_mul(86_400));
    let retention = Retention { all: all?, at_least };
    Some(LedgerConfig { path: path?, ack: ack?, slice: slice?, best_headers, retention })
}

fn read_energy(section: &mut Section<'_>) -> Option<EnergyConfig> {
    let interval = section.or("interval_seconds", "60", parse::seconds(1.0..=3600.0));
    let profiles = profiles::read(section);
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
    Some(EnergyConfig { factor, interval: interval?, profiles: profiles? })
}

fn read_limits(section: &mut Section<'_>) -> Option<Limits> {
    let count = || parse::u64_in(1..=10_000_000);
    let per_address = section.or("per_address", "64", count());
    let per_subnet = section.or("per_subnet", "1024", count());
    let total = section.or("total", "100000", count());
    let accepts_per_second = section.or("accepts_per_second", "500", count());
    let by_subnet = section.or("subnet_accepts_per_second", "100", count());
    let subnet = parse::text_as(str::parse::<Subnet>, "a network such as \"127.0.0.0/8\"");
    let exempt = section.or("exempt", "[\"127.0.0.0/8\", \"::1/128\"]", parse::list_of(subnet));
    Some(Limits {
        per_address: per_address?,
        per_subnet: per_subnet?,
        total: total?,
        accepts_per_second: accepts_per_second?,
        subnet_accepts_per_second: by_subnet?,
        exempt: exempt?,
    })
}

fn read_watch(section: &mut Section<'_>) -> Option<Watch> {
    let below = section.or("withholding_below", "0.0001", parse::f64_in(0.0..=0.1));
    Some(Watch { below: below? })
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

/// An amount in bitcoin with at most eight decimals, in quotes so that it is exact.
fn coins() -> impl Fn(&Value) -> Result<Sats, String> {
    |value| {
        let text = value.as_str().unwrap_or_default();
        let amount = bitcoin::Amount::from_str_in(text, bitcoin::Denomination::Bitcoin).ok();
        let sats = amount.and_then(|amount| Sats::from_sat(amount.to_sat()).ok());
        let expected = "an amount of bitcoin in quotes such as \"12.5\", at most eight decimals";
        sats.filter(|sats| *sats > Sats::ZERO).ok_or_else(|| expected.to_owned())
    }
}

fn coinbase_tag() -> impl Fn(&Value) -> Result<String, String> {
    |value| {
        let text = value.as_str().filter(|text| text.len() <= TAG_MAX && text.is_ascii());
        text.map(str::to_owned).ok_or_else(|| format!("at most {TAG_MAX} characters of ASCII"))
    }
}

#[cfg(test)]
mod tests;
