//! Kernels for x86-64's instruction sets.

pub(super) mod avx2;
pub(super) mod avx512;
mod lanes;
pub(super) mod probe;
pub(super) mod shani;
