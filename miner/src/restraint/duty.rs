//! How much of their time workers may hash, and how each of them keeps to it.
//!
//! Read [`Allowance`], then [`Follower`]. One [`Throttle`] holds what is allowed now; each worker
//! follows it. What a worker hashes runs up a [`Debt`] of rest, which it sleeps off between slices:
//! hashing over hashing and rest together comes to the duty, however long slices and sleeps turn
//! out, since what was slept too long is rest paid in advance. Where everything is allowed, a slice
//! costs two relaxed loads and nothing else.
//!
//! It deliberately does not sleep (that is [`crate::hands`]) and does not decide what is allowed
//! (that is [`super::Restraint`]). Duty is in thousandths of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// All of the time, in thousandths.
pub const WHOLE: u16 = 1000;
/// The least duty that is not a pause: below it, rests between slices would get longer than seconds.
pub const LEAST: u16 = 10;
/// Rest is slept off once there is this much of it: timers are a millisecond coarse.
const REST_MIN: Duration = Duration::from_millis(2);
/// No more rest than this is ever owed.
const DEBT_MAX: Duration = Duration::from_secs(5);
/// What was slept too long counts up to here: a machine that stood still was not resting for us.
const CREDIT_MAX: Duration = Duration::from_millis(100);

/// What workers may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Thousandths of the time that each may hash; 0 is a pause.
    pub duty: u16,
    /// How many of the CPU's threads hash at all, the first ones; the others wait.
    pub threads: u16,
    /// How long a GPU's dispatches are, in percent of their usual length; at least 1.
    pub batch: u16,
}

impl Allowance {
    /// Everything.
    pub const FULL: Self = Self { duty: WHOLE, threads: u16::MAX, batch: 100 };

    /// Whether nobody hashes.
    #[must_use]
    pub const fn is_pause(self) -> bool {
        self.duty == 0
    }

    fn packed(self) -> u64 {
        let [a, b] = self.duty.to_le_bytes();
        let [c, d] = self.threads.to_le_bytes();
        let [e, f] = self.batch.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    const fn of_packed(packed: u64) -> Self {
        let [a, b, c, d, e, f, ..] = packed.to_le_bytes();
        Self {
            duty: u16::from_le_bytes([a, b]),
            threads: u16::from_le_bytes([c, d]),
            batch: u16::from_le_bytes([e, f]),
        }
    }
}

/// Holds what is allowed now.
#[derive(Debug, Clone)]
pub struct Throttle {
    now: Arc<AtomicU64>,
    news: watch::Sender<()>,
}

impl Throttle {
    /// Everything is allowed.
    #[must_use]
    pub fn new() -> Self {
        let now = Arc::new(AtomicU64::new(Allowance::FULL.packed()));
        Self { now, news: watch::Sender::new(()) }
    }

    /// This is allowed from now on; workers that wait wake up for it.
    pub fn set(&self, allowance: Allowance) {
        let packed = allowance.packed();
        if self.now.swap(packed, Ordering::Relaxed) != packed {
            self.news.send_replace(());
        }
    }

    /// What is allowed now.
    #[must_use]
    pub fn get(&self) -> Allowance {
        Allowance::of_packed(self.now.load(Ordering::Relaxed))
    }

    /// For a worker: one of the CPU's threads by its number, or a GPU's.
    #[must_use]
    pub fn follow(&self, thread: Option<u16>) -> Follower {
        Follower {
            now: Arc::clone(&self.now),
            news: self.news.subscribe(),
            thread,
            debt: Debt::default(),
        }
    }
}

/// One worker's side of a [`Throttle`].
#[derive(Debug)]
pub struct Follower {
    now: Arc<AtomicU64>,
    news: watch::Receiver<()>,
    thread: Option<u16>,
    debt: Debt,
}

/// What a worker has to do before it hashes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Sleep for so long.
    Sleep(Duration),
    /// Wait for another allowance.
    Wait,
}

impl Follower {
    fn allowance(&self) -> Allowance {
        Allowance::of_packed(self.now.load(Ordering::Relaxed))
    }

    /// It hashed for so long; says whether it is held back at the moment.
    pub fn worked(&mut self, time: Duration) -> bool {
        let allowance = self.allowance();
        if allowance == Allowance::FULL {
            return false;
        }
        self.debt.add(time, allowance.duty);
        allowance.duty < WHOLE || allowance.threads < u16::MAX
    }

    /// Whether it has to rest before it hashes on.
    #[must_use]
    pub fn must_rest(&self) -> bool {
        let allowance = self.allowance();
        allowance != Allowance::FULL && self.owed(allowance) != Due::Nothing
    }

    /// What it has to do before it hashes on. News that came so far count as heard.
    pub fn due(&mut self) -> Due {
        // Before the allowance is read: what changes after that is news.
        self.news.mark_unchanged();
        let allowance = self.allowance();
        if allowance.duty == WHOLE {
            self.debt = Debt::default();
        }
        self.owed(allowance)
    }

    fn owed(&self, allowance: Allowance) -> Due {
        let out = self.thread.is_some_and(|thread| thread >= allowance.threads);
        if allowance.is_pause() || out {
            return Due::Wait;
        }
        match allowance.duty {
            WHOLE.. => Due::Nothing,
            _ => self.debt.due().map_or(Due::Nothing, Due::Sleep),
        }
    }

