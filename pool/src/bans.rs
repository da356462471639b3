//! Who is refused for a time: addresses whose connections misbehave again and again.
//!
//! Whoever accepts owns one [`Bans`], asks [`Bans::refuse`] for each new connection, and is told by
//! the others what happened on theirs ([`Bans::offence`], [`Bans::good_work`]); nothing is shared.
//! It deliberately ends no connection, knows no socket and no clock, and bans nobody on sight: one
//! connection's misbehaviour ends that connection, by its own limits (`stratum`'s `Limits`).
//!
//! How it weighs, and why. Whole farms sit behind one address, so a ban of an address is a ban of
//! hundreds of machines for what one of them does. Therefore:
//!
//! - an address gathers points, and [`BAN_AT`] of them is far more than any one connection can
//!   bring before it ends: four floods, five times garbage, fifty handshakes that failed;
//! - points drain by [`LEAK`] a second, so that a machine that fails all the time, at the ten
//!   shares a minute that vardiff gives it, never reaches a ban;
//! - every accepted share pays one point back, and a good address holds up to [`CREDIT_MAX`] in
//!   advance. Whoever wants to misbehave under that cover has to prove as much work as it spoils;
//! - a ban refuses new connections alone. Those that stand are judged by what they do themselves,
//!   and what an address does while it is banned makes the ban no longer;
//! - the first ban is a minute, each further one four times longer, a day at the most; for each
//!   hour without one, one is forgiven.
//!
//! Points are counted in thousandths, times on the monotonic clock.

use core::{fmt, net::IpAddr, time::Duration};
use std::collections::HashMap;

use defences::{Defence, stands};
use serde::{Deserialize, Serialize};

use crate::limits::{Subnet, within};

/// So many points are a ban.
pub const BAN_AT: u32 = 1000;
/// Points that drain in a second, and credit that fades.
pub const LEAK: u32 = 2;
/// The most that good work pays in advance, in points.
pub const CREDIT_MAX: u32 = 1000;
/// The first ban.
pub const FIRST_BAN: Duration = Duration::from_secs(60);
/// No ban is longer.
pub const LONGEST_BAN: Duration = Duration::from_secs(24 * 60 * 60);
/// Each further ban is so many times as long.
const GROWTH: u32 = 4;
/// For so long without a ban one is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60 * 60);
/// Addresses remembered, about 100 bytes each.
const RECORDS_MAX: usize = 16_384;
/// So many go at once when there is no room, so that room is seldom looked for.
const RECORDS_DROPPED: usize = RECORDS_MAX / 8;
/// Points are kept in such parts.
const PARTS: i64 = 1000;

/// What an address may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offence {
    /// One share refused as wrong: low, duplicate, malformed. Not stale ones, and not those that
    /// the pool was too busy for.
    RefusedShare,
    /// A connection that ended for lines that are no JSON, or have no end.
    Garbage,
    /// A connection that ended for more requests or refused shares than are borne.
    Flood,
    /// A connection that ended since it did not subscribe or authorize in time.
    SlowStart,
    /// A connection that ended since it took no bytes.
    SlowReader,
    /// A TLS handshake that failed or did not end.
    TlsHandshake,
    /// Another protocol than the port's: TLS or HTTP on a plain one, plain text on a TLS one.
    WrongProtocol,
    /// A PROXY header from an address that is not listed.
    StrayProxyHeader,
}

/// An address that is refused for a time. Its text is the line for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// An IPv4 address, or a /64 of IPv6.
    pub culprit: Subnet,
    /// What made the measure full.
    pub reason: Offence,
    /// When it began.
    pub since: Duration,
    /// When it ends.
    pub until: Duration,
    /// Which ban in a row it is, from 1.
    pub strikes: u32,
}

/// A refusal at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why, and until when.
    pub ban: Ban,
    /// Whether the miner is to be told ([`Ban::farewell`]): once a ban, since whoever comes back
    /// all the same costs less without an answer.
    pub tell: bool,
}

/// A ban as it is handed to the process that follows: times are relative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBan {
    /// The address or network, as text with its length.
    culprit: String,
    reason: Offence,
    passed_ms: u64,
    left_ms: u64,
    strikes: u32,
}

/// What is remembered of addresses.
#[derive(Debug)]
pub struct Bans {
    exempt: Vec<Subnet>,
    records: HashMap<Subnet, Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Thousandths of a point; below zero is credit.
    points: i64,
    updated: Duration,
    strikes: u32,
    /// From here the hours count for which a strike is forgiven.
    quiet_since: Duration,
    ban: Option<Sentence>,
}

#[derive(Debug, Clone, Copy)]
struct Sentence {
    reason: Offence,
    since: Duration,
    until: Duration,
    told: bool,
}

impl Bans {
    /// Nobody banned. `exempt` never are; listed proxies belong there, since they bring everybody.
    #[must_use]
    pub fn new(exempt: Vec<Subnet>) -> Self {
        Self { exempt, records: HashMap::new() }
    }

