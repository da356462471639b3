//! What the agent is set up with: its file, the environment over it.
//!
//! Read [`Config`], then [`load`]. As everywhere, every mistake is reported at once. Who is reported
//! for by which meter is decided here: [`Device::counts_for`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use config::{Effective, Reader, Section, Source, Value, parse};
use energy::calibration::Calibration;
use energy::device::interface::{Interface, Options};
use energy::device::meter::Wiring;
use energy::device::modbus::Map;
use energy::device::redfish::Place;
use energy::meter::{MeterId, Scope};

use super::ask;
use crate::error::Failure;
use crate::settings::pools;
use crate::upstream::Pool;
use crate::upstream::tls::Fingerprint;

mod registers;

/// Devices of one agent: each is asked every interval, and a farm of more has more agents.
pub const DEVICES_MAX: usize = 4_096;
/// Meters that one worker's report may hold.
const METERS_OF_A_WORKER: usize = energy::report::MAX_METERS;

/// The whole of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// To whom is reported; nobody where there is none, and the figures are shown all the same.
    pub pool: Option<Pool>,
    /// The devices.
    pub devices: Vec<Device>,
    /// The sites, whose meters are held against the sum of what is behind them.
    pub sites: Vec<Site>,
    /// How long a device may take over each question.
    pub patience: Duration,
    /// How often each is asked.
    pub interval: Duration,
    /// Where totals are kept over restarts.
    pub state: PathBuf,
    /// The file of the key that signs reports; at its usual place when `None`.
    pub key: Option<PathBuf>,
    /// Where to serve metrics and figures.
    pub api: Option<SocketAddr>,
}

/// A device that is asked.
#[derive(Debug, Clone)]
pub struct Device {
    /// How to speak to it.
    pub interface: Interface,
    /// Where it is.
    pub place: ask::Place,
    /// Its meter's name, and how it is wired.
    pub wiring: Wiring,
    /// The worker that it is reported for.
    pub worker: Option<String>,
    /// Whether it is part of that worker's report, or only held against it.
    pub counts: bool,
    /// Whether its owner wrote that down.
    pub says_so: bool,
}

impl Device {
    /// Whether it is part of this worker's report.
    #[must_use]
    pub fn counts_for(&self, worker: &str) -> bool {
        self.counts && self.worker.as_deref() == Some(worker)
    }
}

/// A meter and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// The device whose figure is of the whole site.
    pub meter: String,
    /// The devices behind it.
    pub behind: Vec<String>,
    /// The part of the site's energy that may be missing from the sum before it is worth a warning:
    /// cables, fans, what has no meter of its own.
    pub tolerance_ppm: u32,
}

/// Reads the file and `variables` (the environment).
///
/// # Errors
/// Every mistake, one to a line.
pub fn load(
    path: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Effective), Failure> {
    let source = Source::read(path).map_err(|error| Failure::usage(error.to_string()))?;
    let usage = |errors: config::Errors| Failure::usage(errors.to_string());
    let reader = Reader::new(source).map_err(usage)?;
    let mut reader = reader.environment("WATTPROOF_AGENT", variables, &["WATTPROOF_AGENT_LOG"]);
    let config = read(&mut reader);
    reader.finish(config).map_err(usage)
}

fn read(reader: &mut Reader) -> Option<Config> {
    let mut section = reader.section("agent");
    let interval = section.or("interval_seconds", "30", parse::seconds(1.0..=3600.0));
    let patience = section.or("patience_seconds", "5", parse::seconds(0.1..=60.0));
    let state = section.or("state", "\"wattproof-agent.json\"", parse::path());
    let key = section.optional("key", parse::path());
    let api = section.or("listen", "\"127.0.0.1:4069\"", address);
    let pools = reader.root().each("pool", pools::place);
    let every = interval.unwrap_or(Duration::from_secs(30));
    let mut names = BTreeSet::new();
    let devices = reader.root().each("device", |section| device(section, every, &mut names));
    let sites = reader.root().each("site", |section| site(section, &names));
    let (mut pools, mut devices) = (pools?, devices?);
    settle_counts(reader, &mut devices)?;
    if pools.len() > 1 {
        reader.root().problem("pool", "one pool takes the reports; write one [[pool]]");
        return None;
    }
    if devices.is_empty() || devices.len() > DEVICES_MAX {
        let hint = format!("between one [[device]] and {DEVICES_MAX} of them");
        reader.root().problem("device", &hint);
        return None;
    }
    Some(Config {
        pool: pools.pop(),
        devices,
        sites: sites?,
        patience: patience?,
        interval: interval?,
        state: state?,
        key: key?,
        api: api?,
    })
}

