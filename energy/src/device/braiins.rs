//! Braiins OS: the consumption of the tuner's profile, which is no measurement.
//!
//! Two interfaces: REST of 25.07 and later ([`requests`], [`read`]) behind a token ([`login`],
//! [`token`]), and GraphQL of 25.05 and earlier ([`graphql_requests`], [`read_graphql`]). Sources: the
//! recorded answers in `fixtures/asic/braiins-25.07` and `-25.05`; Braiins' published description of
//! the REST interface and, for the numbers of `status`, its `bos/v1/miner.proto`.
//!
//! That the consumption is the profile's constant is seen, not guessed: in the answers recorded of
//! 25.07, 25.11 and 26.04 it equals the profile's estimate to the watt, whatever the hash rate.
//!
//! Deliberately not read: power targets and limits, which are settings, and the device's efficiency,
//! which is the same estimate divided by its own hash rate. No GraphQL login: the caller's cookie.

use serde_json::{Value, json};

use super::value::{hash_rate, number, text, whole};
use super::web::{self, MOST_OF_A_RIG, Source, at};
use super::{Answers, Body, Identity, Request, Telemetry, Unreadable};

const STATS: &str = "miner/stats";
const CONSUMPTION: &str = "/power_stats/approximated_consumption/watt";
const FIELD: &str = "miner/stats: power_stats.approximated_consumption.watt";
const GRAPHQL: &str = "graphql";
const GRAPHQL_FIELD: &str = "graphql: bosminer.info.summary.power.approxConsumptionW";
const GRAPHQL_QUERY: &str = "{bos{info{version{full}}uptime{durationS}}\
    bosminer{info{workSolver{realHashrate{mhs5S}}summary{power{approxConsumptionW}}}}}";
/// A longer token is none.
const LONGEST_TOKEN: usize = 4096;

/// The request for a token. It goes into the header `authorization` as it is, without `Bearer`, and
/// is good for about an hour.
#[must_use]
pub fn login(user: &str, password: &str) -> Request {
    let body = json!({ "username": user, "password": password }).to_string();
    Request::Post { path: "/api/v1/auth/login", body: Body(body) }
}

/// The token in the answer to [`login`].
///
/// # Errors
/// Where the device refused, and where there is no token that could be sent in a header.
pub fn token(answer: &[u8]) -> Result<String, Unreadable> {
    const COMMAND: &str = "auth/login";
    let answer = web::object(COMMAND, answer).map_err(|error| match error {
        // Half a token is one too many in a log.
        Unreadable::Malformed { .. } => web::malformed(COMMAND, "no JSON object".to_owned()),
        refused @ (Unreadable::Refused { .. } | Unreadable::Silent) => refused,
    })?;
    let token = at(&answer, "/token").as_str().unwrap_or_default();
    // What stands there is a secret and is not shown.
    if !(1..=LONGEST_TOKEN).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(web::malformed(COMMAND, "no token of visible ASCII characters".to_owned()));
    }
    Ok(token.to_owned())
}

/// What to ask from 25.07 on.
#[must_use]
pub fn requests() -> Vec<Request> {
    ["/api/v1/miner/stats", "/api/v1/miner/details", "/api/v1/performance/tuner-state"]
        .map(|path| Request::Http { path: path.to_owned() })
        .to_vec()
}

/// What the answers of 25.07 and later say.
///
/// # Errors
/// Where nothing came, and where the statistics are none or the device refused them.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let [stats, details, tuner] =
        web::objects([STATS, "miner/details", "performance/tuner-state"], answers)?;
    web::known_by(STATS, &stats, &["power_stats", "miner_stats"])?;
    let rate = at(&stats, "/miner_stats/real_hashrate/last_1m/gigahash_per_second");
    let mut telemetry = Telemetry {
        identity: identity(&details),
        claimed_hashes_per_second: hash_rate(rate, 1e9),
        uptime: web::seconds(at(&details, "/bosminer_uptime_s")),
        ..Telemetry::default()
    };
    let watts = at(&stats, CONSUMPTION);
    let Some(power) = telemetry.power(FIELD, watts, MOST_OF_A_RIG) else { return Ok(telemetry) };
    let constant = profile(&tuner).is_some() && profile(&tuner) == number(watts);
    match standing(at(&details, "/status")) {
        Some(standing) if constant => telemetry.refuse(
            FIELD,
            watts,
            format!("the profile's estimate for mining, of a device that is {standing}"),
        ),
        _ => {
            let meaning = meaning(constant).to_owned();
            let figure = Source::ESTIMATE.power("estimate", power, None, FIELD, meaning);
            telemetry.figures.push(figure);
        }
    }
    Ok(telemetry)
}

