//! Payouts: planned with their transactions before anybody outside sees one, followed until they
//! are deep on the chain. Read `payout.rs` for why nobody is paid twice.

use defences::{Defence, stands};
use units::{Sats, UnixMillis};

use super::{Ledger, MAX_TEXT};
use crate::error::{LedgerError, Refusal};
use crate::event::{
    Event, PayoutConfirmed, PayoutNoted, PayoutPlanned, PayoutReplaced, PayoutVersion,
    PayoutsPaused, ThresholdSet,
};
use crate::payout::{
    self, Inspected, Payment, PayoutBytes, PayoutId, PayoutPlan, PayoutState, PayoutTransaction,
    PayoutTxid, display_txid,
};
use crate::store::{PayoutRow, Recorder};
use crate::threshold::{self, ThresholdRequest};
use crate::types::AccountId;
use crate::view::{OpenPayout, Payable};

impl Ledger {
    /// Plans a payout: its payments leave the balances, and its transaction is kept. Nothing of
    /// it may have left the program before this returns.
    ///
    /// # Errors
    /// When payouts are paused, an account has less than it is to be paid, the transaction is
    /// not what the payments say, a coin is another payout's, or the store fails.
    pub fn plan_payout(&mut self, plan: &PayoutPlan) -> Result<PayoutId, LedgerError> {
        let sum = payout::check_payments(&plan.payments, &plan.custody)?;
        let seen = payout::inspect(&plan.version, &plan.payments, &plan.custody)?;
        self.store.transact("planning a payout", |record| {
            refuse_while_paused(record)?;
            let payments = payable(record, &plan.payments)?;
            for coin in &seen.spends {
                refuse_taken(record, coin, None)?;
            }
            refuse_known(record, &seen)?;
            let id = record.queries().next_payout()?;
            let event = Event::PayoutPlanned(PayoutPlanned {
                id,
                custody: plan.custody.clone(),
                txid: seen.txid,
                signed: seen.signed,
                sats: sum.to_sat(),
                inputs: plan.version.inputs.to_sat(),
                fee: seen.fee,
            });
            let data = payout::encode_plan(&payments, &plan.version);
            record.record(plan.at, &event, Some(&data))?;
            Ok(PayoutId::new(id))
        })
    }

    /// Another version of a payout that is not on the chain: the same payments, by a transaction
    /// that spends the first version's first coin.
    ///
    /// # Errors
    /// As [`Self::plan_payout`], and when the payout is on the chain or cancelled.
    pub fn replace_payout(
        &mut self,
        id: PayoutId,
        version: &PayoutTransaction,
        at: UnixMillis,
    ) -> Result<PayoutTxid, LedgerError> {
        self.store.transact("replacing a payout's transaction", |record| {
            refuse_while_paused(record)?;
            let row = known(record, id)?;
            only(id, &row, "replaced", &[PayoutState::Signed, PayoutState::Unsigned])?;
            let payments = record.queries().payments(id)?;
            let seen = payout::inspect(version, &payments, &row.custody)?;
            let mut anchored = false;
            for coin in &seen.spends {
                refuse_taken(record, coin, Some(id))?;
                anchored |= record.queries().spender(coin)? == Some((id, true));
            }
            if !anchored && stands(Defence::PayoutAnchor) {
                let why = "it does not spend the first coin of the payout's first version";
                return Err(Refusal::Transaction(why.to_owned()).into());
            }
            refuse_known(record, &seen)?;
            let event = Event::PayoutReplaced(PayoutReplaced {
                id: id.get(),
                txid: seen.txid,
                signed: seen.signed,
                inputs: version.inputs.to_sat(),
                fee: seen.fee,
            });
            record.record(at, &event, Some(&payout::encode_version(version)))?;
            Ok(seen.txid)
        })
    }

    /// The newest version with its signatures, made elsewhere. The same again changes nothing.
    ///
    /// # Errors
    /// When it is another transaction or not signed, the payout is not waiting for it, or the
    /// store fails.
    pub fn payout_signed(
        &mut self,
        id: PayoutId,
        transaction: &[u8],
        at: UnixMillis,
    ) -> Result<(), LedgerError> {
        self.store.transact("keeping a signed payout", |record| {
            let row = known(record, id)?;
            let known = record.queries().version_bytes(&row.txid)?;
            if known.is_some_and(|(bytes, _)| bytes == transaction) {
                return Ok(());
            }
            only(id, &row, "signed", &[PayoutState::Unsigned])?;
            let payments = record.queries().payments(id)?;
            let version = PayoutTransaction {
                transaction: transaction.to_vec(),
                psbt: Vec::new(),
                inputs: Sats::MAX,
            };
            let seen = payout::inspect(&version, &payments, &row.custody)?;
            if seen.txid != row.txid || !seen.signed {
                let wanted = display_txid(&row.txid);
                return Err(Refusal::Transaction(format!("it is not {wanted}, signed")).into());
            }
            let event = Event::PayoutSigned(PayoutVersion { id: id.get(), txid: seen.txid });
            record.record(at, &event, Some(transaction))
        })
    }

