//! Payouts by transactions: whom to pay, from which coins, by which transaction, and what became
//! of it.
//!
//! Read [`Cashier`] first: it carries out one [`Order`] at a time, and follows what is out.
//! [`Counter`] is where orders come in, and carries those out at once that want no node.
//! `rules.rs` says whom to pay, `wallet.rs` makes transactions of a descriptor's coins,
//! `coins.rs` and `scan.rs` ask the node. Before anything leaves the program it is in the ledger,
//! which refuses whatever could pay somebody twice (`ledger/src/payout.rs`); a payout that was
//! released is sent again byte for byte until it is on the chain, so nothing here has to remember
//! anything over a restart.
//!
//! What it deliberately does not do: it keeps no wallet. The node has none either; coins are
//! looked up in its set of unspent outputs each time.

mod cashier;
mod client;
mod coins;
mod counter;
mod figures;
mod order;
mod rules;
mod scan;
mod wallet;

pub use cashier::Cashier;
pub use client::carry_out;
pub use counter::Counter;
pub use order::{Order, PayoutError, Ticket};