/// A `[[device]]`.
fn device(
    section: &mut Section<'_>,
    every: Duration,
    names: &mut BTreeSet<String>,
) -> Option<Device> {
    let name = section.required("name", parse::text_as(meter_name, "a meter's name"));
    let interface = interface(section);
    let place = place(section, interface.as_ref());
    let worker = section.optional("worker", parse::text_as(worker_name, "a user name"));
    let words = Scope::ALL.map(|scope| (scope.as_str(), scope));
    let scope = section.optional("scope", parse::one_of(&words));
    let says_so = section.has("counts");
    let counts = section.or("counts", "true", parse::boolean());
    let interval = section.optional("interval_seconds", parse::seconds(1.0..=3600.0));
    let calibration = calibration(section);
    let id = name?;
    if !names.insert(id.to_string()) {
        section.problem("name", "another device has that name");
        return None;
    }
    let interval = interval?.unwrap_or(every);
    let (interface, place, calibration) = (interface?, place?, calibration?);
    if calibration.is_some() && !interface.mines() {
        section.problem("calibration", "only what a mining device says of its power is calibrated");
        return None;
    }
    let wiring = Wiring {
        id,
        place: format!("{} at {}:{}, {interface:?}", interface.as_str(), place.host, place.port),
        interval,
        most: interface.most(),
        scope: scope?,
        calibration,
    };
    Some(Device { interface, place, wiring, worker: worker?, counts: counts?, says_so })
}

