//! The pool in this process, on an embedded chain whose blocks are far too hard to be found here:
//! what is tested is not disturbed by them.

use std::{net::SocketAddr, path::Path, sync::Arc};

use config::{Secret, Source};
use ledger::verify::VerifyReport;
use pool::{
    clock::Clock,
    config::Config,
    devchain::{self, Credentials, DevChain},
    node, run,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::miner::ADDRESS;

/// Hashes of a block that is not found here.
const NO_BLOCKS: u32 = 2_000_000_000;

/// Chain and pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) stratum: SocketAddr,
    pub(crate) dir: TempDir,
    stop: CancellationToken,
    stop_chain: CancellationToken,
    running: JoinHandle<Result<(), String>>,
    chain: Option<JoinHandle<()>>,
}

impl Pool {
    /// At a fixed share difficulty, with more keys of `[stratum]`.
    pub(crate) async fn start(difficulty: &str, more: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), difficulty, more, NO_BLOCKS).await
    }

    /// The same with its files in `dir`, on a chain whose blocks take so many hashes.
    pub(crate) async fn start_in(
        dir: TempDir,
        difficulty: &str,
        more: &str,
        block_work: u32,
    ) -> Self {
        let clock = Clock::start();
        let stop_chain = CancellationToken::new();
        let (node, chain) = serve_chain(dir.path(), block_work, clock, stop_chain.clone()).await;
        let text = format!(
            "[node]\nurl = \"http://{node}\"\nauth = \"user:password\"\nnetwork = \"regtest\"\n\
             timeout_seconds = 1\ntemplate_max_age_seconds = 3\n\
             [stratum]\nlisten = [\"127.0.0.1:0\"]\n{more}\
             difficulty = {{ start = {difficulty}, vardiff = false }}\n\
             [payout]\naddress = \"{ADDRESS}\"\n[ledger]\npath = \"{}\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n",
            dir.path().join("pool.sqlite").display()
        );
        let (config, _) = Config::read_with(Source::new("test", text), []).unwrap();
        let running = run::start(config, clock).await.unwrap();
        let stratum = running.stratum[0];
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the handle owns the task")]
        let running = tokio::spawn(running.until(async move { stopped.cancelled().await }));
        Self { stratum, dir, stop, stop_chain, running, chain: Some(chain) }
    }

    /// The node stops answering.
    pub(crate) async fn lose_the_node(&mut self) {
        self.stop_chain.cancel();
        if let Some(chain) = self.chain.take() {
            chain.await.unwrap();
        }
    }

    /// Ends the pool, and says how many shares its ledger holds.
    pub(crate) async fn stop(self) -> u64 {
        self.stop_and_verify().await.shares
    }

    /// Ends the pool, and says what its ledger holds.
    pub(crate) async fn stop_and_verify(mut self) -> VerifyReport {
        self.stop.cancel();
        (&mut self.running).await.unwrap().unwrap();
        self.lose_the_node().await;
        let report = ledger::verify::ledger(&self.dir.path().join("pool.sqlite")).unwrap();
        assert!(report.ok, "{:?}", report.problems);
        report
    }
}

async fn serve_chain(
    dir: &Path,
    start_work: u32,
    clock: Clock,
    stop: CancellationToken,
) -> (SocketAddr, JoinHandle<()>) {
    let now: node::Clock = Arc::new(move || clock.now());
    let options = devchain::Options { start_work, ..devchain::Options::default() };
    let chain = DevChain::open(&dir.join("chain"), options, now).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let credentials = Credentials::new("user".to_owned(), Secret::new("password"));
    let serving = devchain::serve(listener, chain, credentials, stop);
    #[expect(clippy::disallowed_methods, reason = "the handle owns the task")]
    let served = tokio::spawn(serving);
    (address, served)
}
