//! Starts the pool: makes every task and the channels between them, and ends them in order.
//!
//! The order of shutdown follows from channels closing: the accept loop and its connections end
//! first and with them everyone who could find a block; then the block task; then, when the last
//! handle is dropped, the ledger's thread, which has by then written everything.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ledger::{Ledger, LedgerError, Settings as LedgerSettings};
use stratum::v1::server::{Limits as SessionLimits, Settings as SessionSettings};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    blocks::{Desk, Finder, Follower},
    clock::Clock,
    coinbase::EXTRANONCE2_SIZE,
    config::Config,
    connection::Shared,
    energy_desk::EnergyDesk,
    http::{self, view::ViewSource},
    jobs::JobMaker,
    ledger_task::{self, LedgerHandle},
    metrics::Metrics,
    node::{self, NodeError, NodeStatus, Nodes, TemplateSink, WatchSettings, watch_templates},
    server::Server,
};

/// Confirmations before a coinbase may be spent: consensus.
const MATURITY: u32 = 100;
/// Found blocks, and origins of jobs, that may wait for the block task.
const BLOCK_QUEUE: usize = 256;
/// What miners are told that come before the first template.
const NO_WORK_YET: &str = "no work yet: the pool's Bitcoin node has given none; it is asked again";
/// A node gets this long to say which chain it is on before miners are served.
const START_LIMIT: Duration = Duration::from_secs(2);
/// All tasks together get this long to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Why the pool did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The ledger cannot be opened.
    #[error("ledger {path}: {source}")]
    Ledger {
        /// The file.
        path: String,
        /// Why.
        source: LedgerError,
    },
    /// The node is another than configured.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The metrics cannot be made.
    #[error("metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// A pool that runs.
#[derive(Debug)]
pub struct Running {
    /// Where miners connect, in the configuration's order.
    pub stratum: Vec<SocketAddr>,
    /// Where the page is.
    pub http: SocketAddr,
    tasks: JoinSet<Result<(), String>>,
    cancel: CancellationToken,
}

/// Starts all tasks.
///
/// # Errors
/// When the ledger cannot be opened, an address not be listened on, or the node answers for
/// another network than configured. A node that does not answer yet is waited for.
pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    let metrics = Metrics::new()?;
    let (ledger, desk) = open_ledger(&config)?;
    let newest_slice = ledger.newest_slice();
    let listeners = listen("stratum.listen", &config.stratum.listen).await?;
    let http_listener = listen("http.listen", &[config.http]).await?.remove(0);
    let stratum = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let http = http_listener.local_addr().unwrap_or(config.http);
    let nodes = Arc::new(Nodes::new(config.node.clone(), config.backups.clone())?);
    refuse_wrong_network(&nodes).await?;

    let mut running =
        Running { stratum, http, tasks: JoinSet::new(), cancel: CancellationToken::new() };
    let (ledger_handle, commands) = LedgerHandle::new(clock);
    let (templates_in, templates) = watch::channel(None);
    let (status_in, status) = watch::channel(NodeStatus::Starting);
    let (announce, jobs) = watch::channel(None);
    let (notice_in, notice) = watch::channel(Some(NO_WORK_YET.into()));
    let (found_in, found) = mpsc::channel(BLOCK_QUEUE);
    let (origins_in, origins) = mpsc::channel(BLOCK_QUEUE);

    running.ledger_thread(ledger, desk, commands, clock, &metrics);
    let watching = WatchSettings {
        // Three chances to fetch a template before the last one is too old.
        refresh: config.template_max_age / 3,
        max_age: config.template_max_age,
        ..WatchSettings::default()
    };
    let sink = TemplateSink { templates: templates_in, status: status_in };
    running.watcher(&nodes, watching, clock, sink);
    let desk = Desk { nodes, ledger: ledger_handle.clone() };
    let (tracked_in, tracked) = mpsc::channel(BLOCK_QUEUE);
    let finder = Finder { desk: desk.clone(), found, origins, tracked: tracked_in };
    running.spawn("blocks", finder.run());
    let follower = Follower { desk, tracked, templates: templates.clone(), maturity: MATURITY };
    running.spawn("chain", follower.run());
    running.spawn(
        "jobs",
        JobMaker {
            templates: templates.clone(),
            ledger: ledger_handle.clone(),
            payee: config.payout.payee.clone(),
            slice: config.ledger.slice,
            max_age: config.template_max_age,
            announce,
            notice: notice_in,
            origins: origins_in,
            newest_slice,
            clock,
            metrics: metrics.jobs.clone(),
        }
        .run(running.cancel.clone()),
    );
    let shared = Shared {
        settings: Arc::new(session_settings(&config)),
        network: config.network.to_bitcoin(),
        ack: config.ledger.ack,
        jobs,
        notice,
        reconnect: config.stratum.reconnect.clone().into(),
        ledger: ledger_handle.clone(),
        found: found_in,
        clock,
        metrics: metrics.stratum.clone(),
    };
    let server = Server::new(shared, config.limits.clone());
    running.spawn("stratum", server.run(listeners, running.cancel.clone()));
    let views = ViewSource::new(config, ledger_handle, templates, status, metrics, clock);
    running.web(http_listener, views);
    Ok(running)
}

