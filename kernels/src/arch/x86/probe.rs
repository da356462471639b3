//! What this core can do in a cycle, measured: additions, rotations, rounds of SHA-256.
//!
//! Read [`measure`]. The code is written by `codegen`: runs of one instruction that do not wait
//! for one another, and a chain of multiplications that counts cycles, because the rate of the
//! time stamp counter is not that of the core.
#![expect(unsafe_code, reason = "code for an instruction set is called after detecting it")]

use core::time::Duration;

use super::{avx2::Avx2, avx512::Avx512, shani::ShaNi};
use crate::limit::{Core, Sha, Throughput, Vectors};

mod scalars {
    //! What `codegen` wrote: cycles and the SHA instructions.
    use super::Probe;

    include!(concat!(env!("OUT_DIR"), "/probe.rs"));
}
mod vectors256 {
    //! What `codegen` wrote: AVX2.
    use super::Probe;

    include!(concat!(env!("OUT_DIR"), "/probe_avx2.rs"));
}
mod vectors512 {
    //! What `codegen` wrote: AVX-512.
    use super::Probe;

    include!(concat!(env!("OUT_DIR"), "/probe_avx512.rs"));
}

/// A run of one instruction.
struct Probe {
    function: unsafe extern "sysv64" fn(u64),
    /// Instructions in one turn.
    instructions: u32,
}

/// Turns of one measurement: about 20 microseconds each, long beside a look at the clock.
const TURNS: u64 = 1 << 10;
/// Measurements; the quickest counts, for others were disturbed.
const TRIES: usize = 24;

/// Measures this core: a few milliseconds in all.
pub(crate) fn measure(clock: &dyn Fn() -> Duration) -> Core {
    let avx512 = Avx512::detect().is_some();
    let avx2 = Avx2::detect().is_some();
    let sha = ShaNi::detect().is_some();
    let time = |has: bool, probe: &Probe| {
        // SAFETY: the probe runs only where its instruction set was detected, just above; every
        // x86-64 has multiplications.
        has.then(|| unsafe { nanoseconds(probe, clock) })
    };
    let cycle = time(true, &scalars::CYCLES).unwrap_or(f64::NAN);
    let throughput = |nanoseconds| Throughput { nanoseconds, cycles: nanoseconds / cycle };
    let vectors = |has, add, rotate| {
        let (add, rotate) = (time(has, add)?, time(has, rotate)?);
        Some(Vectors { add: throughput(add), rotate: throughput(rotate) })
    };
    let sha_unit = || {
        let of = |probe| time(sha, probe).map(throughput);
        let (rounds, message_1) = (of(&scalars::SHA_ROUNDS)?, of(&scalars::SHA_MESSAGE_1)?);
        Some(Sha { rounds, message_1, message_2: of(&scalars::SHA_MESSAGE_2)? })
    };
    Core {
        cycle: throughput(cycle),
        avx512: vectors(avx512, &vectors512::ADD, &vectors512::ROTATE),
        avx2: vectors(avx2, &vectors256::ADD, &vectors256::ROTATE),
        sha: sha_unit(),
    }
}

/// Nanoseconds for one instruction, at the best.
///
/// # Safety
/// This processor must have the probe's instruction.
unsafe fn nanoseconds(probe: &Probe, clock: &dyn Fn() -> Duration) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let start = clock();
        // SAFETY: the caller vouches for the instruction; the code follows the calling convention,
        // touches registers alone and ends after `TURNS` turns.
        unsafe { (probe.function)(TURNS) };
        let took = clock().saturating_sub(start).as_secs_f64() * 1e9;
        best = best.min(took);
    }
    best / (f64::from(probe.instructions) * 1024.0)
}