    /// The newest version is about to leave: for the network, or for whoever signs it. Returns its
    /// transaction and its PSBT (empty where it is signed). From here on the payout is never
    /// taken back.
    ///
    /// # Errors
    /// When payouts are paused, the payout is cancelled or settled, or the store fails.
    pub fn release_payout(
        &mut self,
        id: PayoutId,
        at: UnixMillis,
    ) -> Result<(PayoutTxid, Vec<u8>, Vec<u8>), LedgerError> {
        self.store.transact("releasing a payout", |record| {
            refuse_while_paused(record)?;
            let row = known(record, id)?;
            only(
                id,
                &row,
                "released",
                &[PayoutState::Confirmed, PayoutState::Signed, PayoutState::Unsigned],
            )?;
            let bytes = record.queries().version_bytes(&row.txid)?;
            let (transaction, psbt) = bytes.ok_or(Refusal::UnknownPayout(id))?;
            if !row.released {
                let body = PayoutVersion { id: id.get(), txid: row.txid };
                record.record(at, &Event::PayoutReleased(body), None)?;
            }
            Ok((row.txid, transaction, psbt))
        })
    }

    /// A version of the payout is in the block of this height on the best chain. Nothing is
    /// written where that is known.
    ///
    /// # Errors
    /// When the transaction is no version of it, the payout is cancelled, or the store fails.
    pub fn payout_confirmed(
        &mut self,
        id: PayoutId,
        txid: PayoutTxid,
        height: u32,
        at: UnixMillis,
    ) -> Result<bool, LedgerError> {
        self.store.transact("confirming a payout", |record| {
            let row = known(record, id)?;
            let version = record.queries().version(&txid)?;
            if version.is_none_or(|(payout, _)| payout != id) {
                return Err(Refusal::UnknownPayout(id).into());
            }
            if row.state == PayoutState::Settled || row.confirmed == Some((txid, height)) {
                return Ok(false);
            }
            only(
                id,
                &row,
                "confirmed",
                &[PayoutState::Confirmed, PayoutState::Signed, PayoutState::Unsigned],
            )?;
            let body = PayoutConfirmed { id: id.get(), txid, height };
            record.record(at, &Event::PayoutConfirmed(body), None)?;
            Ok(true)
        })
    }

    /// No version of the payout is on the best chain any more.
    ///
    /// # Errors
    /// When the payout is settled, or the store fails.
    pub fn payout_unconfirmed(
        &mut self,
        id: PayoutId,
        at: UnixMillis,
    ) -> Result<bool, LedgerError> {
        self.store.transact("reopening a payout", |record| {
            let row = known(record, id)?;
            if row.confirmed.is_none() {
                return Ok(false);
            }
            only(id, &row, "reopened", &[PayoutState::Confirmed])?;
            record.record(at, &Event::PayoutUnconfirmed(PayoutNoted { id: id.get() }), None)?;
            Ok(true)
        })
    }

    /// The version on the chain is as deep as a payout must be: it is paid.
    ///
    /// # Errors
    /// When the payout is not on the chain, or the store fails.
    pub fn settle_payout(&mut self, id: PayoutId, at: UnixMillis) -> Result<(), LedgerError> {
        self.store.transact("settling a payout", |record| {
            let row = known(record, id)?;
            if row.state == PayoutState::Settled {
                return Ok(());
            }
            only(id, &row, "settled", &[PayoutState::Confirmed])?;
            record.record(at, &Event::PayoutSettled(PayoutNoted { id: id.get() }), None)
        })
    }

    /// Takes a payout back, while nobody outside has seen a version of it.
    ///
    /// # Errors
    /// When it was released or is on the chain, or the store fails.
    pub fn cancel_payout(&mut self, id: PayoutId, at: UnixMillis) -> Result<(), LedgerError> {
        self.store.transact("taking a payout back", |record| {
            let row = known(record, id)?;
            let asked = "taken back";
            only(id, &row, asked, &[PayoutState::Signed, PayoutState::Unsigned])?;
            if row.released && stands(Defence::PaidTwice) {
                return Err(Refusal::PayoutState { id, state: "released", asked }.into());
            }
            record.record(at, &Event::PayoutCancelled(PayoutNoted { id: id.get() }), None)
        })
    }

    /// Stops payouts, or lets them go on: while they are paused none is planned, replaced or
    /// released, and those that are out are followed all the same. Keeps the first [`MAX_TEXT`]
    /// bytes of the reason.
    ///
    /// # Errors
    /// When the store fails.
    pub fn pause_payouts(
        &mut self,
        paused: bool,
        reason: &str,
        at: UnixMillis,
    ) -> Result<(), LedgerError> {
        let end = reason.floor_char_boundary(MAX_TEXT);
        let reason = reason.get(..end).unwrap_or_default().to_owned();
        self.store.transact("pausing payouts", |record| {
            let now = record.queries().outbox()?;
            if now.paused == paused && now.reason == reason {
                return Ok(());
            }
            record.record(at, &Event::PayoutsPaused(PayoutsPaused { paused, reason }), None)
        })
    }