    /// It rested for so long.
    pub fn rested(&mut self, time: Duration) {
        self.debt.pay(time);
    }

    /// How long a GPU's dispatches are, in percent of their usual length.
    #[must_use]
    pub fn batch(&self) -> u16 {
        self.allowance().batch.max(1)
    }

    /// Done when another allowance was set since [`Self::due`]; never, once none can be any more.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Rest that is owed, or was taken in advance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Debt {
    owed: Duration,
    ahead: Duration,
}

impl Debt {
    /// So long was hashed at this duty, which is not 0. Rounded down, by a nanosecond at most.
    pub fn add(&mut self, hashed: Duration, duty: u16) {
        let duty = u32::from(duty.clamp(1, WHOLE));
        let rest = hashed.saturating_mul(u32::from(WHOLE) - duty) / duty;
        let advance = rest.min(self.ahead);
        self.ahead -= advance;
        self.owed = self.owed.saturating_add(rest - advance).min(DEBT_MAX);
    }

    /// What is to be slept now, once it is worth it.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        (self.owed >= REST_MIN).then_some(self.owed)
    }

    /// So long was rested.
    pub fn pay(&mut self, rested: Duration) {
        let too_long = rested.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(rested);
        self.ahead = self.ahead.saturating_add(too_long).min(CREDIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowance(duty: u16, threads: u16) -> Allowance {
        Allowance { duty, threads, batch: 100 }
    }

    #[test]
    fn where_everything_is_allowed_nothing_is_owed() {
        let mut follower = Throttle::new().follow(Some(1023));
        for _ in 0..1000 {
            assert!(!follower.worked(Duration::from_secs(1)));
        }
        assert!(!follower.must_rest());
        assert_eq!(follower.due(), Due::Nothing);
    }

    #[test]
    fn a_quarter_is_three_parts_of_rest_for_one_of_work() {
        let throttle = Throttle::new();
        let mut follower = throttle.follow(None);
        throttle.set(allowance(250, u16::MAX));
        assert!(follower.worked(Duration::from_millis(2)));
        assert!(follower.must_rest());
        assert_eq!(follower.due(), Due::Sleep(Duration::from_millis(6)));
        follower.rested(Duration::from_millis(7));
        assert_eq!(follower.due(), Due::Nothing);
        // A millisecond of the next rest was taken in advance.
        follower.worked(Duration::from_millis(2));
        assert_eq!(follower.due(), Due::Sleep(Duration::from_millis(5)));
        // What was owed is let go with the restraint.
        throttle.set(Allowance::FULL);
        assert!(!follower.must_rest());
        assert_eq!(follower.due(), Due::Nothing);
        throttle.set(allowance(250, u16::MAX));
        assert_eq!(follower.due(), Due::Nothing);
    }

    #[test]
    fn a_pause_is_everybodys_and_fewer_threads_are_the_cpus() {
        let throttle = Throttle::new();
        let (mut first, mut last) = (throttle.follow(Some(0)), throttle.follow(Some(3)));
        let mut gpu = throttle.follow(None);
        throttle.set(allowance(WHOLE, 3));
        let due = [first.due(), last.due(), gpu.due()];
        assert_eq!(due, [Due::Nothing, Due::Wait, Due::Nothing]);
        throttle.set(allowance(0, 4));
        assert_eq!([first.due(), last.due(), gpu.due()], [Due::Wait; 3]);
        assert!(gpu.must_rest());
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_every_change_and_of_no_repetition() {
        let throttle = Throttle::new();
        let mut follower = throttle.follow(None);
        throttle.set(allowance(0, 1));
        assert_eq!(follower.due(), Due::Wait);
        throttle.set(allowance(0, 1));
        assert!(!follower.news.has_changed().unwrap());
        throttle.set(Allowance::FULL);
        follower.changed().await;
        assert_eq!(follower.due(), Due::Nothing);
    }

    proptest! {
        #[test]
        fn what_is_allowed_is_what_was_set(duty: u16, threads: u16, batch: u16) {
            let allowance = Allowance { duty, threads, batch };
            let throttle = Throttle::new();
            throttle.set(allowance);
            prop_assert_eq!(throttle.get(), allowance);
        }

        #[test]
        fn time_hashed_comes_to_the_duty_however_long_slices_and_sleeps_are(
            duty in LEAST..WHOLE,
            slices in proptest::collection::vec((500_u64..4_000, 0_u64..3_000), 2_000),
        ) {
            let mut debt = Debt::default();
            let (mut hashed, mut rested) = (Duration::ZERO, Duration::ZERO);
            for (slice, too_long) in slices {
                let slice = Duration::from_micros(slice);
                debt.add(slice, duty);
                hashed += slice;
                if let Some(due) = debt.due() {
                    let sleep = due + Duration::from_micros(too_long);
                    debt.pay(sleep);
                    rested += sleep;
                }
            }
            // All that can be missing at the end is the rest that is not yet worth sleeping, or
            // what the last sleep took in advance.
            let due = hashed.as_secs_f64() * f64::from(WHOLE - duty) / f64::from(duty);
            let off = (rested.as_secs_f64() - due).abs();
            prop_assert!(off < 0.0041, "{off} s off, of {due} s");
        }
    }
}
