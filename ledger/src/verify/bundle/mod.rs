//! Checks exported bundles offline: all that a settlement follows from in one file, so that a miner
//! need not trust the pool, nor have its ledger. Written from `docs/bundle.md` and `docs/slices.md`.
//!
//! Read [`block`] and [`account`] first, then `walk.rs` (slices), `window.rs` (whose work counts, by
//! the scheme's name), `round.rs` (where a round begins) and `divide.rs` (satoshis).
//!
//! It shares no function with settlement or export; with the audit of a ledger it shares what reads
//! headers, coinbases (and whom they pay) and roots. It stops at the first thing that is wrong, and
//! says its line.
//!
//! What it deliberately does not do: it cannot know whether a block is on the chain (a node does),
//! and where a bundle has no block, whether its newest root is the one that the pool shows to others.
//!
//! Memory: 16 bytes a share to find duplicates, and the shares of two slices. A line has at most
//! [`MAX_LINE`] bytes, a bundle [`MAX_SHARES`] shares.

mod account;
mod divide;
mod lines;
mod round;
mod sample;
mod terms;
mod walk;
mod window;

use std::io::{self, BufRead};

pub use self::account::{AccountProof, account};
use self::lines::Lines;
pub use self::lines::{MAX_LINE, MAX_SHARES};
use self::round::{Before, Round};
pub use self::sample::Sample;
use self::terms::Terms;
use self::walk::Walk;
use self::window::{Weights, Window};
use crate::estimate::WorkEstimate;
use crate::types::BlockId;

/// Why a bundle is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Something in it is not as it must be.
    #[error("line {line}: {why}")]
    Refused {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A settlement that follows from its bundle to the satoshi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// The block, in internal order.
    pub hash: BlockId,
    /// The height that the pool says.
    pub height: u32,
    /// What its coinbase pays, in satoshis.
    pub reward: u64,
    /// The slice that its coinbase commits to, 0 for none.
    pub slice: u64,
    /// The root of that slice, zeros for none.
    pub root: [u8; 32],
    /// Slices in the bundle.
    pub slices: u64,
    /// Shares in them.
    pub shares: u64,
    /// Shares whose headers were hashed again.
    pub hashed: u64,
    /// The name of the scheme.
    pub scheme: String,
    /// Under "prop", hash and height of the block whose slice ends the round before, unless this is
    /// the first round.
    pub before: Option<(BlockId, u64)>,
    /// The divisor: what the weights of all accounts in the window sum to.
    pub window: u128,
    /// Account, purpose ("fee", "finder" or "share") and satoshis, in rising order of account.
    pub credits: Vec<(String, &'static str, u64)>,
    /// What the headers of these slices show of each account's work, in rising order of account;
    /// empty where only some were hashed.
    pub work: Vec<(String, WorkEstimate)>,
}

/// Checks the bundle of a block, of this one where `hash` is given. `sample` says which headers
/// are hashed again; all else is always checked.
///
/// # Errors
/// At the first thing that is wrong.
pub fn block(
    reader: &mut dyn BufRead,
    hash: Option<&BlockId>,
    sample: Sample,
) -> Result<BlockProof, BundleError> {
    let mut lines = Lines::new(reader);
    let proof = read_block(&mut lines, hash, sample);
    proof.map_err(|fault| fault.at(&lines))
}

/// Why a line was not taken further.
#[derive(Debug)]
enum Fault {
    Wrong(String),
    Io(io::Error),
}

impl Fault {
    fn at(self, lines: &Lines<'_>) -> BundleError {
        match self {
            Self::Wrong(why) => BundleError::Refused { line: lines.number(), why },
            Self::Io(error) => BundleError::Io(error),
        }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Self {
        Self::Wrong(why.to_owned())
    }
}

fn read_block(
    lines: &mut Lines<'_>,
    hash: Option<&BlockId>,
    sample: Sample,
) -> Result<BlockProof, Fault> {
    let shares = lines.begin("block")?;
    let terms = Terms::read(lines, hash)?;
    let before = Before::read(lines, &terms)?;
    let accounts = lines.accounts()?;
    terms.check_names(&accounts)?;
    let mut window = Window::of(&terms)?;
    let mut walk = Walk::new(&accounts, sample.of(shares));
    while let Some(slice) = lines.slice()? {
        walk.slice(lines, slice, &mut window)?;
    }
    terms.check_commitment(walk.newest())?;
    walk.all_met()?;
    let (shares, hashed, slices) = walk.counts();
    let weights = match round::check(&terms, before.as_ref(), &walk)? {
        Round::Counts => window.weights(walk.oldest())?,
        Round::Empty => Weights::default(),
    };
    let must = divide::credits(&terms, &weights)?;
    let mut credits = Vec::with_capacity(must.len());
    for credit in must {
        let said = lines.credit()?.ok_or_else(|| format!("{} is missing", credit.shown()))?;
        if said != credit {
            return Err(format!("{} should be {}", said.shown(), credit.shown()).into());
        }
        let name = accounts.get(&credit.account);
        let name = name.ok_or_else(|| format!("account {} has no name", credit.account))?;
        credits.push((name.clone(), credit.purpose, credit.satoshis));
    }
    if let Some(credit) = lines.credit()? {
        return Err(format!("{} is one too many", credit.shown()).into());
    }
    lines.end()?;
    let newest = walk.newest();
    Ok(BlockProof {
        hash: terms.hash,
        height: terms.height,
        reward: terms.reward,
        slice: terms.slice,
        root: newest.map_or([0; 32], |newest| newest.root),
        slices,
        shares,
        hashed,
        scheme: terms.scheme,
        before: before.map(|before| (before.hash, before.height)),
        window: weights.total,
        credits,
        work: walk.work(),
    })
}
