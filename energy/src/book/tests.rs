//! The book against honest meters over a bad line, and against dishonest ones.

use proptest::prelude::*;
use units::Hashes;

use super::*;
use crate::{
    SigningKey,
    meter::{Kind, Tier},
    report::verify,
};

const LIVE: Duration = Duration::from_secs(300);

fn seconds(seconds: u64) -> UnixMillis {
    UnixMillis::new(1_800_000_000_000 + seconds * 1000)
}

fn meter(id: &str, scope: Scope, epoch: u64, microjoules: u128) -> MeterReading {
    MeterReading {
        id: MeterId::new(id).unwrap(),
        kind: Kind::Rapl,
        scope,
        tier: Tier::DEVICE_REPORTED,
        epoch,
        total: MicroJoules::new(microjoules),
        coverage_ppm: 1_000_000,
        uncertainty_ppm: 80_000,
    }
}

fn report(at: u64, meters: Vec<MeterReading>) -> EnergyReport {
    EnergyReport { worker: "a.b".to_owned(), at: seconds(at), meters, hashes: None }
}

/// Takes one reading of a device's meter, reported and arriving at the same second.
fn one(book: &mut Book, at: u64, epoch: u64, total: u128) -> Result<(u128, bool, Step), Refusal> {
    let meters = vec![meter("cpu", Scope::Device, epoch, total)];
    let taking = book.apply(1, &report(at, meters), seconds(at))?;
    let taken = &taking.meters[0];
    Ok((taken.credited.get(), taken.counted, taken.step))
}

#[test]
fn a_signed_report_is_taken() {
    let mut book = Book::new(LIVE);
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut sent = report(0, vec![meter("cpu", Scope::Device, 1, 5)]);
    sent.hashes = Some(ClaimedHashes { total: Hashes::new(10), epoch: 1 });
    for (energy, hashes, credited, new_hashes) in [(5, 10, 0, 0), (9, 25, 4, 15), (9, 25, 0, 0)] {
        sent.at = sent.at.saturating_add(Duration::from_secs(1));
        sent.meters[0].total = MicroJoules::new(energy);
        sent.hashes = Some(ClaimedHashes { total: Hashes::new(hashes), epoch: 1 });
        let signed = verify(&sent.sign(&key).unwrap().to_string()).unwrap();
        let taking = book.take(1, &signed, sent.at).unwrap();
        assert_eq!(taking.meters[0].credited, MicroJoules::new(credited));
        assert_eq!(taking.hashes.added(), Hashes::new(new_hashes));
    }
}

#[test]
fn differences_baselines_epochs_and_falls() {
    let mut book = Book::new(LIVE);
    assert_eq!(one(&mut book, 0, 1, 100), Ok((0, true, Step::First)));
    assert_eq!(one(&mut book, 60, 1, 150), Ok((50, true, Step::Advanced)));
    assert_eq!(one(&mut book, 60, 1, 150), Ok((0, false, Step::Late)));
    assert_eq!(one(&mut book, 30, 1, 120), Ok((0, false, Step::Late)));
    assert_eq!(one(&mut book, 90, 1, 150), Ok((0, true, Step::Advanced)));
    let fell = Refusal::Fell { meter: MeterId::new("cpu").unwrap(), epoch: 1, last: 150, now: 149 };
    assert_eq!(one(&mut book, 120, 1, 149), Err(fell));
    assert_eq!(one(&mut book, 120, 1, 151), Ok((1, true, Step::Advanced)));
    // The miner started again; what it used in between is a gap.
    assert_eq!(one(&mut book, 180, 2, 7), Ok((0, true, Step::NewEpoch)));
    assert_eq!(one(&mut book, 240, 2, 8), Ok((1, true, Step::Advanced)));
    assert_eq!(one(&mut book, 250, 1, 999), Ok((0, false, Step::Late)));
    let implausible = one(&mut book, 300, 2, 10_u128.pow(18)).unwrap_err().to_string();
    assert_eq!(
        implausible,
        "meter cpu rose by 999999999999.999992 J in 60 s, beyond the 200 MW that a meter may show"
    );
}

