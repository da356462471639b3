//! What belongs to a listening address: how sessions that come by it behave, and what comes before
//! them on the wire.

use std::{net::SocketAddr, sync::Arc};

use stratum::v1::server::Settings;

use crate::limits::Subnet;

/// One listening address.
#[derive(Debug, Clone)]
pub struct Port {
    /// Where it listens.
    pub address: SocketAddr,
    /// How sessions behave.
    pub settings: Arc<Settings>,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Peers whose PROXY header is required and believed.
    pub proxies: Vec<Subnet>,
}
