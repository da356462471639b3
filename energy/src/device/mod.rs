//! What a device on the network says of its energy: answers in bytes to figures with a meaning.
//!
//! Read [`Figure`] and [`Telemetry`] first. Each maker's answers have a module with two functions:
//! `requests` says what to ask, and `read` makes a [`Telemetry`] of the answers, of which some or
//! all may be missing. They are pure: sockets, passwords and clocks belong to whoever asks.
//!
//! What holds in all of them:
//! - A figure says where in the answer it stood, what its maker means by it, and how good that is.
//!   What stands there and is no figure (a code for "unknown", a voltage, an estimate of a device that
//!   has just started) is named in [`Telemetry::refused`] with the reason, and is never a zero.
//! - A device's own hash rate is a claim, shown beside the proven one and never counted.
//! - Fields are read leniently (a number may be a string, with a unit behind it; unknown fields are
//!   passed over), and believed strictly (a power beyond what such a device can draw is refused).
//!
//! Units: milliwatts, microjoules, hashes per second as integers; windows as durations.

mod cgminer;
mod exact;
mod value;
mod web;

pub mod antminer;
pub mod apc;
pub mod auradine;
pub mod avalon;
pub mod bitaxe;
pub mod braiins;
pub mod driver;
pub mod epic;
pub mod identify;
pub mod interface;
pub mod luxos;
pub mod meter;
pub mod modbus;
pub mod redfish;
pub mod sealminer;
pub mod shelly;
pub mod snmp;
pub mod tasmota;
pub mod vnish;
pub mod whatsminer;
pub mod whatsminer_v3;

use std::time::Duration;

use units::{MicroJoules, MilliWatts};

use crate::meter::{Kind, Scope, Tier};

/// What to ask a device. Where and with which password is the caller's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The cgminer API: one JSON object over TCP, one connection each. Port 4028 unless configured.
    Cgminer {
        /// The command, such as `summary`.
        command: &'static str,
    },
    /// Whatsminer's third protocol: JSON behind its length in four bytes, lowest first. Port 4433.
    Whatsminer {
        /// The command, such as `get.miner.status`.
        command: &'static str,
        /// Its parameter, where it has one.
        parameter: Option<&'static str>,
    },
    /// An HTTP GET.
    Http {
        /// Path and query.
        path: String,
    },
    /// An HTTP POST of a JSON body.
    Post {
        /// Path and query.
        path: &'static str,
        /// The body.
        body: Body,
    },
    /// SNMP GET, version 2c, of these objects. UDP port 161.
    Snmp {
        /// The objects, each by its numbers.
        objects: Vec<Vec<u32>>,
    },
    /// Modbus over TCP: reads registers. Port 502.
    Modbus {
        /// Which registers.
        table: modbus::Table,
        /// The first register.
        start: u16,
        /// How many, 1 to 125.
        count: u16,
    },
}

/// A body that is sent. It may hold a password, so that it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub String);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// The bytes of each answer, in the order of the requests; `None` where there was none. Of HTTP it is
/// the body, of cgminer and Whatsminer the text, of SNMP the datagram, of Modbus the whole frame.
pub type Answers<'a> = [Option<&'a [u8]>];

/// One figure that a device gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Which of the device's meters: unique among its figures of one quantity, such as `psu`.
    pub meter: String,
    /// The figure.
    pub quantity: Quantity,
    /// Where it comes from.
    pub kind: Kind,
    /// What it sees, as far as the maker says; whoever knows the wiring may say otherwise.
    pub scope: Scope,
    /// How good that is.
    pub tier: Tier,
    /// How far it may be off, in parts per million of it (two standard deviations).
    pub uncertainty_ppm: u32,
    /// Over how long it is an average; `None` where that is not known or it is of an instant.
    pub window: Option<Duration>,
    /// Where in the answers it stood, such as `power: POWER[0].Watts`.
    pub field: String,
    /// What its maker means by it, in plain words.
    pub meaning: String,
}

/// Power or energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Power now.
    Power(MilliWatts),
    /// A counter of energy.
    Energy {
        /// What it shows.
        total: MicroJoules,
        /// The least by which it can rise.
        step: MicroJoules,
    },
}

/// Something that stood where a figure would be, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it stood.
    pub field: String,
    /// What stood there, cut to 64 characters.
    pub text: String,
    /// Why it is no figure, in plain words.
    pub reason: String,
}

/// What is known of the device itself. Firmware goes with the figures: a new one may count otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its maker, or who wrote its firmware.
    pub maker: String,
    /// The model, as the device says it.
    pub model: Option<String>,
    /// The firmware's version, as the device says it.
    pub firmware: Option<String>,
    /// What tells it from others of its kind: a serial number, else a hardware address.
    pub serial: Option<String>,
}

/// All that a device's answers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// What it is.
    pub identity: Identity,
    /// Its figures, the one to count first: measured before modelled, a counter before power, the
    /// wall before what is behind the supply.
    pub figures: Vec<Figure>,
    /// What was refused.
    pub refused: Vec<Refused>,
    /// The hash rate that it claims, in hashes per second.
    pub claimed_hashes_per_second: Option<u128>,
    /// How long it has been running.
    pub uptime: Option<Duration>,
}

/// Why answers say nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not one answer came.
    #[error("no answer")]
    Silent,
    /// An answer that is not what such a device says.
    #[error("{command}: {reason}")]
    Malformed {
        /// Which request.
        command: String,
        /// What is wrong, with no more than 64 characters of the answer.
        reason: String,
    },
    /// The device refused the request.
    #[error("{command}: the device says {message:?}")]
    Refused {
        /// Which request.
        command: String,
        /// What it says, cut to 64 characters.
        message: String,
    },
}
