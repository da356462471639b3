//! Payouts again, from the log alone: every transaction is taken apart, its number is worked out,
//! and what it pays is held against the payments, the accounts' addresses and their balances.
//! Nobody is paid twice as long as all of this holds: a payout's versions share its first coin, no
//! coin is two payouts', and nothing that was released is taken back.
//!
//! It deliberately cannot know which coins were worth what, nor what is on the chain.

use std::collections::{BTreeMap, HashMap};

use bip322::Verification;
use defences::{Defence, stands};

use super::audit::{Audit, Fault, expect, length, nth, nth_mut};
use super::body::Body;
use super::chain::Cursor;
use super::direct::script;
use super::pow::double_sha256;
use crate::store::RawEvent;

/// A coin: a transaction and one of its outputs.
type Coin = ([u8; 32], u32);

/// What must be true of payouts after the events so far.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) payouts: BTreeMap<u64, Payout>,
    /// Which payout spends a coin.
    pub(super) coins: BTreeMap<Coin, u64>,
    versions: HashMap<[u8; 32], u64>,
    /// By account: satoshis and time.
    pub(super) thresholds: BTreeMap<u32, (u64, u64)>,
    pub(super) paused: bool,
    pub(super) network_fees: u64,
}

#[derive(Debug)]
pub(super) struct Payout {
    pub(super) state: &'static str,
    pub(super) released: bool,
    custody: String,
    /// Account and satoshis.
    pub(super) payments: Vec<(u32, u64)>,
    anchor: Coin,
    pub(super) versions: Vec<Version>,
    /// Place of the version on the chain, and the height.
    pub(super) confirmed: Option<([u8; 32], u32)>,
}

#[derive(Debug)]
pub(super) struct Version {
    pub(super) txid: [u8; 32],
    pub(super) fee: u64,
    signed: bool,
}

/// A transaction taken apart.
struct Parts {
    id: [u8; 32],
    spends: Vec<Coin>,
    /// Script and satoshis.
    outputs: Vec<(Vec<u8>, u64)>,
    /// Inputs with a witness.
    signed: usize,
}

