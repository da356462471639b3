//! Pay per share on a real chain: shares become balances as slices close, out of a reserve that is
//! never used up, and a pool that can pay for no more gives no work.

use std::{path::Path, time::Duration};

use ledger::Reader;
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    real::{configure, rpc},
    support::{ADDRESS, Miner, Pool, node::Node},
    verify,
};

const COIN: u64 = 100_000_000;
/// Somebody else than the pool's own account.
const MINER: &str = crate::real::OTHER;

/// Starts the pool with this scheme and reserve.
fn start(dir: &Path, node: &Node, scheme: &str, reserve: u64) -> Pool {
    let config = configure(dir, &rpc(node.port, node));
    let text = std::fs::read_to_string(&config).unwrap();
    let keys =
        format!("[payout]\nscheme = \"{scheme}\"\nreserve = \"{reserve}\"\nfee_percent = \"2\"");
    std::fs::write(&config, text.replace("[payout]", &keys)).unwrap();
    Pool::run(&config)
}

/// Satoshis in the miner's balance and in the reserve.
fn money(dir: &Path) -> (u64, u64) {
    let reader = Reader::open(&dir.join("pool.sqlite")).unwrap();
    let account = reader.account(MINER).unwrap().unwrap();
    (account.balance.to_sat(), reader.totals().unwrap().reserve.to_sat())
}

/// The miner's part of blocks that are not mature.
fn immature(dir: &Path) -> u64 {
    let reader = Reader::open(&dir.join("pool.sqlite")).unwrap();
    reader.account(MINER).unwrap().map_or(0, |account| account.immature.to_sat())
}

/// Sends one share, which is a block here, and lets its slice close. It may be late.
fn one_in_a_slice(miner: &mut Miner) {
    if miner.has_work() {
        let job = miner.next_job(None);
        let solution = miner.solve(&job);
        let _ = miner.send(&solution);
    }
    miner.listen();
}

async fn pays_until_the_reserve_is_used_up(scheme: &str) {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let pool = start(path, &node, scheme, 400);
    let mut miner = Miner::connect_as(pool.stratum, &format!("{MINER}.rig"));
    block_in_place(|| {
        while !miner.messages.iter().any(|text| text.contains("reserve is used up")) {
            one_in_a_slice(&mut miner);
        }
    });
    let (balance, reserve) = money(path);
    assert!(balance > 0, "slices were paid for before that");
    assert_eq!(balance + reserve, 400 * COIN, "all of it is one's or the other's");
    let metrics = block_in_place(|| pool.get("/metrics"));
    let line = format!("wattproof_pool_balance_satoshis{{kind=\"reserve\"}} {reserve}");
    assert!(metrics.contains(&line), "{line}\n{metrics}");
    assert!(block_in_place(|| pool.stop()));
    verify(path);

    // With more put aside, what is owed is paid, and there is work again.
    let pool = start(path, &node, scheme, 2_000_000);
    let mut miner = Miner::connect_as(pool.stratum, &format!("{MINER}.rig"));
    block_in_place(|| (0..3).for_each(|_| one_in_a_slice(&mut miner)));
    assert!(miner.accepted > 0);
    assert!(block_in_place(|| pool.stop()));
    let (more, left) = money(path);
    assert!(more > balance, "{more} after {balance}");
    assert_eq!(more + left, 2_000_000 * COIN);
    verify(path);
    let pool_account = Reader::open(&path.join("pool.sqlite")).unwrap().account(ADDRESS).unwrap();
    assert_eq!(pool_account.unwrap().balance.to_sat(), 0, "blocks are the reserve's");
}

#[tokio::test(flavor = "multi_thread")]
async fn pps_pays_until_the_reserve_is_used_up() {
    pays_until_the_reserve_is_used_up("pps").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fpps_pays_until_the_reserve_is_used_up() {
    pays_until_the_reserve_is_used_up("fpps").await;
}

/// Work before a halving is paid by the subsidy before it: its slice ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_ends_with_its_subsidy() {
    let Some(node) = Node::start(None).await else { return };
    // regtest halves every 150 blocks.
    node.client.call("generatetoaddress", json!([148, ADDRESS])).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let config = configure(path, &rpc(node.port, &node));
    let text = std::fs::read_to_string(&config).unwrap();
    let keys = "[payout]\nscheme = \"pps\"\nreserve = \"1000\"\nfee_percent = \"2\"";
    let text = text.replace("[payout]", keys).replace("= 0.2", "= 3");
    std::fs::write(&config, text).unwrap();
    let pool = Pool::run(&config);
    let mut miner = Miner::connect_as(pool.stratum, &format!("{MINER}.rig"));
    block_in_place(|| {
        let last = miner.next_job(None);
        let solution = miner.solve(&last);
        miner.send(&solution).unwrap();
        let halved = miner.next_job(Some(&last.id));
        let solution = miner.solve(&halved);
        miner.send(&solution).unwrap();
    });
    assert!(block_in_place(|| pool.stop()));
    let heights: Vec<u32> = crate::real::blocks(path).iter().map(|block| block.height).collect();
    assert_eq!(heights, [149, 150]);
    // What the pool did not come to pay for, the next start pays.
    let pool = Pool::run(&config);
    // A share is worth two blocks here.
    let paid = 2 * (COIN * 49 + COIN * 49 / 2);
    block_in_place(|| {
        for _ in 0..1_000 {
            if money(path).0 >= paid {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(money(path), (paid, COIN * 1_000 - paid));
    assert!(block_in_place(|| pool.stop()));
    verify(path);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scheme_settles_blocks_of_a_real_chain() {
    let Some(node) = Node::start(None).await else { return };
    for scheme in ["prop", "pplns", "pplnt", "tides", "solo"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let config = configure(path, &rpc(node.port, &node));
        let text = std::fs::read_to_string(&config).unwrap();
        let keys = format!("[payout]\nscheme = \"{scheme}\"");
        std::fs::write(&config, text.replace("[payout]", &keys)).unwrap();
        let pool = Pool::run(&config);
        let mut miner = Miner::connect_as(pool.stratum, &format!("{MINER}.rig"));
        block_in_place(|| {
            while immature(path) < 100 * COIN {
                one_in_a_slice(&mut miner);
            }
            assert_eq!(pool.json("/api/v1/pool")["scheme"], scheme);
        });
        assert!(block_in_place(|| pool.stop()));
        verify(path);
    }
}
