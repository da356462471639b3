//! Flags against what recorded devices did, what cannot be, and what is merely old.

use proptest::prelude::*;
use units::{Hashes, MicroJoules, Work};

use super::*;
use crate::windows::Proven;

const TERAHASH: f64 = 1e12;

/// A rig as it is told: what it uses, and what its shares prove.
#[derive(Clone, Copy)]
struct Rig {
    joules_per_terahash: f64,
    terahashes_per_second: f64,
    shares_per_minute: u64,
    uncertainty: f64,
    claimed_over_proven: f64,
}

const RIG: Rig = Rig {
    joules_per_terahash: 30.0,
    terahashes_per_second: 100.0,
    shares_per_minute: 10,
    uncertainty: 0.05,
    claimed_over_proven: 1.0,
};

fn at(minute: u64) -> UnixMillis {
    UnixMillis::new(1_800_000_000_000 + minute * 60_000)
}

fn whole(value: f64) -> u128 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test's figure")]
    let whole = value.round() as u128;
    whole
}

fn minute_of(rig: Rig) -> Stretch {
    let hashes = rig.terahashes_per_second * 60.0 * TERAHASH;
    let joules = rig.joules_per_terahash * rig.terahashes_per_second * 60.0;
    let mut proven = Proven::default();
    for _ in 0..rig.shares_per_minute {
        #[expect(clippy::cast_precision_loss, reason = "a test's figure")]
        proven.add(Work::new(whole(hashes / rig.shares_per_minute as f64)));
    }
    Stretch {
        covered: Duration::from_secs(60),
        joules: MicroJoules::new(whole(joules * 1e6)),
        doubtful: joules * 1e6 * rig.uncertainty,
        doubtful_usual: joules * 1e6 * rig.uncertainty,
        proven,
        claimed: Hashes::new(whole(hashes * rig.claimed_over_proven)),
        beside_claimed: proven,
    }
}

fn run(windows: &mut Windows, minutes: core::ops::Range<u64>, rig: Rig) {
    for minute in minutes {
        windows.add(at(minute), at(minute + 1), minute_of(rig));
    }
}

fn flags(windows: &Windows, epoch_at: Option<UnixMillis>, model: Option<&str>) -> Vec<Flag> {
    let mut starts = Starts::default();
    epoch_at.into_iter().for_each(|at| starts.begun(at));
    judge_by(windows, &starts, model)
}

fn judge_by(windows: &Windows, starts: &Starts, model: Option<&str>) -> Vec<Flag> {
    let figure = model.map(|model| Figure::Model(efficiency::device(model).unwrap()));
    let now = windows.newest().unwrap_or_default();
    judge(Facts { windows, starts, figure: figure.as_ref(), now })
}

fn after(minutes: u64, rig: Rig, model: Option<&str>) -> Vec<(Kind, String)> {
    let mut windows = Windows::default();
    run(&mut windows, 0..minutes, rig);
    flags(&windows, None, model).into_iter().map(|flag| (flag.kind, flag.reason)).collect()
}

