//! Subscriptions that outlive their connection: the miner comes back with the id that it was given
//! and goes on where it was, with its extranonce 1, its jobs and what it was credited for.
//!
//! Read [`Kept`]: it is made by the session that ends and used up by the one that goes on, and
//! cannot be copied, so that no two sessions ever share an extranonce 1. Who keeps it in between,
//! how many and for how long, is the pool's; so is the randomness of [`SubscriptionId`].
//!
//! Workers are not kept: each connection authorizes its own. Shares in flight when a session ended
//! are among those credited.

use std::fmt;

use serde::{Deserialize, Serialize};
use units::Moment;

use super::pending::{Asked, RequestToken};
use super::work::Board;
use super::{Event, Session};
use crate::vardiff::Vardiff;

/// The name of a subscription: whoever gives it goes on with it, so it must not be guessed. It
/// isn't shown in any log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubscriptionId([u8; 16]);

/// All that belongs to a subscription while no connection serves it.
#[derive(Debug)]
pub struct Kept {
    id: SubscriptionId,
    board: Board,
    vardiff: Vardiff,
    mask: u32,
    takes_xn1: bool,
}

/// What is left of a session that ended.
#[derive(Debug)]
pub struct Ended {
    /// What a later connection needs to go on; nothing where no work was given out that shares
    /// could still come for.
    pub kept: Option<Kept>,
    /// The extranonce 1, where nobody was ever credited a share under it and nobody will be: it may
    /// serve another connection. Said once.
    pub unused_xn1: Option<[u8; 4]>,
}

/// Whether this connection's subscription can be taken up by a later one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Resumption {
    /// The pool keeps none.
    Never,
    /// Under this id.
    Offered(SubscriptionId),
    /// The same, but the pool was asked for an earlier one, which would take its place.
    Asked(SubscriptionId),
}

impl SubscriptionId {
    /// From 16 bytes that nobody can guess.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// 32 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubscriptionId(secret)")
    }
}

impl Resumption {
    pub(super) const fn offered(&self) -> Option<SubscriptionId> {
        match self {
            Self::Never => None,
            Self::Offered(id) | Self::Asked(id) => Some(*id),
        }
    }

    /// The id as it is written.
    pub(super) fn name(&self) -> Option<String> {
        self.offered().map(|id| hex::encode(id.0))
    }
}

impl Kept {
    /// The name to ask for it by.
    #[must_use]
    pub const fn id(&self) -> SubscriptionId {
        self.id
    }

    /// Its extranonce 1, which nobody else may have.
    #[must_use]
    pub const fn xn1(&self) -> [u8; 4] {
        self.board.xn1()
    }

    /// The same, where nobody was credited a share under it: it may serve another connection once
    /// this is dropped.
    #[must_use]
    pub fn unused_xn1(&self) -> Option<[u8; 4]> {
        self.board.unused_xn1()
    }

    /// Headers remembered as credited: most of the memory that it takes.
    #[must_use]
    pub fn headers(&self) -> usize {
        self.board.remembered()
    }
}

impl Session {
    /// Lets a later connection go on with this one's subscription, under `id`, which must be known
    /// to nobody but this miner. To be called before anything is received.
    #[must_use]
    pub fn resumable(mut self, id: SubscriptionId) -> Self {
        self.resumption = Resumption::Offered(id);
        self
    }

    /// Answers [`Event::Resume`]: the subscription goes on with what was kept, or begins afresh; a
    /// token that was answered before is ignored. Gives the extranonce 1 that this connection was
    /// made with, where it needs that no more: it may serve another.
    pub fn resume(
        &mut self,
        token: RequestToken,
        kept: Option<Kept>,
        now: Moment,
    ) -> Option<[u8; 4]> {
        let (request, Asked::Subscribe) = self.waiting.take(token)? else { return None };
        let unused = match kept {
            Some(kept) => self.take_up(kept, now),
            None => {
                self.resumption = self.resumption.offered().into();
                None
            }
        };
        self.subscribed = true;
        self.write_subscription(&request);
        unused
    }

    fn take_up(&mut self, kept: Kept, now: Moment) -> Option<[u8; 4]> {
        let Kept { id, board, vardiff, mask, takes_xn1 } = kept;
        self.resumption = Resumption::Offered(id);
        // What this connection has said already is newer than what the last one said.
        if !self.board.knows_mask() {
            self.mask = mask;
        }
        if !self.wished {
            self.vardiff = vardiff;
            self.vardiff.restart(now.mono);
        }
        self.takes_xn1 |= takes_xn1;
        let fresh = std::mem::replace(&mut self.board, board);
        let unused = fresh.unused_xn1();
        self.last_root.clear();
        self.board.reopen(fresh, &self.settings.limits);
        unused
    }

    /// Ends this connection's life as [`Self::close`] does, and gives what a later one needs to go
    /// on, or else the extranonce 1 if another may have it. Shares in flight may still be
    /// acknowledged.
    pub fn end(&mut self) -> Ended {
        self.close();
        let unused_xn1 = self.board.unused_xn1();
        let resumable = self.subscribed && self.board.is_used();
        let Some(id) = self.resumption.offered().filter(|_| resumable) else {
            self.board.used = true;
            return Ended { kept: None, unused_xn1 };
        };
        // What is left here has nothing to give a second time.
        let mut rest = Board::new(self.board.xn1());
        rest.used = true;
        let board = std::mem::replace(&mut self.board, rest);
        let (vardiff, mask, takes_xn1) = (self.vardiff.clone(), self.mask, self.takes_xn1);
        let kept = Some(Kept { id, board, vardiff, mask, takes_xn1 });
        Ended { kept, unused_xn1: None }
    }

    /// Asks the pool for a new extranonce 1 where the memory of this one is running out.
    pub(super) fn look_for_room(&mut self) {
        let full = || self.board.is_nearly_full(self.settings.limits.max_seen);
        if self.takes_xn1 && !self.wants_xn1 && full() {
            self.wants_xn1 = true;
            self.events.push_back(Event::Extranonce);
        }
    }
}

impl From<Option<SubscriptionId>> for Resumption {
    fn from(offered: Option<SubscriptionId>) -> Self {
        offered.map_or(Self::Never, Self::Offered)
    }
}
