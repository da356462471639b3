//! What a device on a network is, by what it answers to questions that need no login.
//!
//! Read [`Heard`], then [`identify`]. A [`Door`] is a port that such devices listen on, a [`Probe`] one
//! question there; [`Heard::wants`] says which question is worth asking after what was heard so far.
//! What a page says goes before what the cgminer API says, since firmware that replaces a maker's often
//! leaves that API as it was. Facts: the recorded answers in `energy/fixtures/asic`, the modules of the
//! makers, Shelly's and Tasmota's documentation, APC's `sysDescr` as its rack units give it.
//!
//! Deliberately not here: sockets and addresses, which are the caller's; a wattage, which only a driver
//! reads; Modbus meters by their make, since every maker keeps that elsewhere; anything behind a login.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cgminer::{self, field, row};
use super::value::{cut, json, text, whole};
use super::{Answers, Identity, Request, Telemetry, driver::Driver, snmp};

/// So many of a device's meters become entries.
const METERS_MAX: u8 = 16;
/// The number that [`Probe::Describe`] is asked under, which its answer repeats.
pub const NUMBER: u16 = 1;

/// A port that devices listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Pages: 80.
    Web,
    /// The cgminer API, and ePIC's pages: 4028.
    Cgminer,
    /// Whatsminer's third protocol: 4433.
    Framed,
    /// Modbus over TCP: 502. Nothing is asked there.
    Modbus,
    /// SNMP, by datagrams: 161.
    Snmp,
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// A Shelly's name for itself; every generation has it, and none asks for a login.
    Shelly,
    /// A Shelly's meters, of the first generation.
    ShellyStatus,
    /// A Shelly's components, of the later ones.
    ShellyComponents,
    /// ESP-Miner's.
    Bitaxe,
    /// `VNish`'s.
    Vnish,
    /// Braiins' version of its REST interface.
    Braiins,
    /// Tasmota's sensors.
    Tasmota,
    /// The cgminer API's.
    Version,
    /// The cgminer API's.
    Summary,
    /// Whatsminer's first and second protocol.
    GetVersion,
    /// ePIC's page.
    Epic,
    /// Whatsminer's third protocol.
    DeviceInfo,
    /// What an SNMP agent says it is.
    Describe,
}

impl Door {
    /// Every door, in the order in which they are tried.
    pub const ALL: [Self; 5] = [Self::Web, Self::Cgminer, Self::Framed, Self::Modbus, Self::Snmp];

    /// Its usual port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Web => 80,
            Self::Cgminer => 4028,
            Self::Framed => 4433,
            Self::Modbus => 502,
            Self::Snmp => 161,
        }
    }

    /// What is asked there, in this order.
    #[must_use]
    pub const fn probes(self) -> &'static [Probe] {
        match self {
            Self::Web => &[
                Probe::Shelly,
                Probe::ShellyStatus,
                Probe::ShellyComponents,
                Probe::Bitaxe,
                Probe::Vnish,
                Probe::Braiins,
                Probe::Tasmota,
            ],
            Self::Cgminer => &[Probe::Version, Probe::Summary, Probe::GetVersion, Probe::Epic],
            Self::Framed => &[Probe::DeviceInfo],
            Self::Modbus => &[],
            Self::Snmp => &[Probe::Describe],
        }
    }
}

impl Probe {
    /// What is sent.
    #[must_use]
    pub fn request(self) -> Request {
        let page = |path: &str| Request::Http { path: path.to_owned() };
        match self {
            Self::Shelly => page("/shelly"),
            Self::ShellyStatus => page("/status"),
            Self::ShellyComponents => page("/rpc/Shelly.GetStatus"),
            Self::Bitaxe => page("/api/system/info"),
            Self::Vnish => page("/api/v1/info"),
            Self::Braiins => page("/api/v1/version"),
            Self::Tasmota => page("/cm?cmnd=Status%208"),
            Self::Version => Request::Cgminer { command: "version" },
            Self::Summary => Request::Cgminer { command: "summary" },
            Self::GetVersion => Request::Cgminer { command: "get_version" },
            Self::Epic => page("/summary"),
            Self::DeviceInfo => Request::Whatsminer { command: "get.device.info", parameter: None },
            // sysDescr.0
            Self::Describe => Request::Snmp { objects: vec![vec![1, 3, 6, 1, 2, 1, 1, 1, 0]] },
        }
    }
}

/// What was heard of one host.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    open: BTreeSet<Door>,
    answers: BTreeMap<Probe, Vec<u8>>,
}

impl Heard {
    /// Somebody listens there.
    pub fn opens(&mut self, door: Door) {
        self.open.insert(door);
    }

