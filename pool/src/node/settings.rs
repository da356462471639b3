//! Where the node is and how to speak to it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use config::Secret;

/// Everything [`super::NodeClient`] has to know. The password never leaves `auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// `http://host:port`, without user or password in it.
    pub url: String,
    /// How to prove who is asking.
    pub auth: Auth,
    /// The chain that the node is expected to be on.
    pub network: Network,
    /// The longest that one ordinary call may take, retries not counted.
    pub timeout: Duration,
}

/// Credentials for the node's RPC server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `rpcuser` and `rpcpassword`, or an `rpcauth` line's user and password.
    UserPassword(String, Secret),
    /// The `.cookie` file that the node writes at each start; read again when refused.
    Cookie(PathBuf),
}

/// A Bitcoin network, by the names that `pool.toml` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// The main network.
    Bitcoin,
    /// The fourth public test network.
    Testnet4,
    /// A signed test network, public or private.
    Signet,
    /// A private chain of this machine.
    Regtest,
}

impl Network {
    /// The name in `pool.toml`: `bitcoin`, `testnet4`, `signet` or `regtest`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// The name in `getblockchaininfo`'s field `chain`.
    #[must_use]
    pub const fn chain_name(self) -> &'static str {
        match self {
            Self::Bitcoin => "main",
            Self::Testnet4 | Self::Signet | Self::Regtest => self.as_str(),
        }
    }

    /// True where coins are worthless; such a node may report that it is still in its initial
    /// block download (a fresh chain always does) and serve templates all the same.
    #[must_use]
    pub const fn is_test(self) -> bool {
        !matches!(self, Self::Bitcoin)
    }

    /// Blocks from one halving of the subsidy to the next.
    pub(super) const fn halving(self) -> u32 {
        match self {
            Self::Bitcoin | Self::Testnet4 | Self::Signet => 210_000,
            Self::Regtest => 150,
        }
    }

    /// The same network in the `bitcoin` crate's terms, for addresses.
    #[must_use]
    pub const fn to_bitcoin(self) -> bitcoin::Network {
        match self {
            Self::Bitcoin => bitcoin::Network::Bitcoin,
            Self::Testnet4 => bitcoin::Network::Testnet4,
            Self::Signet => bitcoin::Network::Signet,
            Self::Regtest => bitcoin::Network::Regtest,
        }
    }

    /// The rules that `getblocktemplate` wants named.
    pub(crate) const fn rules(self) -> &'static [&'static str] {
        match self {
            Self::Signet => &["segwit", "signet"],
            Self::Bitcoin | Self::Testnet4 | Self::Regtest => &["segwit"],
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A network name that is none of the four.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("network '{0}' is not one of bitcoin, testnet4, signet, regtest")]
pub struct UnknownNetwork(pub String);

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Bitcoin, Self::Testnet4, Self::Signet, Self::Regtest]
            .into_iter()
            .find(|network| network.as_str() == text)
            .ok_or_else(|| UnknownNetwork(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused_by_name() {
        for name in ["bitcoin", "testnet4", "signet", "regtest"] {
            assert_eq!(name.parse::<Network>().unwrap().to_string(), name);
        }
        let error = "mainnet".parse::<Network>().unwrap_err();
        assert!(error.to_string().contains("mainnet"), "{error}");
        assert_eq!(Network::Bitcoin.chain_name(), "main");
        assert!(!Network::Bitcoin.is_test() && Network::Signet.is_test());
    }
}
