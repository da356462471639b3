//! The blocks of the log: what they are, what became of them, and whose their money is.

use super::audit::{Audit, Fault, expect, length, nth, nth_mut};
use super::body::Body;
use super::chain;
use super::commitment;
use super::money::{self, Credit, Terms};
use super::pow;
use super::shares::{decode as decode_shares, is_batch};
use crate::error::LedgerError;

/// A found block.
#[derive(Debug)]
pub(super) struct Block {
    /// The event that found it.
    pub(super) event: u64,
    /// "candidate", "submitted", "immature", "mature", "orphaned" or "abandoned".
    pub(super) state: &'static str,
    pub(super) credits: Option<Vec<Credit>>,
    network_work: u128,
    window_hundredths: u32,
    slice: u64,
    terms: Terms,
}

impl Audit<'_> {
    pub(super) fn candidate_found(
        &mut self,
        seq: u64,
        body: &Body,
        data: &[u8],
    ) -> Result<(), Fault> {
        let hash = body.block_hash("hash")?;
        let finder = body.number::<u32>("finder")?;
        let finder =
            nth(&self.workers, finder).ok_or_else(|| format!("no worker {finder} is open"))?;
        let block = Block {
            event: seq,
            state: "candidate",
            credits: None,
            network_work: body.decimal("network_work")?,
            window_hundredths: body.number("window_hundredths")?,
            slice: body.number("slice")?,
            terms: Terms {
                reward: body.decimal("reward")?,
                fee_basis_points: body.number("fee_basis_points")?,
                fee_account: body.number("fee_account")?,
                finder: finder.account,
            },
        };
        let problem = self.wrong_with(&hash, &block, data);
        if self.blocks.insert(hash, block).is_some() {
            return Err("it is found twice".to_owned().into());
        }
        problem.map_err(Fault::from)
    }

    /// The block itself against what is said of it.
    fn wrong_with(&mut self, hash: &[u8; 32], block: &Block, data: &[u8]) -> Result<(), String> {
        let inspected = chain::inspect(data)?;
        expect("hash", hex::encode(hash), hex::encode(inspected.hash))?;
        expect("reward", block.terms.reward, inspected.coinbase_value)?;
        let bits = pow::bits_of(&inspected.header);
        let asked =
            self.work_of_bits(bits).ok_or_else(|| format!("its bits {bits:08x} ask nothing"))?;
        expect("network work", block.network_work, asked)?;
        let target = pow::target_of_bits(bits).ok_or("its bits ask nothing")?;
        if units::U256::from_le_bytes(*hash) > target {
            return Err("its hash does not meet its target".to_owned());
        }
        if block.slice > length(self.slices.len()) {
            return Err(format!("slice {} was not closed when it was found", block.slice));
        }
        let committed = block.slice.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let committed = committed.and_then(|at| self.slices.get(at));
        let root = committed.map_or([0; 32], |slice| slice.root);
        let required = committed.is_some_and(|slice| slice.form > 1);
        commitment::check(inspected.commitment, block.slice, &root, required)?;
        if nth(&self.accounts, block.terms.fee_account).is_none() {
            return Err(format!("no account {} is open", block.terms.fee_account));
        }
        Ok(())
    }

    pub(super) fn block_submitted(&mut self, body: &Body) -> Result<(), Fault> {
        let block = self.block(body)?;
        if block.state == "candidate" {
            block.state = "submitted";
        }
        Ok(())
    }

    pub(super) fn block_settled(&mut self, body: &Body, data: &[u8]) -> Result<(), Fault> {
        let hash = body.block_hash("hash")?;
        let block = self.blocks.get(&hash).ok_or_else(|| "it was never found".to_owned())?;
        let weights = self.weights(block)?;
        let must = money::credits(block.terms, &weights);
        let window = weights.values().fold(0_u128, |sum, weight| sum.saturating_add(*weight));
        let said = decode(data)?;
        let block = self.block(body)?;
        if block.credits.is_some() {
            return Err("it is settled twice".to_owned().into());
        }
        block.credits = Some(must.clone());
        step(block, &["candidate", "submitted", "orphaned", "abandoned"], "immature")?;
        self.credit(&must)?;
        expect("window", body.decimal("window_work")?, window)?;
        expect("number of credits", body.number("credits")?, length(must.len()))?;
        expect_credits(&said, &must).map_err(Fault::from)
    }

    pub(super) fn block_restored(&mut self, body: &Body) -> Result<(), Fault> {
        let block = self.block(body)?;
        let credits = block.credits.clone().ok_or_else(|| "it was never settled".to_owned())?;
        step(block, &["orphaned", "abandoned"], "immature")?;
        self.credit(&credits)
    }

    pub(super) fn block_matured(&mut self, body: &Body) -> Result<(), Fault> {
        let block = self.block(body)?;
        let credits = block.credits.clone().ok_or_else(|| "it was never settled".to_owned())?;
        step(block, &["immature"], "mature")?;
        for (account, _, sats) in credits {
            let account = nth_mut(&mut self.accounts, account)
                .ok_or_else(|| format!("no account {account} is open"))?;
            account.immature = account.immature.saturating_sub(sats);
            account.balance = account.balance.saturating_add(sats);
        }
        Ok(())
    }

    pub(super) fn block_orphaned(&mut self, body: &Body) -> Result<(), Fault> {
        let block = self.block(body)?;
        let credited = block.state == "immature";
        let credits = block.credits.clone().filter(|_| credited).unwrap_or_default();
        step(block, &["candidate", "submitted", "immature"], "orphaned")?;
        for (account, kind, sats) in credits {
            let account = nth_mut(&mut self.accounts, account)
                .ok_or_else(|| format!("no account {account} is open"))?;
            account.immature = account.immature.saturating_sub(sats);
            account.fees = account.fees.saturating_sub(if kind == 1 { sats } else { 0 });
        }
        Ok(())
    }

    pub(super) fn block_abandoned(&mut self, body: &Body) -> Result<(), Fault> {
        step(self.block(body)?, &["orphaned"], "abandoned").map_err(Fault::from)
    }

    fn block(&mut self, body: &Body) -> Result<&mut Block, String> {
        let hash = body.block_hash("hash")?;
        self.blocks.get_mut(&hash).ok_or_else(|| "it was never found".to_owned())
    }

    fn credit(&mut self, credits: &[Credit]) -> Result<(), Fault> {
        for (account, kind, sats) in credits {
            let account = nth_mut(&mut self.accounts, *account)
                .ok_or_else(|| format!("no account {account} is open"))?;
            account.immature = account.immature.saturating_add(*sats);
            account.fees = account.fees.saturating_add(if *kind == 1 { *sats } else { 0 });
        }
        Ok(())
    }

    fn weights(&self, block: &Block) -> Result<std::collections::BTreeMap<u32, u128>, Fault> {
        if block.window_hundredths == 0 {
            return Ok(std::collections::BTreeMap::new());
        }
        let count = usize::try_from(block.slice).unwrap_or(usize::MAX).min(self.slices.len());
        let newest_first = self.slices[..count]
            .iter()
            .enumerate()
            .rev()
            .map(|(place, slice)| (place, slice.work, slice.rows.as_slice()));
        let length = money::window_length(block.window_hundredths, block.network_work);
        money::weights(length, newest_first, |place| self.shares_of(place))
    }

    /// The shares of the slice at `place`, account and work, read again from the log.
    fn shares_of(&self, place: usize) -> Result<Vec<(u32, u128)>, Fault> {
        let after = place.checked_sub(1).and_then(|place| self.slices.get(place));
        let mut at = after.map_or(0, |slice| slice.closed_by);
        let before = self.slices.get(place).map_or(0, |slice| slice.closed_by);
        let mut shares = Vec::new();
        loop {
            let events = self.raw.events(at, before)?;
            let Some(last) = events.last() else { return Ok(shares) };
            at = last.seq;
            for event in events.iter().filter(|event| is_batch(&event.kind)) {
                let data = event.data.as_deref().unwrap_or_default();
                for share in decode_shares(&event.kind, data)? {
                    let id = share.worker;
                    let worker = nth(&self.workers, id).ok_or_else(|| format!("no worker {id}"))?;
                    shares.push((worker.account, share.work));
                }
            }
        }
    }

    /// The credits of a block as the tables have them.
    pub(super) fn stored_credits(&self, block: u64) -> Result<Vec<Credit>, LedgerError> {
        self.raw.credits(block)
    }
}

