//! The life of a block that the pool found, as a pure state machine: what was seen on the chain
//! goes in, what the ledger must do comes out. Read [`decide`] first.
//!
//! The chain is the truth: an orphan that is back on the chain is credited again, with the same
//! amounts. Only maturity is final.

use defences::{Defence, stands};

use crate::error::Refusal;
use crate::types::BlockId;

/// Where a found block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockState {
    /// Recorded; no node has answered yet.
    Candidate,
    /// A node has answered; the answer is a hint.
    Submitted,
    /// Seen on the chain: its credits are immature.
    OnChain,
    /// Deep enough: its credits are balances. Final.
    Mature,
    /// Seen not to be on the chain: its credits, if it had any, are reversed.
    Orphaned,
    /// An orphan buried so deep that it is not looked for any more.
    Abandoned,
}

/// What a report about a block changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockChange {
    /// State before the report.
    pub before: BlockState,
    /// State after it.
    pub after: BlockState,
}

/// What was seen of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sighting {
    Buried,
    OffChain,
    OnChain { mature: bool },
}

/// What the ledger does about it, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Abandon,
    Mature,
    Orphan,
    Restore,
    Settle,
}

impl BlockState {
    /// Every state, in the order of a block's life.
    pub const ALL: [Self; 6] = [
        Self::Candidate,
        Self::Submitted,
        Self::OnChain,
        Self::Mature,
        Self::Orphaned,
        Self::Abandoned,
    ];

    /// The name that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Submitted => "submitted",
            Self::OnChain => "immature",
            Self::Mature => "mature",
            Self::Orphaned => "orphaned",
            Self::Abandoned => "abandoned",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    pub(crate) const fn after(action: Action) -> Self {
        match action {
            Action::Abandon => Self::Abandoned,
            Action::Mature => Self::Mature,
            Action::Orphan => Self::Orphaned,
            Action::Restore | Action::Settle => Self::OnChain,
        }
    }
}

impl BlockChange {
    /// Whether the state is another one.
    #[must_use]
    pub fn changed(self) -> bool {
        self.before != self.after
    }
}

/// What to do about `sighting` of a block in `state`; `settled` says whether its credits were
/// ever worked out (a block can be orphaned before it was ever seen on the chain).
pub(crate) fn decide(
    id: BlockId,
    state: BlockState,
    settled: bool,
    sighting: Sighting,
) -> Result<&'static [Action], Refusal> {
    use BlockState::{Abandoned, Candidate, Mature, OnChain, Orphaned, Submitted};

    Ok(match (sighting, state) {
        (Sighting::OnChain { mature }, Candidate | Submitted | Orphaned | Abandoned) => {
            match (settled && stands(Defence::SettledOnce), mature) {
                (false, false) => &[Action::Settle],
                (false, true) => &[Action::Settle, Action::Mature],
                (true, false) => &[Action::Restore],
                (true, true) => &[Action::Restore, Action::Mature],
            }
        }
        (Sighting::OnChain { mature: true }, OnChain) => &[Action::Mature],
        (Sighting::OnChain { .. }, OnChain | Mature) => &[],
        (Sighting::OffChain, Candidate | Submitted | OnChain) => &[Action::Orphan],
        (Sighting::OffChain, Orphaned | Abandoned) | (Sighting::Buried, Abandoned) => &[],
        (Sighting::OffChain, Mature) if !stands(Defence::MatureForGood) => &[Action::Orphan],
        (Sighting::OffChain, Mature) => return Err(Refusal::AlreadyMature(id)),
        (Sighting::Buried, Orphaned) => &[Action::Abandon],
        (Sighting::Buried, Candidate | Submitted | OnChain | Mature) => {
            return Err(Refusal::NotOrphaned(id));
        }
    })
}

/// A block hash as people and explorers write it: reversed, in hex.
pub(crate) fn display_hex(id: &BlockId) -> String {
    let mut bytes = *id;
    bytes.reverse();
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BlockId = [7; 32];

    #[test]
    fn a_first_sighting_settles_and_a_later_one_restores() {
        let seen = Sighting::OnChain { mature: false };
        for state in [BlockState::Candidate, BlockState::Submitted] {
            assert_eq!(decide(ID, state, false, seen).unwrap(), [Action::Settle]);
        }
        let orphan = BlockState::Orphaned;
        assert_eq!(decide(ID, orphan, false, seen).unwrap(), [Action::Settle]);
        assert_eq!(decide(ID, orphan, true, seen).unwrap(), [Action::Restore]);
        let deep = Sighting::OnChain { mature: true };
        assert_eq!(decide(ID, orphan, true, deep).unwrap(), [Action::Restore, Action::Mature]);
    }

    #[test]
    fn maturity_is_final() {
        let state = BlockState::Mature;
        assert_eq!(decide(ID, state, true, Sighting::OffChain), Err(Refusal::AlreadyMature(ID)));
        for mature in [false, true] {
            assert_eq!(decide(ID, state, true, Sighting::OnChain { mature }), Ok(&[][..]));
        }
    }

    #[test]
    fn only_an_orphan_is_given_up() {
        assert_eq!(
            decide(ID, BlockState::Orphaned, true, Sighting::Buried).unwrap(),
            [Action::Abandon]
        );
        assert_eq!(
            decide(ID, BlockState::OnChain, true, Sighting::Buried),
            Err(Refusal::NotOrphaned(ID))
        );
    }

    #[test]
    fn names_are_unique_and_read_back() {
        for state in BlockState::ALL {
            assert_eq!(BlockState::parse(state.as_str()), Some(state));
        }
        assert_eq!(BlockState::parse("lost"), None);
    }
}
