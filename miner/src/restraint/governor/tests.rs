//! Simulated rigs that the governor searches, GPUs that are lost meanwhile, and its intervals.

use super::*;
use crate::restraint::testing::Noise;

/// A simulated rig: watts and hashes a second by setting, and how noisy the meter is.
struct Rig {
    power: fn(Setting) -> f64,
    rate: fn(Setting) -> f64,
    noise: f64,
}

/// Each thread 10 W over 20 W at rest; above four they share cores and add a third as much.
const SHARED: Rig = Rig {
    power: |setting| 10.0_f64.mul_add(f64::from(setting.threads), 20.0),
    rate: |setting| {
        let threads = f64::from(setting.threads);
        (threads.min(4.0) + (threads - 4.0).max(0.0) / 3.0) * 1e6
    },
    noise: 0.015,
};

/// The first reading of a CPU at work.
const NOTHING: Reading = Reading {
    at: Duration::ZERO,
    joules: Some(0.0),
    hashes: 0.0,
    steady: true,
    may_hash: true,
    gpus: false,
};

impl Rig {
    fn joules_per_hash(&self, setting: Setting) -> f64 {
        (self.power)(setting) / (self.rate)(setting)
    }

    /// Runs the governor for so many seconds; `steady` says when the rig may do what it can.
    fn run(
        &self,
        governor: &mut Governor,
        seconds: std::ops::Range<u64>,
        seed: u64,
        steady: impl Fn(u64) -> bool,
    ) -> Setting {
        let mut noise = Noise::new(seed);
        let (mut joules, mut hashes) = (0.0, 0.0);
        let mut setting = governor.setting();
        for second in seconds {
            let gpus = governor.range.gpus;
            // The window's noise is that of its seconds by the root of ten.
            let off = (self.noise * DWELL.as_secs_f64().sqrt()).mul_add(noise.normal(), 1.0);
            joules += (self.power)(setting) * off;
            hashes += (self.rate)(setting);
            let at = Duration::from_secs(second);
            let (joules, steady) = (Some(joules), steady(second));
            let may_hash = true;
            let reading = Reading { at, joules, hashes, steady, may_hash, gpus };
            setting = governor.step(reading);
        }
        setting
    }
}

fn cpu(threads: u16) -> Range {
    Range { threads, gpus: false, interactive: false }
}

#[test]
fn the_best_number_of_threads_is_found_within_two_percent() {
    let best = (1..=8).map(|threads| SHARED.joules_per_hash(Setting { threads, batch: 100 }));
    let best = best.fold(f64::INFINITY, f64::min);
    for seed in 0..200 {
        let mut governor = Governor::new(cpu(8));
        let found = SHARED.run(&mut governor, 0..1_300, seed, |_| true);
        let View { measuring, best: estimate, .. } = governor.view();
        assert!(!measuring, "seed {seed}: still measuring after 22 minutes");
        let ratio = SHARED.joules_per_hash(found) / best;
        assert!(ratio < 1.02, "seed {seed}: {found:?} takes {ratio} times the least");
        let Estimate { mean, error } = estimate.unwrap();
        let truth = SHARED.joules_per_hash(found);
        assert!((mean - truth).abs() < 3.0 * error, "seed {seed}: {mean} of {truth} +-{error}");
    }
}

#[test]
fn what_is_clear_is_decided_after_three_rounds() {
    let clear = Rig { noise: 0.0, ..SHARED };
    let mut governor = Governor::new(cpu(8));
    // A round is eight windows of 14 seconds.
    assert_eq!(clear.run(&mut governor, 0..360, 0, |_| true).threads, 4);
    assert!(!governor.view().measuring);
}

#[test]
fn a_rig_that_is_held_back_is_not_measured() {
    let mut governor = Governor::new(cpu(2));
    let all = SHARED.run(&mut governor, 0..500, 0, |second| second % 12 != 0);
    assert_eq!((all.threads, governor.view().windows), (2, 0), "no window came to its end");
    let mut blind = Governor::new(cpu(2));
    for second in 0..500 {
        let at = Duration::from_secs(second);
        let hashes = f64::from(u32::try_from(second).unwrap());
        blind.step(Reading { at, joules: None, hashes, ..NOTHING });
    }
    assert_eq!(blind.view().windows, 0);
}

#[test]
fn gpus_alone_may_be_best_and_longer_dispatches_too() {
    let rig = Rig {
        power: |s| 12.0_f64.mul_add(f64::from(s.threads), 300.0),
        rate: |s| {
            let gpu = 1e9 * (1.0 - 5.0 / f64::from(s.batch));
            1e6_f64.mul_add(f64::from(s.threads), gpu)
        },
        noise: 0.001,
    };
    let range = Range { threads: 4, gpus: true, interactive: false };
    let mut governor = Governor::new(range);
    let found = rig.run(&mut governor, 0..2_000, 3, |_| true);
    assert_eq!(found, Setting { threads: 0, batch: 400 });
    let mut interactive = Governor::new(Range { interactive: true, ..range });
    assert_eq!(rig.run(&mut interactive, 0..2_000, 3, |_| true).batch, 100);
}

/// Four threads and a GPU that hashes for so many seconds, is flagged as lost so many seconds
/// later, and takes the rig's meter along or not.
struct Losing {
    hashes_for: u64,
    flagged_after: Option<u64>,
    meter: bool,
}