/// A gigajoule, in microjoules; 200 MW are one every five seconds.
const GJ: u128 = 1_000_000_000_000_000;

#[test]
fn many_reports_in_a_moment_draw_from_one_allowance() {
    let mut book = Book::new(LIVE);
    one(&mut book, 0, 1, 0).unwrap();
    // An honest site of 100 MW, whose reports come each minute, saves up two minutes of 200 MW.
    for minute in 1..=10_u32 {
        one(&mut book, u64::from(minute) * 60, 1, u128::from(minute) * 6 * GJ).unwrap();
    }
    // Then it shows all it may in one moment: those two minutes, once.
    let taken = (1..=200_u128)
        .filter(|count| {
            let arrives = seconds(600);
            let total = 60 * GJ + count * GJ;
            let sent = EnergyReport {
                at: arrives.saturating_add(Duration::from_millis(u64::try_from(*count).unwrap())),
                ..report(0, vec![meter("cpu", Scope::Device, 1, total)])
            };
            book.apply(1, &sent, arrives).is_ok()
        })
        .count();
    assert_eq!(taken, 24);
    // A new epoch refills nothing; time does, and at 200 MW.
    one(&mut book, 605, 2, 0).unwrap();
    assert!(one(&mut book, 606, 2, 2 * GJ).is_err());
    assert_eq!(one(&mut book, 610, 2, 2 * GJ), Ok((2 * GJ, true, Step::Advanced)));
    assert!(one(&mut book, 610, 2, 2 * GJ + 1).is_err());
}

#[test]
fn a_first_reading_brings_next_to_nothing_and_an_outage_loses_none() {
    let mut book = Book::new(LIVE);
    one(&mut book, 0, 1, 0).unwrap();
    // A millisecond of 200 MW, for the clock's resolution.
    assert!(one(&mut book, 0, 1, GJ / 5_000 + 1).is_err());
    // The line was broken for a day: a site of 100 MW has used 8640 GJ.
    assert!(one(&mut book, 86_400, 1, 8640 * 2 * GJ + GJ / 5_000 + 1).is_err());
    assert_eq!(one(&mut book, 86_400, 1, 8640 * GJ), Ok((8640 * GJ, true, Step::Advanced)));
    // Of what it did not use, two minutes are carried on.
    assert!(one(&mut book, 86_400, 1, 8664 * GJ + 1).is_err());
    assert!(one(&mut book, 86_400, 1, 8664 * GJ).is_ok());
}

#[test]
fn a_restart_refills_no_more_than_the_time_since() {
    let mut book = Book::new(LIVE);
    book.restore([Row {
        worker: 1,
        meter: MeterId::new("cpu").unwrap(),
        scope: Scope::Device,
        epoch: 1,
        total: MicroJoules::ZERO,
        heard_at: seconds(0),
    }]);
    assert!(one(&mut book, 5, 1, GJ + 1).is_err());
    assert_eq!(one(&mut book, 5, 1, GJ), Ok((GJ, true, Step::Advanced)));
}

#[test]
fn hashes_are_differences_too_and_a_fall_of_them_is_refused() {
    let mut book = Book::new(LIVE);
    let mut take = |at: u64, epoch: u64, total: u128| {
        let hashes = Some(ClaimedHashes { total: Hashes::new(total), epoch });
        let sent = EnergyReport { hashes, ..report(at, vec![]) };
        book.apply(1, &sent, seconds(at)).map(|taking| taking.hashes.added().get())
    };
    assert_eq!(take(0, 1, 10), Ok(0));
    assert_eq!(take(60, 1, 30), Ok(20));
    assert_eq!(take(30, 1, 20), Ok(0));
    let fell = Refusal::HashesFell { epoch: 1, last: 30, now: 29 };
    assert_eq!(take(90, 1, 29), Err(fell));
    assert_eq!(take(120, 2, 5), Ok(0));
    assert_eq!(take(180, 2, 6), Ok(1));
    assert_eq!(take(190, 1, 99), Ok(0));
}

