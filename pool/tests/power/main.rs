//! The whole pool in this process, with its sockets, on a disk whose machine loses its power: what
//! a miner was told is there afterwards, once.
//!
//! The disk and the oracle are those of `ledger/tests/power`, whose `main.rs` says what to read.
//! A copy of the disk loses its power right after an answer came in; the pool goes on and does
//! not notice, so that one run is looked at many times.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../ledger/tests/power/disk.rs"]
#[expect(dead_code, reason = "faults are for the tests of the ledger")]
mod disk;
#[path = "../stratum/miner.rs"]
#[expect(dead_code, reason = "the other tests need the rest")]
mod miner;
#[path = "../../../ledger/tests/power/oracle.rs"]
mod oracle;
#[path = "../stratum/pool.rs"]
#[expect(dead_code, reason = "the other tests need the rest")]
mod pool;
#[path = "../../../ledger/tests/power/vfs.rs"]
mod vfs;

use ledger::{Ledger, Scheme, Settings, verify};
use serde_json::json;
use stratum::job::sha256d;
use tokio::task::block_in_place;
use units::{BasisPoints, Target};

use disk::{Dice, Disk, Loss};
use miner::Raw;
use pool::Pool;
use vfs::Disks;

/// A share takes 43 hashes, a block about as many as fourteen shares.
const DIFFICULTY: &str = "0.00000001";
const BLOCK_WORK: u32 = 600;
/// Shares that are sent before any of their answers is waited for.
const BURST: usize = 12;
/// Losses of power.
const LOSSES: usize = 60;

/// Copies that lost their power, each with the headers that were answered by then.
type Lost = Vec<(Disk, usize)>;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_miner_was_told_outlives_every_loss_of_power() {
    let disks = Disks::get();
    let (folder, _) = disks.put(Disk::new(7));
    let pool = Pool::start_in(folder, DIFFICULTY, "", BLOCK_WORK).await;
    let (answered, lost) = block_in_place(|| mine(disks, &pool));
    assert_eq!(lost.len(), LOSSES);
    let kept = pool.stop().await;
    assert_eq!(kept, u64::try_from(answered.len()).unwrap(), "every answer is a share");

    let mut blocks = 0;
    let mut last = Disk::new(0);
    for (copy, count) in lost {
        let (folder, path) = disks.put(copy);
        blocks = block_in_place(|| check(&path, &answered[..count]));
        last = disks.take(&folder);
    }
    assert!(blocks > 3, "{blocks}");

    // And the pool starts on what is left.
    let (folder, _) = disks.put(last);
    let pool = Pool::start_in(folder, DIFFICULTY, "", BLOCK_WORK).await;
    block_in_place(|| {
        let mut miner = connect(&pool);
        let share = miner.work().shares().next().unwrap();
        assert_eq!(miner.submit(&share)["result"], true);
    });
    pool.stop().await;
}

fn connect(pool: &Pool) -> Raw {
    let mut miner = Raw::connect(pool.stratum);
    miner.subscribe(&json!(["raw/1"]));
    miner.authorize();
    miner
}

/// Mines, and loses the power of copies of the disk at once after one answer of each burst.
fn mine(disks: &Disks, pool: &Pool) -> (Vec<[u8; 80]>, Lost) {
    let mut miner = connect(pool);
    let mut dice = Dice::new(3);
    let (mut answered, mut lost) = (Vec::new(), Vec::new());
    let (mut work, mut used) = (miner.work(), 0);
    while lost.len() < LOSSES {
        assert_eq!(miner.ask("mining.ping", &json!([]))["result"], "pong");
        while miner.was_told("mining.notify") {
            (work, used) = (miner.work(), 0);
        }
        let burst: Vec<_> = work.headers().skip(used).take(BURST).collect();
        used += BURST;
        for (id, (_, share)) in burst.iter().enumerate() {
            miner.write(&json!({"id": id, "method": "mining.submit", "params": share}));
        }
        let chosen = dice.below(BURST);
        for number in 0..BURST {
            // Not always in order: a block is written down before its share is.
            let answer = miner.answer();
            if answer["result"] == true {
                let id = usize::try_from(answer["id"].as_u64().unwrap()).unwrap();
                answered.push(burst[id].0);
            } else {
                assert_eq!(answer["error"][0], 21, "a block may have come: {answer}");
            }
            if number == chosen {
                let loss = [Loss::All, Loss::Some][dice.below(2)];
                let copy = disks.with(&pool.dir, |disk| disk.after_power_loss(loss));
                lost.push((copy, answered.len()));
            }
        }
    }
    (answered, lost)
}

/// That all that was answered is in the ledger at `path`, and that it is sound. How many blocks
/// it has.
fn check(path: &std::path::Path, answered: &[[u8; 80]]) -> usize {
    let settings = Settings {
        scheme: Scheme::Pplns { window_hundredths: 200 },
        fee: BasisPoints::new(100).unwrap(),
        fee_account: miner::ADDRESS.to_owned(),
        maturity: 100,
        best_headers: 16,
    };
    drop(Ledger::open(path, settings).unwrap());
    let report = verify::ledger(path).unwrap();
    assert!(report.ok, "{:#?}", report.problems);
    let said = oracle::read(path);
    for header in answered {
        assert!(said.has(header), "a share that was answered is lost");
        let mut hash = sha256d(header);
        let bits = u32::from_le_bytes(header[72..76].try_into().unwrap());
        if Target::from_compact(bits).unwrap().is_met_by(&hash) {
            hash.reverse();
            assert!(said.blocks.contains_key(&hex::encode(hash)), "a block is lost");
        }
    }
    said.blocks.len()
}
