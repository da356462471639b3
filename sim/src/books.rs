//! What a bystander writes down who sees everything and forgets nothing, and what must hold of it
//! at every step.
//!
//! Read [`Books::credit`] (what may reach the ledger), [`Books::hear`] (what a miner may be told),
//! [`Books::begins_with`] (which extranonce 1 a connection may get) and [`Books::compare`] (what
//! the ledger must hold after a crash and at the end).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use ledger::Reader;
use stratum::v1::{client::PoolError, server::AcceptedShare};
use units::{Target, Work};

use crate::miner::{Found, UNRECORDED};

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Every share that a miner found, with the target that its job was announced with.
    found: HashMap<[u8; 80], Target>,
    credited: HashSet<[u8; 80]>,
    /// What each account was credited.
    accounts: BTreeMap<String, (u64, Work)>,
    /// Extranonces that work was credited under.
    used: HashSet<[u8; 4]>,
    /// Which block each job builds on, as a number that rises with each change.
    epochs: HashMap<u64, u64>,
    epoch: u64,
    /// What miners were told.
    pub(crate) heard: Heard,
}

/// Answers that miners got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Shares taken.
    pub taken: u64,
    /// Shares refused since their block had a successor.
    pub stale: u64,
    /// Shares refused since they had been credited, sent twice or again.
    pub duplicate: u64,
    /// Shares refused since too many wait.
    pub busy: u64,
    /// Shares refused since the disk was full.
    pub unrecorded: u64,
}

impl Books {
    /// A miner found a share.
    pub(crate) fn find(&mut self, found: &Found) {
        self.found.insert(found.header, found.target);
    }

    /// A job is made.
    pub(crate) fn job(&mut self, id: u64, epoch: u64) {
        self.epochs.insert(id, epoch);
        self.epoch = epoch;
    }

    /// The pool died: its successor counts jobs from the start.
    pub(crate) fn forget_jobs(&mut self) {
        self.epochs.clear();
        self.epoch = 0;
    }

    /// A share is in the ledger, credited with `work`.
    pub(crate) fn credit(
        &mut self,
        share: &AcceptedShare,
        account: &str,
        work: Work,
    ) -> Result<(), String> {
        let header = &share.judged.header;
        let Some(target) = self.found.get(header) else {
            return Err(format!("{account} is credited a share that no miner found"));
        };
        if work != target.work() {
            let told = target.work();
            return Err(format!(
                "{account} is credited {work:?} for a share announced at {told:?}"
            ));
        }
        if !self.credited.insert(*header) {
            return Err(format!("{account} is credited a header twice: {}", hex::encode(header)));
        }
        self.used.insert(share.xn1);
        let (shares, sum) = self.accounts.entry(account.to_owned()).or_insert((0, Work::ZERO));
        *shares += 1;
        *sum = sum.checked_add(work).ok_or("the work of an account overflows")?;
        Ok(())
    }

    /// A miner hears what became of a share.
    pub(crate) fn hear(
        &mut self,
        found: &Found,
        result: &Result<(), PoolError>,
        disk_failed: bool,
    ) -> Result<(), String> {
        let Err(error) = result else {
            self.heard.taken += 1;
            let kept = self.credited.contains(&found.header);
            return if kept {
                Ok(())
            } else {
                Err("a share is answered and not on disk".to_owned())
            };
        };
        let replaced = self.epochs.get(&found.job).is_none_or(|epoch| *epoch < self.epoch);
        let (counted, fair) = match error.message.as_str() {
            // No answer came, for the connection is no more.
            _ if error.code == -1 => return Ok(()),
            "stale job" => (&mut self.heard.stale, replaced),
            "duplicate share" => (&mut self.heard.duplicate, found.again),
            "too many unanswered requests" => (&mut self.heard.busy, true),
            UNRECORDED => (&mut self.heard.unrecorded, disk_failed),
            // Sent again by who came back, and its connection was not kept since its work was stale.
            "job not found" => (&mut self.heard.stale, replaced && found.again),
            _ => return Err(format!("an honest share is refused: {error}")),
        };
        *counted += 1;
        let header = hex::encode(found.header);
        if fair {
            Ok(())
        } else {
            Err(format!("a share is refused without cause: {error}: {header}"))
        }
    }

    /// A connection gets this extranonce 1, and no memory of what was credited under it.
    pub(crate) fn begins_with(&self, xn1: [u8; 4]) -> Result<(), String> {
        if self.used.contains(&xn1) {
            return Err(format!("extranonce 1 {} serves again", hex::encode(xn1)));
        }
        Ok(())
    }

    /// Shares credited.
    pub(crate) fn credited(&self) -> u64 {
        u64::try_from(self.credited.len()).unwrap_or(u64::MAX)
    }

    /// The ledger holds what was credited, to each account, and nothing else.
    pub(crate) fn compare(&self, path: &Path) -> Result<(), String> {
        let text = |error: ledger::LedgerError| error.to_string();
        let reader = Reader::open(path).map_err(text)?;
        let totals = reader.totals().map_err(text)?;
        if totals.shares != self.credited() {
            let credited = self.credited();
            return Err(format!(
                "{credited} shares were credited, the ledger has {}",
                totals.shares
            ));
        }
        for (name, credited) in &self.accounts {
            let account = reader.account(name).map_err(text)?;
            let kept = account.map(|account| (account.shares, account.work));
            if kept != Some(*credited) {
                return Err(format!("{name}: {credited:?} was credited, the ledger has {kept:?}"));
            }
        }
        Ok(())
    }
}
