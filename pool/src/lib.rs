//! The pool server: gives out work over Stratum, checks shares, keeps the ledger, finds blocks,
//! takes reports of energy, and shows all of it.
//!
//! Read [`run::start`] first: it makes the tasks and the channels between them. Then follow one
//! share: [`front`] lets miners in and moves bytes through their `stratum` sessions,
//! [`ledger_task`] writes and answers; [`blocks`] takes what solves a block to the [`node`], and
//! [`jobs`] brings the node's templates to the connections; [`payout`] pays miners by transactions.
//! [`http`] reads, and writes nothing but to hand in orders about payouts.
//!
//! What it deliberately does not do: it judges no share itself (`stratum` does), does no
//! arithmetic on money or energy (`ledger` and `energy` do), searches no nonce (it must not even
//! link `kernels`), and shares no state between tasks but through bounded channels.

pub mod bans;
pub mod blocks;
mod bundles;
pub mod cli;
pub mod clock;
pub mod coinbase;
pub mod config;
mod csv;
pub mod demo;
pub mod devchain;
pub mod direct;
pub mod energy_desk;
pub mod front;
pub mod handover;
pub mod http;
pub mod jobs;
pub mod large_pages;
pub mod ledger_task;
pub mod limits;
pub mod luck;
pub mod metrics;
pub mod node;
pub mod payout;
pub mod proxy_protocol;
pub mod rates;
pub mod receipts;
pub mod resume;
pub mod run;
mod statement;
mod tables;
pub mod tls;
pub mod user;
pub mod wages;
mod when;
