//! Stratum user names: `PAYOUT_ADDRESS[.worker]`, checked against the pool's network.
//!
//! An address of another network, or one with a wrong checksum, is refused at authorization with
//! a reason: work credited to it could never be paid.

use core::str::FromStr;

use bitcoin::{Address, Network, address::NetworkUnchecked};
use defences::{Defence, stands};

/// Longest worker name, as most firmwares cut it.
const WORKER_NAME_MAX: usize = 63;

/// A user name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The payout address as the `bitcoin` crate prints it: one account for every spelling.
    pub account: String,
    /// The worker's name; empty when the user gave none.
    pub worker: String,
}

impl User {
    /// Reads `name` for `network`.
    ///
    /// # Errors
    /// A line that says what is wrong with the name, fit to be shown to the miner.
    pub fn parse(name: &str, network: Network) -> Result<Self, String> {
        let (address, worker) = name.split_once('.').unwrap_or((name, ""));
        let worker_is_plain = worker.len() <= WORKER_NAME_MAX
            && worker.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if stands(Defence::WorkerName) && !worker_is_plain {
            return Err(format!(
                "worker name must be at most {WORKER_NAME_MAX} of A-Z a-z 0-9 . _ -"
            ));
        }
        let account = match parse_address(address, network) {
            Err(_) if !stands(Defence::PayoutAddress) => address.to_owned(),
            parsed => parsed?.to_string(),
        };
        Ok(Self { account, worker: worker.to_owned() })
    }
}

/// Reads a payout address of `network`.
///
/// # Errors
/// A line that names the address and what is wrong with it.
pub fn parse_address(text: &str, network: Network) -> Result<Address, String> {
    let shown: String = text.chars().take(100).collect();
    let unchecked = Address::<NetworkUnchecked>::from_str(text)
        .map_err(|_| format!("{shown:?} is not a bitcoin address"))?;
    if !stands(Defence::AddressNetwork) {
        return Ok(unchecked.assume_checked());
    }
    unchecked
        .require_network(network)
        .map_err(|_| format!("{shown:?} is an address of another network than {network}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    #[test]
    fn splits_address_and_worker_at_the_first_dot() {
        let user = User::parse(&format!("{ADDRESS}.rig.1"), Network::Regtest).unwrap();
        assert_eq!((user.account.as_str(), user.worker.as_str()), (ADDRESS, "rig.1"));
        assert_eq!(User::parse(ADDRESS, Network::Regtest).unwrap().worker, "");
    }

    #[test]
    fn one_account_for_every_spelling() {
        let upper = User::parse(&ADDRESS.to_uppercase(), Network::Regtest).unwrap();
        assert_eq!(upper.account, ADDRESS);
    }

    #[test]
    fn refuses_with_a_reason() {
        let reason = |name: &str| User::parse(name, Network::Regtest).unwrap_err();
        assert!(reason("").contains("not a bitcoin address"));
        assert!(reason("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081").contains("not a bitcoin"));
        assert!(reason("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4").contains("another network"),);
        assert!(reason(&format!("{ADDRESS}.<script>")).contains("worker name"));
        assert!(reason(&format!("{ADDRESS}.{}", "x".repeat(64))).contains("worker name"));
    }
}
