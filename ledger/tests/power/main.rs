//! The ledger on a disk that fails, and on one whose machine loses its power: whatever was
//! answered is there afterwards, once, and everything agrees.
//!
//! Read `disk.rs` (what a disk promises and how it fails), then `life.rs` (what is done on it)
//! and `oracle.rs` (what must hold). `vfs.rs` puts `SQLite` on such disks; it is the only VFS of
//! this program, which is why these tests have a program of their own. What happens to a pool
//! with its sockets on such a disk is tested in `pool/tests/power`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod disk;
mod life;
#[expect(dead_code, reason = "others ask for one share")]
mod oracle;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the other tests need the rest")]
mod support;
mod vfs;

use disk::{Dice, Disk, Fault, Loss};
use life::{Life, Step, audit, pruning, steps};
use vfs::Disks;

/// Seeds of the usual run; `WATTPROOF_POWER_SEEDS` names another number.
const SEEDS: u64 = 12;
/// Steps of a life, and the most shares of a batch in it.
const STEPS: usize = 60;
const BATCH: usize = 6;

fn seeds() -> u64 {
    std::env::var("WATTPROOF_POWER_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap())
}

/// A life on a disk that works, and what it costs in acts.
fn undisturbed(steps: &[Step]) -> u64 {
    let disks = Disks::get();
    let mut life = Life::begin(Disk::new(1));
    life.live(steps, Loss::All);
    let acts = disks.with(life.folder(), |disk| disk.acts);
    life.check();
    acts
}

/// Lives in which the power is lost at many acts; every copy that lost it is looked at. How many
/// of them had lost shares that were answered.
fn lives_that_lose_power(seed: u64, steps: &[Step], copies: usize, lies: bool) -> (usize, usize) {
    let acts = usize::try_from(undisturbed(steps)).unwrap();
    let mut dice = Dice::new(seed);
    let losses = (0..copies).map(|_| {
        let loss = [Loss::All, Loss::Some, Loss::Some, Loss::Nothing][dice.below(4)];
        (u64::try_from(dice.below(acts)).unwrap(), loss)
    });
    let mut disk = Disk::new(seed);
    disk.lose_power_at(losses.collect());
    disk.lies = lies;
    let disks = Disks::get();
    let mut life = Life::begin(disk);
    life.live(steps, Loss::All);
    let lost = disks.with(life.folder(), Disk::take_lost);
    let handed_in = life.shares.clone();
    let (count, mut forgetful) = (lost.len(), 0);
    for (copy, answered) in lost {
        let (folder, path) = disks.put(copy);
        let kept = match audit(&path) {
            // What is kept for nobody is lost, and with it what was answered.
            Err(_) if lies => 0,
            Err(why) => panic!("seed {seed}: {why}"),
            Ok(()) => {
                let shares = oracle::read(&path).shares;
                let same = shares.iter().zip(&handed_in).all(|(share, handed)| handed.is(share));
                assert!(same && shares.len() <= handed_in.len(), "others than were handed in");
                shares.len()
            }
        };
        disks.take(&folder);
        forgetful += usize::from(kept < answered);
    }
    (count, forgetful)
}

#[test]
fn what_was_answered_outlives_every_loss_of_power() {
    for seed in 1..=seeds() {
        let (copies, forgetful) =
            lives_that_lose_power(seed, &steps(seed, STEPS, BATCH), 60, false);
        assert!(copies > 40, "{copies}");
        assert_eq!(forgetful, 0, "seed {seed}: shares that were answered are lost");
    }
}

/// With so many shares that the write-ahead log is written back several times while they come.
#[test]
fn the_log_may_be_on_its_way_into_the_database() {
    let mut steps = steps(5, 500, 600);
    steps.retain(|step| !matches!(step, Step::Restart));
    let (copies, forgetful) = lives_that_lose_power(5, &steps, 24, false);
    assert!(copies > 20 && forgetful == 0, "{forgetful} of {copies}");
}

/// The test above sees what it is for: were nothing synced, it would fail.
#[test]
fn a_disk_that_only_says_that_it_synced_loses_what_was_answered() {
    let (mut copies, mut forgetful) = (0, 0);
    for seed in 1..=3 {
        let (some, lost) = lives_that_lose_power(seed, &steps(seed, STEPS, BATCH), 60, true);
        (copies, forgetful) = (copies + some, forgetful + lost);
    }
    assert!(forgetful > copies / 4, "{forgetful} of {copies}");
}

#[test]
fn a_fault_at_any_act_loses_nothing_that_was_answered() {
    let every: u64 = if seeds() > SEEDS { 1 } else { 7 };
    faults(&steps(99, STEPS, BATCH), every);
}

#[test]
fn headers_are_dropped_whatever_becomes_of_the_disk() {
    let every: u64 = if seeds() > SEEDS { 1 } else { 7 };
    let steps = pruning();
    faults(&steps, every);
    let (copies, forgetful) = lives_that_lose_power(7, &steps, 60, false);
    assert!(copies > 40 && forgetful == 0, "{forgetful} of {copies}");
    let mut life = Life::begin(Disk::new(7));
    life.live(&steps, Loss::All);
    assert_eq!(life.without_header(), 5 * 6, "five of nine slices");
    life.check();
}

/// Lives in which every so manieth act fails, in each way that there is.
fn faults(steps: &[Step], every: u64) {
    let acts = undisturbed(steps);
    let mut deaths = 0;
    for (kind, fault) in (0..).zip(Fault::ALL) {
        // Other acts for each kind, so that together they are nearly all.
        for act in (kind % every..acts).step_by(usize::try_from(every).unwrap()) {
            let mut disk = Disk::new(act);
            disk.fail_at(act, fault);
            let mut life = Life::begin(disk);
            let loss = [Loss::All, Loss::Some, Loss::Nothing][usize::try_from(act % 3).unwrap()];
            life.live(steps, loss);
            deaths += life.deaths;
            life.check();
        }
    }
    assert!(deaths > 10, "{deaths}");
}
