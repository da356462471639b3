//! Readings in, states out: each restraint alone, all of them together, and what is refused.

use energy::meter::{MeterId, Scope, Tier};

use super::*;

const NOON: u64 = 1_795_262_400_000;
const RANGE: Range = Range { threads: 4, gpus: false, interactive: false };

fn restraint(change: impl FnOnce(&mut Settings)) -> Restraint {
    let mut settings = Settings::none();
    change(&mut settings);
    Restraint::new(settings, RANGE)
}

/// A rig at work so many seconds after noon, that draws and hashes nothing.
fn at(second: u64) -> Readings {
    let mono = Duration::from_secs(second);
    Readings {
        at: Moment { mono, unix: UnixMillis::new(NOON + second * 1000) },
        mining: true,
        joules: Some(0.0),
        modelled: false,
        busy: Duration::ZERO,
        hashes: 0.0,
        gpus: false,
        source: battery::Source::Mains,
        input: None,
        hottest: None,
    }
}

fn hot(second: u64, celsius: f64) -> Readings {
    let hottest = Some(Temperature { celsius, sensor: "coretemp".to_owned() });
    Readings { hottest, ..at(second) }
}

fn on_battery(second: u64) -> Readings {
    Readings { source: battery::Source::Battery("BAT0".to_owned()), ..at(second) }
}

fn kinds(state: &State) -> Vec<Kind> {
    state.reasons.iter().map(|reason| reason.kind).collect()
}

#[test]
fn without_a_wish_nothing_holds_the_miner_back() {
    let mut restraint = restraint(|_| {});
    let state = restraint.step(&Readings { input: Some(UnixMillis::new(NOON)), ..hot(0, 99.0) });
    assert_eq!(state, State::free());
    assert_eq!(restraint.step(&on_battery(1)), State::free());
    assert_eq!(state.line(), None);
}

#[test]
fn a_battery_pauses_at_once_and_the_mains_have_to_stay() {
    let mut restraint = restraint(|settings| settings.pause_on_battery = true);
    assert!(!restraint.step(&at(0)).allowance.is_pause());
    let paused = restraint.step(&on_battery(1));
    assert!(paused.allowance.is_pause());
    assert_eq!(paused.line().unwrap(), "paused: running on battery BAT0");
    restraint.step(&on_battery(2));
    let state = restraint.step(&at(11));
    assert!(state.allowance.is_pause(), "nine seconds after");
    assert_eq!(state.reasons[0].since, UnixMillis::new(NOON + 1000), "since it began");
    assert_eq!(restraint.step(&at(12)), State::free());
}

#[test]
fn somebody_who_types_pauses_it_and_it_goes_on_in_time() {
    let mut restraint =
        restraint(|settings| settings.pause_when_active = Some(Duration::from_secs(60)));
    let typed = Some(UnixMillis::new(NOON));
    let step = |restraint: &mut Restraint, second| {
        restraint.step(&Readings { input: typed, ..at(second) })
    };
    let paused = step(&mut restraint, 20);
    assert!(paused.allowance.is_pause());
    assert!(paused.line().unwrap().contains("after 41 s"), "{:?}", paused.line());
    assert!(step(&mut restraint, 59).allowance.is_pause());
    assert_eq!(step(&mut restraint, 60), State::free());
    assert_eq!(restraint.step(&at(61)), State::free(), "no terminal is nobody");
}

#[test]
fn the_strictest_holds_and_every_reason_is_named() {
    let mut restraint = restraint(|settings| {
        settings.duty = 300;
        settings.max_celsius = Some(80.0);
        settings.pause_on_battery = true;
    });
    let mut state = restraint.step(&hot(0, 79.0));
    for second in 1..20 {
        state = restraint.step(&hot(second, 79.0));
    }
    assert_eq!(state.allowance.duty, 280, "a degree below the ceiling");
    assert_eq!(kinds(&state), [Kind::Duty, Kind::Heat]);
    assert_eq!(
        state.line().unwrap(),
        "28 % of the time: coretemp at 79 C, ceiling 80 C",
        "the one that decides"
    );
    assert_eq!(state.pauses().count(), 0);
    let hottest = hot(20, 79.0).hottest;
    state = restraint.step(&Readings { hottest, ..on_battery(20) });
    assert_eq!(kinds(&state), [Kind::Duty, Kind::Battery, Kind::Heat]);
    assert_eq!(state.allowance.duty, 0);
    assert_eq!(state.pauses().map(|reason| reason.kind).collect::<Vec<_>>(), [Kind::Battery]);
}