    /// It answered that, as [`Answers`] has it.
    pub fn says(&mut self, probe: Probe, bytes: Vec<u8>) {
        self.answers.insert(probe, bytes);
    }

    /// Whether it said anything at all.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.open.is_empty() && self.answers.is_empty()
    }

    /// Whether asking that may tell something new.
    #[must_use]
    pub fn wants(&self, probe: Probe) -> bool {
        match probe {
            Probe::ShellyStatus => self.shelly().is_some_and(|shelly| !shelly.later),
            Probe::ShellyComponents => self.shelly().is_some_and(|shelly| shelly.later),
            Probe::Bitaxe | Probe::Vnish | Probe::Braiins | Probe::Tasmota => self.page().is_none(),
            Probe::Summary | Probe::GetVersion => self.miner().is_none(),
            Probe::Epic => {
                let cgminer = [Probe::Version, Probe::Summary, Probe::GetVersion];
                cgminer.into_iter().all(|probe| self.reply(probe).is_null())
            }
            Probe::Shelly | Probe::Version | Probe::DeviceInfo | Probe::Describe => true,
        }
    }

    /// An answer.
    fn bytes(&self, probe: Probe) -> Option<&[u8]> {
        self.answers.get(&probe).map(Vec::as_slice)
    }

    /// A page that is JSON; null where it is not.
    fn object(&self, probe: Probe) -> Value {
        let answer = self.bytes(probe).and_then(|bytes| json("", bytes).ok());
        answer.filter(Value::is_object).unwrap_or(Value::Null)
    }

    /// An answer of the cgminer API; null where there is none, and where it is a refusal.
    fn reply(&self, probe: Probe) -> Value {
        let mut aside = Telemetry::default();
        let replies = cgminer::replies([""], &[self.bytes(probe)], &mut aside);
        replies.map_or(Value::Null, |[reply]| reply)
    }
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its meters: each the name of the interface that reads it, and the channel there. None where no
    /// interface does.
    pub meters: Vec<(&'static str, u8)>,
    /// What it says of itself; its driver may get more out of it.
    pub identity: Identity,
    /// What its owner has to do or to know.
    pub note: Option<&'static str>,
}

impl Verdict {
    /// Whether it is a miner of which nothing is known but that it is one.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        self.note == Some(NO_DRIVER)
    }
}

/// What it is, by all that was heard; `None` where that says nothing.
#[must_use]
pub fn identify(heard: &Heard) -> Option<Verdict> {
    heard
        .page()
        .or_else(|| heard.framed())
        .or_else(|| heard.miner())
        .or_else(|| heard.epic())
        .or_else(|| heard.power_unit())
        .or_else(|| heard.stranger())
        .or_else(|| heard.modbus())
}

const PASSWORD: &str = "it wants a user and a password";
const LOCKED: &str = "it wants a password, without which its meters are not known";
const NO_METER: &str = "it has no meter";
const NO_DRIVER: &str = "it speaks the cgminer API, and no driver knows it";
const OTHER_APC: &str = "no rack unit of the second generation, which alone has a driver";
const MODEL: &str = "something listens on Modbus's port: name the meter's model";

/// A Shelly's own name.
struct Shelly {
    /// Whether it is of a later generation than the first.
    later: bool,
    identity: Identity,
}

impl Heard {
    /// What its pages say.
    fn page(&self) -> Option<Verdict> {
        if let Some(shelly) = self.shelly() {
            return Some(self.shellys_meters(shelly));
        }
        let bitaxe = self.object(Probe::Bitaxe);
        if !bitaxe["ASICModel"].is_null() || !bitaxe["boardVersion"].is_null() {
            return Some(of_driver(Driver::Bitaxe, &[self.bytes(Probe::Bitaxe)], None));
        }
        let vnish = self.object(Probe::Vnish);
        let beside = ["fw_name", "miner", "model", "hr_measure"];
        if text(&vnish["fw_version"]).is_some() && beside.iter().any(|key| !vnish[*key].is_null()) {
            return Some(of_driver(Driver::Vnish, &[None, self.bytes(Probe::Vnish)], None));
        }
        let braiins = self.object(Probe::Braiins);
        if ["major", "minor", "patch"].iter().all(|key| braiins[*key].is_u64()) {
            return Some(of_driver(Driver::Braiins, &[], Some(PASSWORD)));
        }
        self.tasmota()
    }

    fn shelly(&self) -> Option<Shelly> {
        let said = self.object(Probe::Shelly);
        let later = whole(&said["gen"]).is_some_and(|generation| generation >= 2);
        // Of the first, there is a type and a build.
        if !later && (text(&said["type"]).is_none() || text(&said["fw"]).is_none()) {
            return None;
        }
        let either = |one: &str, other: &str| text(&said[one]).or_else(|| text(&said[other]));
        let identity = Identity {
            maker: "Shelly".to_owned(),
            model: either("model", "type"),
            firmware: either("ver", "fw"),
            serial: either("mac", "id"),
        };
        Some(Shelly { later, identity })
    }

