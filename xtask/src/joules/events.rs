//! What happens in a run, in an order that the seed decides. It deliberately has no event that leaves
//! a program away for long: what a pool or a farm does then is tested by the programs' own tests.

use std::fmt;

use crate::joules::random::Random;

/// Something that must lose no joule and repeat none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The miner is killed, and another begins with its key.
    Miner,
    /// The agent is killed, and another begins with its state.
    Agent,
    /// The pool is killed, and another begins with its data.
    Pool,
    /// A report is taken, and its answer is lost together with the line.
    Answer,
    /// The pool is killed, then miner and agent while it is away; all begin again.
    Everything,
}

/// Each at least once, and those that touch one side twice.
const EVENTS: [Event; 8] = [
    Event::Miner,
    Event::Miner,
    Event::Agent,
    Event::Agent,
    Event::Pool,
    Event::Pool,
    Event::Answer,
    Event::Everything,
];

impl Event {
    /// Whether the miner is killed, so that an epoch of its meter ends.
    pub(crate) const fn kills_the_miner(self) -> bool {
        matches!(self, Self::Miner | Self::Everything)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Miner => "kill -9 miner",
            Self::Agent => "kill -9 agent",
            Self::Pool => "kill -9 pool",
            Self::Answer => "an answer is lost",
            Self::Everything => "kill -9 pool, miner, agent",
        })
    }
}

/// The order of this run.
pub(crate) fn order(random: &mut Random) -> Vec<Event> {
    let mut events = EVENTS.to_vec();
    random.shuffle(&mut events);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_order_and_leaves_nothing_out() {
        let (one, same, other) = (1, 1, 2);
        let of = |seed| order(&mut Random::new(seed));
        assert_eq!(of(one), of(same));
        assert_ne!(of(one), of(other));
        assert!(EVENTS.iter().all(|event| of(other).contains(event)));
        assert_eq!(of(one).iter().filter(|event| event.kills_the_miner()).count(), 3);
    }
}
