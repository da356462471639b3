//! Starts the pool: makes every task and the channels between them, and ends them in order.
//!
//! The order of shutdown follows from channels closing: the accept loop and its connections end
//! first and with them everyone who could find a block; then the block task; then, when the last
//! handle is dropped, the ledger's thread, which has by then written everything.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use ledger::{Ledger, LedgerError, Retention, Settings as LedgerSettings};
use stratum::{
    Jobs,
    v1::server::{Limits as SessionLimits, Settings as SessionSettings},
    vardiff::DifficultySettings,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    blocks::{Desk, Finder, Follower},
    clock::Clock,
    coinbase::EXTRANONCE2_SIZE,
    config::{Config, PayoutConfig},
    direct::{DirectPay, Payroll},
    energy_desk::EnergyDesk,
    front::{Front, FrontError, Frozen, Shared, door::Rules, ports::Port},
    handover::{FrozenPeer, State},
    http::{self, view::ViewSource},
    jobs::{JobMaker, JobState},
    ledger_task::{self, LedgerHandle, LedgerUnavailable},
    metrics::Metrics,
    node::{
        self, NodeError, NodeStatus, Nodes, Seen, TemplateSink, WatchSettings, watch_templates,
    },
    payout::{Cashier, Counter, PayoutError},
    receipts::{self, KeyError, Signer},
    tls::{TlsFilesError, TlsKeeper},
    wages::{self, Wages},
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
        key: String,
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
    /// The key of receipts is of no use.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
    /// The system refuses something.
    #[error(transparent)]
    System(io::Error),
    /// Payouts cannot be made as they are configured.
    #[error(transparent)]
    Payouts(#[from] PayoutError),
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
    changes: watch::Sender<Option<Rules>>,
    freeze: CancellationToken,
    /// What the front and the job task leave, where it is to go over to another image.
    frozen: Arc<Mutex<Option<Frozen>>>,
    job_state: Arc<Mutex<JobState>>,
    clock: Clock,
}

/// What is asked of a pool that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To end.
    Stop,
    /// To end, and leave everything to another image.
    Renew,
}

/// Starts all tasks.
///
/// # Errors
/// When the ledger cannot be opened, an address not be listened on, or the node answers for
/// another network than configured. A node that does not answer yet is waited for.
pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    go_on(config, clock, State::default()).await
}