    fn shellys_meters(&self, shelly: Shelly) -> Verdict {
        let Shelly { later, identity } = shelly;
        let (probe, usual) = match later {
            true => (Probe::ShellyComponents, "shelly"),
            false => (Probe::ShellyStatus, "shelly1"),
        };
        let status = self.object(probe);
        if status.is_null() {
            return Verdict { meters: vec![(usual, 0)], identity, note: Some(LOCKED) };
        }
        let meters = if later { components(&status) } else { channels(&status) };
        let note = meters.is_empty().then_some(NO_METER);
        Verdict { meters, identity, note }
    }

    fn tasmota(&self) -> Option<Verdict> {
        let said = self.object(Probe::Tasmota);
        let of = |meters, note| {
            let identity = Identity { maker: "Tasmota".to_owned(), ..Identity::default() };
            Some(Verdict { meters, identity, note })
        };
        if said["WARNING"].as_str().is_some_and(|text| text.starts_with("Need user")) {
            return of(vec![("tasmota", 0)], Some(LOCKED));
        }
        let sensors = &said["StatusSNS"];
        let energy = &sensors["ENERGY"];
        if !energy.is_object() {
            return if sensors.is_object() { of(Vec::new(), Some(NO_METER)) } else { None };
        }
        let several = energy["Power"].as_array().map_or(1, Vec::len).max(1);
        let meters = (0..METERS_MAX).take(several).map(|channel| ("tasmota", channel));
        of(meters.collect(), None)
    }

    /// What Whatsminer's third protocol says.
    fn framed(&self) -> Option<Verdict> {
        let said = self.object(Probe::DeviceInfo);
        let answers = [None, self.bytes(Probe::DeviceInfo)];
        let alike = said["code"].is_i64() && !said["msg"].is_null();
        alike.then(|| of_driver(Driver::WhatsminerV3, &answers, None))
    }

    /// What the cgminer API says, of the makers that are known.
    fn miner(&self) -> Option<Verdict> {
        let [version, summary] = [Probe::Version, Probe::Summary].map(|probe| self.bytes(probe));
        let said = self.reply(Probe::Version);
        let row = row(&said, "VERSION");
        let has = |key: &str| !field(row, key).is_null();
        let model = |key: &str, part: &str| {
            text(field(row, key)).is_some_and(|text| text.to_ascii_lowercase().contains(part))
        };
        if let Some(firmware) = braiins_firmware(row) {
            // Newer ones answer by pages too, and are known by them.
            let maker = "Braiins".to_owned();
            let identity = Identity { maker, firmware: Some(firmware), ..Identity::default() };
            let meters = vec![(Driver::BraiinsGraphql.as_str(), 0)];
            return Some(Verdict { meters, identity, note: None });
        }
        let known = if has("LUXminer") {
            Driver::Luxos
        } else if has("GCMiner") {
            Driver::Auradine
        } else if has("BDMiner") || self.describes("bdminer") {
            Driver::Sealminer
        } else if model("PROD", "avalon") || (has("DNA") && (has("HWTYPE") || has("SWTYPE"))) {
            Driver::Avalon
        } else if self.is_whatsminer() {
            let answers = [summary, self.bytes(Probe::GetVersion)];
            return Some(of_driver(Driver::Whatsminer, &answers, None));
        } else if has("BMMiner") || model("Type", "antminer") || model("Type", "hiveon") {
            Driver::Antminer
        } else {
            return None;
        };
        // Where the version stands among what each driver asks.
        Some(of_driver(known, &[None, summary, version], None))
    }

    /// Whether a reply's head names that program.
    fn describes(&self, program: &str) -> bool {
        [Probe::Version, Probe::Summary].into_iter().any(|probe| {
            let reply = self.reply(probe);
            let said = text(field(row(&reply, "STATUS"), "Description"));
            said.is_some_and(|said| said.to_ascii_lowercase().starts_with(program))
        })
    }

    fn is_whatsminer(&self) -> bool {
        let reply = self.reply(Probe::GetVersion);
        let version = field(&reply, "Msg");
        if text(field(version, "fw_ver")).is_some() && text(field(version, "api_ver")).is_some() {
            return true;
        }
        let reply = self.reply(Probe::Summary);
        let summary = row(&reply, "SUMMARY");
        !field(summary, "HS RT").is_null() && !field(summary, "Factory GHS").is_null()
    }