#[test]
fn the_schedule_says_what_applies_and_what_comes_next() {
    let window = |from: &str, to: &str, rule| Window {
        days: "all".parse().unwrap(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        rule,
    };
    let duty = Rule { duty: Some(500), ..Rule::default() };
    let capped = Rule { cap_watts: Some(40.0), ..Rule::default() };
    let pause = Rule { pause: true, ..Rule::default() };
    let mut restraint = restraint(|settings| {
        settings.cap_watts = Some(60.0);
        settings.schedule.windows = vec![
            window("11:00", "12:01", duty),
            window("12:01", "12:02", capped),
            window("12:02", "12:03", pause),
        ];
    });
    let state = restraint.step(&at(0));
    assert_eq!(state.cap_watts, Some(60.0));
    assert!(kinds(&state).contains(&Kind::Schedule));
    let next = state.next.unwrap();
    assert_eq!(next.at, UnixMillis::new(NOON + 60_000));
    assert_eq!(next.detail, "at most 40 W (every day 12:01-12:02)");
    let state = restraint.step(&at(60));
    assert_eq!((state.cap_watts, kinds(&state)), (Some(40.0), vec![Kind::Cap]));
    let state = restraint.step(&at(120));
    assert!(state.allowance.is_pause());
    assert!(state.line().unwrap().contains("scheduled (every day 12:02-12:03)"));
    assert_eq!(state.next.unwrap().detail, "no window applies");
    assert_eq!(kinds(&restraint.step(&at(180))), [Kind::Cap]);
}

#[test]
fn a_metered_rig_is_brought_below_its_cap() {
    let mut restraint = restraint(|settings| settings.cap_watts = Some(80.0));
    let (mut joules, mut duty, mut watts) = (0.0, WHOLE, 0.0);
    let mut course = Vec::new();
    for second in 0..200 {
        let state = restraint.step(&Readings { joules: Some(joules), ..at(second) });
        duty = state.allowance.duty;
        watts = f64::from(duty).mul_add(0.1, 30.0);
        joules += watts;
        course.push((state.watts, state.cap_watts));
    }
    assert!((0.94 * 80.0..80.0).contains(&watts), "{watts} W at {duty}");
    assert_eq!(course[0], (None, Some(80.0)), "one reading is no power");
    assert!((course[199].0.unwrap() - watts).abs() < 0.1);
}

#[test]
fn a_rig_that_waits_for_work_does_not_wind_its_duty_up() {
    let mut restraint = restraint(|settings| settings.cap_watts = Some(80.0));
    let duty = restraint.step(&at(0)).allowance.duty;
    for second in 1..100 {
        let waiting = Readings { mining: false, ..at(second) };
        assert_eq!(restraint.step(&waiting).allowance.duty, duty);
    }
}

#[test]
fn a_meter_that_gives_nothing_pauses_a_capped_rig_with_the_reason_and_not_forever() {
    let mut restraint = restraint(|settings| settings.cap_watts = Some(80.0));
    let reads =
        |second: u32| Readings { joules: Some(40.0 * f64::from(second)), ..at(second.into()) };
    for second in 0..20_u32 {
        restraint.step(&reads(second));
    }
    let mut state = State::free();
    for second in 20..31 {
        state = restraint.step(&Readings { joules: None, ..at(second) });
    }
    let said = "paused: power cap of 80 W; no meter tells any more what the rig draws";
    assert_eq!(state.line().unwrap(), said);
    assert!(restraint.step(&reads(31)).allowance.is_pause(), "one reading is no power");
    assert_eq!(restraint.step(&reads(32)).allowance.duty, LEAST);
}

#[test]
fn a_cap_that_cannot_be_met_says_why() {
    let mut restraint = restraint(|settings| settings.cap_watts = Some(65.0));
    let (mut joules, mut lines) = (0.0, Vec::new());
    for second in 0..60 {
        let state = restraint.step(&Readings { joules: Some(joules), ..at(second) });
        joules += if state.allowance.is_pause() { 55.0 } else { 70.0 };
        lines.extend(state.line());
    }
    let said = "paused: power cap of 65 W; it cannot be met: the rig draws 55 W at rest, and more than \
                the cap at the least duty; tried again in ";
    assert!(lines.iter().any(|line| line.starts_with(said)), "{lines:?}");
}

#[test]
fn a_lost_gpu_sets_the_cpu_to_work() {
    let range = Range { gpus: true, ..RANGE };
    let mut restraint = Restraint::new(Settings { governor: true, ..Settings::none() }, range);
    let (mut joules, mut hashes, mut still, mut threads) = (0.0, 0.0, 0, 4);
    for second in 0..3_000 {
        let gpus = second < 1_500;
        let reading = Readings { joules: Some(joules), hashes, gpus, ..at(second) };
        let state = restraint.step(&reading);
        threads = state.allowance.threads.min(4);
        // What the CPU adds is dear, so the GPU is best alone.
        joules += 12.0_f64.mul_add(f64::from(threads), 300.0);
        let cpu = 1e3 * f64::from(threads);
        hashes += if gpus { 1e9 + cpu } else { cpu };
        still = if gpus || threads > 0 { 0 } else { still + 1 };
        assert!(still < 16, "second {second}: nothing hashes");
    }
    assert!(threads > 0);
}

#[test]
fn a_models_cap_is_its_part_of_the_whole() {
    let mut restraint = restraint(|settings| settings.cap_watts = Some(40.0));
    let modelled = |second, busy: f64| {
        let busy_for = Duration::from_secs_f64(busy);
        Readings { modelled: true, busy: busy_for, joules: Some(65.0 * busy), ..at(second) }
    };
    let start = restraint.step(&modelled(0, 0.0)).allowance.duty;
    assert!((1..200).contains(&start), "nobody knows yet what it draws: {start}");
    let state = restraint.step(&modelled(1, 0.1));
    assert_eq!(state.allowance.duty, 615, "40 of 65 W");
    assert!(state.line().unwrap().contains("reckoned 65 W"), "{:?}", state.line());
    // Without work nothing is drawn, and the figure is kept.
    assert_eq!(restraint.step(&modelled(2, 0.1)).allowance.duty, 615);
}

#[test]
fn a_machine_that_slept_is_not_judged_by_the_time_it_slept() {
    let mut restraint = restraint(|settings| settings.cap_watts = Some(80.0));
    restraint.step(&at(0));
    let state = restraint.step(&Readings { joules: Some(1e9), ..at(40) });
    assert_eq!(state.watts, None);
    assert!(state.allowance.duty > 0);
}

#[test]
fn the_governor_sets_threads_and_measures_only_what_is_steady() {
    let mut restraint = restraint(|settings| settings.governor = true);
    let (mut joules, mut hashes, mut threads) = (0.0, 0.0, 4.0);
    let mut last = State::free();
    for second in 0..1_500 {
        last = restraint.step(&Readings { joules: Some(joules), hashes, ..at(second) });
        if last.allowance.threads != u16::MAX {
            threads = f64::from(last.allowance.threads);
        } else {
            threads = 4.0;
        }
        // Two cores for four threads: the third and fourth cost power alone.
        joules += 10.0_f64.mul_add(threads, 20.0);
        hashes += 1e6 * threads.min(2.0);
    }
    assert_eq!((last.allowance.threads, threads), (2, 2.0));
    let view = last.governor.unwrap();
    assert!(!view.measuring && view.best.unwrap().mean > 1e-5);
    assert_eq!(last.line().unwrap(), "least energy per hash with 2 of 4 threads");
    assert_eq!(last.allowance.duty, WHOLE, "it is no pause and no duty");
}

#[test]
fn what_cannot_be_kept_is_refused_in_plain_words() {
    let meter = |kind, tier| MeterSpec {
        id: MeterId::new("model:host").unwrap(),
        kind,
        scope: Scope::Device,
        tier,
        uncertainty_ppm: 300_000,
        source: String::new(),
    };
    let model = meter(MeterKind::Model, Tier::TABLE);
    let counters = meter(MeterKind::Rapl, Tier::DEVICE_REPORTED);
    let sensor = Temperature { celsius: 40.0, sensor: "coretemp".to_owned() };
    let of = |change: fn(&mut Settings)| {
        let mut settings = Settings::none();
        change(&mut settings);
        settings
    };
    let cap = of(|settings| settings.cap_watts = Some(80.0));
    assert!(cap.refuse_what_cannot_be_kept([], None).unwrap_err().contains("power.cap_watts"));
    assert_eq!(cap.refuse_what_cannot_be_kept([&model], None), Ok(()));

    let governor = of(|settings| settings.governor = true);
    for meters in [vec![], vec![&model], vec![&counters, &model]] {
        let said = governor.refuse_what_cannot_be_kept(meters, None).unwrap_err();
        assert!(said.starts_with("power.governor: "), "{said}");
    }
    assert_eq!(governor.refuse_what_cannot_be_kept([&counters], None), Ok(()));

    let ceiling = of(|settings| settings.max_celsius = Some(80.0));
    let said = ceiling.refuse_what_cannot_be_kept([], None).unwrap_err();
    assert!(said.contains("power.max_celsius"), "{said}");
    assert_eq!(ceiling.refuse_what_cannot_be_kept([], Some(&sensor)), Ok(()));
}
