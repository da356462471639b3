//! Holds the tables against what the log gave.

use std::collections::BTreeMap;

use units::Sats;

use super::audit::{Audit, expect, length};
use super::blocks::expect_credits;
use crate::error::LedgerError;
use crate::store::{RawOutbox, RawPayout, RawSlice, RawTotal, RawWorker, Snapshot};

/// Every so many slices the sums so far are written down.
const SUM_EVERY: usize = 64;

impl Audit<'_> {
    /// Compares all tables; what differs becomes a problem.
    pub(super) fn compare(&mut self, snapshot: &Snapshot) -> Result<(), LedgerError> {
        let mut found = Vec::new();
        self.compare_accounts(snapshot, &mut found);
        self.compare_workers(snapshot, &mut found);
        self.compare_slices(snapshot, &mut found)?;
        self.compare_blocks(snapshot, &mut found)?;
        self.compare_meters(snapshot, &mut found);
        self.compare_covered(snapshot, &mut found);
        if snapshot.pins != self.pins {
            found.push("the table of pinned keys differs from the log".to_owned());
        }
        if snapshot.rounds != self.rounds() {
            found.push("what blocks were paid for is not stored as the log has it".to_owned());
        }
        if snapshot.carries != self.reserve.carried {
            found.push("what is carried to next slices differs from the log".to_owned());
        }
        if snapshot.slices_paid != self.reserve.paid {
            found.push("the table of slices paid for differs from the log".to_owned());
        }
        self.compare_payouts(&snapshot.outbox, &mut found);
        self.compare_pruned(&snapshot.pruned, snapshot.last_event, &mut found);
        self.compare_total(&snapshot.total, &mut found);
        found.into_iter().for_each(|problem| self.problem(problem));
        Ok(())
    }

    fn compare_accounts(&self, snapshot: &Snapshot, found: &mut Vec<String>) {
        let count = expect("number", snapshot.accounts.len(), self.accounts.len());
        note(found, "the table of accounts", count);
        for (stored, account) in snapshot.accounts.iter().zip(&self.accounts) {
            let name = format!("account {:?}", account.name);
            note(found, &name, expect("name", &stored.name, &account.name));
            let immature = expect("immature", stored.immature.to_sat(), account.immature);
            note(found, &name, immature);
            note(found, &name, expect("balance", stored.balance.to_sat(), account.balance));
            note(found, &name, expect("sending", stored.sending.to_sat(), account.sending));
            note(found, &name, expect("paid", stored.paid.to_sat(), account.paid));
        }
    }

    fn compare_workers(&self, snapshot: &Snapshot, found: &mut Vec<String>) {
        let count = expect("number", snapshot.workers.len(), self.workers.len());
        note(found, "the table of workers", count);
        // A worker that was opened after the mark had no shares then.
        let tallies = self.marked.workers.iter().copied().chain(core::iter::repeat((0, 0)));
        for ((stored, worker), (shares, work)) in
            snapshot.workers.iter().zip(&self.workers).zip(tallies)
        {
            let must = RawWorker {
                account: worker.account,
                name: worker.name.clone(),
                shares,
                work,
                energy: worker.energy,
                covered: worker.covered,
            };
            if *stored != must {
                found.push(format!("a worker is stored as {stored:?}, should be {must:?}"));
            }
        }
    }

    fn compare_slices(
        &self,
        snapshot: &Snapshot,
        found: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let count = expect("number", snapshot.slices.len(), self.slices.len());
        note(found, "the table of slices", count);
        let closed_by = self.slices.last().map_or(0, |slice| slice.closed_by);
        if self.tallied < closed_by || self.tallied > snapshot.last_event {
            let tallied = self.tallied;
            found.push(format!("the sums of shares are as of event {tallied}, which cannot be"));
        }
        if snapshot.open != self.marked.open {
            found.push("the open slice is not stored as the log has it".to_owned());
        }
        let (mut line_end, mut score_end) = (0_u128, 0_u128);
        let mut sums: BTreeMap<u32, (u128, u128)> = BTreeMap::new();
        for (place, (stored, slice)) in snapshot.slices.iter().zip(&self.slices).enumerate() {
            let number = place.saturating_add(1);
            line_end = line_end.saturating_add(slice.work);
            let score = slice.rows.iter().fold(0_u128, |sum, row| sum.saturating_add(row.3));
            score_end = score_end.saturating_add(score);
            let must = RawSlice {
                close_event: slice.closed_by,
                closed_at: slice.closed_at,
                accounts: length(slice.rows.len()),
                shares: slice.shares,
                work: slice.work,
                line_end,
                score_end,
                root: slice.root,
            };
            if *stored != must || self.raw.slice_rows(length(number))? != slice.rows {
                found.push(format!("slice {number} is not stored as the log has it"));
            }
            for (account, _, work, score) in &slice.rows {
                let sum = sums.entry(*account).or_default();
                *sum = (sum.0.saturating_add(*work), sum.1.saturating_add(*score));
            }
            let written = number.is_multiple_of(SUM_EVERY).then(|| encode(&sums));
            if self.raw.slice_sums(length(number))? != written {
                found.push(format!("the sums at slice {number} differ from the log"));
            }
        }
        Ok(())
    }

    fn compare_blocks(
        &self,
        snapshot: &Snapshot,
        found: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let count = expect("number", snapshot.blocks.len(), self.blocks.len());
        note(found, "the table of blocks", count);
        for stored in &snapshot.blocks {
            let name = format!("the block of event {}", stored.event);
            let Some(block) = self.blocks.get(&stored.hash) else {
                found.push(format!("{name} is not in the log"));
                continue;
            };
            note(found, &name, expect("event", stored.event, block.event));
            note(found, &name, expect("state", stored.state.as_str(), block.state));
            let must = block.credits.as_deref().unwrap_or_default();
            let credits = self.stored_credits(stored.event)?;
            // A block may have been settled after the snapshot: its credits are then ahead.
            if block.credits.is_some() {
                note(found, &name, expect_credits(&credits, must));
            }
        }
        Ok(())
    }

    fn compare_meters(&self, snapshot: &Snapshot, found: &mut Vec<String>) {
        let must: BTreeMap<_, _> = self
            .meters
            .iter()
            .map(|(key, meter)| (key.clone(), (meter.credited, meter.energy)))
            .collect();
        if snapshot.meters != must {
            found.push("the table of meters differs from the log".to_owned());
        }
        if snapshot.hours != must {
            found.push("the hours of energy do not sum to their meters".to_owned());
        }
    }

    fn compare_covered(&self, snapshot: &Snapshot, found: &mut Vec<String>) {
        for (id, worker) in (1..).zip(&self.workers) {
            let hours = snapshot.covered_hours.get(&id).copied().unwrap_or(0);
            let name = format!("the hours of worker {id}");
            note(found, &name, expect("covered work", hours, worker.covered));
        }
    }

    fn compare_payouts(&self, stored: &RawOutbox, found: &mut Vec<String>) {
        let outbox = &self.outbox;
        let payouts = outbox.payouts.iter().map(|(id, payout)| {
            let newest = payout.versions.last().map_or([0; 32], |version| version.txid);
            let (state, released) = (payout.state.to_owned(), payout.released);
            (*id, RawPayout { state, released, newest, confirmed: payout.confirmed })
        });
        let payments = outbox.payouts.iter().flat_map(|(id, payout)| {
            payout.payments.iter().map(|(account, sats)| ((*id, *account), *sats))
        });
        let versions = outbox.payouts.iter().flat_map(|(id, payout)| {
            payout.versions.iter().map(|version| (version.txid, (*id, version.fee)))
        });
        let sending = self.accounts.iter().fold(0, |sum: u64, one| sum.saturating_add(one.sending));
        let must = RawOutbox {
            payouts: payouts.collect(),
            payments: payments.collect(),
            versions: versions.collect(),
            coins: outbox.coins.clone(),
            thresholds: outbox.thresholds.clone(),
            paused: outbox.paused,
            sending,
            network_fees: outbox.network_fees,
        };
        for (name, same) in [
            ("payouts", stored.payouts == must.payouts),
            ("payments", stored.payments == must.payments),
            ("payouts' versions", stored.versions == must.versions),
            ("payouts' coins", stored.coins == must.coins),
            ("thresholds", stored.thresholds == must.thresholds),
            ("the outbox", *stored == must),
        ] {
            if !same {
                found.push(format!("the table of {name} differs from the log"));
            }
        }
    }

    fn compare_total(&self, stored: &RawTotal, found: &mut Vec<String>) {
        let fold = |of: fn(&super::audit::Account) -> u64| {
            let sum = self.accounts.iter().fold(0_u64, |sum, one| sum.saturating_add(of(one)));
            Sats::from_sat(sum).unwrap_or(Sats::MAX)
        };
        let sum = |of: fn(&super::audit::Worker) -> u128| {
            self.workers.iter().fold(0_u128, |sum, one| sum.saturating_add(of(one)))
        };
        let must = RawTotal {
            shares: self.marked.shares,
            work: self.marked.work,
            energy: sum(|worker| worker.energy),
            covered: sum(|worker| worker.covered),
            immature: fold(|account| account.immature),
            balance: fold(|account| account.balance),
            paid: fold(|account| account.paid),
            fees: fold(|account| account.fees),
            next_extranonce: self.next_extranonce,
            tallied: self.tallied,
            declared: self.reserve.declared,
            reserve: self.reserve.left,
            paid_slice: self.reserve.done,
        };
        if *stored != must {
            found.push(format!("the totals are stored as {stored:?}, should be {must:?}"));
        }
    }
}

fn note(found: &mut Vec<String>, what: &str, result: Result<(), String>) {
    if let Err(problem) = result {
        found.push(format!("{what}: {problem}"));
    }
}

/// The form in which sums are written down: account 4, work 16, score 16.
fn encode(sums: &BTreeMap<u32, (u128, u128)>) -> Vec<u8> {
    let one = |(account, (work, score)): (&u32, &(u128, u128))| {
        let parts: [&[u8]; 3] = [&account.to_be_bytes(), &work.to_be_bytes(), &score.to_be_bytes()];
        parts.concat()
    };
    sums.iter().flat_map(one).collect()
}