    /// What ePIC's page says.
    fn epic(&self) -> Option<Verdict> {
        let said = self.object(Probe::Epic);
        let known = ["Power Supply Stats", "Session", "Software"];
        let alike = known.iter().filter(|key| !said[**key].is_null()).count() >= 2;
        alike.then(|| of_driver(Driver::Epic, &[self.bytes(Probe::Epic)], None))
    }

    /// What an SNMP agent says.
    fn power_unit(&self) -> Option<Verdict> {
        let objects = snmp::response(self.bytes(Probe::Describe)?, NUMBER.into()).ok()?;
        let Some((_, snmp::Value::Text(said))) = objects.first() else { return None };
        let said = String::from_utf8_lossy(said);
        if !said.starts_with("APC") {
            return None;
        }
        // "APC Web/SNMP Management Card (... AF1:v6.8.0 AN1:apc_hw05_rpdu2g_680.bin MN:AP8853 ...)"
        let after = |name: &str| {
            let (_, rest) = said.split_once(name)?;
            let word = rest.trim_start().split([' ', ')', ',']).next()?;
            (!word.is_empty()).then(|| cut(word))
        };
        let maker = "APC".to_owned();
        let (model, firmware, serial) = (after("MN:"), after("AF1:"), after("SN:"));
        let identity = Identity { maker, model, firmware, serial };
        let (meters, note) = match said.contains("rpdu2") {
            true => (vec![("apc", 1)], None),
            false => (Vec::new(), Some(OTHER_APC)),
        };
        Some(Verdict { meters, identity, note })
    }

    /// A miner that no driver knows.
    fn stranger(&self) -> Option<Verdict> {
        let replies = [Probe::Version, Probe::Summary].map(|probe| self.reply(probe));
        let said = replies.iter().find(|reply| row(reply, "STATUS").is_object())?;
        let program = text(field(row(said, "STATUS"), "Description"));
        let maker = program.unwrap_or_else(|| "a miner".to_owned());
        let model = text(field(row(&replies[0], "VERSION"), "Type"));
        let identity = Identity { maker, model, ..Identity::default() };
        Some(Verdict { meters: Vec::new(), identity, note: Some(NO_DRIVER) })
    }

    fn modbus(&self) -> Option<Verdict> {
        let identity = Identity { maker: "Modbus".to_owned(), ..Identity::default() };
        let meters = vec![("modbus", 0)];
        self.open.contains(&Door::Modbus).then_some(Verdict { meters, identity, note: Some(MODEL) })
    }
}

/// A device of that driver, which says of itself what the driver gets out of these answers.
fn of_driver(driver: Driver, answers: &Answers<'_>, note: Option<&'static str>) -> Verdict {
    let said = driver.read(answers).map(|telemetry| telemetry.identity);
    let mut identity = said.unwrap_or_default();
    if identity.maker.is_empty() {
        let named = if driver == Driver::Braiins { "Braiins" } else { driver.as_str() };
        named.clone_into(&mut identity.maker);
    }
    Verdict { meters: vec![(driver.as_str(), 0)], identity, note }
}

/// Braiins' version, which stands in a field named after its miner: `BOSminer`, `BOSminer+`, `BOSer`.
fn braiins_firmware(version: &Value) -> Option<String> {
    let mut fields = version.as_object()?.iter();
    fields.find_map(|(key, value)| {
        let key = key.to_ascii_lowercase();
        (key.starts_with("bosminer") || key.starts_with("boser")).then(|| text(value)).flatten()
    })
}

/// The meters of a Shelly of the first generation: those that count.
fn channels(status: &Value) -> Vec<(&'static str, u8)> {
    let of = |list: &str, name: &'static str| {
        let rows = status[list].as_array().map_or(&[][..], Vec::as_slice).iter();
        let counting = (0..METERS_MAX).zip(rows).filter(|(_, row)| !row["total"].is_null());
        counting.map(|(channel, _)| (name, channel)).collect::<Vec<_>>()
    };
    [of("emeters", "shelly1-em"), of("meters", "shelly1")].concat()
}

/// The meters of a later Shelly: a relay without one has no counter.
fn components(status: &Value) -> Vec<(&'static str, u8)> {
    let known = [
        ("switch:", "shelly"),
        ("pm1:", "shelly-pm"),
        ("em1:", "shelly-em1"),
        ("em:", "shelly-em"),
    ];
    let all = status.as_object().into_iter().flatten();
    let meters = all.filter_map(|(key, value)| {
        let (name, number) =
            known.iter().find_map(|(prefix, name)| Some((*name, key.strip_prefix(prefix)?)))?;
        let counts = name != "shelly" || !value["aenergy"].is_null();
        counts.then_some(name).zip(number.parse().ok())
    });
    let mut meters: Vec<_> = meters.take(usize::from(METERS_MAX)).collect();
    meters.sort_unstable();
    meters
}

#[cfg(test)]
mod tests;
