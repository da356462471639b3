//! Payouts: random lives of the outbox against a chain that confirms whatever it is given, and
//! each rule that keeps anybody from being paid twice by itself.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash as _;
use bitcoin::{
    Address, Amount, KnownHrp, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    Witness, absolute::LockTime, consensus::encode::serialize, transaction::Version,
};
use ledger::{
    Ledger, Payment, PayoutId, PayoutPlan, PayoutState, PayoutTransaction, Reader, Refusal, Scheme,
    Settings, ThresholdRequest, threshold_message, verify,
};
use proptest::prelude::*;
use tempfile::TempDir;
use units::{Sats, UnixMillis};

use crate::support::{
    Forge, address, assert_sound, refused, sats, settings, spoil_projections, tables,
};

const REWARD: u64 = 1_000_000;
const FEE: u64 = 1_000;

struct Desk {
    dir: TempDir,
    ledger: Ledger,
    forge: Forge,
    coins: u64,
}

fn custody() -> String {
    address(255).to_string()
}

fn pool() -> Settings {
    Settings { fee_account: custody(), ..settings(Scheme::Solo) }
}

fn pay(number: u8, amount: u64) -> Payment {
    Payment { account: address(number).to_string(), sats: sats(amount) }
}

/// A transaction that spends these coins, of `FEE` a coin more than it pays.
fn transaction(coins: &[u64], payments: &[Payment], signed: bool, fee: u64) -> PayoutTransaction {
    let input = |coin: &u64| TxIn {
        previous_output: OutPoint {
            txid: Txid::from_byte_array([7; 32]),
            vout: u32::try_from(*coin).unwrap(),
        },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: if signed { Witness::from_slice(&[[1; 64]]) } else { Witness::new() },
    };
    let mut output: Vec<TxOut> = payments
        .iter()
        .map(|payment| TxOut {
            value: Amount::from_sat(payment.sats.to_sat()),
            script_pubkey: payment
                .account
                .parse::<Address<_>>()
                .unwrap()
                .assume_checked()
                .script_pubkey(),
        })
        .collect();
    output.push(TxOut {
        value: Amount::from_sat(1_000 - fee),
        script_pubkey: address(255).script_pubkey(),
    });
    let sum: u64 = payments.iter().map(|payment| payment.sats.to_sat()).sum();
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(input).collect(),
        output,
    };
    PayoutTransaction {
        transaction: serialize(&transaction),
        psbt: if signed { Vec::new() } else { b"psbt".to_vec() },
        inputs: sats(sum + 1_000),
    }
}

fn read(bytes: &[u8]) -> Transaction {
    bitcoin::consensus::deserialize(bytes).unwrap()
}

fn txid(version: &PayoutTransaction) -> [u8; 32] {
    read(&version.transaction).compute_txid().to_byte_array()
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("pool.sqlite"), pool()).unwrap();
        Self { dir, ledger, forge: Forge::default(), coins: 0 }
    }

    /// With a mature block of each of the first accounts.
    fn with_balances(accounts: u8) -> Self {
        let mut desk = Self::new();
        (1..=accounts).for_each(|account| desk.earn(account));
        desk
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("pool.sqlite")
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path()).unwrap()
    }

    fn now(&mut self) -> UnixMillis {
        self.forge.now()
    }

    /// A mature block of this account's: 99 % of the reward.
    fn earn(&mut self, account: u8) {
        let at = self.now();
        let worker = self.ledger.worker(&address(account).to_string(), "w", at).unwrap();
        let candidate = self.forge.candidate(worker, 0, REWARD);
        self.ledger.candidate(&candidate).unwrap();
        self.ledger.on_chain(candidate.hash, 100, at).unwrap();
    }

    fn fresh_coin(&mut self) -> u64 {
        self.coins += 1;
        self.coins
    }

    fn plan(&mut self, payments: &[Payment], signed: bool) -> Result<PayoutId, Refusal> {
        let coin = self.fresh_coin();
        self.plan_by(transaction(&[coin], payments, signed, FEE), payments)
    }

    fn plan_by(
        &mut self,
        version: PayoutTransaction,
        payments: &[Payment],
    ) -> Result<PayoutId, Refusal> {
        let plan = PayoutPlan {
            payments: payments.to_vec(),
            custody: custody(),
            version,
            tip: 7,
            at: self.now(),
        };
        self.ledger.plan_payout(&plan).map_err(refused)
    }

    /// Balance, sending and paid.
    fn money(&self, account: u8) -> (u64, u64, u64) {
        let view = self.reader().account(&address(account).to_string()).unwrap().unwrap();
        (view.balance.to_sat(), view.sending.to_sat(), view.paid.to_sat())
    }

    fn newest(&self, id: PayoutId) -> [u8; 32] {
        let payouts = self.reader().payouts(100).unwrap();
        payouts.into_iter().find(|payout| payout.id == id).unwrap().txid
    }

    fn state(&self, id: PayoutId) -> PayoutState {
        let payouts = self.reader().payouts(100).unwrap();
        payouts.into_iter().find(|payout| payout.id == id).unwrap().state
    }
}

