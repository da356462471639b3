//! Search nonces and versions of a block header for hashes that meet a target.
//!
//! Read [`Kernel`] and [`Slice`] first, then [`hash_header`], which says what every backend must
//! agree with, and [`suite`], which makes each of them prove it. `arch/` holds one file per
//! instruction set.
//!
//! What it deliberately does not do: it knows no jobs, pools, threads or networks (a header, a
//! target and a range in, hits out), it reads no file and no clock (the [`chooser`] is handed
//! one), and it never reports a hit that the reference has not confirmed.
//!
//! Units: a rate is in hashes per second, where a hash is one double SHA-256 of an 80-byte header.
//! Hashes are 32 bytes in internal order, as SHA-256 gives them.

mod arch;
mod backend;
pub mod chooser;
mod inputs;
mod limit;
mod midstate;
mod reference;
mod rounds;
mod search;
mod slice;
pub mod suite;

pub use backend::{Backend, BackendError, Shape, Tile, available, build, tiles};
pub use inputs::version_inputs;
pub use limit::{Core, Sha, Throughput, Vectors};
pub use reference::{hash_header, with_version_and_nonce};
pub use search::Search;
pub use slice::{Hit, Slice};

use core::fmt::Debug;

use units::Hashes;

/// One way to search, owned by one thread.
///
/// Called once per [`Slice`], never per nonce. The same slice gives the same hits on every
/// backend; only their order may differ.
pub trait Kernel: Send + Debug {
    /// Which backend this is.
    fn backend(&self) -> Backend;

    /// Hashes every nonce of the slice with every one of its versions and appends each pair that
    /// meets the target to `hits`, in no particular order.
    ///
    /// Returns the number of hashes done, which is exactly versions x nonces. Every hit was
    /// hashed again by [`hash_header`] before it was appended.
    ///
    /// # Panics
    /// When the slice runs past nonce `u32::MAX`.
    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes;

    /// Candidates so far whose hash the reference did not confirm: each is a hardware error (or
    /// a bug that [`suite::run`] should have found), and none was reported as a hit.
    fn faults(&self) -> u64;
}
