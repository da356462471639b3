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
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(30) }
    }
}

/// Runs until `cancel`: fetches, publishes, waits for something new, and starts over after a
/// failure with growing waits. It first checks that the node is on the configured network.
pub async fn watch_templates(
    client: Arc<NodeClient>,
    settings: WatchSettings,
    clock: Clock,
    sink: TemplateSink,
    cancel: CancellationToken,
) {
    let jitter = Jitter::new(clock().unix.get());
    let mut attempts = 0;
    let mut since = clock();
    while !cancel.is_cancelled() {
        let watcher = Watcher { client: &client, settings, clock: &clock, sink: &sink };
        let before = sink.templates.borrow().clone();
        let error = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            error = watcher.run() => error,
        };
        if *sink.templates.borrow() != before {
            attempts = 0;
        }
        if attempts == 0 {
            since = clock();
        }
        attempts += 1;
        tracing::warn!(attempts, "{error}");
        let reason = error.to_string();
        sink.status.send_replace(NodeStatus::Failing { reason, attempts, since });
        let wait = jitter.wait(attempts - 1, BACKOFF_BASE, BACKOFF_LIMIT);
        let _ = tokio::time::timeout(wait, cancel.cancelled()).await;
    }
}

/// One stretch of good weather.
struct Watcher<'a> {
    client: &'a NodeClient,
    settings: WatchSettings,
    clock: &'a Clock,
    sink: &'a TemplateSink,
}

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
        self.client.check_network().await?;
        let mut seen = self.publish(self.client.get_block_template(None).await?);
        loop {
            seen = self.follow_tip(seen).await?;
        }
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
                    seen = self.publish(template?);
                    if seen.template.prev_hash != tip {
                        return Ok(seen);
                    }
                    long_poll = self.long_poll(&seen.template);
                }
                result = &mut moved => {
                    result?;
                    return Ok(self.publish(self.client.get_block_template(None).await?));
                }
                () = tokio::time::sleep(self.settings.refresh) => {
                    seen = self.publish(self.client.get_block_template(None).await?);
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

    fn publish(&self, template: Template) -> Arc<Seen> {
        let seen = Arc::new(Seen { template, at: (self.clock)() });
        self.sink.templates.send_replace(Some(Arc::clone(&seen)));
        self.sink.status.send_if_modified(|status| {
            let changed = *status != NodeStatus::Working;
            *status = NodeStatus::Working;
            changed
        });
        seen
    }
}