    /// Sets from how much on an account is paid, where its owner asks for it.
    ///
    /// # Errors
    /// When the account is unknown, the signature or the time is not right, or the store fails.
    pub fn set_threshold(
        &mut self,
        request: &ThresholdRequest,
        now: UnixMillis,
    ) -> Result<(), LedgerError> {
        self.store.transact("setting a threshold", |record| {
            let ThresholdRequest { account, network, sats, stamp, signature } = request.clone();
            let Some(id) = record.queries().account(&account)? else {
                let why = "the pool knows no such account".to_owned();
                return Err(Refusal::Threshold { account, why }.into());
            };
            let last = record.queries().threshold_stamp(id.get())?.map(UnixMillis::new);
            threshold::check(request, last, now)?;
            let event = Event::ThresholdSet(ThresholdSet {
                account: id.get(),
                sats: sats.to_sat(),
                stamp: stamp.get(),
                network,
                signature,
            });
            record.record(now, &event, None)
        })
    }

    /// Accounts with a balance, with the thresholds that their owners set.
    ///
    /// # Errors
    /// When the store fails.
    pub fn payables(&self) -> Result<Vec<Payable>, LedgerError> {
        self.store.query("looking for accounts to be paid", |ask| ask.payables())
    }

    /// The payouts whose fate is open, oldest first, with all their versions.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open_payouts(&self) -> Result<Vec<OpenPayout>, LedgerError> {
        self.store.query("looking for open payouts", |ask| ask.open_payouts())
    }

    /// The coins that payouts spend, settled ones included: a reorganisation may bring them back.
    ///
    /// # Errors
    /// When the store fails.
    pub fn taken_coins(&self) -> Result<Vec<(PayoutTxid, u32)>, LedgerError> {
        self.store.query("looking for taken coins", |ask| ask.taken_coins())
    }

    /// The payments of a payout; empty where there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn payments_of(&self, id: PayoutId) -> Result<Vec<Payment>, LedgerError> {
        self.store.query("reading payments", |ask| ask.payments(id))
    }

    /// A version's transaction and PSBT (empty where it is signed).
    ///
    /// # Errors
    /// When the store fails.
    pub fn payout_bytes(&self, txid: &PayoutTxid) -> Result<Option<PayoutBytes>, LedgerError> {
        self.store.query("reading a payout's transaction", |ask| ask.version_bytes(txid))
    }
}

fn known(record: &Recorder<'_>, id: PayoutId) -> Result<PayoutRow, LedgerError> {
    Ok(record.queries().payout(id)?.ok_or(Refusal::UnknownPayout(id))?)
}

/// That the payout's state is one of those in which this may become of it.
fn only(
    id: PayoutId,
    row: &PayoutRow,
    asked: &'static str,
    states: &[PayoutState],
) -> Result<(), Refusal> {
    if states.contains(&row.state) {
        return Ok(());
    }
    Err(Refusal::PayoutState { id, state: row.state.as_str(), asked })
}

fn refuse_while_paused(record: &Recorder<'_>) -> Result<(), LedgerError> {
    let outbox = record.queries().outbox()?;
    if outbox.paused && stands(Defence::PayoutsPaused) {
        return Err(Refusal::Paused(outbox.reason).into());
    }
    Ok(())
}

/// The accounts of the payments, each of which has enough.
fn payable(
    record: &Recorder<'_>,
    payments: &[Payment],
) -> Result<Vec<(AccountId, Sats)>, LedgerError> {
    let one = |payment: &Payment| {
        let Payment { account, sats } = payment;
        let id = record.queries().account(account)?;
        let balance = id.map_or(Ok(Sats::ZERO), |id| record.queries().balance(id.get()))?;
        match id {
            Some(id) if balance >= *sats => Ok((id, *sats)),
            _ => Err(Refusal::Overdrawn {
                account: account.clone(),
                asked: sats.to_sat(),
                balance: balance.to_sat(),
            }
            .into()),
        }
    };
    payments.iter().map(one).collect()
}

/// That no other payout than `own` spends the coin.
fn refuse_taken(
    record: &Recorder<'_>,
    coin: &([u8; 32], u32),
    own: Option<PayoutId>,
) -> Result<(), LedgerError> {
    match record.queries().spender(coin)? {
        Some((payout, _)) if Some(payout) != own && stands(Defence::PayoutCoins) => {
            let coin = format!("{}:{}", display_txid(&coin.0), coin.1);
            Err(Refusal::CoinTaken { coin, payout }.into())
        }
        _ => Ok(()),
    }
}

/// That no payout has a version of this txid.
fn refuse_known(record: &Recorder<'_>, seen: &Inspected) -> Result<(), LedgerError> {
    if record.queries().version(&seen.txid)?.is_some() {
        let why = format!("{} is a payout's already", display_txid(&seen.txid));
        return Err(Refusal::Transaction(why).into());
    }
    Ok(())
}
