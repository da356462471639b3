//! What the best headers that slices keep show of an account's work.

use rusqlite::params;
use sha2::{Digest, Sha256};

use super::Reader;
use super::values::Wide;
use crate::error::LedgerError;
use crate::estimate::{Lowest, WorkEstimate};
use crate::packed;
use crate::types::{Share, SliceIndex};

impl Reader {
    /// The best headers that the slices `first` to `last` keep of an account, each hash once, lowest
    /// first within a slice; empty where they keep none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn best_shares(
        &self,
        account: &str,
        first: SliceIndex,
        last: SliceIndex,
    ) -> Result<Vec<Share>, LedgerError> {
        self.ask("reading best headers", |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT slice_best.shares FROM slice_best
                 JOIN account ON account.id = slice_best.account
                 WHERE account.name = ?1 AND slice BETWEEN ?2 AND ?3 ORDER BY slice",
            )?;
            let mut rows = statement.query(params![account, first.get(), last.get()])?;
            let mut best = Vec::new();
            while let Some(row) = rows.next()? {
                let shares = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                best.extend(packed::shares(shares)?);
            }
            Ok(best)
        })
    }

    /// What those headers show of the account's work in these slices, beside what was credited;
    /// `None` where a slice with work of the account keeps none, or there is no such slice. The hardest target is taken from them: a share at a harder one
    /// that is not among the best makes the estimate too low.
    ///
    /// # Errors
    /// When the store fails.
    pub fn work_estimate(
        &self,
        account: &str,
        first: SliceIndex,
        last: SliceIndex,
    ) -> Result<Option<WorkEstimate>, LedgerError> {
        let Some((claimed, most)) = self.credited(account, first, last)? else { return Ok(None) };
        let mut lowest = Lowest::of(most);
        for share in self.best_shares(account, first, last)? {
            let hash = Sha256::digest(Sha256::digest(share.header)).into();
            lowest.add(&hash, share.work.get());
        }
        Ok(lowest.estimate().map(|estimate| WorkEstimate { claimed, ..estimate }))
    }

    /// The account's work in these slices, and how many of the kept headers are certainly the
    /// lowest of all: as few as the slice kept that had more shares than it kept. `None` where one
    /// of the slices kept none.
    fn credited(
        &self,
        account: &str,
        first: SliceIndex,
        last: SliceIndex,
    ) -> Result<Option<(u128, usize)>, LedgerError> {
        self.ask("reading an account's work", |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT slice_work.work, slice_work.shares, length(slice_best.numbers) / 8
                 FROM slice_work JOIN account ON account.id = slice_work.account
                 LEFT JOIN slice_best ON slice_best.slice = slice_work.slice
                       AND slice_best.account = slice_work.account
                 WHERE account.name = ?1 AND slice_work.slice BETWEEN ?2 AND ?3",
            )?;
            let mut rows = statement.query(params![account, first.get(), last.get()])?;
            let (mut sum, mut most) = (0_u128, usize::MAX);
            while let Some(row) = rows.next()? {
                let work = row.get::<_, Wide>(0)?.0;
                sum = sum.checked_add(work).ok_or(LedgerError::Overflow("proven work"))?;
                let (shares, kept): (u64, Option<u64>) = (row.get(1)?, row.get(2)?);
                let Some(kept) = kept.filter(|kept| *kept > 0) else { return Ok(None) };
                if kept < shares {
                    most = most.min(usize::try_from(kept).unwrap_or(usize::MAX));
                }
            }
            Ok(Some((sum, most)))
        })
    }
}
