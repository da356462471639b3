//! Kernels for x86-64's instruction sets.

pub(super) mod shani;
