//! The search of `kernels` on a GPU, through wgpu: no vendor's kit, one program for all of them.
//!
//! Read [`Engine`] first: slices go in by [`Engine::submit`] and come out by [`Engine::finish`],
//! two at a time under way, so that the GPU always has the next one. [`adapters`] finds the GPUs,
//! [`Tile`] says which of the shaders runs and in which sizes, [`limit::Rates`] what an adapter could
//! do at the most. The shaders are written by `codegen` from the description that the CPU's code
//! comes from.
//!
//! What it deliberately does not do: it reads no clock (a dispatch is timed by the GPU itself, or by
//! the caller), starts no thread, knows no jobs, and gives no hit that the reference has not
//! confirmed. A GPU that is lost is an error of the call that noticed; opening it again is the
//! caller's.
//!
//! Units: a rate is in hashes per second.

pub mod adapters;
pub mod chooser;
mod device;
mod engine;
#[expect(clippy::unreadable_literal, reason = "nobody reads what was written by a program")]
#[expect(clippy::too_many_lines, reason = "people read the description that this is made from")]
mod generated {
    //! What `codegen` wrote.

    use crate::shaders::Operations;

    include!(concat!(env!("OUT_DIR"), "/shaders.rs"));
}
mod kernel;
pub mod limit;
mod program;
mod shaders;

pub use adapters::{Adapter, Info};
pub use device::{Lost, OpenError};
pub use engine::{Breaker, Done, Engine, Finished, IN_FLIGHT, PATIENCE};
pub use kernel::GpuKernel;
pub use program::VERSIONS_MAX;
pub use shaders::{Method, Tile, fingerprint};
