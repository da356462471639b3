//! Mining from the first line to the last: puts the tasks together and takes them apart.
//!
//! Read [`mine`]. Four tasks in one set: the upstream, the instruments, what holds the miner back, the
//! HTTP server. Being
//! told to stop cancels the upstream, which stops the workers, sends what they found and the last
//! energy report, and ends; its end ends the others. Any task that ends by itself ends all.

use std::cell::LazyCell;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::clock::Clock;
use crate::commands::{environment, print, runtime};
use crate::error::Failure;
use crate::hands::Crew;
use crate::http::{self, Api};
use crate::instruments::boards::{self, GpuToMeter, Host};
use crate::instruments::last_words::LastWords;
use crate::instruments::nvml::Library;
use crate::instruments::sensors::{Folder, Processor};
use crate::instruments::{Desk, Instruments, Metering, key};
use crate::metrics::{Registry, ShareMetrics};
use crate::progress;
use crate::restraint::keeper::Keeper;
use crate::restraint::{Restraint, State, heat};
use crate::rig::Rig;
use crate::settings::{self, Config, Cpu};
use crate::telemetry::Snapshot;
use crate::upstream::{self, Upstream, WorkersGone};

/// Threads for everything but hashing: it is little work, and it must not wait for one task.
const RUNTIME_THREADS: usize = 2;

/// Mines until a signal says to stop.
///
/// # Errors
/// When the configuration is wrong, or something that mining needs can't be had.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let clock = Clock::start();
    let (config, _) = settings::load(args, environment())?;
    log::start(args.quiet, clock);
    let rig = Rig::find(&config, args.retune, clock)?;
    let runtime = runtime(RUNTIME_THREADS)?;
    let last = runtime.block_on(async {
        let stop = stop_signal()?;
        Box::pin(mine(config, rig, clock, stop, |address| {
            print(&format!("api      http://{address}/\n"))
        }))
        .await
    })?;
    tracing::info!("{}", progress::summary(&last));
    Ok(())
}

/// How each task ended.
enum End {
    Upstream(Result<(), WorkersGone>),
    Instruments(Arc<Snapshot>),
    Http,
    Restraint,
}

