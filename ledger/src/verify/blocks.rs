//! The blocks of the log: what they are, what became of them, and whose their money is.

use super::audit::{Audit, Fault, expect, length, nth, nth_mut};
use super::body::Body;
use super::chain;
use super::commitment;
use super::direct::{self, Payment};
use super::money::{self, Credit, Terms};
use super::pow;
use super::windows::{Rule, Took};
use crate::error::LedgerError;

/// A found block.
#[derive(Debug)]
pub(super) struct Block {
    /// The event that found it.
    pub(super) event: u64,
    /// "candidate", "submitted", "immature", "mature", "orphaned" or "abandoned".
    pub(super) state: &'static str,
    pub(super) credits: Option<Vec<Credit>>,
    pub(super) rule: Rule,
    pub(super) slice: u64,
    /// What it was paid for, once it is settled.
    pub(super) took: Option<Took>,
    /// What its coinbase pays to accounts itself.
    direct: Vec<Payment>,
    network_work: u128,
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
            rule: Rule::of(body)?,
            took: None,
            direct: direct_of(body)?,
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
        self.paid_directly(&inspected.outputs, &block.direct)
            .map_err(|problem| format!("its {problem}"))?;
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

    /// What the coinbase pays to accounts itself, against its outputs and the accounts' addresses.
    fn paid_directly(&self, outputs: &[(u64, Vec<u8>)], direct: &[Payment]) -> Result<(), String> {
        direct::check_outputs(outputs, direct)?;
        for payment in direct {
            let id = payment.account;
            let account = nth(&self.accounts, id);
            let account = account.ok_or_else(|| format!("coinbase pays account {id}: not open"))?;
            payment.check_name(&account.name)?;
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
        let (weights, took) = self.window(block)?;
        let must = if block.rule == Rule::Reserve {
            money::to_reserve(block.terms)
        } else {
            let direct = block.direct.iter().map(|payment| (payment.account, payment.sats));
            money::paid_directly(money::credits(block.terms, &weights), direct)?
        };
        let window = weights.values().fold(0_u128, |sum, weight| sum.saturating_add(*weight));
        let said = decode_credits(data)?;
        let block = self.block(body)?;
        if block.credits.is_some() {
            return Err("it is settled twice".to_owned().into());
        }
        block.credits = Some(must.clone());
        block.took = Some(took);
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
        for (account, kind, sats) in credits {
            let account = nth_mut(&mut self.accounts, account)
                .ok_or_else(|| format!("no account {account} is open"))?;
            account.immature = account.immature.saturating_sub(sats);
            let to = match kind {
                4 => &mut self.reserve.left,
                5 => &mut account.paid,
                _ => &mut account.balance,
            };
            *to = to.saturating_add(sats);
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

    /// The credits of a block as the tables have them.
    pub(super) fn stored_credits(&self, block: u64) -> Result<Vec<Credit>, LedgerError> {
        self.raw.credits(block)
    }
}

fn direct_of(body: &Body) -> Result<Vec<Payment>, String> {
    let one = |pay: Body| {
        let script = hex::decode(pay.text("script")?).map_err(|error| error.to_string())?;
        Ok(Payment { account: pay.number("account")?, script, sats: pay.decimal("sats")? })
    };
    body.list("direct")?.into_iter().map(one).collect()
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
pub(super) fn decode_credits(data: &[u8]) -> Result<Vec<Credit>, String> {
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
