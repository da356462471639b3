//! `calibrate`: reads a device and the plug before it together for a while, and fits the one to the
//! other.
//!
//! Read [`calibrate`]. Both are asked at the same moment, again and again; only pairs of which both
//! gave a power count. What comes out is the line for the device's entry in the agent's file, which
//! makes its tier better: from then on its figure is what the plug would have shown.

use std::io::Write as _;
use std::time::Duration;

use energy::calibration::{Fit, PAIRS, Pair, fit};
use energy::device::meter::may_be_calibrated;
use energy::device::{Figure, Quantity, Telemetry};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use units::MilliWatts;

use super::ask::Asker;
use super::poller::poll;
use super::settings::{Config, Device};
use crate::cli::CalibrateArgs;
use crate::error::Failure;

/// Turns in a row without a pair before it is given up.
const FRUITLESS_MOST: usize = 20;

/// What was found.
#[derive(Debug)]
pub struct Found {
    fit: Fit,
    /// The device's figure as it is without the calibration.
    figure: Figure,
    name: String,
}

/// Reads both and fits.
///
/// # Errors
/// When one of them is not in the file, gives no power, or no line fits.
pub async fn calibrate(config: &Config, args: &CalibrateArgs) -> Result<Found, Failure> {
    let (device, plug) = (named(config, &args.device)?, named(config, &args.plug)?);
    if device.wiring.id == plug.wiring.id {
        return Err(Failure::usage("--plug: a device is not calibrated against itself"));
    }
    let asker = Asker::new(config.patience);
    let mut tick = interval(Duration::from_secs_f64(args.every));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turns = turns(args);
    let (mut pairs, mut fruitless, mut last, mut firmware) = (Vec::new(), 0, None, None);
    for turn in 1..=turns {
        tick.tick().await;
        let number = u16::try_from(turn % 65_536).unwrap_or(0);
        let (one, other) = tokio::join!(poll(&asker, device, number), poll(&asker, plug, number));
        if let Ok(said) = &one {
            firmware = said.identity.firmware.clone().or(firmware);
        }
        let read = |name: &str, said: Result<Telemetry, _>| match said {
            Err(error) => Err(format!("{name}: {error}")),
            Ok(said) => power(&said).ok_or_else(|| format!("{name} gives no power")),
        };
        let both = read(&args.device, one).and_then(|a| Ok((a, read(&args.plug, other)?)));
        match both {
            Ok(((device, figure), (plug, reference))) => {
                pairs.push(Pair { device, plug });
                fruitless = 0;
                progress(turn, turns, device, plug);
                last = Some((figure, reference));
            }
            Err(why) => {
                fruitless += 1;
                tracing::warn!("{why}");
                if fruitless >= FRUITLESS_MOST {
                    return Err(Failure::failed(format!("calibrate: {why}")));
                }
            }
        }
    }
    let Some((figure, reference)) = last else {
        return Err(Failure::failed("calibrate: not one pair of readings"));
    };
    refuse_what_is_no_better(&figure, &reference)?;
    let mut fit = fit(&pairs, reference.uncertainty_ppm)
        .map_err(|error| Failure::failed(format!("calibrate: {error}")))?;
    fit.calibration.firmware = firmware;
    Ok(Found { fit, figure, name: args.device.clone() })
}

fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Device, Failure> {
    let mut devices = config.devices.iter();
    devices
        .find(|device| device.wiring.id.as_str() == name)
        .ok_or_else(|| Failure::usage(format!("{name}: no [[device]] of the file has that name")))
}

fn refuse_what_is_no_better(figure: &Figure, reference: &Figure) -> Result<(), Failure> {
    if !may_be_calibrated(figure.kind) {
        let kind = figure.kind.as_str();
        return Err(Failure::usage(format!(
            "--device: a {kind} is not calibrated by another meter"
        )));
    }
    if reference.tier >= figure.tier {
        return Err(Failure::usage(format!(
            "--plug: its tier {} is no better than the device's {}",
            reference.tier.get(),
            figure.tier.get()
        )));
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bounds of the flags keep it positive and small"
)]
fn turns(args: &CalibrateArgs) -> usize {
    let turns = (args.minutes * 60.0 / args.every).round() as usize;
    turns.clamp(*PAIRS.start(), *PAIRS.end())
}

fn power(said: &Telemetry) -> Option<(MilliWatts, Figure)> {
    said.figures.iter().find_map(|figure| match figure.quantity {
        Quantity::Power(power) => Some((power, figure.clone())),
        Quantity::Energy { .. } => None,
    })
}

/// A line that replaces itself, for whoever watches.
fn progress(turn: usize, turns: usize, device: MilliWatts, plug: MilliWatts) {
    let mut stderr = std::io::stderr();
    let (device, plug) = (device.watts_f64(), plug.watts_f64());
    let _unseen = write!(stderr, "\r{turn}/{turns}: device {device:.1} W, plug {plug:.1} W   ");
    if turn == turns {
        let _unseen = writeln!(stderr);
    }
}

impl Found {
    /// One JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        let line = &self.fit.calibration;
        let (before, after) = self.tiers();
        json!({
            "schema": 1,
            "device": self.name,
            "pairs": self.fit.pairs,
            "slope": f64::from(line.slope_ppm) / 1e6,
            "offset_watts": self.offset(),
            "residual": f64::from(line.residual_ppm) / 1e6,
            "reference": f64::from(line.reference_ppm) / 1e6,
            "r_squared": self.fit.r_squared,
            "slope_and_offset_told_apart": self.fit.two_loads,
            "firmware": line.firmware,
            "tier_before": before,
            "tier_after": after,
        })
    }

    /// For people, with the lines for the file.
    #[must_use]
    pub fn text(&self) -> String {
        let line = &self.fit.calibration;
        let (before, after) = self.tiers();
        let part = |ppm: u32| f64::from(ppm) / 1e6;
        let loads = if self.fit.two_loads {
            "the loads differed enough to tell a slope from an offset"
        } else {
            "one load alone: the line goes through zero; repeat it with another load to know better"
        };
        format!(
            "{name}: {pairs} pairs, {loads}\n\
             slope {slope:.6}, offset {offset:.3} W, residual {residual:.2} % of the mean, \
             R2 {r2:.4}\n\
             tier {before} becomes {after}. In the device's entry of the agent's file:\n\n\
             calibration = {{ slope = {slope:.6}, offset_watts = {offset:.3}, residual = {left:.6}, \
             reference = {reference:.6}{firmware} }}\n",
            firmware = line.firmware.as_ref().map_or_else(String::new, |firmware| {
                format!(", firmware = {}", Value::from(firmware.as_str()))
            }),
            name = self.name,
            pairs = self.fit.pairs,
            slope = part(line.slope_ppm),
            offset = self.offset(),
            residual = part(line.residual_ppm) * 100.0,
            left = part(line.residual_ppm),
            reference = part(line.reference_ppm),
            r2 = self.fit.r_squared,
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "at most some kilowatts")]
    fn offset(&self) -> f64 {
        self.fit.calibration.offset_milliwatts as f64 / 1e3
    }

    fn tiers(&self) -> (u8, u8) {
        let better = self.fit.calibration.tier_of(self.figure.kind, self.figure.tier);
        (self.figure.tier.get(), better.get())
    }
}
