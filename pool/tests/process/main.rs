//! The pool as a process: shares over real sockets, blocks on the embedded chain, kill -9, and
//! what the page, the metrics, the API and the ledger say of the same work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod block_life;
mod copies;
mod direct;
mod kills;
mod money;
mod node_loss;
#[path = "../../../ledger/tests/power/oracle.rs"]
#[expect(dead_code, reason = "the tests of the ledger need the rest")]
mod oracle;
mod ports;
mod real;
mod refusals;
mod renewal;
#[path = "../support/mod.rs"]
mod support;
mod two_nodes;
mod wages;
mod wire;

use std::process::Command;

use serde_json::Value;
use support::{ADDRESS, Miner, Pool};

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn verify(data: &std::path::Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"))
        .args(["verify", "ledger", "--json", "--dir"])
        .arg(data)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.success(), report["ok"] == true, "{report}");
    report
}

fn sample(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.split(' ').nth(1))
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .unwrap()
}

#[test]
fn every_surface_says_the_same() {
    let data = tempfile::tempdir().unwrap();
    let pool = Pool::start(data.path());
    let mut miner = Miner::connect(pool.stratum);
    let mut wanted = 100;
    while count(&pool.json("/api/v1/pool")["blocks"]["found"]) < 1 {
        assert!(miner.mine(|miner| miner.accepted >= wanted));
        wanted += 50;
    }
    miner.settle();

    let settled = pool.wait_until("every block on the chain", |pool| {
        count(&pool["blocks"]["found"]) > 0 && count(&pool["blocks"]["unresolved"]) == 0
    });
    assert_eq!(count(&settled["shares"]["accepted"]), miner.accepted);
    let metrics = pool.get("/metrics");
    assert_eq!(
        sample(&metrics, "wattproof_pool_shares_total{verdict=\"accepted\"}"),
        miner.accepted
    );
    assert_eq!(
        sample(&metrics, "wattproof_pool_work_hashes_total"),
        count(&settled["work_hashes"])
    );
    assert_eq!(
        sample(&metrics, "wattproof_pool_balance_satoshis{kind=\"immature\"}"),
        count(&settled["satoshis"]["immature"])
    );
    let page = pool.get("/");
    assert!(page.contains("Shares accepted") && page.contains("Newest blocks"), "{page}");
    let account = pool.json(&format!("/api/v1/accounts/{ADDRESS}"));
    assert_eq!(account["work_hashes"], settled["work_hashes"]);
    assert_eq!(account["workers"][0]["name"], "test");
    let workers = pool.json(&format!("/api/v1/accounts/{ADDRESS}/workers"));
    assert_eq!(workers[0]["work_hashes"], settled["work_hashes"]);
    // Nothing is lost between a reward and the accounts: all of it is immature or credited.
    let blocks = pool.json("/api/v1/blocks");
    let on_chain = blocks.as_array().unwrap().iter().filter(|block| block["state"] != "orphaned");
    let rewards: u64 = on_chain.map(|block| count(&block["satoshis"])).sum();
    let satoshis = &pool.json("/api/v1/pool")["satoshis"];
    assert_eq!(count(&satoshis["immature"]) + count(&satoshis["credited"]), rewards);

    assert!(pool.stop(), "the pool ends well when asked to");
    let report = verify(data.path());
    assert_eq!(count(&report["shares"]), miner.accepted, "{report}");
    assert_eq!(report["work"], settled["work_hashes"]);
}

#[test]
fn kill_nine_loses_no_answered_share_and_the_round_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let mut answered = 0;
    let mut blocks = 0;
    for round in 1..=4 {
        let pool = Pool::start(data.path());
        let before = pool.json("/api/v1/pool");
        let kept = count(&before["shares"]["accepted"]);
        assert!(kept >= answered, "round {round}: {answered} answered, {kept} kept");
        let found = count(&before["blocks"]["found"]);
        assert!(found >= blocks, "round {round}: blocks were lost");
        let mut miner = Miner::connect(pool.stratum);
        // Killed with shares on their way: whatever was answered by then must be there after.
        assert!(miner.mine(|miner| miner.accepted >= 150));
        blocks = count(&pool.json("/api/v1/pool")["blocks"]["found"]);
        pool.kill();
        miner.settle();
        answered = kept + miner.accepted;
        let report = verify(data.path());
        assert!(report["ok"] == true && count(&report["shares"]) >= answered, "{report}");
    }
    let pool = Pool::start(data.path());
    let resolved = pool.wait_until("every block's fate and a template", |pool| {
        count(&pool["blocks"]["unresolved"]) == 0 && !pool["template"]["height"].is_null()
    });
    assert!(count(&resolved["shares"]["accepted"]) >= answered);
    // Two may have been found at one height; but every block of the chain is in the ledger.
    let on_chain = count(&resolved["blocks"]["immature"]) + count(&resolved["blocks"]["mature"]);
    assert_eq!(on_chain + 1, count(&resolved["template"]["height"]), "{resolved}");
    assert!(pool.stop());
}
