//! Writes the vector code of the kernels from one description of the search.
//!
//! Read [`sha256`](self) first: it says what is computed, once, for every instruction set. The
//! graph underneath folds constants and finds what all lanes share; `steps` breaks it down for a
//! vector unit and puts independent hashes side by side, `registers` finds places for the values,
//! `x86` writes the assembly and `scalar` the Rust for what all lanes share. [`rust`] puts these
//! together into the module that the build of `kernels` includes; [`layout`], [`rows`],
//! [`initial_state`] and [`round_constants`] are what its other modules take from the description.
//! [`wgsl`] writes the shaders that GPUs run.
//!
//! It deliberately runs nothing and knows no processor by name: which of the shapes it writes is
//! the fastest is measured where they run. How many operations a hash takes is a test here.

mod graph;
mod module;
pub mod probe;
mod registers;
mod scalar;
mod sha256;
pub mod sha_ni;
#[cfg(test)]
mod simulate;
mod steps;
pub mod wgsl;
mod x86;

pub use module::{initial_state, layout, round_constants, rows, rust};
pub use steps::Unit;