/// That two lists of credits are the same, the second sorted; says where they are not.
pub(super) fn expect_credits(said: &[Credit], must: &[Credit]) -> Result<(), String> {
    let mut said = said.to_vec();
    said.sort_unstable();
    if said == must {
        return Ok(());
    }
    let wrong = said.iter().find(|credit| must.binary_search(credit).is_err());
    let missing = must.iter().find(|credit| said.binary_search(credit).is_err());
    let show = |credit: Option<&Credit>| {
        credit.map_or_else(
            || "nothing".to_owned(),
            |(account, kind, sats)| format!("{sats} sat (kind {kind}) to account {account}"),
        )
    };
    Err(format!("it credits {} where it should credit {}", show(wrong), show(missing)))
}

fn step(block: &mut Block, from: &[&str], to: &'static str) -> Result<(), String> {
    let before = core::mem::replace(&mut block.state, to);
    if from.contains(&before) { Ok(()) } else { Err(format!("it was {before} before")) }
}

/// Credits of 13 bytes: account 4, kind 1, satoshis 8.
fn decode(data: &[u8]) -> Result<Vec<Credit>, String> {
    let (records, rest) = data.as_chunks::<13>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole credits", data.len()));
    }
    let read = |record: &[u8; 13]| {
        let [a, b, c, d, kind, sats @ ..] = *record;
        (u32::from_be_bytes([a, b, c, d]), kind, u64::from_be_bytes(sats))
    };
    Ok(records.iter().map(read).collect())
}
