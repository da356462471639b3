//! The connections of one shard, each in a numbered slot that the system's events name.

use super::{mail::PeerKey, peer::Peer};

/// Connections by slot.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    free: Vec<u32>,
    held: usize,
    /// Lives so far.
    lives: u32,
}

impl Peers {
    /// The name of the connection that is seated next.
    pub(super) fn next_key(&mut self) -> PeerKey {
        let slot = self.free.last().copied();
        let slot = slot.unwrap_or_else(|| u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.lives = self.lives.wrapping_add(1);
        PeerKey { slot, life: self.lives }
    }

    /// Takes a connection that was named by [`Self::next_key`] just now.
    pub(super) fn seat(&mut self, peer: Box<Peer>) {
        let slot = self.free.pop();
        self.held += 1;
        match slot.and_then(|slot| self.slots.get_mut(usize::try_from(slot).ok()?)) {
            Some(place) => *place = Some(peer),
            None => self.slots.push(Some(peer)),
        }
    }

    /// The connection in a slot.
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Peer> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_deref_mut()
    }

    /// The connection of this name, unless it has gone.
    pub(super) fn find(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.get(key.slot).filter(|peer| peer.key == key)
    }

    /// Lets go of the connection in a slot.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Peer>> {
        let peer = self.slots.get_mut(usize::try_from(slot).ok()?)?.take()?;
        self.free.push(slot);
        self.held -= 1;
        Some(peer)
    }

    /// Takes a connection back into the slot that it was removed from just now.
    pub(super) fn seat_again(&mut self, peer: Box<Peer>) {
        self.free.retain(|slot| *slot != peer.key.slot);
        self.held += 1;
        let place = usize::try_from(peer.key.slot).ok().and_then(|slot| self.slots.get_mut(slot));
        if let Some(place) = place {
            *place = Some(peer);
        }
    }

    /// Calls `act` for each.
    pub(super) fn each(&mut self, act: impl FnMut(&mut Peer)) {
        self.slots.iter_mut().flatten().map(Box::as_mut).for_each(act);
    }

    /// Looks at what new work for the connections in these slots will touch, as
    /// [`Peer::glance`] does: all at once, since nothing that is looked at waits for the one before.
    pub(super) fn glance(&self, slots: std::ops::Range<usize>) {
        let group = self.slots.get(slots).unwrap_or_default();
        group.iter().flatten().for_each(|peer| peer.glance());
        group.iter().flatten().for_each(|peer| peer.glance_behind());
    }

    /// Connections held.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Slots there are, free ones included.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}
