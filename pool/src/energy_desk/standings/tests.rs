//! Standings of workers and accounts, by reports as the desk has weighed them.

use units::Hashes;

use super::*;

const NOTHING: Heard = Heard {
    since: None,
    doubtful: 0.0,
    doubtful_usual: 0.0,
    meters: Vec::new(),
    epoch: false,
    hashes: HashStep::Nothing,
};
const ANEW: Heard = Heard {
    since: None,
    doubtful: 0.0,
    doubtful_usual: 0.0,
    meters: Vec::new(),
    epoch: true,
    hashes: HashStep::Baseline,
};

fn at(minute: u64) -> UnixMillis {
    UnixMillis::new(1_800_000_000_000 + minute * 60_000)
}

fn sums(joules: u128, work: u128) -> MeteredWorker {
    MeteredWorker {
        account: "a".to_owned(),
        name: "rig".to_owned(),
        energy: MicroJoules::new(joules * 1_000_000),
        covered_work: Work::new(work),
    }
}

const SHARE: u128 = 100_000_000_000_000;

/// Ten shares and so many joules a minute, from one minute to another.
fn run(keeper: &mut Keeper, minutes: core::ops::Range<u64>, joules: u128) {
    let rig = WorkerId::new(1);
    for minute in minutes {
        (0..10).for_each(|_| keeper.count(rig, Work::new(SHARE)));
        let heard = Heard {
            since: Some(at(minute)),
            hashes: HashStep::Advanced(Hashes::new(SHARE * 10)),
            ..NOTHING
        };
        let ends = (&sums(0, 0), &sums(joules, SHARE * 10));
        keeper.note(rig, &heard, ends, at(minute + 1));
    }
}

fn of_rig(keeper: &mut Keeper, minute: u64) -> Arc<Standing> {
    Arc::clone(&keeper.standings(at(minute))[&WorkerId::new(1)])
}

fn kinds(standing: &Standing) -> Vec<Kind> {
    standing.flags.iter().map(|flag| flag.kind).collect()
}

#[test]
fn joules_and_work_of_the_same_reports_make_a_window() {
    let mut keeper = Keeper::default();
    let rig = WorkerId::new(1);
    // Before the first report nothing is counted, and that report is where windows begin.
    keeper.count(rig, Work::new(SHARE));
    keeper.note(rig, &ANEW, (&sums(0, 0), &sums(0, 0)), at(0));
    let standing = of_rig(&mut keeper, 0);
    assert_eq!((standing.windows, kinds(&standing)), ([None; 3], vec![Kind::StartUp]));
    run(&mut keeper, 0..30, 30_000);
    let standing = of_rig(&mut keeper, 30);
    assert_eq!(kinds(&standing), []);
    let [ten, hour, day] = standing.windows.map(Option::unwrap);
    assert_eq!(ten.covered, Duration::from_secs(600));
    assert_eq!((ten.joules.joules(), ten.proven.shares), ("300000.000000".to_owned(), 100));
    assert_eq!(ten.per_terahash().unwrap().to_string(), "30.000000");
    assert_eq!(ten.claimed_over_proven(energy::interval::Level::Shown).unwrap().0, 1.0);
    assert_eq!((hour, hour.covered), (day, Duration::from_secs(1800)));
}

/// Shares of a time that no meter saw are not held against the joules of another.
#[test]
fn a_gap_is_in_no_window() {
    let mut keeper = Keeper::default();
    let rig = WorkerId::new(1);
    run(&mut keeper, 0..20, 30_000);
    (0..500).for_each(|_| keeper.count(rig, Work::new(SHARE)));
    keeper.note(rig, &ANEW, (&sums(0, 0), &sums(0, 0)), at(25));
    assert_eq!(kinds(&of_rig(&mut keeper, 25)), [Kind::StartUp]);
    run(&mut keeper, 25..36, 30_000);
    let standing = of_rig(&mut keeper, 36);
    assert_eq!(kinds(&standing), []);
    let hour = standing.windows[1].unwrap();
    assert_eq!((hour.covered.as_secs() / 60, hour.proven.shares), (30, 300));
    assert_eq!(hour.per_terahash().unwrap().to_string(), "30.000000");
}

