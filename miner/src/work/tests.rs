//! No header twice: over jobs that come again, change or overlap.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use stratum::v1::client::ClientJob;

use super::*;
use crate::testing::{NTIME, at, job};

/// Few and large claims, so that a test can exhaust them.
const LAYOUT: Layout = Layout::new(31, 0);

/// The next claims' headers, each with its first nonce in place.
fn headers(work: &Work, claims: usize, now: Moment) -> Vec<[u8; 80]> {
    let one = || match work.claim(0, now) {
        Claimed::Part(part) => {
            let mut header = work.header(&part);
            header[76..].copy_from_slice(&part.first_nonce.to_le_bytes());
            Some(header)
        }
        Claimed::Exhausted => None,
    };
    (0..claims).map_while(|_| one()).collect()
}

fn all_distinct(headers: &[[u8; 80]]) -> bool {
    headers.iter().collect::<HashSet<_>>().len() == headers.len()
}

fn work(book: &mut Book, job: ClientJob) -> Work {
    book.work(Arc::new(job), 1)
}

#[test]
fn the_header_is_the_one_that_the_pool_will_rebuild() {
    let mut book = Book::new(vec![LAYOUT]);
    let work = work(&mut book, job());
    let Claimed::Part(part) = work.claim(0, at(0)) else { panic!("fresh work is not exhausted") };
    let header = work.header(&part);
    let coinbase = [&[1; 60][..], &[0, 0, 0, 7], &[0; 4], &[2; 100]].concat();
    let pair = |left: [u8; 32], right: [u8; 32]| stratum::job::sha256d(&[left, right].concat());
    let root = pair(pair(stratum::job::sha256d(&coinbase), [3; 32]), [4; 32]);
    assert_eq!(&header[..4], 0x2000_0000_u32.to_le_bytes());
    assert_eq!(&header[4..36], [0x5a; 32]);
    assert_eq!(&header[36..68], root);
    assert_eq!(&header[68..72], NTIME.to_le_bytes());
    assert_eq!(&header[72..76], 0x1d00_ffff_u32.to_le_bytes());
}

#[test]
fn a_job_that_comes_again_goes_on_where_it_stopped() {
    let mut book = Book::new(vec![LAYOUT]);
    let first = work(&mut book, job());
    let mut seen = headers(&first, 7, at(0));
    let harder = ClientJob { target: first.job.network_target, clean: false, ..job() };
    let renamed = ClientJob { id: "2".to_owned(), received: at(1), ..job() };
    for again in [job(), harder, renamed] {
        seen.extend(headers(&work(&mut book, again), 7, at(1)));
    }
    assert_eq!(seen.len(), 28);
    assert!(all_distinct(&seen));
}

#[test]
fn another_job_in_between_does_not_make_it_forget() {
    let mut book = Book::new(vec![LAYOUT]);
    let mut seen = headers(&work(&mut book, job()), 3, at(0));
    for branch in 0..20 {
        let other = ClientJob { branch: vec![[branch; 32]], ..job() };
        seen.extend(headers(&work(&mut book, other), 3, at(0)));
    }
    seen.extend(headers(&work(&mut book, job()), 3, at(0)));
    assert_eq!(seen.len(), 66);
    assert!(all_distinct(&seen));
}

#[test]
fn another_mask_or_version_never_meets_an_old_header() {
    let mut book = Book::new(vec![LAYOUT]);
    let mut seen = Vec::new();
    for (mask, version) in [
        (0x1fff_e000, 0x2000_0000),
        (0x0000_e000, 0x2000_0000),
        (0, 0x2000_0000),
        (0, 0x2000_2000),
        (0x1fff_e000, 0x2000_2000),
    ] {
        let job = ClientJob { version_mask: mask, version, ..job() };
        seen.extend(headers(&work(&mut book, job), 40, at(0)));
    }
    assert_eq!(seen.len(), 200);
    assert!(all_distinct(&seen));
}

#[test]
fn a_tiny_extranonce_rolls_its_time_and_a_newer_job_never_overlaps() {
    let tiny = || ClientJob { xn2_size: 0, version_mask: 0, ..job() };
    let mut book = Book::new(vec![LAYOUT]);
    let first = work(&mut book, tiny());
    let mut seen = headers(&first, 100, at(0));
    assert_eq!(seen.len(), 2, "one header a second, in two halves");
    seen.extend(headers(&first, 100, at(3)));
    assert_eq!(seen.len(), 8);
    // The same work, whose time the pool has put where the search has not been yet.
    let later = ClientJob { ntime: NTIME + 2, received: at(3), ..tiny() };
    seen.extend(headers(&work(&mut book, later), 100, at(5)));
    // And where it has never been: a fresh start.
    let latest = ClientJob { ntime: NTIME + 60, received: at(60), ..tiny() };
    let fresh = headers(&work(&mut book, latest), 100, at(60));
    assert_eq!(fresh.len(), 2);
    seen.extend(fresh);
    assert!(all_distinct(&seen));
    let times = seen.iter().map(|h| u32::from_le_bytes(h[68..72].try_into().unwrap()));
    assert_eq!(times.max(), Some(NTIME + 60), "never beyond the seconds that have passed");
}

#[test]
fn a_job_that_comes_again_under_an_earlier_time_is_searched_on() {
    let mut book = Book::new(vec![LAYOUT]);
    let mut seen = headers(&work(&mut book, job()), 3, at(0));
    let earlier = ClientJob { ntime: NTIME - 30, received: at(1), ..job() };
    seen.extend(headers(&work(&mut book, earlier), 5, at(1)));
    assert_eq!(seen.len(), 8);
    assert!(all_distinct(&seen));
    assert!(seen.iter().all(|h| h[68..72] == NTIME.to_le_bytes()), "no time but the pool's own");
}

