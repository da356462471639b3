//! Pay per share: what the operator puts into the reserve, and the slices that are paid for out
//! of it.
//!
//! Read [`Ledger::begin`], which a pool calls once before anything else, and
//! [`Ledger::pay_slices`]. The reserve never falls below zero: a slice that it does not suffice for
//! is owed, and is paid when it does.

use units::{Sats, UnixMillis};

use super::Ledger;
use crate::error::{LedgerError, Refusal};
use crate::event::{Event, PayPerShare, ReserveDeclared, SlicePaid};
use crate::record::encode_credits;
use crate::reserve::{Rate, credits};
use crate::settle::sum_of;
use crate::types::SliceIndex;

/// What was paid for, and what is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payday {
    /// Credited to balances by this call.
    pub paid: Sats,
    /// Closed slices that the reserve does not suffice for.
    pub owed_slices: u64,
    /// Left in the reserve.
    pub reserve: Sats,
}

impl Ledger {
    /// Puts the scheme of the settings into force: a scheme that pays per share wants `reserve`,
    /// all that the operator has put aside for it so far (less what he took out again). Leaving
    /// such a scheme pays for what it still owes, at the value of a block at which it paid last.
    /// Changes nothing where nothing has changed.
    ///
    /// # Errors
    /// When there is no reserve, when more is taken out of it than is in it, when slices would be
    /// left unpaid, or the store fails.
    pub fn begin(&mut self, reserve: Option<Sats>, at: UnixMillis) -> Result<(), LedgerError> {
        let total = self.store.state()?.total;
        if !self.settings.scheme.pays_per_share() {
            return if total.paid_slice.is_some() { self.end(at) } else { Ok(()) };
        }
        let reserve = reserve.filter(|sats| *sats > Sats::ZERO).ok_or(Refusal::NoReserve)?;
        let left = total.reserve.checked_add(reserve);
        if left.and_then(|sum| sum.checked_sub(total.declared)).is_none() {
            let (declared, left) = (total.declared, total.reserve);
            return Err(Refusal::ReserveSpent { asked: reserve, declared, left }.into());
        }
        if total.paid_slice.is_none() {
            // Shares that came under another scheme are that scheme's.
            self.close_slice(at)?;
        }
        let slice = self.newest.index.get();
        self.store.transact("declaring the reserve", |record| {
            if reserve != total.declared {
                let declared = ReserveDeclared { sats: reserve.to_sat() };
                record.record(at, &Event::ReserveDeclared(declared), None)?;
            }
            if total.paid_slice.is_none() {
                record.record(at, &Event::PayPerShareBegan(PayPerShare { slice }), None)?;
            }
            Ok(())
        })
    }

    fn end(&mut self, at: UnixMillis) -> Result<(), LedgerError> {
        self.close_slice(at)?;
        let last = self.store.query("looking up what a block was worth", |ask| ask.last_value())?;
        let total = self.store.state()?.total;
        let owed = match last {
            Some(block_value) => self.pay_slices(block_value, at)?.owed_slices,
            None => self.newest.index.get().saturating_sub(total.paid_slice.unwrap_or(0)),
        };
        if owed > 0 {
            return Err(Refusal::SlicesOwed { slices: owed }.into());
        }
        let slice = self.newest.index.get();
        self.store.transact("ending pay per share", |record| {
            record.record(at, &Event::PayPerShareEnded(PayPerShare { slice }), None)
        })
    }

    /// Pays for every closed slice that is not paid for, in order, as far as the reserve suffices:
    /// at `block_value`, what a block is taken to be worth, less the fee. Where nothing is paid per
    /// share, nothing happens.
    ///
    /// # Errors
    /// When the store fails.
    pub fn pay_slices(&mut self, block_value: Sats, at: UnixMillis) -> Result<Payday, LedgerError> {
        let mut paid = Sats::ZERO;
        loop {
            let total = self.store.state()?.total;
            let newest = self.newest.index.get();
            let owed_slices = total.paid_slice.map_or(0, |done| newest.saturating_sub(done));
            let one = if owed_slices == 0 { None } else { self.pay_next(block_value, at)? };
            let Some(one) = one else {
                return Ok(Payday { paid, owed_slices, reserve: total.reserve });
            };
            paid = paid.checked_add(one).ok_or(LedgerError::Overflow("satoshis"))?;
        }
    }

    /// What was paid for the next slice; `None` where the reserve does not suffice.
    fn pay_next(&mut self, block_value: Sats, at: UnixMillis) -> Result<Option<Sats>, LedgerError> {
        let fee = self.settings.fee;
        self.store.transact("paying for a slice", |record| {
            let total = record.state().total;
            let slice = total.paid_slice.unwrap_or(0).saturating_add(1);
            let rate = Rate { block_value, fee };
            let pays = record.queries().pays(SliceIndex::new(slice), rate)?;
            let credits = credits(&pays);
            let sats = sum_of(&credits).ok_or(LedgerError::Overflow("satoshis"))?;
            if sats > total.reserve {
                return Ok(None);
            }
            let paid = SlicePaid {
                slice,
                block_value: block_value.to_sat(),
                fee_basis_points: fee.get(),
                sats: sats.to_sat(),
                credits: u64::try_from(credits.len())
                    .map_err(|_| LedgerError::Overflow("credits"))?,
            };
            record.record(at, &Event::SlicePaid(paid), Some(&encode_credits(&credits)))?;
            Ok(Some(sats))
        })
    }
}