/// The same, with what another image of the pool left.
///
/// # Errors
/// As [`start`].
pub async fn go_on(config: Config, clock: Clock, taken: State) -> Result<Running, StartError> {
    let metrics = Metrics::new()?;
    let (ledger, desk) = open_ledger(&config, clock)?;
    let newest_slice = ledger.newest_slice();
    let signer = Signer::new(receipts::load_or_create(&config.ledger.path.with_extension("key"))?);
    let tls = open_tls(&config)?;
    let listeners = listen_to_miners(&config, taken.listeners)?;
    let http_listener = listen("http.listen", config.http)?;
    let stratum = addresses_of(&listeners);
    let http = http_listener.local_addr().unwrap_or(config.http);
    let nodes = Arc::new(Nodes::new(config.node.clone(), config.backups.clone())?);
    refuse_wrong_network(&nodes).await?;

    let mut running = Running::new(stratum, http, clock);
    let (ledger_handle, commands) = LedgerHandle::new(clock);
    let (templates_in, templates) = watch::channel(None);
    let (status_in, status) = watch::channel(NodeStatus::Starting);
    let (announce, jobs) = watch::channel(None);
    let (notice_in, notice) = watch::channel(Some(NO_WORK_YET.into()));
    let (found_in, found) = mpsc::channel(BLOCK_QUEUE);
    let (origins_in, origins) = mpsc::channel(BLOCK_QUEUE);

    running.keep_up(&metrics);
    running.ledger_thread((ledger, config.ledger.retention), desk, commands, clock, &metrics);
    let sink = TemplateSink { templates: templates_in, status: status_in };
    running.watcher(&nodes, watching(&config), clock, sink);
    let wages = running.wages(&config, &nodes, &templates);
    let counter = running.cashier(&config, &ledger_handle, &nodes)?;
    let desk = Desk { nodes, ledger: ledger_handle.clone() };
    let (tracked_in, tracked) = mpsc::channel(BLOCK_QUEUE);
    let own = (config.payout.payee.script.clone(), config.network.to_bitcoin());
    let finder = Finder { desk: desk.clone(), found, origins, tracked: tracked_in, own };
    running.spawn("blocks", finder.run());
    let follower = Follower { desk, tracked, templates: templates.clone(), maturity: MATURITY };
    running.spawn("chain", follower.run());
    let jobs_out = Arc::clone(&taken.jobs.jobs);
    running.job_maker(JobMaker {
        templates: templates.clone(),
        ledger: ledger_handle.clone(),
        payee: config.payout.payee.clone(),
        run_mark: run_mark()?,
        settings: config.jobs,
        writers: threads().get(),
        slice: config.ledger.slice,
        wages,
        max_age: config.template_max_age,
        announce,
        notice: notice_in,
        origins: origins_in,
        direct: direct(&config),
        committed: (newest_slice, Payroll::default()),
        reading: JoinSet::new(),
        clock,
        metrics: metrics.jobs.clone(),
        resume: taken.jobs,
    });
    let shared = Shared {
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
    running.front(&config, shared, tls, listeners, (taken.peers, jobs_out));
    let views = ViewSource::new(config, ledger_handle, templates, status, metrics, clock, signer);
    running.web(http_listener, views, counter);
    Ok(running)
}

impl Running {
    fn new(stratum: Vec<SocketAddr>, http: SocketAddr, clock: Clock) -> Self {
        Self {
            stratum,
            http,
            tasks: JoinSet::new(),
            cancel: CancellationToken::new(),
            changes: watch::Sender::new(None),
            freeze: CancellationToken::new(),
            frozen: Arc::default(),
            job_state: Arc::default(),
            clock,
        }
    }

    /// Puts another configuration in force, as far as that goes while the pool runs.
    #[must_use]
    pub fn reloader(&self, config: Config) -> Reloader {
        Reloader { config, addresses: self.stratum.clone(), changes: self.changes.clone() }
    }

    /// Waits until `stop` completes or a task ends on its own, then ends all tasks in order.
    ///
    /// # Errors
    /// What went wrong in the first task that failed, in plain words.
    pub async fn until(self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let asked = async {
            stop.await;
            Asked::Stop
        };
        self.until_asked(asked).await.map(|_| ())
    }

    /// The same; gives what is to go over to another image, where that was asked.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_asked(
        mut self,
        asked: impl Future<Output = Asked>,
    ) -> Result<Option<State>, String> {
        let early = tokio::select! {
            asked = asked => match asked {
                Asked::Stop => None,
                Asked::Renew => {
                    // The front ends once it has put everything down.
                    self.freeze.cancel();
                    self.tasks.join_next().await
                }
            },
            ended = self.tasks.join_next() => ended,
        };
        self.end(early).await?;
        let frozen = self.frozen.lock().ok().and_then(|mut frozen| frozen.take());
        let Some(Frozen { peers, listeners }) = frozen else { return Ok(None) };
        let jobs = self.job_state.lock().map(|state| state.clone()).unwrap_or_default();
        Ok(Some(State { mono: self.clock.now().mono, peers, listeners, jobs }))
    }

    async fn end(
        &mut self,
        early: Option<Result<Result<(), String>, tokio::task::JoinError>>,
    ) -> Result<(), String> {
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

    fn keep_up(&mut self, metrics: &Metrics) {
        let task = metrics.keep_up(self.cancel.clone());
        self.tasks.spawn(async move {
            task.await;
            Ok(())
        });
    }

    fn ledger_thread(
        &mut self,
        (ledger, kept): (Ledger, Retention),
        desk: EnergyDesk,
        commands: mpsc::Receiver<ledger_task::Command>,
        clock: Clock,
        metrics: &Metrics,
    ) {
        let metrics = metrics.ledger.clone();
        self.tasks.spawn_blocking(move || {
            ledger_task::run((ledger, kept), desk, commands, clock, metrics)
                .map_err(|error| format!("ledger: {error}"))
        });
    }

    fn front(
        &mut self,
        config: &Config,
        shared: Shared,
        tls: Option<TlsKeeper>,
        listeners: Vec<std::net::TcpListener>,
        (taken, jobs): (Vec<FrozenPeer>, Arc<Jobs>),
    ) {
        let (changes, freeze) = (self.changes.subscribe(), self.freeze.clone());
        let rules = rules(config, &self.stratum);
        let front = Front { shared, rules, tls, threads: threads(), changes, taken, jobs, freeze };
        let (cancel, left) = (self.cancel.clone(), Arc::clone(&self.frozen));
        self.spawn("stratum", async move {
            let frozen = front.run(listeners, cancel).await?;
            if let Ok(mut left) = left.lock() {
                *left = frozen;
            }
            Ok::<_, FrontError>(())
        });
    }

    fn job_maker(&mut self, maker: JobMaker) {
        let (cancel, left) = (self.cancel.clone(), Arc::clone(&self.job_state));
        self.spawn("jobs", async move {
            let state = maker.run(cancel).await?;
            if let Ok(mut left) = left.lock() {
                *left = state;
            }
            Ok::<_, LedgerUnavailable>(())
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

    /// How shares are paid for, where that happens as they come.
    fn wages(
        &mut self,
        config: &Config,
        nodes: &Arc<Nodes>,
        templates: &watch::Receiver<Option<Arc<Seen>>>,
    ) -> Option<Wages> {
        let scheme = config.payout.scheme;
        let network = config.network;
        if !scheme.pays_per_share() {
            return None;
        }
        if scheme != ledger::Scheme::Fpps {
            return Some(Wages::new(network, None));
        }
        let (mean, fees) = watch::channel(None);
        let (nodes, templates) = (Arc::clone(nodes), templates.clone());
        let following = wages::follow_fees(nodes, templates, mean, self.cancel.clone());
        self.tasks.spawn(async move {
            following.await;
            Ok(())
        });
        Some(Wages::new(network, Some(fees)))
    }

    fn cashier(
        &mut self,
        config: &Config,
        ledger: &LedgerHandle,
        nodes: &Arc<Nodes>,
    ) -> Result<Counter, PayoutError> {
        let cashier = Cashier::new(config, ledger.clone(), Arc::clone(nodes))?;
        let (counter, orders) = Counter::new(config, ledger.clone());
        self.spawn("payouts", cashier.run(orders, self.cancel.clone()));
        Ok(counter)
    }

    fn web(&mut self, listener: TcpListener, views: ViewSource, counter: Counter) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            http::serve(listener, Arc::new(views), counter, cancel).await;
            Ok(())
        });
    }
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|error| Err(format!("a task failed: {error}")))
}

