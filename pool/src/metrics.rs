//! The pool's metrics: one struct of handles a component, made once from one recorder.
//!
//! Read [`Metrics::new`]. Events are counted here in `u64` by the `metrics` crate; the exact
//! families (work, energy, carbon, balances) are rendered at scrape time from the ledger's
//! integers, in [`crate::http::exact`]. Labels are enums; nothing from the network is one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::Pruned;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use stratum::judge::Reason;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Between two times that noted times are put into their histograms.
const KEEP_UP_EVERY: Duration = Duration::from_secs(5);
/// Upper bounds of the latency histograms' buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// All handles, and the text that they render to.
#[derive(Clone)]
pub struct Metrics {
    /// The accept loop's and the connections'.
    pub stratum: StratumMetrics,
    /// The ledger thread's.
    pub ledger: LedgerMetrics,
    /// The job task's.
    pub jobs: JobMetrics,
    handle: PrometheusHandle,
}

/// Of the accept loop and the connections.
#[derive(Clone)]
pub struct StratumMetrics {
    connections: Gauge,
    rejected: Arc<Vec<(Reason, Counter)>>,
    submit_seconds: Histogram,
    bans: Counter,
    counts: Arc<Counts>,
}

/// The same counts for the API, which the exporter's text cannot be asked for.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
}

/// Counts since the pool started that are no accounts.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    /// Connections held now.
    pub connections: u64,
    /// Rejected shares and refused requests by reason, in the reasons' order.
    pub rejected: Vec<(&'static str, u64)>,
}

/// Of the ledger thread.
#[derive(Clone)]
pub struct LedgerMetrics {
    accepted: Counter,
    commit_seconds: Histogram,
    queue_length: Gauge,
    headers_dropped: Counter,
    pruned_slice: Gauge,
}

/// Of the job task.
#[derive(Clone)]
pub struct JobMetrics {
    broadcast_seconds: Histogram,
}

impl Metrics {
    /// A recorder of its own: two pools in one process (as tests have) do not mix.
    ///
    /// # Errors
    /// When the exporter refuses the buckets, which are constants.
    pub fn new() -> Result<Self, metrics_exporter_prometheus::BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?
            .build_recorder();
        let register = Register { recorder: &recorder };
        let rejected = Reason::ALL.iter().map(|reason| {
            let label = Label::new("verdict", reason.label());
            (*reason, register.counter(SHARES, SHARES_HELP, Some(label)))
        });
        let rejected = Arc::new(rejected.collect());
        let accepted =
            register.counter(SHARES, SHARES_HELP, Some(Label::new("verdict", "accepted")));
        Ok(Self {
            stratum: StratumMetrics {
                connections: register
                    .gauge("wattproof_pool_connections", "Stratum connections held now."),
                rejected,
                submit_seconds: register.seconds(
                    "wattproof_pool_submit_duration_seconds",
                    "Time from a share's arrival to its answer, the ledger's commit included.",
                ),
                bans: register.counter(
                    "wattproof_pool_bans_total",
                    "Addresses that were banned for a time.",
                    None,
                ),
                counts: Arc::default(),
            },
            ledger: LedgerMetrics {
                accepted,
                commit_seconds: register.seconds(
                    "wattproof_pool_ledger_commit_seconds",
                    "Time to put one batch of shares on disk.",
                ),
                queue_length: register.gauge(
                    "wattproof_pool_ledger_queue_length",
                    "Commands waiting for the ledger's thread.",
                ),
                headers_dropped: register.counter(
                    "wattproof_pool_ledger_headers_dropped_total",
                    "Shares whose headers were dropped since the pool started.",
                    None,
                ),
                pruned_slice: register.gauge(
                    "wattproof_pool_ledger_pruned_slice",
                    "Newest slice of which no more headers are to be dropped; 0 for none.",
                ),
            },
            jobs: JobMetrics {
                broadcast_seconds: register.seconds(
                    "wattproof_pool_job_broadcast_seconds",
                    "Time from a template's sight to the last miner written.",
                ),
            },
            handle: recorder.handle(),
        })
    }

    /// Counts for the API and the page.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        let counts = &self.stratum.counts;
        let rejected = Reason::ALL.iter().zip(&counts.rejected);
        Tallies {
            connections: counts.connections.load(Ordering::Relaxed),
            rejected: rejected
                .map(|(reason, count)| (reason.label(), count.load(Ordering::Relaxed)))
                .collect(),
        }
    }

    /// Puts the times that were noted into their histograms every few seconds, until cancelled:
    /// until then each of them takes memory, and nobody may ever come to read the metrics.
    pub fn keep_up(&self, cancel: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let handle = self.handle.clone();
        async move {
            while timeout(KEEP_UP_EVERY, cancel.cancelled()).await.is_err() {
                handle.run_upkeep();
            }
        }
    }

    /// The counted families as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