    /// Counts what a connection from `address` did, `times` over. The ban that follows, if this
    /// made the measure full.
    pub fn offence(
        &mut self,
        address: IpAddr,
        offence: Offence,
        times: u32,
        now: Duration,
    ) -> Option<Ban> {
        if within(&self.exempt, address) {
            return None;
        }
        let culprit = Subnet::host_of(address);
        let record = self.record(culprit, now);
        if record.ban.is_some() {
            return None;
        }
        record.points += i64::from(offence.points()) * i64::from(times) * PARTS;
        if record.points < i64::from(BAN_AT) * PARTS {
            return None;
        }
        let sentence = record.sentence(offence, now);
        Some(sentence.ban(culprit, record.strikes))
    }

    /// Counts accepted shares of an address: each pays back a point.
    pub fn good_work(&mut self, address: IpAddr, shares: u64, now: Duration) {
        if !stands(Defence::GoodWork) || within(&self.exempt, address) {
            return;
        }
        let record = self.record(Subnet::host_of(address), now);
        let earned = i64::try_from(shares).unwrap_or(i64::MAX).saturating_mul(PARTS);
        let most = i64::from(CREDIT_MAX) * PARTS;
        record.points = record.points.saturating_sub(earned).max(-most);
    }

    /// Why a new connection from `address` is to be closed, if it is.
    pub fn refuse(&mut self, address: IpAddr, now: Duration) -> Option<Refused> {
        if !stands(Defence::AddressBan) || within(&self.exempt, address) {
            return None;
        }
        let culprit = Subnet::host_of(address);
        let record = self.records.get_mut(&culprit)?;
        record.catch_up(now);
        let strikes = record.strikes;
        let sentence = record.ban.as_mut()?;
        let tell = !std::mem::replace(&mut sentence.told, true);
        Some(Refused { ban: sentence.ban(culprit, strikes), tell })
    }

    /// Every ban in force, the longest first.
    #[must_use]
    pub fn list(&self, now: Duration) -> Vec<Ban> {
        let in_force = |(culprit, record): (&Subnet, &Record)| {
            let ban = record.ban.filter(|ban| now < ban.until)?;
            Some(ban.ban(*culprit, record.strikes))
        };
        let mut bans: Vec<Ban> = self.records.iter().filter_map(in_force).collect();
        bans.sort_unstable_by_key(|ban| (core::cmp::Reverse(ban.until), ban.culprit));
        bans
    }

    /// Forgets everything about an address; true where it was banned.
    pub fn unban(&mut self, address: IpAddr, now: Duration) -> bool {
        let record = self.records.remove(&Subnet::host_of(address));
        record.and_then(|record| record.ban).is_some_and(|ban| now < ban.until)
    }

    /// Other networks that are never banned; bans of theirs no longer count.
    pub fn set_exempt(&mut self, exempt: Vec<Subnet>) {
        self.exempt = exempt;
    }

    /// The bans in force, for the process that follows in a hot restart.
    #[must_use]
    pub fn export(&self, now: Duration) -> Vec<SavedBan> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let saved = |ban: Ban| SavedBan {
            culprit: ban.culprit.with_length(),
            reason: ban.reason,
            passed_ms: millis(now.saturating_sub(ban.since)),
            left_ms: millis(ban.until.saturating_sub(now)),
            strikes: ban.strikes,
        };
        self.list(now).into_iter().map(saved).collect()
    }

    /// Takes up what [`Bans::export`] gave. What cannot be one of its bans is left out, and none
    /// becomes longer than a ban can be.
    pub fn restore(&mut self, saved: Vec<SavedBan>, now: Duration) {
        for ban in saved.into_iter().take(RECORDS_MAX) {
            let Ok(culprit) = ban.culprit.parse::<Subnet>() else { continue };
            let left = Duration::from_millis(ban.left_ms).min(LONGEST_BAN);
            let since = now.saturating_sub(Duration::from_millis(ban.passed_ms));
            let sentence = Sentence { reason: ban.reason, since, until: now + left, told: true };
            let strikes = ban.strikes;
            let quiet_since = sentence.until;
            let ban = Some(sentence);
            let record = Record { points: 0, updated: now, strikes, quiet_since, ban };
            self.records.insert(culprit, record);
        }
    }

    fn record(&mut self, culprit: Subnet, now: Duration) -> &mut Record {
        let full = self.records.len() >= RECORDS_MAX && !self.records.contains_key(&culprit);
        if stands(Defence::OffendersKept) && full {
            self.make_room(now);
        }
        let record = self.records.entry(culprit).or_insert_with(|| Record::clean(now));
        record.catch_up(now);
        record
    }

    /// The lightest go: those with credit, then those with few points, and among like ones those
    /// that nothing was heard of for longest. A ban in force outweighs everything else, and the
    /// one that ends last outweighs all.
    fn make_room(&mut self, now: Duration) {
        for record in self.records.values_mut() {
            record.catch_up(now);
        }
        self.records.retain(|_, record| !record.is_clean());
        if self.records.len() < RECORDS_MAX {
            return;
        }
        let mut by_weight: Vec<_> =
            self.records.iter().map(|(culprit, record)| (record.weight(), *culprit)).collect();
        by_weight.sort_unstable();
        for (_, culprit) in by_weight.into_iter().take(RECORDS_DROPPED) {
            self.records.remove(&culprit);
        }
    }
}

