//! Keeps the newest template in a watch channel, and says in words when it cannot.
//!
//! Read [`watch_templates`]: which node is followed, and what becomes of one that fails. How a node
//! is followed is in [`super::tip`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use units::Moment;

use super::Clock;
use super::backoff::Jitter;
use super::error::NodeError;
use super::nodes::Nodes;
use super::standby;
use super::template::Template;
use super::tip::Watcher;

/// The first wait after a failure, and the longest.
const BACKOFF_BASE: Duration = Duration::from_millis(200);
const BACKOFF_LIMIT: Duration = Duration::from_secs(5);

/// A template and the moment at which it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What to mine.
    pub template: Template,
    /// When the node's answer was complete.
    pub at: Moment,
    /// When the pool first heard of the block that it builds on, which a node says before it has a
    /// template; `at` where the template itself was the news, and for later ones of the same tip.
    pub heard: Moment,
    /// Whether it is the pool's own, without transactions, given out until the node's is there.
    pub empty: bool,
}

impl Seen {
    /// A template of the node that was itself the first word of its tip.
    #[must_use]
    pub const fn new(template: Template, at: Moment) -> Self {
        Self { template, at, heard: at, empty: false }
    }
}

/// How the node is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeStatus {
    /// Not asked yet.
    Starting,
    /// The last call brought a template.
    Working,
    /// Calls fail.
    Failing {
        /// The last failure in plain words; names the node, the call and the reason.
        reason: String,
        /// Failures in a row.
        attempts: u32,
        /// When the first of them happened.
        since: Moment,
    },
}

/// Where the watcher writes.
#[derive(Debug)]
pub struct TemplateSink {
    /// The newest template; keeps its last value while the node fails (its age tells).
    pub templates: watch::Sender<Option<Arc<Seen>>>,
    /// Whether the node answers.
    pub status: watch::Sender<NodeStatus>,
}

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// Between looks at the template of a tip that stays, for its time and transactions.
    pub poll: Duration,
    /// Between looks at the nodes that stand by.
    pub look: Duration,
    /// On a template older than this nobody mines: until then a node that takes over must be as
    /// far as the one before it was.
    pub max_age: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(5),
            look: Duration::from_secs(10),
            max_age: Duration::from_secs(90),
        }
    }
}

/// Runs until `cancel`: fetches, publishes, waits for something new. A node that fails is left
/// for the next in the operator's order; when all have failed in a row, the next round begins
/// after a growing wait. Each is first checked to be on the configured network.
pub async fn watch_templates(
    nodes: Arc<Nodes>,
    settings: WatchSettings,
    clock: Clock,
    sink: TemplateSink,
    cancel: CancellationToken,
) {
    let jitter = Jitter::new(clock().unix.get());
    let mut failures = Failures { in_a_row: 0, since: clock() };
    let mut followed = nodes.active_index();
    while !cancel.is_cancelled() {
        let took_over = followed != nodes.active_index();
        let client = nodes.active();
        let watcher =
            Watcher { client, settings, clock: &clock, sink: &sink, took_over, jitter: &jitter };
        let before = sink.templates.borrow().clone();
        let error = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            error = watcher.run() => error,
            better = standby::better(&nodes, settings.look) => {
                tracing::warn!("now on node {}: {}", nodes.all()[better.index].url(), better.why);
                nodes.activate(better.index);
                continue;
            }
        };
        if *sink.templates.borrow() != before {
            failures.in_a_row = 0;
            followed = nodes.active_index();
        }
        let Some(rounds) = failures.count(&nodes, &clock, &error) else { continue };
        let reason = error.to_string();
        sink.status.send_replace(NodeStatus::Failing {
            reason,
            attempts: rounds,
            since: failures.since,
        });
        let wait = jitter.wait(rounds - 1, BACKOFF_BASE, BACKOFF_LIMIT);
        let _ = tokio::time::timeout(wait, cancel.cancelled()).await;
    }
}

/// Failures since the last template, of whichever node.
struct Failures {
    in_a_row: u32,
    since: Moment,
}

impl Failures {
    /// Counts one and turns to the next node. Where that completes a round through all of them
    /// without a template, gives the number of such rounds.
    fn count(&mut self, nodes: &Nodes, clock: &Clock, error: &NodeError) -> Option<u32> {
        if self.in_a_row == 0 {
            self.since = clock();
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let count = nodes.all().len();
        let next = (nodes.active_index() + 1) % count;
        nodes.activate(next);
        let failures = self.in_a_row;
        if count == 1 {
            tracing::warn!(failures, "{error}");
        } else {
            tracing::warn!(failures, "{error}; trying node {}", nodes.all()[next].url());
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        failures.is_multiple_of(count).then_some(failures / count)
    }
}
