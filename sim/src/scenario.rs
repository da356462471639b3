//! What a run is about: which faults come, and how often.

use clap::ValueEnum;

/// A kind of trouble. Blocks, slices and jobs come in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Everything at once
    All,
    /// The chain goes back and forth
    Chain,
    /// The wall clock jumps by up to three hours either way
    Clock,
    /// The disk is full for a while, again and again
    Disk,
    /// Links stall and break; miners come back and go on with what they had
    Links,
    /// The node falls silent for longer than its template lasts
    Node,
    /// Nothing goes wrong
    Quiet,
    /// Miners come and go before they find anything; memories of shares fill up
    Recycling,
    /// The pool is killed, or replaced by another image of itself
    Restarts,
}

/// How often things happen: times in a thousand steps, of each miner where it is about miners.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// Somebody else finds a block.
    pub(crate) block: u64,
    /// Another branch overtakes.
    pub(crate) fork: u64,
    /// The open slice is closed.
    pub(crate) slice: u64,
    /// A miner's line goes out twice.
    pub(crate) repeat: u64,
    /// A link breaks.
    pub(crate) cut: u64,
    /// A link carries nothing for a while.
    pub(crate) stall: u64,
    /// The wall clock jumps.
    pub(crate) jump: u64,
    /// The node falls silent.
    pub(crate) outage: u64,
    /// The disk fills up.
    pub(crate) disk: u64,
    /// The pool is killed.
    pub(crate) kill: u64,
    /// The pool is replaced.
    pub(crate) replace: u64,
    /// Shares remembered for each block that is built on; miners get new extranonces near it.
    pub(crate) max_seen: usize,
}

impl Scenario {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Where each has a world of its own under one seed.
    pub(crate) fn salt(self) -> u64 {
        Self::value_variants().iter().zip(1..).find(|(one, _)| **one == self).map_or(0, |(_, n)| n)
    }

    pub(crate) fn rates(self) -> Rates {
        let usual =
            Rates { block: 15, slice: 20, repeat: 10, max_seen: 65_536, ..Rates::default() };
        match self {
            Self::Quiet => Rates { repeat: 0, ..usual },
            Self::Chain => Rates { block: 30, fork: 15, ..usual },
            Self::Clock => Rates { jump: 20, ..usual },
            Self::Disk => Rates { disk: 5, ..usual },
            Self::Links => Rates { cut: 5, stall: 5, ..usual },
            Self::Node => Rates { outage: 4, ..usual },
            Self::Recycling => Rates { cut: 40, block: 2, max_seen: 48, ..usual },
            Self::Restarts => Rates { cut: 2, kill: 4, replace: 6, ..usual },
            Self::All => Rates {
                fork: 5,
                cut: 3,
                stall: 2,
                jump: 5,
                outage: 2,
                disk: 2,
                kill: 2,
                replace: 2,
                max_seen: 256,
                ..usual
            },
        }
    }
}