impl Losing {
    /// Runs until so many seconds; gives the longest time without hashes, the time with the
    /// setting, and the governor.
    fn run(&self, until: u64) -> (u64, Governor) {
        let mut governor = Governor::new(Range { threads: 4, gpus: true, interactive: false });
        let mut setting = governor.setting();
        let (mut joules, mut hashes, mut still, mut longest) = (0.0, 0.0, 0, 0);
        for second in 0..until {
            let is_lost = second >= self.hashes_for;
            let gpu = if is_lost { 0.0 } else { 1e9 };
            let rate = 1e6_f64.mul_add(f64::from(setting.threads), gpu);
            joules += 12.0_f64.mul_add(f64::from(setting.threads), 300.0);
            hashes += rate;
            still = if rate > 0.0 { 0 } else { still + 1 };
            longest = longest.max(still);
            let flagged_at = self.flagged_after.map(|after| self.hashes_for + after);
            let joules = Some(joules).filter(|_| self.meter || !is_lost);
            let gpus = flagged_at.is_none_or(|at| second < at);
            let at = Duration::from_secs(second);
            setting = governor.step(Reading { at, joules, hashes, gpus, ..NOTHING });
        }
        (longest, governor)
    }
}

#[test]
fn a_gpu_that_is_lost_never_stops_the_rig() {
    // While it is measured without the CPU (the fifth of five turns), and once that was chosen.
    for hashes_for in [5, 62, 1_500] {
        for meter in [false, true] {
            for flagged_after in [None, Some(2), Some(90)] {
                let losing = Losing { hashes_for, flagged_after, meter };
                let (longest, governor) = losing.run(hashes_for + 1_500);
                let case = format!("{hashes_for} s, meter {meter}, flagged {flagged_after:?}");
                assert!(longest <= 15, "{case}: {longest} s without a hash");
                assert!(governor.setting().threads > 0, "{case}");
                let candidates = threads_tried(governor.range, governor.setting);
                let none = candidates.iter().any(|setting| setting.threads == 0);
                assert_eq!(none, flagged_after.is_none(), "{case}");
                if meter {
                    assert!(!governor.view().measuring, "{case}");
                    assert!(governor.view().best.unwrap().mean.is_finite(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_gpu_that_is_back_is_measured_again() {
    let losing = Losing { hashes_for: 1_500, flagged_after: Some(1), meter: true };
    let (_, mut governor) = losing.run(3_000);
    assert_eq!(governor.setting().threads, 4, "the CPU alone does best with all of them");
    let rig = Rig {
        power: |s| 12.0_f64.mul_add(f64::from(s.threads), 300.0),
        rate: |s| 1e6_f64.mul_add(f64::from(s.threads), 1e9),
        noise: 0.001,
    };
    governor.range.gpus = false;
    let at = Duration::from_secs(3_000);
    governor.step(Reading { at, gpus: true, ..NOTHING });
    assert!(governor.view().measuring);
    assert_eq!(rig.run(&mut governor, 3_001..5_000, 3, |_| true).threads, 0);
}

#[test]
fn where_nothing_hashes_at_all_the_usual_setting_stays() {
    let range = Range { threads: 0, gpus: true, interactive: false };
    let mut governor = Governor::new(range);
    for second in 0..700 {
        let at = Duration::from_secs(second);
        governor.step(Reading { at, gpus: true, ..NOTHING });
    }
    let View { setting, measuring, best, .. } = governor.view();
    assert_eq!((setting, measuring, best), (usual(range), false, None));
    // Without work, nothing is counted against a setting.
    let mut waiting = Governor::new(Range { threads: 4, ..range });
    for second in 0..600 {
        let at = Duration::from_secs(second);
        waiting.step(Reading { at, gpus: true, steady: false, may_hash: false, ..NOTHING });
    }
    assert_eq!(waiting.view().windows, 0);
}

#[test]
fn a_rig_that_changed_is_found_out_by_its_neighbours() {
    let mut governor = Governor::new(cpu(8));
    let quiet = Rig { noise: 0.002, ..SHARED };
    assert_eq!(quiet.run(&mut governor, 0..1_500, 1, |_| true).threads, 4);
    // Cores of their own for six: the best is further up, and reached step by step.
    let changed =
        Rig { rate: |s| (f64::from(s.threads).min(6.0)) * 1e6, ..Rig { noise: 0.002, ..SHARED } };
    assert_eq!(changed.run(&mut governor, 1_500..8_500, 2, |_| true).threads, 6);
}

#[test]
fn with_nothing_to_choose_nothing_is_measured() {
    let mut governor = Governor::new(cpu(1));
    assert_eq!(governor.step(NOTHING), Setting { threads: 1, batch: 100 });
    assert!(!governor.view().measuring);
    let threads = |range| {
        let tried = threads_tried(range, Setting { threads: 0, batch: 100 });
        tried.iter().map(|setting| setting.threads).collect::<Vec<_>>()
    };
    assert_eq!(threads(cpu(3)), [3, 2, 1]);
    assert_eq!(threads(cpu(64)), [64, 56, 48, 40, 32, 24, 16, 8]);
    let gpu = Range { threads: 0, gpus: true, interactive: false };
    assert_eq!(threads(gpu), [0]);
}

#[test]
fn intervals_are_students() {
    let Estimate { mean, error } = Estimate::of(&[1.0, 2.0, 3.0]);
    // s = 1, so t / sqrt(3).
    assert!((mean - 2.0).abs() < 1e-12 && (error - 9.925 / 3.0_f64.sqrt()).abs() < 1e-9);
    assert!(Estimate::of(&[1.0]).error.is_infinite());
    // Of many samples of five, 99 % hold the truth.
    let mut noise = Noise::new(7);
    let held = (0..4_000).filter(|_| {
        let values: Vec<f64> = (0..5).map(|_| noise.normal()).collect();
        let Estimate { mean, error } = Estimate::of(&values);
        mean.abs() <= error
    });
    let held = held.count();
    assert!((3_925..=3_990).contains(&held), "{held} of 4000");
}
