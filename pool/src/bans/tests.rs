//! Who is banned, for how long, and who is not: a farm for one of its machines.

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn bans() -> Bans {
    Bans::new(vec!["127.0.0.0/8".parse().unwrap()])
}

/// Floods from the address until it is banned, all in one moment.
fn ban(bans: &mut Bans, address: IpAddr, now: Duration) -> Ban {
    let mut floods = (0..100).filter_map(|_| bans.offence(address, Offence::Flood, 1, now));
    floods.next().expect("it is banned in the end")
}

#[test]
fn who_misbehaves_again_and_again_is_refused_and_told_once() {
    let mut bans = bans();
    let culprit = ip("203.0.113.9");
    for _ in 0..3 {
        assert_eq!(bans.offence(culprit, Offence::Flood, 1, MINUTE), None);
        assert_eq!(bans.refuse(culprit, MINUTE), None, "not yet");
    }
    let ban = bans.offence(culprit, Offence::Flood, 1, MINUTE).unwrap();
    assert_eq!((ban.until - ban.since, ban.strikes), (FIRST_BAN, 1));
    assert_eq!(
        ban.to_string(),
        "203.0.113.9 is banned for 60 s (ban 1): too many requests faster than they are borne"
    );
    let refused = bans.refuse(culprit, MINUTE).unwrap();
    assert_eq!(refused, Refused { ban, tell: true });
    assert!(!bans.refuse(ip("::ffff:203.0.113.9"), MINUTE).unwrap().tell, "the same, told");
    assert_eq!(bans.refuse(ip("203.0.113.10"), MINUTE), None, "its neighbour");
}

#[test]
fn who_is_refused_is_told_in_lines_that_miners_read() {
    let mut bans = bans();
    let now = MINUTE;
    let banned = ban(&mut bans, ip("203.0.113.9"), now);
    let text = banned.farewell(now + Duration::from_millis(15_500));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let why =
        "this address is banned for another 45 s: too many requests faster than they are borne";
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["method"], "client.show_message");
    assert_eq!(lines[0]["params"][0], why);
    assert_eq!(lines[1]["error"], serde_json::json!([20, why, null]));
}

#[test]
fn a_ban_ends_and_the_next_is_longer_up_to_a_day() {
    let mut bans = bans();
    let culprit = ip("2001:db8:1:2::9");
    let mut now = Duration::ZERO;
    let mut lengths = Vec::new();
    for _ in 0..8 {
        let ban = ban(&mut bans, culprit, now);
        let neighbour = ip("2001:db8:1:2:ffff::1");
        assert!(bans.refuse(neighbour, ban.until - MINUTE / 60).is_some(), "one /64 is one");
        assert_eq!(bans.refuse(culprit, ban.until), None, "it has ended");
        assert!(bans.list(ban.until).is_empty());
        lengths.push((ban.until - ban.since).as_secs());
        now = ban.until;
    }
    let day = 86_400;
    assert_eq!(lengths, [60, 240, 960, 3_840, 15_360, 61_440, day, day]);
}

#[test]
fn for_an_hour_without_a_ban_one_is_forgiven() {
    let mut bans = bans();
    let culprit = ip("203.0.113.9");
    let first = ban(&mut bans, culprit, Duration::ZERO);
    let second = ban(&mut bans, culprit, first.until);
    assert_eq!(second.strikes, 2);
    let third = ban(&mut bans, culprit, second.until + FORGIVEN_AFTER);
    assert_eq!(third.strikes, 2);
    let fourth = ban(&mut bans, culprit, third.until + 9 * FORGIVEN_AFTER);
    assert_eq!((fourth.strikes, fourth.until - fourth.since), (1, FIRST_BAN));
}

#[test]
fn a_machine_that_only_fails_at_the_rate_it_is_given_is_never_banned() {
    let mut bans = bans();
    let culprit = ip("203.0.113.9");
    // Ten machines behind one address, each with ten wrong shares a minute, for a day.
    for minute in 0..24 * 60 {
        assert_eq!(bans.offence(culprit, Offence::RefusedShare, 100, minute * MINUTE), None);
    }
    // As fast as a session bears it: ten a second.
    let second = |n: u32| 25 * 60 * MINUTE + n * Duration::from_secs(1);
    let banned_after =
        (0..600).find(|n| bans.offence(culprit, Offence::RefusedShare, 10, second(*n)).is_some());
    assert_eq!(banned_after, Some(124), "about two minutes");
}

#[test]
fn a_farm_is_not_banned_for_one_of_its_machines() {
    let farm = ip("203.0.113.9");
    let ten_minutes = |bans: &mut Bans, good: u64| {
        (0..600).any(|second| {
            let now = Duration::from_secs(second);
            bans.good_work(farm, good, now);
            bans.offence(farm, Offence::RefusedShare, 10, now).is_some()
        })
    };
    assert!(ten_minutes(&mut bans(), 0), "alone it is banned");
    assert!(!ten_minutes(&mut bans(), 50), "fifty good shares a second beside it");

    // Credit is bounded: a thousand points, and it fades.
    let mut bans = bans();
    bans.good_work(farm, u64::MAX, Duration::ZERO);
    let floods = (1..).find(|_| bans.offence(farm, Offence::Flood, 1, Duration::ZERO).is_some());
    assert_eq!(floods, Some(8));
    let other = ip("203.0.113.10");
    bans.good_work(other, 1000, Duration::ZERO);
    let later = Duration::from_secs(500);
    let floods = (1..).find(|_| bans.offence(other, Offence::Flood, 1, later).is_some());
    assert_eq!(floods, Some(4), "what was good long ago is no cover");
}

