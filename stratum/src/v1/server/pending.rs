//! What a session has handed out and waits for, and how much nuisance it bears; all bounded.

use std::collections::VecDeque;
use std::time::Duration;

use super::seen::HeaderKey;
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
    slots: Queue<Option<(Id, HeaderKey)>>,
}

/// Requests handed out and not yet answered; few, and mostly none.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    asked: Queue<(RequestToken, Id, Asked)>,
}

/// A queue that is mostly empty, and takes eight bytes then.
#[derive(Debug)]
pub(super) struct Queue<T>(Option<Box<Queued<T>>>);

#[derive(Debug)]
struct Queued<T> {
    items: VecDeque<T>,
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
    counted_at: Time,
}

/// A moment on the monotonic clock in half the bytes: nanoseconds, up to 584 years of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(u64);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.items().map_or(0, VecDeque::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn push_back(&mut self, item: T) {
        let queued = self.0.get_or_insert_with(|| Box::new(Queued { items: VecDeque::new() }));
        queued.items.push_back(item);
    }

    /// Takes the first.
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.0.as_mut()?.items.pop_front();
        self.tidy();
        first
    }

    fn items(&self) -> Option<&VecDeque<T>> {
        self.0.as_ref().map(|queued| &queued.items)
    }

    fn items_mut(&mut self) -> Option<&mut VecDeque<T>> {
        self.0.as_mut().map(|queued| &mut queued.items)
    }

    /// Gives its memory back where nothing is left.
    fn tidy(&mut self) {
        if self.items().is_some_and(VecDeque::is_empty) {
            self.0 = None;
        }
    }
}

impl Time {
    pub(super) fn of(mono: Duration) -> Self {
        Self(u64::try_from(mono.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) const fn mono(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self::of(self.mono().saturating_add(time))
    }
}

impl InFlight {
    /// Slots in use, those answered out of order included: the memory held.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The next token's number.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(count(self.slots.len()))
    }

    pub(super) fn add(&mut self, id: Id, key: HeaderKey) -> ShareToken {
        let token = ShareToken(self.next());
        self.slots.push_back(Some((id, key)));
        token
    }

    pub(super) fn take(&mut self, token: ShareToken) -> Option<(Id, HeaderKey)> {
        let at = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        let slots = self.slots.items_mut()?;
        let taken = slots.get_mut(at)?.take();
        while let Some(None) = slots.front() {
            slots.pop_front();
            self.first = self.first.saturating_add(1);
        }
        self.slots.tidy();
        taken
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    /// The next token's number.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn add(&mut self, id: Id, asked: Asked) -> RequestToken {
        let token = RequestToken(self.next);
        self.next = self.next.saturating_add(1);
        self.asked.push_back((token, id, asked));
        token
    }

    pub(super) fn take(&mut self, token: RequestToken) -> Option<(Id, Asked)> {
        let asked = self.asked.items_mut()?;
        let at = asked.iter().position(|(other, ..)| *other == token)?;
        let (_, id, what) = asked.remove(at)?;
        self.asked.tidy();
        Some((id, what))
    }
}

impl From<u64> for InFlight {
    /// Empty, with tokens from this number on.
    fn from(first: u64) -> Self {
        Self { first, slots: Queue::default() }
    }
}

impl From<u64> for Waiting {
    /// Empty, with tokens from this number on.
    fn from(next: u64) -> Self {
        Self { next, asked: Queue::default() }
    }
}

impl Wish {
    /// Reads a password: `x`, or words between commas, semicolons or spaces, of which `d=`, `diff=`
    /// and `th=` mean something, in either case. The first that can be read wins.
    pub(super) fn parse(password: &str) -> Option<Self> {
        let between = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '&' | '|' | '/');
        let mut rest = password;
        while let Some((before, after)) = rest.split_once('=') {
            let key = before.trim_end().rsplit(between).next().unwrap_or_default();
            let value = after.trim_start().split(between).next().unwrap_or_default();
            let value = value.parse().ok().and_then(|value| Difficulty::new(value).ok());
            match (key.to_ascii_lowercase().as_str(), value) {
                ("d" | "diff", Some(difficulty)) => return Some(Self::Fixed(difficulty)),
                ("th", Some(rate)) => return Some(Self::Terahashes(rate.get())),
                _ => rest = after,
            }
        }
        None
    }
}

impl Patience {
    pub(super) fn new(burst: u32, now: Duration) -> Self {
        Self { left: burst, counted_at: Time::of(now) }
    }

    /// What is left, and how long ago it was counted.
    pub(super) fn save(&self, now: Duration) -> (u32, Duration) {
        (self.left, now.saturating_sub(self.counted_at.mono()))
    }

    pub(super) fn restore((left, age): (u32, Duration), now: Duration) -> Self {
        Self { left, counted_at: Time::of(now.saturating_sub(age)) }
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
        let seconds = now.saturating_sub(self.counted_at.mono()).as_secs();
        if seconds == 0 {
            self.left = self.left.min(burst);
            return;
        }
        let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(per_second);
        self.left = self.left.saturating_add(more).min(burst);
        self.counted_at = self.counted_at.after(Duration::from_secs(seconds));
    }

    /// When the next refill brings something.
    pub(super) fn next_refill(&self) -> Duration {
        self.counted_at.after(Duration::from_secs(1)).mono()
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
        for written in ["x;d=8", "d=8;x", "x d=8", "d = 8", "D=8", "diff=8", "m=1&d=8", "d=x,d=8"] {
            assert_eq!(Wish::parse(written), fixed(8.0), "{written}");
        }
        assert_eq!(Wish::parse("x;th=0.5 d=3"), Some(Wish::Terahashes(0.5)), "the first");
        for nothing in
            ["x", "", "d=", "d=-1", "d=nan", "d=inf", "d=0", "th=x", "d", "bd=5", "=", "d==5"]
        {
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
