//! `agent --discover`: finds the devices of a network and prints their entries for the agent's file.
//!
//! Read [`search`], then `look`: one address is asked door by door, and what its answers mean is
//! [`energy::device::identify`]'s. [`network`] says which addresses may be asked at all, [`entries`]
//! writes down what was found. With the feature `asic-rs`, what our own questions leave unknown is
//! looked at once more by the marks that the crate of that name knows firmware by.
//!
//! What it deliberately does not do: log in (no default password is tried), write to a device, or show
//! a figure. Addresses are asked [`AT_A_TIME`], each over one connection at a time, and each question
//! has its patience.

#[cfg(feature = "asic-rs")]
mod asic_rs;
pub mod entries;
pub mod network;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use energy::device::Identity;
use energy::device::identify::{Door, Heard, NUMBER, Verdict, identify};
use energy::device::interface::{Interface, Options};
use energy::device::meter::Wiring;
use energy::meter::MeterId;
use tokio::task::JoinSet;

use super::ask::{AskError, Asker, Place};
use super::poller::{AT_A_TIME, poll};
use super::settings::Device;
use crate::cli::AgentArgs;
use crate::commands::print;
use crate::error::Failure;

/// After so many addresses, a line says how far it is.
const PROGRESS_EVERY: usize = 64;

/// Where a device is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The address.
    pub host: Ipv4Addr,
    /// Its ports.
    pub ports: Ports,
}

/// The port of each door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// Pages.
    pub web: u16,
    /// The cgminer API.
    pub cgminer: u16,
    /// Whatsminer's third protocol.
    pub framed: u16,
    /// Modbus.
    pub modbus: u16,
    /// SNMP.
    pub snmp: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            web: Door::Web.port(),
            cgminer: Door::Cgminer.port(),
            framed: Door::Framed.port(),
            modbus: Door::Modbus.port(),
            snmp: Door::Snmp.port(),
        }
    }
}

impl Ports {
    /// The port of that door.
    #[must_use]
    pub const fn of(&self, door: Door) -> u16 {
        match door {
            Door::Web => self.web,
            Door::Cgminer => self.cgminer,
            Door::Framed => self.framed,
            Door::Modbus => self.modbus,
            Door::Snmp => self.snmp,
        }
    }
}

/// A device that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub target: Target,
    /// What it is.
    pub verdict: Verdict,
    /// Whether it said so to our own questions. Otherwise it only looks like it, and its entry is
    /// written as a comment.
    pub sure: bool,
}

/// How far a search is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Addresses that were asked.
    pub asked: usize,
    /// Addresses in all.
    pub of: usize,
    /// What the newest of them turned out to be.
    pub found: Option<&'a Found>,
}

/// Does what `wattproof-miner agent --discover` asks for.
///
/// # Errors
/// Where there are too many addresses, and where no device answered.
pub async fn command(args: &AgentArgs) -> Result<(), Failure> {
    let addresses = network::addresses(&args.discover).map_err(Failure::usage)?;
    let ports = Ports::default();
    let targets: Vec<_> = addresses.into_iter().map(|host| Target { host, ports }).collect();
    let asked = targets.len();
    let patience = Duration::from_secs_f64(args.patience);
    let found = search(targets, patience, |progress| {
        if !args.quiet {
            report(&progress);
        }
    })
    .await;
    if args.json {
        print(&entries::json(&found, asked))?;
    } else {
        print(&entries::text(&found))?;
    }
    match found.is_empty() {
        true => Err(Failure::failed(format!("discover: no device among {asked} addresses"))),
        false => Ok(()),
    }
}

/// A line on stderr, which may be closed.
fn report(progress: &Progress<'_>) {
    let Progress { asked, of, found } = progress;
    if let Some(Found { target, verdict, .. }) = found {
        let driver = verdict.meters.first().map_or("no driver", |meter| meter.0);
        let (host, maker) = (target.host, &verdict.identity.maker);
        let _unread = writeln!(std::io::stderr(), "discover: {host}: {maker} ({driver})");
    }
    if asked % PROGRESS_EVERY == 0 || asked == of {
        let _unread = writeln!(std::io::stderr(), "discover: {asked} of {of} addresses asked");
    }
}