#[test]
fn a_payout_leaves_the_balance_at_once_and_is_paid_when_it_is_deep() {
    let mut desk = Desk::with_balances(2);
    let balance = REWARD / 100 * 99;
    let payments = [pay(1, 500_000), pay(2, balance)];
    let id = desk.plan(&payments, true).unwrap();
    assert_eq!(desk.money(1), (balance - 500_000, 500_000, 0));
    assert_eq!(desk.money(2), (0, balance, 0));
    assert_eq!(desk.reader().outbox().unwrap().sending.to_sat(), 500_000 + balance);
    let at = desk.now();
    let (txid, bytes, psbt) = desk.ledger.release_payout(id, at).unwrap();
    assert_eq!((desk.newest(id), psbt), (txid, vec![]));
    assert_eq!(read(&bytes).compute_txid().to_byte_array(), txid);
    assert!(desk.ledger.payout_confirmed(id, txid, 200, at).unwrap());
    assert!(!desk.ledger.payout_confirmed(id, txid, 200, at).unwrap(), "known");
    assert!(desk.ledger.payout_unconfirmed(id, at).unwrap());
    assert_eq!(desk.state(id), PayoutState::Signed);
    assert!(desk.ledger.payout_confirmed(id, txid, 201, at).unwrap());
    desk.ledger.settle_payout(id, at).unwrap();
    desk.ledger.settle_payout(id, at).unwrap();
    assert_eq!(desk.money(2), (0, 0, balance));
    let outbox = desk.reader().outbox().unwrap();
    assert_eq!((outbox.sending, outbox.network_fees), (Sats::ZERO, sats(FEE)));
    assert_eq!(desk.reader().payments_of(id).unwrap(), payments);
    assert_sound(&desk.path());
    let report = verify::ledger(&desk.path()).unwrap();
    assert_eq!((report.payouts, report.paid.to_sat()), (1, 500_000 + balance));
}

#[test]
fn what_was_released_is_never_taken_back() {
    let mut desk = Desk::with_balances(1);
    let kept = desk.plan(&[pay(1, 1_000)], true).unwrap();
    let at = desk.now();
    desk.ledger.cancel_payout(kept, at).unwrap();
    assert_eq!((desk.money(1).1, desk.state(kept)), (0, PayoutState::Cancelled));
    for signed in [true, false] {
        let id = desk.plan(&[pay(1, 1_000)], signed).unwrap();
        desk.ledger.release_payout(id, at).unwrap();
        let error = refused(desk.ledger.cancel_payout(id, at).unwrap_err());
        assert!(matches!(error, Refusal::PayoutState { state: "released", .. }), "{error}");
    }
    assert!(desk.ledger.release_payout(kept, at).is_err(), "nor is what was taken back released");
    assert_sound(&desk.path());
}

#[test]
fn every_version_spends_the_first_ones_first_coin() {
    let mut desk = Desk::with_balances(1);
    let payments = [pay(1, 1_000)];
    let first = transaction(&[1, 2], &payments, true, 100);
    let id = desk.plan_by(first, &payments).unwrap();
    let at = desk.now();
    let mut replace = |coins: &[u64], fee| {
        desk.ledger.replace_payout(id, &transaction(coins, &payments, true, fee), at)
    };
    replace(&[2, 1, 3], 200).unwrap();
    for coins in [&[2, 3][..], &[3], &[9]] {
        let error = refused(replace(coins, 300).unwrap_err());
        assert!(error.to_string().contains("first coin"), "{error}");
    }
    replace(&[1], 400).unwrap();
    let other = refused(replace(&[1], 400).unwrap_err());
    assert!(other.to_string().contains("already"), "{other}");
    assert_sound(&desk.path());
}

