//! A report's members to and from JSON, with every bound.

use defences::{Defence, stands};
use serde_json::{Map, Value, json};
use units::{Hashes, MicroJoules, UnixMillis};

use super::{
    ClaimedHashes, EnergyReport, MAX_INTEGER, MAX_METERS, MAX_TOTAL, MAX_WORKER, MeterReading,
    ReportError, part,
};
use crate::meter::{Kind, MeterId, PPM, Scope, Tier};

type Object = Map<String, Value>;

/// The members of a report, without key and signature.
pub(super) fn write(report: &EnergyReport) -> Object {
    let meters: Vec<Value> = report.meters.iter().map(write_meter).collect();
    let mut object = Object::new();
    object.insert("worker".to_owned(), json!(report.worker));
    object.insert("at".to_owned(), json!(report.at.get()));
    object.insert("meters".to_owned(), Value::Array(meters));
    if let Some(hashes) = report.hashes {
        object.insert("hashes_total".to_owned(), json!(hashes.total.get().to_string()));
        object.insert("hashes_epoch".to_owned(), json!(hashes.epoch));
    }
    object
}

fn write_meter(meter: &MeterReading) -> Value {
    json!({
        "id": meter.id.as_str(),
        "kind": meter.kind.as_str(),
        "scope": meter.scope.as_str(),
        "tier": meter.tier.get(),
        "epoch": meter.epoch,
        "microjoules_total": meter.total.get().to_string(),
        "coverage": part(meter.coverage_ppm),
        "uncertainty": part(meter.uncertainty_ppm),
    })
}

/// Reads the members of a report and holds each against its bounds.
pub(super) fn read(object: &Object) -> Result<EnergyReport, ReportError> {
    let top = Members { object, path: "" };
    let worker = top.text("worker", "a name of 1 to 200 printable characters", |text| {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=MAX_WORKER).contains(&text.len()) && printable).then(|| text.to_owned())
    })?;
    let at = UnixMillis::new(top.integer("at")?);
    let meters = read_meters(object)?;
    let claims = object.contains_key("hashes_total") || object.contains_key("hashes_epoch");
    let hashes = if claims {
        let total = Hashes::new(top.total("hashes_total")?);
        Some(ClaimedHashes { total, epoch: top.integer("hashes_epoch")? })
    } else {
        None
    };
    Ok(EnergyReport { worker, at, meters, hashes })
}

fn read_meters(object: &Object) -> Result<Vec<MeterReading>, ReportError> {
    let wrong = || member("", "meters", "a list of at most 64 meters");
    let list = object.get("meters").and_then(Value::as_array).ok_or_else(wrong)?;
    if list.len() > MAX_METERS {
        return Err(wrong());
    }
    let mut meters: Vec<MeterReading> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("meters[{index}].");
        let object = value.as_object().ok_or_else(|| member("", &path, "an object"))?;
        let meter = read_meter(&Members { object, path: &path })?;
        let repeated = meters.iter().any(|earlier| earlier.id == meter.id);
        if stands(Defence::RepeatedMeter) && repeated {
            return Err(ReportError::RepeatedMeter(meter.id));
        }
        meters.push(meter);
    }
    Ok(meters)
}

fn read_meter(members: &Members<'_>) -> Result<MeterReading, ReportError> {
    let id = members.text("id", "1 to 64 characters of A-Z a-z 0-9 . _ : / + -", MeterId::new)?;
    let kind = members.text("kind", "a kind of meter of the energy extension", Kind::parse)?;
    let scope = members.text("scope", "device, rig or site", Scope::parse)?;
    let tier = u8::try_from(members.integer("tier")?).ok().and_then(Tier::new);
    let tier = tier.ok_or_else(|| member(members.path, "tier", "a whole number from 1 to 5"))?;
    let uncertainty_ppm = members.part("uncertainty")?;
    if stands(Defence::MeterTier) && tier < kind.best_tier() {
        return Err(ReportError::TooGood { meter: id, kind, claimed: tier });
    }
    let too_sure = uncertainty_ppm < kind.least_uncertainty_ppm();
    if stands(Defence::MeterUncertainty) && too_sure {
        return Err(ReportError::TooSure { meter: id, kind, claimed_ppm: uncertainty_ppm });
    }
    Ok(MeterReading {
        id,
        kind,
        scope,
        tier,
        epoch: members.integer("epoch")?,
        total: MicroJoules::new(members.total("microjoules_total")?),
        coverage_ppm: members.part("coverage")?,
        uncertainty_ppm,
    })
}

/// A member of exactly `N` bytes in hexadecimal.
pub(super) fn bytes<const N: usize>(
    object: &Object,
    name: &str,
    expected: &'static str,
) -> Result<[u8; N], ReportError> {
    let mut bytes = [0; N];
    Members { object, path: "" }
        .text(name, expected, |text| hex::decode_to_slice(text, &mut bytes).ok())?;
    Ok(bytes)
}

/// An object and where it is, for errors.
struct Members<'a> {
    object: &'a Object,
    path: &'a str,
}

impl Members<'_> {
    fn text<T>(
        &self,
        name: &str,
        expected: &'static str,
        convert: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ReportError> {
        let text = self.object.get(name).and_then(Value::as_str);
        text.and_then(convert).ok_or_else(|| member(self.path, name, expected))
    }

    fn integer(&self, name: &str) -> Result<u64, ReportError> {
        let number = self.object.get(name).and_then(Value::as_u64);
        number
            .filter(|number| *number <= MAX_INTEGER)
            .ok_or_else(|| member(self.path, name, "a whole number from 0 to 2^53 - 1"))
    }

    /// A decimal text without sign or leading zeros, below [`MAX_TOTAL`].
    fn total(&self, name: &str) -> Result<u128, ReportError> {
        self.text(name, "a decimal text from \"0\" to below \"1e27\", written out", |text| {
            let total: u128 = text.parse().ok()?;
            (total < MAX_TOTAL && total.to_string() == text).then_some(total)
        })
    }

    /// A part of one, in parts per million.
    fn part(&self, name: &str) -> Result<u32, ReportError> {
        let part = self.object.get(name).and_then(Value::as_f64);
        let part = part.filter(|part| (0.0..=1.0).contains(part));
        part.map(to_ppm).ok_or_else(|| member(self.path, name, "a number from 0 to 1"))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 1 times a million, rounded, is a whole number that fits"
)]
fn to_ppm(part: f64) -> u32 {
    (part * f64::from(PPM)).round() as u32
}

fn member(path: &str, name: &str, expected: &'static str) -> ReportError {
    let member = format!("{path}{name}").trim_end_matches('.').to_owned();
    ReportError::Member { member, expected }
}
