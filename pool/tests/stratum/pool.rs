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

/// What else a pool may be started with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    /// More keys of `[stratum]`.
    pub(crate) stratum: &'a str,
    /// More keys of `[ledger]`.
    pub(crate) ledger: &'a str,
}

/// Chain and pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) stratum: SocketAddr,
    pub(crate) http: SocketAddr,
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
        let chain = devchain::Options { start_work: block_work, ..devchain::Options::default() };
        Self::start_on(chain, dir, difficulty, Extra { stratum: more, ledger: "" }).await
    }

    /// The same on a chain by these rules.
    pub(crate) async fn start_on(
        rules: devchain::Options,
        dir: TempDir,
        difficulty: &str,
        more: Extra<'_>,
    ) -> Self {
        let clock = Clock::start();
        let stop_chain = CancellationToken::new();
        let (node, chain) = serve_chain(dir.path(), rules, clock, stop_chain.clone()).await;
        let Extra { stratum, ledger } = more;
        let text = format!(
            "[node]\nurl = \"http://{node}\"\nauth = \"user:password\"\nnetwork = \"regtest\"\n\
             timeout_seconds = 1\ntemplate_max_age_seconds = 3\n\
             [stratum]\nlisten = [\"127.0.0.1:0\"]\n{stratum}\
             difficulty = {{ start = {difficulty}, vardiff = false }}\n\
             [payout]\naddress = \"{ADDRESS}\"\n[ledger]\npath = \"{}\"\n{ledger}\
             [http]\nlisten = \"127.0.0.1:0\"\n",
            dir.path().join("pool.sqlite").display()
        );
        let (config, _) = Config::read_with(Source::new("test", text), []).unwrap();
        let running = run::start(config, clock).await.unwrap();
        let (stratum, http) = (running.stratum[0], running.http);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the handle owns the task")]
        let running = tokio::spawn(running.until(async move { stopped.cancelled().await }));
        Self { stratum, http, dir, stop, stop_chain, running, chain: Some(chain) }
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
    pub(crate) async fn stop_and_verify(self) -> VerifyReport {
        self.leave().await.0
    }

    /// The same, and leaves the files.
    pub(crate) async fn leave(mut self) -> (VerifyReport, TempDir) {
        self.stop.cancel();
        (&mut self.running).await.unwrap().unwrap();
        self.lose_the_node().await;
        let report = ledger::verify::ledger(&self.dir.path().join("pool.sqlite")).unwrap();
        assert!(report.ok, "{:?}", report.problems);
        (report, self.dir)
    }
}

async fn serve_chain(
    dir: &Path,
    options: devchain::Options,
    clock: Clock,
    stop: CancellationToken,
) -> (SocketAddr, JoinHandle<()>) {
    let now: node::Clock = Arc::new(move || clock.now());
    let chain = DevChain::open(&dir.join("chain"), options, now).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let credentials = Credentials::new("user".to_owned(), Secret::new("password"));
    let serving = devchain::serve(listener, chain, credentials, stop);
    #[expect(clippy::disallowed_methods, reason = "the handle owns the task")]
    let served = tokio::spawn(serving);
    (address, served)
}
