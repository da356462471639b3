//! The section `[stratum]`: where miners connect, port by port, and what each port is like.
//!
//! Read [`StratumConfig::all_ports`]. `listen`, `difficulty` and `proxy_protocol` of the section
//! are for its own addresses, and what a `[[stratum.port]]` does not say it has from them. It
//! deliberately opens nothing: whether an address can be listened on shows at the start.

use std::net::SocketAddr;

use config::{Section, parse};
use defences::{Defence, stands};
use stratum::vardiff::DifficultySettings;
use units::Difficulty;

use super::{HostPort, difficulty, hexadecimal};
use crate::limits::Subnet;

/// The section `[stratum]`.
#[derive(Debug, Clone)]
pub struct StratumConfig {
    /// Addresses that miners connect to, in plain text.
    pub listen: Vec<SocketAddr>,
    /// How share difficulty is chosen there.
    pub difficulty: DifficultySettings,
    /// Networks of proxies that must send a PROXY header there.
    pub proxy_protocol: Vec<Subnet>,
    /// Version bits that miners may roll.
    pub version_mask: u32,
    /// Where miners are sent when the pool stops; nowhere where there is none.
    pub reconnect: Vec<HostPort>,
    /// Further ports, in the file's order.
    pub ports: Vec<PortConfig>,
}

/// One address that miners connect to, and what is spoken there.
#[derive(Debug, Clone, PartialEq)]
pub struct PortConfig {
    /// The key that asked for it, for messages: `stratum.port.0.listen`.
    pub key: String,
    /// The address; port 0 is any that is free.
    pub listen: SocketAddr,
    /// How share difficulty is chosen.
    pub difficulty: DifficultySettings,
    /// Whether it is TLS from the first byte on, or after the PROXY header.
    pub tls: bool,
    /// Networks of proxies that must send a PROXY header; nobody else may.
    pub proxy_protocol: Vec<Subnet>,
}

/// Addresses that are taken, each with the key that took it.
pub(super) type Taken = Vec<(SocketAddr, String)>;

impl StratumConfig {
    /// Every port that miners connect to, those of `stratum.listen` first.
    #[must_use]
    pub fn all_ports(&self) -> Vec<PortConfig> {
        let first = self.listen.iter().map(|listen| PortConfig {
            key: "stratum.listen".to_owned(),
            listen: *listen,
            difficulty: self.difficulty,
            tls: false,
            proxy_protocol: self.proxy_protocol.clone(),
        });
        first.chain(self.ports.iter().cloned()).collect()
    }
}

/// Reads the section, and enters its addresses into `taken`. `has_tls`: there is a certificate.
pub(super) fn read(
    section: &mut Section<'_>,
    has_tls: bool,
    taken: &mut Taken,
) -> Option<StratumConfig> {
    let listen =
        section.or("listen", "[\"127.0.0.1:3333\"]", parse::list_of(parse::socket_address()));
    take(section, listen.as_deref().unwrap_or_default(), "stratum.listen", taken);
    let version_mask = section.or("version_mask", "\"1fffe000\"", hexadecimal());
    let host_port =
        parse::text_as(str::parse::<HostPort>, "a host and port such as \"b.example:3333\"");
    let reconnect = section.or("reconnect", "[]", parse::list_of(host_port));
    let proxy_protocol = read_proxies(section);
    let difficulty = read_difficulty(&mut section.section("difficulty"), built_in());
    // A port inherits the defaults where the section's own are wrong: its mistakes show as well.
    let base = difficulty.or_else(built_in);
    let mut index = 0;
    let ports = section.each("port", |port| {
        let key = format!("stratum.port.{index}.listen");
        index += 1;
        read_port(port, &key, base, has_tls, taken)
    });
    Some(StratumConfig {
        listen: listen?,
        difficulty: difficulty?,
        proxy_protocol: proxy_protocol?,
        version_mask: version_mask?,
        reconnect: reconnect?,
        ports: ports?.into_iter().flatten().collect(),
    })
}