impl Record {
    const fn clean(now: Duration) -> Self {
        Self { points: 0, updated: now, strikes: 0, quiet_since: now, ban: None }
    }

    /// Lets the time pass: points drain, credit fades, bans end, strikes are forgiven. What was
    /// done before the last look is done already: a `now` from before it changes nothing.
    fn catch_up(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.updated).as_millis();
        let drained = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(i64::from(LEAK));
        self.points = match self.points {
            points if points >= 0 => points.saturating_sub(drained).max(0),
            credit => credit.saturating_add(drained).min(0),
        };
        self.updated = self.updated.max(now);
        if stands(Defence::BanEnd) && self.ban.is_some_and(|ban| now >= ban.until) {
            self.ban = None;
        }
        while self.strikes > 0 && now >= self.quiet_since + FORGIVEN_AFTER {
            self.strikes -= 1;
            self.quiet_since += FORGIVEN_AFTER;
        }
    }

    /// A ban from now on, with a fresh count.
    fn sentence(&mut self, reason: Offence, now: Duration) -> Sentence {
        let length = FIRST_BAN.saturating_mul(GROWTH.saturating_pow(self.strikes)).min(LONGEST_BAN);
        let sentence = Sentence { reason, since: now, until: now + length, told: false };
        self.points = 0;
        self.strikes = self.strikes.saturating_add(1);
        self.quiet_since = sentence.until;
        self.ban = Some(sentence);
        sentence
    }

    const fn is_clean(&self) -> bool {
        self.points == 0 && self.strikes == 0 && self.ban.is_none()
    }

    fn weight(&self) -> (Duration, u32, i64, Duration) {
        let until = self.ban.map_or(Duration::ZERO, |ban| ban.until);
        (until, self.strikes, self.points, self.updated)
    }
}

impl Sentence {
    const fn ban(self, culprit: Subnet, strikes: u32) -> Ban {
        let Self { reason, since, until, .. } = self;
        Ban { culprit, reason, since, until, strikes }
    }
}

impl Offence {
    /// What it weighs: by what it costs the pool, and how surely it is no accident.
    #[must_use]
    pub const fn points(self) -> u32 {
        match self {
            Self::RefusedShare => 1,
            Self::SlowStart | Self::TlsHandshake | Self::WrongProtocol => 20,
            Self::SlowReader => 50,
            Self::Garbage | Self::StrayProxyHeader => 200,
            Self::Flood => 250,
        }
    }

    /// One word for a metric or the API.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RefusedShare => "refused_share",
            Self::Garbage => "garbage",
            Self::Flood => "flood",
            Self::SlowStart => "slow_start",
            Self::SlowReader => "slow_reader",
            Self::TlsHandshake => "tls_handshake",
            Self::WrongProtocol => "wrong_protocol",
            Self::StrayProxyHeader => "stray_proxy_header",
        }
    }
}

impl fmt::Display for Offence {
    /// What there was too much of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefusedShare => "shares that are wrong",
            Self::Garbage => "lines that are no Stratum",
            Self::Flood => "requests faster than they are borne",
            Self::SlowStart => "connections that do not subscribe and authorize in time",
            Self::SlowReader => "connections that take no bytes",
            Self::TlsHandshake => "TLS handshakes that fail",
            Self::WrongProtocol => "connections that speak another protocol than the port",
            Self::StrayProxyHeader => "PROXY headers, and it is no listed proxy",
        })
    }
}

impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { culprit, reason, since, until, strikes } = self;
        let length = Rounded(until.saturating_sub(*since));
        write!(f, "{culprit} is banned for {length} (ban {strikes}): too many {reason}")
    }
}

impl Ban {
    /// Two lines of Stratum for who is refused: a message for the screen and an error, since no
    /// miner shows both. They hold nothing that came from the network.
    #[must_use]
    pub fn farewell(&self, now: Duration) -> String {
        let left = Rounded(self.until.saturating_sub(now));
        let why = format!("this address is banned for another {left}: too many {}", self.reason);
        format!(
            "{{\"id\":null,\"method\":\"client.show_message\",\"params\":[\"{why}\"]}}\n\
             {{\"id\":null,\"result\":null,\"error\":[20,\"{why}\",null]}}\n"
        )
    }
}

/// A time for people, rounded up.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis().div_ceil(1000);
        match seconds {
            0..=99 => write!(f, "{seconds} s"),
            100..=5999 => write!(f, "{} min", seconds.div_ceil(60)),
            _ => write!(f, "{} h", seconds.div_ceil(3600)),
        }
    }
}

#[cfg(test)]
mod tests;