#[test]
fn exempt_networks_are_never_banned() {
    let mut bans = bans();
    let local = ip("127.0.0.1");
    assert_eq!(bans.offence(local, Offence::Flood, 1000, MINUTE), None);
    assert_eq!(bans.refuse(local, MINUTE), None);
    let proxy = ip("10.0.0.1");
    ban(&mut bans, proxy, MINUTE);
    bans.set_exempt(vec!["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(bans.refuse(proxy, MINUTE), None, "nor once they are");
}

#[test]
fn a_ban_is_not_made_longer_by_knocking() {
    let mut bans = bans();
    let culprit = ip("203.0.113.9");
    let first = ban(&mut bans, culprit, MINUTE);
    for second in 0..60 {
        let now = MINUTE + Duration::from_secs(second);
        assert_eq!(bans.offence(culprit, Offence::Flood, 9, now), None);
        assert_eq!(bans.refuse(culprit, now).unwrap().ban.until, first.until);
    }
    assert_eq!(bans.refuse(culprit, first.until), None);
    assert_eq!(bans.offence(culprit, Offence::Flood, 1, first.until), None, "a fresh count");
}

#[test]
fn bans_are_listed_lifted_and_handed_on() {
    let mut bans = bans();
    let (one, two) = (ip("203.0.113.9"), ip("2001:db8::1"));
    let first = ban(&mut bans, one, MINUTE);
    ban(&mut bans, two, MINUTE);
    let again = ban(&mut bans, two, 2 * MINUTE);
    let now = 2 * MINUTE - Duration::from_secs(1);
    assert_eq!(bans.list(now), [again, first]);

    // The next process has a clock of its own.
    let text = serde_json::to_string(&bans.export(now)).unwrap();
    let mut next = self::bans();
    next.restore(serde_json::from_str(&text).unwrap(), Duration::ZERO);
    let refused = next.refuse(one, Duration::ZERO).unwrap();
    assert_eq!((refused.ban.until, refused.tell), (Duration::from_secs(1), false));
    assert_eq!(next.refuse(one, Duration::from_secs(1)), None);
    let end = next.refuse(two, Duration::ZERO).unwrap().ban.until;
    assert_eq!(ban(&mut next, two, end).strikes, 3, "it goes on where it was");

    assert!(bans.unban(ip("2001:db8::77"), now), "by any of its addresses");
    assert!(!bans.unban(two, now), "only once");
    assert_eq!(bans.refuse(two, now), None);
}

#[test]
fn offenders_are_remembered_up_to_a_limit_and_the_lightest_goes() {
    let mut bans = bans();
    let now = MINUTE;
    let banned = ip("203.0.113.9");
    ban(&mut bans, banned, now);
    let heavy = ip("203.0.113.10");
    bans.offence(heavy, Offence::Flood, 3, now);
    let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    for n in 0..40_000 {
        bans.offence(address(n), Offence::SlowStart, 1, now);
    }
    assert!(bans.records.len() <= RECORDS_MAX, "{} are remembered", bans.records.len());
    assert!(bans.refuse(banned, now).is_some(), "a ban outweighs them all");
    assert!(bans.offence(heavy, Offence::Flood, 1, now).is_some(), "and so do its floods");
    // Those with nothing left against them go first, all of them.
    let later = now + Duration::from_secs(3 * 60 * 60);
    bans.offence(address(50_000), Offence::SlowStart, 1, later);
    for n in 60_000..80_000 {
        bans.offence(address(n), Offence::SlowStart, 1, later);
    }
    assert!(bans.records.len() <= RECORDS_MAX);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Offend(u8, Offence, u32),
    Work(u8, u64),
    Wait(u64),
    Back(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let offence = prop::sample::select(vec![
        Offence::RefusedShare,
        Offence::Garbage,
        Offence::Flood,
        Offence::SlowStart,
        Offence::SlowReader,
        Offence::TlsHandshake,
        Offence::WrongProtocol,
        Offence::StrayProxyHeader,
    ]);
    let step = prop_oneof![
        (0..4_u8, offence, prop_oneof![0..2000_u32, Just(u32::MAX)])
            .prop_map(|(host, offence, times)| Step::Offend(host, offence, times)),
        (0..4_u8, prop_oneof![0..2000_u64, Just(u64::MAX)])
            .prop_map(|(host, shares)| Step::Work(host, shares)),
        (0..200_000_000_u64).prop_map(Step::Wait),
        (0..5_000_u64).prop_map(Step::Back),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn every_ban_has_an_end_within_a_day_whatever_happens(steps in steps()) {
        let mut bans = bans();
        let mut now = MINUTE;
        for step in steps {
            match step {
                Step::Offend(host, offence, times) => {
                    let address = IpAddr::from([203, 0, 113, host]);
                    if let Some(ban) = bans.offence(address, offence, times, now) {
                        let length = ban.until - ban.since;
                        prop_assert!((FIRST_BAN..=LONGEST_BAN).contains(&length));
                    }
                }
                Step::Work(host, shares) => {
                    bans.good_work(IpAddr::from([203, 0, 113, host]), shares, now);
                }
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Back(millis) => now = now.saturating_sub(Duration::from_millis(millis)),
            }
        }
        let end = now + LONGEST_BAN + Duration::from_secs(5);
        for host in 0..4 {
            prop_assert_eq!(bans.refuse(IpAddr::from([203, 0, 113, host]), end), None);
        }
    }
}
