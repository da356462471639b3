//! Reports signed, sent, tampered with and refused.

use proptest::prelude::*;
use serde_json::json;
use units::MilliWatts;

use super::*;
use crate::model::ModelMeter;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn psys() -> MeterSpec {
    MeterSpec {
        id: MeterId::new("rapl:psys").unwrap(),
        kind: Kind::Rapl,
        scope: Scope::Rig,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: 80_000,
        source: "powercap zones psys".to_owned(),
    }
}

fn report() -> EnergyReport {
    EnergyReport {
        worker: "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.rig1".to_owned(),
        at: UnixMillis::new(1_795_309_039_123),
        meters: vec![MeterReading::of(&psys(), 1, MicroJoules::new(123_456_789), 998_000)],
        hashes: Some(ClaimedHashes { total: Hashes::new(987_654_321), epoch: 1 }),
    }
}

/// The signed report's text after `change`.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut value = report().sign(&key()).unwrap();
    change(&mut value);
    value.to_string()
}

#[test]
fn the_object_is_the_contract_s() {
    let value = report().sign(&key()).unwrap();
    let mut expected = json!({
        "worker": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.rig1", "at": 1_795_309_039_123_u64,
        "meters": [{"id": "rapl:psys", "kind": "rapl", "scope": "rig", "tier": 3, "epoch": 1,
                    "microjoules_total": "123456789", "coverage": 0.998, "uncertainty": 0.08}],
        "hashes_total": "987654321", "hashes_epoch": 1,
        "key": hex::encode(key().verifying_key().to_bytes()),
    });
    expected["signature"] = value["signature"].clone();
    assert_eq!(value, expected);
    let signed = verify(&value.to_string()).unwrap();
    assert_eq!((signed.report(), signed.key()), (&report(), key().verifying_key().as_bytes()));
    assert_eq!(
        signed.canonical(),
        "{\"at\":1795309039123,\"hashes_epoch\":1,\"hashes_total\":\"987654321\",\"key\":\"\
         ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c\",\"meters\":[{\
         \"coverage\":0.998,\"epoch\":1,\"id\":\"rapl:psys\",\"kind\":\"rapl\",\
         \"microjoules_total\":\"123456789\",\"scope\":\"rig\",\"tier\":3,\"uncertainty\":0.08}],\
         \"worker\":\"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.rig1\"}"
    );
}

#[test]
fn order_and_spacing_do_not_matter_and_unknown_members_are_signed() {
    let mut object = json::write(&report());
    object.insert("note".to_owned(), json!({"b": 1.0, "a": [true, null, "é"]}));
    object.insert("key".to_owned(), json!(hex::encode(key().verifying_key().to_bytes())));
    let signature = key().sign(canonical(&object).unwrap().as_bytes());
    object.insert("signature".to_owned(), json!(hex::encode_upper(signature.to_bytes())));
    let text = serde_json::to_string_pretty(&object).unwrap();
    assert_eq!(verify(&text).unwrap().report(), &report());
    let tampered = text.replace("true", "false");
    assert_eq!(verify(&tampered), Err(ReportError::BadSignature));
}

#[test]
fn any_change_breaks_the_signature() {
    let tamperings: [fn(&mut Value); 7] = [
        |v| v["worker"] = json!("other.rig1"),
        |v| v["at"] = json!(1),
        |v| v["meters"][0]["microjoules_total"] = json!("1"),
        |v| v["meters"][0]["coverage"] = json!(1),
        |v| v["hashes_total"] = json!("987654322"),
        |v| v["extra"] = json!(null),
        |v| v["key"] = json!(hex::encode(SigningKey::from_bytes(&[8; 32]).verifying_key())),
    ];
    for tampering in tamperings {
        assert_eq!(verify(&changed(tampering)), Err(ReportError::BadSignature));
    }
    // A key of small order verifies anything under lax rules.
    let weak = changed(|v| {
        v["key"] = json!(format!("01{}", "00".repeat(31)));
        v["signature"] = json!(format!("01{}", "00".repeat(63)));
    });
    assert_eq!(verify(&weak), Err(ReportError::BadSignature));
}

