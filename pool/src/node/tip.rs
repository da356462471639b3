//! Follows one node: its tip, and the template on it.
//!
//! Read [`Watcher::run`]. `waitfornewblock` brings the news of a block; only then is the template
//! asked for, and where it is not there within [`EMPTY_AFTER`] an empty block stands in for it.
//! There is deliberately no long poll beside that: on Bitcoin Core it would wake with the same
//! block, and hold the node's lock for as long as it takes to assemble the template (70 ms with
//! 5,000 transactions waiting, two cores, November 2026), while both the news and the header that
//! the empty block needs would wait for that lock. A node without `waitfornewblock` is followed by the
//! long poll. While the tip stays, the template is looked at every [`WatchSettings::poll`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::Clock;
use super::backoff::Jitter;
use super::check::check;
use super::client::{NodeClient, TipPosition};
use super::empty::{self, Parent};
use super::error::NodeError;
use super::settings::Network;
use super::template::{Template, display_hash};
use super::watch::{NodeStatus, Seen, TemplateSink, WatchSettings};

/// A template that is not there this long after the news of its tip is stood in for.
pub(super) const EMPTY_AFTER: Duration = Duration::from_millis(20);
/// The template is asked for once what an empty block needs is there, or this long after that was
/// asked for: a node that assembles a template already would give it only after that.
const HEADER_FIRST: Duration = Duration::from_millis(1);
/// How long one long poll may stay unanswered; a tip that old is worth a look anyway.
const LONG_POLL_LIMIT: Duration = Duration::from_secs(900);
/// One `waitfornewblock`; the node answers at its end even without a block.
const WAIT_MS: u32 = 30_000;
/// Between looks at the tip on a node that lacks `waitfornewblock`.
const LOOK: Duration = Duration::from_millis(500);
/// Templates in a row that may build on another block than the node's tip, and the waits between:
/// the tip may move between two answers, but not each time.
const TIP_ATTEMPTS: u32 = 5;
const TIP_BASE: Duration = Duration::from_millis(50);
const TIP_LIMIT: Duration = Duration::from_millis(500);
/// How far ahead of this machine's clock a template's time may be: what other nodes bear with.
const AHEAD_MAX: u64 = 2 * 3600;

/// One stretch of good weather.
pub(super) struct Watcher<'a> {
    pub(super) client: &'a NodeClient,
    pub(super) settings: WatchSettings,
    pub(super) clock: &'a Clock,
    pub(super) sink: &'a TemplateSink,
    /// Whether the newest template is another node's.
    pub(super) took_over: bool,
    pub(super) jitter: &'a Jitter,
}

/// What a node says while its template is waited on.
enum Word {
    /// Its tip is another.
    Tip(TipPosition),
    /// A new template, perhaps on the same tip.
    Template(Box<Template>),
}

/// What ended the wait for the template on a tip.
enum Climbed {
    /// It has been published.
    Template(Arc<Seen>),
    /// The next tip came sooner; published was the empty block.
    Word(TipPosition, Arc<Seen>),
}

