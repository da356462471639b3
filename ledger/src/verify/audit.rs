//! [`Audit`]: walks the log, event by event, and keeps what must be true. Accounts, workers and
//! shares are here; `slices.rs`, `pruned.rs`, `blocks.rs` and `meters.rs` have the rest, and `compare.rs` holds
//! the result against the tables.

use std::collections::{BTreeMap, HashMap, HashSet};

use defences::{Defence, stands};
use units::{MicroJoules, Sats, Work};

use super::VerifyReport;
use super::aggregates;
use super::blocks::Block;
use super::body::Body;
use super::entries::{self, AuditedEntry};
use super::meters::Meter;
use super::payouts::Outbox;
use super::pow;
use super::reserve::Reserve;
use super::seen::Seen;
use super::shares::{self, AuditedShare};
use super::slices::{Proven, Slice};
use super::windows::score;
use crate::error::LedgerError;
use crate::store::{RawEvent, RawLedger};

/// Problems that are listed; more are counted.
const LISTED: usize = 100;

/// What must be true after the events so far.
#[derive(Debug)]
pub(super) struct Audit<'a> {
    pub(super) raw: &'a RawLedger,
    problems: Vec<String>,
    unlisted: u64,
    last_event: u64,
    pub(super) accounts: Vec<Account>,
    account_names: HashSet<String>,
    pub(super) workers: Vec<Worker>,
    worker_names: HashSet<(u32, String)>,
    pub(super) shares: u64,
    pub(super) work: u128,
    pub(super) open: BTreeMap<u32, (u64, u128, u128)>,
    pub(super) proven: BTreeMap<u32, Proven>,
    /// Whether the open slice has batches without headers.
    pub(super) bare: bool,
    without_header: u64,
    /// The greatest slice that was pruned so far.
    pub(super) newest_pruned: u64,
    /// The event as of which the tables have the sums of shares, and those sums.
    pub(super) tallied: u64,
    pub(super) marked: Marked,
    pub(super) slices: Vec<Slice>,
    pub(super) blocks: HashMap<[u8; 32], Block>,
    pub(super) meters: HashMap<(u32, String), Meter>,
    pub(super) pins: BTreeMap<u32, [u8; 32]>,
    pub(super) next_extranonce: u64,
    pub(super) reserve: Reserve,
    /// By worker, as of the newest aggregate.
    pub(super) aggregates: Vec<aggregates::Sums>,
    pub(super) outbox: Outbox,
    seen: Seen,
    /// Bits met last and the work that they ask for.
    bits: (u32, Option<u128>),
}

/// The sums of shares at one event.
#[derive(Debug, Default)]
pub(super) struct Marked {
    pub(super) shares: u64,
    pub(super) work: u128,
    /// Shares and work by worker.
    pub(super) workers: Vec<(u64, u128)>,
    /// Account, shares, work and score of the slice that was open, in rising order of account.
    pub(super) open: Vec<(u32, u64, u128, u128)>,
}

#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) immature: u64,
    pub(super) balance: u64,
    pub(super) sending: u64,
    pub(super) paid: u64,
    pub(super) fees: u64,
}

#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) account: u32,
    pub(super) name: String,
    pub(super) shares: u64,
    pub(super) work: u128,
    pub(super) energy: u128,
    pub(super) covered: u128,
    /// Its work where the newest covered interval ended.
    pub(super) mark: u128,
}

/// Why an event was not taken further.
#[derive(Debug)]
pub(super) enum Fault {
    /// What it says is wrong.
    Problem(String),
    /// It could not be looked into.
    Store(LedgerError),
}