/// A report that was held up, or came twice, changes nothing of what is held against claims.
#[test]
fn a_late_report_loses_no_shares() {
    let mut keeper = Keeper::default();
    let rig = WorkerId::new(1);
    run(&mut keeper, 0..30, 30_000);
    for minute in 30..60 {
        (0..5).for_each(|_| keeper.count(rig, Work::new(SHARE)));
        keeper.note(rig, &NOTHING, (&sums(0, 0), &sums(0, 0)), at(minute));
        (0..5).for_each(|_| keeper.count(rig, Work::new(SHARE)));
        let hashes = HashStep::Advanced(Hashes::new(SHARE * 10));
        let heard = Heard { since: Some(at(minute)), hashes, ..NOTHING };
        keeper.note(rig, &heard, (&sums(0, 0), &sums(30_000, SHARE * 10)), at(minute + 1));
    }
    let standing = of_rig(&mut keeper, 60);
    assert_eq!(kinds(&standing), []);
    let hour = standing.windows[1].unwrap();
    assert_eq!((hour.proven.shares, hour.beside_claimed), (590, hour.proven));
}

#[test]
fn a_named_model_is_held_against_the_report_and_a_flag_goes_when_its_cause_does() {
    let profile = energy::profile::Profile {
        worker: "a.r*".to_owned(),
        figure: Figure::Model(energy::efficiency::device("Antminer S19 Pro").unwrap()),
    };
    let mut keeper = Keeper::new(Profiles(vec![profile]));
    run(&mut keeper, 0..30, 10_000);
    let flagged = of_rig(&mut keeper, 30);
    assert_eq!(kinds(&flagged), [Kind::Inconsistent]);
    assert!(flagged.flags[0].reason.contains("Antminer S19 Pro takes 29.50"));
    run(&mut keeper, 30..3000, 30_000);
    assert_eq!(kinds(&of_rig(&mut keeper, 3000)), []);
}

#[test]
fn who_is_silent_for_a_day_is_forgotten_and_not_too_many_are_known() {
    let mut keeper = Keeper::default();
    for worker in 0..=u32::try_from(MAX_WORKERS).unwrap() {
        let ends = (&sums(0, 0), &sums(0, 0));
        keeper.note(WorkerId::new(worker), &NOTHING, ends, at(0));
    }
    assert_eq!(keeper.standings(at(1)).len(), MAX_WORKERS);
    // There is no room for those that come back, nor then for anybody else.
    assert!(keeper.standings(at(24 * 60 + 11)).is_empty() && keeper.workers.is_empty());
    keeper.note(WorkerId::new(1), &NOTHING, (&sums(0, 0), &sums(0, 0)), at(2_000));
    assert!(keeper.standings(at(5_000)).is_empty());
    assert_eq!(keeper.workers.len(), 1, "it may report once in two days");
    keeper.standings(at(2_000 + 7 * 1_440 + 11));
    assert!(keeper.workers.is_empty());
}

/// Reports thirty hours apart.
#[test]
fn who_reports_more_rarely_than_once_a_day_is_judged_all_the_same() {
    let mut keeper = Keeper::default();
    let rig = WorkerId::new(1);
    keeper.note(rig, &ANEW, (&sums(0, 0), &sums(0, 0)), at(0));
    (0..100).for_each(|_| keeper.count(rig, Work::new(SHARE)));
    let heard = Heard { since: Some(at(0)), ..NOTHING };
    keeper.note(rig, &heard, (&sums(0, 0), &sums(10_000, SHARE * 100)), at(1_800));
    let standing = of_rig(&mut keeper, 1_800);
    assert_eq!(kinds(&standing), [Kind::Impossible]);
    assert_eq!(standing.windows[2].unwrap().covered, Duration::from_secs(108_000));
}

