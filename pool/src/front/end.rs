//! Why a connection ended, and what that says about who was at its other end.

use stratum::v1::Fatal;

use super::unsent::WRITE_LIMIT;
use crate::{bans::Offence, proxy_protocol::ProxyError, tls::TlsEnd};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The miner closed it.
    #[error("closed by the miner")]
    Peer,
    /// The pool is stopping.
    #[error("the pool is stopping")]
    Stopping,
    /// The session ended it by its clock, and says why.
    #[error("{0}")]
    Late(String),
    /// The session ended it over what came.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsEnd),
    /// A PROXY header where none is believed.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The network failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer does not take what is said to it.
    #[error("the miner did not read its answers for {} s", WRITE_LIMIT.as_secs())]
    SlowReader,
    /// Shares can no longer be kept.
    #[error("the ledger has stopped")]
    Ledger,
}

impl End {
    /// What its address did wrong.
    pub(super) const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Fatal(Fatal::Garbage(_) | Fatal::LineTooLong(_)) => Some(Offence::Garbage),
            Self::Fatal(Fatal::Nuisance) => Some(Offence::Flood),
            Self::Fatal(Fatal::NotReading(_)) => Some(Offence::SlowReader),
            Self::Late(_) => Some(Offence::SlowStart),
            Self::SlowReader => Some(Offence::SlowReader),
            Self::Proxy(_) => Some(Offence::StrayProxyHeader),
            Self::Tls(end) => end.offence(),
            Self::Fatal(Fatal::Closed)
            | Self::Peer
            | Self::Stopping
            | Self::Io(_)
            | Self::Ledger => None,
        }
    }
}