/// What to ask up to 25.05.
#[must_use]
pub fn graphql_requests() -> Vec<Request> {
    let body = json!({ "query": GRAPHQL_QUERY }).to_string();
    vec![Request::Post { path: "/graphql", body: Body(body) }]
}

/// What the answer of 25.05 and earlier says.
///
/// # Errors
/// Where nothing came, and where the answer is none or the device refused it.
pub fn read_graphql(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let [answer] = web::objects([GRAPHQL], answers)?;
    web::known_by(GRAPHQL, &answer, &["data"])?;
    let (bos, info) = (at(&answer, "/data/bos"), at(&answer, "/data/bosminer/info"));
    let mut telemetry = Telemetry {
        identity: Identity {
            maker: "Braiins".to_owned(),
            firmware: text(at(bos, "/info/version/full")),
            ..Identity::default()
        },
        claimed_hashes_per_second: hash_rate(at(info, "/workSolver/realHashrate/mhs5S"), 1e6),
        uptime: web::seconds(at(bos, "/uptime/durationS")),
        ..Telemetry::default()
    };
    let watts = at(info, "/summary/power/approxConsumptionW");
    if let Some(power) = telemetry.power(GRAPHQL_FIELD, watts, MOST_OF_A_RIG) {
        let meaning = meaning(false).to_owned();
        let figure = Source::ESTIMATE.power("estimate", power, None, GRAPHQL_FIELD, meaning);
        telemetry.figures.push(figure);
    }
    Ok(telemetry)
}

const fn meaning(constant: bool) -> &'static str {
    if constant {
        "approximate consumption: the constant estimate of the tuner's profile, to the watt"
    } else {
        "approximate consumption by the tuner's model"
    }
}

/// The estimate of the tuner's profile in watts, whichever the tuner's mode is.
fn profile(tuner: &Value) -> Option<f64> {
    let modes = at(tuner, "/mode_state").as_object()?;
    let estimate = |mode| number(at(mode, "/profile/estimated_power_consumption/watt"));
    modes.values().find_map(estimate)
}

/// In what way a device is not mining, as a number or by its name; `None` where it is or might be.
fn standing(status: &Value) -> Option<&'static str> {
    let name = status.as_str().unwrap_or_default();
    let number = whole(status);
    [(1, "NOT_STARTED", "not started"), (3, "PAUSED", "paused"), (4, "SUSPENDED", "suspended")]
        .into_iter()
        .find(|(code, ending, _)| number == Some(*code) || name.ends_with(ending))
        .map(|(_, _, words)| words)
}

