//! Caps and rates: each holds, is released, and leaves no memory behind.

use super::*;

fn limits() -> Limits {
    Limits {
        per_address: 2,
        per_subnet: 3,
        total: 6,
        accepts_per_second: 100,
        subnet_accepts_per_second: 100,
        exempt: vec!["127.0.0.0/8".parse().unwrap()],
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_cap_holds_and_is_released() {
    let mut admission = Admission::new(limits());
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
fn a_site_with_many_subnets_takes_no_more_than_its_multiple() {
    let mut admission = Admission::new(Limits { total: 1000, ..limits() });
    let now = Duration::ZERO;
    let held = |admission: &mut Admission, site: u16| {
        let of_subnet = |subnet: u16| {
            let hosts = (1..=9).map(move |host| [0x2001, 0xdb8, site, subnet, 0, 0, 0, host]);
            hosts.map(IpAddr::from)
        };
        (0..40).flat_map(of_subnet).filter(|address| admission.admit(*address, now).is_ok()).count()
    };
    assert_eq!(held(&mut admission, 1), 12, "four subnets' worth");
    assert_eq!(admission.admit(ip("2001:db8:1:99::1"), now), Err(Refusal::Site));
    assert_eq!(held(&mut admission, 2), 12, "another site has its own");

    let one = ip("2001:db8:3::1");
    assert_eq!(admission.admit(one, now), Ok(()));
    assert_eq!(admission.admit(ip("2001:db8:3::2"), now), Ok(()));
    assert_eq!(admission.admit(ip("2001:db8:3::3"), now), Ok(()));
    assert_eq!(admission.admit(ip("2001:db8:3::4"), now), Err(Refusal::Subnet), "one /64");
    admission.release(one);
    assert_eq!(admission.admit(ip("2001:db8:3::4"), now), Ok(()));
}

#[test]
fn the_rate_is_per_second() {
    let mut admission = Admission::new(Limits { accepts_per_second: 1, ..limits() });
    assert_eq!(admission.admit(ip("10.0.0.1"), Duration::ZERO), Ok(()));
    assert_eq!(admission.admit(ip("10.1.0.1"), Duration::ZERO), Err(Refusal::Rate));
    assert_eq!(admission.admit(ip("10.1.0.1"), Duration::from_secs(1)), Ok(()));
    assert_eq!(admission.total(), 2);
}

#[test]
fn one_network_cannot_use_up_everybodys_rate() {
    let limits = Limits {
        per_subnet: 1000,
        total: 1000,
        accepts_per_second: 10,
        subnet_accepts_per_second: 4,
        ..limits()
    };
    let mut admission = Admission::new(limits);
    let crowd = |host: u8| IpAddr::from([10, 0, 0, host]);
    let now = Duration::from_secs(7);
    let taken = (1..=200).filter(|host| admission.admit(crowd(*host), now).is_ok()).count();
    assert_eq!(taken, 4);
    assert_eq!(admission.admit(crowd(201), now), Err(Refusal::SubnetRate));
    for network in 1..=6 {
        assert_eq!(admission.admit(IpAddr::from([10, 0, network, 1]), now), Ok(()), "{network}");
    }
    assert_eq!(admission.admit(ip("10.0.9.1"), now), Err(Refusal::Rate));
    let of_one_site = |subnet: u16| IpAddr::from([0x2001, 0xdb8, 7, subnet, 0, 0, 0, 1]);
    let later = Duration::from_secs(8);
    let taken = (0..50).filter(|n| admission.admit(of_one_site(*n), later).is_ok()).count();
    assert_eq!(taken, 4, "a /48 is one network here");
}

#[test]
fn who_comes_through_a_proxy_is_bound_once_it_is_known() {
    let mut admission = Admission::new(limits());
    let now = Duration::ZERO;
    let miner = ip("203.0.113.9");
    for _ in 0..2 {
        admission.admit_proxied().unwrap();
        assert_eq!(admission.identify(miner, now), Ok(()));
    }
    admission.admit_proxied().unwrap();
    assert_eq!(admission.identify(miner, now), Err(Refusal::Address));
    assert_eq!(admission.total(), 3, "it is still there until it is let go");
    admission.release_unidentified();
    assert_eq!(admission.admit(miner, now), Err(Refusal::Address), "direct or not, it is one");
    admission.release(miner);
    assert_eq!(admission.admit(miner, now), Ok(()));
    for _ in 0..4 {
        admission.admit_proxied().unwrap();
    }
    assert_eq!(admission.admit_proxied(), Err(Refusal::Total));
}

#[test]
fn who_was_taken_over_or_came_under_other_limits_stays_and_is_counted() {
    let mut admission = Admission::new(limits());
    let miner = ip("203.0.113.9");
    for _ in 0..5 {
        admission.take_over(miner);
    }
    assert_eq!(admission.admit(miner, Duration::ZERO), Err(Refusal::Address));
    admission.set_limits(Limits { per_address: 9, per_subnet: 9, ..limits() });
    assert_eq!(admission.admit(miner, Duration::ZERO), Ok(()));
    admission.set_limits(Limits { total: 1, ..limits() });
    assert_eq!(admission.total(), 6);
    assert_eq!(admission.admit(ip("127.0.0.1"), Duration::ZERO), Err(Refusal::Total));
}

#[test]
fn nothing_is_remembered_of_who_left_or_never_came_in() {
    let mut admission = Admission::new(Limits { accepts_per_second: 5, ..limits() });
    let address = |network: u16| IpAddr::from([0x2001, 0xdb8, network, 1, 0, 0, 0, 1]);
    let taken: Vec<IpAddr> = (0..5000)
        .map(address)
        .filter(|address| admission.admit(*address, Duration::ZERO).is_ok())
        .collect();
    assert_eq!(taken.len(), 5);
    assert_eq!(admission.subnets_this_second.len(), 5);
    for address in taken {
        admission.release(address);
    }
    assert_eq!((admission.total(), admission.addresses.len(), admission.subnets.len()), (0, 0, 0));
}
