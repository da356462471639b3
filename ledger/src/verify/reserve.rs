//! Pay per share: what the reserve had, and what each slice's shares were worth, in 2^-64 of a
//! satoshi, by 256-bit long division.

use std::collections::BTreeMap;

use units::U256;

use super::audit::{Audit, Fault, expect, length, nth_mut};
use super::blocks::{decode_credits, expect_credits};
use super::body::Body;

/// 2^64.
const SATOSHI: u128 = 0x1_0000_0000_0000_0000;

/// What must be so after the events so far.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    pub(super) declared: u64,
    pub(super) left: u64,
    /// The newest slice that is dealt with, while pay per share is in force.
    pub(super) done: Option<u64>,
    /// By account, below a satoshi.
    pub(super) carried: BTreeMap<u32, u128>,
    /// Slice, value of a block, satoshis.
    pub(super) paid: Vec<(u64, u64, u64)>,
}

impl Audit<'_> {
    pub(super) fn pay_per_share_began(&mut self, body: &Body) -> Result<(), Fault> {
        expect("slice", body.number("slice")?, length(self.slices.len()))?;
        if self.reserve.done.replace(length(self.slices.len())).is_some() {
            return Err("it is in force already".to_owned().into());
        }
        Ok(())
    }

    pub(super) fn pay_per_share_ended(&mut self, body: &Body) -> Result<(), Fault> {
        let slices = length(self.slices.len());
        expect("slice", body.number("slice")?, slices)?;
        let done = self.reserve.done.take().ok_or_else(|| "it was not in force".to_owned())?;
        expect("last slice that is paid for", done, slices).map_err(Fault::from)
    }

    pub(super) fn reserve_declared(&mut self, body: &Body) -> Result<(), Fault> {
        let sats: u64 = body.decimal("sats")?;
        let reserve = &mut self.reserve;
        let left = reserve.left.checked_add(sats).and_then(|sum| sum.checked_sub(reserve.declared));
        reserve.left = left.ok_or_else(|| "more is taken out than is in it".to_owned())?;
        reserve.declared = sats;
        Ok(())
    }

    pub(super) fn slice_paid(&mut self, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let done = self.reserve.done.ok_or_else(|| "nothing is paid per share".to_owned())?;
        let slice = done.saturating_add(1);
        expect("slice", body.number("slice")?, slice)?;
        let (value, fee): (u64, u16) =
            (body.decimal("block_value")?, body.number("fee_basis_points")?);
        let must = self.pay(slice, value, fee)?;
        let sum = must.iter().fold(0_u64, |sum, credit| sum.saturating_add(credit.2));
        self.reserve.done = Some(slice);
        self.reserve.paid.push((slice, value, sum));
        for (account, _, sats) in &must {
            let account = nth_mut(&mut self.accounts, *account)
                .ok_or_else(|| format!("no account {account} is open"))?;
            account.balance = account.balance.saturating_add(*sats);
        }
        let left = self.reserve.left.checked_sub(sum);
        self.reserve.left = left.unwrap_or(0);
        if left.is_none() {
            return Err(format!("it takes {sum} satoshis out of a reserve that has fewer").into());
        }
        expect("sats", body.decimal("sats")?, sum)?;
        expect("number of credits", body.number("credits")?, length(must.len()))?;
        expect_credits(&decode_credits(data)?, &must).map_err(Fault::from)
    }

    /// The credits of a slice, and what is carried from it.
    fn pay(&mut self, slice: u64, value: u64, fee: u16) -> Result<Vec<(u32, u8, u64)>, Fault> {
        let place = usize::try_from(slice.saturating_sub(1)).unwrap_or(usize::MAX);
        let slice = self.slices.get(place).ok_or_else(|| "it is not closed".to_owned())?;
        let cut = u128::from(value).saturating_mul(fee.into()).wrapping_div(10_000);
        let each = u128::from(value).checked_sub(cut);
        let each = each.ok_or_else(|| "its fee is more than all".to_owned())?;
        let mut credits = Vec::new();
        for (account, _, _, score) in &slice.rows {
            let carried = self.reserve.carried.entry(*account).or_insert(0);
            let worth = worth(*score, each, *carried)
                .ok_or_else(|| format!("account {account} would get more than there is"))?;
            *carried = worth.1;
            if worth.0 > 0 {
                credits.push((*account, 3, worth.0));
            }
        }
        Ok(credits)
    }
}

/// score x each + carried, as satoshis and what is below one.
fn worth(score: u128, each: u128, carried: u128) -> Option<(u64, u128)> {
    let whole = U256::product(score, each);
    let (sats, below) = whole.checked_add(U256::from(carried))?.div_rem(U256::from(SATOSHI))?;
    Some((sats.to_u128().and_then(|sats| u64::try_from(sats).ok())?, below.to_u128()?))
}
