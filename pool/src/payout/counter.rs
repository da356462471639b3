//! Where orders come in: [`Counter`] knows the token, carries out at once what wants no node, and
//! has the rest queued for the cashier; [`Books`] is how orders that want no node are carried out.
//!
//! An order to pause must not wait behind one that looks through the node's coins for minutes. It
//! need not: the ledger refuses, in the same write, to plan, replace or release anything while
//! payouts are paused, and to release what was cancelled, whatever the cashier is at.

use config::Secret;
use defences::{Defence, stands};
use ledger::{PayoutId, ThresholdRequest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use units::{Sats, UnixMillis};

use super::order::{Order, PayoutError, Ticket, refused};
use crate::{config::Config, ledger_task::LedgerHandle, node::Network};

/// Orders that may wait for the cashier.
const QUEUE_LENGTH: usize = 16;

/// Where orders are handed in, by whoever knows the token.
#[derive(Debug, Clone)]
pub struct Counter {
    orders: mpsc::Sender<Ticket>,
    token: Option<Secret>,
    books: Books,
}

impl Counter {
    /// A counter, and the queue for [`Cashier::run`](super::Cashier::run).
    #[must_use]
    pub fn new(config: &Config, ledger: LedgerHandle) -> (Self, mpsc::Receiver<Ticket>) {
        Self::of(config.http_token.clone(), Books::new(ledger, config.network))
    }

    fn of(token: Option<Secret>, books: Books) -> (Self, mpsc::Receiver<Ticket>) {
        let (orders, queue) = mpsc::channel(QUEUE_LENGTH);
        (Self { orders, token, books }, queue)
    }

    /// One whose ledger has stopped.
    #[cfg(test)]
    pub(crate) fn without_ledger(token: Option<Secret>) -> (Self, mpsc::Receiver<Ticket>) {
        let (ledger, _) = LedgerHandle::new(crate::clock::Clock::start());
        Self::of(token, Books::new(ledger, Network::Regtest))
    }

    /// Whether a request bears the token. There is none without one set.
    #[must_use]
    pub fn admits(&self, authorization: Option<&str>) -> bool {
        if !stands(Defence::PayoutToken) {
            return true;
        }
        let given = authorization.and_then(|text| text.strip_prefix("Bearer "));
        // Hashes are compared, so that the time it takes says nothing about the token.
        let hash = |text: &str| Sha256::digest(text.trim());
        given
            .zip(self.token.as_ref())
            .is_some_and(|(given, token)| hash(given) == hash(token.expose()))
    }

    /// Has an order carried out: at once where it wants no node, else after those before it.
    ///
    /// # Errors
    /// As the cashier or the ledger says, or when it has ended.
    pub async fn ask(&self, order: Order) -> Result<Value, PayoutError> {
        if !order.wants_node() {
            return self.books.carry_out(order).await;
        }
        let gone = || refused("the pool is shutting down");
        let (reply, answer) = oneshot::channel();
        self.orders.send(Ticket { order, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The ledger, as far as orders change it that want no node.
#[derive(Debug, Clone)]
pub(super) struct Books {
    ledger: LedgerHandle,
    network: Network,
}

impl Books {
    pub(super) const fn new(ledger: LedgerHandle, network: Network) -> Self {
        Self { ledger, network }
    }

    /// Carries out an order that wants no node; the cashier has the others.
    pub(super) async fn carry_out(&self, order: Order) -> Result<Value, PayoutError> {
        match order {
            Order::Cancel { payout } => {
                let id = PayoutId::new(payout);
                self.ledger.payouts(move |ledger, now| ledger.cancel_payout(id, now)).await?;
                Ok(json!({"payout": payout, "state": "cancelled"}))
            }
            Order::Pause { reason } => self.pause(true, reason).await,
            Order::Resume => self.pause(false, String::new()).await,
            Order::Threshold { account, satoshis, time, signature } => {
                self.threshold(account, satoshis, time, signature).await
            }
            Order::Plan { .. }
            | Order::Run { .. }
            | Order::ExportPsbt { .. }
            | Order::ImportPsbt { .. }
            | Order::Bump { .. } => Err(refused("this order wants a node")),
        }
    }

    async fn pause(&self, paused: bool, reason: String) -> Result<Value, PayoutError> {
        let answer = json!({"paused": paused, "reason": reason});
        self.ledger.payouts(move |ledger, now| ledger.pause_payouts(paused, &reason, now)).await?;
        Ok(answer)
    }

    async fn threshold(
        &self,
        account: String,
        satoshis: u64,
        time: u64,
        signature: String,
    ) -> Result<Value, PayoutError> {
        let answer = json!({"account": account, "satoshis": satoshis});
        let sats = Sats::from_sat(satoshis).map_err(|error| refused(error.to_string()))?;
        let network = self.network.as_str().to_owned();
        let stamp = UnixMillis::new(time);
        let request = ThresholdRequest { account, network, sats, stamp, signature };
        self.ledger.payouts(move |ledger, now| ledger.set_threshold(&request, now)).await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ledger::{Ledger, Reader, Retention, Scheme, Settings};
    use units::BasisPoints;

    use super::*;
    use crate::{clock::Clock, energy_desk::EnergyDesk, ledger_task, metrics::Metrics};

    #[test]
    fn only_the_token_admits() {
        let (ours, _queue) = Counter::without_ledger(Some(Secret::new("hunter2")));
        assert!(ours.admits(Some("Bearer hunter2")));
        for wrong in ["", "hunter2", "Bearer ", "Bearer hunter", "Basic hunter2", "bearer hunter2"]
        {
            assert!(!ours.admits(Some(wrong)), "{wrong:?}");
        }
        assert!(!ours.admits(None));
        let (closed, _queue) = Counter::without_ledger(None);
        assert!(!closed.admits(Some("Bearer hunter2")) && !closed.admits(Some("Bearer ")));
    }

    #[tokio::test]
    async fn a_pause_waits_for_no_order_that_is_being_carried_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.sqlite");
        let settings = Settings {
            scheme: Scheme::Solo,
            fee: BasisPoints::new(0).unwrap(),
            fee_account: "pool".to_owned(),
            maturity: 100,
            best_headers: 0,
        };
        let ledger = Ledger::open(&path, settings).unwrap();
        let desk = EnergyDesk::restore(&ledger, Duration::from_secs(60)).unwrap();
        let (clock, metrics) = (Clock::start(), Metrics::new().unwrap());
        let (handle, commands) = LedgerHandle::new(clock);
        let thread = tokio::task::spawn_blocking(move || {
            ledger_task::run((ledger, Retention::default()), desk, commands, clock, metrics.ledger)
        });
        let (counter, queue) = Counter::of(None, Books::new(handle, Network::Regtest));
        // The cashier is busy: nobody takes from the queue, which is full.
        let kept: Vec<_> = (0..QUEUE_LENGTH)
            .map(|_| {
                let (reply, answer) = oneshot::channel();
                let order = Order::Run { dry_run: false };
                counter.orders.try_send(Ticket { order, reply }).unwrap();
                answer
            })
            .collect();
        let pause = Order::Pause { reason: "something is wrong".to_owned() };
        assert_eq!(counter.ask(pause).await.unwrap()["paused"], true);
        let reader = Reader::open(&path).unwrap();
        assert!(reader.outbox().unwrap().paused);
        let cancel = counter.ask(Order::Cancel { payout: 7 }).await.unwrap_err();
        assert!(cancel.is_refusal(), "the ledger was asked: {cancel}");
        assert_eq!(counter.ask(Order::Resume).await.unwrap()["paused"], false);
        assert!(!reader.outbox().unwrap().paused);
        drop((counter, queue, kept));
        thread.await.unwrap().unwrap();
    }
}
