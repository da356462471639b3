//! What the pool says when it cannot start, or cannot give work: one line that names the thing,
//! the right exit status, and nothing lost.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use ledger::BlockState;
use tokio::task::block_in_place;

use crate::{
    real::{self, find_block, rpc, state},
    support::{ADDRESS, Miner, Pool, node::Node},
    verify,
    wire::{Fault, Wire},
};

/// A node that nobody serves: what is refused here is refused before it is asked.
const NO_NODE: &str = "[node]\nurl = \"http://127.0.0.1:1\"\nauth = \"u:hunter2\"\n";

fn config(dir: &Path, text: &str) -> std::path::PathBuf {
    let path = dir.join("pool.toml");
    fs::write(&path, text).unwrap();
    path
}

fn working(dir: &Path) -> String {
    format!(
        "{NO_NODE}network = \"regtest\"\n[payout]\naddress = \"{ADDRESS}\"\n\
         [stratum]\nlisten = [\"127.0.0.1:0\"]\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [ledger]\npath = \"{}\"\n",
        dir.join("pool.sqlite").display()
    )
}

/// Runs the pool, which must end by itself, with this status and these words on stderr, a line for
/// each mistake.
fn refused(config: &Path, status: i32, words: &[&str]) {
    let output = pool(&["run", "-c", config.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(!said.contains("hunter2"), "a secret was told: {said}");
    assert!(output.stdout.is_empty(), "nothing runs");
}

fn one_line(config: &Path, status: i32, words: &[&str]) {
    refused(config, status, words);
    let output = pool(&["run", "-c", config.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
}

fn pool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattproof-pool"))
        .args(arguments)
        .env("WATTPROOF_POOL_LOG", "error")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_configuration_is_refused_with_every_mistake_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere.toml");
    one_line(&missing, 2, &["nowhere.toml"]);
    let text = working(dir.path())
        .replace("[stratum]", "[stratum]\nlisen = 5\ndifficulty = { start = -1.0 }")
        .replace(ADDRESS, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
    let words = ["stratum.lisen: unknown key", "difficulty.start", "-1", "payout.address"];
    refused(&config(dir.path(), &text), 2, &words);
    let mistyped = working(dir.path()).replace(ADDRESS, &ADDRESS.replace("080", "081"));
    one_line(&config(dir.path(), &mistyped), 2, &["payout.address", "pool.toml"]);
    one_line(&config(dir.path(), "[node\n"), 2, &["pool.toml:1", "not TOML"]);
    assert!(!dir.path().join("pool.sqlite").exists(), "a refused pool leaves no ledger");
}

#[test]
fn a_taken_port_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["[stratum]\nlisten = [\"", "[http]\nlisten = \""] {
        let text =
            working(dir.path()).replace(&format!("{key}127.0.0.1:0"), &format!("{key}{address}"));
        let name = if key.contains("http") { "http.listen" } else { "stratum.listen" };
        one_line(&config(dir.path(), &text), 1, &[name, &address]);
    }
}

#[test]
fn a_ledger_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("pool.sqlite");
    let config = config(dir.path(), &working(dir.path()));
    // Held by another pool, which goes on.
    let first = Pool::run(&config);
    one_line(&config, 1, &["pool.sqlite", "another"]);
    assert!(first.stop());
    // Not a database; and what it is stays as it was.
    fs::write(&ledger, "my shopping list, which is long enough to be looked at").unwrap();
    one_line(&config, 1, &["pool.sqlite"]);
    assert!(fs::read_to_string(&ledger).unwrap().starts_with("my shopping list"));
    fs::remove_file(&ledger).unwrap();
    fs::create_dir(&ledger).unwrap();
    one_line(&config, 1, &["pool.sqlite"]);
}

/// A file may grow to so many KiB; the limit stands for a disk that is full.
const DISK_KIB: u32 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_shares_and_loses_none() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = real::configure(dir.path(), &rpc(node.port, &node));
    let full = Pool::run_by(
        Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(format!("{}", DISK_KIB * 2))
            .arg(env!("CARGO_BIN_EXE_wattproof-pool"))
            .args(["run", "-c"])
            .arg(&config),
    );
    let mut miner = Miner::connect(full.stratum);
    let refused = block_in_place(|| {
        // Each share is a block, and each block a kilobyte.
        (0..2_000).find_map(|_| {
            let job = miner.next_job(None);
            let solution = miner.solve(&job);
            miner.send(&solution).err().filter(|why| !why.contains("21"))
        })
    });
    let refused = refused.expect("the disk is full at some point");
    assert!(refused.contains("20"), "{refused}");
    let accepted = miner.accepted;
    full.kill();
    let report = verify(dir.path());
    assert!(crate::count(&report["shares"]) >= accepted, "{accepted}: {report}");
    // With room on the disk it goes on where it was.
    let pool = Pool::run(&config);
    let mut miner = Miner::connect(pool.stratum);
    real::find_block_that_stays(dir.path(), &mut miner).await;
    assert!(block_in_place(|| pool.stop()));
    verify(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_ends_nothing() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = real::configure(dir.path(), &rpc(node.port, &node));
    let pool = Pool::run_by(
        Command::new("sh")
            .args(["-c", "exec \"$@\" 2>/dev/full", "sh", env!("CARGO_BIN_EXE_wattproof-pool")])
            .args(["run", "-c"])
            .arg(&config),
    );
    let mut miner = Miner::connect(pool.stratum);
    for _ in 0..2 {
        let hash = block_in_place(|| find_block(&mut miner));
        state(dir.path(), hash, BlockState::OnChain).await;
    }
    assert!(block_in_place(|| pool.stop()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_is_caught_and_named() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::to(node.port);
    wire.set(Fault::Lies);
    let pool = real::start(dir.path(), &rpc(wire.address.port(), &node));
    block_in_place(|| {
        pool.wait_until_not_ready("coinbasevalue");
        let mut miner = Miner::connect(pool.stratum);
        miner.wait_for_message("no work");
        wire.set(Fault::None);
        find_block(&mut miner);
        assert!(pool.stop());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_give_no_work_are_named_with_the_reason() {
    // Alone in the world: Bitcoin Core gives no template on the main network without peers.
    let Some(alone) = Node::start_on("main", None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mainnet = format!("{}timeout_seconds = 5\n", rpc(alone.port, &alone));
    let text = fs::read_to_string(real::configure(dir.path(), &mainnet)).unwrap();
    let text = text.replace("\"regtest\"", "\"bitcoin\"");
    let text = text.replace(ADDRESS, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
    let pool = Pool::run(&config(dir.path(), &text));
    block_in_place(|| {
        pool.wait_until_not_ready("not connected");
        assert!(pool.stop());
    });
    // Another network than configured: waiting will not mend that.
    let wrong = text.replace("\"bitcoin\"", "\"testnet4\"");
    let wrong = wrong.replace("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", TESTNET);
    one_line(&config(dir.path(), &wrong), 1, &["main", "testnet4"]);
    // One that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!(
        "url = \"http://{}\"\nauth = \"u:hunter2\"\ntimeout_seconds = 0.2\n",
        silent.local_addr().unwrap()
    );
    let pool = real::start(dir.path(), &silent);
    block_in_place(|| {
        pool.wait_until_not_ready("no answer within");
        assert!(pool.stop());
    });
}

const TESTNET: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
