//! Who may connect: caps on connections by address, by subnet and altogether, and on how many
//! are taken a second.
//!
//! The accept loop owns one [`Admission`] and tells it when a connection ends; nothing is shared.
//! It deliberately knows no sockets and no clock.

use core::{net::IpAddr, str::FromStr, time::Duration};
use std::collections::HashMap;

use defences::{Defence, stands};

/// The section `[limits]`: connections at once, and new ones a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From one address.
    pub per_address: u64,
    /// From one /24, or one /48 of IPv6.
    pub per_subnet: u64,
    /// Altogether; binds everybody.
    pub total: u64,
    /// New ones a second, altogether.
    pub accepts_per_second: u64,
    /// Networks that only `total` binds.
    pub exempt: Vec<Subnet>,
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    bits: u128,
    length: u32,
}

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pool is full.
    #[error("the pool serves as many connections as it may (limits.total)")]
    Total,
    /// The address has its share.
    #[error("this address holds as many connections as it may (limits.per_address)")]
    Address,
    /// The subnet has its share.
    #[error("this subnet holds as many connections as it may (limits.per_subnet)")]
    Subnet,
    /// Too many came in this second.
    #[error("too many new connections this second (limits.accepts_per_second)")]
    Rate,
}

/// The counts behind the limits.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    total: u64,
    addresses: HashMap<IpAddr, u64>,
    subnets: HashMap<Subnet, u64>,
    second: u64,
    accepts_this_second: u64,
}

impl Admission {
    /// Nobody connected yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            total: 0,
            addresses: HashMap::new(),
            subnets: HashMap::new(),
            second: 0,
            accepts_this_second: 0,
        }
    }

    /// Counts a connection from `address` in, or says why not.
    ///
    /// # Errors
    /// The first limit that it would pass; nothing is then counted.
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<(), Refusal> {
        let address = address.to_canonical();
        if stands(Defence::ConnectionsTotal) && self.total >= self.limits.total {
            return Err(Refusal::Total);
        }
        if !self.is_exempt(address) {
            self.check(address, now.as_secs())?;
        }
        self.total += 1;
        *self.addresses.entry(address).or_default() += 1;
        *self.subnets.entry(Subnet::around(address)).or_default() += 1;
        Ok(())
    }

    /// Counts a connection that was admitted out again.
    pub fn release(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        self.total = self.total.saturating_sub(1);
        count_down(&mut self.addresses, address);
        count_down(&mut self.subnets, Subnet::around(address));
    }

    /// Connections held now.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn check(&mut self, address: IpAddr, second: u64) -> Result<(), Refusal> {
        let held = |count: Option<&u64>| count.copied().unwrap_or(0);
        let of_address = held(self.addresses.get(&address));
        if stands(Defence::ConnectionsByAddress) && of_address >= self.limits.per_address {
            return Err(Refusal::Address);
        }
        let of_subnet = held(self.subnets.get(&Subnet::around(address)));
        if stands(Defence::ConnectionsBySubnet) && of_subnet >= self.limits.per_subnet {
            return Err(Refusal::Subnet);
        }
        if second != self.second {
            (self.second, self.accepts_this_second) = (second, 0);
        }
        let too_fast = self.accepts_this_second >= self.limits.accepts_per_second;
        if stands(Defence::AcceptRate) && too_fast {
            return Err(Refusal::Rate);
        }
        self.accepts_this_second += 1;
        Ok(())
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.limits.exempt.iter().any(|subnet| subnet.contains(address))
    }
}

impl Subnet {
    /// The network that an address is counted with: its /24, or its /48 of IPv6.
    fn around(address: IpAddr) -> Self {
        Self::new(address, if address.is_ipv4() { 96 + 24 } else { 48 })
    }

    fn new(address: IpAddr, length: u32) -> Self {
        Self { bits: as_bits(address) & mask(length), length }
    }

    fn contains(&self, address: IpAddr) -> bool {
        as_bits(address) & mask(self.length) == self.bits
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no network such as \"127.0.0.0/8\"");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u32 = length.parse().map_err(|_| wrong())?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        if length > width { Err(wrong()) } else { Ok(Self::new(address, offset + length)) }
    }
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

fn count_down<K: core::hash::Hash + Eq>(counts: &mut HashMap<K, u64>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(Limits {
            per_address: 2,
            per_subnet: 3,
            total: 6,
            accepts_per_second: 100,
            exempt: vec!["127.0.0.0/8".parse().unwrap()],
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_cap_holds_and_is_released() {
        let mut admission = admission();
        let now = Duration::ZERO;
        let mut admit = |address: &str| admission.admit(ip(address), now);
        assert_eq!(admit("10.0.0.1"), Ok(()));
        assert_eq!(admit("10.0.0.1"), Ok(()));
        assert_eq!(admit("10.0.0.1"), Err(Refusal::Address));
        assert_eq!(admit("::ffff:10.0.0.1"), Err(Refusal::Address), "the same host");
        assert_eq!(admit("10.0.0.2"), Ok(()));
        assert_eq!(admit("10.0.0.3"), Err(Refusal::Subnet));
        for _ in 0..3 {
            assert_eq!(admit("127.0.0.1"), Ok(()), "exempt from the caps by address");
        }
        assert_eq!(admit("127.0.0.1"), Err(Refusal::Total));
        admission.release(ip("10.0.0.1"));
        assert_eq!(admission.admit(ip("10.0.0.3"), now), Ok(()));
        assert_eq!(admission.total(), 6);
    }

    #[test]
    fn the_rate_is_per_second() {
        let mut admission = admission();
        admission.limits.accepts_per_second = 1;
        assert_eq!(admission.admit(ip("10.0.0.1"), Duration::ZERO), Ok(()));
        assert_eq!(admission.admit(ip("10.1.0.1"), Duration::ZERO), Err(Refusal::Rate));
        assert_eq!(admission.admit(ip("10.1.0.1"), Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn networks_are_read_or_refused() {
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("203.0.113.9")) && !all.contains(ip("2001:db8::1")));
        for bad in ["127.0.0.1", "127.0.0.0/33", "x/8", "::1/129", "1.2.3.4/-1"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
