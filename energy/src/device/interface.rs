//! Everything that can be asked over a network, by name: the ASICs, plugs, power units and meters.
//!
//! Read [`Interface::named`]. An interface is a maker's protocol and which of the device's meters is
//! meant. Deliberately without addresses, passwords and sockets: those belong to whoever asks.

use units::MilliWatts;

use super::{
    Answers, Request, Telemetry, Unreadable, apc, braiins,
    driver::Driver,
    modbus::{self, Asked, Map},
    redfish, shelly, snmp, tasmota,
};

/// A device's protocol, and which of its meters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// A mining device.
    Asic(Driver),
    /// A Shelly.
    Shelly(shelly::Channel),
    /// A plug with Tasmota, by its channel from 0.
    Tasmota(u8),
    /// A server's management controller.
    Redfish(redfish::Place),
    /// A power unit of APC.
    Apc(apc::Point),
    /// A meter over Modbus.
    Modbus(Map),
}

/// What an interface wants to know beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which of the device's meters, as the device counts.
    pub channel: u8,
    /// Redfish: the chassis, and the member of `PowerControl`.
    pub redfish: redfish::Place,
    /// Modbus: where the meter keeps its figures.
    pub map: Option<Map>,
}

/// The names of all that are no mining devices.
const METERS: [&str; 11] = [
    "shelly",
    "shelly-pm",
    "shelly-em1",
    "shelly-em",
    "shelly1",
    "shelly1-em",
    "tasmota",
    "redfish",
    "apc",
    "apc-outlet",
    "modbus",
];

