//! Payouts by real transactions on a real node: made, bumped, reorganised, signed elsewhere, and
//! by a pool that is killed again and again.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bitcoin::{
    Address, CompressedPublicKey, KnownHrp, PrivateKey, Psbt, PublicKey,
    secp256k1::{Secp256k1, SecretKey},
};
use ledger::{BlockState, PayoutState, PayoutView, Reader, display_txid};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    real::{OTHER, blocks, find_block, rpc, state},
    support::{Miner, PATIENCE, Pool, node::Node},
    verify,
};

const TOKEN: &str = "let me pay";
/// Blocks until a coinbase can be spent.
const MATURE: usize = 100;

fn key(number: u8) -> (PrivateKey, CompressedPublicKey) {
    let secret = SecretKey::from_slice(&[number; 32]).unwrap();
    let key = PrivateKey::new(secret, bitcoin::Network::Regtest);
    let public = CompressedPublicKey::from_private_key(&Secp256k1::new(), &key).unwrap();
    (key, public)
}

fn address(number: u8) -> String {
    Address::p2wpkh(&key(number).1, KnownHrp::Regtest).to_string()
}

/// The pool's own key is number 1.
fn hot() -> String {
    format!("wpkh({})", key(1).0.to_wif())
}

fn cold() -> String {
    format!("wpkh({})", key(1).1)
}

fn configure(dir: &Path, node: &Node, descriptor: &str, more: &str) -> PathBuf {
    let text = format!(
        "[stratum]\nlisten = [\"127.0.0.1:0\"]\ndifficulty = {{ vardiff = false }}\n\
         [payout]\naddress = \"{}\"\ndescriptor = \"{descriptor}\"\nconfirmations = 3\n{more}\n\
         [ledger]\npath = \"{}\"\nslice_seconds = 0.2\n\
         [http]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n\
         [node]\nnetwork = \"regtest\"\n{}",
        address(1),
        dir.join("pool.sqlite").display(),
        rpc(node.port, node),
    );
    let config = dir.join("pool.toml");
    std::fs::write(&config, text).unwrap();
    config
}

/// `wattproof-pool payout …`: its answer, or what it said on stderr.
fn payout(config: &Path, pool: Option<&Pool>, args: &[&str]) -> Result<Value, String> {
    let (done, out, err) = ask(config, pool, args);
    if done { serde_json::from_str(&out).map_err(|error| error.to_string()) } else { Err(err) }
}