/// Mines until `stop` is done. `announce` is told the address that the HTTP API is bound to.
///
/// # Errors
/// When something that mining needs can't be had, or the hashing threads end by themselves.
pub async fn mine(
    config: Config,
    rig: Rig,
    clock: Clock,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<Arc<Snapshot>, Failure> {
    let metering = metering(&config, &rig.to_meter(), clock)?;
    let listener = match config.api {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    if let Some(listener) = &listener {
        announce(listener.local_addr().map_err(|e| Failure::failed(format!("api: {e}")))?)?;
    }
    let layouts = rig.layouts();
    let sysfs = Folder::new(&config.sysfs);
    let restraint = restraint(&config, metering.as_ref(), &rig)?;
    let (crew, ends) = Crew::new(clock, &Handle::current());
    let throttle = crew.throttle().clone();
    let devices = rig.start(&crew, &config, clock)?;
    // The queue of findings is to close when the last worker ends.
    drop(crew);

    let (cancel, end) = (CancellationToken::new(), CancellationToken::new());
    let registry = Registry::new();
    let (desk, requests) = Desk::open();
    let (upstream, status) = Upstream::new(
        upstream::Settings {
            pools: config.pools,
            version_mask: config.version_mask,
            suggest_difficulty: config.difficulty,
            timing: config.timing,
        },
        clock,
        ends,
        layouts,
        metering.is_some().then_some(desk),
        ShareMetrics::new(&registry),
        cancel.clone(),
    );
    let (instruments, snapshots) = Instruments::new(clock, devices, metering, status, requests);
    let (state, shown) = watch::channel(Arc::new(State::free()));
    let instruments = instruments.showing(shown);
    let keeper = Keeper::new(restraint, throttle, sysfs, snapshots.clone(), state);

    let mut tasks = JoinSet::new();
    tasks.spawn(async move { End::Upstream(upstream.run().await) });
    let (until, serving, keeping) = (end.clone(), end.clone(), end.clone());
    tasks.spawn(async move { End::Instruments(instruments.run(until).await) });
    tasks.spawn(async move {
        keeper.run(keeping).await;
        End::Restraint
    });
    if let Some(listener) = listener {
        let api = Arc::new(Api::new(registry, snapshots));
        tasks.spawn(async move {
            http::serve(listener, api, serving).await;
            End::Http
        });
    }
    supervise(tasks, stop, &cancel, &end).await
}

/// Waits for all tasks; the first end, or `stop`, ends the others in order.
async fn supervise(
    mut tasks: JoinSet<End>,
    stop: impl Future<Output = ()>,
    cancel: &CancellationToken,
    end: &CancellationToken,
) -> Result<Arc<Snapshot>, Failure> {
    tokio::pin!(stop);
    let mut failure = None;
    let mut last = None;
    loop {
        let joined: Option<Result<End, JoinError>> = tokio::select! {
            joined = tasks.join_next() => joined,
            () = &mut stop, if !cancel.is_cancelled() => {
                tracing::info!("stopping: waiting for the last verdicts");
                cancel.cancel();
                continue;
            }
        };
        match joined {
            None => break,
            Some(Ok(End::Upstream(ended))) => {
                let gone = ended.err().map(|gone| Failure::failed(gone.to_string()));
                failure = failure.or(gone);
                end.cancel();
            }
            Some(Ok(End::Instruments(snapshot))) => last = Some(snapshot),
            Some(Ok(End::Http | End::Restraint)) => {}
            Some(Err(panic)) => {
                failure =
                    failure.or_else(|| Some(Failure::failed(format!("a task died: {panic}"))));
                end.cancel();
            }
        }
        cancel.cancel();
    }
    match (failure, last) {
        (None, Some(last)) => Ok(last),
        (Some(failure), _) => Err(failure),
        (None, None) => Err(Failure::failed("the instruments ended early")),
    }
}

/// Opens the rig's meters and the key; `None` where no energy is reported.
fn metering(
    config: &Config,
    gpus: &[GpuToMeter],
    clock: Clock,
) -> Result<Option<Metering>, Failure> {
    let Some(settings) = &config.energy else {
        tracing::info!("energy: reporting is off");
        return Ok(None);
    };
    let place = match &settings.key {
        Some(path) => Ok(path.clone()),
        None => key::usual_place(|name| std::env::var(name).ok()),
    };
    let usage = |error: key::KeyError| Failure::usage(error.to_string());
    let place = place.map_err(usage)?;
    let key = key::load_or_create(&place).map_err(usage)?;
    let words = Some(LastWords::beside(place));
    let processor = Processor::of_this_machine();
    let threads = if config.cpu == Cpu::Off { 0 } else { config.plan.threads() };
    let host = Host { processor: &processor, threads };
    let library = LazyCell::new(Library::load);
    let board = |address| match &*library {
        Ok(library) => Ok(library.board(address)),
        Err(why) => Err(why.clone()),
    };
    let opened = boards::open(settings, host, gpus, board, clock.now());
    for line in opened.lines() {
        tracing::info!("energy: {line}");
    }
    if let Some(why) = opened.unknown() {
        tracing::warn!("energy: {why}");
        return Ok(None);
    }
    Ok(Some(Metering { meters: opened.meters, key, words }))
}

/// What holds the miner back, unless it cannot be done here.
fn restraint(
    config: &Config,
    metering: Option<&Metering>,
    rig: &Rig,
) -> Result<Restraint, Failure> {
    let settings = &config.power;
    let hottest = settings.max_celsius.and_then(|_| heat::hottest(&Folder::new(&config.sysfs)));
    if let Some(hottest) = &hottest {
        let heat::Temperature { celsius, sensor } = hottest;
        tracing::info!("temperature: the hottest sensor is {sensor}, at {celsius:.0} C");
    }
    let counting = metering.into_iter().flat_map(Metering::counting);
    settings.refuse_what_cannot_be_kept(counting, hottest.as_ref()).map_err(Failure::usage)?;
    Ok(Restraint::new(settings.clone(), rig.range(config)))
}

/// Listens there, or says what else could be tried.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(format!("api {address}: {error}; give --api ADDR, or --api off"))
    })
}

/// Done when the process gets SIGINT or SIGTERM; from now on neither ends it at once.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let of_io = |error: std::io::Error| Failure::failed(format!("signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(of_io)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(of_io)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// What is written to stderr, and how.
pub(crate) mod log {
    use std::io::IsTerminal as _;

    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::time::FormatTime;

    use crate::clock::Clock;

    /// Time of day, UTC.
    struct TimeOfDay(Clock);

    impl FormatTime for TimeOfDay {
        fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
            let seconds = self.0.now().unix.seconds();
            let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
            write!(writer, "{hours:02}:{minutes:02}:{:02}", seconds % 60)
        }
    }

    /// Starts logging: warnings only where `quiet`, or as `WATTPROOF_MINER_LOG` says.
    pub(crate) fn start(quiet: bool, clock: Clock) {
        let level = if quiet { "warn" } else { "info" };
        let filter = EnvFilter::try_from_env("WATTPROOF_MINER_LOG");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let started = tracing_subscriber::fmt()
            // A log that cannot be written must not end the miner.
            .log_internal_errors(false)
            .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(level)))
            .with_writer(std::io::stderr)
            .with_ansi(!plain && std::io::stderr().is_terminal())
            .with_target(false)
            .with_timer(TimeOfDay(clock))
            .try_init();
        if started.is_err() {
            tracing::debug!("somebody else logs already");
        }
    }
}

#[cfg(test)]
mod tests;
