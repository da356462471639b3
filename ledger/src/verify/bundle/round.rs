//! Where the round of a block under PROP begins: behind the slice that an earlier block of the pool
//! committed to, whose header and coinbase are in the bundle.
//!
//! It deliberately does not decide whether that block is on the chain, nor whether it is the pool's
//! last one below this: the chain says, where everybody sees the pool's blocks and what they commit to.

use super::Fault;
use super::lines::Lines;
use super::terms::{Opened, Terms};
use super::walk::Walk;
use crate::types::BlockId;
use crate::verify::commitment;

/// The block before.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) hash: BlockId,
    pub(super) height: u64,
    commitment: Option<[u8; 32]>,
}

/// Whose work counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// That of the bundle's slices, as the scheme says.
    Counts,
    /// Nobody's: the block before took the committed slice and all in front of it.
    Empty,
}

impl Before {
    /// The block before, where it is next.
    pub(super) fn read(lines: &mut Lines<'_>, terms: &Terms) -> Result<Option<Self>, Fault> {
        let Some(line) = lines.before()? else { return Ok(None) };
        if terms.scheme != "prop" {
            let scheme = &terms.scheme;
            return Err(format!("a block before is nothing to {scheme}").into());
        }
        let opened = Opened::of(&line.header, &line.coinbase, &line.branch);
        let Opened { hash, coinbase, .. } = opened.map_err(|fault| match fault {
            Fault::Wrong(why) => Fault::Wrong(format!("of the block before: {why}")),
            io @ Fault::Io(_) => io,
        })?;
        if hash == terms.hash {
            return Err("the block before is the block itself".into());
        }
        let (height, must) = (coinbase.height, terms.mined_height);
        let (Some(height), Some(must)) = (height, must) else {
            return Err("of the block before: which came first is not said".into());
        };
        if height >= must {
            let why =
                format!("of the block before: its height is {height}, should be below {must}");
            return Err(why.into());
        }
        Ok(Some(Self { hash, height, commitment: coinbase.commitment }))
    }
}

/// That the slices of the bundle are the round of its block, all of it and no more.
pub(super) fn check(
    terms: &Terms,
    before: Option<&Before>,
    walk: &Walk<'_>,
) -> Result<Round, Fault> {
    let first = walk.first().filter(|_| terms.scheme == "prop");
    let (Some((oldest, previous)), Some(newest)) = (first, walk.newest()) else {
        return before.map_or(Ok(Round::Counts), |_| Err("a block before is nothing here".into()));
    };
    let Some(before) = before else {
        let whole = oldest == 1;
        let why = || format!("no block before says that the round begins with slice {oldest}");
        return whole.then_some(Round::Counts).ok_or_else(|| why().into());
    };
    if before.commitment == Some(commitment::of(newest.index, &newest.root)) {
        let alone = oldest == newest.index;
        let why = "the round is empty: the bundle reaches back further";
        return alone.then_some(Round::Empty).ok_or_else(|| why.into());
    }
    let ended = oldest.saturating_sub(1);
    commitment::check(before.commitment, ended, &previous, true)
        .map_err(|why| format!("of the block before: {why}"))?;
    Ok(Round::Counts)
}
