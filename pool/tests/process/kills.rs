//! A pool that is killed again and again while miners send it shares: none that was answered is
//! lost, none is credited twice. The usual runs kill it some times; `WATTPROOF_KILLS` names
//! another number, such as 1000, and has the figures printed.
//!
//! A kill keeps what was written, synced or not: the loss of power is in `pool/tests/power`.

#![expect(clippy::disallowed_methods, reason = "tests of processes run on the machine's clock")]

use std::{
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::task::block_in_place;

use crate::{
    oracle::Said,
    real::{configure_ledger, rpc},
    support::{ADDRESS, Miner, PATIENCE, Pool, node::Node},
    verify,
};

/// Kills in the usual runs.
const KILLS: u32 = 12;
/// Between two audits of the whole ledger, in kills.
const AUDIT_EVERY: u32 = 50;
/// Kills after an audit that do not wait for an answer: as the pool starts, it drops headers.
const EARLY_KILLS: u32 = 5;
/// Of so few blocks most are immature, and need their headers.
const ALL_NEEDED: u32 = 300;
/// Miners at once.
const MINERS: u64 = 3;

/// What is known of the ledger from outside.
#[derive(Default)]
struct Books {
    /// What its log says, read as it grows.
    said: Said,
    answered: usize,
    chance: u64,
}

fn kills() -> u32 {
    std::env::var("WATTPROOF_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

#[test]
fn a_pool_killed_under_load_loses_nothing_and_credits_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("pool.sqlite");
    let books = kill_again_and_again(&ledger, dir.path(), || Pool::start(dir.path()), 200, &|| ());
    assert!(books.answered > 100, "{}", books.answered);
    // After many kills there are thousands of blocks to look for, siblings mostly; here it is the
    // shares that count.
    assert!(Pool::start(dir.path()).stop());
    books.close(&ledger, dir.path());
}

/// On a real node, where every share is a block: each is written down, handed in, followed and
/// settled, and the pool dies in the middle of any of it; its headers go as soon as no block needs
/// them, which after a hundred blocks is at every start.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_killed_on_a_real_node_loses_no_share_and_no_block() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = configure_ledger(dir.path(), &rpc(node.port, &node), "keep_days = 0\n");
    let ledger = dir.path().join("pool.sqlite");
    let start = || Pool::run(&config);
    // Headers of blocks whose fate is not known are needed.
    let rest = || {
        let pool = start();
        resolve(&pool);
        pool.kill();
    };
    let books = block_in_place(|| kill_again_and_again(&ledger, dir.path(), start, 1, &rest));
    let pool = Pool::run(&config);
    block_in_place(|| resolve(&pool));
    let height = crate::real::tip(&node.client).await.height;
    let state = pool.json("/api/v1/pool");
    let count = |key: &str| crate::count(&state["blocks"][key]);
    assert_eq!(count("immature") + count("mature"), u64::from(height), "{state}");
    assert!(height > kills(), "{height} blocks");
    assert!(block_in_place(|| pool.stop()));
    let bare = books.close(&ledger, dir.path());
    assert!(bare > 0 || height < ALL_NEEDED, "no header was dropped in {height} blocks");
}

/// Waits until every block's fate is known; after many kills there are thousands, siblings mostly.
fn resolve(pool: &Pool) {
    let start = Instant::now();
    loop {
        let state = pool.json("/api/v1/pool");
        let unresolved = crate::count(&state["blocks"]["unresolved"]);
        if unresolved == 0 && !state["template"]["height"].is_null() {
            return;
        }
        let patience = PATIENCE * (1 + kills() / 50);
        assert!(start.elapsed() < patience, "the fate of blocks is not known: {state}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Starts the pool, has it killed at a moment of chance after its first answer, and looks at what
/// it left, so many times as was asked for; after each audit it has a `rest`.
fn kill_again_and_again(
    ledger: &Path,
    data: &Path,
    start: impl Fn() -> Pool,
    burst: usize,
    rest: &dyn Fn(),
) -> Books {
    let mut books = Books { chance: 1, ..Books::default() };
    let begun = Instant::now();
    for number in 1..=kills() {
        let answered = AtomicU64::new(0);
        let pool = start();
        // Before the pool can be killed, so that all of them are there when it is.
        let connect = |n| Miner::connect_as(pool.stratum, &format!("{ADDRESS}.m{n}"));
        let connected: Vec<Miner> = (0..MINERS).map(connect).collect();
        let after = Duration::from_micros(books.below(60_000));
        let taken: Vec<[u8; 80]> = thread::scope(|scope| {
            let work = |mut miner: Miner| {
                while miner.burst(burst) {
                    answered.fetch_max(miner.accepted, Ordering::Relaxed);
                }
                miner.taken
            };
            let miners: Vec<_> =
                connected.into_iter().map(|miner| scope.spawn(move || work(miner))).collect();
            let start = Instant::now();
            while answered.load(Ordering::Relaxed) == 0 {
                assert!(start.elapsed() < PATIENCE, "kill {number}: no share was answered");
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(after);
            pool.kill();
            miners.into_iter().flat_map(|miner| miner.join().unwrap()).collect()
        });
        books.look(ledger, &taken, number);
        if number % AUDIT_EVERY == 0 {
            rest();
            for _ in 0..EARLY_KILLS {
                let pool = start();
                thread::sleep(Duration::from_micros(books.below(30_000)));
                pool.kill();
            }
            assert_eq!(verify(data)["ok"], true);
        }
    }
    if std::env::var_os("WATTPROOF_KILLS").is_some() {
        let (kills, answered, took) = (kills(), books.answered, begun.elapsed());
        let line = format!("{kills} kills, {answered} shares answered, {took:.1?}");
        let mut stderr = std::io::stderr();
        writeln!(stderr, "{line}").unwrap();
    }
    books
}

impl Books {
    fn below(&mut self, end: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 33) % end
    }

    /// Reads what the pool left, which must have all that was answered.
    fn look(&mut self, ledger: &Path, taken: &[[u8; 80]], kill: u32) {
        self.said.go_on(ledger);
        for header in taken {
            assert!(self.said.has(header), "kill {kill}: a share that was answered is lost");
        }
        self.answered += taken.len();
    }

    /// What must hold at the end; how many shares have no header any more.
    fn close(mut self, ledger: &Path, data: &Path) -> u64 {
        self.said.go_on(ledger);
        let report = verify(data);
        assert_eq!(report["ok"], true, "{report}");
        let shares = u64::try_from(self.said.shares.len()).unwrap();
        assert_eq!(crate::count(&report["shares"]), shares, "{report}");
        assert!(self.said.shares.len() >= self.answered);
        let bare = crate::count(&report["without_header"]);
        if std::env::var_os("WATTPROOF_KILLS").is_some() {
            let line = format!("{shares} shares, {bare} of them without header");
            let mut stderr = std::io::stderr();
            writeln!(stderr, "{line}").unwrap();
        }
        bare
    }
}