/// How a device is spoken to.
fn interface(section: &mut Section<'_>) -> Option<Interface> {
    let driver = section.required("driver", driver);
    let channel = section.or("channel", "0", parse::u64_in(0..=255));
    let chassis = section.or("chassis", "\"1\"", parse::string());
    let control = section.optional("control", parse::string());
    let map = section.optional("model", map);
    let registers = registers::read(section);
    let (driver, map, registers): (&'static str, _, _) = (driver?, map?, registers?);
    let options = Options {
        channel: u8::try_from(channel?).unwrap_or(u8::MAX),
        redfish: Place { chassis: chassis?, control: control?, supplies: Vec::new() },
        map: registers.or(map),
    };
    let interface = Interface::named(driver, options);
    if interface.is_none() {
        section.problem("model", "modbus wants a model that is known, or [device.registers]");
    }
    interface
}

/// Where a device is.
fn place(section: &mut Section<'_>, interface: Option<&Interface>) -> Option<ask::Place> {
    let host = section.required("host", parse::string());
    let port = section.optional("port", parse::u64_in(1..=65_535));
    let tls = section.or("tls", "false", parse::boolean());
    let fingerprint =
        section.optional("tls_fingerprint", parse::text_as(Fingerprint::from_str, "a fingerprint"));
    let user = section.optional("user", parse::string());
    let password = section.secret("password");
    let unit = section.or("unit", "1", parse::u64_in(0..=255));
    let (tls, fingerprint, port) = (tls?, fingerprint?, port?);
    if tls && interface.is_some_and(|interface| !interface.is_web()) {
        section.problem("tls", "such a device is not asked over HTTP");
        return None;
    }
    if fingerprint.is_some() && !tls {
        section
            .problem("tls_fingerprint", "only a device asked with tls = true shows a certificate");
        return None;
    }
    let interface = interface?;
    let usual = if tls { 443 } else { interface.port() };
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
    let web_port = if interface.is_web() { port } else { 80 };
    Some(ask::Place {
        host: host?,
        port,
        web_port,
        tls,
        fingerprint,
        user: user?,
        password: password?,
        unit: u8::try_from(unit?).unwrap_or(u8::MAX),
    })
}

/// A line that `wattproof-miner calibrate` printed.
fn calibration(section: &mut Section<'_>) -> Option<Option<Calibration>> {
    if !section.has("calibration") {
        return Some(None);
    }
    let mut section = section.section("calibration");
    let slope = section.required("slope", parse::f64_in(0.5..=2.0));
    let offset = section.or("offset_watts", "0", parse::f64_in(-10_000.0..=10_000.0));
    let residual = section.required("residual", parse::f64_in(0.0..=0.1));
    let reference = section.required("reference", parse::f64_in(0.001..=0.5));
    let firmware = section.optional("firmware", parse::string());
    let line = Calibration::of_parts(slope?, offset?, residual?, reference?);
    Some(Some(Calibration { firmware: firmware?, ..line }))
}

/// A `[[site]]`.
fn site(section: &mut Section<'_>, names: &BTreeSet<String>) -> Option<Site> {
    let name = section.required("name", parse::text_as(meter_name, "a name"));
    let known = |text: &str| match names.contains(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("no [[device]] is called {text}")),
    };
    let meter = section.required("meter", parse::text_as(known, "a device's name"));
    let one = parse::text_as(known, "a device's name");
    let behind = section.required("devices", parse::list_of(one));
    let tolerance = section.or("tolerance", "0.05", parse::f64_in(0.0..=1.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1e6")]
    let tolerance_ppm = (tolerance? * 1e6).round() as u32;
    let (meter, behind): (String, Vec<String>) = (meter?, behind?);
    if behind.contains(&meter) {
        section.problem("devices", "a site's own meter is not behind itself");
        return None;
    }
    Some(Site { name: name?.to_string(), meter, behind, tolerance_ppm })
}

/// Sees that no report would count a joule twice: all that count for a worker are added, so that of
/// several the owner says of each whether it does.
fn settle_counts(reader: &mut Reader, devices: &mut [Device]) -> Option<()> {
    let mut of_worker: BTreeMap<&str, Vec<&Device>> = BTreeMap::new();
    for device in devices.iter().filter(|device| device.counts) {
        if let Some(worker) = &device.worker {
            of_worker.entry(worker).or_default().push(device);
        }
    }
    let hint = of_worker.into_iter().find_map(|(worker, counted)| {
        let number = counted.len();
        let silent = counted.iter().find(|device| !device.says_so).filter(|_| number > 1);
        if number > METERS_OF_A_WORKER {
            Some(format!("{worker} has {number} meters that count; {METERS_OF_A_WORKER} at most"))
        } else {
            silent.map(|silent| {
                format!(
                    "{worker} has {number} meters that count, and all of them are added: write \
                     counts = true or false in {} as well",
                    silent.wiring.id
                )
            })
        }
    });
    if let Some(hint) = hint {
        reader.root().problem("device", &hint);
        return None;
    }
    for device in devices.iter_mut() {
        device.counts &= device.worker.is_some();
    }
    Some(())
}

fn driver(value: &Value) -> Result<&'static str, String> {
    let known = value.as_str().and_then(|name| Interface::names().find(|known| *known == name));
    let names = || Interface::names().collect::<Vec<_>>().join(", ");
    known.ok_or_else(|| format!("one of {}", names()))
}

fn map(value: &Value) -> Result<Map, String> {
    let known = value.as_str().and_then(Map::named);
    known.ok_or_else(|| format!("one of {}", Map::NAMES.join(", ")))
}

fn meter_name(text: &str) -> Result<MeterId, String> {
    MeterId::new(text)
        .ok_or_else(|| format!("{text:?} is no meter's name: up to 64 of A-Z a-z 0-9 . _ : / + -"))
}

fn worker_name(text: &str) -> Result<String, String> {
    let fits = (1..=energy::report::MAX_WORKER).contains(&text.len());
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    (fits && plain).then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is no user name"))
}

fn address(value: &Value) -> Result<Option<SocketAddr>, String> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    parse::socket_address()(value).map(Some).map_err(|hint| format!("off, or {hint}"))
}

#[cfg(test)]
mod tests;