fn kinds(minutes: u64, rig: Rig, model: Option<&str>) -> Vec<Kind> {
    after(minutes, rig, model).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn an_honest_rig_has_no_flag_once_it_has_started_up() {
    assert_eq!(kinds(9, RIG, None), [Kind::StartUp]);
    assert_eq!(kinds(11, RIG, None), []);
    assert_eq!(kinds(3000, RIG, Some("Antminer S19 Pro")), []);
}

/// Processors, graphics boards and the first devices: no figure is too high.
#[test]
fn nothing_is_too_much_where_no_model_is_known() {
    for joules_per_terahash in [98.0, 1e4, 1e5, 1e7] {
        let old = Rig { joules_per_terahash, terahashes_per_second: 1e-5, ..RIG };
        assert_eq!(kinds(90, old, None), [], "{joules_per_terahash}");
    }
    let high = Rig { joules_per_terahash: 60.0, ..RIG };
    assert_eq!(kinds(90, high, Some("Antminer S19 Pro")), [Kind::Inconsistent]);
}

/// A small board four seconds after it was switched on: 2.65 W at what will be 1 TH/s.
#[test]
fn a_device_that_has_just_started_is_no_miracle() {
    let rig = Rig { joules_per_terahash: 2.65, terahashes_per_second: 1.0, ..RIG };
    let found = after(1, rig, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Kind::StartUp);
    assert!(found[0].1.contains("60 s so far, less than 10 min"), "{found:?}");
    // An hour later it is one.
    let found = after(60, rig, None);
    assert_eq!(found[0].0, Kind::Impossible);
    for part in ["2.650000 J/TH", "Antminer S21 XP+ Hyd", "takes 11.00"] {
        assert!(found[0].1.contains(part), "{part} in {found:?}");
    }
}

#[test]
fn what_a_counter_begins_with_is_a_transient() {
    let mut windows = Windows::default();
    run(&mut windows, 0..120, RIG);
    let found = flags(&windows, Some(at(115)), None);
    assert_eq!(found[0].kind, Kind::StartUp);
    assert!(found[0].reason.contains("started anew 5 min ago"), "{found:?}");
    assert_eq!(flags(&windows, Some(at(100)), None), []);
}

/// A meter that begins anew with every report says nothing about the one that goes on at 1 J/TH.
#[test]
fn counters_that_begin_anew_all_day_excuse_four_times() {
    let impossible = Rig { joules_per_terahash: 1.0, ..RIG };
    let dear = Rig { joules_per_terahash: 60.0, ..RIG };
    let model = Some("Antminer S19 Pro");
    let (mut windows, mut starts) = (Windows::default(), Starts::default());
    for minute in 0..30 {
        starts.begun(at(minute));
        run(&mut windows, minute..minute + 1, impossible);
    }
    assert_eq!(judge_by(&windows, &starts, None)[0].kind, Kind::Impossible);
    let (mut windows, mut starts) = (Windows::default(), Starts::default());
    let mut excused = 0;
    for minute in 0..1_440 {
        starts.begun(at(minute));
        run(&mut windows, minute..minute + 1, dear);
        let found = judge_by(&windows, &starts, model);
        assert_eq!(found.len(), 1, "{minute} {found:?}");
        excused += usize::from(found[0].kind == Kind::StartUp);
    }
    assert_eq!(excused, EXCUSES_A_DAY * 9);
    // The next day there are some again.
    starts.begun(at(1_440));
    assert_eq!(judge_by(&windows, &starts, model)[0].kind, Kind::StartUp);
}

/// Difficulty so high that an hour has too few shares.
#[test]
fn the_day_is_judged_where_the_hour_has_too_few_shares() {
    let mut windows = Windows::default();
    for minute in 0..720 {
        // A share every fifteen minutes, so 1.5 J/TH.
        let shares_per_minute = u64::from(minute % 15 == 0);
        let rig = Rig { joules_per_terahash: 0.1, shares_per_minute, ..RIG };
        run(&mut windows, minute..minute + 1, rig);
    }
    assert!(windows.over(Span::Hour).unwrap().proven.effective() < SHARES_LEAST);
    assert_eq!(flags(&windows, None, None)[0].kind, Kind::Impossible);
}

#[test]
fn an_uncertainty_beyond_what_is_usual_excuses_nothing() {
    let rig = Rig { joules_per_terahash: 4.5, uncertainty: 0.05, ..RIG };
    let mut windows = Windows::default();
    for minute in 0..60 {
        let one = minute_of(rig);
        let boasts = Stretch { doubtful: one.joules.joules_f64() * 1e6, ..one };
        windows.add(at(minute), at(minute + 1), boasts);
    }
    let hour = windows.over(Span::Hour).unwrap();
    assert!((hour.uncertainty() - 1.0).abs() < 1e-9, "it is shown as it is stated");
    assert_eq!(flags(&windows, None, None)[0].kind, Kind::Impossible);
}

/// A power unit that counts in tenths of a kilowatt-hour, and a rig of 100 W at 30 J/TH.
#[test]
fn a_counter_of_large_steps_is_given_time_and_not_for_ever() {
    let still = Rig { joules_per_terahash: 0.0, ..RIG };
    let mut windows = Windows::default();
    run(&mut windows, 0..60, still);
    let found = flags(&windows, None, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::StartUp);
    assert!(found[0].reason.contains("no meter has risen in 60 min"), "{found:?}");
    // A step, and another, are judged with the time before them.
    run(&mut windows, 60..61, Rig { joules_per_terahash: 30.0 * 61.0, ..RIG });
    run(&mut windows, 61..170, still);
    assert_eq!(flags(&windows, None, None), []);
    run(&mut windows, 170..181, still);
    let found = flags(&windows, None, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::Impossible);
    assert!(found[0].reason.starts_with("0 J, and 1200 shares in 2 h"), "{found:?}");
    // A rig that is off is no matter.
    let off = Rig { shares_per_minute: 0, ..still };
    let mut windows = Windows::default();
    run(&mut windows, 0..300, off);
    assert_eq!(flags(&windows, None, None)[0].kind, Kind::StartUp);
}

#[test]
fn small_workers_are_judged_together() {
    let windows = |rig: Rig, minutes: u64| {
        let mut windows = Windows::default();
        for minute in 0..minutes {
            let shares_per_minute = u64::from(minute % 10 == 0);
            run(&mut windows, minute..minute + 1, Rig { shares_per_minute, ..rig });
        }
        [Span::Hour, Span::Day].map(|span| windows.over(span))
    };
    let of = |rig: Rig, workers: u64, minutes: u64| {
        let mut together = Together::default();
        (0..workers).for_each(|_| together.add(windows(rig, minutes), false));
        together.judge()
    };
    let below = Rig { joules_per_terahash: 0.1, ..RIG };
    let found = of(below, 50, 60).unwrap();
    assert_eq!(found.kind, Kind::Impossible);
    assert!(found.reason.starts_with("50 workers together: 1.000000 J/TH"), "{found:?}");
    assert_eq!(of(RIG, 50, 60), None);
    assert_eq!(of(below, 1, 60), None, "that is the worker's own");
    assert_eq!(of(below, 50, 9), None, "too early");
    // Names that are dropped before their meters have stood still for long.
    let still = Rig { joules_per_terahash: 0.0, ..RIG };
    assert_eq!(of(still, 20, 90), None, "they may rise yet");
    let mut gone = Together::default();
    (0..20).for_each(|_| gone.add(windows(still, 30), true));
    assert_eq!(gone.judge(), None);
    (0..20).for_each(|_| gone.add(windows(still, 90), true));
    assert!(gone.judge().unwrap().reason.contains("0 J, and 240 shares in 40 h"), "{gone:?}");
    // Beside rigs whose counters have not risen yet nobody is below the floor.
    let mut coarse = Together::default();
    let dear = Rig { joules_per_terahash: 1.5, ..RIG };
    (0..10).for_each(|_| coarse.add(windows(dear, 60), false));
    (0..20).for_each(|_| coarse.add(windows(still, 60), false));
    assert_eq!(coarse.judge(), None);
}

#[test]
fn a_stated_figure_is_held_against_the_report_as_a_models_is() {
    let mut windows = Windows::default();
    run(&mut windows, 0..60, RIG);
    let by = |stated: f64| {
        let figure = Figure::Stated(stated);
        let (starts, now) = (Starts::default(), at(60));
        judge(Facts { windows: &windows, starts: &starts, figure: Some(&figure), now })
    };
    assert_eq!(by(31.5), []);
    let found = by(60.0);
    assert_eq!(found[0].kind, Kind::Inconsistent);
    let part = "the operator's own figure is 60.00, between 45.00 and 75.00";
    assert!(found[0].reason.contains(part), "{found:?}");
}

#[test]
fn below_the_floor_is_impossible_beyond_doubt_alone() {
    let at_floor = Rig { joules_per_terahash: 11.0, ..RIG };
    assert_eq!(kinds(600, at_floor, None), []);
    // 10 J/TH is within the meter's 5 % and the luck of 600 shares, and beyond that of many.
    let below = Rig { joules_per_terahash: 10.0, ..RIG };
    assert_eq!(kinds(60, below, None), []);
    assert_eq!(kinds(600, below, None), [Kind::Impossible], "the day's 6,000");
    let many = Rig { shares_per_minute: 2_000, uncertainty: 0.02, ..below };
    assert_eq!(kinds(600, many, None), [Kind::Impossible]);
    assert_eq!(kinds(600, Rig { uncertainty: 0.3, ..many }, None), []);
    let few = Rig { shares_per_minute: 1, joules_per_terahash: 6.0, ..RIG };
    assert_eq!(kinds(15, few, None), [Kind::StartUp], "15 shares");
}

/// A meter that sees half of the boards, and one that sees two rigs.
#[test]
fn a_model_is_held_to_its_band() {
    for (joules_per_terahash, expected) in [(14.0, 1), (24.0, 0), (29.5, 0), (36.0, 0), (59.0, 1)] {
        let rig = Rig { joules_per_terahash, ..RIG };
        let found = after(600, rig, Some("Antminer S19 Pro"));
        assert_eq!(found.len(), expected, "{joules_per_terahash} {found:?}");
        for (kind, reason) in found {
            assert_eq!(kind, Kind::Inconsistent);
            assert!(
                reason.contains("Antminer S19 Pro takes 29.50, between 22.12 and 36.88"),
                "{reason}"
            );
        }
    }
}

/// 78 W at the plug before an update of the firmware, 114 W after it, at the same rate.
#[test]
fn a_change_of_firmware_shows_as_a_drift() {
    let small = Rig { terahashes_per_second: 4.0, joules_per_terahash: 19.5, ..RIG };
    let mut windows = Windows::default();
    run(&mut windows, 0..1440, small);
    assert_eq!(flags(&windows, None, None), []);
    run(&mut windows, 1440..1500, Rig { joules_per_terahash: 28.5, ..small });
    let found = flags(&windows, Some(at(1440)), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::Drift);
    for part in ["28.50 J/TH", "after 19.50", "started anew 60 min ago"] {
        assert!(found[0].reason.contains(part), "{part} in {found:?}");
    }
    assert!(flags(&windows, None, None)[0].reason.ends_with("no counter started anew"));
    // A day later that is what it takes.
    run(&mut windows, 1500..3000, Rig { joules_per_terahash: 28.5, ..small });
    assert_eq!(flags(&windows, None, None), []);
    // Five per cent are the weather.
    run(&mut windows, 3000..3060, Rig { joules_per_terahash: 29.9, ..small });
    assert_eq!(flags(&windows, None, None), []);
}

/// Two recorded devices, by their own counts: 111.81 TH/s claimed and 111.05 proven by 4,057 shares
/// in 50,474 s; 67.75 claimed and 66.97 proven by 2,338 in 10,154 s, at 3,417 W.
#[test]
fn recorded_devices_claim_what_they_prove() {
    let mut windows = Windows::default();
    let proven_of = |shares: u64, difficulty: f64| {
        let mut proven = Proven::default();
        #[expect(clippy::cast_precision_loss, reason = "a test's figure")]
        let each = difficulty * 4_295_032_833.000_015 / shares as f64;
        (0..shares).for_each(|_| proven.add(Work::new(whole(each))));
        proven
    };
    let antminer = Stretch {
        claimed: Hashes::new(5_643_633_754_730_000_000),
        beside_claimed: proven_of(4_057, 1_305_083_904.0),
        ..Stretch::default()
    };
    windows.add(at(0), UnixMillis::new(at(0).get() + 50_474_000), antminer);
    let (ratio, low, high) = antminer.claimed_over_proven(Level::Shown).unwrap();
    assert!((1.0 / ratio - 0.9932).abs() < 1e-4, "{ratio}");
    assert!(low < 1.0 && 1.0 < high && (high - low) / 4.0 < 0.016);
    assert_eq!(flags(&windows, None, None), [], "no joules, and no verdict on them");

    let proven = proven_of(2_338, 158_334_976.0);
    let joules = MicroJoules::new(3_417 * 10_154 * 1_000_000);
    let claimed = Hashes::new(whole(67.75e12 * 10_154.0));
    let (covered, beside_claimed) = (Duration::from_secs(10_154), proven);
    let doubtful = joules.joules_f64() * 1e6 * 0.1;
    let doubtful_usual = doubtful;
    let whatsminer =
        Stretch { covered, joules, doubtful, doubtful_usual, proven, claimed, beside_claimed };
    assert!((whatsminer.per_terahash().unwrap().value_f64() - 51.0).abs() < 0.05);
    let mut windows = Windows::default();
    windows.add(at(0), UnixMillis::new(at(0).get() + 10_154_000), whatsminer);
    assert_eq!(flags(&windows, None, Some("Whatsminer M20S")), []);
}

/// Every figure of the example in `docs/energy.md`.
#[test]
fn the_documented_example_is_what_is_computed() {
    let each = Work::new(290_871_743_000_000);
    let mut proven = Proven::default();
    (0..2_338).for_each(|_| proven.add(each));
    let joules = MicroJoules::new(3_417 * 10_154 * 1_000_000);
    let window = Stretch {
        covered: Duration::from_secs(10_154),
        joules,
        doubtful: joules.joules_f64() * 1e6 * 0.02,
        doubtful_usual: joules.joules_f64() * 1e6 * 0.02,
        proven,
        claimed: Hashes::new(687_933_500_000_000_000),
        beside_claimed: proven,
    };
    let mut windows = Windows::default();
    windows.add(at(0), UnixMillis::new(at(0).get() + 10_154_000), window);
    let work = proven.factors(Level::Shown);
    let wider = proven.factors(Level::Verdict);
    let (low, high) = window.interval(Level::Shown).unwrap();
    let (least, most) = window.interval(Level::Verdict).unwrap();
    let (claimed, claimed_low, claimed_high) = window.claimed_over_proven(Level::Shown).unwrap();
    let page = include_str!("../../../docs/energy.md");
    let other = flags(&windows, None, Some("Whatsminer M30S"));
    assert_eq!(other[0].kind, Kind::Inconsistent);
    let figures = [
        format!("{} J", joules.joules()),
        format!("{} hashes", proven.work.get()),
        format!("{} J/TH", window.per_terahash().unwrap()),
        format!("{:.4} and {:.4} times", work.low, work.high),
        format!("{:.4} and {:.4} times", wider.low, wider.high),
        format!("{low:.2} to {high:.2} J/TH"),
        format!("{least:.2} to {most:.2} J/TH"),
        format!("{claimed:.4} ({claimed_low:.4} to {claimed_high:.4}) times"),
        format!("> {}", other[0].reason),
    ];
    let missing = Vec::from_iter(figures.iter().filter(|figure| !page.contains(*figure)));
    assert!(missing.is_empty(), "not in docs/energy.md: {missing:#?}");
    assert_eq!(flags(&windows, None, Some("Whatsminer M20S")), []);
}

#[test]
fn hashes_that_no_share_proves_are_flagged() {
    let boasts = Rig { claimed_over_proven: 1.5, ..RIG };
    let found = after(60, boasts, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Kind::ClaimMismatch);
    assert!(found[0].1.contains(": 1.5000 times, between 1.3"), "{found:?}");
    let modest = Rig { claimed_over_proven: 0.5, ..RIG };
    assert_eq!(kinds(60, modest, None), [Kind::ClaimMismatch]);
    for claimed_over_proven in [0.0, 0.9, 1.08] {
        let honest = Rig { claimed_over_proven, shares_per_minute: 5_000, ..RIG };
        assert_eq!(kinds(60, honest, None), [], "{claimed_over_proven}");
    }
}

#[test]
fn every_kind_has_its_word() {
    let words = Kind::ALL.map(Kind::as_str);
    assert_eq!(words, ["impossible", "inconsistent", "start-up", "drift", "claim-mismatch"]);
}

proptest! {
    /// Whoever uses what devices use is left alone, whatever the size and the meter.
    #[test]
    fn who_is_honest_and_steady_has_no_flag(
        joules_per_terahash in 11.0..1e7_f64,
        terahashes_per_second in 1e-6..1e5_f64,
        shares_per_minute in 2_u64..50,
        uncertainty in 0.01..0.5_f64,
    ) {
        let rig = Rig {
            joules_per_terahash,
            terahashes_per_second,
            shares_per_minute,
            uncertainty,
            claimed_over_proven: 1.0,
        };
        // What a minute's figures lose to whole microjoules and hashes is nothing here.
        prop_assume!(joules_per_terahash * terahashes_per_second > 1e-4);
        prop_assert_eq!(kinds(300, rig, None), vec![]);
    }

    #[test]
    fn any_windows_have_a_verdict(
        stretches in prop::collection::vec(
            (0_u64..4_000, any::<u128>(), any::<u128>(), any::<u128>(), any::<f64>()), 0..20,
        ),
    ) {
        let mut windows = Windows::default();
        let mut now = at(0).get();
        for (seconds, joules, work, claimed, doubtful) in stretches {
            let mut proven = Proven::default();
            proven.add(Work::new(work));
            let since = UnixMillis::new(now);
            now += seconds * 1000;
            windows.add(since, UnixMillis::new(now), Stretch {
                covered: Duration::from_secs(seconds),
                joules: MicroJoules::new(joules),
                doubtful,
                doubtful_usual: doubtful,
                proven,
                claimed: Hashes::new(claimed),
                beside_claimed: proven,
            });
        }
        let found = flags(&windows, None, Some("Antminer S9"));
        prop_assert!(found.len() <= 4);
    }
}