#[test]
fn a_refused_report_changes_nothing() {
    let mut book = Book::new(LIVE);
    let both = |at, a, b| {
        report(at, vec![meter("a", Scope::Device, 1, a), meter("b", Scope::Device, 1, b)])
    };
    book.apply(1, &both(0, 10, 10), seconds(0)).unwrap();
    book.apply(1, &both(60, 20, 5), seconds(60)).unwrap_err();
    let taking = book.apply(1, &both(60, 20, 20), seconds(60)).unwrap();
    assert_eq!(taking.meters.iter().map(|t| t.credited.get()).sum::<u128>(), 20);

    let mut widened = both(120, 30, 30);
    widened.meters[1].scope = Scope::Rig;
    let said = book.apply(1, &widened, seconds(120)).unwrap_err();
    assert!(matches!(said, Refusal::ScopeChanged { .. }));
    for index in 0..64 {
        let new = report(200 + index, vec![meter(&format!("m{index}"), Scope::Device, 1, 0)]);
        let taken = book.apply(1, &new, seconds(200 + index));
        assert_eq!(taken.is_ok(), index < 62, "{index}");
        assert!(index < 62 || taken == Err(Refusal::TooManyMeters));
    }
}

#[test]
fn only_the_widest_scope_counts_and_all_its_meters() {
    let mut book = Book::new(LIVE);
    let send = |book: &mut Book, at: u64, with_rig: bool| {
        let total = u128::from(at) * 1_000_000;
        let mut meters =
            vec![meter("cpu", Scope::Device, 1, total), meter("gpu", Scope::Device, 1, total * 2)];
        if with_rig {
            meters.push(meter("plug", Scope::Rig, 1, total * 4));
        }
        let taking = book.apply(1, &report(at, meters), seconds(at)).unwrap();
        let counted = taking.meters.iter().filter(|taken| taken.counted);
        counted.map(|taken| taken.credited.get()).sum::<u128>() / 1_000_000
    };
    assert_eq!(send(&mut book, 0, false), 0);
    assert_eq!(send(&mut book, 60, false), 180);
    // The plug appears: from its baseline on it counts alone.
    assert_eq!(send(&mut book, 120, true), 0);
    assert_eq!(send(&mut book, 180, true), 240);
    // It falls silent: a gap first, then its devices count again.
    assert_eq!(send(&mut book, 240, false), 0);
    assert_eq!(send(&mut book, 480, false), 0);
    assert_eq!(send(&mut book, 540, false), 180);
    // It comes back with a total that covers what the devices counted meanwhile: not twice.
    assert_eq!(send(&mut book, 600, true), 0);
    assert_eq!(send(&mut book, 660, true), 240);
}

#[test]
fn after_a_restart_it_goes_on() {
    let mut book = Book::new(LIVE);
    book.restore([Row {
        worker: 1,
        meter: MeterId::new("cpu").unwrap(),
        scope: Scope::Device,
        epoch: 3,
        total: MicroJoules::new(100),
        heard_at: seconds(0),
    }]);
    // Whether a lower total is late or a fall cannot be known yet: it changes nothing.
    assert_eq!(one(&mut book, 50, 3, 90), Ok((0, false, Step::Late)));
    assert_eq!(one(&mut book, 60, 3, 130), Ok((30, true, Step::Advanced)));
    assert!(one(&mut book, 70, 3, 120).is_err());
}

