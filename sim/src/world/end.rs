//! What must hold at the end of a run, and what is told of it.

use ledger::{Reader, verify};

use super::World;
use crate::{books::Heard, pool::REWARD, scenario::Scenario};

/// What a run did. Two runs of one seed give the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Its kind of trouble.
    pub scenario: Scenario,
    /// A hash of every byte that crossed a link and of every header that reached the ledger, in
    /// hexadecimal.
    pub digest: String,
    /// Shares in the ledger.
    pub shares: u64,
    /// What miners were told.
    pub heard: Heard,
    /// What happened.
    pub counts: Counts,
}

/// How often things happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Blocks that the pool handed in.
    pub blocks: u64,
    /// Those of them that are on the chain at the end.
    pub on_chain: u64,
    /// Reorganisations.
    pub reorgs: u32,
    /// Those of them that brought back a branch that had lost.
    pub returns: u32,
    /// Links that broke.
    pub cuts: u32,
    /// Links that stalled.
    pub stalls: u32,
    /// Jumps of the wall clock.
    pub jumps: u32,
    /// Times that the node was silent.
    pub outages: u32,
    /// Times that the disk was full.
    pub full: u32,
    /// Times that the pool was killed.
    pub kills: u32,
    /// Times that the pool was replaced.
    pub replaced: u32,
    /// Extranonces given out a second time.
    pub recycled: u64,
}

impl World {
    /// The ledger holds what was credited; money is exactly the rewards of the pool's blocks on the
    /// chain; and the ledger's own verification, which recomputes all of it, agrees.
    pub(super) fn end(mut self) -> Result<Outcome, String> {
        let text = |error: ledger::LedgerError| error.to_string();
        self.disk = crate::disk::Disk::default();
        self.silent_until = core::time::Duration::ZERO;
        self.with_pool(|pool, around| pool.drain(around))?;
        self.hand_in_blocks()?;
        let mut pool = self.pool.take().ok_or("the pool is gone")?;
        pool.sight(&self.chain, self.now).map_err(text)?;
        let (path, recycled) = (pool.path().to_owned(), pool.recycled());
        drop(pool);

        self.books.compare(&path)?;
        let report = verify::ledger(&path).map_err(text)?;
        if !report.ok {
            return Err(format!("verification: {:?}", report.problems));
        }
        let reader = Reader::open(&path).map_err(text)?;
        let totals = reader.totals().map_err(text)?;
        let blocks = reader.blocks(u32::MAX).map_err(text)?;
        let on_chain = blocks.iter().filter(|block| self.chain.depth(&block.hash).is_some());
        let on_chain = u64::try_from(on_chain.count()).unwrap_or(u64::MAX);
        let owed = totals.immature.to_sat() + totals.balance.to_sat();
        let rewards = on_chain.saturating_mul(REWARD);
        if owed != rewards {
            return Err(format!("{owed} sat are owed for {rewards} sat of rewards"));
        }
        let counts = Counts {
            on_chain,
            reorgs: self.chain.reorgs,
            returns: self.chain.returns,
            recycled: self.counts.recycled + recycled,
            ..self.counts
        };
        let digest = hex::encode(self.trace.fold());
        let (seed, scenario, heard) = (self.seed, self.scenario, self.books.heard);
        Ok(Outcome { seed, scenario, digest, shares: totals.shares, heard, counts })
    }
}
