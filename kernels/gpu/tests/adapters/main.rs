//! Every adapter of this machine against the reference: the cases that every CPU kernel passes, and
//! those that only a GPU has: lists that run over, several dispatches under way, a device that is
//! lost.
//!
//! Read [`case`] first. Without an adapter there is nothing to run, which is a failure where
//! `WATTPROOF_NEEDS_GPU` is set: the test command sets it once it has seen to a software adapter.
//! Most cases run in small sizes of their own: a usual tile begins thousands of hashes for a range
//! of one nonce, which a software adapter takes its time for. It deliberately rests nothing on a
//! clock.

mod case;
mod claims;
mod limits;
mod loss;
mod ranges;

use gpu::{Engine, GpuKernel, Method, Tile};
use kernels::{Kernel as _, suite};

use case::adapters;

#[test]
fn every_method_agrees_with_the_reference_in_every_case() {
    for adapter in adapters() {
        for method in Method::ALL {
            let engine = Engine::open(&adapter, Tile::usual(method)).unwrap();
            let mut kernel = GpuKernel::new(engine);
            let seed = 0x5eed;
            let report = suite::run(&mut kernel, seed);
            let report = report.unwrap_or_else(|failure| {
                panic!("{} {}: {failure} {:?}", adapter.info, method.name(), kernel.lost())
            });
            assert!(report.hits > 0 && kernel.faults() == 0, "{report:?}");
        }
    }
}
