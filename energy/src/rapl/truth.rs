//! A machine whose every microjoule is known, seen through its tree: counters wrap and start over,
//! rights are lost, zones disappear. What the meter counts and what it says it lost must together be
//! the truth, zone by zone.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tree::testing::Made;

/// Where the zones' counters wrap: 262 kJ, 131 s at the most that a zone can draw.
const RANGE: u128 = 262_143_328_850;
const FOLDERS: [(&str, &str); 3] =
    [("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:0:2", "dram")];

/// How a zone can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Open,
    Refused,
    Gone,
    Garbled,
}

/// What happens between two polls.
#[derive(Clone, Debug)]
struct Span {
    seconds: u64,
    milliwatts: [u64; 3],
    access: [Access; 3],
    /// The machine is put to sleep or its driver reloaded: counters begin at nothing.
    resets: bool,
}

/// One zone as it truly is, and what the meter may know of it.
#[derive(Clone, Debug, Default)]
struct Zone {
    raw: u128,
    /// Used since the last reading that counted, and for how long.
    pending: u128,
    since: Duration,
    was_reset: bool,
    /// What is to be counted, and for how long.
    known: u128,
    covered: Duration,
    /// What cannot be known, and why.
    unknown: u128,
    lost: BTreeMap<GapReason, Duration>,
}

impl Zone {
    /// Whether a start at nothing would show for what it is: the counter neither passes where it stood
    /// before it is read again, nor could the fall be a wrap. Where it would not, nobody can know better,
    /// and the test has nothing to hold the meter to.
    fn can_reset(&self, shown: u128, length: Duration) -> bool {
        let unseen = self.since + length;
        let most = MAX_POWER.energy_over(unseen + Duration::from_secs(1)).get();
        most < shown && shown <= self.raw && shown + most < RANGE
    }

    /// Lives through a span; the reset, where there is one, is at its beginning.
    fn live(&mut self, milliwatts: u64, length: Duration, resets: bool) {
        if resets {
            self.raw = 0;
            self.was_reset = true;
        }
        let used = MilliWatts::new(milliwatts).energy_over(length).get();
        self.raw = (self.raw + used) % RANGE;
        self.pending += used;
        self.since += length;
    }

    /// The meter has read it: what was pending is known, or lost for good.
    fn seen(&mut self) {
        let ambiguous = MAX_POWER.energy_over(self.since).get() >= RANGE;
        let (used, length) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.since));
        let was_reset = std::mem::take(&mut self.was_reset);
        if ambiguous || was_reset {
            let reason = if ambiguous { GapReason::TooLong } else { GapReason::Reset };
            self.unknown += used;
            *self.lost.entry(reason).or_default() += length;
        } else {
            self.known += used;
            self.covered += length;
        }
    }
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let access = || {
        prop_oneof![
            6 => Just(Access::Open),
            1 => Just(Access::Refused),
            1 => Just(Access::Gone),
            1 => Just(Access::Garbled),
        ]
    };
    let span = (
        prop_oneof![8 => 1_u64..20, 1 => 20..140_u64],
        prop::array::uniform3(1_000_u64..2_000_000),
        [access(), access(), access()],
        prop::bool::weighted(0.3),
    );
    let span = span.prop_map(|(seconds, milliwatts, access, resets)| Span {
        seconds,
        milliwatts,
        access,
        resets,
    });
    prop::collection::vec(span, 1..60)
}

fn show(tree: &Made, zone: &Zone, index: usize, access: Access) {
    let folder = format!("{FOLDER}/{}", FOLDERS[index].0);
    match access {
        Access::Gone => tree.remove(&folder),
        Access::Open | Access::Refused | Access::Garbled => {
            tree.file(&format!("{folder}/name"), Ok(format!("{}\n", FOLDERS[index].1)));
            tree.file(&format!("{folder}/max_energy_range_uj"), Ok(format!("{RANGE}\n")));
            tree.file(
                &format!("{folder}/energy_uj"),
                match access {
                    Access::Refused => Err(io::ErrorKind::PermissionDenied),
                    Access::Garbled => Ok("n/a".to_owned()),
                    Access::Open | Access::Gone => Ok(format!("{}\n", zone.raw)),
                },
            );
        }
    }
}

proptest! {
    #[test]
    fn every_microjoule_is_counted_or_in_a_gap_of_the_time_unobserved(
        spans in spans(),
        starts in prop::array::uniform3(0..RANGE / 4),
    ) {
        let tree = Made::default();
        let mut zones: Vec<Zone> = (0_u128..)
            .zip(starts)
            // Apart, so that no two are taken for one.
            .map(|(index, start)| Zone { raw: start + index * RANGE / 4 + 5_000_000, ..Zone::default() })
            .collect();
        let mut shown: Vec<u128> = zones.iter().map(|zone| zone.raw).collect();
        zones.iter().enumerate().for_each(|(at, zone)| show(&tree, zone, at, Access::Open));
        let mut rapl = Rapl::discover(&tree, Duration::ZERO).unwrap();
        // The order in which the meter has them.
        let order: Vec<usize> = rapl
            .zones
            .iter()
            .map(|zone| FOLDERS.iter().position(|(folder, _)| *folder == zone.folder).unwrap())
            .collect();
        let (mut at, mut used) = (Duration::ZERO, 0_u128);
        for span in spans {
            let length = Duration::from_secs(span.seconds);
            at += length;
            let each = zones.iter().zip(&shown);
            let resets =
                span.resets && each.clone().all(|(zone, shown)| zone.can_reset(*shown, length));
            for (index, zone) in zones.iter_mut().enumerate() {
                used += MilliWatts::new(span.milliwatts[index]).energy_over(length).get();
                zone.live(span.milliwatts[index], length, resets);
                // It is read before it can be taken for something else.
                let access = if resets { Access::Open } else { span.access[index] };
                show(&tree, zone, index, access);
            }
            let before = rapl.total();
            rapl.poll(&tree, at);
            prop_assert!(rapl.total() >= before);
            for (index, zone) in zones.iter_mut().enumerate() {
                if resets || span.access[index] == Access::Open {
                    zone.seen();
                    shown[index] = zone.raw;
                }
            }
        }
        for (place, index) in order.into_iter().enumerate() {
            let (counter, zone) = (&rapl.zones[place].counter, &zones[index]);
            prop_assert_eq!(counter.total(), MicroJoules::new(zone.known), "{}", FOLDERS[index].1);
            prop_assert_eq!(counter.lost(), &zone.lost, "{}", FOLDERS[index].1);
            // What is neither counted nor lost has not been seen since, and may yet be.
            let accounted = zone.covered + zone.lost.values().sum::<Duration>() + zone.since;
            prop_assert_eq!(accounted, at);
        }
        let told: u128 = zones.iter().map(|zone| zone.known + zone.unknown + zone.pending).sum();
        prop_assert_eq!(told, used, "the truth itself");
        let known: u128 = zones.iter().map(|zone| zone.known).sum();
        prop_assert_eq!(rapl.total(), MicroJoules::new(known));
    }
}
