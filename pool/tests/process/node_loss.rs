//! A block that is found while the node does not answer: it is written down, handed in when the
//! node is back, and credited.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use config::{Secret, Source};
use pool::{
    clock::Clock,
    config::Config,
    devchain::{self, Credentials, DevChain},
    node, run,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, block_in_place, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::{ADDRESS, Miner, PATIENCE};

pub(crate) struct Chain {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Chain {
    /// Opens the chain kept in `dir`, or begins it, and answers at `address`.
    async fn serve(dir: &Path, address: SocketAddr, clock: Clock) -> (Self, u32) {
        Self::of_work(dir, address, clock, 20_000).await
    }

    /// The same, with blocks of so much work.
    pub(crate) async fn of_work(
        dir: &Path,
        address: SocketAddr,
        clock: Clock,
        start_work: u32,
    ) -> (Self, u32) {
        let now: node::Clock = Arc::new(move || clock.now());
        let options = devchain::Options { start_work, ..devchain::Options::default() };
        let chain = DevChain::open(&dir.join("chain"), options, now).unwrap();
        let height = chain.tip().0;
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let credentials = Credentials::new("user".to_owned(), Secret::new("password"));
        let serving = devchain::serve(listener, chain, credentials, stop.clone());
        #[expect(clippy::disallowed_methods, reason = "the handle owns the task")]
        let served = tokio::spawn(serving);
        (Self { address, stop, served }, height)
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

fn config(node: SocketAddr, dir: &Path) -> Config {
    let ledger = dir.join("pool.sqlite");
    let text = format!(
        "[node]\nurl = \"http://{node}\"\nauth = \"user:password\"\nnetwork = \"regtest\"\n\
         timeout_seconds = 1\ntemplate_max_age_seconds = 3\n[stratum]\nlisten = [\"127.0.0.1:0\"]\n\
         difficulty = {{ start = 0.000001, vardiff = false }}\n\
         [payout]\naddress = \"{ADDRESS}\"\n[ledger]\npath = \"{}\"\nslice_seconds = 1\n\
         [http]\nlisten = \"127.0.0.1:0\"\n",
        ledger.display()
    );
    Config::read_with(Source::new("test", text), []).unwrap().0
}

fn totals(dir: &Path) -> ledger::Totals {
    ledger::Reader::open(&dir.join("pool.sqlite")).unwrap().totals().unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{what} did not come");
}

/// A pool in this process, and how to end it.
struct Served {
    stratum: SocketAddr,
    stop: CancellationToken,
    pool: JoinHandle<Result<(), String>>,
}

impl Served {
    async fn start(node: SocketAddr, dir: &Path, clock: Clock) -> Self {
        let running = run::start(config(node, dir), clock).await.unwrap();
        let stratum = running.stratum[0];
        let stop = CancellationToken::new();
        let until_stopped = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the handle owns the task")]
        let pool = tokio::spawn(running.until(async move { until_stopped.cancelled().await }));
        Self { stratum, stop, pool }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.pool.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_old_template_no_work_is_given_and_miners_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let (serving, _) = Chain::serve(dir.path(), "127.0.0.1:0".parse().unwrap(), clock).await;
    let address = serving.address;
    let pool = Served::start(address, dir.path(), clock).await;
    let mut miner = block_in_place(|| {
        let mut miner = Miner::connect(pool.stratum);
        miner.next_job(None);
        miner
    });
    serving.stop().await;
    block_in_place(|| {
        miner.wait_for_message("no new work");
        // Work that is out is still good: it may be a block.
        let job = miner.next_job(None);
        let solution = miner.solve(&job);
        assert_eq!(miner.send(&solution), Ok(()));
        // What changes the difficulty gives nothing out again.
        miner.suggest_difficulty(0.000_002);
        assert_eq!(miner.next_job(None).id, job.id);
        // Who comes now gets the reason and no work.
        let mut late = Miner::connect(pool.stratum);
        late.wait_for_message("no new work");
        assert!(!late.has_work());
    });
    let (serving, _) = Chain::serve(dir.path(), address, clock).await;
    block_in_place(|| Miner::connect(pool.stratum).next_job(None));
    pool.stop().await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_found_while_the_node_is_down_is_handed_in_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let clock = Clock::start();

    let (serving, _) = Chain::serve(&path, "127.0.0.1:0".parse().unwrap(), clock).await;
    let address = serving.address;
    let pool = Served::start(address, &path, clock).await;
    let stratum = pool.stratum;

    // A job is out; then the node goes, and the miner solves a block of that job.
    let connected = spawn_blocking(move || {
        let mut miner = Miner::connect(stratum);
        assert!(miner.mine(|miner| miner.accepted >= 1));
        // A share may have been a block: what is found from now on is to be on top of it.
        miner.settle();
        miner.listen();
        miner
    });
    let mut miner = connected.await.unwrap();
    serving.stop().await;
    sleep(Duration::from_millis(500)).await;
    let before = totals(&path).blocks;
    let reading = path.clone();
    let mined =
        spawn_blocking(move || miner.mine(|_| totals(&reading).blocks.found() > before.found()));
    assert!(mined.await.unwrap(), "the pool goes on without its node");
    assert_eq!(totals(&path).blocks.immature, before.immature, "nothing is credited yet");

    let (serving, height) = Chain::serve(&path, address, clock).await;
    until("the block on the chain", || totals(&path).blocks.immature > u64::from(height)).await;
    pool.stop().await;
    serving.stop().await;
    let report = ledger::verify::ledger(&path.join("pool.sqlite")).unwrap();
    assert!(report.ok, "{:?}", report.problems);
}
