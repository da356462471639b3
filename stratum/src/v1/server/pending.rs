//! What a session has handed out and waits for, and how much nuisance it bears; all bounded.

use std::collections::VecDeque;
use std::time::Duration;

use super::work::HeaderKey;
use crate::v1::message::Id;
use units::Difficulty;

/// Names a share handed out with [`super::Event::Share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareToken(u64);

/// Names a request handed out with [`super::Event::Authorize`], [`super::Event::Energy`] or
/// [`super::Event::Resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(u64);

/// Shares handed out and not yet acknowledged. Answers come in order or nearly so: the slots are
/// numbered on from `first`, and those answered are dropped from the front.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    first: u64,
    slots: VecDeque<Option<(Id, HeaderKey)>>,
}

/// Requests handed out and not yet answered; few.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    asked: Vec<(RequestToken, Id, Asked)>,
}

/// What was asked.
#[derive(Debug)]
pub(super) enum Asked {
    Authorize { user: Box<str>, wish: Option<Wish> },
    Energy,
    Subscribe,
}

/// What a password asks of the difficulty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wish {
    /// `d=NUMBER`: this difficulty and no other.
    Fixed(Difficulty),
    /// `th=NUMBER`: start from this many TH/s.
    Terahashes(f64),
}

/// A bucket that fills steadily: one is drawn on by whatever brings the pool nothing, one by
/// shares that come in a flood.
#[derive(Debug)]
pub(super) struct Patience {
    left: u32,
    counted_at: Duration,
}

impl InFlight {
    /// Slots in use, those answered out of order included: the memory held.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn add(&mut self, id: Id, key: HeaderKey) -> ShareToken {
        let token = ShareToken(self.first.saturating_add(count(self.slots.len())));
        self.slots.push_back(Some((id, key)));
        token
    }

    pub(super) fn take(&mut self, token: ShareToken) -> Option<(Id, HeaderKey)> {
        let at = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        let taken = self.slots.get_mut(at)?.take();
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first = self.first.saturating_add(1);
        }
        taken
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn add(&mut self, id: Id, asked: Asked) -> RequestToken {
        let token = RequestToken(self.next);
        self.next = self.next.saturating_add(1);
        self.asked.push((token, id, asked));
        token
    }

    pub(super) fn take(&mut self, token: RequestToken) -> Option<(Id, Asked)> {
        let at = self.asked.iter().position(|(other, ..)| *other == token)?;
        let (_, id, asked) = self.asked.remove(at);
        Some((id, asked))
    }
}

impl Wish {
    /// Reads a password: `x`, or words between commas of which `d=` and `th=` mean something.
    /// The first that can be read wins.
    pub(super) fn parse(password: &str) -> Option<Self> {
        password.split(',').find_map(|word| {
            let (key, value) = word.trim().split_once('=')?;
            let value: f64 = value.trim().parse().ok()?;
            let difficulty = Difficulty::new(value).ok()?;
            match key.trim() {
                "d" | "diff" => Some(Self::Fixed(difficulty)),
                "th" => Some(Self::Terahashes(value)),
                _ => None,
            }
        })
    }
}

impl Patience {
    pub(super) const fn new(burst: u32, now: Duration) -> Self {
        Self { left: burst, counted_at: now }
    }

    /// Draws once; false when there is none left.
    pub(super) fn draw(&mut self) -> bool {
        let less = self.left.checked_sub(1);
        self.left = less.unwrap_or(0);
        less.is_some()
    }

    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Adds what whole seconds have brought, up to `burst`.
    pub(super) fn refill(&mut self, now: Duration, burst: u32, per_second: u32) {
        let seconds = now.saturating_sub(self.counted_at).as_secs();
        let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(per_second);
        self.left = self.left.saturating_add(more).min(burst);
        self.counted_at = self.counted_at.saturating_add(Duration::from_secs(seconds));
    }

    /// When the next refill brings something.
    pub(super) fn next_refill(&self) -> Duration {
        self.counted_at.saturating_add(Duration::from_secs(1))
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> HeaderKey {
        HeaderKey::of(&[byte; 32])
    }

    #[test]
    fn shares_are_answered_in_any_order_and_once() {
        let mut in_flight = InFlight::default();
        let tokens: Vec<_> = (0..4).map(|i| in_flight.add(Id::Number(i), key(0))).collect();
        let id = |taken: Option<(Id, HeaderKey)>| taken.map(|(id, _)| id);
        assert_eq!(id(in_flight.take(tokens[1])), Some(Id::Number(1)));
        assert_eq!(in_flight.len(), 4, "a gap holds its slot");
        assert_eq!(id(in_flight.take(tokens[1])), None);
        assert_eq!(id(in_flight.take(tokens[0])), Some(Id::Number(0)));
        assert_eq!(in_flight.len(), 2);
        assert_eq!(id(in_flight.take(tokens[0])), None);
        assert_eq!(id(in_flight.take(tokens[3])), Some(Id::Number(3)));
        assert_eq!(id(in_flight.take(tokens[2])), Some(Id::Number(2)));
        assert_eq!(in_flight.len(), 0);
        let next = in_flight.add(Id::Null, key(1));
        assert!(!tokens.contains(&next), "a token never names two shares");
    }

    #[test]
    fn passwords_ask_for_difficulties() {
        let fixed = |value| Some(Wish::Fixed(Difficulty::new(value).unwrap()));
        assert_eq!(Wish::parse("d=1024"), fixed(1024.0));
        assert_eq!(Wish::parse("x, d=0.5"), fixed(0.5));
        assert_eq!(Wish::parse("th=110"), Some(Wish::Terahashes(110.0)));
        for nothing in ["x", "", "d=", "d=-1", "d=nan", "d=inf", "d=0", "th=x", "d"] {
            assert_eq!(Wish::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn patience_comes_back_with_time() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(2, second);
        assert!(patience.draw());
        assert!(patience.draw());
        assert!(!patience.draw());
        patience.refill(second + second / 2, 2, 1);
        assert!(!patience.draw());
        assert_eq!(patience.next_refill(), 2 * second);
        patience.refill(2 * second, 2, 1);
        assert!(patience.draw());
        assert!(!patience.draw());
        patience.refill(100 * second, 2, 1);
        assert_eq!(patience.left(), 2, "never more than the burst");
    }
}
