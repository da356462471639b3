//! How fast a method could be on this very core: its operations, at the rate at which the core
//! does them when nothing else is in the way.
//!
//! Read [`Core::limit`]. A vector unit does so many operations a cycle, and fewer rotations; no
//! order of the same operations is quicker than the slower of the two sums. The SHA instructions
//! have one count: rounds. What is reached of a limit says how much there is left to win, which a
//! rate alone does not.

use core::time::Duration;

use crate::{Backend, Tile, arch};

/// How long one instruction takes when many follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Nanoseconds.
    pub nanoseconds: f64,
    /// The same in the core's cycles.
    pub cycles: f64,
}

/// What a vector unit does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vectors {
    /// One addition, or logic.
    pub add: Throughput,
    /// One rotation, or a shift where there are none.
    pub rotate: Throughput,
}

/// What one core does, as measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Core {
    /// A cycle.
    pub cycle: Throughput,
    /// Vectors of 512 bits, where the core has them.
    pub avx512: Option<Vectors>,
    /// Vectors of 256 bits.
    pub avx2: Option<Vectors>,
    /// The SHA instructions.
    pub sha: Option<Sha>,
}

/// What the SHA unit does; one instruction of each kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sha {
    /// Two rounds.
    pub rounds: Throughput,
    /// The first half of four words of a message schedule.
    pub message_1: Throughput,
    /// The second half.
    pub message_2: Throughput,
}

/// The operations of one hash in one lane, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Operations {
    /// All of them.
    pub(crate) all: f64,
    /// Rotations and shifts among them.
    pub(crate) bits: f64,
    /// Lanes that one instruction serves.
    pub(crate) lanes: f64,
}

impl Core {
    /// Measures the core that this thread runs on; a few milliseconds. `None` where there is no
    /// probe for the processor.
    #[must_use]
    pub fn measure(clock: &dyn Fn() -> Duration) -> Option<Self> {
        arch::probe(clock)
    }

    /// Hashes per second that this core cannot exceed with this tile and so many versions; `None`
    /// where the method's limit is not known.
    #[must_use]
    pub fn limit(&self, tile: Tile, versions: usize) -> Option<f64> {
        let vectors = match tile.backend {
            Backend::Avx512 => self.avx512?,
            Backend::Avx2 => self.avx2?,
            Backend::ShaNi => return Some(1e9 / self.sha?.nanoseconds(versions)),
            Backend::Portable | Backend::Wgpu => return None,
        };
        let operations = arch::operations(tile, versions)?;
        let issue = operations.all * vectors.add.nanoseconds;
        let bits = operations.bits * vectors.rotate.nanoseconds;
        Some(operations.lanes * 1e9 / issue.max(bits))
    }
}

/// Instructions of two rounds that a hash needs: rounds 4 to 63 of the first, 0 to 61 of the
/// second, of which the last word is known after round 60.
const SHA_ROUNDS: f64 = 30.0 + 31.0;
/// Groups of four message words in a schedule: 16 to 63; those of the first hash are shared by all
/// versions where there are two or more.
const SHA_MESSAGES: f64 = 12.0;

impl Sha {
    /// Nanoseconds that one hash keeps the unit busy.
    fn nanoseconds(&self, versions: usize) -> f64 {
        let sharing = if versions > 1 { versions } else { 1 };
        #[expect(clippy::cast_precision_loss, reason = "a few thousand versions")]
        let messages = SHA_MESSAGES * (1.0 + 1.0 / sharing as f64);
        // Rounds and messages may be done in different places: what is certain is the longer time.
        let messages = messages * self.message_1.nanoseconds.max(self.message_2.nanoseconds);
        messages.max(SHA_ROUNDS * self.rounds.nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> Core {
        let at = |nanoseconds| Throughput { nanoseconds, cycles: nanoseconds / 0.25 };
        let vectors = Vectors { add: at(0.125), rotate: at(0.25) };
        Core {
            cycle: at(0.25),
            avx512: Some(vectors),
            avx2: None,
            sha: Some(Sha { rounds: at(0.5), message_1: at(0.125), message_2: at(4.0) }),
        }
    }

    #[test]
    fn a_limit_follows_from_operations_and_rates() {
        let sha = core().limit(Backend::ShaNi.into(), 64).unwrap();
        // Twelve groups of the second hash, and twelve that 64 versions share.
        let messages = 12.0 * (1.0 + 1.0 / 64.0) * 4.0;
        assert!((sha - 1e9 / messages).abs() < 1.0, "{sha}");
        assert_eq!(core().limit(Backend::Avx2.into(), 64), None);
        assert_eq!(core().limit(Backend::Portable.into(), 64), None);
        if crate::build(Backend::Avx512).is_ok() {
            let limit = |versions| core().limit(Backend::Avx512.into(), versions).unwrap();
            // 2,846 and 2,389 operations plus a schedule's 460 over the versions, two a cycle.
            assert!((limit(1) - 16.0e9 / (2846.0 * 0.125)).abs() < 1.0, "{}", limit(1));
            let shared = 16.0e9 / ((2389.0 + 460.0 / 64.0) * 0.125);
            assert!((limit(64) - shared).abs() < 1.0, "{} {shared}", limit(64));
            assert!(limit(2) > limit(1) && limit(16) > limit(2));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the clock that the probe is handed")]
    fn this_core_is_measured_in_cycles() {
        let start = std::time::Instant::now();
        let Some(core) = Core::measure(&|| start.elapsed()) else { return };
        assert!((core.cycle.cycles - 1.0).abs() < 1e-9);
        // Nothing here takes less than a tenth of a cycle or, disturbed as it may be, hundreds.
        let vectors = [core.avx512, core.avx2].into_iter().flatten();
        let sha = core.sha.into_iter().flat_map(|sha| [sha.rounds, sha.message_1, sha.message_2]);
        for throughput in vectors.flat_map(|unit| [unit.add, unit.rotate]).chain(sha) {
            assert!((0.1..100.0).contains(&throughput.cycles), "{core:?}");
        }
    }
}