/// A meter that is heard of each minute, and one once an hour: half of the joules each.
#[test]
fn joules_of_an_hour_are_not_held_against_the_work_of_a_minute() {
    let progress = |id, since| Progress {
        id: MeterId::new(id).unwrap(),
        counted: true,
        since: Some(at(since)),
    };
    let mut keeper = Keeper::default();
    let rig = WorkerId::new(1);
    let begins = |id| Progress { since: None, ..progress(id, 0) };
    let anew = Heard { meters: vec![begins("a"), begins("b")], ..ANEW };
    keeper.note(rig, &anew, (&sums(0, 0), &sums(0, 0)), at(0));
    for minute in 0..360 {
        (0..10).for_each(|_| keeper.count(rig, Work::new(SHARE)));
        let (mut since, mut joules) = (minute, 15_000);
        let mut meters = vec![progress("a", minute)];
        if minute % 60 == 59 {
            since = minute - 59;
            joules += 15_000 * 60;
            meters.push(progress("b", since));
        }
        let heard = Heard { since: Some(at(since)), meters, ..NOTHING };
        keeper.note(rig, &heard, (&sums(0, 0), &sums(joules, SHARE * 10)), at(minute + 1));
        let standing = of_rig(&mut keeper, minute + 1);
        for window in standing.windows.into_iter().flatten() {
            assert_eq!(window.per_terahash().unwrap().to_string(), "30.000000", "{minute}");
        }
        assert_eq!(standing.windows[0], None);
    }
    let day = of_rig(&mut keeper, 360).windows[2].unwrap();
    assert_eq!((day.covered.as_secs(), day.proven.shares), (360 * 60, 3_600));
    // The rare one falls silent: after two of its hours the others go on alone, and what it
    // brings in the end is of too long a time for the hour.
    for minute in 360..700 {
        (0..10).for_each(|_| keeper.count(rig, Work::new(SHARE)));
        let heard =
            Heard { since: Some(at(minute)), meters: vec![progress("a", minute)], ..NOTHING };
        keeper.note(rig, &heard, (&sums(0, 0), &sums(15_000, SHARE * 10)), at(minute + 1));
    }
    let ten = of_rig(&mut keeper, 700).windows[0].unwrap();
    assert_eq!(ten.per_terahash().unwrap().to_string(), "15.000000");
    (0..10).for_each(|_| keeper.count(rig, Work::new(SHARE)));
    let meters = vec![progress("a", 700), progress("b", 360)];
    let heard = Heard { since: Some(at(360)), meters, ..NOTHING };
    let joules = 15_000 * 342;
    keeper.note(rig, &heard, (&sums(0, 0), &sums(joules, SHARE * 10)), at(701));
    let [ten, hour, day] = of_rig(&mut keeper, 701).windows;
    for window in [ten, hour].into_iter().flatten() {
        assert_eq!(window.per_terahash().unwrap().to_string(), "15.000000");
    }
    assert_eq!(day.unwrap().per_terahash().unwrap().to_string(), "30.000000");
}

/// Sixty names, each with a share in ten minutes.
#[test]
fn an_account_of_many_small_workers_is_judged_as_a_whole() {
    let mut keeper = Keeper::default();
    let hour = |keeper: &mut Keeper, joules: u128| {
        for minute in 0..60 {
            for worker in 0..60 {
                let work = if minute % 10 == 0 { SHARE * 100 } else { 0 };
                if work > 0 {
                    keeper.count(WorkerId::new(worker), Work::new(work));
                }
                let heard = Heard { since: Some(at(minute)), ..NOTHING };
                let ends = (&sums(0, 0), &sums(joules, work));
                keeper.note(WorkerId::new(worker), &heard, ends, at(minute + 1));
            }
        }
    };
    hour(&mut keeper, 1_000);
    keeper.standings(at(70));
    let accounts = keeper.accounts();
    assert_eq!(accounts.len(), 1);
    let flag = &accounts["a"];
    assert_eq!(flag.kind, Kind::Impossible);
    assert!(flag.reason.starts_with("60 workers together: 1."), "{flag:?}");
    // Honest ones are left alone.
    let mut keeper = Keeper::default();
    hour(&mut keeper, 30_000);
    keeper.standings(at(70));
    assert!(keeper.accounts().is_empty());
}

#[test]
fn the_log_hears_of_a_flag_once_and_not_of_thousands() {
    let flag = |kind| Flag { kind, reason: String::new() };
    let had = [flag(Kind::StartUp), flag(Kind::Drift)];
    let now = [flag(Kind::Drift), flag(Kind::Impossible), flag(Kind::StartUp)];
    let new = Vec::from_iter(added(&now, &had).map(|flag| flag.kind));
    assert_eq!(new, [Kind::Impossible]);
    assert_eq!(added(&had, &now).count(), 0);
    let mut voice = Voice::default();
    let said = (0..1000).filter(|_| voice.may_speak(at(0))).count();
    assert_eq!((said, voice.withheld), (20, 980));
    assert!(voice.may_speak(at(1)) && voice.withheld == 0);
}
