//! The embedded development chain: its rules against Bitcoin Core's words, its memory against
//! kills, and its RPC through the pool's own node client over real HTTP.
//!
//! `rig` makes a chain with a clock of its own and blocks to order.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy allows it in their functions alone"
)]

#[path = "../support/between.rs"]
mod between;
mod chain;
mod http;
mod jobs;
mod rig;
mod rules;
mod served;
mod watch;
#[path = "../support/work.rs"]
mod work;
