//! What can go wrong between the pool and its node, in words that name the node, the call and
//! the reason. No message ever holds a password.

use std::time::Duration;

/// A call to the node that brought no answer of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The settings cannot work; asking again changes nothing.
    #[error("node {url}: {reason}")]
    Settings {
        /// The node's address, or what was given for it with credentials left out.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cookie file cannot be read; a node that is not running has none.
    #[error("node {url}: cannot read the cookie file {path}: {reason}")]
    Cookie {
        /// The node's address.
        url: String,
        /// The file.
        path: String,
        /// The system's reason.
        reason: String,
    },
    /// No connection, or it broke.
    #[error("node {url}: {method}: cannot reach the node: {reason}")]
    Unreachable {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
        /// The system's reason.
        reason: String,
    },
    /// No answer in time.
    #[error("node {url}: {method}: no answer within {after:?}")]
    TimedOut {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
        /// The limit that passed.
        after: Duration,
    },
    /// Wrong user, password or cookie.
    #[error("node {url}: {method}: the node refused the user and password (or cookie)")]
    Unauthorized {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
    },
    /// Not JSON-RPC: some other server, or a proxy's page, or a node too busy to answer.
    #[error("node {url}: {method}: HTTP status {status}: {reason}")]
    Http {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
        /// The HTTP status.
        status: u16,
        /// The first words of the body.
        reason: String,
    },
    /// An answer over the size limit.
    #[error("node {url}: {method}: the answer is over {limit} bytes")]
    TooLarge {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// An answer that is not what the call promises.
    #[error("node {url}: {method}: unexpected answer: {reason}")]
    Malformed {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// The node understood, and says no.
    #[error("node {url}: {method}: error {code}: {message}")]
    Rpc {
        /// The node's address.
        url: String,
        /// The call.
        method: String,
        /// Bitcoin Core's error code, such as -28 (still starting) or -5 (no such block).
        code: i64,
        /// Bitcoin Core's words.
        message: String,
    },
    /// The node is behind what another node of this pool has given.
    #[error("node {url}: its template is for height {height}, and {known} was seen before")]
    Behind {
        /// The node's address.
        url: String,
        /// The height that it gives.
        height: u32,
        /// The height of the newest template.
        known: u32,
    },
    /// The node is on another chain than the configuration says.
    #[error("node {url}: it is on chain '{found}', but the configuration says '{expected}'")]
    WrongNetwork {
        /// The node's address.
        url: String,
        /// The chain's name in the node's answer.
        found: String,
        /// The chain's name that the configured network has.
        expected: String,
    },
}

/// Bitcoin Core's code for "still starting up".
pub(crate) const RPC_IN_WARMUP: i64 = -28;
/// Bitcoin Core's code for an address, key or block that does not exist.
pub(crate) const RPC_NOT_FOUND: i64 = -5;
/// Bitcoin Core's code for a parameter out of range, such as a height above the tip.
pub(crate) const RPC_INVALID_PARAMETER: i64 = -8;

impl NodeError {
    /// True where the same call may well succeed a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Cookie { .. } => true,
            Self::Http { status, .. } => *status >= 500,
            Self::Rpc { code, .. } => *code == RPC_IN_WARMUP,
            Self::Settings { .. }
            | Self::Unauthorized { .. }
            | Self::TooLarge { .. }
            | Self::Behind { .. }
            | Self::Malformed { .. }
            | Self::WrongNetwork { .. } => false,
        }
    }

    /// The node's own error code, where the node answered with one.
    #[must_use]
    pub fn rpc_code(&self) -> Option<i64> {
        if let Self::Rpc { code, .. } = self { Some(*code) } else { None }
    }
}