#[test]
fn no_coin_is_two_payouts() {
    let mut desk = Desk::with_balances(2);
    let (one, two) = ([pay(1, 1_000)], [pay(2, 1_000)]);
    let id = desk.plan_by(transaction(&[1, 2], &one, true, 100), &one).unwrap();
    let error = desk.plan_by(transaction(&[3, 2], &two, true, 100), &two).unwrap_err();
    assert!(matches!(error, Refusal::CoinTaken { payout, .. } if payout == id), "{error}");
    let at = desk.now();
    desk.ledger.cancel_payout(id, at).unwrap();
    desk.plan_by(transaction(&[3, 2], &two, true, 100), &two).unwrap();
    assert_sound(&desk.path());
}

#[test]
fn a_transaction_that_pays_otherwise_is_refused() {
    let mut desk = Desk::with_balances(2);
    let right = [pay(1, 1_000), pay(2, 2_000)];
    let wrong: [&[Payment]; 5] = [
        &[pay(1, 1_000)],
        &[pay(1, 1_001), pay(2, 2_000)],
        &[pay(2, 1_000), pay(1, 2_000)],
        &[pay(1, 1_000), pay(2, 2_000), pay(3, 5)],
        &[pay(3, 1_000), pay(2, 2_000)],
    ];
    for payments in wrong {
        let coin = desk.fresh_coin();
        let error = desk.plan_by(transaction(&[coin], payments, true, FEE), &right).unwrap_err();
        assert!(matches!(error, Refusal::Transaction(_)), "{error}");
    }
    for bad in [vec![], vec![pay(1, 0)], vec![pay(1, 5), pay(1, 6)], vec![pay(255, 5)]] {
        assert!(desk.plan(&bad, true).is_err(), "{bad:?}");
    }
    let error = desk.plan(&[pay(1, REWARD)], true).unwrap_err();
    assert!(matches!(error, Refusal::Overdrawn { .. }), "{error}");
    let mut garbled = transaction(&[1], &right, true, FEE);
    garbled.transaction.truncate(40);
    assert!(desk.plan_by(garbled, &right).is_err());
    assert_eq!(desk.reader().payouts(10).unwrap(), []);
    desk.plan(&right, true).unwrap();
    assert_sound(&desk.path());
}

#[test]
fn while_payouts_are_paused_none_is_planned_and_none_goes_out() {
    let mut desk = Desk::with_balances(1);
    let payments = [pay(1, 1_000)];
    let id = desk.plan(&payments, true).unwrap();
    let at = desk.now();
    desk.ledger.pause_payouts(true, "the hot key is being moved", at).unwrap();
    let paused = |error| matches!(error, Refusal::Paused(why) if why.contains("hot key"));
    assert!(paused(desk.plan(&payments, true).unwrap_err()));
    assert!(paused(refused(desk.ledger.release_payout(id, at).unwrap_err())));
    let version = transaction(&[1], &payments, true, 900);
    assert!(paused(refused(desk.ledger.replace_payout(id, &version, at).unwrap_err())));
    desk.ledger.pause_payouts(false, "", at).unwrap();
    desk.ledger.release_payout(id, at).unwrap();
    assert_sound(&desk.path());
}

#[test]
fn a_signature_from_elsewhere_is_of_the_very_transaction() {
    let mut desk = Desk::with_balances(1);
    let payments = [pay(1, 1_000)];
    let id = desk.plan_by(transaction(&[5], &payments, false, FEE), &payments).unwrap();
    let at = desk.now();
    let (txid_before, _, psbt) = desk.ledger.release_payout(id, at).unwrap();
    assert_eq!(psbt, b"psbt");
    let other = transaction(&[5], &payments, true, FEE - 1).transaction;
    let unsigned = transaction(&[5], &payments, false, FEE).transaction;
    for bad in [other, unsigned.clone(), vec![]] {
        let known = bad == unsigned;
        assert_eq!(desk.ledger.payout_signed(id, &bad, at).is_ok(), known);
        assert_eq!(desk.state(id), PayoutState::Unsigned);
    }
    let signed = transaction(&[5], &payments, true, FEE).transaction;
    desk.ledger.payout_signed(id, &signed, at).unwrap();
    desk.ledger.payout_signed(id, &signed, at).unwrap();
    let (txid_after, bytes, psbt) = desk.ledger.release_payout(id, at).unwrap();
    assert_eq!((txid_before, bytes, psbt), (txid_after, signed, vec![]));
    assert_sound(&desk.path());
}

