//! What our own questions left unknown, by the marks that the crate `asic-rs` knows firmware by.
//!
//! The crate only says what an answer is a sign of: the questions are asked by our [`Asker`], bounded
//! and without a login. Deliberately not used of it: its factory's construction of a miner, which tries
//! makers' default passwords, and every figure that it would read. A page alone is weak evidence (any
//! router with `LuCI` has the mark of a Whatsminer), so that the result is only what it looks like.

use std::sync::Arc;

use ::asic_rs::core::data::command::DiscoveryCommand;
use ::asic_rs::core::traits::entry::FirmwareEntry;
use ::asic_rs::core::traits::identification::WebResponse;
use ::asic_rs::factory::default_firmware_registry;
use energy::device::identify::{Door, Verdict};
use energy::device::{Identity, Request};

use super::{Target, place};
use crate::agent::ask::{Asker, Place};

/// Firmware by its name there, and our driver of it.
const DRIVERS: [(&str, &str); 10] = [
    ("AntMiner Stock", "antminer"),
    ("Auradine Stock", "auradine"),
    ("AvalonMiner Stock", "avalon"),
    ("Bitaxe Stock", "bitaxe"),
    ("Braiins", "braiins"),
    ("LuxOS", "luxos"),
    ("SealMiner Stock", "sealminer"),
    ("UMC OS", "epic"),
    ("VNish", "vnish"),
    ("WhatsMiner Stock", "whatsminer"),
];
const LOOKS_LIKE: &str =
    "by the marks that asic-rs knows; its interface did not answer: see that it is switched on";
const NO_DRIVER: &str = "by the marks that asic-rs knows; no driver reads it";

type Firmware = Arc<dyn FirmwareEntry>;

/// What it looks like.
pub(super) async fn guess(asker: &Asker, target: Target) -> Option<Verdict> {
    let registry = default_firmware_registry();
    let mut commands: Vec<DiscoveryCommand> = Vec::new();
    for command in registry.iter().flat_map(|firmware| firmware.get_discovery_commands()) {
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    let mut marked: Vec<Firmware> = Vec::new();
    for command in commands {
        marked.extend(marks(asker, target, &registry, command).await);
    }
    // What replaces a maker's firmware often leaves the maker's marks beside its own.
    let found = marked.iter().find(|firmware| !firmware.is_stock()).or_else(|| marked.first())?;
    Some(verdict(&found.to_string()))
}

/// The firmware that an answer has the marks of.
async fn marks(
    asker: &Asker,
    target: Target,
    registry: &[Firmware],
    command: DiscoveryCommand,
) -> Option<Firmware> {
    match command {
        DiscoveryCommand::RPC { command, port } => {
            let place = at(target, port);
            let bytes = asker.ask(&place, &Request::Cgminer { command }, 0).await.ok()?;
            let text = spelled(&bytes);
            registry.iter().find(|firmware| firmware.identify_rpc(&text)).cloned()
        }
        DiscoveryCommand::Web { command, port } => {
            let page = asker.page(&at(target, port), command).await.ok()?;
            let response = WebResponse {
                body: &String::from_utf8_lossy(&page.body),
                auth_header: &page.challenge,
                algo_header: &page.algorithm,
                redirect_header: &page.location,
                status: page.status,
            };
            registry.iter().find(|firmware| firmware.identify_web(&response)).cloned()
        }
    }
}

/// A port as that crate knows it, where the target has it.
fn at(target: Target, port: u16) -> Place {
    let door = Door::ALL.into_iter().find(|door| door.port() == port);
    let mut place = place(target, door.unwrap_or(Door::Web));
    if door.is_none() {
        (place.port, place.web_port) = (port, port);
    }
    place
}

/// An answer as that crate wants it: compact and in capitals.
fn spelled(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    let value = serde_json::from_str(text).map(|value: serde_json::Value| value.to_string());
    value.unwrap_or_else(|_| text.to_owned()).to_uppercase()
}

fn verdict(firmware: &str) -> Verdict {
    let known = DRIVERS.iter().find(|(name, _)| *name == firmware);
    let maker = firmware.to_owned();
    Verdict {
        meters: known.map(|(_, driver)| (*driver, 0)).into_iter().collect(),
        identity: Identity { maker, ..Identity::default() },
        note: Some(if known.is_some() { LOOKS_LIKE } else { NO_DRIVER }),
    }
}

#[cfg(test)]
mod tests {
    use energy::device::interface::Interface;

    use super::*;

    #[test]
    fn every_driver_is_one_of_ours_and_every_name_is_one_of_theirs() {
        let registry = default_firmware_registry();
        for (name, driver) in DRIVERS {
            assert!(Interface::names().any(|known| known == driver), "{driver}");
            assert!(registry.iter().any(|firmware| firmware.to_string() == name), "{name}");
        }
        assert_eq!(verdict("VNish").meters, [("vnish", 0)]);
        assert_eq!(verdict("Goldshell Stock").meters, []);
        assert_eq!(verdict("Goldshell Stock").note, Some(NO_DRIVER));
    }

    #[test]
    fn an_answer_is_spelled_as_that_crate_reads_it() {
        assert_eq!(spelled(b"{ \"a\" : [\"b\"] }\0"), "{\"A\":[\"B\"]}");
        assert_eq!(spelled(b"no json\n"), "NO JSON");
    }
}