impl<'a> Audit<'a> {
    pub(super) fn new(raw: &'a RawLedger, tallied: u64) -> Self {
        Self {
            raw,
            problems: Vec::new(),
            unlisted: 0,
            last_event: 0,
            accounts: Vec::new(),
            account_names: HashSet::new(),
            workers: Vec::new(),
            worker_names: HashSet::new(),
            shares: 0,
            work: 0,
            open: BTreeMap::new(),
            proven: BTreeMap::new(),
            bare: false,
            without_header: 0,
            newest_pruned: 0,
            tallied,
            marked: Marked::default(),
            slices: Vec::new(),
            blocks: HashMap::new(),
            meters: HashMap::new(),
            pins: BTreeMap::new(),
            next_extranonce: 0,
            reserve: Reserve::default(),
            aggregates: Vec::new(),
            outbox: Outbox::default(),
            seen: Seen::default(),
            bits: (0, None),
        }
    }

    pub(super) fn problem(&mut self, problem: String) {
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    /// Takes the next event of the log.
    pub(super) fn event(&mut self, event: &RawEvent) -> Result<(), LedgerError> {
        let seq = event.seq;
        let follows = Some(seq) == self.last_event.checked_add(1);
        if stands(Defence::AuditSequence) && !follows {
            self.problem(format!("event {seq} follows event {}", self.last_event));
        }
        self.last_event = seq;
        let taken = self.take(event);
        self.note(event, taken)?;
        if seq == self.tallied {
            self.marked = self.sums();
        }
        Ok(())
    }

    /// Makes a problem of what is wrong with an event.
    pub(super) fn note(
        &mut self,
        event: &RawEvent,
        taken: Result<(), Fault>,
    ) -> Result<(), LedgerError> {
        match taken {
            Ok(()) => {}
            Err(Fault::Problem(problem)) => {
                self.problem(format!("event {} ({}): {problem}", event.seq, event.kind));
            }
            Err(Fault::Store(error)) => return Err(error),
        }
        Ok(())
    }

    /// The sums of shares as they are now.
    fn sums(&self) -> Marked {
        Marked {
            shares: self.shares,
            work: self.work,
            workers: self.workers.iter().map(|worker| (worker.shares, worker.work)).collect(),
            open: rows(&self.open),
        }
    }

    fn take(&mut self, event: &RawEvent) -> Result<(), Fault> {
        let body = Body::parse(&event.body)?;
        let data = event.data.as_deref().unwrap_or_default();
        match event.kind.as_str() {
            "account_opened" => self.account_opened(&body),
            "entries" => self.entries(event, &body, data),
            kind if shares::is_batch(kind) => self.batch(event, &body, data),
            "aggregated" => self.aggregated(&body, data),
            "block_abandoned" => self.block_abandoned(&body),
            "block_matured" => self.block_matured(&body),
            "block_orphaned" => self.block_orphaned(&body),
            "block_restored" => self.block_restored(&body),
            "block_settled" => self.block_settled(&body, data),
            "block_submitted" => self.block_submitted(&body),
            "candidate_found" => self.candidate_found(event.seq, &body, data),
            "extranonces_leased" => self.extranonces_leased(&body),
            "key_pinned" => self.key_pinned(&body),
            "metered" => self.metered(&body),
            "pay_per_share_began" => self.pay_per_share_began(&body),
            "pay_per_share_ended" => self.pay_per_share_ended(&body),
            "reserve_declared" => self.reserve_declared(&body),
            "slice_closed" => self.slice_closed(event, &body),
            "slice_paid" => self.slice_paid(&body, data),
            "slice_pruned" => self.slice_pruned(event.seq, &body, data),
            "worker_opened" => self.worker_opened(&body),
            kind if kind.starts_with("payout") || kind == "threshold_set" => {
                self.payout_event(event, &body, data)
            }
            _ => Err("nobody knows this kind".to_owned().into()),
        }
    }

    fn account_opened(&mut self, body: &Body) -> Result<(), Fault> {
        let name = body.text("name")?.to_owned();
        expect("id", body.number::<u32>("id")?, ordinal(self.accounts.len()))?;
        if !self.account_names.insert(name.clone()) {
            return Err(format!("the account {name:?} is opened twice").into());
        }
        self.accounts.push(Account { name, ..Account::default() });
        Ok(())
    }

    fn worker_opened(&mut self, body: &Body) -> Result<(), Fault> {
        let (account, name) = (body.number::<u32>("account")?, body.text("name")?.to_owned());
        expect("id", body.number::<u32>("id")?, ordinal(self.workers.len()))?;
        if nth(&self.accounts, account).is_none() {
            return Err(format!("account {account} is not open").into());
        }
        if !self.worker_names.insert((account, name.clone())) {
            return Err(format!("the worker {name:?} is opened twice").into());
        }
        self.workers.push(Worker { account, name, ..Worker::default() });
        Ok(())
    }

    fn batch(&mut self, event: &RawEvent, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let shares = shares::decode(&event.kind, data)?;
        self.check_batch(body, shares.len())?;
        for share in &shares {
            self.shares = self.shares.saturating_add(1);
            if let Err(problem) = self.share(share) {
                self.share_problem(event, &problem);
            }
        }
        Ok(())
    }

    /// A batch whose shares have no headers any more.
    fn entries(&mut self, event: &RawEvent, body: &Body, data: &[u8]) -> Result<(), Fault> {
        self.bare = true;
        let entries = entries::decode(data)?;
        self.check_batch(body, entries.len())?;
        for entry in &entries {
            self.shares = self.shares.saturating_add(1);
            self.without_header = self.without_header.saturating_add(1);
            if let Err(problem) = self.add_up(entry) {
                self.share_problem(event, &problem);
            }
        }
        Ok(())
    }

    /// What the body of a batch of so many shares says.
    fn check_batch(&self, body: &Body, shares: usize) -> Result<(), String> {
        expect("first", body.number("first")?, self.shares.saturating_add(1))?;
        expect("shares", body.number("shares")?, length(shares))?;
        expect("slice", body.number("slice")?, length(self.slices.len()).saturating_add(1))
    }

    /// Says what is wrong with the newest share.
    fn share_problem(&mut self, event: &RawEvent, problem: &str) {
        let (RawEvent { seq, kind, .. }, share) = (event, self.shares);
        self.problem(format!("event {seq} ({kind}): share {share} {problem}"));
    }

    /// One share: what it proves, and whose it is.
    fn share(&mut self, share: &AuditedShare) -> Result<(), String> {
        let account = self.add_up(&share.entry())?;
        let hash = pow::double_sha256(&share.header);
        self.note_proof(account, self.shares, share, &hash);
        self.check_proof(share, &hash)?;
        self.seen.note(&share.header, &hash).map_err(str::to_owned)
    }

    /// Adds a share up, whatever it proves; says to whom.
    fn add_up(&mut self, entry: &AuditedEntry) -> Result<u32, String> {
        let AuditedEntry { worker: id, work, network_work, at: _ } = *entry;
        let score = score(work, network_work).ok_or("is worth more than 2^64 blocks")?;
        self.work = self.work.checked_add(work).ok_or("sums past 2^128 - 1")?;
        let worker =
            nth_mut(&mut self.workers, id).ok_or_else(|| format!("is of no worker {id}"))?;
        worker.shares = worker.shares.saturating_add(1);
        worker.work = worker.work.saturating_add(work);
        let account = worker.account;
        let row = self.open.entry(account).or_default();
        let (shares, sum, scores) = *row;
        let sums = (sum.saturating_add(work), scores.saturating_add(score));
        *row = (shares.saturating_add(1), sums.0, sums.1);
        Ok(account)
    }

    /// That a share of this hash proves its work, and is of a block of its network work.
    pub(super) fn check_proof(
        &mut self,
        share: &AuditedShare,
        hash: &[u8; 32],
    ) -> Result<(), String> {
        let AuditedShare { work, network_work, header, .. } = share;
        let proven = pow::proves(hash, *work) || !stands(Defence::AuditProof);
        if *work == 0 || !proven {
            return Err(format!("does not prove {work} hashes"));
        }
        if self.work_of_bits(pow::bits_of(header)) != Some(*network_work) {
            return Err(format!("is not of a block of {network_work} hashes"));
        }
        Ok(())
    }

    /// The work that compact bits ask for; those met last are remembered.
    pub(super) fn work_of_bits(&mut self, bits: u32) -> Option<u128> {
        if self.bits.0 != bits {
            self.bits = (bits, pow::target_of_bits(bits).map(pow::work_of_target));
        }
        self.bits.1
    }

    fn extranonces_leased(&mut self, body: &Body) -> Result<(), Fault> {
        let (first, count) = (body.number::<u32>("first")?, body.number::<u32>("count")?);
        expect("first", u64::from(first), self.next_extranonce)?;
        self.next_extranonce = self.next_extranonce.saturating_add(count.into());
        if count == 0 || self.next_extranonce > u64::from(u32::MAX) {
            return Err(format!("{count} is no number of extranonces left").into());
        }
        Ok(())
    }

    fn key_pinned(&mut self, body: &Body) -> Result<(), Fault> {
        let worker = body.number::<u32>("worker")?;
        let key = body.bytes("key")?;
        if nth(&self.workers, worker).is_none() {
            return Err(format!("worker {worker} is not open").into());
        }
        if self.pins.insert(worker, key).is_some() {
            return Err(format!("worker {worker} has a key already").into());
        }
        Ok(())
    }

    pub(super) fn report(mut self) -> VerifyReport {
        if self.unlisted > 0 {
            let more = self.unlisted;
            self.problems.push(format!("and {more} more problems"));
        }
        let sats = |of: fn(&Account) -> u64| {
            let sum = self.accounts.iter().fold(0_u64, |sum, one| sum.saturating_add(of(one)));
            Sats::from_sat(sum).unwrap_or(Sats::MAX)
        };
        let sum = |of: fn(&Worker) -> u128| {
            self.workers.iter().fold(0_u128, |sum, one| sum.saturating_add(of(one)))
        };
        VerifyReport {
            ok: self.problems.is_empty(),
            shares: self.shares,
            without_header: self.without_header,
            work: Work::new(self.work),
            slices: length(self.slices.len()),
            accounts: length(self.accounts.len()),
            blocks: length(self.blocks.len()),
            immature: sats(|account| account.immature),
            balance: sats(|account| account.balance),
            reserve: Sats::from_sat(self.reserve.left).unwrap_or(Sats::MAX),
            sending: sats(|account| account.sending),
            paid: sats(|account| account.paid),
            payouts: length(self.outbox.payouts.len()),
            energy: MicroJoules::new(sum(|worker| worker.energy)),
            covered_work: Work::new(sum(|worker| worker.covered)),
            problems: self.problems,
        }
    }
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self::Problem(problem)
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Store(error)
    }
}

/// Account, shares, work and score, in rising order of account.
pub(super) fn rows(open: &BTreeMap<u32, (u64, u128, u128)>) -> Vec<(u32, u64, u128, u128)> {
    open.iter().map(|(account, row)| (*account, row.0, row.1, row.2)).collect()
}

/// The thing with this number, which counts from 1.
pub(super) fn nth<T>(things: &[T], number: u32) -> Option<&T> {
    things.get(usize::try_from(number.checked_sub(1)?).ok()?)
}

pub(super) fn nth_mut<T>(things: &mut [T], number: u32) -> Option<&mut T> {
    things.get_mut(usize::try_from(number.checked_sub(1)?).ok()?)
}

/// The number that the next of `count` things gets.
fn ordinal(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1)
}

pub(super) fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// That a field says what it must say.
pub(super) fn expect<T: PartialEq + core::fmt::Display>(
    what: &str,
    said: T,
    must: T,
) -> Result<(), String> {
    if said == must { Ok(()) } else { Err(format!("its {what} is {said}, should be {must}")) }
}