fn ask(config: &Path, pool: Option<&Pool>, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"));
    command.arg("payout").args(args).arg("--json").arg("-c").arg(config);
    if let Some(pool) = pool {
        command.args(["--pool", &pool.http.to_string()]);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn reader(dir: &Path) -> Reader {
    Reader::open(&dir.join("pool.sqlite")).unwrap()
}

fn newest(dir: &Path) -> PayoutView {
    reader(dir).payouts(1).unwrap().remove(0)
}

async fn mine(node: &Node, count: usize) -> Vec<Value> {
    let mined = node.client.call("generatetoaddress", json!([count, OTHER])).await.unwrap();
    mined.as_array().unwrap().clone()
}

async fn mempool(node: &Node) -> Vec<Value> {
    node.client.call("getrawmempool", json!([])).await.unwrap().as_array().unwrap().clone()
}

/// Satoshis that an address has on the chain.
async fn received(node: &Node, address: &str) -> u64 {
    let found = node.client.call("scantxoutset", json!(["start", [format!("addr({address})")]]));
    let btc = found.await.unwrap()["total_amount"].as_f64().unwrap();
    bitcoin::Amount::from_btc(btc).unwrap().to_sat()
}

async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come"));
}

/// Has the pool find blocks with the shares of accounts 2 and 3, and makes them mature.
async fn earn(dir: &Path, node: &Node, pool: &Pool, count: usize) {
    let mut miners: Vec<Miner> = [2, 3]
        .map(|number| Miner::connect_as(pool.stratum, &format!("{}.rig", address(number))))
        .into();
    let mut newest = [0; 32];
    for round in 0..count {
        newest = block_in_place(|| find_block(&mut miners[round % 2]));
    }
    mine(node, MATURE).await;
    state(dir, newest, BlockState::Mature).await;
}

/// Every account's balance, sending and paid are what its mature blocks credited.
fn check_sums(dir: &Path) {
    let reader = reader(dir);
    let mut earned: BTreeMap<String, u64> = BTreeMap::new();
    for block in blocks(dir).iter().filter(|block| block.state == BlockState::Mature) {
        for credit in reader.credits_of(&block.hash).unwrap() {
            *earned.entry(credit.account).or_default() += credit.sats.to_sat();
        }
    }
    for row in reader.balances().unwrap() {
        let sum = row.balance.to_sat() + row.sending.to_sat() + row.paid.to_sat();
        assert_eq!(sum, earned.get(&row.account).copied().unwrap_or(0), "{row:?}");
    }
}

/// What the chain gave each miner is what the ledger says it was paid, to the satoshi.
async fn check_chain(dir: &Path, node: &Node) {
    for row in reader(dir).balances().unwrap() {
        if row.account != address(1) {
            assert_eq!(received(node, &row.account).await, row.paid.to_sat(), "{row:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_are_paid_by_transactions_bumped_when_stuck_and_followed_over_a_reorganisation() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let config = configure(path, &node, &hot(), "fee_rate = 2");
    let pool = Pool::run(&config);
    earn(path, &node, &pool, 3).await;
    let order = |args: &[&str]| block_in_place(|| payout(&config, Some(&pool), args));

    let shown = order(&["run", "--dry-run"]).unwrap();
    assert!(shown["payout"].is_null() && shown["satoshis"].as_u64() > Some(0), "{shown}");
    assert_eq!(reader(path).payouts(9).unwrap(), []);
    assert_eq!(mempool(&node).await, Vec::<Value>::new());

    // Planned and then sent, as after a crash between the two.
    let planned = order(&["plan"]).unwrap();
    assert_eq!((&planned["payout"], mempool(&node).await), (&json!(1), vec![]));
    let done = order(&["run"]).unwrap();
    assert_eq!(done["sent"][0]["sent"], true, "{done}");
    assert_eq!(mempool(&node).await, [done["sent"][0]["txid"].clone()]);
    check_sums(path);
    assert!(order(&["cancel", "1"]).unwrap_err().contains("released"));
    let nothing = order(&["run"]).unwrap();
    assert_eq!(nothing["accounts"], 0, "what is sent is not due again: {nothing}");

    let low = order(&["bump", "1", "--fee-rate", "1"]).unwrap_err();
    assert!(low.contains("1 sat/vB: expected more than"), "{low}");
    let bumped = order(&["bump", "1", "--fee-rate", "20"]).unwrap();
    assert_eq!(mempool(&node).await, [bumped["txid"].clone()], "{bumped}");
    let block = mine(&node, 1).await.remove(0);
    wait_for("a confirmed payout", || newest(path).state == PayoutState::Confirmed).await;
    assert_eq!((newest(path).version, newest(path).released), (2, true));

    // The block is taken back, and the payout comes into another one.
    node.client.call("invalidateblock", json!([block])).await.unwrap();
    wait_for("an open payout", || newest(path).state == PayoutState::Signed).await;
    assert_eq!(newest(path).height, None);
    check_sums(path);
    // To another address: the same block again is known to be invalid.
    let mined = node.client.call("generatetoaddress", json!([2, address(9)])).await;
    assert_eq!(mined.unwrap().as_array().map(Vec::len), Some(2));
    wait_for("a confirmed payout", || newest(path).state == PayoutState::Confirmed).await;
    mine(&node, 1).await;
    wait_for("a paid payout", || newest(path).state == PayoutState::Settled).await;
    check_sums(path);
    check_chain(path, &node).await;
    let status = order(&["status"]).unwrap();
    assert_eq!(status["payouts"][0]["state"], "settled", "{status}");
    assert!(status["network_fees"].as_u64() > Some(0), "{status}");
    let listed = pool.json("/api/v1/payouts");
    assert_eq!(listed[0]["txid"], bumped["txid"], "{listed}");
    assert!(block_in_place(|| pool.stop()));
    assert_eq!(verify(path)["payouts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_signed_elsewhere_and_none_is_made_while_they_are_paused() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let config = configure(path, &node, &cold(), "");
    let pool = Pool::run(&config);
    earn(path, &node, &pool, 2).await;
    assert!(block_in_place(|| pool.stop()));
    // Without a pool the command line does it on the ledger itself.
    let order = |args: &[&str]| block_in_place(|| payout(&config, None, args));
    order(&["pause", "--reason", "the vault is being moved"]).unwrap();
    let paused = order(&["plan"]).unwrap_err();
    assert!(paused.contains("the vault is being moved"), "{paused}");
    assert_eq!(order(&["status"]).unwrap()["paused"], true);
    order(&["resume"]).unwrap();
    let planned = order(&["plan"]).unwrap();
    assert_eq!((&planned["payout"], &planned["signed"]), (&json!(1), &json!(false)));
    let exported = order(&["export-psbt", "1"]).unwrap();
    assert!(order(&["cancel", "1"]).unwrap_err().contains("released"));

    let file = path.join("payout.psbt");
    let unsigned = exported["psbt"].as_str().unwrap();
    std::fs::write(&file, unsigned).unwrap();
    let name = file.to_str().unwrap();
    let refused = order(&["import-psbt", name]).unwrap_err();
    assert!(refused.contains("signatures"), "{refused}");
    let mut psbt: Psbt = unsigned.parse().unwrap();
    let keys = BTreeMap::from([(PublicKey::from(key(1).1), key(1).0)]);
    psbt.sign(&keys, &Secp256k1::new()).unwrap();
    std::fs::write(&file, psbt.to_string()).unwrap();
    let sent = order(&["import-psbt", name]).unwrap();
    assert_eq!((&sent["sent"], &sent["txid"]), (&json!(true), &planned["txid"]), "{sent}");
    mine(&node, 3).await;
    let pool = Pool::run(&config);
    wait_for("a paid payout", || newest(path).state == PayoutState::Settled).await;
    check_sums(path);
    check_chain(path, &node).await;
    assert!(block_in_place(|| pool.stop()));
    verify(path);
}

/// Waits until the pool is to be killed: at any moment, or when it has just planned a payout, in
/// the milliseconds in which it is released and sent.
async fn kill_time(dir: &Path, any: bool, before: usize, random: u64) {
    if any {
        return tokio::time::sleep(Duration::from_millis(random & 0x1ff)).await;
    }
    let reader = reader(dir);
    for _ in 0..1_500 {
        if reader.payouts(10_000).unwrap().len() > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_micros(random & 0x1fff)).await;
}

/// Payouts that a kill left signed: not released, released and not in the mempool, in it.
async fn open_payouts(dir: &Path, node: &Node) -> [usize; 3] {
    let waiting = mempool(node).await;
    let mut left = [0; 3];
    for payout in reader(dir).payouts(9).unwrap() {
        let sent = waiting.contains(&json!(display_txid(&payout.txid)));
        if payout.state == PayoutState::Signed {
            left[usize::from(payout.released) + usize::from(payout.released && sent)] += 1;
        }
    }
    left
}

/// Kills on one chain. A reward on regtest halves every 150 blocks, and each kill needs one that pays.
const KILLS_A_CHAIN: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_killed_at_any_moment_pays_nobody_twice() {
    let kills: usize =
        std::env::var("WATTPROOF_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for done in (0..kills).step_by(KILLS_A_CHAIN) {
        let Some(node) = Node::start(None).await else { return };
        killed_while_it_pays(&node, KILLS_A_CHAIN.min(kills - done), &mut seed).await;
        let _ = writeln!(std::io::stderr(), "{} of {kills}", kills.min(done + KILLS_A_CHAIN));
    }
}

async fn killed_while_it_pays(node: &Node, kills: usize, seed: &mut u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let quiet = configure(path, node, &hot(), "");
    let pool = Pool::run(&quiet);
    let mut miners: Vec<Miner> = [2, 3]
        .map(|number| Miner::connect_as(pool.stratum, &format!("{}.rig", address(number))))
        .into();
    // As many blocks as there are rounds: one becomes mature in each.
    for round in 0..kills {
        block_in_place(|| find_block(&mut miners[round % 2]));
    }
    drop(miners);
    assert!(block_in_place(|| pool.stop()));
    mine(node, MATURE - kills.min(MATURE - 1)).await;

    let config = configure(path, node, &hot(), "interval_seconds = 0.02");
    let mut left = [0; 3];
    for round in 0..kills {
        mine(node, 1).await;
        let before = reader(path).payouts(10_000).unwrap().len();
        let pool = block_in_place(|| Pool::run(&config));
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        kill_time(path, round % 2 == 0, before, *seed >> 33).await;
        pool.kill();
        check_sums(path);
        let found = open_payouts(path, node).await;
        for (sum, count) in left.iter_mut().zip(found) {
            *sum += count;
        }
        let report = block_in_place(|| verify(path));
        assert_eq!(report["ok"], true, "round {round}: {report}");
    }
    let planned = reader(path).payouts(10_000).unwrap().len();
    let pool = block_in_place(|| Pool::run(&config));
    let open = || {
        let payouts = reader(path).payouts(10_000).unwrap();
        let open = payouts.iter().filter(|payout| payout.state.is_open()).count();
        (open, payouts.len())
    };
    for _ in 0..200 {
        if open().0 == 0 && open().1 > 1 {
            break;
        }
        mine(node, 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(open().0, 0, "of {} payouts", open().1);
    assert!(block_in_place(|| pool.stop()));
    check_sums(path);
    check_chain(path, node).await;
    let report = verify(path);
    let (_, payouts) = open();
    assert!(payouts >= planned, "{report}");
    let mut stderr = std::io::stderr();
    writeln!(
        stderr,
        "{kills} kills left payouts {left:?} times not released, not in the mempool, in it; \
         {payouts} payouts of {} sat",
        report["satoshis_paid"]
    )
    .unwrap();
}

#[test]
fn payouts_are_paused_where_no_node_answers() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pool.toml");
    let text = format!(
        "[stratum]\nlisten = [\"127.0.0.1:0\"]\n[payout]\naddress = \"{}\"\ndescriptor = \"{}\"\n\
         [ledger]\npath = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [node]\nnetwork = \"regtest\"\nurl = \"http://127.0.0.1:1\"\nauth = \"a:b\"\n",
        address(1),
        hot(),
        dir.path().join("pool.sqlite").display(),
    );
    std::fs::write(&config, text).unwrap();
    payout(&config, None, &["pause"]).unwrap();
    let status = payout(&config, None, &["status"]).unwrap();
    assert_eq!(status["paused"], true, "{status}");
    let unreached = payout(&config, None, &["plan"]).unwrap_err();
    assert!(unreached.contains("127.0.0.1:1") && !unreached.contains(&hot()), "{unreached}");
    assert_eq!(payout(&config, None, &["resume"]).unwrap()["paused"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_the_token_changes_nothing() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), &node, &hot(), "");
    let pool = Pool::run(&config);
    let url = format!("http://{}/api/v1/payouts/orders", pool.http);
    let post = |bearer: &str| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.post(&url).header("authorization", bearer);
        request.send(r#"{"order":"pause"}"#).unwrap().status().as_u16()
    };
    block_in_place(|| {
        for bearer in ["", "Bearer", "Bearer let me", "Basic let me pay"] {
            assert_eq!(post(bearer), 401, "{bearer:?}");
        }
        assert!(!reader(dir.path()).outbox().unwrap().paused);
        assert_eq!(post(&format!("Bearer {TOKEN}")), 200);
        assert!(reader(dir.path()).outbox().unwrap().paused);
        assert!(pool.stop());
    });
}