fn identity(details: &Value) -> Identity {
    let first = |paths: [&str; 2]| paths.into_iter().find_map(|path| text(at(details, path)));
    Identity {
        maker: "Braiins".to_owned(),
        model: first(["/miner_identity/miner_model", "/miner_identity/name"]),
        firmware: text(at(details, "/bos_version/current")),
        serial: first(["/serial_number", "/mac_address"]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use units::MilliWatts;

    use super::*;
    use crate::device::Quantity;
    use crate::meter::{Kind, Scope, Tier};

    const RECORDED: &[u8] = include_bytes!("../../fixtures/asic/braiins-25.07/miner_stats.json");
    const DETAILS: &[u8] = include_bytes!("../../fixtures/asic/braiins-25.07/miner_details.json");
    const TUNER: &[u8] =
        include_bytes!("../../fixtures/asic/braiins-25.07/performance_tuner_state.json");
    const SYSTEM: &[u8] = include_bytes!("../../fixtures/asic/braiins-25.05/gql_system.json");

    #[test]
    fn the_consumption_is_the_profiles_constant_and_not_its_target() {
        let telemetry = read(&[Some(RECORDED), Some(DETAILS), Some(TUNER)]).unwrap();
        let [figure] = &telemetry.figures[..] else { panic!("{telemetry:?}") };
        assert_eq!(figure.quantity, Quantity::Power(MilliWatts::new(3_137_000)));
        assert_eq!((figure.kind, figure.scope), (Kind::AsicModel, Scope::Rig));
        assert_eq!((figure.tier, figure.uncertainty_ppm), (Tier::FIRMWARE_MODEL, 150_000));
        assert_eq!(figure.field, "miner/stats: power_stats.approximated_consumption.watt");
        assert!(figure.meaning.contains("constant estimate of the tuner's profile"));
        let identity = &telemetry.identity;
        assert_eq!(identity.model.as_deref(), Some("Antminer S19 XP"));
        assert_eq!(identity.firmware.as_deref(), Some("2025-08-06-0-3881c51d-25.07-plus"));
        assert_eq!(identity.serial.as_deref(), Some("02:ee:da:a9:b6:4a"));
        assert_eq!(telemetry.claimed_hashes_per_second, Some(144_009_075_694_463));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(69_685)));
    }

    #[test]
    fn without_the_tuner_the_figure_is_still_a_model() {
        let telemetry = read(&[Some(RECORDED), None, Some(b"<html>")]).unwrap();
        assert_eq!(telemetry.figures[0].tier, Tier::FIRMWARE_MODEL);
        assert_eq!(telemetry.figures[0].meaning, "approximate consumption by the tuner's model");
    }

    #[test]
    fn a_paused_device_does_not_draw_its_profile() {
        for status in ["3", "1", "4", "\"MINER_STATUS_PAUSED\""] {
            let details = format!("{{\"status\":{status}}}");
            let answers = [Some(RECORDED), Some(details.as_bytes()), Some(TUNER)];
            let telemetry = read(&answers).unwrap();
            assert!(telemetry.figures.is_empty(), "{status}");
            assert!(telemetry.refused[0].reason.contains("profile"));
        }
        let restricted = [Some(RECORDED), Some(&b"{\"status\":5}"[..]), Some(TUNER)];
        assert_eq!(read(&restricted).unwrap().figures.len(), 1);
    }

    #[test]
    fn the_graphql_interface_gives_the_approximation() {
        let telemetry = read_graphql(&[Some(SYSTEM)]).unwrap();
        let [figure] = &telemetry.figures[..] else { panic!("{telemetry:?}") };
        assert_eq!(figure.quantity, Quantity::Power(MilliWatts::new(3_698_000)));
        assert_eq!((figure.kind, figure.tier), (Kind::AsicModel, Tier::FIRMWARE_MODEL));
        let firmware = telemetry.identity.firmware.as_deref();
        assert_eq!(firmware, Some("2025-06-25-0-45f356ea-25.05.1-plus"));
        assert_eq!(telemetry.claimed_hashes_per_second, Some(205_749_605_597_877));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(693_609)));
        let refusal = br#"{"data":null,"errors":[{"message":"Access denied"}]}"#;
        assert!(matches!(read_graphql(&[Some(refusal)]), Err(Unreadable::Refused { .. })));
        // A device whose miner has not started answers with nulls.
        let null = br#"{"data":{"bosminer":{"info":null}}}"#;
        assert!(read_graphql(&[Some(null)]).unwrap().figures.is_empty());
    }

    #[test]
    fn a_token_is_taken_and_never_shown() {
        let Request::Post { path, body: Body(body) } = login("root", "a\"b") else { panic!() };
        assert_eq!(path, "/api/v1/auth/login");
        assert_eq!(body, r#"{"password":"a\"b","username":"root"}"#);
        assert_eq!(token(br#"{"token":"abc.DEF","timeout_s":3600}"#).unwrap(), "abc.DEF");
        let long = "x".repeat(LONGEST_TOKEN + 1);
        for wrong in ["", "secret two", "secret\r\nHost: x", long.as_str()] {
            let answer = json!({ "token": wrong }).to_string();
            let error = token(answer.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        for cut_off in [&br#"{"token":"secret"#[..], br#"["secret"]"#] {
            let error = token(cut_off).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let refusal = token(br#"{"message":"invalid credentials"}"#);
        assert!(matches!(refusal, Err(Unreadable::Refused { .. })));
    }

    #[test]
    fn missing_and_unauthorised_answers() {
        let refusal = read(&[Some(br#"{"detail":"unauthenticated"}"#), Some(DETAILS), None]);
        assert!(matches!(refusal, Err(Unreadable::Refused { .. })));
        let null = br#"{"power_stats":{"approximated_consumption":null}}"#;
        let telemetry = read(&[Some(null), Some(DETAILS), Some(TUNER)]).unwrap();
        assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (0, 0));
        assert!(matches!(read(&[Some(b"{\"a\":1}")]), Err(Unreadable::Malformed { .. })));
    }
}
