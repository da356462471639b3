//! Subscriptions whose connection has ended, kept for the miner's return.
//!
//! Read [`Table`]. Its one owner is the desk of the Stratum front ([`crate::front`]), which all
//! connections ask at subscribe and at their end. It deliberately takes no part in judging shares,
//! and writes nothing to disk: a pool that is started again hands out new extranonces.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use defences::{Defence, stands};
use stratum::v1::server::{Kept, SubscriptionId};

/// How long a subscription waits for its miner. Nothing that it keeps is of use for longer than a
/// few blocks.
pub const KEPT_FOR: Duration = Duration::from_secs(600);
/// Subscriptions kept at once.
pub const MAX_KEPT: usize = 4096;
/// Credited headers that all of them remember together: about 40 MB.
pub const MAX_HEADERS: usize = 1_000_000;

/// What is kept, by an id that only its miner knows. What has no place any more is dropped, and
/// its extranonce 1 with it: nobody gets that again.
#[derive(Debug)]
pub struct Table {
    kept: HashMap<SubscriptionId, Entry>,
    /// The first to go first.
    order: BTreeMap<Rank, SubscriptionId>,
    headers: usize,
    next: u64,
    max_kept: usize,
    max_headers: usize,
}

#[derive(Debug)]
struct Entry {
    rank: Rank,
    until: Duration,
    kept: Kept,
}

/// Whether it has proven work, then how old it is: a stranger who subscribes and leaves again and
/// again pushes nobody out who has mined.
type Rank = (bool, u64);