/// Runs `sql` with the triggers out of the way, and returns what the auditor says.
fn after(desk: Desk, sql: &str) -> Vec<String> {
    let path = desk.path();
    let Desk { dir, ledger, .. } = desk;
    drop(ledger);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("DROP TRIGGER event_is_not_changed").unwrap();
    conn.execute_batch(sql).unwrap();
    assert!(conn.changes() > 0, "the test changed nothing: {sql}");
    drop(conn);
    let report = verify::ledger(&path).unwrap();
    drop(dir);
    report.problems
}

#[test]
fn the_auditor_finds_payouts_that_are_not_what_they_say() {
    let desk = || {
        let mut desk = Desk::with_balances(2);
        let id = desk.plan(&[pay(1, 1_000), pay(2, 2_000)], true).unwrap();
        let at = desk.now();
        let (txid, ..) = desk.ledger.release_payout(id, at).unwrap();
        desk.ledger.payout_confirmed(id, txid, 9, at).unwrap();
        desk.ledger.settle_payout(id, at).unwrap();
        let id = desk.plan(&[pay(1, 3_000)], true).unwrap();
        desk.ledger.release_payout(id, at).unwrap();
        desk
    };
    assert_eq!(after(desk(), "UPDATE outbox SET paused = 0"), Vec::<String>::new());
    let plan = "UPDATE event SET data = CAST(";
    let first = "WHERE kind = 'payout_planned' AND seq = (SELECT min(seq) FROM event WHERE kind = 'payout_planned')";
    for (sql, word) in [
        // Twice to account 1 of the payments: the count and two records of 12 bytes.
        (format!("{plan} substr(data, 1, 16) || substr(data, 5, 12) || substr(data, 29) AS BLOB) {first}"), "does not pay"),
        (format!("{plan} substr(data, 1, 15) || X'E9' || substr(data, 17) AS BLOB) {first}"), "does not pay"),
        (format!("{plan} X'00000001' || substr(data, 5, 12) || substr(data, 29) AS BLOB) {first}"), "owed nothing"),
        (format!("{plan} substr(data, 1, 40) || X'09' || substr(data, 42) AS BLOB) {first}"), "txid"),
        ("UPDATE event SET body = replace(body, '\"fee\":\"1000\"', '\"fee\":\"999\"') WHERE kind = 'payout_planned'".to_owned(), "inputs"),
        ("UPDATE event SET kind = 'payout_cancelled', body = '{\"id\":2}' WHERE seq = (SELECT max(seq) FROM event)".to_owned(), "state"),
        ("UPDATE account SET paid = paid + 1 WHERE id = 2".to_owned(), "paid"),
        ("UPDATE account SET sending = 0".to_owned(), "sending"),
        ("UPDATE payout SET state = 'unsigned' WHERE id = 2".to_owned(), "payouts"),
        ("UPDATE payout_version SET fee = 1".to_owned(), "versions"),
        ("DELETE FROM payout_input".to_owned(), "coins"),
        ("UPDATE outbox SET network_fees = 5".to_owned(), "outbox"),
        ("UPDATE payment SET sats = sats + 1".to_owned(), "payments"),
    ] {
        let problems = after(desk(), &sql);
        let found = problems.iter().any(|problem| problem.contains(word));
        // A cancelled payout of the newest release is found by its table.
        assert!(found || (word == "state" && !problems.is_empty()), "{sql}: {problems:#?}");
    }
}

/// Signs as BIP 322 says, for the address of a key.
fn request(key: u8, network: &str, amount: u64, stamp: u64) -> ThresholdRequest {
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let secret = bitcoin::secp256k1::SecretKey::from_slice(&[key; 32]).unwrap();
    let key = bitcoin::PrivateKey::new(secret, bitcoin::Network::Regtest);
    let public = bitcoin::CompressedPublicKey::from_private_key(&secp, &key).unwrap();
    let address = Address::p2wpkh(&public, KnownHrp::Regtest).to_string();
    let message = threshold_message(network, &address, sats(amount), UnixMillis::new(stamp));
    let signature =
        bip322::sign_simple_encoded(&address, &message, &[key.to_wif().as_str()], None).unwrap();
    ThresholdRequest {
        account: address,
        network: network.to_owned(),
        sats: sats(amount),
        stamp: UnixMillis::new(stamp),
        signature,
    }
}

