//! The one node client: JSON-RPC to Bitcoin Core, or to [`crate::devchain`], over HTTP/1.1 with
//! keep-alive.
//!
//! Read [`NodeClient`] first, then [`Nodes`], which are all that a pool has, and
//! [`watch_templates`], which keeps the newest block template of the best of them in a watch
//! channel. [`Template`] is `getblocktemplate`'s answer parsed into types at the edge:
//! hashes are in internal byte order, amounts are [`units::Sats`], times are Unix seconds.
//!
//! What it deliberately does not do: no TLS (the node is on this machine or behind a tunnel of
//! the operator's), no wallet calls, no opinion on what an answer to `submitblock` means for the
//! ledger, and no background task: a connection is driven by the call that uses it, so dropping
//! a call closes its connection.

mod backoff;
mod check;
mod client;
mod empty;
mod error;
mod http;
mod nodes;
mod rpc;
mod settings;
mod standby;
mod template;
mod tip;
mod watch;

pub use check::subsidy;
pub use client::{BlockPosition, ChainInfo, NodeClient, SubmitAnswer, TipPosition};
pub use error::NodeError;
pub use nodes::{Nodes, Submission};
pub use settings::{Auth, Network, NodeSettings, UnknownNetwork};
pub use template::{Template, TemplateError, TemplateTransaction};
pub use watch::{NodeStatus, Seen, TemplateSink, WatchSettings, watch_templates};

use std::sync::Arc;

use units::Moment;

/// Reads both clocks; handed in by the shell, so that nothing here asks the machine for the time.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;