impl Watcher<'_> {
    /// Publishes template after template; returns with the first failure.
    pub(super) async fn run(&self) -> NodeError {
        match Box::pin(self.follow()).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, NodeError> {
        let info = self.client.check_network().await?;
        let tip = TipPosition { hash: info.best_block, height: info.blocks };
        let first = Box::pin(self.template_on(tip)).await?;
        self.refuse_older(&first)?;
        let mut seen = self.publish(Seen::new(first, (self.clock)()))?;
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

    /// Looks at the template now and then until the node has word of another; returns the newest.
    async fn follow_tip(&self, seen: Arc<Seen>) -> Result<Arc<Seen>, NodeError> {
        let (first, mut last) = (Arc::clone(&seen), seen);
        let mut word = Box::pin(self.word(&first.template));
        let mut look = Box::pin(self.look());
        loop {
            tokio::select! {
                biased;
                word = &mut word => return match word? {
                    Word::Tip(tip) => Box::pin(self.move_on(tip, last)).await,
                    Word::Template(template) => Box::pin(self.take(*template, &last)).await,
                },
                template = &mut look => {
                    let seen = Box::pin(self.take(template?, &last)).await?;
                    if seen.template.prev_hash != last.template.prev_hash {
                        return Ok(seen);
                    }
                    last = seen;
                    look.set(self.look());
                }
            }
        }
    }

    /// Returns once the node has a tip or a template that `template` is not of.
    async fn word(&self, template: &Template) -> Result<Word, NodeError> {
        let tip = template.prev_hash;
        loop {
            match self.client.wait_for_new_block(WAIT_MS, Some(&tip)).await {
                Ok(position) if position.hash == tip => {}
                Ok(position) => return Ok(Word::Tip(position)),
                Err(error) if error.rpc_code().is_some() => break,
                Err(error) => return Err(error),
            }
        }
        tokio::select! {
            biased;
            template = self.long_poll(&template.longpollid) => template.map(|template| Word::Template(Box::new(template))),
            position = self.moved(tip) => position.map(Word::Tip),
        }
    }

    async fn long_poll(&self, id: &str) -> Result<Template, NodeError> {
        if id.is_empty() {
            return std::future::pending().await;
        }
        match self.client.get_block_template(Some((id, LONG_POLL_LIMIT))).await {
            Err(NodeError::TimedOut { .. }) => self.client.get_block_template(None).await,
            outcome => outcome,
        }
    }

    /// Returns once the node's tip is not `tip`, on a node that cannot be waited on.
    async fn moved(&self, tip: [u8; 32]) -> Result<TipPosition, NodeError> {
        loop {
            sleep(LOOK).await;
            let position = self.tip().await?;
            if position.hash != tip {
                return Ok(position);
            }
        }
    }

    async fn look(&self) -> Result<Template, NodeError> {
        sleep(self.settings.poll).await;
        self.client.get_block_template(None).await
    }

    async fn tip(&self) -> Result<TipPosition, NodeError> {
        let info = self.client.blockchain_info().await?;
        Ok(TipPosition { hash: info.best_block, height: info.blocks })
    }

    /// Publishes a template that came without word of a new tip, though it may be on one.
    async fn take(&self, template: Template, last: &Seen) -> Result<Arc<Seen>, NodeError> {
        let heard = (self.clock)();
        if template.prev_hash == last.template.prev_hash {
            return self.publish(Seen::new(template, heard));
        }
        let template = self.settle(self.tip().await?, template).await?;
        self.publish(Seen { heard, ..Seen::new(template, (self.clock)()) })
    }

    /// Publishes the template on a tip that the node has word of, or on one that comes while that
    /// is awaited.
    async fn move_on(
        &self,
        mut tip: TipPosition,
        mut last: Arc<Seen>,
    ) -> Result<Arc<Seen>, NodeError> {
        loop {
            match Box::pin(self.climb(tip, &last)).await? {
                Climbed::Template(seen) => return Ok(seen),
                Climbed::Word(next, empty) => (tip, last) = (next, empty),
            }
        }
    }

    /// Publishes the template on a tip that the node had word of this moment, and an empty block
    /// before it where the node takes its time.
    async fn climb(&self, tip: TipPosition, last: &Seen) -> Result<Climbed, NodeError> {
        let heard = (self.clock)();
        let (asked, header_is_there) = oneshot::channel();
        let full = async {
            let _ = timeout(HEADER_FIRST, header_is_there).await;
            self.template_on(tip).await
        };
        let mut full = std::pin::pin!(full);
        let template = tokio::select! {
            biased;
            template = &mut full => template?,
            Some(empty) = self.stand_in(tip, last, asked) => {
                let seen = Seen { heard, empty: true, ..Seen::new(empty, (self.clock)()) };
                let seen = self.publish(seen)?;
                tokio::select! {
                    biased;
                    template = full => template?,
                    word = self.word(&seen.template) => match word? {
                        Word::Tip(next) => return Ok(Climbed::Word(next, seen)),
                        Word::Template(template) => *template,
                    },
                }
            }
        };
        let seen = Seen { heard, ..Seen::new(template, (self.clock)()) };
        self.publish(seen).map(Climbed::Template)
    }

    /// The empty block on this tip, once the node's template is late; `None` where there is none.
    /// `asked` is let go when the node has said what this needs.
    async fn stand_in(
        &self,
        tip: TipPosition,
        last: &Seen,
        asked: oneshot::Sender<()>,
    ) -> Option<Template> {
        let late = sleep(EMPTY_AFTER);
        let parent = self.parent(tip).await;
        drop(asked);
        let parent = parent?;
        late.await;
        let network = self.client.network();
        let template = empty::template(&parent, last, network, (self.clock)())?;
        match check(&template, network) {
            Ok(()) => Some(template),
            Err(error) => {
                tracing::warn!("no empty block until the node's template is there: {error}");
                None
            }
        }
    }

    /// What an empty block on this tip has to know; `None` where there is to be none.
    async fn parent(&self, tip: TipPosition) -> Option<Parent> {
        let network = self.client.network();
        let height = tip.height.checked_add(1)?;
        if !empty::possible(height, network) {
            return None;
        }
        let facts = self.client.header_facts(&tip.hash);
        let (facts, next_bits) = match network {
            // Chains of one's own have rules of their own; the embedded one follows the clock.
            Network::Regtest => {
                let (facts, next) = tokio::try_join!(facts, self.client.next_block()).ok()?;
                (facts, next.filter(|(next, _)| *next == height)?.1)
            }
            Network::Bitcoin | Network::Testnet4 | Network::Signet => {
                let facts = facts.await.ok()?;
                (facts, facts.bits)
            }
        };
        if facts.height != tip.height {
            return None;
        }
        let TipPosition { hash, height } = tip;
        Some(Parent { hash, height, median_time: facts.median_time, next_bits })
    }

    /// The node's template, on what it says is its tip.
    async fn template_on(&self, tip: TipPosition) -> Result<Template, NodeError> {
        self.settle(tip, self.client.get_block_template(None).await?).await
    }

    /// This template or, where the node's tip is another, one asked for again. A node whose
    /// templates keep building on something else is not followed.
    async fn settle(
        &self,
        mut tip: TipPosition,
        mut template: Template,
    ) -> Result<Template, NodeError> {
        for attempt in 0..TIP_ATTEMPTS {
            if attempt > 0 {
                sleep(self.jitter.wait(attempt, TIP_BASE, TIP_LIMIT)).await;
                template = self.client.get_block_template(None).await?;
            }
            if template.prev_hash != tip.hash {
                tip = self.tip().await?;
            }
            if template.prev_hash == tip.hash {
                return self.refuse_height(template, tip);
            }
        }
        let (said, hash) = (display_hash(&template.prev_hash), display_hash(&tip.hash));
        let why = format!("field 'previousblockhash' stays {said}, and the node's tip is {hash}");
        Err(self.client.untrue_template(&why))
    }

    fn refuse_height(&self, template: Template, tip: TipPosition) -> Result<Template, NodeError> {
        if Some(template.height) == tip.height.checked_add(1) {
            return Ok(template);
        }
        let why = format!("field 'height' is {} on a chain of {}", template.height, tip.height);
        Err(self.client.untrue_template(&why))
    }

    fn publish(&self, mut seen: Seen) -> Result<Arc<Seen>, NodeError> {
        let latest = (self.clock)().unix.seconds() + AHEAD_MAX;
        if u64::from(seen.template.cur_time) > latest {
            let why = "field 'curtime' is more than two hours ahead of this machine's clock";
            return Err(self.client.untrue_template(why));
        }
        if let Some(earlier) = &*self.sink.templates.borrow() {
            seen.template.share_with(&earlier.template);
        }
        let seen = Arc::new(seen);
        self.sink.templates.send_replace(Some(Arc::clone(&seen)));
        self.sink.status.send_if_modified(|status| {
            let changed = *status != NodeStatus::Working;
            *status = NodeStatus::Working;
            changed
        });
        Ok(seen)
    }
}
