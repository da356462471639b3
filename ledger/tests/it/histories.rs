//! What holds of every scheme, whatever happens: random histories at the ledger's own doors. A
//! scheme is one line in [`schemes`].
//!
//! What each scheme pays to whom is not here: `random.rs` has a model of it, and the examples of
//! `docs/schemes.md` are tests.

use std::collections::BTreeMap;

use ledger::{BlockId, BlockState, Ledger, Retention, Scheme, WorkerId};
use proptest::prelude::*;
use units::UnixMillis;

use crate::support::{World, assert_sound, pplns, settings, spoil_projections, tables};

const WORKERS: u32 = 6;
/// A window that no history here fills.
const NEVER_FULL: u32 = 1_000_000;

fn schemes() -> impl Strategy<Value = Scheme> {
    prop_oneof![
        3 => (1_u32..300).prop_map(pplns),
        1 => Just(pplns(NEVER_FULL)),
        1 => Just(Scheme::Solo),
    ]
}

/// Whether shares of one slice may not change places: a window's edge may lie between them.
const fn has_an_edge(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Pplns { window_hundredths } if window_hundredths < NEVER_FULL)
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u32, u128)>),
    Close,
    Find { finder: u32, back: u64, reward: u64 },
    OnChain { block: usize, depth: u32 },
    Orphan { block: usize },
    Reopen,
}

/// How one history comes about; what is paid must not depend on it.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// All shares are accepted in one millisecond, and not each in one of its own.
    equal_times: bool,
    /// Each share is committed alone, and not with others.
    one_by_one: bool,
    /// The shares of a commit come last first.
    backwards: bool,
    /// The ledger is killed after each step.
    killed: bool,
    /// What no block needs is dropped after each step.
    pruned: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let share = (1..=WORKERS, 1_u128..=60);
    let step = prop_oneof![
        6 => prop::collection::vec(share, 1..8).prop_map(Step::Commit),
        4 => Just(Step::Close),
        3 => (1..=WORKERS, 0_u64..4, 0_u64..6_000_000_000)
            .prop_map(|(finder, back, reward)| Step::Find { finder, back, reward }),
        5 => (0_usize..12, prop::sample::select(vec![1_u32, 50, 100]))
            .prop_map(|(block, depth)| Step::OnChain { block, depth }),
        2 => (0_usize..12).prop_map(|block| Step::Orphan { block }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..50)
}

/// A ledger after these steps, and the blocks that were found.
fn play(scheme: Scheme, steps: &[Step], way: Way) -> (World, Vec<BlockId>) {
    let mut world = World::new(scheme);
    for worker in 1..=WORKERS {
        let account = format!("a{}", worker.div_ceil(2));
        assert_eq!(world.worker(&account, &format!("w{worker}")).get(), worker);
    }
    let mut blocks = Vec::new();
    for step in steps {
        take(&mut world, &mut blocks, step, way);
        if way.pruned {
            while world.ledger.prune(UnixMillis::new(0), Retention::default()).unwrap().more {}
        }
        if way.killed {
            world = world.killed(scheme);
        } else if matches!(step, Step::Reopen) {
            world = world.reopen(scheme);
        }
    }
    (world, blocks)
}

fn take(world: &mut World, blocks: &mut Vec<BlockId>, step: &Step, way: Way) {
    match step {
        Step::Commit(shares) => commit(world, shares, way),
        Step::Close => {
            world.close();
        }
        Step::Find { finder, back, reward } => {
            let slice = world.ledger.newest_slice().index.get().saturating_sub(*back);
            blocks.push(world.find(WorkerId::new(*finder), slice, *reward));
        }
        Step::OnChain { block, depth } => {
            if let Some(hash) = blocks.get(*block) {
                world.on_chain(*hash, *depth);
            }
        }
        Step::Orphan { block } => {
            if let Some(hash) = blocks.get(*block) {
                let now = world.now();
                // Refused where it is mature.
                let _ = world.ledger.orphaned(*hash, now);
            }
        }
        Step::Reopen => {}
    }
}

fn commit(world: &mut World, shares: &[(u32, u128)], way: Way) {
    let forge = &mut world.forge;
    let forged = shares.iter().map(|(worker, work)| forge.share(WorkerId::new(*worker), *work));
    let mut forged: Vec<_> = forged.collect();
    if way.equal_times {
        forged.iter_mut().for_each(|share| share.at = UnixMillis::new(1_790_000_000_000));
    }
    if way.backwards {
        forged.reverse();
    }
    let size = if way.one_by_one { 1 } else { forged.len() };
    for batch in forged.chunks(size) {
        world.ledger.commit(batch).unwrap();
    }
}

