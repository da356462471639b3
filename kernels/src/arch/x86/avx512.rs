//! 16 nonces at a time on AVX-512.
//!
//! Which [`Shape`] is the fastest depends on how far a processor looks ahead. The code is written
//! by `codegen`.
#![expect(unsafe_code, reason = "code for an instruction set is called after detecting it")]

use units::Hashes;

use super::lanes::{Code, Lanes, Part, Way};
use crate::{Backend, Hit, Shape, Slice};

#[expect(
    clippy::unreadable_literal,
    clippy::too_many_lines,
    reason = "people read the description that this is made from"
)]
mod code {
    //! What `codegen` wrote.
    use super::Part;

    include!(concat!(env!("OUT_DIR"), "/avx512.rs"));
}

/// A proof that this processor, and its operating system, have AVX-512 F.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The only way to a proof. Miri has none: it is for the portable code.
    pub(crate) fn detect() -> Option<Self> {
        let has_all = !cfg!(miri) && std::arch::is_x86_feature_detected!("avx512f");
        has_all.then_some(Self(()))
    }
}

/// The code of a shape.
pub(crate) const fn code(shape: Shape) -> Code {
    let (direct, rounds) = match shape {
        Shape::Plain => (
            Way { hash: &code::DIRECT_PLAIN, last: None },
            Way { hash: &code::ROUNDS_PLAIN, last: None },
        ),
        Shape::Interleaved => (
            Way { hash: &code::DIRECT_INTERLEAVED, last: Some(&code::SECOND) },
            Way { hash: &code::ROUNDS_INTERLEAVED, last: Some(&code::SECOND) },
        ),
        Shape::Double => (
            Way { hash: &code::DIRECT_INTERLEAVED, last: Some(&code::SECOND) },
            Way { hash: &code::ROUNDS_DOUBLE, last: Some(&code::SECOND_DOUBLE) },
        ),
    };
    Code {
        backend: Backend::Avx512,
        lanes: code::LANES,
        copies: code::COPIES,
        versions_per_schedule: 64,
        schedule: &code::SCHEDULE,
        shared_rows: code::shared_rows,
        direct,
        rounds,
    }
}

const _: () = assert!(
    code(Shape::Plain).fills_lots()
        && code(Shape::Interleaved).fills_lots()
        && code(Shape::Double).fills_lots(),
    "a call's versions are of one lot"
);

/// The kernel.
#[derive(Debug)]
pub(crate) struct Kernel(Lanes);

impl Kernel {
    pub(crate) fn new(_proof: Avx512, shape: Shape) -> Self {
        // SAFETY: the proof exists only where AVX-512 F was detected, and the code uses no more.
        Self(unsafe { Lanes::new(code(shape)) })
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
    fn every_shape_agrees_with_the_reference() {
        let Some(proof) = Avx512::detect() else {
            eprintln!("skipped: this processor cannot run {}", Backend::Avx512);
            return;
        };
        for shape in Shape::ALL {
            for seed in 0..4 {
                suite::run(&mut Kernel::new(proof, shape), seed)
                    .unwrap_or_else(|failure| panic!("{shape:?}: {failure}"));
            }
        }
    }
}
