//! A guest's life, drawn before it begins.
//!
//! Read [`Plan`]. It deliberately knows nothing of sockets.

use std::time::Duration;

use super::dice::Dice;

/// How long a connection lives.
const LIFE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// From one offence of a guest's to its next.
const GOOD: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// How long somebody stays away before coming back.
const AWAY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(8)];
/// Between two blocks: 25 s on average.
const BLOCK: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(42)];
/// How long one that never says what it wants stays: shorter than any pool's patience.
const MUTE: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(4)];

/// What a guest is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temper {
    /// Reads what comes.
    Attentive,
    /// Reads a little now and then, and has little room for what waits.
    Slow,
    /// Connects and never subscribes.
    Mute,
}

/// How a guest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// After the last answer.
    Polite,
    /// With a share under way and a reset.
    Reset,
    /// In the middle of a line.
    Midway,
    /// By a line that is too long, on which the pool closes.
    Thrown,
}

/// A life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) temper: Temper,
    pub(super) life: Duration,
    pub(super) farewell: Farewell,
    /// How long until it comes back and asks for its subscription, if it does.
    pub(super) back: Option<Duration>,
}

impl Plan {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let temper = match dice.below(100) {
            0..8 => Temper::Slow,
            8..11 => Temper::Mute,
            _ => Temper::Attentive,
        };
        let farewell = match dice.below(100) {
            0..50 => Farewell::Polite,
            50..80 => Farewell::Reset,
            80..97 => Farewell::Midway,
            _ => Farewell::Thrown,
        };
        let [least, most] = if temper == Temper::Mute { MUTE } else { LIFE };
        let life = dice.between(least, most);
        let back = dice.percent(40) && temper != Temper::Mute;
        let back = back.then(|| dice.between(AWAY[0], AWAY[1]));
        Self { temper, life, farewell, back }
    }
}

/// Until a guest does its next wrong.
pub(super) fn good_for(dice: &mut Dice) -> Duration {
    dice.between(GOOD[0], GOOD[1])
}

/// Until the next block.
pub(super) fn until_block(dice: &mut Dice) -> Duration {
    dice.between(BLOCK[0], BLOCK[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_guests_come() {
        let mut dice = Dice::new(5);
        let plans: Vec<Plan> = (0..1000).map(|_| Plan::draw(&mut dice)).collect();
        for temper in [Temper::Attentive, Temper::Slow, Temper::Mute] {
            assert!(plans.iter().any(|plan| plan.temper == temper), "{temper:?}");
        }
        let farewells = [Farewell::Polite, Farewell::Reset, Farewell::Midway, Farewell::Thrown];
        for farewell in farewells {
            assert!(plans.iter().any(|plan| plan.farewell == farewell), "{farewell:?}");
        }
        let working = plans.iter().filter(|plan| plan.temper != Temper::Mute);
        assert!(working.clone().all(|plan| plan.life >= LIFE[0] && plan.life <= LIFE[1]));
        assert!(working.clone().any(|plan| plan.back.is_some()));
        assert!(plans.iter().all(|plan| plan.back.is_none() || plan.temper != Temper::Mute));
    }
}
