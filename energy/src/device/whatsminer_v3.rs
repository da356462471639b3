//! Whatsminer's third protocol: the supply's input power.
//!
//! Sources: the recorded answers in `fixtures/asic/whatsminer-v3`; the names in the maker's API pages
//! (apidoc.whatsminer.com). That `power-realtime` is the supply's input follows from other recorded
//! answers, which have it beside the supply's own `pin` of `get.device.info`: 7478 W and 7477 W.
//!
//! Of two powers the instant one counts first. A mean over five minutes still shows a stopped rig's
//! power for five minutes and a started one's too low, and whoever integrates wants to see the edge;
//! read every half minute or so, the instants lose nothing that the mean would keep. The mean comes
//! second, for where the instant one is not there.
//!
//! Deliberately not read: `power-limit`, which is a setting, and `power-rate`, joules per terahash by
//! the device's own hash rate over a window that nobody names, which cannot be checked.

use std::time::Duration;

use super::value::{hash_rate, text};
use super::web::{self, MOST_OF_A_RIG, Source, at};
use super::{Answers, Identity, Request, Telemetry, Unreadable};

const STATUS: &str = "get.miner.status";
const INFO: &str = "get.device.info";
const TERAHASH: f64 = 1e12;

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    vec![
        Request::Whatsminer { command: STATUS, parameter: Some("summary") },
        Request::Whatsminer { command: INFO, parameter: None },
    ]
}

/// What the answers say.
///
/// # Errors
/// Where nothing came, and where the status is none or the device refused it.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let [status, info] = web::objects([STATUS, INFO], answers)?;
    accepted(&status)?;
    web::known_by(STATUS, at(&status, "/msg"), &["summary"])?;
    let summary = at(&status, "/msg/summary");
    let mut telemetry = Telemetry {
        identity: identity(at(&info, "/msg")),
        claimed_hashes_per_second: hash_rate(at(summary, "/hash-realtime"), TERAHASH),
        uptime: web::seconds(at(summary, "/elapsed")),
        ..Telemetry::default()
    };
    for (name, meter, window, over) in [
        ("power-realtime", "psu", None, "now"),
        ("power-5min", "psu:5min", Some(Duration::from_secs(300)), "as a mean over five minutes"),
    ] {
        let field = format!("{STATUS}: msg.summary.{name}");
        let value = at(summary, &format!("/{name}"));
        if let Some(power) = telemetry.power(&field, value, MOST_OF_A_RIG) {
            let meaning = format!("what the power supply reports to take in, {over}");
            let figure = Source::SUPPLY.power(meter, power, window, &field, meaning);
            telemetry.figures.push(figure);
        }
    }
    let rate = at(summary, "/power-rate");
    if !rate.is_null() {
        let reason = "joules per terahash by the device's own hash rate, which cannot be checked";
        telemetry.refuse(&format!("{STATUS}: msg.summary.power-rate"), rate, reason);
    }
    Ok(telemetry)
}

/// A code other than 0 is a refusal, with the reason as the message.
fn accepted(status: &serde_json::Value) -> Result<(), Unreadable> {
    let code = at(status, "/code");
    let message = at(status, "/msg");
    if status.is_null() || (message.is_object() && (code.is_null() || code == 0)) {
        return Ok(());
    }
    let message = if message.is_string() { web::shown(message) } else { web::shown(status) };
    Err(Unreadable::Refused { command: STATUS.to_owned(), message })
}

fn identity(info: &serde_json::Value) -> Identity {
    Identity {
        maker: "Whatsminer".to_owned(),
        model: text(at(info, "/miner/type")),
        firmware: text(at(info, "/system/fwversion")),
        serial: text(at(info, "/miner/miner-sn")).or_else(|| text(at(info, "/network/mac"))),
    }
}

#[cfg(test)]
mod tests {
    use units::MilliWatts;

    use super::*;
    use crate::device::Quantity;
    use crate::meter::{Kind, Scope, Tier};

    const SUMMARY: &[u8] =
        include_bytes!("../../fixtures/asic/whatsminer-v3/get_miner_status_summary.json");
    const DEVICE: &[u8] = include_bytes!("../../fixtures/asic/whatsminer-v3/get_device_info.json");

    #[test]
    fn the_instant_power_counts_and_the_mean_is_second() {
        let telemetry = read(&[Some(SUMMARY), Some(DEVICE)]).unwrap();
        let [now, mean] = &telemetry.figures[..] else { panic!("{telemetry:?}") };
        assert_eq!(now.quantity, Quantity::Power(MilliWatts::new(3_156_000)));
        assert_eq!(
            (now.kind, now.scope, now.tier),
            (Kind::AsicPsu, Scope::Rig, Tier::DEVICE_REPORTED)
        );
        assert_eq!((now.uncertainty_ppm, now.window), (50_000, None));
        assert_eq!(now.field, "get.miner.status: msg.summary.power-realtime");
        assert_eq!(now.meaning, "what the power supply reports to take in, now");
        assert_eq!(mean.quantity, Quantity::Power(MilliWatts::new(3_100_000)));
        assert_eq!(mean.window, Some(Duration::from_secs(300)));
        assert_ne!(now.meter, mean.meter);
        assert_eq!(telemetry.identity.model.as_deref(), Some("M60S_VK40"));
        assert_eq!(telemetry.identity.firmware.as_deref(), Some("20251209.16.Rel2"));
        assert_eq!(telemetry.identity.serial.as_deref(), Some("BTM3CS40HD24083100000000000000000"));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(50_000)));
    }

    #[test]
    fn the_hash_rate_of_the_third_protocol_is_in_terahashes() {
        let telemetry = read(&[Some(SUMMARY)]).unwrap();
        assert_eq!(telemetry.claimed_hashes_per_second, Some(171_259_000_000_000));
    }

    #[test]
    fn neither_the_limit_nor_the_rate_is_a_power() {
        let telemetry = read(&[Some(SUMMARY)]).unwrap();
        assert_eq!(telemetry.figures.len(), 2);
        let [rate] = &telemetry.refused[..] else { panic!("{telemetry:?}") };
        assert_eq!(
            (rate.field.as_str(), rate.text.as_str()),
            ("get.miner.status: msg.summary.power-rate", "17.6")
        );
        let limit = br#"{"code":0,"msg":{"summary":{"power-limit":3600,"power-realtime":-1}}}"#;
        let telemetry = read(&[Some(limit)]).unwrap();
        assert!(telemetry.figures.is_empty());
        assert!(telemetry.refused[0].reason.contains("unknown"));
    }

    #[test]
    fn the_mean_counts_where_the_instant_power_is_missing() {
        let answer = br#"{"code":0,"msg":{"summary":{"power-realtime":0,"power-5min":"3100 W"}}}"#;
        let telemetry = read(&[Some(answer)]).unwrap();
        assert_eq!(telemetry.figures.len(), 1);
        assert_eq!(telemetry.figures[0].meter, "psu:5min");
    }

    #[test]
    fn a_code_other_than_zero_is_a_refusal() {
        for (answer, says) in [
            (&br#"{"code":-1,"when":1,"msg":"invalid command","desc":"x"}"#[..], "invalid command"),
            (br#"{"code":-4,"msg":{"summary":{"power-realtime":3000}}}"#, "code"),
            (br#"{"when":1}"#, "when"),
        ] {
            let error = read(&[Some(answer), Some(DEVICE)]).unwrap_err();
            assert!(
                matches!(&error, Unreadable::Refused { message, .. } if message.contains(says))
            );
        }
        assert!(read(&[None, Some(DEVICE)]).unwrap().figures.is_empty());
    }
}
