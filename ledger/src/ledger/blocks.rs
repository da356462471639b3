//! Found blocks: recorded before they are submitted, credited when they are on the chain, for
//! good when they are deep, and reversed when they are not there.

use defences::{Defence, stands};
use units::{UnixMillis, Work};

use super::{Ledger, MAX_TEXT, account_of, check_worker};
use crate::block::{self, Action, BlockChange, BlockState, Sighting};
use crate::error::{LedgerError, Refusal};
use crate::event::{BlockSeen, BlockSettled, BlockSubmitted, CandidateFound, DirectPay, Event};
use crate::record::encode_credits;
use crate::scheme::Rule;
use crate::settle::{Terms, pay_directly, settle, to_reserve};
use crate::store::{BlockRow, Recorder};
use crate::types::{AccountId, BlockId, Candidate, Direct};
use crate::view::UnresolvedBlock;

impl Ledger {
    /// Records a found block with the terms in force: scheme, fee and fee account stay with it
    /// whatever the settings are later. Once it returns, the block survives any crash. The same
    /// block again is no error and changes nothing.
    ///
    /// # Errors
    /// When the finder or the slice is unknown, when the hash is recorded with another height,
    /// reward, work, finder or slice, or when the store fails.
    pub fn candidate(&mut self, candidate: &Candidate) -> Result<(), LedgerError> {
        check_worker(self.store.state()?, candidate.finder)?;
        if candidate.committed_slice > self.newest.index {
            let (asked, newest) = (candidate.committed_slice, self.newest.index);
            return Err(Refusal::UnknownSlice { asked, newest }.into());
        }
        if let Some(known) = self.find(&candidate.hash)? {
            return if is_same(&known, candidate) {
                Ok(())
            } else {
                Err(Refusal::CandidateDiffers(candidate.hash).into())
            };
        }
        let settings = &self.settings;
        self.store.transact("recording a block", |record| {
            let fee_account = account_of(record, &settings.fee_account, candidate.at)?;
            let found = Event::CandidateFound(CandidateFound {
                hash: candidate.hash,
                height: candidate.height,
                reward: candidate.reward.to_sat(),
                network_work: candidate.network_work.get(),
                finder: candidate.finder.get(),
                slice: candidate.committed_slice.get(),
                window_hundredths: settings.scheme.window_hundredths(),
                fee_basis_points: settings.fee.get(),
                fee_account: fee_account.get(),
                scheme: Some(settings.scheme.as_str().to_owned()),
                window_ms: settings.scheme.window_millis(),
                direct: direct_of(record, candidate)?,
            });
            record.record(candidate.at, &found, Some(&candidate.block))
        })
    }

    /// Records what a node answered to the submitted block (its first [`MAX_TEXT`] bytes). A
    /// hint: only the chain decides what is credited, so in any state but `Candidate` the state
    /// stays.
    ///
    /// # Errors
    /// When the block is unknown or the store fails.
    pub fn submitted(
        &mut self,
        hash: BlockId,
        answer: &str,
        at: UnixMillis,
    ) -> Result<BlockChange, LedgerError> {
        let before = self.known(&hash)?.state;
        let end = answer.floor_char_boundary(MAX_TEXT);
        let answer = answer.get(..end).unwrap_or_default().to_owned();
        self.store.transact("recording a node's answer", |record| {
            record.record(at, &Event::BlockSubmitted(BlockSubmitted { hash, answer }), None)
        })?;
        let after = if before == BlockState::Candidate { BlockState::Submitted } else { before };
        Ok(BlockChange { before, after })
    }

    /// The block is on the chain with `depth` blocks from itself to the tip, both counted. The
    /// first time, its reward is settled into immature credits; at the maturity of the settings
    /// they become balances. Nothing is written when nothing changes, so it may be called for
    /// each block at each new tip.
    ///
    /// # Errors
    /// When the block is unknown, `depth` is 0, or the store fails.
    pub fn on_chain(
        &mut self,
        hash: BlockId,
        depth: u32,
        at: UnixMillis,
    ) -> Result<BlockChange, LedgerError> {
        if depth == 0 {
            return Err(Refusal::DepthZero(hash).into());
        }
        let mature = depth >= self.settings.maturity.max(1);
        self.sighted(hash, Sighting::OnChain { mature }, at)
    }

    /// The block is not on the chain: its credits, if it had any, are reversed, and no other
    /// block's are touched. Should it come back, `on_chain` credits the same amounts again.
    ///
    /// # Errors
    /// When the block is unknown or mature, or the store fails.
    pub fn orphaned(&mut self, hash: BlockId, at: UnixMillis) -> Result<BlockChange, LedgerError> {
        self.sighted(hash, Sighting::OffChain, at)
    }

    /// The chain is so deep over an orphan's height that it is not looked for any more: it
    /// leaves [`Ledger::unresolved`].
    ///
    /// # Errors
    /// When the block is unknown or not an orphan, or the store fails.
    pub fn give_up(&mut self, hash: BlockId, at: UnixMillis) -> Result<BlockChange, LedgerError> {
        self.sighted(hash, Sighting::Buried, at)
    }

