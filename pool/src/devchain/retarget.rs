//! Difficulty that follows the clock: a weighted average over the arrival times of the last
//! blocks, and easing while none arrives.
//!
//! After each block the target is multiplied by `(9 T + s) / (10 T)`, where `T` is the wanted
//! spacing and `s` the time that the block took, at most `6 T`: at the right difficulty it stays
//! in the mean, a block that came at once makes the next a tenth harder, and a long pause makes
//! it one and a half times easier. That is about fifty blocks for a factor of 500, and an error
//! of a fifth at rest.
//!
//! While a block is overdue by [`EASE_EVERY`] and again each time after, the target doubles for
//! it, up to a sixteenth of the chain's starting difficulty, so that a slow miner after a fast
//! one does not wait for hours. Harder targets offered before stay valid.

use std::time::Duration;

use super::LIMIT_BITS;

/// The time without a block after which it becomes twice as easy.
pub(super) const EASE_EVERY: Duration = Duration::from_secs(10);
/// Weight of the past: one tenth of the way is gone with each block.
const MEMORY: u32 = 10;
/// The longest solve time that counts, in spacings.
const LONGEST: u32 = 6;
/// How much easier than the start the easing may go.
const EASIER_THAN_START: u32 = 16;
/// Doublings are counted in a byte (see `pulse`); a target has 256 bits.
const MAX_STEPS: u32 = 255;
/// The longest spacing that the arithmetic is made for: an hour.
const MAX_SPACING: u32 = 3_600_000;

/// The rule, with its constants worked out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retarget {
    spacing: u32,
    start: u32,
    easiest: [u8; 32],
}

impl Retarget {
    /// Blocks `spacing` apart, starting at `start_work` hashes a block.
    pub(super) fn new(spacing: Duration, start_work: u32) -> Self {
        let spacing = u32::try_from(spacing.as_millis()).unwrap_or(MAX_SPACING);
        let start = bounded(scale([0xff; 32], 1, start_work.max(1)));
        Self {
            spacing: spacing.clamp(1, MAX_SPACING),
            start: compact(start),
            easiest: bounded(scale(start, EASIER_THAN_START, 1)),
        }
    }

    /// Bits of the first block.
    pub(super) const fn start_bits(&self) -> u32 {
        self.start
    }

    /// Bits after a block with `bits` that took `solve` (`None`: nobody knows).
    pub(super) fn next_bits(&self, bits: u32, solve: Option<Duration>) -> u32 {
        let Some(solve) = solve else { return bits };
        let longest = self.spacing * LONGEST;
        let solve = u32::try_from(solve.as_millis()).unwrap_or(longest).min(longest);
        let up = self.spacing * (MEMORY - 1) + solve;
        compact(bounded(scale(expand(bits), up, self.spacing * MEMORY)))
    }

    /// Steps of easing due after `waited` without a block; no more than change anything.
    pub(super) fn steps(&self, base: u32, waited: Duration) -> u32 {
        let due = u32::try_from(waited.as_secs() / EASE_EVERY.as_secs()).unwrap_or(u32::MAX);
        let (mut target, mut steps) = (expand(base), 0);
        while steps < due.min(MAX_STEPS) && target < self.easiest {
            target = scale(target, 2, 1);
            steps += 1;
        }
        steps
    }

    /// `base` eased by `steps`: never harder than `base`.
    pub(super) fn eased(&self, base: u32, steps: u32) -> u32 {
        let target = expand(base);
        let eased = (0..steps).fold(target, |target, _| scale(target, 2, 1));
        if target >= self.easiest { base } else { compact(eased.min(self.easiest)) }
    }

    /// True where `bits` are what was offered after some step of easing up to `steps`.
    pub(super) fn allows(&self, base: u32, steps: u32, bits: u32) -> bool {
        bits == base || (1..=steps).any(|step| self.eased(base, step) == bits)
    }
}

