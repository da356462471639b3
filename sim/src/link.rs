//! A connection between one miner and the pool: bytes that arrive late, in pieces, in order, or for
//! a while not at all.

use core::time::Duration;
use std::collections::VecDeque;

use crate::rng::Rng;

/// Bytes that may be under way in one direction; whoever writes waits then, as a socket makes him.
const ROOM: usize = 4096;

/// Both directions.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose.
    pub(crate) miner: usize,
    /// Bytes to the pool.
    pub(crate) up: Pipe,
    /// Bytes from the pool.
    pub(crate) down: Pipe,
    latency: Duration,
    stalled_until: Duration,
    /// Whether it was ever stalled.
    pub(crate) was_stalled: bool,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Bytes with the time at which they may be read, in order.
    on_the_way: VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
}

impl Link {
    pub(crate) fn new(miner: usize, latency: Duration) -> Self {
        let (up, down) = (Pipe::default(), Pipe::default());
        Self { miner, up, down, latency, stalled_until: Duration::ZERO, was_stalled: false }
    }

    /// Carries nothing until `until`.
    pub(crate) fn stall(&mut self, until: Duration) {
        (self.stalled_until, self.was_stalled) = (until, true);
    }

    pub(crate) fn is_stalled(&self, now: Duration) -> bool {
        now < self.stalled_until
    }

    /// What has come from the miner.
    pub(crate) fn at_pool(&mut self, now: Duration) -> Vec<u8> {
        if self.is_stalled(now) { Vec::new() } else { self.up.receive(now) }
    }

    /// What has come from the pool.
    pub(crate) fn at_miner(&mut self, now: Duration) -> Vec<u8> {
        if self.is_stalled(now) { Vec::new() } else { self.down.receive(now) }
    }

    pub(crate) fn carry_up(&mut self, bytes: &[u8], now: Duration, rng: &mut Rng) {
        self.up.send(bytes, now, self.latency, rng);
    }

    pub(crate) fn carry_down(&mut self, bytes: &[u8], now: Duration, rng: &mut Rng) {
        self.down.send(bytes, now, self.latency, rng);
    }
}

impl Pipe {
    /// Whether more may be written.
    pub(crate) const fn has_room(&self) -> bool {
        self.bytes < ROOM
    }

    /// Sends `bytes`; they arrive after up to `latency`, cut at a random place, in order.
    fn send(&mut self, bytes: &[u8], now: Duration, latency: Duration, rng: &mut Rng) {
        if bytes.is_empty() {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let earliest = self.on_the_way.back().map_or(now, |(at, _)| *at);
        let arrival = (now + Duration::from_micros(rng.below(micros))).max(earliest);
        let (head, tail) = bytes.split_at(rng.place(bytes.len()));
        let later = arrival + Duration::from_micros(rng.below(micros) / 4);
        for (at, part) in [(arrival, head), (later, tail)] {
            if !part.is_empty() {
                self.bytes += part.len();
                self.on_the_way.push_back((at, part.to_vec()));
            }
        }
    }

    /// What has arrived by `now`.
    fn receive(&mut self, now: Duration) -> Vec<u8> {
        let mut arrived = Vec::new();
        while let Some((at, _)) = self.on_the_way.front()
            && *at <= now
            && let Some((_, bytes)) = self.on_the_way.pop_front()
        {
            self.bytes -= bytes.len();
            arrived.extend(bytes);
        }
        arrived
    }
}