/// Reports an address at `listen` that cannot be listened on beside those that are taken.
pub(super) fn take(
    section: &mut Section<'_>,
    addresses: &[SocketAddr],
    key: &str,
    taken: &mut Taken,
) {
    for address in addresses {
        let other = taken.iter().find(|(other, _)| overlap(*address, *other));
        if let Some((_, other)) = other {
            let hint = if other == key {
                format!("expected each address once: {address} is there twice")
            } else {
                format!("expected an address that is free: {address} is taken by {other}")
            };
            section.problem("listen", &hint);
        }
        taken.push((*address, key.to_owned()));
    }
}

fn read_port(
    section: &mut Section<'_>,
    key: &str,
    base: Option<DifficultySettings>,
    has_tls: bool,
    taken: &mut Taken,
) -> Option<Vec<PortConfig>> {
    let listen = section.required("listen", parse::list_of(parse::socket_address()));
    take(section, listen.as_deref().unwrap_or_default(), key, taken);
    let tls = section.or("tls", "false", parse::boolean());
    if tls == Some(true) && !has_tls {
        section.problem("tls", "expected a section [tls] with certificate and key beside it");
    }
    let proxy_protocol = read_proxies(section);
    let difficulty = read_difficulty(&mut section.section("difficulty"), base);
    let (tls, proxy_protocol, difficulty) = (tls?, proxy_protocol?, difficulty?);
    let port = |listen| PortConfig {
        key: key.to_owned(),
        listen,
        difficulty,
        tls,
        proxy_protocol: proxy_protocol.clone(),
    };
    Some(listen?.into_iter().map(port).collect())
}

fn read_proxies(section: &mut Section<'_>) -> Option<Vec<Subnet>> {
    let hint = "a network of your own proxies such as \"10.0.0.0/8\"";
    section.or("proxy_protocol", "[]", parse::list_of(parse::text_as(proxy_network, hint)))
}

/// Whoever is listed names any address that it likes, so that caps and bans bind others.
fn proxy_network(text: &str) -> Result<Subnet, String> {
    let network: Subnet = text.parse()?;
    if stands(Defence::ProxyNetwork) && network.is_everybody() {
        return Err(format!("{text} is everybody, who could then pass for anybody"));
    }
    Ok(network)
}

/// Reads a difficulty whose members are those of `base` where they are not set.
fn read_difficulty(
    section: &mut Section<'_>,
    base: Option<DifficultySettings>,
) -> Option<DifficultySettings> {
    let base = base?;
    let toml = |number: f64| format!("{number:?}");
    let start = section.or("start", &toml(base.start.get()), difficulty());
    let min = section.or("min", &toml(base.min.get()), difficulty());
    let max = section.or("max", &toml(base.max.get()), difficulty());
    let rate = parse::f64_in(0.01..=60_000.0);
    let shares_per_minute = section.or("shares_per_minute", &toml(base.shares_per_minute), rate);
    let vardiff = section.or("vardiff", &base.vardiff.to_string(), parse::boolean());
    let (start, min, max) = (start?, min?, max?);
    if !(min <= start && start <= max) {
        section.problem("start", "expected min <= start <= max");
        return None;
    }
    let (shares_per_minute, vardiff) = (shares_per_minute?, vardiff?);
    Some(DifficultySettings { start, min, max, shares_per_minute, vardiff })
}

/// What holds where a configuration says nothing.
fn built_in() -> Option<DifficultySettings> {
    let difficulty = |number| Difficulty::new(number).ok();
    Some(DifficultySettings {
        start: difficulty(1.0)?,
        min: difficulty(1e-9)?,
        max: difficulty(1e12)?,
        shares_per_minute: 10.0,
        vardiff: true,
    })
}

/// Whether the system would refuse one of the two. `[::]` stands for IPv4 as well.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, two) = (a.ip().to_canonical(), b.ip().to_canonical());
    let is_all = |ip: std::net::IpAddr, other: std::net::IpAddr| {
        ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (one == two || is_all(one, two) || is_all(two, one))
}
