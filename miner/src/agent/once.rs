//! `agent --once`: asks every device once and prints what each answered, with figure, unit, tier and
//! meaning, and what was refused and why.

use std::fmt::Write as _;

use energy::device::{Figure, Quantity, Refused, Telemetry};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use units::MilliWatts;

use super::ask::Asker;
use super::poller::{AT_A_TIME, PollError, poll};
use super::settings::{Config, Device};

/// What a device said, or why nothing.
type Said = (usize, Result<Telemetry, PollError>);

/// Asks all devices; the text, and whether each gave a figure.
pub async fn once(config: &Config, as_json: bool) -> (String, bool) {
    let said = ask_all(config).await;
    let all = said.iter().all(|(_, said)| said.as_ref().is_ok_and(|said| !said.figures.is_empty()));
    let each = said.iter().map(|(index, said)| (&config.devices[*index], said));
    if as_json {
        let devices: Vec<Value> = each.map(|(device, said)| as_value(device, said)).collect();
        return (format!("{}\n", json!({ "schema": 1, "devices": devices })), all);
    }
    let mut text = String::new();
    each.for_each(|(device, said)| as_text(&mut text, device, said));
    (text, all)
}

async fn ask_all(config: &Config) -> Vec<Said> {
    let room = std::sync::Arc::new(Semaphore::new(AT_A_TIME));
    let asker = Asker::new(config.patience);
    let mut asking = JoinSet::new();
    for (index, device) in config.devices.iter().cloned().enumerate() {
        let (room, asker) = (std::sync::Arc::clone(&room), asker.clone());
        asking.spawn(async move {
            let _room = room.acquire().await;
            (index, poll(&asker, &device, 1).await)
        });
    }
    let mut said: Vec<Said> = asking.join_all().await;
    said.sort_by_key(|(index, _)| *index);
    said
}

fn as_value(device: &Device, said: &Result<Telemetry, PollError>) -> Value {
    let mut value = json!({
        "name": device.wiring.id.as_str(),
        "driver": device.interface.as_str(),
        "host": device.place.host,
        "port": device.place.port,
        "worker": device.worker,
        "counts": device.counts,
        "error": said.as_ref().err().map(ToString::to_string),
    });
    if let (Some(object), Ok(said)) = (value.as_object_mut(), said) {
        let described = telemetry(said);
        object.extend(described.as_object().cloned().unwrap_or_default());
        let calibrated =
            calibrated(device, said).map(|(watts, tier)| json!({ "watts": watts, "tier": tier }));
        object.insert("calibrated".to_owned(), calibrated.into());
    }
    value
}

/// What a device's power comes to by its calibration, exactly, and how good that is.
fn calibrated(device: &Device, said: &Telemetry) -> Option<(String, u8)> {
    let calibration = device.wiring.calibration.as_ref()?;
    let other = calibration.firmware.is_some() && calibration.firmware != said.identity.firmware;
    let figure = said.figures.first().filter(|_| !other)?;
    let Quantity::Power(power) = figure.quantity else { return None };
    let (power, tier) = (calibration.apply(power), calibration.tier_of(figure.kind, figure.tier));
    Some((watts(power), tier.get()))
}

/// Exactly, with three decimals.
fn watts(power: MilliWatts) -> String {
    format!("{}.{:03}", power.get() / 1000, power.get() % 1000)
}

/// A device's answer, as the API shows it too.
#[must_use]
pub fn telemetry(said: &Telemetry) -> Value {
    let identity = &said.identity;
    json!({
        "maker": identity.maker,
        "model": identity.model,
        "firmware": identity.firmware,
        "serial": identity.serial,
        "uptime_seconds": said.uptime.map(|uptime| uptime.as_secs()),
        "claimed_hashes_per_second": said.claimed_hashes_per_second.map(|rate| rate.to_string()),
        "figures": said.figures.iter().map(figure).collect::<Vec<_>>(),
        "refused": said.refused.iter().map(refused).collect::<Vec<_>>(),
    })
}

fn figure(figure: &Figure) -> Value {
    let (quantity, unit, value, step) = amount(figure);
    json!({
        "meter": figure.meter,
        "quantity": quantity,
        "value": value,
        "unit": unit,
        "step": step,
        "kind": figure.kind.as_str(),
        "scope": figure.scope.as_str(),
        "tier": figure.tier.get(),
        "uncertainty": f64::from(figure.uncertainty_ppm) / 1e6,
        "window_seconds": figure.window.map(|window| window.as_secs_f64()),
        "field": figure.field,
        "meaning": figure.meaning,
    })
}

/// What it is, its unit, the exact value and the least by which it can rise.
fn amount(figure: &Figure) -> (&'static str, &'static str, String, Option<String>) {
    match figure.quantity {
        Quantity::Power(power) => ("power", "W", watts(power), None),
        Quantity::Energy { total, step } => ("energy", "J", total.joules(), Some(step.joules())),
    }
}

fn refused(refused: &Refused) -> Value {
    json!({ "field": refused.field, "text": refused.text, "reason": refused.reason })
}

fn as_text(text: &mut String, device: &Device, said: &Result<Telemetry, PollError>) {
    let name = device.wiring.id.as_str();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let said = match said {
        Err(error) => return line(format!("{name}: {error}")),
        Ok(said) => said,
    };
    let identity = &said.identity;
    let mut head = format!("{name}: {}", identity.maker);
    for part in [&identity.model, &identity.firmware].into_iter().flatten() {
        // Writing to a string does not fail.
        let _written = write!(head, ", {part}");
    }
    line(head);
    for figure in &said.figures {
        let (_, unit, value, _) = amount(figure);
        let (tier, part) = (figure.tier.get(), f64::from(figure.uncertainty_ppm) / 1e4);
        line(format!("  {value} {unit}, tier {tier}, +-{part} %: {}", figure.meaning));
        line(format!("    from {}", figure.field));
    }
    if let Some((watts, tier)) = calibrated(device, said) {
        line(format!("  {watts} W, tier {tier}: the first of these by its calibration"));
    }
    for refused in &said.refused {
        line(format!("  refused {} = {:?}: {}", refused.field, refused.text, refused.reason));
    }
    if said.figures.is_empty() {
        line("  no figure".to_owned());
    }
}
