//! What the GPU wrote, read from bytes that are made up.

use super::*;

/// A count, the first pairs, and two readings of the clock.
fn answer(count: u32, pairs: &[(u32, u32)], times: [u64; 2], tick: Option<f32>) -> Answer {
    let mut words = vec![count, 0xdead_beef];
    words.extend(pairs.iter().flat_map(|&(place, nonce)| [place, nonce]));
    // What an earlier dispatch left.
    words.resize(2 + 2 * FOUND, 0xffff_fffe);
    let mut all = bytes(&words);
    all.extend(times.iter().flat_map(|time| time.to_le_bytes()));
    Answer::parse(&all, tick)
}

#[test]
fn names_as_many_hits_as_are_counted() {
    let pairs = [(0, 7), (4095, u32::MAX), (63, 0)];
    let none = answer(0, &pairs, [0, 0], None);
    assert_eq!((none.count, none.named, none.took), (0, vec![], None));
    let two = answer(2, &pairs, [0, 0], None);
    assert_eq!((two.count, two.named), (2, vec![(0, 7), (4095, u32::MAX)]));
}

#[test]
fn a_count_beyond_the_list_names_no_more_than_the_list() {
    let full = u32::try_from(FOUND).unwrap();
    for (count, named) in [(full, FOUND), (full + 1, FOUND), (u32::MAX, FOUND)] {
        let answer = answer(count, &[(1, 2)], [0, 0], None);
        assert_eq!(answer.count, usize::try_from(count).unwrap());
        assert_eq!(answer.named.len(), named);
        assert_eq!((answer.named[0], answer.named[1].1), ((1, 2), 0xffff_fffe));
    }
}

#[test]
fn only_a_clock_that_went_forward_timed_anything() {
    let took = |times, tick| answer(0, &[], times, tick).took;
    assert_eq!(took([1_000, 3_500], Some(2.0)), Some(Duration::from_micros(5)));
    assert_eq!(took([1_000, 3_500], None), None);
    for [begin, end] in [[0, 0], [u64::MAX, u64::MAX], [3_500, 1_000], [u64::MAX, 0]] {
        assert_eq!(took([begin, end], Some(1.0)), None, "{begin} to {end}");
    }
    for tick in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(took([1_000, 3_500], Some(tick)), None, "ticks of {tick} ns");
    }
    // A clock that was set anew gives ages; it is no reason to panic.
    assert!(took([0, u64::MAX], Some(f32::MAX)).is_none());
}

#[test]
fn halves_cover_a_range_once() {
    let job = |versions: Vec<u32>| Arc::new(Job { header: [0; 80], target: Target::MAX, versions });
    let nonces = halves(&job(vec![5, 6, 7]), Range { low: u32::MAX - 2, high: u32::MAX });
    let ranges: Vec<Range> = nonces.iter().map(|(_, range)| *range).collect();
    let [low, high] =
        [(u32::MAX - 2, u32::MAX - 1), (u32::MAX, u32::MAX)].map(|(low, high)| Range { low, high });
    assert_eq!(ranges, [low, high]);
    assert!(nonces.iter().all(|(job, _)| job.versions == [5, 6, 7]));
    let one = Range { low: 9, high: 9 };
    let versions = halves(&job(vec![5, 6, 7]), one);
    let lists: Vec<&[u32]> = versions.iter().map(|(job, _)| job.versions.as_slice()).collect();
    assert_eq!(lists, [&[5, 6][..], &[7]]);
    assert!(versions.iter().all(|(_, range)| *range == one));
}
