//! A pool that is renewed (SIGUSR2) or reads its configuration again (SIGHUP): no miner is dropped,
//! and work that was out before is good after.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use pool::clock::Clock;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::{
    node_loss::Chain,
    support::{ADDRESS, Miner, Pool},
};

/// Hashes of a block: a thousand times those of a test.
const NO_BLOCK: u32 = u32::MAX;

/// A pool on a chain of its own, in a folder.
struct Site {
    dir: tempfile::TempDir,
    chain: Chain,
    config: PathBuf,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let (chain, _) = Chain::of_work(dir.path(), any, Clock::start(), NO_BLOCK).await;
        let config = dir.path().join("pool.toml");
        let site = Self { dir, chain, config };
        site.configure(0.000_001, "");
        site
    }

    /// Writes the configuration, with a starting difficulty and more lines at its end.
    fn configure(&self, start: f64, more: &str) {
        let text = format!(
            "[node]\nurl = \"http://{}\"\nauth = \"user:password\"\nnetwork = \"regtest\"\n\
             [stratum]\nlisten = [\"127.0.0.1:0\"]\n\
             difficulty = {{ start = {start:?}, vardiff = false }}\n\
             [payout]\naddress = \"{ADDRESS}\"\n[ledger]\npath = \"{}\"\n\
             [http]\nlisten = \"{}\"\n{more}",
            self.chain.address,
            self.dir.path().join("pool.sqlite").display(),
            self.http(),
        );
        fs::write(&self.config, text).unwrap();
    }

    /// An address of the page that stays the same: noted in the folder.
    fn http(&self) -> SocketAddr {
        let note = self.dir.path().join("http");
        if let Ok(text) = fs::read_to_string(&note) {
            return text.parse().unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fs::write(note, free.to_string()).unwrap();
        free
    }

    fn ledger(&self) -> PathBuf {
        self.dir.path().join("pool.sqlite")
    }
}

fn shares(ledger: &Path) -> u64 {
    ledger::Reader::open(ledger).unwrap().totals().unwrap().shares
}

fn connections(pool: &Value) -> u64 {
    pool["connections"].as_u64().unwrap()
}

/// Has the pool renewed, and waits until the new image has every miner.
fn renewed(pool: &mut Pool, miners: &[Miner]) {
    pool.signal("USR2");
    // The page answers again once the new image is there, and knows the connections that it has.
    let wanted = u64::try_from(miners.len()).unwrap();
    pool.wait_for_another_image();
    pool.wait_until("every miner's connection", |pool| connections(pool) == wanted);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_asks_for_large_pages_under_its_own_name_and_once() {
    let site = Site::new().await;
    block_in_place(|| {
        let mut pool = Pool::run(&site.config);
        let asked = |pool: &Pool| {
            let environment = pool.of_process("environ");
            environment.matches("glibc.malloc.hugetlb=1").count()
        };
        assert_eq!((asked(&pool), pool.of_process("comm").trim()), (1, "wattproof-pool"));
        assert!(pool.of_process("cmdline").contains("run\0-c\0"), "with the same words");
        renewed(&mut pool, &[]);
        assert_eq!(asked(&pool), 1, "another image has them already");
        assert!(pool.stop());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_pool_keeps_every_miner_and_takes_shares_on_work_from_before() {
    let site = Site::new().await;
    block_in_place(|| {
        let mut pool = Pool::run(&site.config);
        let mut miners: Vec<_> = (0..3).map(|_| Miner::connect(pool.stratum)).collect();
        let mut old = Vec::new();
        for miner in &mut miners {
            assert!(miner.mine(|miner| miner.accepted >= 20));
            miner.settle();
            let job = miner.next_job(None);
            old.push(miner.solve(&job));
        }
        let doubled = old[0].clone();
        assert_eq!(miners[0].send(&doubled), Ok(()));

        renewed(&mut pool, &miners);

        assert!(miners[0].send(&doubled).unwrap_err().contains("duplicate"), "it is remembered");
        for (miner, solution) in miners.iter_mut().zip(&old).skip(1) {
            assert_eq!(miner.send(solution), Ok(()), "a share on work from before");
        }
        for miner in &mut miners {
            let wanted = miner.accepted + 20;
            assert!(miner.mine(|miner| miner.accepted >= wanted), "it is still connected");
            miner.settle();
        }
        let mut late = Miner::connect(pool.stratum);
        assert!(late.mine(|miner| miner.accepted >= 5));
        late.settle();
        miners.push(late);
        // A second time, with what was taken over once.
        renewed(&mut pool, &miners);
        for miner in &mut miners {
            let wanted = miner.accepted + 5;
            assert!(miner.mine(|miner| miner.accepted >= wanted), "it is still connected");
            miner.settle();
            let other: Vec<_> =
                miner.rejected.iter().filter(|why| !why.contains("duplicate")).collect();
            assert!(other.is_empty(), "{other:?}");
        }
        let accepted: u64 = miners.iter().map(|miner| miner.accepted).sum();
        assert!(pool.stop());
        assert_eq!(shares(&site.ledger()), accepted);
    });
    site.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_configuration_has_a_mistake_is_not_renewed() {
    let site = Site::new().await;
    block_in_place(|| {
        let pool = Pool::run(&site.config);
        let mut miner = Miner::connect(pool.stratum);
        assert!(miner.mine(|miner| miner.accepted >= 5));
        site.configure(0.000_001, "[limits]\nnonsense = 1\n");
        for signal in ["USR2", "HUP"] {
            pool.signal(signal);
            let wanted = miner.accepted + 200;
            assert!(miner.mine(|miner| miner.accepted >= wanted), "it goes on");
        }
        miner.settle();
        let accepted = miner.accepted;
        assert!(pool.stop());
        assert_eq!(shares(&site.ledger()), accepted);
    });
    site.chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_read_again_and_nobody_is_dropped() {
    let site = Site::new().await;
    block_in_place(|| {
        let pool = Pool::run(&site.config);
        let mut miner = Miner::connect_plainly(pool.stratum);
        let first = miner.next_job(None).target.difficulty().get();
        site.configure(0.000_002, "[limits]\ntotal = 2\n");
        pool.signal("HUP");
        let mut newcomer = Miner::connect_plainly(pool.stratum);
        let mut second = newcomer.next_job(None).target.difficulty().get();
        for _ in 0..50 {
            if second != first {
                break;
            }
            // The signal was not heard before this one connected.
            drop(newcomer);
            std::thread::sleep(std::time::Duration::from_millis(100));
            newcomer = Miner::connect_plainly(pool.stratum);
            second = newcomer.next_job(None).target.difficulty().get();
        }
        assert!((second / first - 2.0).abs() < 0.01, "{first} and {second}");
        let wanted = miner.accepted + 5;
        assert!(miner.mine(|miner| miner.accepted >= wanted), "who was there goes on");
        assert!(!Miner::connect_plainly(pool.stratum).stays(), "two are the most now");
        // What cannot change while the pool runs is refused, with everything else in the file.
        site.configure(0.000_008, "[jobs]\nrefresh_seconds = 20\n");
        pool.signal("HUP");
        assert!(newcomer.mine(|miner| miner.accepted >= 5));
        assert!(pool.stop());
    });
    site.chain.stop().await;
}