    /// Blocks that are to be looked for on the chain, oldest first: all that are neither mature
    /// nor given up.
    ///
    /// # Errors
    /// When the store fails.
    pub fn unresolved(&self) -> Result<Vec<UnresolvedBlock>, LedgerError> {
        if !stands(Defence::OpenBlocks) {
            return Ok(Vec::new());
        }
        self.store.query("listing unresolved blocks", |ask| ask.unresolved())
    }

    /// The serialized block of a candidate, to submit it again; `None` when it is unknown.
    ///
    /// # Errors
    /// When the store fails.
    pub fn block_bytes(&self, hash: &BlockId) -> Result<Option<Vec<u8>>, LedgerError> {
        self.store.query("reading a block", |ask| ask.block_bytes(hash))
    }

    fn find(&self, hash: &BlockId) -> Result<Option<BlockRow>, LedgerError> {
        self.store.query("looking up a block", |ask| ask.block(hash))
    }

    fn known(&self, hash: &BlockId) -> Result<BlockRow, LedgerError> {
        self.find(hash)?.ok_or_else(|| Refusal::UnknownBlock(*hash).into())
    }

    fn sighted(
        &mut self,
        hash: BlockId,
        sighting: Sighting,
        at: UnixMillis,
    ) -> Result<BlockChange, LedgerError> {
        let block = self.known(&hash)?;
        let actions = block::decide(hash, block.state, block.settled, sighting)?;
        let after = actions.last().map_or(block.state, |action| BlockState::after(*action));
        if !actions.is_empty() {
            self.store.transact("recording a block's fate", |record| {
                actions.iter().try_for_each(|action| act(record, hash, &block, *action, at))
            })?;
        }
        Ok(BlockChange { before: block.state, after })
    }
}

/// What a coinbase pays to accounts themselves, which must be known: they are in the window.
fn direct_of(record: &Recorder<'_>, candidate: &Candidate) -> Result<Vec<DirectPay>, LedgerError> {
    let unknown =
        |name: &str| LedgerError::damaged(format!("the coinbase pays {name:?}: who is it?"));
    let one = |pay: &Direct| {
        let account = record.queries().account(&pay.account)?;
        Ok(DirectPay {
            account: account.ok_or_else(|| unknown(&pay.account))?.get(),
            script: hex::encode(&pay.script),
            sats: pay.sats.to_sat(),
        })
    };
    let mut direct = candidate.direct.iter().map(one).collect::<Result<Vec<_>, LedgerError>>()?;
    direct.sort_by_key(|pay| pay.account);
    Ok(direct)
}

fn act(
    record: &mut Recorder<'_>,
    hash: BlockId,
    block: &BlockRow,
    action: Action,
    at: UnixMillis,
) -> Result<(), LedgerError> {
    let seen = BlockSeen { hash };
    let event = match action {
        Action::Abandon => Event::BlockAbandoned(seen),
        Action::Mature => Event::BlockMatured(seen),
        Action::Orphan => Event::BlockOrphaned(seen),
        Action::Restore => Event::BlockRestored(seen),
        Action::Settle => return record_settlement(record, hash, block, at),
    };
    record.record(at, &event, None)
}

fn record_settlement(
    record: &mut Recorder<'_>,
    hash: BlockId,
    block: &BlockRow,
    at: UnixMillis,
) -> Result<(), LedgerError> {
    let terms = terms_of(record, block)?;
    let credits = match block.rule {
        Rule::Reserve => to_reserve(terms.reward, terms.fee_account),
        Rule::Finder
        | Rule::Round
        | Rule::Scores { .. }
        | Rule::Time { .. }
        | Rule::Work { .. } => {
            pay_directly(settle(&terms)?, &record.queries().direct(block.event)?)?
        }
    };
    let settled = BlockSettled {
        hash,
        window_work: terms
            .weights
            .values()
            .try_fold(0_u128, |sum, weight| sum.checked_add(*weight))
            .ok_or(LedgerError::Overflow("proven work"))?,
        credits: u64::try_from(credits.len()).map_err(|_| LedgerError::Overflow("credits"))?,
    };
    record.record(at, &Event::BlockSettled(settled), Some(&encode_credits(&credits)))
}

fn terms_of(record: &Recorder<'_>, block: &BlockRow) -> Result<Terms, LedgerError> {
    let state = record.state();
    let finder: AccountId =
        state.worker(block.finder).ok_or(Refusal::UnknownWorker(block.finder))?.account;
    Ok(Terms {
        reward: block.reward,
        fee: block.fee,
        fee_account: block.fee_account,
        finder,
        weights: record.queries().weights(state, block)?,
    })
}

fn is_same(known: &BlockRow, candidate: &Candidate) -> bool {
    let known: (u32, _, Work, _, _) =
        (known.height, known.reward, known.network_work, known.finder, known.slice);
    known
        == (
            candidate.height,
            candidate.reward,
            candidate.network_work,
            candidate.finder,
            candidate.committed_slice,
        )
}