#[test]
fn a_threshold_is_its_owners_and_no_message_is_played_again() {
    let mut desk = Desk::new();
    let now = desk.now();
    let stamp = now.get();
    let asked = request(1, "regtest", 5_000, stamp);
    let unknown = refused(desk.ledger.set_threshold(&asked, now).unwrap_err());
    assert!(unknown.to_string().contains("no such account"), "{unknown}");
    desk.ledger.worker(&asked.account, "w", now).unwrap();
    let mut refuse = |request: &ThresholdRequest, word: &str| {
        let error = refused(desk.ledger.set_threshold(request, now).unwrap_err()).to_string();
        assert!(error.contains(word), "{error}");
    };
    let other = request(2, "regtest", 5_000, stamp);
    refuse(&ThresholdRequest { signature: other.signature, ..asked.clone() }, "signature");
    refuse(&ThresholdRequest { sats: sats(1), ..asked.clone() }, "signature");
    refuse(&ThresholdRequest { network: "bitcoin".to_owned(), ..asked.clone() }, "signature");
    refuse(&ThresholdRequest { signature: "no".to_owned(), ..asked.clone() }, "signature");
    refuse(&request(1, "regtest", 5_000, stamp - 86_400_001), "a day");
    desk.ledger.set_threshold(&asked, now).unwrap();
    desk.ledger.set_threshold(&request(1, "regtest", 6_000, stamp + 1), now).unwrap();
    assert_sound(&desk.path());
    let again = refused(desk.ledger.set_threshold(&asked, now).unwrap_err());
    assert!(again.to_string().contains("not newer"), "{again}");
    let changed =
        "UPDATE event SET body = replace(body, '5000', '5001') WHERE kind = 'threshold_set'";
    assert!(after(desk, changed).iter().any(|problem| problem.contains("has not signed")));
}

#[derive(Debug, Clone)]
enum Step {
    Earn(u8),
    Plan { who: BTreeSet<u8>, parts: u64, signed: bool },
    Replace { payout: u64, with: u64, anchored: bool, signed: bool },
    Sign(u64),
    Release(u64),
    Confirm { payout: u64, version: usize, height: u32 },
    Unconfirm(u64),
    Settle(u64),
    Cancel(u64),
    Pause(bool),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let payout = || 1_u64..6;
    prop_oneof![
        3 => (1_u8..=4).prop_map(Step::Earn),
        4 => (prop::collection::btree_set(1_u8..=4, 1..4), 1_u64..=4, any::<bool>())
            .prop_map(|(who, parts, signed)| Step::Plan { who, parts, signed }),
        3 => (payout(), 0_u64..4, any::<bool>(), any::<bool>()).prop_map(
            |(payout, with, anchored, signed)| Step::Replace { payout, with, anchored, signed }),
        2 => payout().prop_map(Step::Sign),
        4 => payout().prop_map(Step::Release),
        3 => (payout(), 0_usize..4, 1_u32..9)
            .prop_map(|(payout, version, height)| Step::Confirm { payout, version, height }),
        1 => payout().prop_map(Step::Unconfirm),
        2 => payout().prop_map(Step::Settle),
        2 => payout().prop_map(Step::Cancel),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => Just(Step::Reopen),
    ]
}

/// What anybody outside could do with what left the ledger.
#[derive(Debug, Default)]
struct Outside {
    /// Versions by payout, and of each the coins, the payments and whether it ever left.
    versions: BTreeMap<u64, Vec<PayoutTransaction>>,
    left: BTreeSet<[u8; 32]>,
    serial: u64,
}

impl Outside {
    /// The most that each account could get of a chain that takes what left in this order.
    fn chain(&self, newest_first: bool) -> BTreeMap<u8, u64> {
        let mut all: Vec<_> = self.versions.values().flatten().collect();
        if newest_first {
            all.reverse();
        }
        let (mut spent, mut paid) = (BTreeSet::new(), BTreeMap::new());
        for version in all.into_iter().filter(|version| self.left.contains(&txid(version))) {
            let tx = read(&version.transaction);
            if tx.input.iter().any(|input| spent.contains(&input.previous_output)) {
                continue;
            }
            spent.extend(tx.input.iter().map(|input| input.previous_output));
            for account in 1..=4 {
                let script = address(account).script_pubkey();
                let outputs = tx.output.iter().filter(|output| output.script_pubkey == script);
                *paid.entry(account).or_default() +=
                    outputs.map(|output| output.value.to_sat()).sum::<u64>();
            }
        }
        paid
    }
}

