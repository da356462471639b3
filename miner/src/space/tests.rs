//! Every header once: over devices, layouts, masks, times and threads.

use std::collections::BTreeSet;
use std::sync::Barrier;

use proptest::prelude::*;

use super::*;

const NTIME: u32 = 1_700_000_000;
const VERSION: u32 = 0x2000_4000;
/// Version bits of the spaces that are dealt whole.
const MASK: u32 = 0x0000_e000;
/// Such a space is looked at in cells of so many nonces of one header; no claim is finer.
const CELL_LOG2: u32 = 28;

/// A space with one device.
fn space(layout: Layout, mask: u32, xn2_size: usize) -> Space {
    shared(&[layout], mask, xn2_size)
}

fn shared(layouts: &[Layout], mask: u32, xn2_size: usize) -> Space {
    Space::new(layouts, VERSION, mask, xn2_size, NTIME)
}

/// All that is left for this device.
fn parts_of(space: &Space, device: usize, last_ntime: u32) -> Vec<Claim> {
    std::iter::from_fn(|| match space.claim(device, last_ntime) {
        Claimed::Part(claim) => Some(claim),
        Claimed::Exhausted => None,
    })
    .collect()
}

fn parts(space: &Space, last_ntime: u32) -> Vec<Claim> {
    parts_of(space, 0, last_ntime)
}

fn part_of(space: &Space, device: usize, last_ntime: u32) -> Claim {
    match space.claim(device, last_ntime) {
        Claimed::Part(claim) => claim,
        Claimed::Exhausted => panic!("there is room for device {device}"),
    }
}

/// Every (time, extranonce2, version, nonce range) that the claims hold, one by one.
fn cells(claims: &[Claim]) -> Vec<(u32, Vec<u8>, u32, u32)> {
    let cell =
        |claim: &Claim, version: u32| (claim.ntime, claim.xn2.clone(), version, claim.first_nonce);
    claims.iter().flat_map(|c| c.versions.iter().map(move |v| cell(c, *v))).collect()
}

/// How often each cell of a space of some seconds was dealt.
struct Tally {
    xn2_values: usize,
    dealt: Vec<u8>,
}

impl Tally {
    const CELLS: usize = 1 << (32 - CELL_LOG2);

    fn new(seconds: usize, xn2_size: usize) -> Self {
        let xn2_values = 1 << (8 * xn2_size);
        Self { xn2_values, dealt: vec![0; seconds * xn2_values * 8 * Self::CELLS] }
    }

    fn add(&mut self, claim: &Claim) {
        let number = |value: u32| usize::try_from(value).unwrap();
        let xn2 = claim.xn2.iter().fold(0, |value, byte| value * 256 + usize::from(*byte));
        let header = number(claim.ntime - NTIME) * self.xn2_values + xn2;
        for version in &claim.versions {
            assert_eq!(version & !MASK, VERSION & !MASK);
            let version = number((version ^ VERSION) >> MASK.trailing_zeros());
            let first = number(claim.first_nonce >> CELL_LOG2);
            let cells = number(claim.nonces >> CELL_LOG2);
            let base = (header * 8 + version) * Self::CELLS;
            for cell in &mut self.dealt[base + first..base + first + cells] {
                *cell += 1;
            }
        }
    }

    /// Whether all cells with the versions of this mask were dealt once, and no others.
    fn is_exact(&self, mask: u32) -> bool {
        let granted = |version: usize| {
            let bits = u32::try_from(version).unwrap() << MASK.trailing_zeros();
            u8::from(bits & !mask == 0)
        };
        let versions = self.dealt.chunks(Self::CELLS).enumerate();
        versions.into_iter().all(|(at, cells)| cells.iter().all(|cell| *cell == granted(at % 8)))
    }
}

fn any_layout() -> impl Strategy<Value = Layout> {
    (CELL_LOG2..=31).prop_flat_map(|hashes| {
        (0..=hashes - CELL_LOG2).prop_map(move |versions| Layout::new(hashes, versions))
    })
}

