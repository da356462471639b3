//! Where a pool's `client.reconnect` is followed to: a host of the same owner, over what is no
//! less safe than the connection it came over, and not too often.
//!
//! On a plain connection anybody in between could have written that line, so it may lead nowhere
//! that the configured pool's owner doesn't own. Who owns what is read from the Public Suffix List
//! (`psl`): `eu.pool.com` and `us.pool.com` are one owner's, `a.co.uk` and `b.co.uk` are not, nor
//! are two customers of a provider that the list knows. An address belongs to itself alone, and so
//! does a name under a suffix that the list does not know. Pure: the time is an argument.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use defences::{Defence, stands};

use super::url::PoolUrl;

/// Redirections followed within [`WITHIN`], of each pool.
const FOLLOWED_MAX: usize = 3;
/// The time over which redirections are counted.
const WITHIN: Duration = Duration::from_secs(600);

/// How often something may happen: so many times within so long.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    most: usize,
    within: Duration,
    times: VecDeque<Duration>,
}

impl Allowance {
    pub(super) const fn new(most: usize, within: Duration) -> Self {
        Self { most, within, times: VecDeque::new() }
    }

    /// How often redirections of one pool are followed.
    pub(super) const fn of_redirections() -> Self {
        Self::new(FOLLOWED_MAX, WITHIN)
    }

    /// Whether it may happen once more, now; if so, it counts.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let old = |at: &Duration| now.saturating_sub(*at) >= self.within;
        while self.times.front().is_some_and(old) {
            self.times.pop_front();
        }
        let free = self.times.len() < self.most || !stands(Defence::Allowance);
        if free {
            self.times.push_back(now);
        }
        free
    }
}

/// Where a redirection leads, from `current` and at the wish of `origin`, the pool as configured.
///
/// # Errors
/// Why it is not followed, in plain words.
pub(super) fn target(
    origin: &PoolUrl,
    current: &PoolUrl,
    host: Option<&str>,
    port: Option<u16>,
) -> Result<PoolUrl, String> {
    let host = host.unwrap_or_else(|| current.host());
    let port = port.unwrap_or_else(|| current.port());
    // TLS stays TLS: the message has no scheme that could say otherwise.
    let tls = current.is_tls() && stands(Defence::RedirectTls);
    let to = PoolUrl::new(tls, host, port)
        .ok_or_else(|| format!("{} is no host", host.escape_debug()))?;
    let owned = is_same(origin.host(), host) || is_same_owner(origin.host(), host);
    let follows = owned || !stands(Defence::RedirectOwner);
    follows.then_some(to).ok_or_else(|| {
        format!("{host} does not belong to {}; to use it, configure it", origin.host())
    })
}

fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

fn is_same_owner(one: &str, other: &str) -> bool {
    owner(one).is_some_and(|owner_of_one| owner(other) == Some(owner_of_one))
}

/// The registrable domain of a host; `None` where there is none that the list vouches for.
fn owner(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // The list has names beyond ASCII as they are read, not as they go over the wire: it would
    // take a suffix in that form for a name that somebody owns.
    let is_encoded = host.split('.').any(|label| label.starts_with("xn--"));
    if is_encoded || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let domain = psl::domain(host.as_bytes()).filter(|domain| domain.suffix().is_known())?;
    str::from_utf8(domain.as_bytes()).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, host: Option<&str>, port: Option<u16>) -> Option<String> {
        let from: PoolUrl = from.parse().unwrap();
        target(&from, &from, host, port).ok().map(|url| url.to_string())
    }

    #[test]
    fn a_redirection_stays_with_the_owner() {
        let from = |host: &str| format!("stratum+tcp://{host}:3333");
        for (one, other) in [
            ("eu.pool.com", "us.pool.com"),
            ("pool.com", "stratum.eu.pool.com"),
            ("eu.pool.co.uk", "POOL.co.uk"),
            ("eu.pool.com", "eu.pool.com."),
            ("stratum.pool.lan", "STRATUM.pool.lan"),
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
        ] {
            let to = follow(&from(one), Some(other), Some(4444));
            assert_eq!(to, Some(format!("stratum+tcp://{other}:4444")), "{one}");
        }
        for (one, other) in [
            ("eu.pool.com", "evil.com"),
            ("eu.pool.com", "pool.com.evil.com"),
            ("eu.pool.com", "evilpool.com"),
            ("pool.co.uk", "evil.co.uk"),
            ("pool.com", "com"),
            ("com", "evil.com"),
            ("me.github.io", "evil.github.io"),
            ("me.duckdns.org", "evil.duckdns.org"),
            ("pool.lan", "evil.lan"),
            ("eu.pool.lan", "us.pool.lan"),
            ("127.0.0.1", "128.0.0.1"),
            ("10.0.0.1", "0.1"),
            ("::1", "::2"),
            ("pool.xn--55qx5d.cn", "evil.xn--55qx5d.cn"),
            ("eu.pool.com", "evil.com/.pool.com"),
            ("eu.pool.com", "evil.com:80#.pool.com"),
            ("eu.pool.com", ""),
        ] {
            let bracketed = if one.contains(':') { format!("[{one}]") } else { one.to_owned() };
            assert_eq!(follow(&from(&bracketed), Some(other), None), None, "{one} to {other}");
        }
    }

    #[test]
    fn what_is_not_said_stays_and_tls_stays_tls() {
        let tls = "stratum+ssl://eu.pool.com:3443";
        assert_eq!(follow(tls, None, None).as_deref(), Some(tls));
        let to = follow(tls, Some("us.pool.com"), Some(3333));
        assert_eq!(to.as_deref(), Some("stratum+ssl://us.pool.com:3333"));
        assert_eq!(follow(tls, None, Some(0)), None);
        assert_eq!(follow(tls, Some("stratum+tcp://us.pool.com"), Some(3333)), None);
    }

    #[test]
    fn owners_do_not_change_along_the_way() {
        let origin: PoolUrl = "stratum+tcp://pool.com:1".parse().unwrap();
        let current: PoolUrl = "stratum+tcp://eu.pool.com:2".parse().unwrap();
        let back = target(&origin, &current, Some("pool.com"), None).unwrap();
        assert_eq!(back.to_string(), "stratum+tcp://pool.com:2");
        let why = target(&origin, &current, Some("evil.com"), None).unwrap_err();
        assert_eq!(why, "evil.com does not belong to pool.com; to use it, configure it");
    }

    #[test]
    fn so_many_times_within_so_long() {
        let mut allowance = Allowance::of_redirections();
        let taken: Vec<bool> =
            [0, 1, 2, 3, 599, 600, 600].map(|s| allowance.take(Duration::from_secs(s))).into();
        assert_eq!(taken, [true, true, true, false, false, true, false]);
        assert!(allowance.take(Duration::from_secs(601)));
        assert_eq!(allowance.times.len(), FOLLOWED_MAX);
    }
}