/// Looks at every target, a bounded number at a time; what was found comes in the order of addresses.
pub async fn search(
    targets: Vec<Target>,
    patience: Duration,
    mut progress: impl FnMut(Progress<'_>),
) -> Vec<Found> {
    let asker = Asker::new(patience);
    let (of, mut asked) = (targets.len(), 0);
    let mut waiting = targets.into_iter();
    let mut looking = JoinSet::new();
    let mut all = Vec::new();
    loop {
        while looking.len() < AT_A_TIME
            && let Some(target) = waiting.next()
        {
            let asker = asker.clone();
            looking.spawn(async move { Box::pin(look(&asker, target)).await });
        }
        let Some(looked) = looking.join_next().await else { break };
        asked += 1;
        // One that died found nothing; its address is simply not in the list.
        let found = looked.ok().flatten();
        progress(Progress { asked, of, found: found.as_ref() });
        all.extend(found);
    }
    all.sort_by_key(|found| found.target);
    all
}

/// Asks one address what it is.
async fn look(asker: &Asker, target: Target) -> Option<Found> {
    let heard = listen(asker, target).await;
    let verdict = identify(&heard);
    #[cfg(feature = "asic-rs")]
    if !heard.is_silent()
        && verdict.as_ref().is_none_or(Verdict::is_stranger)
        && let Some(verdict) = asic_rs::guess(asker, target).await
    {
        return Some(Found { target, verdict, sure: false });
    }
    let mut verdict = verdict?;
    complete(asker, target, &mut verdict).await;
    Some(Found { target, verdict, sure: true })
}

/// Knocks at every door, and asks where one opens.
async fn listen(asker: &Asker, target: Target) -> Heard {
    let mut heard = Heard::default();
    // A refusal is a sign of life too; where there is none, no datagram is waited for.
    let mut stirs = false;
    for door in Door::ALL {
        let place = place(target, door);
        let open = match door {
            Door::Snmp => stirs,
            Door::Web | Door::Cgminer | Door::Framed | Door::Modbus => {
                let knocked = asker.knock(&place).await;
                stirs |= !matches!(knocked, Err(AskError::Late(_)));
                if knocked.is_ok() {
                    heard.opens(door);
                }
                knocked.is_ok()
            }
        };
        for probe in door.probes().iter().filter(|_| open) {
            if heard.wants(*probe)
                && let Ok(bytes) = asker.ask(&place, &probe.request(), NUMBER).await
            {
                heard.says(*probe, bytes);
            }
        }
    }
    heard
}

/// Adds what the device's own driver gets out of it without a password; figures are left where they are.
async fn complete(asker: &Asker, target: Target, verdict: &mut Verdict) {
    let Some((name, channel)) = verdict.meters.first().copied() else { return };
    let options = Options { channel, ..Options::default() };
    let (Some(interface), Some(id)) = (Interface::named(name, options), MeterId::new(name)) else {
        return;
    };
    let mut place = place(target, door(name));
    place.web_port = if interface.is_web() { place.port } else { target.ports.web };
    let wiring = Wiring {
        id,
        place: interface.as_str().to_owned(),
        interval: Duration::from_secs(1),
        most: interface.most(),
        scope: None,
        calibration: None,
    };
    let device = Device { interface, place, wiring, worker: None, counts: false, says_so: false };
    let Ok(said) = poll(asker, &device, NUMBER).await else { return };
    let Identity { maker, model, firmware, serial } = said.identity;
    let known = &mut verdict.identity;
    if !maker.is_empty() {
        known.maker = maker;
    }
    known.model = model.or_else(|| known.model.take());
    known.firmware = firmware.or_else(|| known.firmware.take());
    known.serial = serial.or_else(|| known.serial.take());
}

/// Behind which door an interface is.
fn door(name: &str) -> Door {
    let interface = Interface::named(name, Options::default());
    // The one that wants more than its name is Modbus.
    let port = interface.map_or(Door::Modbus.port(), |interface| interface.port());
    Door::ALL.into_iter().find(|door| door.port() == port).unwrap_or(Door::Web)
}

/// A door of a target, where nobody logs in.
fn place(target: Target, door: Door) -> Place {
    let port = target.ports.of(door);
    Place::plain(target.host.to_string(), port, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_has_its_door() {
        for name in Interface::names() {
            let options = Options::default();
            let port = Interface::named(name, options).map_or(502, |interface| interface.port());
            // ePIC's pages are behind the door of the cgminer API.
            assert_eq!(door(name).port(), port, "{name}");
            assert_eq!(Ports::default().of(door(name)), port, "{name}");
        }
    }
}