#[test]
fn the_whole_space_is_dealt_once_without_gap_or_overlap() {
    for versions_log2 in [0, 1, 3, 5] {
        let space = space(Layout::new(30, versions_log2), 0x0000_e000, 1);
        let nonces = 1 << (30 - versions_log2.min(3));
        let claims = parts(&space, NTIME);
        let cells = cells(&claims);
        let distinct: BTreeSet<_> = cells.iter().cloned().collect();
        assert_eq!(distinct.len(), cells.len(), "overlap with 2^{versions_log2} versions");
        let dealt: u64 = cells.iter().map(|_| nonces).sum();
        assert_eq!(dealt, 256 * 8 * (1 << 32), "gap with 2^{versions_log2} versions");
        let whole = |c: &Claim| u64::from(c.nonces) == nonces && c.ntime == NTIME;
        assert!(claims.iter().all(whole));
        let versions: BTreeSet<_> = cells.iter().map(|cell| cell.2).collect();
        assert_eq!(versions.len(), 8);
        assert!(versions.iter().all(|version| version & !0xe000 == VERSION & !0xe000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn devices_of_any_layout_share_the_space_without_gap_or_overlap(
        layouts in proptest::collection::vec(any_layout(), 1..=4),
        mask in proptest::sample::select(vec![0, 0x2000, 0xa000, MASK]),
        xn2_size in 0_usize..=1,
        turns in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u32..3), 0..200),
    ) {
        let space = shared(&layouts, mask, xn2_size);
        let mut tally = Tally::new(3, xn2_size);
        for (device, second) in turns {
            let device = device.index(layouts.len());
            if let Claimed::Part(part) = space.claim(device, NTIME + second) {
                prop_assert!(part.ntime <= NTIME + second, "a time that is still to come");
                tally.add(&part);
            }
        }
        // A field stays with its device, so each has to finish its own.
        for device in 0..layouts.len() {
            parts_of(&space, device, NTIME + 2).iter().for_each(|part| tally.add(part));
        }
        prop_assert!(tally.is_exact(mask));
    }
}

#[test]
fn the_jobs_own_version_and_nonce_zero_come_first() {
    let first = |mask| part_of(&space(Layout::new(18, 6), mask, 8), 0, NTIME);
    let rolled = first(0x1fff_e000);
    assert_eq!((rolled.versions.len(), rolled.versions[0]), (64, VERSION));
    assert_eq!((rolled.first_nonce, rolled.nonces), (0, 1 << 12));
    let plain = first(0);
    assert_eq!(plain.versions, [VERSION], "without a grant the version stays");
    assert_eq!((plain.first_nonce, plain.nonces), (0, 1 << 18));
    assert_eq!(plain.xn2, [0; 8]);
}

#[test]
fn extranonce2_is_rolled_when_versions_and_nonces_are_used_up() {
    let space = space(Layout::new(31, 0), 0, 2);
    let claims: Vec<_> = parts(&space, NTIME).into_iter().take(5).collect();
    let seen: Vec<_> = claims.iter().map(|c| (c.xn2.as_slice(), c.first_nonce)).collect();
    assert_eq!(
        seen,
        [(&[0, 0][..], 0), (&[0, 0], 1 << 31), (&[0, 1], 0), (&[0, 1], 1 << 31), (&[0, 2], 0)]
    );
}

#[test]
fn each_device_has_a_field_and_its_own_layout() {
    let (cpu, gpu) = (Layout::new(18, 6), Layout::of_gpu(12));
    let space = shared(&[cpu, gpu], 0x1fff_e000, 4);
    let turns = [0, 1, 0, 1].map(|device| part_of(&space, device, NTIME));
    let shape =
        |c: &Claim| (c.xn2[3], c.versions.len(), c.first_nonce >> c.nonces.ilog2(), c.nonces);
    assert_eq!(
        turns.each_ref().map(shape),
        [(0, 64, 0, 1 << 12), (1, 4096, 0, 1 << 19), (0, 64, 1, 1 << 12), (1, 4096, 1, 1 << 19)]
    );
}

#[test]
fn a_gpus_claim_is_as_large_as_it_can_be() {
    for versions_log2 in 0..=12 {
        let part = part_of(&space(Layout::of_gpu(versions_log2), 0x1fff_e000, 4), 0, NTIME);
        assert_eq!(part.versions.len(), 1 << versions_log2);
        assert_eq!(part.nonces, 1 << (31 - versions_log2));
    }
    assert_eq!(part_of(&space(Layout::of_gpu(12), 0, 4), 0, NTIME).nonces, 1 << 31);
}

#[test]
fn time_is_rolled_last_and_only_by_the_seconds_that_passed() {
    let space = space(Layout::new(31, 0), 0, 0);
    assert_eq!(parts(&space, NTIME).len(), 2, "no extranonce2: one header a second");
    assert_eq!(space.claim(0, NTIME), Claimed::Exhausted);
    assert_eq!(space.claim(0, NTIME), Claimed::Exhausted, "asking in vain uses nothing up");
    let later = parts(&space, NTIME + 3);
    let times: Vec<_> = later.iter().map(|claim| claim.ntime - NTIME).collect();
    assert_eq!(times, [1, 1, 2, 2, 3, 3]);
    assert_eq!(space.claim(0, NTIME - 1), Claimed::Exhausted, "a time before the first");
}

/// No extranonce2 and no versions: a second is one field, and whoever comes first has it.
#[test]
fn a_seconds_only_field_goes_to_one_device_and_the_other_waits_for_the_next() {
    let space = shared(&[Layout::new(31, 0), Layout::new(30, 0)], 0, 0);
    let first = part_of(&space, 1, NTIME);
    assert_eq!((first.ntime, first.first_nonce, first.nonces), (NTIME, 0, 1 << 30));
    assert_eq!(space.claim(0, NTIME), Claimed::Exhausted);
    assert_eq!(space.claim(0, NTIME), Claimed::Exhausted, "asking in vain uses nothing up");
    let second = part_of(&space, 0, NTIME + 1);
    assert_eq!((second.ntime, second.first_nonce), (NTIME + 1, 0));
    // The first still has its own, and nothing more after it.
    let rest = parts_of(&space, 1, NTIME + 1);
    let seen: Vec<_> = rest.iter().map(|c| (c.ntime - NTIME, c.first_nonce >> 30)).collect();
    assert_eq!(seen, [(0, 1), (0, 2), (0, 3)]);
    assert_eq!(parts_of(&space, 1, NTIME + 2)[0].ntime, NTIME + 2);
    assert_eq!(parts_of(&space, 0, NTIME + 2).len(), 1, "the other half of its own");
}

#[test]
fn a_field_whose_time_is_still_to_come_is_kept() {
    let space = shared(&[Layout::new(31, 0); 2], 0, 0);
    let early = [0, 1].map(|device| part_of(&space, device, NTIME + 1));
    assert_eq!(early.map(|part| part.ntime - NTIME), [0, 1]);
    assert_eq!(space.claim(1, NTIME), Claimed::Exhausted);
    let rest = part_of(&space, 1, NTIME + 1);
    assert_eq!((rest.ntime, rest.first_nonce), (NTIME + 1, 1 << 31));
}

#[test]
fn another_mask_goes_on_behind_what_was_dealt() {
    let wide = space(Layout::new(31, 0), 0x0000_6000, 1);
    let dealt: Vec<_> = (0..11).map(|_| wide.claim(0, NTIME)).collect();
    assert_eq!(dealt.len(), 11, "8 claims of extranonce 0, 3 of extranonce 1");
    let narrow = wide.again(VERSION, 0, NTIME);
    let next = part_of(&narrow, 0, NTIME);
    assert_eq!((next.xn2, next.first_nonce), (vec![2], 0));
    // The old space may still be asked: it ends its field, and then takes what nobody has.
    let old: Vec<_> = (0..6).map(|_| part_of(&wide, 0, NTIME).xn2[0]).collect();
    assert_eq!(old, [1, 1, 1, 1, 1, 3]);
    let both = [part_of(&narrow, 0, NTIME), part_of(&narrow, 0, NTIME)];
    assert_eq!(both.map(|part| part.xn2[0]), [2, 4]);

    let full = space(Layout::new(31, 0), 0, 0);
    let _both = parts(&full, NTIME);
    let after = full.again(VERSION, 0x2000, NTIME);
    assert_eq!(after.claim(0, NTIME), Claimed::Exhausted);
    assert_eq!(part_of(&after, 0, NTIME + 1).ntime, NTIME + 1);
}

#[test]
fn a_later_time_leaves_the_fields_before_it() {
    let space = shared(&[Layout::new(31, 0); 2], 0, 0);
    let [_, second] = [0, 1].map(|device| part_of(&space, device, NTIME + 1));
    assert_eq!(second.ntime, NTIME + 1);
    let later = space.again(VERSION, 0, NTIME + 1);
    // Device 0 was in the field of NTIME, which the job has left; device 1 goes on.
    let next = [0, 1].map(|device| part_of(&later, device, NTIME + 2));
    assert_eq!(next.map(|c| (c.ntime - NTIME, c.first_nonce)), [(2, 0), (1, 1 << 31)]);
    let fresh = later.again(VERSION, 0, NTIME + 60);
    assert_eq!(fresh.claim(0, NTIME + 59), Claimed::Exhausted);
    assert_eq!(part_of(&fresh, 0, NTIME + 60).first_nonce, 0);
    // Whoever still searches the old space gets nothing that the new one dealt.
    let old: Vec<_> = parts_of(&later, 1, NTIME + 61).iter().map(|c| c.ntime - NTIME).collect();
    assert_eq!(old, [61, 61]);
}

#[test]
fn the_last_field_of_all_is_the_end() {
    let space = Space::new(&[Layout::new(31, 0)], VERSION, 0, 4, 0);
    let end = space.again(VERSION, 0, u32::MAX);
    end.line.next.fetch_add(u64::from(u32::MAX) - 1, Ordering::Relaxed);
    let last = parts(&end, u32::MAX);
    assert_eq!(last.len(), 2);
    assert!(last.iter().all(|c| (c.ntime, c.xn2.as_slice()) == (u32::MAX, &[255, 255, 255, 254])));
}

#[test]
fn the_last_nonce_is_covered() {
    let space = space(Layout::new(18, 0), 0, 1);
    let covered: u64 = parts(&space, NTIME)
        .iter()
        .filter(|claim| claim.xn2 == [0])
        .inspect(|c| assert!(c.first_nonce.checked_add(c.nonces - 1).is_some()))
        .map(|claim| u64::from(claim.nonces))
        .sum();
    assert_eq!(covered, 1 << 32);
}

#[test]
fn wide_extranonces_keep_their_width() {
    let wide = space(Layout::new(18, 0), 0, 12);
    assert_eq!(wide.line.xn2_bytes(0x0102), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(space(Layout::new(18, 0), 0, 3).line.xn2_bytes(0x0102), [0, 1, 2]);
    assert_eq!(wide.line.xn2_bits(), 32, "the last four bytes are counted");
}

#[test]
fn many_threads_on_several_devices_claim_disjoint_parts() {
    let layouts = [Layout::new(28, 0), Layout::new(31, 2), Layout::new(28, 0)];
    for _ in 0..20 {
        let space = &shared(&layouts, MASK, 1);
        // All at once, or the first would be through before the last has come.
        let start = &Barrier::new(9);
        let dealt: Vec<Claim> = std::thread::scope(|scope| {
            let search = |device| {
                scope.spawn(move || {
                    start.wait();
                    parts_of(space, device, NTIME)
                })
            };
            let workers: Vec<_> = (0..9).map(|thread| search(thread % layouts.len())).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let mut tally = Tally::new(1, 1);
        dealt.iter().for_each(|part| tally.add(part));
        assert!(tally.is_exact(MASK));
    }
}

/// The same content under another mask while threads still search the old space.
#[test]
fn a_mask_that_changes_amid_the_search_never_meets_an_old_header() {
    for _ in 0..20 {
        let wide = shared(&[Layout::new(31, 0), Layout::new(29, 1)], MASK, 1);
        let dealt: Vec<Claim> = std::thread::scope(|scope| {
            let wide = &wide;
            let old = [0, 1, 1].map(|d| scope.spawn(move || parts_of(wide, d, NTIME)));
            let new = scope.spawn(|| parts_of(&wide.again(VERSION, 0x2000, NTIME), 0, NTIME));
            old.into_iter().chain([new]).flat_map(|worker| worker.join().unwrap()).collect()
        });
        let mut tally = Tally::new(1, 1);
        dealt.iter().for_each(|part| tally.add(part));
        assert!(tally.dealt.iter().all(|cell| *cell <= 1));
    }
}

#[test]
fn bits_are_spread_over_the_mask() {
    assert_eq!(spread(0b101, 0x1fff_e000), 0b101 << 13);
    assert_eq!(spread(0b11, 0x8000_0001), 0x8000_0001);
    assert_eq!(spread(0xffff, 0x1fff_e000), 0x1fff_e000);
}