fn run(desk: &mut Desk, outside: &mut Outside, earned: &mut BTreeMap<u8, u64>, step: Step) {
    let at = desk.now();
    match step {
        Step::Earn(account) => {
            desk.earn(account);
            *earned.entry(account).or_default() += REWARD / 100 * 99;
        }
        Step::Plan { who, parts, signed } => {
            let payments: Vec<_> = who.iter().map(|who| pay(*who, 400_000 / parts)).collect();
            let coin = desk.fresh_coin();
            let version = transaction(&[coin], &payments, signed, FEE);
            if let Ok(id) = desk.plan_by(version.clone(), &payments) {
                outside.versions.insert(id.get(), vec![version]);
            }
        }
        Step::Replace { payout, with, anchored, signed } => {
            let id = PayoutId::new(payout);
            let payments = desk.ledger.payments_of(id).unwrap();
            outside.serial += 1;
            let mut coins: Vec<u64> = (0..with).map(|_| desk.fresh_coin()).collect();
            if anchored && let Some(versions) = outside.versions.get(&payout) {
                coins.push(read(&versions[0].transaction).input[0].previous_output.vout.into());
            }
            let version = transaction(&coins, &payments, signed, outside.serial % 1_000);
            if desk.ledger.replace_payout(id, &version, at).is_ok() {
                outside.versions.get_mut(&payout).unwrap().push(version);
            }
        }
        Step::Sign(payout) => {
            let Some(version) = outside.versions.get(&payout).and_then(|all| all.last()) else {
                return;
            };
            let mut tx = read(&version.transaction);
            tx.input.iter_mut().for_each(|input| input.witness = Witness::from_slice(&[[2; 64]]));
            let _ = desk.ledger.payout_signed(PayoutId::new(payout), &serialize(&tx), at);
        }
        Step::Release(payout) => {
            if let Ok((txid, ..)) = desk.ledger.release_payout(PayoutId::new(payout), at) {
                outside.left.insert(txid);
            }
        }
        Step::Confirm { payout, version, height } => {
            let version = outside.versions.get(&payout).and_then(|all| all.get(version)).map(txid);
            let txid = version.filter(|txid| outside.left.contains(txid)).unwrap_or([9; 32]);
            let _ = desk.ledger.payout_confirmed(PayoutId::new(payout), txid, height, at);
        }
        Step::Unconfirm(payout) => {
            let _ = desk.ledger.payout_unconfirmed(PayoutId::new(payout), at);
        }
        Step::Settle(payout) => {
            let _ = desk.ledger.settle_payout(PayoutId::new(payout), at);
        }
        Step::Cancel(payout) => {
            let _ = desk.ledger.cancel_payout(PayoutId::new(payout), at);
        }
        Step::Pause(paused) => desk.ledger.pause_payouts(paused, "", at).unwrap(),
        Step::Reopen => unreachable!("reopened by the caller"),
    }
}

/// Each account's sum is what it earned, and no chain can give anybody more than that.
fn check(desk: &Desk, outside: &Outside, earned: &BTreeMap<u8, u64>) {
    for (account, earned) in earned {
        let (balance, sending, paid) = desk.money(*account);
        assert_eq!(balance + sending + paid, *earned, "account {account}");
        for newest_first in [false, true] {
            let chain = outside.chain(newest_first).get(account).copied().unwrap_or(0);
            assert!(chain <= sending + paid, "{account}: {chain} on the chain, {sending} + {paid}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_life_of_the_outbox_pays_anybody_twice(steps in prop::collection::vec(step(), 1..50)) {
        let (mut desk, mut outside) = (Desk::new(), Outside::default());
        let mut earned = BTreeMap::new();
        for step in steps {
            if matches!(step, Step::Reopen) {
                let Desk { dir, ledger, forge, coins } = desk;
                drop(ledger);
                let ledger = Ledger::open(&dir.path().join("pool.sqlite"), pool()).unwrap();
                desk = Desk { dir, ledger, forge, coins };
            } else {
                run(&mut desk, &mut outside, &mut earned, step);
            }
            check(&desk, &outside, &earned);
        }
        let path = desk.path();
        assert_sound(&path);
        let Desk { dir, ledger, .. } = desk;
        drop(ledger);
        let before = tables(&path);
        spoil_projections(&path);
        drop(Ledger::open(&path, pool()).unwrap());
        prop_assert_eq!(tables(&path), before);
        drop(dir);
    }
}
