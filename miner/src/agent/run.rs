//! The agent from the first line to the last: puts the tasks together and takes them apart.
//!
//! Read [`run`], then [`agent`]. One task for each device, one for the farm's book, one for each
//! connection to the pool, one for the HTTP server. Being told to stop ends the links first, whose
//! last reports still need the devices and the book; then everything else.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ask::Asker;
use super::farm::{Farm, Parts};
use super::link::{self, Link, Standing};
use super::poller::{AT_A_TIME, Poller};
use super::settings::{self, Config};
use super::show::Show;
use super::store::Store;
use super::{calibrate, discover, once};
use crate::cli::{AgentArgs, CalibrateArgs};
use crate::clock::Clock;
use crate::commands::{environment, print, runtime};
use crate::error::Failure;
use crate::http;
use crate::instruments::key;
use crate::run::{bind, log, stop_signal};
use crate::upstream::dial::Dialer;
use crate::upstream::{Timing, tls};

/// Threads: all of it is waiting.
const RUNTIME_THREADS: usize = 2;
/// Answers that may wait to be taken into the book.
const RESULTS: usize = 256;

/// Does what `wattproof-miner agent` asks for.
///
/// # Errors
/// When the configuration is wrong, or something that the agent needs can't be had.
pub fn run(args: &AgentArgs) -> Result<(), Failure> {
    let clock = Clock::start();
    if !args.discover.is_empty() {
        log::start(true, clock);
        return runtime(RUNTIME_THREADS)?.block_on(Box::pin(discover::command(args)));
    }
    let Some(path) = &args.config else {
        return Err(Failure::usage("agent: --config is missing"));
    };
    let (config, effective) = settings::load(path, environment())?;
    if args.check {
        return print(&effective.to_string());
    }
    log::start(args.once || args.quiet, clock);
    let runtime = runtime(RUNTIME_THREADS)?;
    if args.once {
        let (text, all) = runtime.block_on(once::once(&config, args.json));
        print(&text)?;
        return match all {
            true => Ok(()),
            false => Err(Failure::failed("some devices gave no figure")),
        };
    }
    runtime.block_on(async {
        let stop = stop_signal()?;
        let announce = |address| print(&format!("api      http://{address}/\n"));
        Box::pin(agent(config, clock, stop, announce)).await
    })
}

/// Does what `wattproof-miner calibrate` asks for.
///
/// # Errors
/// When the configuration is wrong, or no line fits.
pub fn run_calibrate(args: &CalibrateArgs) -> Result<(), Failure> {
    let clock = Clock::start();
    let (config, _) = settings::load(&args.config, environment())?;
    log::start(true, clock);
    let found = runtime(RUNTIME_THREADS)?.block_on(calibrate::calibrate(&config, args))?;
    print(&if args.json { format!("{}\n", found.json()) } else { found.text() })
}

/// Reads and reports until `stop` is done. `announce` is told the address of the HTTP API.
///
/// # Errors
/// When something that the agent needs can't be had, or one of its tasks dies.
pub async fn agent(
    config: Config,
    clock: Clock,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let now = clock.now();
    let (store, saved, axis) =
        Store::open(&config.state, now).map_err(|error| Failure::failed(error.to_string()))?;
    let key = key(&config)?;
    let listener = match config.api {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    if let Some(listener) = &listener {
        announce(listener.local_addr().map_err(|e| Failure::failed(format!("api: {e}")))?)?;
    }
    let wakes: Vec<Arc<Notify>> = config.devices.iter().map(|_| Arc::default()).collect();
    let (sender, results) = mpsc::channel(RESULTS);
    let parts = Parts { clock, axis, store, saved, key, results, wakes: wakes.clone() };
    let (farm, desk, snapshots) = Farm::new(&config, parts);

    let (leave, end) = (CancellationToken::new(), CancellationToken::new());
    let (mut links, mut tasks) = (JoinSet::new(), JoinSet::new());
    let mut standings = Vec::new();
    for (pool, workers) in connections(&config) {
        let (standing, listener) = watch::channel(Standing::default());
        standings.push(listener);
        let dialer = Dialer::new(tls::authorities(), Timing::default().connect);
        let link = Link {
            pool,
            workers,
            desk: desk.clone(),
            dialer,
            clock,
            spacing: config.interval,
            patience: config.patience.saturating_mul(2),
            standing,
        };
        links.spawn(link.run(leave.clone()));
    }
    tasks.spawn(farm.run(end.clone()));
    start_pollers(&config, wakes, &sender, clock, &end, &mut tasks);
    if let Some(listener) = listener {
        let pool = config.pool.as_ref().map(|pool| pool.url.to_string());
        let show = Arc::new(Show::new(pool, snapshots, standings));
        tasks.spawn(http::serve(listener, show, end.clone()));
    }
    supervise(links, tasks, stop, &leave, &end).await
}

fn key(config: &Config) -> Result<energy::SigningKey, Failure> {
    let place = match &config.key {
        Some(path) => Ok(path.clone()),
        None => key::usual_place(|name| std::env::var(name).ok()),
    };
    place
        .and_then(|path| key::load_or_create(&path))
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Who is reported for over which connection.
fn connections(config: &Config) -> Vec<(crate::upstream::Pool, Vec<String>)> {
    let Some(pool) = &config.pool else { return Vec::new() };
    let counted = config.devices.iter().filter(|device| device.counts);
    let workers: BTreeSet<String> = counted.filter_map(|device| device.worker.clone()).collect();
    let workers: Vec<String> = workers.into_iter().collect();
    workers.chunks(link::WORKERS).map(|some| (pool.clone(), some.to_vec())).collect()
}

fn start_pollers(
    config: &Config,
    wakes: Vec<Arc<Notify>>,
    results: &mpsc::Sender<super::poller::Polled>,
    clock: Clock,
    end: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    let asker = Asker::new(config.patience);
    for (index, (device, wake)) in config.devices.iter().cloned().zip(wakes).enumerate() {
        let (asker, room, results) = (asker.clone(), Arc::clone(&room), results.clone());
        let poller = Poller { index, device, asker, wake, room, results, clock };
        tasks.spawn(poller.run(end.clone()));
    }
}

/// Waits for `stop`, or for a task that dies, and ends everything in order.
async fn supervise(
    mut links: JoinSet<()>,
    mut tasks: JoinSet<()>,
    stop: impl Future<Output = ()>,
    leave: &CancellationToken,
    end: &CancellationToken,
) -> Result<(), Failure> {
    let died = |error: tokio::task::JoinError| Failure::failed(format!("a task died: {error}"));
    let mut failure = None;
    tokio::select! {
        () = stop => tracing::info!("stopping: the last reports go out"),
        Some(ended) = tasks.join_next() => failure = ended.err().map(died),
        Some(Err(error)) = links.join_next() => failure = Some(died(error)),
    }
    leave.cancel();
    while let Some(ended) = links.join_next().await {
        failure = failure.or_else(|| ended.err().map(died));
    }
    end.cancel();
    while let Some(ended) = tasks.join_next().await {
        failure = failure.or_else(|| ended.err().map(died));
    }
    failure.map_or(Ok(()), Err)
}