/// State and credits of each block, in the order in which they were found.
type Paid = Vec<(BlockState, Vec<(String, &'static str, u64)>)>;

fn paid(world: &World, blocks: &[BlockId]) -> Paid {
    let listed = world.reader().blocks(1_000).unwrap();
    let states: BTreeMap<_, _> = listed.iter().map(|block| (block.hash, block.state)).collect();
    blocks.iter().map(|hash| (states[hash], world.credits(hash))).collect()
}

/// That every reward is divided to the satoshi, and that all of it is somebody's, once.
fn check_money(world: &World) {
    let reader = world.reader();
    let (mut immature, mut mature) = (0, 0);
    for block in reader.blocks(1_000).unwrap() {
        let credits = reader.credits_of(&block.hash).unwrap();
        let sum: u64 = credits.iter().map(|credit| credit.sats.to_sat()).sum();
        let reward = block.reward.to_sat();
        assert_eq!(sum, if block.settled_at.is_some() { reward } else { 0 }, "{block:?}");
        match block.state {
            BlockState::OnChain => immature += reward,
            BlockState::Mature => mature += reward,
            BlockState::Candidate
            | BlockState::Submitted
            | BlockState::Orphaned
            | BlockState::Abandoned => {}
        }
    }
    let totals = reader.totals().unwrap();
    assert_eq!((totals.immature.to_sat(), totals.balance.to_sat()), (immature, mature));
    for balance in reader.balances().unwrap() {
        immature -= balance.immature.to_sat();
        mature -= balance.balance.to_sat();
        let end = UnixMillis::new(u64::MAX);
        let statement = reader.statement(&balance.account, UnixMillis::new(0), end, 10_000);
        let statement = statement.unwrap().unwrap();
        assert_eq!(u64::try_from(statement.closing).unwrap(), balance.balance.to_sat());
        assert_eq!(statement.immature, balance.immature);
        assert!(statement.lines.iter().all(|line| line.balance >= 0), "{statement:?}");
    }
    assert_eq!((immature, mature), (0, 0), "what is nobody's");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_reward_is_divided_to_the_satoshi_and_the_log_gives_the_same_again(
        steps in steps(), scheme in schemes(), pruned in any::<bool>(),
    ) {
        let (world, _) = play(scheme, &steps, Way { pruned, ..Way::default() });
        check_money(&world);
        let path = world.path();
        assert_sound(&path);
        let World { dir, ledger, .. } = world;
        drop(ledger);
        let live = tables(&path);
        spoil_projections(&path);
        drop(Ledger::open(&path, settings(scheme)).unwrap());
        prop_assert_eq!(tables(&path), live);
        drop(dir);
    }

    #[test]
    fn neither_equal_times_nor_batches_nor_kills_change_what_is_paid(
        steps in steps(), scheme in schemes(),
    ) {
        let (world, blocks) = play(scheme, &steps, Way::default());
        let plain = paid(&world, &blocks);
        for way in [
            Way { equal_times: true, ..Way::default() },
            Way { one_by_one: true, ..Way::default() },
            Way { killed: true, ..Way::default() },
            Way { pruned: true, ..Way::default() },
            Way { pruned: true, killed: true, ..Way::default() },
            Way { equal_times: true, one_by_one: true, ..Way::default() },
        ] {
            let (world, blocks) = play(scheme, &steps, way);
            prop_assert_eq!(&paid(&world, &blocks), &plain, "{:?}", way);
        }
    }

    #[test]
    fn shares_of_equal_times_may_come_in_any_order(
        steps in steps(),
        scheme in schemes().prop_filter("an edge may lie between them", |one| !has_an_edge(*one)),
    ) {
        let equal = Way { equal_times: true, ..Way::default() };
        let (world, blocks) = play(scheme, &steps, equal);
        let plain = paid(&world, &blocks);
        let luck = world.reader().luck().unwrap();
        let (world, blocks) = play(scheme, &steps, Way { backwards: true, ..equal });
        prop_assert_eq!(paid(&world, &blocks), plain);
        prop_assert_eq!(world.reader().luck().unwrap(), luck);
    }
}
