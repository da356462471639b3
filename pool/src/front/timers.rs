//! When to look at which connection: one entry for each, in a heap.
//!
//! It deliberately cancels nothing. A connection whose time comes sooner than was thought gets a
//! second entry, and one whose time moved on is looked at a little early.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::mail::PeerKey;

/// Times are rounded up to this, so that connections are looked at together.
const GRAIN: Duration = Duration::from_millis(20);

/// What is due when, on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Due, PeerKey)>>,
}

/// A point in time as the heap keeps it: grains since the clock's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(u32);

impl Due {
    /// Later than everything.
    pub(super) const NEVER: Self = Self(u32::MAX);

    /// The first grain at or after `time`.
    fn at(time: Duration) -> Self {
        let grains = time.as_nanos().div_ceil(GRAIN.as_nanos());
        Self(u32::try_from(grains).unwrap_or(u32::MAX))
    }

    const fn time(self) -> Duration {
        GRAIN.saturating_mul(self.0)
    }
}

impl Timers {
    /// Has `peer` looked at when `wanted` has come, if that is before `scheduled`, when it would
    /// be looked at anyway; returns when it will be.
    pub(super) fn schedule(&mut self, peer: PeerKey, wanted: Duration, scheduled: Due) -> Due {
        let due = Due::at(wanted);
        if due >= scheduled {
            return scheduled;
        }
        self.heap.push(Reverse((due, peer)));
        due
    }

    /// The next entry that is due at `now`.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Due, PeerKey)> {
        let Reverse((due, _)) = self.heap.peek()?;
        if due.time() > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When the first entry is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((due, _))| due.time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> PeerKey {
        PeerKey { slot, life: 0 }
    }

    #[test]
    fn entries_come_in_order_and_never_early() {
        let mut timers = Timers::default();
        let ms = Duration::from_millis;
        let due = timers.schedule(key(1), ms(95), Due::NEVER);
        assert_eq!(timers.schedule(key(1), ms(200), due), due, "it is looked at before that");
        let sooner = timers.schedule(key(1), ms(30), due);
        assert!(sooner < due);
        timers.schedule(key(2), ms(50), Due::NEVER);
        assert_eq!(timers.next(), Some(ms(40)));
        assert_eq!(timers.pop(ms(39)), None);
        assert_eq!(timers.pop(ms(40)), Some((sooner, key(1))));
        assert_eq!(timers.pop(ms(1000)).map(|(_, peer)| peer), Some(key(2)));
        assert_eq!(timers.pop(ms(1000)), Some((due, key(1))));
        assert_eq!(timers.pop(ms(1000)), None);
    }
}
