//! 8 nonces at a time on AVX2. The code is written by `codegen`.
#![expect(unsafe_code, reason = "code for an instruction set is called after detecting it")]

use units::Hashes;

use super::lanes::{Code, Lanes, Part, Way};
use crate::{Backend, Hit, Slice};

#[expect(
    clippy::unreadable_literal,
    clippy::too_many_lines,
    reason = "people read the description that this is made from"
)]
mod code {
    //! What `codegen` wrote.
    use super::Part;

    include!(concat!(env!("OUT_DIR"), "/avx2.rs"));
}

/// A proof that this processor, and its operating system, have AVX2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The only way to a proof. Miri has none: it is for the portable code.
    pub(crate) fn detect() -> Option<Self> {
        let has_all = !cfg!(miri) && std::arch::is_x86_feature_detected!("avx2");
        has_all.then_some(Self(()))
    }
}

/// The code.
pub(crate) const fn code() -> Code {
    Code {
        backend: Backend::Avx2,
        lanes: code::LANES,
        copies: code::COPIES,
        versions_per_schedule: 16,
        schedule: &code::SCHEDULE,
        shared_rows: code::shared_rows,
        direct: Way { hash: &code::DIRECT_PLAIN, last: None },
        rounds: Way { hash: &code::ROUNDS_PLAIN, last: None },
    }
}

const _: () = assert!(code().fills_lots(), "a call's versions are of one lot");

/// The kernel.
#[derive(Debug)]
pub(crate) struct Kernel(Lanes);

impl Kernel {
    pub(crate) fn new(_proof: Avx2) -> Self {
        // SAFETY: the proof exists only where AVX2 was detected, and the code uses no more.
        Self(unsafe { Lanes::new(code()) })
    }
}

impl crate::Kernel for Kernel {
    fn backend(&self) -> Backend {
        self.0.backend()
    }

    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        self.0.scan(slice, hits)
    }

    fn faults(&self) -> u64 {
        self.0.faults()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    #[expect(clippy::print_stderr, reason = "a backend that cannot run here says so")]
    fn agrees_with_the_reference() {
        let Some(proof) = Avx2::detect() else {
            eprintln!("skipped: this processor cannot run {}", Backend::Avx2);
            return;
        };
        for seed in 0..4 {
            suite::run(&mut Kernel::new(proof), seed).unwrap();
        }
    }
}