/// An honest meter's reports, and the order in which a bad line delivers some of them: the first
/// first, then any, repeated or not, the last among them.
fn delivery() -> impl Strategy<Value = (Vec<(u64, u128)>, Vec<usize>)> {
    prop::collection::vec((1..120_u64, 0..10_000_000_000_u128), 2..40).prop_flat_map(|steps| {
        let mut reports = vec![(0, 1_000)];
        for (later, more) in steps {
            let (at, total) = reports[reports.len() - 1];
            reports.push((at + later, total + more));
        }
        let last = reports.len() - 1;
        let order = prop::collection::vec(1..=last, 0..80).prop_map(move |order| {
            let mut order = order;
            let middle = order.len() / 2;
            order.insert(middle, last);
            order.insert(0, 0);
            order
        });
        (Just(reports), order)
    })
}

proptest! {
    #[test]
    fn lost_repeated_and_reordered_reports_change_nothing((reports, order) in delivery()) {
        let credited = |order: &[usize]| {
            let mut book = Book::new(LIVE);
            let mut arrival = 0;
            let mut sum = 0;
            for index in order {
                let (at, total) = reports[*index];
                arrival = at.max(arrival);
                let mut sent = report(at, vec![meter("cpu", Scope::Device, 1, total)]);
                sent.hashes = Some(ClaimedHashes { total: Hashes::new(total), epoch: 1 });
                let taking = book.apply(1, &sent, seconds(arrival)).unwrap();
                assert_eq!(taking.hashes.added().get(), taking.meters[0].credited.get());
                assert!(taking.meters[0].counted || taking.meters[0].credited.get() == 0);
                sum += taking.meters[0].credited.get();
            }
            sum
        };
        let all: Vec<usize> = (0..reports.len()).collect();
        let truth = reports[reports.len() - 1].1 - reports[0].1;
        prop_assert_eq!(credited(&all), truth);
        prop_assert_eq!(credited(&order), truth);
    }

    /// A rig draws a constant 100 W, seen by a device's meter, a plug and a site's meter, each of
    /// which reports when it likes. Never more is counted than was drawn, and no two spans overlap.
    #[test]
    fn no_joule_counts_in_two_scopes(
        sends in prop::collection::vec((0..200_u64, 0..3_usize, any::<bool>()), 0..120),
        restart in 0..120_usize,
    ) {
        let watts = MilliWatts::from_watts(100);
        let mut book = Book::new(LIVE);
        let mut rows: BTreeMap<MeterId, Row> = BTreeMap::new();
        let mut counted_until = BTreeMap::new();
        let (mut now, mut sum) = (0, MicroJoules::ZERO);
        for (index, (later, which, with_device)) in sends.into_iter().enumerate() {
            if index == restart {
                book = Book::new(LIVE);
                book.restore(rows.values().cloned());
            }
            now += later;
            let total = watts.energy_over(Duration::from_secs(now)).get();
            let scope = Scope::ALL[which];
            let mut meters = vec![meter(scope.as_str(), scope, 1, total)];
            if with_device && scope != Scope::Device {
                meters.push(meter("device", Scope::Device, 1, total));
            }
            let taking = book.apply(1, &report(now, meters), seconds(now)).unwrap();
            for taken in taking.meters.into_iter().filter(|taken| taken.step != Step::Late) {
                let row = Row {
                    worker: 1,
                    meter: taken.meter.id.clone(),
                    scope: taken.meter.scope,
                    epoch: 1,
                    total: taken.meter.total,
                    heard_at: seconds(now),
                };
                rows.insert(taken.meter.id.clone(), row);
                let Some(since) = taken.since.filter(|_| taken.counted) else { continue };
                for (other, until) in &counted_until {
                    prop_assert!(*other == taken.meter.scope || since >= *until);
                }
                counted_until.insert(taken.meter.scope, seconds(now));
                sum = sum.saturating_add(taken.credited);
            }
        }
        prop_assert!(sum <= watts.energy_over(Duration::from_secs(now)));
    }
}