impl Table {
    /// Nothing kept, and bounds as named here.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(MAX_KEPT, MAX_HEADERS)
    }

    fn bounded(max_kept: usize, max_headers: usize) -> Self {
        let (kept, order) = (HashMap::new(), BTreeMap::new());
        Self { kept, order, headers: 0, next: 0, max_kept, max_headers }
    }

    /// Keeps a subscription until `now` and [`KEPT_FOR`]; what was kept for longest goes where
    /// there are too many, those that proved no work before all others.
    pub fn put(&mut self, kept: Kept, now: Duration) {
        self.expire(now);
        let rank = (kept.headers() > 0, self.next);
        self.next += 1;
        self.headers += kept.headers();
        self.order.insert(rank, kept.id());
        let until = now.saturating_add(KEPT_FOR);
        self.kept.insert(kept.id(), Entry { rank, until, kept });
        let full =
            |table: &Self| table.kept.len() > table.max_kept || table.headers > table.max_headers;
        while stands(Defence::SubscriptionsKept) && full(self) {
            let Some((_, id)) = self.order.pop_first() else { break };
            self.remove(id);
        }
    }

    /// What is kept under `id`. From then on it belongs to who took it.
    pub fn take(&mut self, id: SubscriptionId, now: Duration) -> Option<Kept> {
        self.expire(now);
        self.remove(id)
    }

    fn expire(&mut self, now: Duration) {
        for proven in [false, true] {
            let ranks = (proven, 0)..=(proven, u64::MAX);
            while let Some((_, &id)) = self.order.range(ranks.clone()).next() {
                let alive = self.kept.get(&id).is_some_and(|entry| entry.until > now);
                if alive || !stands(Defence::SubscriptionTime) {
                    break;
                }
                self.remove(id);
            }
        }
    }

    fn remove(&mut self, id: SubscriptionId) -> Option<Kept> {
        let Entry { rank, kept, .. } = self.kept.remove(&id)?;
        self.order.remove(&rank);
        self.headers -= kept.headers();
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stratum::{
        job::{Job, JobTemplate},
        v1::server::{Event, Session, Settings, WorkerKey},
    };
    use units::{Difficulty, Moment, Target, UnixMillis};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(byte: u8) -> SubscriptionId {
        SubscriptionId::new([byte; 16])
    }

    /// A subscription that was credited with so many shares.
    fn kept(byte: u8, shares: usize) -> Kept {
        let now = Moment { mono: Duration::ZERO, unix: UnixMillis::new(1_700_000_000_000) };
        let mut settings = Settings::default();
        settings.difficulty.min = Difficulty::new(1e-12).unwrap();
        settings.difficulty.start = settings.difficulty.min;
        let mut session = Session::new(Arc::new(settings), [byte; 4], now).resumable(id(byte));
        let mut lines = "{\"id\":1,\"method\":\"mining.subscribe\"}\n\
                         {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\"]}\n"
            .to_owned();
        session.receive(lines.as_bytes(), now).unwrap();
        while let Some(event) = session.poll() {
            if let Event::Authorize { token, .. } = event {
                session.authorize(token, Ok(WorkerKey::new(0)), now);
            }
        }
        let template = JobTemplate {
            height: 1,
            version: 1,
            prev_hash: [0; 32],
            nbits: 0x1d00_ffff,
            ntime: 1_700_000_000,
            min_ntime: 1_700_000_000,
            coinbase1: Vec::new(),
            coinbase2: Vec::new(),
            branch: Vec::new(),
            network_target: Target::from_compact(0x1d00_ffff).unwrap(),
        };
        session.set_job(Arc::new(Job::new(1, template, true, 1, 0)), now);
        session.transmit(&mut Vec::new());
        lines.clear();
        for nonce in 0..shares {
            lines += &format!(
                "{{\"id\":3,\"method\":\"mining.submit\",\"params\":[\"w\",\"1\",\
                 \"0000000000000000\",\"6553f100\",\"{nonce:x}\"]}}\n"
            );
        }
        session.receive(lines.as_bytes(), now).unwrap();
        let kept = session.end().kept.unwrap();
        assert_eq!((kept.headers(), kept.xn1()), (shares, [byte; 4]));
        kept
    }

    #[test]
    fn it_is_handed_out_once_under_its_id_and_in_time() {
        let mut table = Table::new();
        table.put(kept(1, 1), SECOND);
        table.put(kept(2, 1), 2 * SECOND);
        assert!(table.take(id(3), SECOND).is_none(), "nobody had that id");
        let first = table.take(id(1), SECOND).unwrap();
        assert_eq!(first.xn1(), [1; 4]);
        assert!(table.take(id(1), SECOND).is_none(), "it has been taken up");
        assert!(table.take(id(2), KEPT_FOR + 2 * SECOND).is_none(), "it has expired");
        assert_eq!((table.kept.len(), table.headers, table.order.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_goes_and_who_proved_nothing_before() {
        let mut table = Table::bounded(3, 100);
        for (byte, shares) in [(1, 2), (2, 0), (3, 1)] {
            table.put(kept(byte, shares), SECOND);
        }
        table.put(kept(4, 0), SECOND);
        assert!(table.take(id(2), SECOND).is_none(), "the oldest without work has gone");
        table.put(kept(2, 0), SECOND);
        for byte in 10..20 {
            table.put(kept(byte, 0), SECOND);
        }
        assert_eq!(table.kept.len(), 3);
        assert!(table.take(id(1), SECOND).is_some(), "who mined is pushed out by no stranger");
        table.put(kept(1, 2), SECOND);
        table.put(kept(5, 1), SECOND);
        table.put(kept(6, 1), SECOND);
        assert!(table.take(id(3), SECOND).is_none(), "but by others who mined");
        assert!(table.take(id(1), SECOND).is_some());
    }

    #[test]
    fn the_headers_of_all_are_bounded() {
        let mut table = Table::bounded(100, 10);
        for byte in 1..=3 {
            table.put(kept(byte, 5), SECOND);
        }
        assert_eq!((table.kept.len(), table.headers), (2, 10));
        assert!(table.take(id(1), SECOND).is_none());
        table.put(kept(4, 11), SECOND);
        assert_eq!((table.kept.len(), table.headers), (0, 0), "what is too much alone is not kept");
    }
}
