//! An address and how many of its leading bits count: what caps, bans and lists of peers are keyed
//! by.
//!
//! It deliberately knows IPv4 only in its IPv6 form, so that both spellings of one host compare
//! alike.

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The bits before an IPv4 address in its IPv6 form.
const MAPPED: u32 = 96;

/// A network, or one host of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    bits: u128,
    /// From 0 to 128, counted on the IPv6 form.
    length: u32,
}

impl Subnet {
    /// What usually belongs to one customer: the /24 of an IPv4 address, the /64 of an IPv6 one.
    #[must_use]
    pub fn around(address: IpAddr) -> Self {
        Self::cut(address, MAPPED + 24, 64)
    }

    /// What one site is given as a rule: the /48 of an IPv6 address, and still the /24 of an IPv4
    /// one.
    #[must_use]
    pub fn site_of(address: IpAddr) -> Self {
        Self::cut(address, MAPPED + 24, 48)
    }

    /// The smallest that one person cannot leave at will: an IPv4 address, the /64 of an IPv6 one.
    #[must_use]
    pub fn host_of(address: IpAddr) -> Self {
        Self::cut(address, MAPPED + 32, 64)
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        as_bits(address) & mask(self.length) == self.bits
    }

    /// Whether everybody of a family is in it: `0.0.0.0/0`, `::/0`, or the latter's half that
    /// holds all of IPv4.
    #[must_use]
    pub const fn is_everybody(&self) -> bool {
        self.length == 0 || (self.length == MAPPED && self.bits >> 32 == 0xffff)
    }

    /// As [`FromStr`] reads it, also for a single address.
    #[must_use]
    pub fn with_length(&self) -> String {
        let (address, length, _) = self.shown();
        format!("{address}/{length}")
    }

    /// The address, the length on its own family's form, and that family's width.
    const fn shown(&self) -> (IpAddr, u32, u32) {
        let whole = Ipv6Addr::from_bits(self.bits);
        match whole.to_ipv4_mapped() {
            Some(v4) if self.length >= MAPPED => (IpAddr::V4(v4), self.length - MAPPED, 32),
            Some(_) | None => (IpAddr::V6(whole), self.length, 128),
        }
    }

    fn cut(address: IpAddr, v4: u32, v6: u32) -> Self {
        Self::new(address, if address.to_canonical().is_ipv4() { v4 } else { v6 })
    }

    fn new(address: IpAddr, length: u32) -> Self {
        Self { bits: as_bits(address) & mask(length), length }
    }
}

impl FromStr for Subnet {
    type Err = String;

    /// `10.0.0.0/8` or `2001:db8::/32`; bits past the length are taken off.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no network such as \"127.0.0.0/8\"");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u32 = length.parse().map_err(|_| wrong())?;
        let (width, offset) = if address.is_ipv4() { (32, MAPPED) } else { (128, 0) };
        if length > width { Err(wrong()) } else { Ok(Self::new(address, offset + length)) }
    }
}

impl fmt::Display for Subnet {
    /// As it is written in a configuration; a single address without its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, length, width) = self.shown();
        if length == width { write!(f, "{address}") } else { write!(f, "{address}/{length}") }
    }
}

/// Whether one of the networks has the address.
#[must_use]
pub fn within(networks: &[Subnet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// An address as 128 bits, IPv4 in its IPv6 form so that both compare alike.
fn as_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_or_refused() {
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("203.0.113.9")) && !all.contains(ip("2001:db8::1")));
        for bad in ["127.0.0.1", "127.0.0.0/33", "x/8", "::1/129", "1.2.3.4/-1", "1.2.3.4/"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
        for (text, everybody) in
            [("0.0.0.0/0", true), ("::/0", true), ("10.0.0.0/8", false), ("::/96", false)]
        {
            assert_eq!(text.parse::<Subnet>().unwrap().is_everybody(), everybody, "{text}");
        }
    }

    #[test]
    fn they_print_as_they_are_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0"] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3/8".parse::<Subnet>().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Subnet::host_of(ip("192.0.2.7")).to_string(), "192.0.2.7");
        assert_eq!(Subnet::host_of(ip("2001:db8:1:2:3::4")).to_string(), "2001:db8:1:2::/64");
        assert_eq!(Subnet::site_of(ip("2001:db8:1:2:3::4")).to_string(), "2001:db8:1::/48");
        assert_eq!(Subnet::around(ip("::ffff:192.0.2.7")), Subnet::around(ip("192.0.2.7")));
    }
}