fn addresses_of(listeners: &[std::net::TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

fn watching(config: &Config) -> WatchSettings {
    WatchSettings {
        // Three chances to fetch a template before the last one is too old.
        poll: config.jobs.poll.min(config.template_max_age / 3),
        max_age: config.template_max_age,
        ..WatchSettings::default()
    }
}

/// How coinbases pay miners themselves, where they do.
fn direct(config: &Config) -> Option<DirectPay> {
    let PayoutConfig { scheme, account, fee, direct, .. } = &config.payout;
    let (path, own) = (config.ledger.path.clone(), account.clone());
    direct.map(|config| DirectPay { path, scheme: *scheme, own, fee: *fee, config })
}

/// How the ledger settles, as the configuration has it.
pub(crate) fn ledger_settings(config: &Config) -> LedgerSettings {
    LedgerSettings {
        scheme: config.payout.scheme,
        fee: config.payout.fee,
        fee_account: config.payout.account.clone(),
        maturity: MATURITY,
        best_headers: config.ledger.best_headers,
    }
}

fn open_ledger(config: &Config, clock: Clock) -> Result<(Ledger, EnergyDesk), StartError> {
    let path = &config.ledger.path;
    let failed = |source| StartError::Ledger { path: path.display().to_string(), source };
    let mut ledger = Ledger::open(path, ledger_settings(config)).map_err(failed)?;
    ledger.begin(config.payout.reserve, clock.now().unix).map_err(failed)?;
    let desk = EnergyDesk::restore(&ledger, config.energy.interval).map_err(failed)?;
    Ok((ledger, desk.with_profiles(config.energy.profiles.clone())))
}

/// Connections that the system keeps until the pool takes them: a burst of miners that come back
/// all at once.
const BACKLOG: u32 = 8192;

fn listen(key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As tokio's own listeners: a pool that is started again need not wait for old connections.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen { key: key.to_owned(), address, source })
}

/// A listener for each port: one that another image had, or a new one.
fn listen_to_miners(
    config: &Config,
    mut taken: Vec<std::net::TcpListener>,
) -> Result<Vec<std::net::TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for port in config.stratum.all_ports() {
        let wanted = port.listen;
        let fits = |address: SocketAddr| {
            address == wanted || (wanted.port() == 0 && address.ip() == wanted.ip())
        };
        let had = taken.iter().position(|listener| listener.local_addr().is_ok_and(fits));
        listeners.push(match had {
            Some(place) => taken.remove(place),
            None => listen(&port.key, wanted)?.into_std().map_err(StartError::System)?,
        });
    }
    Ok(listeners)
}

fn open_tls(config: &Config) -> Result<Option<TlsKeeper>, StartError> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    Ok(Some(TlsKeeper::open(files)?))
}