/// `bytes * up / down` of a big-endian number, rounded down, at most 2^256 - 1.
fn scale(bytes: [u8; 32], up: u32, down: u32) -> [u8; 32] {
    let mut product = [0_u8; 40];
    let mut carry = 0_u64;
    for (out, byte) in product.iter_mut().rev().zip(bytes.iter().rev().chain([0; 8].iter())) {
        let sum = u64::from(*byte) * u64::from(up) + carry;
        *out = low_byte(sum);
        carry = sum >> 8;
    }
    let mut quotient = [0_u8; 40];
    let mut rest = 0_u64;
    for (out, byte) in quotient.iter_mut().zip(product) {
        let part = (rest << 8) | u64::from(byte);
        *out = low_byte(part / u64::from(down));
        rest = part % u64::from(down);
    }
    let (over, low) = quotient.split_at(8);
    if over.iter().any(|byte| *byte != 0) {
        return [0xff; 32];
    }
    low.try_into().unwrap_or([0xff; 32])
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

fn bounded(target: [u8; 32]) -> [u8; 32] {
    target.min(expand(LIMIT_BITS))
}

/// Bits that this module made itself, or regtest's: always a target.
fn expand(bits: u32) -> [u8; 32] {
    units::Target::from_compact(bits).map_or([0; 32], units::Target::to_be_bytes)
}

fn compact(target: [u8; 32]) -> u32 {
    units::Target::from_be_bytes(target).to_compact()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(bits: u32) -> u128 {
        units::Target::from_compact(bits).unwrap().work().get()
    }

    fn rule() -> Retarget {
        Retarget::new(Duration::from_millis(500), 1_000_000)
    }

    /// A miner of `rate` hashes a second and 5 ms of overhead a block, with exponential luck
    /// drawn from a fixed sequence: (milliseconds of the first 100 blocks, of the next 200).
    fn mine(rate: f64) -> (f64, f64) {
        let rule = rule();
        let mut bits = rule.start_bits();
        let mut seed = 0x1234_5678_9abc_def0_u64;
        let mut times = Vec::new();
        for _ in 0..300 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let luck =
                -((f64::from(u32::try_from(seed >> 32).unwrap()) + 1.0) / 4_294_967_297.0).ln();
            #[expect(clippy::cast_precision_loss, reason = "a test's estimate")]
            let time = 5.0 + work(bits) as f64 * luck / rate * 1000.0;
            bits = rule.next_bits(bits, Some(Duration::from_secs_f64(time / 1000.0)));
            times.push(time);
        }
        (times[..100].iter().sum(), times[100..].iter().sum())
    }

    #[test]
    fn it_starts_at_a_million_hashes() {
        assert!((990_000..1_010_000).contains(&work(rule().start_bits())));
    }

    #[test]
    fn two_blocks_a_second_from_one_megahash_to_one_gigahash() {
        for rate in [1e6, 1e7, 1e8, 1e9] {
            let (first, settled) = mine(rate);
            assert!(first < 90_000.0, "{rate}: the first hundred took {first} ms");
            let spacing = settled / 200.0;
            assert!((380.0..650.0).contains(&spacing), "{rate}: {spacing} ms a block");
        }
    }

    #[test]
    fn a_pause_counts_for_six_spacings_at_most() {
        let rule = rule();
        let after = |secs| rule.next_bits(rule.start_bits(), Some(Duration::from_secs(secs)));
        assert_eq!(after(3), after(86_400));
        assert_eq!(rule.next_bits(rule.start_bits(), None), rule.start_bits());
    }

    #[test]
    fn easing_doubles_stops_and_keeps_earlier_offers() {
        let rule = rule();
        let hard = compact(scale(expand(rule.start_bits()), 1, 1000));
        assert_eq!(rule.eased(hard, 0), hard);
        let once = work(hard).div_ceil(work(rule.eased(hard, 1)));
        assert!((2..=3).contains(&once), "{once}");
        assert!(work(rule.eased(hard, 255)) > 60_000);
        assert!(rule.allows(hard, 3, hard) && rule.allows(hard, 3, rule.eased(hard, 2)));
        assert!(!rule.allows(hard, 3, rule.eased(hard, 4)));
        let easy = compact(expand(LIMIT_BITS));
        assert_eq!(rule.eased(easy, 9), easy);
        assert_eq!(rule.steps(hard, Duration::from_millis(9_999)), 0);
        assert_eq!(rule.steps(hard, Duration::from_secs(25)), 2);
        let most = rule.steps(hard, Duration::from_secs(86_400));
        assert_eq!(rule.eased(hard, most), rule.eased(hard, most + 1));
        assert_ne!(rule.eased(hard, most), rule.eased(hard, most - 1));
    }

    #[test]
    fn scaling_is_exact_and_saturates() {
        let mut number = [0; 32];
        number[31] = 7;
        assert_eq!(scale(number, 3, 2)[31], 10);
        assert_eq!(scale([0xff; 32], u32::MAX, 1), [0xff; 32]);
        assert_eq!(scale([0xff; 32], u32::MAX, u32::MAX), [0xff; 32]);
    }
}
