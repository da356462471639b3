//! `wattproof-pool demo`: the embedded development chain and a pool on it, in one process.
//!
//! The pool is configured by the same text that an operator would write and speaks to the chain
//! over HTTP as it would to Bitcoin Core; nothing in it knows that the chain is ours. Chain and
//! ledger share one directory, so that a killed demo goes on where it was.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::Source;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{DemoArgs, Failure},
    clock::Clock,
    config::Config,
    devchain::{self, DevChain},
    run,
};

/// The ledger's file within a data directory.
pub const LEDGER_FILE: &str = "pool.sqlite";
/// The pool's own address in the demo: the P2WSH example of BIP 173, for regtest.
const POOL_ADDRESS: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
const RPC_USER: &str = "demo";
/// Hashes that the first block of the chain takes: a fraction of a second for a processor with SHA
/// instructions, so that the chain neither bursts nor stalls before it knows the miner's rate.
const START_WORK: u32 = 4_000_000;

/// A demo that runs.
#[derive(Debug)]
pub(crate) struct Demo {
    /// The pool.
    pub(crate) pool: run::Running,
    /// Where chain and ledger are kept.
    pub(crate) data: PathBuf,
    chain: JoinSet<()>,
    stop_chain: CancellationToken,
}

impl Demo {
    /// Runs until `stop` completes; the chain ends after the pool, which needs it to the last.
    ///
    /// # Errors
    /// What went wrong in the pool, in plain words.
    pub(crate) async fn until(mut self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let ended = self.pool.until(stop).await;
        self.stop_chain.cancel();
        while self.chain.join_next().await.is_some() {}
        ended
    }
}

/// Starts the chain, then the pool on it.
pub(crate) async fn start(args: &DemoArgs, clock: Clock) -> Result<Demo, Failure> {
    let data = data_directory(args.data.as_deref(), clock)?;
    let mut chain = JoinSet::new();
    let stop_chain = CancellationToken::new();
    let password = random_password()?;
    let node = serve_chain(args.node, &data, &password, clock, &mut chain, &stop_chain).await?;
    let text = configuration(args, &data, node, &password);
    let source = Source::new("the demo's configuration", text);
    let (config, _) =
        Config::read_with(source, []).map_err(|errors| Failure::Usage(errors.to_string()))?;
    let pool =
        run::start(config, clock).await.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Demo { pool, data, chain, stop_chain })
}

/// What an operator would write for this pool. Shares and reports come quicker than on a real
/// pool, so that a minute shows something.
fn configuration(args: &DemoArgs, data: &Path, node: SocketAddr, password: &str) -> String {
    let ledger = toml_text(&data.join(LEDGER_FILE).display().to_string());
    let (stratum, http) = (args.stratum, args.http);
    format!(
        "[node]\nurl = \"http://{node}\"\nauth = \"{RPC_USER}:{password}\"\nnetwork = \"regtest\"\n\
         [stratum]\nlisten = [\"{stratum}\"]\n\
         difficulty = {{ start = 0.0001, shares_per_minute = 600 }}\n\
         [payout]\nscheme = \"pplns\"\naddress = \"{POOL_ADDRESS}\"\n\
         [ledger]\npath = {ledger}\nslice_seconds = 1\n\
         [http]\nlisten = \"{http}\"\n\
         [energy]\ninterval_seconds = 5\n"
    )
}

async fn serve_chain(
    address: SocketAddr,
    data: &Path,
    password: &str,
    clock: Clock,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::Failed(format!("cannot listen on {address} (--node): {error}"))
    })?;
    let bound = listener.local_addr().unwrap_or(address);
    let now: crate::node::Clock = std::sync::Arc::new(move || clock.now());
    let options = devchain::Options { start_work: START_WORK, ..devchain::Options::default() };
    let chain = DevChain::open(&data.join("chain"), options, now)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let credentials =
        devchain::Credentials::new(RPC_USER.to_owned(), config::Secret::new(password));
    let stop = stop.clone();
    tasks.spawn(async move {
        devchain::serve(listener, chain, credentials, stop).await;
    });
    Ok(bound)
}

/// The directory asked for, or a fresh one in the system's place for temporary files. It is left
/// there: the summary names it, and `verify ledger --dir` reads it.
fn data_directory(asked: Option<&Path>, clock: Clock) -> Result<PathBuf, Failure> {
    let path = asked.map_or_else(
        || {
            let name = format!("wattproof-demo-{}", clock.now().unix.get());
            std::env::temp_dir().join(name)
        },
        Path::to_path_buf,
    );
    std::fs::create_dir_all(&path).map_err(|error| {
        Failure::Failed(format!("cannot make the data directory {}: {error}", path.display()))
    })?;
    Ok(path)
}

fn random_password() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Failed(format!("the system gives no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}

/// A TOML basic string.
fn toml_text(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