/// Tells the work of this run of the pool from that of all others.
fn run_mark() -> Result<[u8; 4], StartError> {
    let mut mark = [0; 4];
    getrandom::fill(&mut mark)
        .map_err(|error| StartError::System(io::Error::other(error.to_string())))?;
    Ok(mark)
}

/// Threads that serve miners: one for each processor.
fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Who may connect and how, as the configuration has it and open files allow.
fn rules(config: &Config, addresses: &[SocketAddr]) -> Rules {
    let ports = config.stratum.all_ports().into_iter().zip(addresses).map(|(port, address)| Port {
        address: *address,
        settings: Arc::new(session_settings(config, port.difficulty)),
        tls: port.tls,
        proxies: port.proxy_protocol,
    });
    Rules {
        limits: config.limits.clone(),
        never_banned: config.never_banned(),
        ports: ports.collect(),
        reconnect: config.stratum.reconnect.clone().into(),
        tls: config.tls.clone(),
    }
}

/// The way to change a configuration in force.
#[derive(Debug)]
pub struct Reloader {
    config: Config,
    addresses: Vec<SocketAddr>,
    changes: watch::Sender<Option<Rules>>,
}

impl Reloader {
    /// Puts `new` in force; returns the keys that differ.
    ///
    /// # Errors
    /// A line for each key that cannot change while the pool runs; nothing is changed then.
    pub fn reload(&mut self, new: Config) -> Result<Vec<String>, Vec<String>> {
        let reloaded = self.config.reload(new)?;
        self.config = reloaded.config;
        // Also where nothing differs: the certificate's files are read again.
        self.changes.send_replace(Some(rules(&self.config, &self.addresses)));
        Ok(reloaded.changed)
    }
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

fn session_settings(config: &Config, difficulty: DifficultySettings) -> SessionSettings {
    SessionSettings {
        profile: "default".into(),
        limits: SessionLimits::default(),
        version_mask: config.stratum.version_mask,
        xn2_size: EXTRANONCE2_SIZE,
        difficulty,
        energy_interval: Some(config.energy.interval),
    }
}
