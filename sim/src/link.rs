//! A connection between one miner and the pool: bytes that arrive late, in pieces, or not at all.

use core::time::Duration;
use std::collections::VecDeque;

use crate::rng::Rng;

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Bytes with the time at which they may be read, in order.
    on_the_way: VecDeque<(Duration, Vec<u8>)>,
}

impl Pipe {
    /// Sends `bytes`; they arrive after up to `latency`, cut at a random place, in order.
    pub(crate) fn send(&mut self, bytes: &[u8], now: Duration, latency: Duration, rng: &mut Rng) {
        if bytes.is_empty() {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let earliest = self.on_the_way.back().map_or(now, |(at, _)| *at);
        let arrival = (now + Duration::from_micros(rng.below(micros))).max(earliest);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let cut = usize::try_from(rng.below(length)).unwrap_or(0);
        let (head, tail) = bytes.split_at(cut);
        for part in [head, tail].into_iter().filter(|part| !part.is_empty()) {
            self.on_the_way.push_back((arrival, part.to_vec()));
        }
    }

    /// What has arrived by `now`.
    pub(crate) fn receive(&mut self, now: Duration) -> Vec<u8> {
        let mut arrived = Vec::new();
        while let Some((at, _)) = self.on_the_way.front()
            && *at <= now
            && let Some((_, bytes)) = self.on_the_way.pop_front()
        {
            arrived.extend(bytes);
        }
        arrived
    }
}