const SHARES: &str = "wattproof_pool_shares_total";
const SHARES_HELP: &str = "Shares judged since the pool started, by verdict.";

impl StratumMetrics {
    /// Counts a rejected share, or a request that was refused.
    pub fn rejected(&self, reason: Reason) {
        let label = reason.label();
        let known = Reason::ALL.iter().position(|known| known.label() == label);
        if let Some(index) = known {
            self.rejected[index].1.increment(1);
            self.counts.rejected[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes how long some shares took from their arrival to their answer.
    pub fn submitted(&self, took: Duration, shares: usize) {
        self.submit_seconds.record_many(took.as_secs_f64(), shares);
    }

    /// Counts an address that was banned.
    pub fn banned(&self) {
        self.bans.increment(1);
    }

    /// Sets the number of connections held.
    pub fn connections(&self, held: u64) {
        self.connections.set(to_f64(held));
        self.counts.connections.store(held, Ordering::Relaxed);
    }
}

impl LedgerMetrics {
    /// Counts shares that are on disk.
    pub fn accepted(&self, shares: usize) {
        self.accepted.increment(u64::try_from(shares).unwrap_or(u64::MAX));
    }

    /// Notes how long a commit took.
    pub fn commit(&self, took: Duration) {
        self.commit_seconds.record(took.as_secs_f64());
    }

    /// Sets the number of commands that wait.
    pub fn queue_length(&self, waiting: usize) {
        self.queue_length.set(to_f64(u64::try_from(waiting).unwrap_or(u64::MAX)));
    }

    /// Counts shares whose headers were dropped, and sets up to which slice that is done.
    pub fn pruned(&self, pruned: &Pruned) {
        self.headers_dropped.increment(pruned.shares);
        self.pruned_slice.set(to_f64(pruned.newest.get()));
    }
}

impl JobMetrics {
    /// Notes how long a job took to reach the last miner.
    pub fn broadcast(&self, took: Duration) {
        self.broadcast_seconds.record(took.as_secs_f64());
    }
}

/// Registers handles with their help text at one recorder.
struct Register<'a> {
    recorder: &'a PrometheusRecorder,
}

impl Register<'_> {
    fn counter(&self, name: &'static str, help: &'static str, label: Option<Label>) -> Counter {
        self.recorder.describe_counter(KeyName::from_const_str(name), None, help.into());
        let key = Key::from_parts(name, Vec::from_iter(label));
        self.recorder.register_counter(&key, &METADATA)
    }

    fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
        self.recorder.register_gauge(&Key::from_name(name), &METADATA)
    }

    fn seconds(&self, name: &'static str, help: &'static str) -> Histogram {
        let name_key = KeyName::from_const_str(name);
        self.recorder.describe_histogram(name_key, Some(Unit::Seconds), help.into());
        self.recorder.register_histogram(&Key::from_name(name), &METADATA)
    }
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay below 2^53")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}

macro_rules! opaque_debug {
    ($($name:ident)*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
opaque_debug! { Metrics StratumMetrics LedgerMetrics JobMetrics }
