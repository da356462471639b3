//! Which addresses are looked through: a private network, or one of this machine's own.
//!
//! Deliberately without IPv6, whose networks are too large to be looked through, and without any
//! address that may be somebody else's: who asks strangers what they are is taken for an attacker.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The largest network has a prefix of so many bits: 4,096 addresses.
const SHORTEST_PREFIX: u32 = 20;
/// Addresses that are looked through in one go.
pub const ADDRESSES_MAX: usize = 1 << 16;

/// A network in which devices are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    first: u32,
    prefix: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network; write one as 10.0.0.0/24");
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
        // Whatever is so small lies wholly inside or outside of a private range.
        if !address.is_private() && !address.is_loopback() {
            return Err(format!(
                "{text} is not private, and its devices may be strangers': only 10.0.0.0/8, \
                 172.16.0.0/12, 192.168.0.0/16 and 127.0.0.0/8 are looked through"
            ));
        }
        if prefix < SHORTEST_PREFIX {
            return Err(format!(
                "{text} is too large; at most a /{SHORTEST_PREFIX}, and several of them"
            ));
        }
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        Ok(Self { first: address.to_bits() & mask, prefix })
    }
}

impl Network {
    /// Its addresses, without the one of the network itself and the one of all in it.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let last = self.first + (u32::MAX.checked_shr(self.prefix).unwrap_or(0));
        let outer = u32::from(self.prefix < 31);
        (self.first + outer..=last - outer).map(Ipv4Addr::from_bits)
    }
}

/// The addresses of all networks, each once.
///
/// # Errors
/// Where there are too many.
pub fn addresses(networks: &[Network]) -> Result<BTreeSet<Ipv4Addr>, String> {
    let mut all = BTreeSet::new();
    for network in networks {
        all.extend(network.hosts());
        if all.len() > ADDRESSES_MAX {
            return Err(format!(
                "more than {ADDRESSES_MAX} addresses; look through fewer at a time"
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str) -> (usize, String, String) {
        let hosts: Vec<_> = text.parse::<Network>().unwrap().hosts().collect();
        (hosts.len(), hosts[0].to_string(), hosts[hosts.len() - 1].to_string())
    }

    #[test]
    fn a_network_is_its_hosts() {
        let of = |count, first: &str, last: &str| (count, first.to_owned(), last.to_owned());
        assert_eq!(ends("10.0.0.0/24"), of(254, "10.0.0.1", "10.0.0.254"));
        assert_eq!(ends("10.0.0.77/24"), of(254, "10.0.0.1", "10.0.0.254"));
        assert_eq!(ends("172.31.240.0/20"), of(4094, "172.31.240.1", "172.31.255.254"));
        assert_eq!(ends("192.168.1.4/30"), of(2, "192.168.1.5", "192.168.1.6"));
        assert_eq!(ends("192.168.1.4/31"), of(2, "192.168.1.4", "192.168.1.5"));
        assert_eq!(ends("127.0.0.1"), of(1, "127.0.0.1", "127.0.0.1"));
        assert_eq!(ends("192.168.255.255/32"), of(1, "192.168.255.255", "192.168.255.255"));
    }

    #[test]
    fn strangers_are_left_alone() {
        for stranger in [
            "8.8.8.8",
            "9.255.255.255/32",
            "11.0.0.0/24",
            "172.15.255.0/24",
            "172.32.0.0/24",
            "192.167.0.0/24",
            "192.169.0.0/24",
            "100.64.0.0/24",
            "169.254.0.0/24",
            "224.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "8.0.0.0/8",
        ] {
            let error = stranger.parse::<Network>().unwrap_err();
            assert!(error.contains("strangers") && !error.contains('\n'), "{stranger}: {error}");
        }
        for large in ["10.0.0.0/19", "10.0.0.0/0", "127.0.0.0/8"] {
            assert!(large.parse::<Network>().unwrap_err().contains("/20"), "{large}");
        }
        for wrong in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "fd00::/64", "farm"]
        {
            assert!(wrong.parse::<Network>().unwrap_err().contains("no network"), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_looked_at_once_and_there_is_an_end() {
        let of = |text: &str| text.parse::<Network>().unwrap();
        let both = addresses(&[of("10.0.0.0/24"), of("10.0.0.128/25"), of("10.0.0.0/32")]).unwrap();
        assert_eq!(both.len(), 255);
        let many: Vec<_> = (0..17).map(|n| of(&format!("10.{n}.0.0/20"))).collect();
        assert!(addresses(&many).unwrap_err().contains("addresses"));
    }
}
