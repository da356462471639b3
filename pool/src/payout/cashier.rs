//! [`Cashier`]: carries out orders one after another, and follows payouts that are out. Orders that
//! want no node do not come here while a pool runs: `counter.rs` carries them out at once.
//!
//! The order of things is the point. A payout is in the ledger, with its transaction, before it is
//! released; it is released, in the ledger, before it is sent; and it is sent again, byte for
//! byte, at each new tip until it is on the chain. A crash between any two of these leaves
//! something that is taken up from the ledger alone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bitcoin::{OutPoint, Psbt, hashes::Hash as _};
use config::Secret;
use ledger::{
    OpenPayout, Payment, PayoutId, PayoutPlan, PayoutState, PayoutTransaction, display_txid,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use units::UnixMillis;

use super::coins::{self, Need};
use super::counter::Books;
use super::figures::{listed, point, read, sat_per_vb, shown, sum, vsize, whole_sats, with};
use super::order::{Order, PayoutError, Ticket, refused};
use super::rules::{self, Means};
use super::scan::Scan;
use super::wallet::{self, Custody, Purse, Wanted};
use crate::{
    config::{Config, PayoutsConfig},
    ledger_task::LedgerHandle,
    node::{Network, NodeError, Nodes},
};

/// Between looks at payouts that are out.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// Blocks below a payout's own tip from which on it is looked for, since the chain may have become
/// shorter since.
const MARGIN: u32 = 100;
/// Most virtual bytes of an output.
const OUTPUT_BYTES: u64 = 43;
/// Virtual bytes allowed for inputs and the rest when coins are looked for.
const OTHER_BYTES: u64 = 10_000;
/// Most virtual bytes of a transaction without its inputs and payments: its frame and the change.
const FRAME_BYTES: u64 = 60;
/// Bitcoin Core's code for a transaction whose outputs are on the chain already.
const IN_CHAIN: i64 = -27;

/// Makes and follows payouts.
#[derive(Debug)]
pub struct Cashier {
    ledger: LedgerHandle,
    nodes: Arc<Nodes>,
    config: PayoutsConfig,
    network: Network,
    /// For orders that want no node.
    books: Books,
    /// The pool's own address.
    address: String,
    custody: Option<Custody>,
    scan: Scan,
    /// The tip under which payouts were sent last.
    sent_under: Option<[u8; 32]>,
}

impl Cashier {
    /// Prepares payouts as the configuration has them.
    ///
    /// # Errors
    /// When the descriptor cannot be read or is of no use.
    pub fn new(
        config: &Config,
        ledger: LedgerHandle,
        nodes: Arc<Nodes>,
    ) -> Result<Self, PayoutError> {
        let (payouts, address) = (config.payouts.clone(), config.payout.account.clone());
        let text = match (&payouts.descriptor, &payouts.descriptor_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(path)) => Some(wallet::read_secret(path)?),
            (None, None) => None,
        };
        let bitcoin = config.network.to_bitcoin();
        let read = |text: Secret| Custody::read(text.expose(), &address, bitcoin);
        Ok(Self {
            books: Books::new(ledger.clone(), config.network),
            ledger,
            nodes,
            custody: text.map(read).transpose()?,
            config: payouts,
            network: config.network,
            address,
            scan: Scan::default(),
            sent_under: None,
        })
    }

    /// Carries out orders and follows payouts until cancelled.
    ///
    /// # Errors
    /// None: what goes wrong is told to whoever asked, or logged and tried again.
    pub async fn run(
        mut self,
        mut orders: mpsc::Receiver<Ticket>,
        cancel: CancellationToken,
    ) -> Result<(), PayoutError> {
        let mut follow = interval(FOLLOW_EVERY);
        follow.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let every = self.config.interval;
        let mut next = (!every.is_zero()).then(|| Instant::now() + every);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                Some(Ticket { order, reply }) = orders.recv() => {
                    tokio::select! {
                        // Whatever is half done is taken up from the ledger.
                        () = cancel.cancelled() => return Ok(()),
                        // Whoever asked may have gone; what was asked is done all the same.
                        answer = self.execute(order) => drop(reply.send(answer)),
                    }
                }
                _ = follow.tick() => {
                    if let Err(error) = self.follow().await {
                        tracing::warn!("payouts cannot be followed: {error}");
                    }
                }
                () = until(next) => {
                    let done = tokio::select! {
                        () = cancel.cancelled() => return Ok(()),
                        done = self.execute(Order::Run { dry_run: false }) => done,
                    };
                    match done {
                        Ok(done) => tracing::info!("payouts: {done}"),
                        Err(error) => tracing::warn!("no payout was made: {error}"),
                    }
                    next = next.map(|_| Instant::now() + every);
                }
            }
        }
    }

    /// Carries out one order. The answer is what `wattproof-pool payout --json` prints.
    ///
    /// # Errors
    /// As the ledger or the node says, or when it cannot be done like this.
    pub async fn execute(&mut self, order: Order) -> Result<Value, PayoutError> {
        match order {
            Order::Plan { dry_run } => self.plan(dry_run).await,
            Order::Run { dry_run } => self.pay(dry_run).await,
            Order::ExportPsbt { payout } => self.export(PayoutId::new(payout)).await,
            Order::ImportPsbt { psbt } => self.import(&psbt).await,
            Order::Bump { payout, fee_rate, dry_run } => {
                self.bump(PayoutId::new(payout), fee_rate, dry_run).await
            }
            Order::Cancel { .. }
            | Order::Pause { .. }
            | Order::Resume
            | Order::Threshold { .. } => self.books.carry_out(order).await,
        }
    }

    /// Plans a payout of everything that is due and that the coins at hand are enough for.
    async fn plan(&self, dry_run: bool) -> Result<Value, PayoutError> {
        let custody = self.custody()?;
        let payables = self.ledger.payouts(|ledger, _| ledger.payables()).await?;
        let network = self.network.to_bitcoin();
        let due = rules::due(&payables, &self.address, network, self.config.threshold);
        if due.is_empty() {
            return Ok(json!({"payout": null, "accounts": 0, "satoshis": 0, "waiting": 0}));
        }
        let count = due.len();
        let taken = self.taken().await?;
        let rate = self.fee_rate().await;
        let most = count.min(self.config.max_outputs);
        let purse = self.purse(custody, &due[..most], &[], &taken).await?;
        let means = means(custody, &purse, rate)?;
        let payments = rules::fit(due, self.config.max_outputs, &means).map_err(refused)?;
        let waiting = count - payments.len();
        let wanted =
            Wanted { payments: &payments, fee_rate: sat_per_vb(rate), must: &[], taken: &taken };
        let version = custody.make(&purse, &wanted)?;
        let shown = with(shown(&version, &payments)?, json!({"waiting": waiting}));
        if dry_run {
            return Ok(with(shown, json!({"payout": null, "payments": listed(&payments)})));
        }
        let plan = self.plan_of(payments, version, purse.tip.height);
        let id = self
            .ledger
            .payouts(move |ledger, now| ledger.plan_payout(&PayoutPlan { at: now, ..plan }));
        Ok(with(shown, json!({"payout": id.await?.get()})))
    }

    fn plan_of(&self, payments: Vec<Payment>, version: PayoutTransaction, tip: u32) -> PayoutPlan {
        let (custody, at) = (self.address.clone(), UnixMillis::new(0));
        PayoutPlan { payments, custody, version, tip, at }
    }

    /// Sends payouts that are planned and signed; where there are none, plans one and sends it.
    async fn pay(&self, dry_run: bool) -> Result<Value, PayoutError> {
        let open = self.ledger.payouts(|ledger, _| ledger.open_payouts()).await?;
        let waiting = |payout: &OpenPayout| payout.state == PayoutState::Signed && !payout.released;
        let mut ready: Vec<PayoutId> =
            open.iter().filter(|payout| waiting(payout)).map(|payout| payout.id).collect();
        if dry_run && !ready.is_empty() {
            let ready: Vec<u64> = ready.iter().map(|id| id.get()).collect();
            return Ok(json!({"payout": null, "ready": ready}));
        }
        let mut planned = Value::Null;
        if ready.is_empty() {
            planned = self.plan(dry_run).await?;
            let Some(id) = planned["payout"].as_u64() else { return Ok(planned) };
            if planned["signed"] != true {
                return Ok(planned);
            }
            ready.push(PayoutId::new(id));
        }
        let mut sent = Vec::new();
        for id in ready {
            sent.push(self.send(id).await?);
        }
        Ok(json!({"planned": planned, "sent": sent}))
    }

    /// Releases a payout's newest version and sends it. What the node says is told; the payout is
    /// sent again in any case.
    async fn send(&self, id: PayoutId) -> Result<Value, PayoutError> {
        self.refuse_while_resting()?;
        let released = self.ledger.payouts(move |ledger, now| ledger.release_payout(id, now));
        let (txid, transaction, psbt) = released.await?;
        if !psbt.is_empty() {
            return Err(refused(format!("payout {id} waits for its signature")));
        }
        let answer = self.hand_over(&transaction).await;
        let (sent, words) = match answer {
            Ok(()) => (true, String::new()),
            Err(error) => (false, error.to_string()),
        };
        Ok(json!({"payout": id.get(), "txid": display_txid(&txid), "sent": sent, "node": words}))
    }

    async fn hand_over(&self, transaction: &[u8]) -> Result<(), NodeError> {
        let params = json!([hex::encode(transaction)]);
        match self.nodes.active().call("sendrawtransaction", params).await {
            Ok(_) => Ok(()),
            Err(error) if error.rpc_code() == Some(IN_CHAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn export(&self, id: PayoutId) -> Result<Value, PayoutError> {
        self.refuse_while_resting()?;
        let open = self.ledger.payouts(|ledger, _| ledger.open_payouts()).await?;
        let waits = |payout: &&OpenPayout| payout.id == id && payout.state == PayoutState::Unsigned;
        if open.iter().find(waits).is_none() {
            return Err(refused(format!("payout {id} waits for no signature")));
        }
        let released = self.ledger.payouts(move |ledger, now| ledger.release_payout(id, now));
        let (txid, _, psbt) = released.await?;
        let psbt = Psbt::deserialize(&psbt).map_err(|error| refused(error.to_string()))?;
        Ok(json!({"payout": id.get(), "txid": display_txid(&txid), "psbt": psbt.to_string()}))
    }

    async fn import(&self, text: &str) -> Result<Value, PayoutError> {
        let psbt: Psbt =
            text.trim().parse().map_err(|error| refused(format!("the PSBT: {error}")))?;
        let txid = psbt.unsigned_tx.compute_txid().to_byte_array();
        let open = self.ledger.payouts(|ledger, _| ledger.open_payouts()).await?;
        let newest = |payout: &&OpenPayout| {
            payout.versions.iter().any(|version| version.newest && version.txid == txid)
        };
        let id = open.iter().find(newest).map(|payout| payout.id);
        let id = id.ok_or_else(|| refused("the PSBT is of no payout's newest version"))?;
        let transaction = self.custody()?.finish(psbt)?;
        self.refuse_bad_signatures(&transaction).await?;
        let kept = transaction.clone();
        self.ledger.payouts(move |ledger, now| ledger.payout_signed(id, &kept, now)).await?;
        self.send(id).await
    }

    /// The node says whether the scripts are satisfied; whatever else it says may pass.
    async fn refuse_bad_signatures(&self, transaction: &[u8]) -> Result<(), PayoutError> {
        let params = json!([[hex::encode(transaction)]]);
        let Ok(answer) = self.nodes.active().call("testmempoolaccept", params).await else {
            return Ok(());
        };
        let reason = answer[0]["reject-reason"].as_str().unwrap_or_default();
        if reason.contains("script-verify") {
            return Err(refused(format!("the PSBT's signatures: {reason}")));
        }
        Ok(())
    }

    /// Replaces a payout's transaction by one with a higher fee, and sends it.
    async fn bump(
        &self,
        id: PayoutId,
        fee_rate: Option<u64>,
        dry_run: bool,
    ) -> Result<Value, PayoutError> {
        self.refuse_while_resting()?;
        let custody = self.custody()?;
        let (open, payments, coins) = self
            .ledger
            .payouts(move |ledger, _| {
                Ok((ledger.open_payouts()?, ledger.payments_of(id)?, ledger.taken_coins()?))
            })
            .await?;
        let payout = open.into_iter().find(|payout| payout.id == id);
        let payout = payout.ok_or_else(|| refused(format!("payout {id} is not open")))?;
        let Some(version) = payout.versions.iter().find(|version| version.newest).copied() else {
            return Err(refused(format!("payout {id} has no version")));
        };
        let bytes =
            self.ledger.payouts(move |ledger, _| ledger.payout_bytes(&version.txid)).await?;
        let (bytes, _) = bytes.ok_or_else(|| refused(format!("payout {id} has no version")))?;
        let old = read(&bytes)?;
        let old_rate = version.fee.to_sat().div_ceil(vsize(&old));
        let better = (old_rate + (old_rate / 4).max(1)).max(self.fee_rate().await);
        let rate = fee_rate.unwrap_or_else(|| better.min(self.config.max_fee_rate));
        if rate <= old_rate || rate > self.config.max_fee_rate {
            let most = self.config.max_fee_rate;
            let why = format!("{rate} sat/vB: expected more than {old_rate}, at most {most}");
            return Err(refused(why));
        }
        let must: Vec<OutPoint> = old.input.iter().map(|input| input.previous_output).collect();
        let taken: Vec<OutPoint> =
            coins.into_iter().map(point).filter(|coin| !must.contains(coin)).collect();
        let purse = self.purse(custody, &payments, &must, &taken).await?;
        let wanted =
            Wanted { payments: &payments, fee_rate: sat_per_vb(rate), must: &must, taken: &taken };
        let version = custody.make(&purse, &wanted)?;
        let shown = shown(&version, &payments)?;
        if dry_run {
            return Ok(with(shown, json!({"payout": null})));
        }
        let kept = version.clone();
        self.ledger.payouts(move |ledger, now| ledger.replace_payout(id, &kept, now)).await?;
        if shown["signed"] != true {
            return Ok(with(shown, json!({"payout": id.get()})));
        }
        Ok(with(shown, self.send(id).await?))
    }

    /// Looks where payouts are, and sends those again that are not on the chain. False where the
    /// look has not reached the tip yet: then nothing was done, and the next one goes on.
    ///
    /// # Errors
    /// When the node or the ledger does not answer.
    pub async fn follow(&mut self) -> Result<bool, PayoutError> {
        let open = self.ledger.payouts(|ledger, _| ledger.open_payouts()).await?;
        if open.is_empty() {
            return Ok(true);
        }
        let nodes = Arc::clone(&self.nodes);
        let node = nodes.active();
        let info = node.blockchain_info().await?;
        let versions = open.iter().flat_map(|payout| &payout.versions);
        let wanted: BTreeSet<_> = versions.map(|version| version.txid).collect();
        let from = open.iter().map(|payout| payout.tip).min().unwrap_or(0).saturating_sub(MARGIN);
        if !self.scan.look(node, &wanted, from, info.blocks).await? {
            return Ok(false);
        }
        let outbox = self.ledger.payouts(|ledger, _| ledger.outbox()).await?;
        let resting = self.config.pause || outbox.paused;
        let again = self.sent_under != Some(info.best_block) && !resting;
        for payout in &open {
            if !self.note(payout, info.blocks).await? && again && payout.released {
                self.send_again(payout).await?;
            }
        }
        if again {
            self.sent_under = Some(info.best_block);
        }
        Ok(true)
    }

    /// Writes down where a payout is; true where it is on the chain.
    async fn note(&self, payout: &OpenPayout, tip: u32) -> Result<bool, PayoutError> {
        let id = payout.id;
        let mut versions = payout.versions.iter();
        let seen =
            versions.find_map(|version| Some((version.txid, *self.scan.found.get(&version.txid)?)));
        let Some((txid, height)) = seen else {
            if payout.state == PayoutState::Confirmed {
                tracing::warn!("payout {id} is on the chain no more");
                self.ledger.payouts(move |ledger, now| ledger.payout_unconfirmed(id, now)).await?;
            }
            return Ok(false);
        };
        let deep = (tip + 1).saturating_sub(height) >= self.config.confirmations;
        let change = move |ledger: &mut ledger::Ledger, now| {
            let new = ledger.payout_confirmed(id, txid, height, now)?;
            if deep {
                ledger.settle_payout(id, now)?;
            }
            Ok(new)
        };
        if self.ledger.payouts(change).await? {
            tracing::info!("payout {id} is in block {height}: {}", display_txid(&txid));
        }
        Ok(true)
    }

    /// Sends the newest version that the node takes, byte for byte as it was.
    async fn send_again(&self, payout: &OpenPayout) -> Result<(), PayoutError> {
        for version in payout.versions.iter().rev().filter(|version| version.signed) {
            let txid = version.txid;
            // Looked up anew for each: a pause may have come meanwhile.
            let bytes = self.ledger.payouts(move |ledger, _| {
                Ok((ledger.outbox()?.paused, ledger.payout_bytes(&txid)?))
            });
            let (false, Some((transaction, _))) = bytes.await? else { continue };
            match self.hand_over(&transaction).await {
                Ok(()) => return Ok(()),
                Err(error) if error.rpc_code().is_some() => {
                    tracing::warn!("payout {}, {}: {error}", payout.id, display_txid(&txid));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn custody(&self) -> Result<&Custody, PayoutError> {
        self.refuse_while_resting()?;
        let none = || refused("there are no payouts without payout.descriptor");
        self.custody.as_ref().ok_or_else(none)
    }

    fn refuse_while_resting(&self) -> Result<(), PayoutError> {
        if self.config.pause { Err(refused("payouts rest: payout.pause")) } else { Ok(()) }
    }

    async fn taken(&self) -> Result<Vec<OutPoint>, PayoutError> {
        let coins = self.ledger.payouts(|ledger, _| ledger.taken_coins()).await?;
        Ok(coins.into_iter().map(point).collect())
    }

    async fn purse(
        &self,
        custody: &Custody,
        payments: &[Payment],
        must: &[OutPoint],
        taken: &[OutPoint],
    ) -> Result<Purse, PayoutError> {
        let count = u64::try_from(payments.len()).unwrap_or(u64::MAX);
        let bytes = count.saturating_mul(OUTPUT_BYTES).saturating_add(OTHER_BYTES);
        let fees = bytes.saturating_mul(self.config.max_fee_rate);
        let need = Need {
            scripts: &custody.scripts()?,
            sats: sum(payments).saturating_add(fees),
            confirmations: self.config.confirmations,
            must,
            taken,
        };
        coins::gather(self.nodes.active(), &need).await
    }

    /// Satoshis a virtual byte: the node's estimate for six blocks, within the limits; the least
    /// of them where it has none.
    async fn fee_rate(&self) -> u64 {
        let answer = self.nodes.active().call("estimatesmartfee", json!([6])).await;
        let per_kvb = answer.ok().and_then(|answer| answer["feerate"].as_f64());
        let estimate = per_kvb.map_or(0, |btc| whole_sats(btc * 100_000_f64));
        estimate.clamp(self.config.fee_rate, self.config.max_fee_rate)
    }
}

/// What the coins are worth at this rate, and what a transaction of all of them takes in fees.
fn means(custody: &Custody, purse: &Purse, rate: u64) -> Result<Means, PayoutError> {
    Ok(Means {
        coins: purse.worth(custody.input_bytes()?.saturating_mul(rate)),
        base: FRAME_BYTES.saturating_mul(rate),
        output: OUTPUT_BYTES.saturating_mul(rate),
    })
}

/// Completes at `next`; never where there is none.
async fn until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use bdk_wallet::chain::BlockId;
    use bitcoin::{
        Address, Amount, BlockHash, CompressedPublicKey, KnownHrp, PrivateKey, ScriptBuf, Sequence,
        Transaction, TxIn, TxOut, Txid, Witness, absolute::LockTime, secp256k1::Secp256k1,
        transaction::Version,
    };
    use units::Sats;

    use super::super::wallet::Coin;
    use super::*;

    const NETWORK: bitcoin::Network = bitcoin::Network::Regtest;

    fn key(number: u8) -> (PrivateKey, Address) {
        let secret = bitcoin::secp256k1::SecretKey::from_slice(&[number; 32]).unwrap();
        let key = PrivateKey::new(secret, NETWORK);
        let public = CompressedPublicKey::from_private_key(&Secp256k1::new(), &key).unwrap();
        (key, Address::p2wpkh(&public, KnownHrp::Regtest))
    }

    fn block(height: u32, byte: u8) -> BlockId {
        BlockId { height, hash: BlockHash::from_byte_array([byte; 32]) }
    }

    /// A coin of the pool's own address.
    fn coin(number: u8, sats: u64) -> Coin {
        let before = OutPoint { txid: Txid::from_byte_array([number; 32]), vout: 0 };
        let input = TxIn {
            previous_output: before,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let output =
            TxOut { value: Amount::from_sat(sats), script_pubkey: key(1).1.script_pubkey() };
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![output],
        };
        let outpoint = OutPoint { txid: transaction.compute_txid(), vout: 0 };
        Coin { outpoint, transaction: Arc::new(transaction), block: block(1, 1) }
    }

    /// What fits is made, whatever the rate; and not much more would be.
    #[test]
    fn a_transaction_can_be_made_of_what_the_coins_are_found_to_be_enough_for() {
        let (own, address) = key(1);
        let text = format!("wpkh({})", own.to_wif());
        let custody = Custody::read(&text, &address.to_string(), NETWORK).unwrap();
        let coins = vec![coin(1, 70_000), coin(2, 30_000), coin(3, 40)];
        let purse = Purse { coins, tip: block(200, 2) };
        for rate in [1, 7, 100] {
            let means = means(&custody, &purse, rate).unwrap();
            let most = means.coins - means.base - 2 * means.output;
            let payment = |number, sats| Payment {
                account: key(number).1.to_string(),
                sats: Sats::from_sat(sats).unwrap(),
            };
            let due = vec![payment(2, most - 20_000), payment(3, 20_000), payment(4, 15_000)];
            let payments = rules::fit(due.clone(), 9, &means).unwrap();
            assert_eq!(payments, due[..2], "to the satoshi");
            let make = |payments: &[Payment]| {
                let fee_rate = sat_per_vb(rate);
                custody.make(&purse, &Wanted { payments, fee_rate, must: &[], taken: &[] })
            };
            make(&payments).unwrap();
            make(&due).unwrap_err();
        }
    }
}
