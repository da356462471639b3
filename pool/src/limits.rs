//! Who may connect: caps on connections by address, by subnet, by site and altogether, and on how
//! many are taken a second.
//!
//! Whoever accepts owns one [`Admission`] and tells it when a connection ends; nothing is shared.
//! [`Room`] says how many the system's open files allow, [`Subnet`] is what is counted by. It
//! deliberately knows no sockets and no clock; who behaved badly is in [`crate::bans`].
//!
//! Every table here is bounded by what it counts: those of held connections by `total`, those of
//! one second by `accepts_per_second`. A connection that is turned away leaves nothing behind.

use core::{net::IpAddr, time::Duration};
use std::collections::HashMap;

use defences::{Defence, stands};

mod files;
mod subnet;

pub use files::{Bound, OpenFiles, RESERVED_FILES, Room, capacity, raise_open_files};
pub use subnet::{Subnet, within};

/// A /48 of IPv6 holds this many times what a /64 may. It is what one site is given, with 65,536
/// times /64: without this its holder could take every place. Four, because an honest site has a
/// few networks and not thousands.
const SITE_FACTOR: u64 = 4;

/// The section `[limits]`: connections at once, and new ones a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From one address.
    pub per_address: u64,
    /// From one /24, or one /64 of IPv6; four times as many from one /48.
    pub per_subnet: u64,
    /// Altogether; binds everybody.
    pub total: u64,
    /// New ones a second, altogether.
    pub accepts_per_second: u64,
    /// New ones a second from one /24, or one /48 of IPv6.
    pub subnet_accepts_per_second: u64,
    /// Networks that only `total` binds, and that are never banned.
    pub exempt: Vec<Subnet>,
}

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pool is full.
    #[error("the pool serves as many connections as it may (limits.total, or open files)")]
    Total,
    /// The address has its share.
    #[error("this address holds as many connections as it may (limits.per_address)")]
    Address,
    /// The subnet has its share.
    #[error("this subnet holds as many connections as it may (limits.per_subnet)")]
    Subnet,
    /// The site has its share.
    #[error("this /48 holds as many connections as it may (four times limits.per_subnet)")]
    Site,
    /// Too many came in this second.
    #[error("too many new connections this second (limits.accepts_per_second)")]
    Rate,
    /// Too many came from one subnet in this second.
    #[error(
        "too many new connections from this subnet this second (limits.subnet_accepts_per_second)"
    )]
    SubnetRate,
}

/// The counts behind the limits.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    total: u64,
    addresses: HashMap<IpAddr, u64>,
    /// By /24 and /64, and by /48.
    subnets: HashMap<Subnet, u64>,
    second: u64,
    accepts_this_second: u64,
    /// By /24 and /48; forgotten with the second.
    subnets_this_second: HashMap<Subnet, u64>,
}

impl Default for Limits {
    /// What is in force where a configuration says nothing.
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        Self {
            per_address: 64,
            per_subnet: 1024,
            total: 100_000,
            accepts_per_second: 500,
            subnet_accepts_per_second: 100,
            exempt: loopback.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

impl Refusal {
    /// One word for a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::Subnet => "subnet",
            Self::Site => "site",
            Self::Rate => "rate",
            Self::SubnetRate => "subnet_rate",
        }
    }
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
            subnets_this_second: HashMap::new(),
        }
    }

    /// Counts a connection from `address` in, or says why not. `now` is on the monotonic clock.
    ///
    /// # Errors
    /// The first limit that it would pass; nothing is then counted.
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<(), Refusal> {
        self.admit_proxied()?;
        self.identify(address, now).inspect_err(|_| self.release_unidentified())
    }

    /// Counts a connection in whose miner is not known yet, since a listed proxy brings it: only
    /// `total` binds it until [`Admission::identify`].
    ///
    /// # Errors
    /// [`Refusal::Total`]; nothing is then counted.
    pub fn admit_proxied(&mut self) -> Result<(), Refusal> {
        if stands(Defence::ConnectionsTotal) && self.total >= self.limits.total {
            return Err(Refusal::Total);
        }
        self.total += 1;
        Ok(())
    }

    /// Says whom a connection of [`Admission::admit_proxied`] brings, who is bound as anybody else
    /// is. From then on it is released by this address.
    ///
    /// # Errors
    /// The first limit that it would pass; the connection is then as unidentified as before.
    pub fn identify(&mut self, source: IpAddr, now: Duration) -> Result<(), Refusal> {
        let source = source.to_canonical();
        if !within(&self.limits.exempt, source) {
            self.check(source, now.as_secs())?;
        }
        self.count(source);
        Ok(())
    }

    /// Counts a connection in that an earlier process admitted; no limit is asked.
    pub fn take_over(&mut self, address: IpAddr) {
        self.total += 1;
        self.count(address.to_canonical());
    }

    /// Counts a connection out again that was admitted, identified or taken over.
    pub fn release(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        self.release_unidentified();
        count_down(&mut self.addresses, address);
        for subnet in subnets(address) {
            count_down(&mut self.subnets, subnet);
        }
    }

    /// Counts a connection out of which nobody knew whom it brings.
    pub const fn release_unidentified(&mut self) {
        self.total = self.total.saturating_sub(1);
    }

    /// Other limits from now on. Who is connected stays, also past them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Connections held now.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn count(&mut self, address: IpAddr) {
        *self.addresses.entry(address).or_default() += 1;
        for subnet in subnets(address) {
            *self.subnets.entry(subnet).or_default() += 1;
        }
    }

    fn check(&mut self, address: IpAddr, second: u64) -> Result<(), Refusal> {
        let held = |subnet| self.subnets.get(&subnet).copied().unwrap_or(0);
        let of_address = self.addresses.get(&address).copied().unwrap_or(0);
        let limits = &self.limits;
        if stands(Defence::ConnectionsByAddress) && of_address >= limits.per_address {
            return Err(Refusal::Address);
        }
        let of_subnet = held(Subnet::around(address));
        if stands(Defence::ConnectionsBySubnet) && of_subnet >= limits.per_subnet {
            return Err(Refusal::Subnet);
        }
        let site_may = limits.per_subnet.saturating_mul(SITE_FACTOR);
        let of_site = held(Subnet::site_of(address));
        if stands(Defence::ConnectionsBySite) && of_site >= site_may {
            return Err(Refusal::Site);
        }
        self.check_rate(Subnet::site_of(address), second)
    }

    /// Only what is taken is counted: who is turned away uses up nobody's rate, and a network that
    /// is over its own cannot use up that of all.
    fn check_rate(&mut self, site: Subnet, second: u64) -> Result<(), Refusal> {
        if second != self.second {
            (self.second, self.accepts_this_second) = (second, 0);
            self.subnets_this_second.clear();
        }
        let of_site = self.subnets_this_second.get(&site).copied().unwrap_or(0);
        let too_many = of_site >= self.limits.subnet_accepts_per_second;
        if stands(Defence::AcceptRateBySubnet) && too_many {
            return Err(Refusal::SubnetRate);
        }
        let too_fast = self.accepts_this_second >= self.limits.accepts_per_second;
        if stands(Defence::AcceptRate) && too_fast {
            return Err(Refusal::Rate);
        }
        self.accepts_this_second += 1;
        self.subnets_this_second.insert(site, of_site + 1);
        Ok(())
    }
}

/// The networks that an address is counted with: two of IPv6, one of IPv4.
fn subnets(address: IpAddr) -> impl Iterator<Item = Subnet> {
    let (subnet, site) = (Subnet::around(address), Subnet::site_of(address));
    core::iter::once(subnet).chain((site != subnet).then_some(site))
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
mod tests;
