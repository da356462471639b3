//! Reports of energy and the first share of their worker, in whatever order they meet.

use std::{thread, time::Duration};

use energy::{
    SigningKey,
    meter::{Kind, MeterId, Scope, Tier},
    report::{EnergyReport, MeterReading},
};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use units::{MicroJoules, UnixMillis};

use crate::{
    EASY,
    miner::{ADDRESS, Raw},
    pool::Pool,
};

/// A plug that has counted so many joules, as a request of this id.
fn report(id: u64, joules: u64) -> Value {
    let meter = MeterReading {
        id: MeterId::new("plug:1").unwrap(),
        kind: Kind::Plug,
        scope: Scope::Rig,
        tier: Tier::METERED,
        epoch: 1,
        total: MicroJoules::new(u128::from(joules) * 1_000_000),
        coverage_ppm: 990_000,
        uncertainty_ppm: 100_000,
    };
    let report = EnergyReport {
        worker: format!("{ADDRESS}.raw"),
        at: UnixMillis::new(1_795_309_039_123 + joules),
        meters: vec![meter],
        hashes: None,
    };
    let signed = report.sign(&SigningKey::from_bytes(&[7; 32])).unwrap();
    json!({"id": id, "method": "mining.report_energy", "params": [signed]})
}

fn meet(pool: &Pool) -> Raw {
    let mut miner = Raw::connect(pool.stratum);
    let extension = json!([["energy-report"], { "energy-report.version": 1 }]);
    assert_eq!(miner.ask("mining.configure", &extension)["result"]["energy-report"], true);
    miner.subscribe(&json!(["raw/1"]));
    miner.authorize();
    miner
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_on_the_heels_of_which_the_first_share_comes_is_its_baseline() {
    let pool = Pool::start(EASY, "").await;
    block_in_place(|| {
        let mut miner = meet(&pool);
        let work = miner.work();
        let mut shares = work.shares();
        let share = json!({"id": 2, "method": "mining.submit", "params": shares.next().unwrap()});
        miner.write_all(&[report(1, 1), share, report(3, 3)]);
        let mut answers: Vec<Value> = (0..3).map(|_| miner.answer()).collect();
        answers.sort_by_key(|answer| answer["id"].as_u64());
        assert!(answers.iter().all(|answer| answer["result"] == true), "{answers:?}");
    });
    let covered = pool.stop_and_verify().await;
    assert!(covered.shares == 1 && covered.covered_work == covered.work, "{covered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_report_waits_for_a_share_on_another_connection() {
    let pool = Pool::start(EASY, "").await;
    block_in_place(|| {
        let mut agent = meet(&pool);
        agent.write(&report(1, 1));
        agent.write(&report(2, 2));
        let refused = agent.answer();
        assert!(refused["id"] == 2 && refused["result"] != true, "one waits: {refused}");
        let mut miner = meet(&pool);
        let share = miner.work().shares().next().unwrap();
        assert_eq!(miner.submit(&share)["result"], true);
        // The ledger is asked once a second; then the first is answered before the next.
        let first = (3..40).find_map(|second| {
            thread::sleep(Duration::from_millis(250));
            agent.write(&report(second, second));
            Some(agent.answer()).filter(|answer| answer["id"] == 1)
        });
        assert_eq!(first.unwrap()["result"], true);
        assert_eq!(agent.answer()["result"], true);
    });
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_work_does_not_ask_the_ledger_without_end() {
    let pool = Pool::start(EASY, "").await;
    block_in_place(|| {
        let mut miner = meet(&pool);
        miner.write(&report(1, 1));
        // The first answer says that it is kept.
        miner.write(&report(2, 2));
        assert_eq!(miner.answer()["id"], 2);
        let more: Vec<Value> = (3..8).map(|id| report(id, id)).collect();
        miner.write_all(&more);
        let asked = more.iter().filter(|_| !miner.answer().to_string().contains("wait a second"));
        assert!(asked.count() <= 2, "once in each second that these fall into");
    });
    pool.stop().await;
}