impl Running {
    /// Waits until `stop` completes or a task ends on its own, then ends all tasks in order.
    ///
    /// # Errors
    /// What went wrong in the first task that failed, in plain words.
    pub async fn until(mut self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let early = tokio::select! {
            () = stop => None,
            ended = self.tasks.join_next() => ended,
        };
        self.cancel.cancel();
        let mut outcome = early.map_or(Ok(()), flatten);
        let all = timeout(STOP_LIMIT, async {
            while let Some(ended) = self.tasks.join_next().await {
                let ended = flatten(ended);
                // The first failure is the cause; later ones follow from it.
                if outcome.is_ok() {
                    outcome = ended;
                }
            }
        });
        match all.await {
            Ok(()) => outcome,
            Err(_) if outcome.is_err() => outcome,
            Err(_) => Err(format!("not all tasks ended within {STOP_LIMIT:?}")),
        }
    }

    fn spawn<E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { task.await.map_err(|error| format!("{name}: {error}")) });
    }

    fn ledger_thread(
        &mut self,
        ledger: Ledger,
        desk: EnergyDesk,
        commands: mpsc::Receiver<ledger_task::Command>,
        clock: Clock,
        metrics: &Metrics,
    ) {
        let metrics = metrics.ledger.clone();
        self.tasks.spawn_blocking(move || {
            ledger_task::run(ledger, desk, commands, clock, metrics)
                .map_err(|error| format!("ledger: {error}"))
        });
    }

    fn watcher(
        &mut self,
        nodes: &Arc<Nodes>,
        settings: WatchSettings,
        clock: Clock,
        sink: TemplateSink,
    ) {
        let nodes = Arc::clone(nodes);
        let cancel = self.cancel.clone();
        let clock: node::Clock = Arc::new(move || clock.now());
        self.tasks.spawn(async move {
            watch_templates(nodes, settings, clock, sink, cancel).await;
            Ok(())
        });
    }

    fn web(&mut self, listener: TcpListener, views: ViewSource) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            http::serve(listener, Arc::new(views), cancel).await;
            Ok(())
        });
    }
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|error| Err(format!("a task failed: {error}")))
}

fn open_ledger(config: &Config) -> Result<(Ledger, EnergyDesk), StartError> {
    let path = &config.ledger.path;
    let failed = |source| StartError::Ledger { path: path.display().to_string(), source };
    let settings = LedgerSettings {
        scheme: config.payout.scheme,
        fee: config.payout.fee,
        fee_account: config.payout.account.clone(),
        maturity: MATURITY,
    };
    let ledger = Ledger::open(path, settings).map_err(failed)?;
    let desk = EnergyDesk::restore(&ledger, config.energy.interval).map_err(failed)?;
    Ok((ledger, desk))
}

async fn listen(
    key: &'static str,
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen {
            key,
            address: *address,
            source,
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A node on another chain is a mistake that waiting cannot mend; a silent one may yet come.
async fn refuse_wrong_network(nodes: &Arc<Nodes>) -> Result<(), StartError> {
    let mut asked = JoinSet::new();
    for index in 0..nodes.all().len() {
        let nodes = Arc::clone(nodes);
        // A node that hangs is found out by the watcher; miners do not wait for that.
        asked.spawn(async move { timeout(START_LIMIT, nodes.all()[index].check_network()).await });
    }
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(Err(error @ NodeError::WrongNetwork { .. }))) => return Err(error.into()),
            Ok(Ok(Err(error))) => tracing::warn!("{error}; it is used as soon as it answers"),
            Ok(Ok(Ok(_)) | Err(_)) | Err(_) => {}
        }
    }
    Ok(())
}

fn session_settings(config: &Config) -> SessionSettings {
    SessionSettings {
        limits: SessionLimits::default(),
        version_mask: config.stratum.version_mask,
        xn2_size: EXTRANONCE2_SIZE,
        difficulty: config.stratum.difficulty,
        energy_interval: Some(config.energy.interval),
    }
}
