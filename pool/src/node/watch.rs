//! Keeps the newest template in a watch channel, and says in words when it cannot.
//!
//! Three sources race: the long poll (`getblocktemplate` with the last `longpollid`), which
//! brings the new template itself; `waitfornewblock`, which on Bitcoin Core returns sooner; and a
//! slow timer, which refreshes the time and the transactions of a quiet chain. The long poll is
//! not abandoned while the tip stays: an abandoned one would hold a worker thread of the node
//! until its next block.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use units::Moment;

use super::Clock;
use super::backoff::Jitter;
use super::client::NodeClient;
use super::error::NodeError;
use super::nodes::Nodes;
use super::standby;
use super::template::Template;

/// How long one long poll may stay unanswered; a tip that old is worth a look anyway.
const LONG_POLL_LIMIT: Duration = Duration::from_secs(900);
/// One `waitfornewblock`; the node answers at its end even without a block.
const WAIT_MS: u32 = 30_000;
/// Between looks at the tip on a node that lacks `waitfornewblock`.
const POLL: Duration = Duration::from_millis(500);
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
    /// A template this old is fetched anew, for its time and transactions.
    pub refresh: Duration,
    /// Between looks at the nodes that stand by.
    pub look: Duration,
    /// On a template older than this nobody mines: until then a node that takes over must be as
    /// far as the one before it was.
    pub max_age: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(30),
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
        let watcher = Watcher { client, settings, clock: &clock, sink: &sink, took_over };
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

/// One stretch of good weather.
struct Watcher<'a> {
    client: &'a NodeClient,
    settings: WatchSettings,
    clock: &'a Clock,
    sink: &'a TemplateSink,
    /// Whether the newest template is another node's.
    took_over: bool,
}

/// How far ahead of this machine's clock a template's time may be: what other nodes bear with.
const AHEAD_MAX: u64 = 2 * 3600;

type LongPoll<'a> = Pin<Box<dyn Future<Output = Result<Template, NodeError>> + Send + 'a>>;

impl Watcher<'_> {
    /// Publishes template after template; returns with the first failure.
    async fn run(&self) -> NodeError {
        match self.follow().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, NodeError> {
        let info = self.client.check_network().await?;
        let first = self.client.get_block_template(None).await?;
        if first.prev_hash == info.best_block && first.height != info.blocks.saturating_add(1) {
            let why = format!("field 'height' is {} on a chain of {}", first.height, info.blocks);
            return Err(self.client.untrue_template(&why));
        }
        self.refuse_older(&first)?;
        let mut seen = self.publish(first)?;
        loop {
            seen = self.follow_tip(seen).await?;
        }
    }

    /// A node that takes over and is behind would make good work stale, and have blocks found that
    /// the chain has left behind.
    fn refuse_older(&self, template: &Template) -> Result<(), NodeError> {
        let last = self.sink.templates.borrow().clone().filter(|_| self.took_over);
        let Some(last) = last else { return Ok(()) };
        let age = (self.clock)().mono.saturating_sub(last.at.mono);
        if template.height >= last.template.height || age >= self.settings.max_age {
            return Ok(());
        }
        let (height, known) = (template.height, last.template.height);
        Err(NodeError::Behind { url: self.client.url().to_owned(), height, known })
    }

    /// Stays with one long poll until the tip moves; returns the template on the new tip.
    async fn follow_tip(&self, mut seen: Arc<Seen>) -> Result<Arc<Seen>, NodeError> {
        let tip = seen.template.prev_hash;
        let mut long_poll = self.long_poll(&seen.template);
        let mut moved = std::pin::pin!(self.moved(tip));
        loop {
            tokio::select! {
                biased;
                template = &mut long_poll => {
                    seen = self.publish(template?)?;
                    if seen.template.prev_hash != tip {
                        return Ok(seen);
                    }
                    long_poll = self.long_poll(&seen.template);
                }
                result = &mut moved => {
                    result?;
                    return self.publish(self.client.get_block_template(None).await?);
                }
                () = tokio::time::sleep(self.settings.refresh) => {
                    seen = self.publish(self.client.get_block_template(None).await?)?;
                    if seen.template.prev_hash != tip {
                        return Ok(seen);
                    }
                }
            }
        }
    }

    fn long_poll(&self, template: &Template) -> LongPoll<'_> {
        let id = template.longpollid.clone();
        Box::pin(async move {
            if id.is_empty() {
                return std::future::pending().await;
            }
            match self.client.get_block_template(Some((&id, LONG_POLL_LIMIT))).await {
                Err(NodeError::TimedOut { .. }) => self.client.get_block_template(None).await,
                outcome => outcome,
            }
        })
    }

    /// Returns once the node's tip is not `tip`.
    async fn moved(&self, tip: [u8; 32]) -> Result<(), NodeError> {
        loop {
            let now = match self.client.wait_for_new_block(WAIT_MS, Some(&tip)).await {
                Ok(position) => position.hash,
                Err(error) if error.rpc_code().is_some() => {
                    tokio::time::sleep(POLL).await;
                    self.client.blockchain_info().await?.best_block
                }
                Err(error) => return Err(error),
            };
            if now != tip {
                return Ok(());
            }
        }
    }

    fn publish(&self, template: Template) -> Result<Arc<Seen>, NodeError> {
        let at = (self.clock)();
        if u64::from(template.cur_time) > at.unix.seconds() + AHEAD_MAX {
            let why = "field 'curtime' is more than two hours ahead of this machine's clock";
            return Err(self.client.untrue_template(why));
        }
        let seen = Arc::new(Seen { template, at });
        self.sink.templates.send_replace(Some(Arc::clone(&seen)));
        self.sink.status.send_if_modified(|status| {
            let changed = *status != NodeStatus::Working;
            *status = NodeStatus::Working;
            changed
        });
        Ok(seen)
    }
}