#[test]
fn what_is_out_of_bounds_is_named() {
    type Change = fn(&mut Value);
    let wrongs: [(&str, Change); 20] = [
        ("worker", |v| v["worker"] = json!("")),
        ("worker", |v| v["worker"] = json!("a b")),
        ("worker", |v| v["worker"] = json!("x".repeat(201))),
        ("at", |v| v["at"] = json!(-1)),
        ("at", |v| v["at"] = json!(1_u64 << 53)),
        ("meters", |v| v["meters"] = json!({})),
        ("meters", |v| v["meters"] = json!(vec![0; 65])),
        ("meters[0]", |v| v["meters"] = json!([5])),
        ("meters[0].id", |v| v["meters"][0]["id"] = json!("a b")),
        ("meters[0].kind", |v| v["meters"][0]["kind"] = json!("guess")),
        ("meters[0].scope", |v| v["meters"][0]["scope"] = json!(3)),
        ("meters[0].tier", |v| v["meters"][0]["tier"] = json!(6)),
        ("meters[0].epoch", |v| v["meters"][0]["epoch"] = json!(1.5)),
        ("meters[0].microjoules_total", |v| v["meters"][0]["microjoules_total"] = json!(5)),
        ("meters[0].microjoules_total", |v| v["meters"][0]["microjoules_total"] = json!("+5")),
        ("meters[0].microjoules_total", |v| {
            v["meters"][0]["microjoules_total"] = json!(MAX_TOTAL.to_string());
        }),
        ("meters[0].coverage", |v| v["meters"][0]["coverage"] = json!(1.01)),
        ("meters[0].uncertainty", |v| v["meters"][0]["uncertainty"] = json!("0.1")),
        ("hashes_total", |v| v["hashes_total"] = json!(null)),
        ("signature", |v| v["signature"] = json!("00")),
    ];
    for (expected, wrong) in wrongs {
        match verify(&changed(wrong)) {
            Err(ReportError::Member { member, .. }) => assert_eq!(member, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let twice = changed(|v| v["meters"] = json!([v["meters"][0], v["meters"][0]]));
    assert!(matches!(verify(&twice), Err(ReportError::RepeatedMeter(_))));
    assert!(matches!(verify("[]"), Err(ReportError::NotAnObject(_))));
    assert!(matches!(verify("{"), Err(ReportError::NotAnObject(_))));
    assert!(matches!(verify(&" ".repeat(MAX_BYTES + 1)), Err(ReportError::TooLong(_))));
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let mut wrong = report();
    wrong.worker = "two words".to_owned();
    assert!(matches!(wrong.sign(&key()), Err(ReportError::Member { .. })));
    let mut wrong = report();
    wrong.meters.push(wrong.meters[0].clone());
    assert!(matches!(wrong.sign(&key()), Err(ReportError::RepeatedMeter(_))));
}

/// A report of one meter, as another program may sign it.
fn foreign(kind: Kind, tier: u8, uncertainty_ppm: u32) -> String {
    let mut sent = report();
    let tier = Tier::new(tier).unwrap();
    sent.meters = vec![MeterReading { kind, tier, uncertainty_ppm, ..sent.meters.remove(0) }];
    let mut object = json::write(&sent);
    object.insert("key".to_owned(), json!(hex::encode(key().verifying_key().to_bytes())));
    let signature = key().sign(canonical(&object).unwrap().as_bytes());
    object.insert("signature".to_owned(), json!(hex::encode(signature.to_bytes())));
    Value::Object(object).to_string()
}

/// What [`verify`] says to it.
fn verdict(kind: Kind, tier: u8, uncertainty_ppm: u32) -> Result<(), String> {
    let verified = verify(&foreign(kind, tier, uncertainty_ppm));
    verified.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn no_meter_is_better_than_its_kind() {
    let bests = [
        (Kind::Rapl, 3, 50_000),
        (Kind::Nvml, 3, 50_000),
        (Kind::Hwmon, 3, 50_000),
        (Kind::AsicPsu, 2, 20_000),
        (Kind::AsicModel, 3, 50_000),
        (Kind::Plug, 2, 20_000),
        (Kind::Pdu, 2, 20_000),
        (Kind::Modbus, 1, 10_000),
        (Kind::Redfish, 2, 20_000),
        (Kind::Model, 5, 300_000),
    ];
    assert_eq!(bests.map(|(kind, ..)| kind), Kind::ALL);
    for (kind, tier, ppm) in bests {
        assert_eq!(verdict(kind, tier, ppm), Ok(()), "{kind:?}");
        assert_eq!(verdict(kind, 5, PPM), Ok(()), "{kind:?}");
        assert!(verdict(kind, tier, ppm - 1).unwrap_err().contains("surer than"), "{kind:?}");
        if tier > 1 {
            assert!(verdict(kind, tier - 1, ppm).unwrap_err().contains("better than"), "{kind:?}");
        }
    }
    assert_eq!(
        verdict(Kind::Model, 1, 0).unwrap_err(),
        "energy report: meter rapl:psys claims tier 1, but a meter of kind model is never better \
         than tier 5"
    );
    assert_eq!(
        verdict(Kind::Model, 5, 0).unwrap_err(),
        "energy report: meter rapl:psys claims an uncertainty of 0, but a meter of kind model is \
         never surer than 0.3"
    );
}

#[test]
fn our_own_meters_claim_what_their_kinds_can_have() {
    let power = MilliWatts::from_watts(65);
    let processors = ["AMD EPYC 7763 64-Core Processor", "Some Processor of Tomorrow"];
    let specs = crate::rapl::every_spec()
        .into_iter()
        .chain([ModelMeter::configured(power, 0).spec().clone()])
        .chain(processors.map(|name| ModelMeter::host(name, 2).spec().clone()))
        .chain(crate::hwmon::every_spec())
        .chain([crate::hwmon_chip::a_spec()])
        .chain([crate::nvml::any_spec()]);
    let mut seen = 0;
    for spec in specs {
        let meters = vec![MeterReading::of(&spec, 1, MicroJoules::ZERO, PPM)];
        let sent = EnergyReport { meters, ..report() };
        let signed = sent.sign(&key()).unwrap_or_else(|error| panic!("{}: {error}", spec.id));
        assert_eq!(verify(&signed.to_string()).unwrap().report(), &sent);
        seen += 1;
    }
    assert_eq!(seen, 11);
}

fn meter() -> impl Strategy<Value = MeterReading> {
    (
        "[A-Za-z0-9._:/+-]{1,64}",
        0..Kind::ALL.len(),
        0..Scope::ALL.len(),
        1..=5_u8,
        0..=MAX_INTEGER,
        0..MAX_TOTAL,
        0..=1_000_000_u32,
        0..=1_000_000_u32,
    )
        .prop_map(|(id, kind, scope, tier, epoch, total, coverage_ppm, uncertainty_ppm)| {
            let kind = Kind::ALL[kind];
            MeterReading {
                id: MeterId::new(&id).unwrap(),
                kind,
                scope: Scope::ALL[scope],
                tier: Tier::new(tier).unwrap().max(kind.best_tier()),
                epoch,
                total: MicroJoules::new(total),
                coverage_ppm,
                uncertainty_ppm: uncertainty_ppm.max(kind.least_uncertainty_ppm()),
            }
        })
}

proptest! {
    #[test]
    fn what_is_signed_is_what_is_read(
        worker in "[!-~]{1,200}",
        at in 0..=MAX_INTEGER,
        meters in prop::collection::vec(meter(), 0..4),
        hashes in prop::option::of((0..MAX_TOTAL, 0..=MAX_INTEGER)),
        seed in any::<[u8; 32]>(),
    ) {
        let hashes =
            hashes.map(|(total, epoch)| ClaimedHashes { total: Hashes::new(total), epoch });
        let report = EnergyReport { worker, at: UnixMillis::new(at), meters, hashes };
        let key = SigningKey::from_bytes(&seed);
        match report.sign(&key) {
            Ok(value) => {
                let signed = verify(&value.to_string()).unwrap();
                prop_assert_eq!(signed.report(), &report);
                prop_assert_eq!(signed.key(), &key.verifying_key().to_bytes());
            }
            Err(error) => prop_assert!(matches!(error, ReportError::RepeatedMeter(_))),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        prop_assert!(verify(&text).is_err());
    }
}