#[test]
fn another_extranonce1_is_another_space() {
    let mut book = Book::new(vec![LAYOUT]);
    let first = headers(&work(&mut book, job()), 3, at(0));
    let elsewhere = ClientJob { xn1: vec![0, 0, 0, 8], ..job() };
    let second = headers(&work(&mut book, elsewhere), 3, at(0));
    assert!(all_distinct(&[first, second].concat()));
}

#[test]
fn memory_is_bounded_and_works_are_numbered() {
    let mut book = Book::new(vec![LAYOUT]);
    for step in 0_u32..1000 {
        let job = ClientJob { coinbase1: step.to_be_bytes().to_vec(), ..job() };
        assert_eq!(work(&mut book, job).serial, u64::from(step) + 1);
    }
    assert_eq!(book.pages.len(), REMEMBERED);
}

#[test]
fn version_bits_are_submitted_under_the_jobs_mask() {
    let mut book = Book::new(vec![LAYOUT]);
    let rolled = work(&mut book, job());
    assert_eq!(rolled.version_bits(0x2000_6000), Some(0x6000));
    let plain = work(&mut book, ClientJob { version_mask: 0, ..job() });
    assert_eq!(plain.version_bits(0x2000_0000), None);
}

/// Two devices of different layouts, whose fields go on each by its own.
#[test]
fn a_job_that_comes_again_goes_on_where_each_device_stopped() {
    let mut book = Book::new(vec![LAYOUT, Layout::new(31, 1)]);
    let small = || ClientJob { xn2_size: 1, version_mask: 0x6000, ..job() };
    let mut dealt = Dealt::default();
    let mut last = work(&mut book, small());
    for turn in 0..12 {
        let share = [turn % 3, 5];
        for (device, claims) in share.into_iter().enumerate() {
            (0..claims).for_each(|_| dealt.add(&last, device, at(0)));
        }
        last = work(&mut book, small());
    }
    let before = dealt.cells.len();
    assert_eq!(before, 12 * 2 + 60 * 2, "two quarters of one header, or one of two headers");
    let fields: HashSet<_> = dealt.cells.iter().map(|cell| cell.1.clone()).collect();
    assert!(fields.len() <= 2 + before / 16, "no field is left before its end: {fields:?}");
    for device in [0, 1] {
        while dealt.add_part(&last, device, at(0)) {}
    }
    assert_eq!(dealt.cells.len(), 256 * 4 * 4, "none is left out");
}

/// What was dealt, in cells of 2^30 nonces of one header.
#[derive(Debug, Default)]
struct Dealt {
    cells: HashSet<(u32, Vec<u8>, u32, u32)>,
}

impl Dealt {
    /// Takes a part, checks it, and says whether there was any.
    fn add_part(&mut self, work: &Work, device: usize, now: Moment) -> bool {
        let Claimed::Part(part) = work.claim(device, now) else { return false };
        assert!(part.ntime >= work.job.ntime, "before the job's time");
        for version in &part.versions {
            let cells = part.first_nonce >> 30..(part.first_nonce >> 30) + (part.nonces >> 30);
            for cell in cells {
                let new = self.cells.insert((part.ntime, part.xn2.clone(), *version, cell));
                assert!(new, "dealt twice: {part:x?}");
            }
        }
        true
    }

    fn add(&mut self, work: &Work, device: usize, now: Moment) {
        assert!(self.add_part(work, device, now), "there is room");
    }
}

/// What happens to a book.
#[derive(Debug, Clone)]
enum Event {
    /// The job comes again, with this mask, version and time.
    Job { mask: u32, version: u32, ntime: u32 },
    /// A device takes this many claims of a work, be it the newest or an old one.
    Claim { work: Index, device: usize, claims: usize },
    /// A second passes.
    Second,
}

fn event() -> impl Strategy<Value = Event> {
    let mask = select(vec![0, 0x2000, 0x6000]);
    let version = select(vec![0x2000_0000, 0x2000_2000]);
    prop_oneof![
        2 => (mask, version, 0_u32..6).prop_map(|(mask, version, rolled)| {
            Event::Job { mask, version, ntime: NTIME + rolled }
        }),
        6 => (any::<Index>(), 0_usize..3, 1_usize..9)
            .prop_map(|(work, device, claims)| Event::Claim { work, device, claims }),
        1 => Just(Event::Second),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_again_no_header_is_dealt_twice(
        xn2_size in 0_usize..=1,
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let layouts = vec![LAYOUT, Layout::new(30, 0), Layout::new(31, 1)];
        let mut book = Book::new(layouts);
        let mut dealt = Dealt::default();
        let mut works = vec![work(&mut book, ClientJob { xn2_size, ..job() })];
        let mut now = 0;
        for event in events {
            match event {
                Event::Job { mask: version_mask, version, ntime } => {
                    let received = at(now);
                    let again =
                        ClientJob { xn2_size, version_mask, version, ntime, received, ..job() };
                    works.push(work(&mut book, again));
                }
                Event::Claim { work, device, claims } => {
                    let work = &works[work.index(works.len())];
                    (0..claims).for_each(|_| _ = dealt.add_part(work, device, at(now)));
                }
                Event::Second => now += 1,
            }
        }
        // No second was rolled that had not passed for any of the jobs.
        let last = works.iter().map(|work| work.last_ntime(at(now).mono)).max();
        prop_assert!(dealt.cells.iter().all(|cell| Some(cell.0) <= last));
    }
}