impl Interface {
    /// The interface of that name; `None` where there is none, or it wants an option that is missing.
    #[must_use]
    pub fn named(name: &str, options: Options) -> Option<Self> {
        let Options { channel, redfish, map } = options;
        Some(match name {
            "shelly" => Self::Shelly(shelly::Channel::Switch(channel)),
            "shelly-pm" => Self::Shelly(shelly::Channel::Pm1(channel)),
            "shelly-em1" => Self::Shelly(shelly::Channel::Em1(channel)),
            "shelly-em" => Self::Shelly(shelly::Channel::Em(channel)),
            "shelly1" => Self::Shelly(shelly::Channel::Relay(channel)),
            "shelly1-em" => Self::Shelly(shelly::Channel::Clamp(channel)),
            "tasmota" => Self::Tasmota(channel),
            "redfish" => Self::Redfish(redfish),
            // Both are counted from 1, and the first is meant where none is named.
            "apc" => Self::Apc(apc::Point::Unit(u32::from(channel).max(1))),
            "apc-outlet" => Self::Apc(apc::Point::Outlet(u32::from(channel).max(1))),
            "modbus" => Self::Modbus(map?),
            other => Self::Asic(Driver::parse(other)?),
        })
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Driver::ALL.into_iter().map(Driver::as_str).chain(METERS)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Asic(driver) => driver.as_str(),
            Self::Shelly(shelly::Channel::Switch(_)) => "shelly",
            Self::Shelly(shelly::Channel::Pm1(_)) => "shelly-pm",
            Self::Shelly(shelly::Channel::Em1(_)) => "shelly-em1",
            Self::Shelly(shelly::Channel::Em(_) | shelly::Channel::Phase(..)) => "shelly-em",
            Self::Shelly(shelly::Channel::Relay(_)) => "shelly1",
            Self::Shelly(shelly::Channel::Clamp(_)) => "shelly1-em",
            Self::Tasmota(_) => "tasmota",
            Self::Redfish(_) => "redfish",
            Self::Apc(apc::Point::Unit(_)) => "apc",
            Self::Apc(apc::Point::Outlet(_)) => "apc-outlet",
            Self::Modbus(_) => "modbus",
        }
    }

    /// The port that such devices listen on unless configured.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Asic(driver) => driver.port(),
            Self::Shelly(_) | Self::Tasmota(_) | Self::Redfish(_) => 80,
            Self::Apc(_) => 161,
            Self::Modbus(_) => 502,
        }
    }

    /// Whether that port is of pages, by HTTP.
    #[must_use]
    pub const fn is_web(&self) -> bool {
        match self {
            Self::Asic(driver) => driver.is_web(),
            Self::Shelly(_) | Self::Tasmota(_) | Self::Redfish(_) => true,
            Self::Apc(_) | Self::Modbus(_) => false,
        }
    }

    /// More than goes through such a device: a counter that rose by more shows another thing.
    #[must_use]
    pub const fn most(&self) -> MilliWatts {
        match self {
            Self::Asic(Driver::Bitaxe) => MilliWatts::from_watts(400),
            Self::Asic(_) => MilliWatts::from_watts(25_000),
            Self::Shelly(shelly::Channel::Relay(_) | shelly::Channel::Switch(_))
            | Self::Shelly(shelly::Channel::Pm1(_))
            | Self::Tasmota(_) => MilliWatts::from_watts(5_000),
            Self::Shelly(shelly::Channel::Clamp(_) | shelly::Channel::Em1(_))
            | Self::Shelly(shelly::Channel::Phase(..)) => MilliWatts::from_watts(100_000),
            Self::Shelly(shelly::Channel::Em(_)) => MilliWatts::from_watts(300_000),
            Self::Redfish(_) | Self::Apc(_) => MilliWatts::from_watts(50_000),
            Self::Modbus(map) => map.most,
        }
    }

    /// Whether it is a mining device, which says how much it hashes and whose own power figure can be
    /// held against a plug.
    #[must_use]
    pub const fn mines(&self) -> bool {
        matches!(self, Self::Asic(_))
    }

    /// What to ask.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        match self {
            Self::Asic(driver) => driver.requests(),
            Self::Shelly(channel) => shelly::requests(*channel),
            Self::Tasmota(_) => tasmota::requests(),
            Self::Redfish(place) => redfish::requests(place),
            Self::Apc(point) => apc::requests(*point),
            Self::Modbus(map) => modbus::requests(map),
        }
    }

    /// What the answers say. The first request was asked as `asked` says, each further one under the
    /// next number.
    ///
    /// # Errors
    /// Where nothing came, and where what came is no answer of such a device or a refusal.
    pub fn read(&self, asked: Asked, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
        match self {
            Self::Asic(driver) => driver.read(answers),
            Self::Shelly(channel) => shelly::read(*channel, answers),
            Self::Tasmota(channel) => tasmota::read(*channel, answers),
            Self::Redfish(place) => redfish::read(place, answers),
            Self::Apc(point) => apc::read(*point, asked.transaction.into(), answers),
            Self::Modbus(map) => modbus::read(map, asked, answers),
        }
    }

    /// What to ask for a token, where a name and a password are exchanged for one.
    #[must_use]
    pub fn login(&self, user: &str, password: &str) -> Option<Request> {
        matches!(self, Self::Asic(Driver::Braiins)).then(|| braiins::login(user, password))
    }

    /// The token in the answer to [`Self::login`].
    ///
    /// # Errors
    /// Where the device refused, or gave no token.
    pub fn token(&self, answer: &[u8]) -> Result<String, Unreadable> {
        braiins::token(answer)
    }
}

/// The datagram that asks for these objects.
#[must_use]
pub fn snmp_get(community: &str, number: u16, objects: &[Vec<u32>]) -> Vec<u8> {
    snmp::get(community, number.into(), objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let options = || Options { channel: 1, map: Map::named("abb-b23"), ..Options::default() };
        let mut ports = Vec::new();
        for name in Interface::names() {
            let interface = Interface::named(name, options()).unwrap();
            assert_eq!(interface.as_str(), name);
            assert!(!interface.requests().is_empty(), "{name}");
            ports.push(interface.port());
            assert!(matches!(
                interface.read(Asked { unit: 1, transaction: 1 }, &[]),
                Err(Unreadable::Silent)
            ));
        }
        assert!(ports.contains(&161) && ports.contains(&502) && ports.contains(&4433));
        assert_eq!(Interface::named("toaster", options()), None);
        assert_eq!(Interface::named("modbus", Options::default()), None, "it wants a map");
    }

    #[test]
    fn a_password_on_its_way_is_never_printed() {
        let braiins = Interface::named("braiins", Options::default()).unwrap();
        let request = braiins.login("root", "hunter2").unwrap();
        assert!(!format!("{request:?}").contains("hunter2"));
        let tasmota = Interface::named("tasmota", Options::default()).unwrap();
        assert_eq!(tasmota.login("root", "hunter2"), None);
    }
}
