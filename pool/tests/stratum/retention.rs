//! Headers of shares that no block needs any more: dropped while the pool runs, and kept where the
//! configuration says so. Every second hash is a block here, so that each share is one, and the
//! window of a block is its own share.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use ledger::{AccountSummary, Balance, BlockState, CreditView, Reader};
use pool::{clock::Clock, devchain::Options};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::{
    miner::{PATIENCE, Raw, Work},
    pool::{Extra, Pool},
};

/// A share each 43 hashes.
const DIFFICULTY: &str = "0.00000001";
/// So many that the first ones are mature, and with them whole slices.
const BLOCKS: usize = 140;
const DROP: &str = "keep_days = 0\n";
const KEEP_ALL: &str = "keep_all = true\n";
const KEEP_A_DAY: &str = "keep_days = 1\n";
const DROPPED: &str = "wattproof_pool_ledger_headers_dropped_total";
const PRUNED: &str = "wattproof_pool_ledger_pruned_slice";

/// Starts a pool whose slices are short, with more keys of `[ledger]`.
async fn start(dir: TempDir, keys: &str) -> Pool {
    let rules = Options { retarget: false, ..Options::default() };
    let ledger = format!("slice_seconds = 0.1\n{keys}");
    let more = Extra { ledger: &ledger, ..Extra::default() };
    Pool::start_on(rules, dir, DIFFICULTY, more).await
}

/// Finds blocks, one behind the other, until there are `enough` of them.
fn find_blocks(pool: &Pool, mut enough: impl FnMut(usize) -> bool) {
    let mut miner = connect(pool);
    let (clock, mut found) = (Clock::start(), 0);
    while !enough(found) {
        assert!(clock.now().mono < PATIENCE, "{found} blocks, and they are not enough");
        let work = newest(&mut miner);
        let share = work.shares().next().unwrap();
        // One that comes too late is no block.
        if miner.submit(&share)["result"] == true {
            found += 1;
        }
    }
}

fn connect(pool: &Pool) -> Raw {
    let mut miner = Raw::connect(pool.stratum);
    miner.subscribe(&json!(["raw/1"]));
    miner.authorize();
    miner
}

/// The newest work on another block than before.
fn newest(miner: &mut Raw) -> Work {
    let mut other_block = false;
    loop {
        let work = miner.work();
        other_block |= work.clean;
        if other_block && !miner.was_told("mining.notify") {
            return work;
        }
    }
}

/// A figure of `/metrics`, which is a whole number.
fn figure(http: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(http).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: pool\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

fn reader(dir: &TempDir) -> Reader {
    Reader::open(&dir.path().join("pool.sqlite")).unwrap()
}

/// Every account with its satoshis and its work, and every block's credits.
fn books(dir: &TempDir) -> (Vec<Balance>, Vec<AccountSummary>, Vec<Vec<CreditView>>) {
    let reader = reader(dir);
    let blocks = reader.blocks(1000).unwrap();
    let credits = blocks.iter().map(|block| reader.credits_of(&block.hash).unwrap());
    (reader.balances().unwrap(), reader.accounts(100).unwrap(), credits.collect())
}

/// Waits until every block's fate is written: of the pool's own chain all but the newest 99 blocks
/// are mature.
fn settle(pool: &Pool) {
    let count = |state| {
        let blocks = reader(&pool.dir).blocks(1000).unwrap();
        blocks.iter().filter(|block| block.state == state).count()
    };
    let states = [BlockState::Candidate, BlockState::Submitted, BlockState::OnChain];
    wait_until("every block's fate", || states.map(count) == [0, 0, 99]);
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let clock = Clock::start();
    while !holds() {
        assert!(clock.now().mono < PATIENCE, "{what} did not come");
        thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_old_slices_are_dropped_while_the_pool_runs() {
    let pool = start(tempfile::tempdir().unwrap(), DROP).await;
    block_in_place(|| {
        find_blocks(&pool, |found| found >= BLOCKS && figure(pool.http, DROPPED) > 0);
    });
    assert!(figure(pool.http, PRUNED) > 0);
    let (report, _dir) = pool.leave().await;
    assert!(report.without_header > 0, "{report:?}");
    assert!(report.without_header < report.shares, "what is not mature stays: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_stay_where_they_are_kept_and_no_balance_changes_when_they_go() {
    let pool = start(tempfile::tempdir().unwrap(), KEEP_ALL).await;
    block_in_place(|| {
        find_blocks(&pool, |found| found >= BLOCKS);
        settle(&pool);
    });
    let (report, mut dir) = pool.leave().await;
    assert_eq!(report.without_header, 0, "{report:?}");
    let before = books(&dir);
    // What may go is looked for at the start.
    for keys in [KEEP_ALL, KEEP_A_DAY] {
        let pool = start(dir, keys).await;
        block_in_place(|| connect(&pool).work());
        let (report, left) = pool.leave().await;
        assert_eq!(report.without_header, 0, "{keys}: {report:?}");
        dir = left;
    }
    let pool = start(dir, DROP).await;
    block_in_place(|| wait_until("a dropped header", || figure(pool.http, DROPPED) > 0));
    let (report, dir) = pool.leave().await;
    assert!(report.without_header > 0, "{report:?}");
    assert_eq!(books(&dir), before);
}