impl Audit<'_> {
    pub(super) fn payout_event(
        &mut self,
        event: &RawEvent,
        body: &Body,
        data: &[u8],
    ) -> Result<(), Fault> {
        match event.kind.as_str() {
            "payout_planned" => self.payout_planned(body, data),
            "payout_replaced" => self.payout_replaced(body, data),
            "payout_signed" => self.payout_signed(body, data),
            "payout_released" => self.payout_released(body),
            "payout_confirmed" => self.payout_confirmed(body),
            "payout_unconfirmed" => self.payout_unconfirmed(body),
            "payout_settled" => self.payout_settled(body),
            "payout_cancelled" => self.payout_cancelled(body),
            "payouts_paused" => {
                self.outbox.paused = body.flag("paused")?;
                Ok(())
            }
            "threshold_set" => self.threshold_set(body),
            _ => Err("nobody knows this kind".to_owned().into()),
        }
    }

    fn payout_planned(&mut self, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let id = length(self.outbox.payouts.len()).saturating_add(1);
        expect("id", body.number("id")?, id)?;
        if self.outbox.paused {
            return Err("payouts were paused".to_owned().into());
        }
        let mut cursor = Cursor(data);
        let count = u32::from_be_bytes(cursor.array()?);
        let mut payments = Vec::new();
        for _ in 0..count {
            let account = u32::from_be_bytes(cursor.array()?);
            payments.push((account, u64::from_be_bytes(cursor.array()?)));
        }
        let parts = version(cursor)?;
        let custody = body.text("custody")?.to_owned();
        let signed = self.check_version(body, &parts, &payments, &custody)?;
        let sum = payments.iter().fold(0_u64, |sum, (_, sats)| sum.saturating_add(*sats));
        expect("sats", body.decimal("sats")?, sum)?;
        self.take_coins(id, &parts)?;
        let anchor = *parts.spends.first().ok_or_else(|| "it spends nothing".to_owned())?;
        let first = Version { txid: parts.id, fee: body.decimal("fee")?, signed };
        for (account, sats) in &payments {
            self.shift(*account, *sats, Way::Out)?;
        }
        let payout = Payout {
            state: state_of(signed),
            released: false,
            custody,
            payments,
            anchor,
            versions: vec![first],
            confirmed: None,
        };
        self.outbox.payouts.insert(id, payout);
        Ok(())
    }

    fn payout_replaced(&mut self, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let id = body.number("id")?;
        let payout = self.known(id, &["signed", "unsigned"])?;
        let (payments, custody) = (payout.payments.clone(), payout.custody.clone());
        let anchor = payout.anchor;
        let parts = version(Cursor(data))?;
        let signed = self.check_version(body, &parts, &payments, &custody)?;
        if !parts.spends.contains(&anchor) {
            return Err("it does not spend the payout's first coin".to_owned().into());
        }
        self.take_coins(id, &parts)?;
        let fee = body.decimal("fee")?;
        let payout = self.known(id, &["signed", "unsigned"])?;
        payout.versions.push(Version { txid: parts.id, fee, signed });
        payout.state = state_of(signed);
        Ok(())
    }

    fn payout_signed(&mut self, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let parts = transaction(&mut Cursor(data))?;
        let txid = body.block_hash("txid")?;
        let payout = self.known(body.number("id")?, &["unsigned"])?;
        let newest = payout.versions.last_mut().ok_or_else(|| "it has no version".to_owned())?;
        if parts.id != txid || newest.txid != txid || parts.signed != parts.spends.len() {
            return Err("what is signed is another transaction".to_owned().into());
        }
        (newest.signed, payout.state) = (true, "signed");
        Ok(())
    }

    fn payout_released(&mut self, body: &Body) -> Result<(), Fault> {
        let txid = body.block_hash("txid")?;
        let payout = self.known(body.number("id")?, &["signed", "unsigned", "confirmed"])?;
        if payout.versions.last().is_none_or(|newest| newest.txid != txid) {
            return Err("what is released is not its newest version".to_owned().into());
        }
        payout.released = true;
        Ok(())
    }

    fn payout_confirmed(&mut self, body: &Body) -> Result<(), Fault> {
        let (txid, height) = (body.block_hash("txid")?, body.number("height")?);
        let payout = self.known(body.number("id")?, &["signed", "unsigned", "confirmed"])?;
        if !payout.versions.iter().any(|version| version.txid == txid) {
            return Err("no version of it is that transaction".to_owned().into());
        }
        (payout.confirmed, payout.state) = (Some((txid, height)), "confirmed");
        Ok(())
    }

    fn payout_unconfirmed(&mut self, body: &Body) -> Result<(), Fault> {
        let payout = self.known(body.number("id")?, &["confirmed"])?;
        let signed = payout.versions.last().is_some_and(|newest| newest.signed);
        (payout.confirmed, payout.state) = (None, state_of(signed));
        Ok(())
    }

    fn payout_settled(&mut self, body: &Body) -> Result<(), Fault> {
        let payout = self.known(body.number("id")?, &["confirmed"])?;
        payout.state = "settled";
        let on_chain = payout.confirmed.map(|(txid, _)| txid);
        let version = payout.versions.iter().find(|version| Some(version.txid) == on_chain);
        let fee = version.map_or(0, |version| version.fee);
        let payments = payout.payments.clone();
        self.outbox.network_fees = self.outbox.network_fees.saturating_add(fee);
        for (account, sats) in payments {
            self.shift(account, sats, Way::Paid)?;
        }
        Ok(())
    }

    fn payout_cancelled(&mut self, body: &Body) -> Result<(), Fault> {
        let id = body.number("id")?;
        let payout = self.known(id, &["signed", "unsigned"])?;
        if payout.released {
            return Err("it was released: taking it back may pay it twice".to_owned().into());
        }
        payout.state = "cancelled";
        let payments = payout.payments.clone();
        self.outbox.coins.retain(|_, payout| *payout != id);
        for (account, sats) in payments {
            self.shift(account, sats, Way::Back)?;
        }
        Ok(())
    }

    fn threshold_set(&mut self, body: &Body) -> Result<(), Fault> {
        let account = body.number("account")?;
        let (sats, stamp): (u64, u64) = (body.decimal("sats")?, body.number("stamp")?);
        let name = nth(&self.accounts, account).map(|account| account.name.clone());
        let name = name.ok_or_else(|| format!("account {account} is not open"))?;
        let network = body.text("network")?;
        let message =
            format!("Wattproof on {network}: pay {name} from {sats} satoshis on, as of {stamp}");
        let signed = bip322::verify_simple_encoded(&name, &message, body.text("signature")?);
        if !matches!(signed, Ok(Verification::Valid { .. })) {
            return Err(format!("{name} has not signed it").into());
        }
        let last = self.outbox.thresholds.insert(account, (sats, stamp));
        if last.is_some_and(|(_, last)| last >= stamp) {
            return Err("it is not newer than the one before".to_owned().into());
        }
        Ok(())
    }

    /// Whether a version is signed; that it says what it is and pays what it must, and nothing
    /// besides but what goes back.
    fn check_version(
        &self,
        body: &Body,
        parts: &Parts,
        payments: &[(u32, u64)],
        custody: &str,
    ) -> Result<bool, Fault> {
        let (said, shown) = (body.bytes("txid")?, reversed(parts.id));
        expect("txid", hex::encode(said), hex::encode(shown))?;
        let signed = body.flag("signed")?;
        let must = if signed { parts.spends.len() } else { 0 };
        expect("signatures", parts.signed, must)?;
        let paid = parts.outputs.iter().fold(0_u64, |sum, (_, sats)| sum.saturating_add(*sats));
        let spent = paid.saturating_add(body.decimal("fee")?);
        expect("inputs", body.decimal("inputs")?, spent)?;
        let mut outputs = parts.outputs.clone();
        for (account, sats) in payments {
            let name = nth(&self.accounts, *account).map_or("", |account| account.name.as_str());
            let script = script(name)?;
            let place = outputs.iter().position(|output| *output == (script.clone(), *sats));
            match place {
                Some(place) => {
                    outputs.swap_remove(place);
                }
                None if !stands(Defence::AuditPayouts) => {}
                None => return Err(format!("it does not pay {sats} sat to {name:?}").into()),
            }
        }
        let back = script(custody)?;
        if outputs.len() > 1 || outputs.iter().any(|(script, _)| *script != back) {
            if !stands(Defence::AuditPayouts) {
                return Ok(signed);
            }
            return Err("it pays somebody who is owed nothing".to_owned().into());
        }
        Ok(signed)
    }

    fn take_coins(&mut self, payout: u64, parts: &Parts) -> Result<(), Fault> {
        if self.outbox.versions.insert(parts.id, payout).is_some() {
            return Err("another payout has the same transaction".to_owned().into());
        }
        for coin in &parts.spends {
            let before = self.outbox.coins.insert(*coin, payout);
            if before.is_some_and(|other| other != payout) {
                return Err("it spends a coin of another payout".to_owned().into());
            }
        }
        Ok(())
    }

    fn known(&mut self, id: u64, states: &[&str]) -> Result<&mut Payout, Fault> {
        let payout = self.outbox.payouts.get_mut(&id);
        let payout = payout.ok_or_else(|| format!("payout {id} was never planned"))?;
        if !states.contains(&payout.state) {
            return Err(format!("payout {id} is {}", payout.state).into());
        }
        Ok(payout)
    }

    fn shift(&mut self, account: u32, sats: u64, way: Way) -> Result<(), Fault> {
        let money = nth_mut(&mut self.accounts, account);
        let money = money.ok_or_else(|| format!("account {account} is not open"))?;
        let (from, to) = match way {
            Way::Out => (&mut money.balance, &mut money.sending),
            Way::Back => (&mut money.sending, &mut money.balance),
            Way::Paid => (&mut money.sending, &mut money.paid),
        };
        let left = from.checked_sub(sats);
        let left =
            left.ok_or_else(|| format!("account {account} has only {from} of {sats} sat"))?;
        (*from, *to) = (left, to.saturating_add(sats));
        Ok(())
    }
}

/// From where to where satoshis go.
#[derive(Debug, Clone, Copy)]
enum Way {
    Out,
    Back,
    Paid,
}

const fn state_of(signed: bool) -> &'static str {
    if signed { "signed" } else { "unsigned" }
}

fn reversed(mut id: [u8; 32]) -> [u8; 32] {
    id.reverse();
    id
}

/// Length, transaction, and a PSBT that nobody looks into.
fn version(mut cursor: Cursor<'_>) -> Result<Parts, String> {
    let count = u32::from_be_bytes(cursor.array()?);
    let bytes = cursor.take(usize::try_from(count).unwrap_or(usize::MAX))?;
    let mut inner = Cursor(bytes);
    let parts = transaction(&mut inner)?;
    if inner.0.is_empty() { Ok(parts) } else { Err("bytes follow its transaction".to_owned()) }
}

/// A transaction by the rules of the chain.
fn transaction(cursor: &mut Cursor<'_>) -> Result<Parts, String> {
    let version: [u8; 4] = cursor.array()?;
    let segwit = cursor.0.starts_with(&[0, 1]);
    if segwit {
        cursor.take(2)?;
    }
    let body_from = cursor.0;
    let mut spends = Vec::new();
    for _ in 0..cursor.length()? {
        spends.push((cursor.array()?, u32::from_le_bytes(cursor.array()?)));
        if cursor.length()? > 0 {
            return Err("an input of it is not native segwit".to_owned());
        }
        cursor.take(4)?;
    }
    let mut outputs = Vec::new();
    for _ in 0..cursor.length()? {
        let sats = u64::from_le_bytes(cursor.array()?);
        let length = cursor.length()?;
        outputs.push((cursor.take(length)?.to_vec(), sats));
    }
    let body_length = body_from.len().saturating_sub(cursor.0.len());
    let body = body_from.get(..body_length).unwrap_or_default();
    let mut signed = 0_usize;
    if segwit {
        for _ in 0..spends.len() {
            let items = cursor.length()?;
            signed = signed.saturating_add(usize::from(items > 0));
            for _ in 0..items {
                let length = cursor.length()?;
                cursor.take(length)?;
            }
        }
    }
    let lock_time: [u8; 4] = cursor.array()?;
    let id = double_sha256(&[&version, body, &lock_time].concat());
    Ok(Parts { id, spends, outputs, signed })
}
