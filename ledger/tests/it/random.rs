//! Random lives of a ledger against a naive model: the model keeps every share and walks.

use std::collections::BTreeMap;

use ledger::{BlockId, BlockState, Ledger, Reading, Retention, Scheme, WorkerId, split};
use proptest::prelude::*;
use units::{BasisPoints, MicroJoules};

use crate::support::{
    NETWORK_WORK, World, assert_sound, pplns, sats, settings, spoil_projections, tables,
};

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u32, u128)>),
    Close,
    Find { finder: u32, back: u64, reward: u64 },
    OnChain { block: usize, depth: u32 },
    Orphan { block: usize },
    Meter { worker: u32, added: u128, restart: bool },
    Prune(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let share = (1_u32..=5, 1_u128..=90);
    prop_oneof![
        6 => prop::collection::vec(share, 1..8).prop_map(Step::Commit),
        4 => Just(Step::Close),
        2 => (1_u32..=5, 0_u64..4, 0_u64..10_000_000_000)
            .prop_map(|(finder, back, reward)| Step::Find { finder, back, reward }),
        4 => (0_usize..20, prop::sample::select(vec![1_u32, 50, 100]))
            .prop_map(|(block, depth)| Step::OnChain { block, depth }),
        2 => (0_usize..20).prop_map(|block| Step::Orphan { block }),
        2 => (1_u32..=5, 0_u128..1_000, any::<bool>())
            .prop_map(|(worker, added, restart)| Step::Meter { worker, added, restart }),
        2 => (1..20_u8).prop_map(Step::Prune),
        1 => Just(Step::Reopen),
    ]
}

/// What a ledger must say, by the slowest way to know it.
#[derive(Debug, Default)]
struct Model {
    /// Every share: account and work.
    shares: Vec<(u32, u128)>,
    /// Number of shares at the end of each slice.
    slices: Vec<usize>,
    blocks: Vec<Block>,
    meters: BTreeMap<u32, (u64, u128)>,
    energy: u128,
}

#[derive(Debug)]
struct Block {
    hash: BlockId,
    reward: u64,
    finder: u32,
    slice: usize,
    state: BlockState,
}

/// Five workers of three accounts: worker n is of account (n + 1) / 2.
const fn account_of(worker: u32) -> u32 {
    worker.div_ceil(2)
}

const FEE_ACCOUNT: u32 = 9;

impl Model {
    /// Satoshis of each account by block, walking back hash by hash in spirit.
    fn credits(&self, block: &Block, scheme: Scheme) -> BTreeMap<u32, u64> {
        let fee = BasisPoints::new(100).unwrap().of(sats(block.reward)).to_sat();
        let mut credits = BTreeMap::from([(FEE_ACCOUNT, fee)]);
        let rest = block.reward - fee;
        let weights = self.weights(block, scheme);
        if weights.is_empty() {
            *credits.entry(block.finder).or_default() += rest;
        } else {
            let weights: Vec<_> =
                weights.into_iter().map(|(id, work)| (ledger::AccountId::new(id), work)).collect();
            for (account, part) in split(sats(rest), &weights).unwrap() {
                *credits.entry(account.get()).or_default() += part.to_sat();
            }
        }
        credits
    }

    fn weights(&self, block: &Block, scheme: Scheme) -> BTreeMap<u32, u128> {
        let mut weights = BTreeMap::new();
        let Scheme::Pplns { window_hundredths } = scheme else { return weights };
        // In 2^-64 of a block: all shares are of blocks of one work, a power of two.
        let (mut left, hash) =
            ((u128::from(window_hundredths) << 64) / 100, (1 << 64) / NETWORK_WORK);
        let end = if block.slice == 0 { 0 } else { self.slices[block.slice - 1] };
        for (account, work) in self.shares[..end].iter().rev() {
            let part = (work * hash).min(left);
            left -= part;
            if part > 0 {
                *weights.entry(*account).or_default() += part;
            }
        }
        weights
    }

    fn money(&self, scheme: Scheme, state: BlockState) -> BTreeMap<u32, u64> {
        let mut sums = BTreeMap::new();
        for block in self.blocks.iter().filter(|block| block.state == state) {
            for (account, sats) in self.credits(block, scheme) {
                *sums.entry(account).or_default() += sats;
            }
        }
        sums.retain(|_, sats| *sats > 0);
        sums
    }
}

struct Run {
    world: World,
    model: Model,
    scheme: Scheme,
}

impl Run {
    fn new(scheme: Scheme) -> Self {
        let mut world = World::new(scheme);
        for worker in 1..=5 {
            let account = format!("a{}", account_of(worker));
            assert_eq!(world.worker(&account, &format!("w{worker}")).get(), worker);
        }
        Self { world, model: Model::default(), scheme }
    }

    fn step(mut self, step: Step) -> Self {
        match step {
            Step::Commit(shares) => self.commit(&shares),
            Step::Close => self.close(),
            Step::Find { finder, back, reward } => self.find(finder, back, reward),
            Step::OnChain { block, depth } => self.on_chain(block, depth),
            Step::Orphan { block } => self.orphan(block),
            Step::Meter { worker, added, restart } => self.meter(worker, added, restart),
            Step::Prune(calls) => self.prune(calls),
            Step::Reopen => self.world = self.world.reopen(self.scheme),
        }
        self
    }

    fn commit(&mut self, shares: &[(u32, u128)]) {
        let batch: Vec<_> =
            shares.iter().map(|(worker, work)| (WorkerId::new(*worker), *work)).collect();
        self.world.commit(&batch);
        self.model.shares.extend(shares.iter().map(|(worker, work)| (account_of(*worker), *work)));
    }

    fn close(&mut self) {
        let index = self.world.close();
        if self.model.slices.last().copied().unwrap_or(0) < self.model.shares.len() {
            self.model.slices.push(self.model.shares.len());
        }
        assert_eq!(usize::try_from(index.get()).unwrap(), self.model.slices.len());
    }

    fn find(&mut self, finder: u32, back: u64, reward: u64) {
        let slice = self.world.ledger.newest_slice().index.get().saturating_sub(back);
        let hash = self.world.find(WorkerId::new(finder), slice, reward);
        self.model.blocks.push(Block {
            hash,
            reward,
            finder: account_of(finder),
            slice: usize::try_from(slice).unwrap(),
            state: BlockState::Candidate,
        });
    }

    fn on_chain(&mut self, block: usize, depth: u32) {
        let Some(block) = self.model.blocks.get_mut(block) else { return };
        let after = match (block.state, depth) {
            (BlockState::Mature, _) | (_, 100) => BlockState::Mature,
            _ => BlockState::OnChain,
        };
        let change = self.world.on_chain(block.hash, depth);
        assert_eq!((change.before, change.after), (block.state, after));
        block.state = after;
    }

    fn orphan(&mut self, block: usize) {
        let Some(block) = self.model.blocks.get_mut(block) else { return };
        if block.state == BlockState::Mature {
            let now = self.world.now();
            assert!(self.world.ledger.orphaned(block.hash, now).is_err());
        } else {
            assert_eq!(self.world.orphan(block.hash).after, BlockState::Orphaned);
            block.state = BlockState::Orphaned;
        }
    }

    fn prune(&mut self, calls: u8) {
        for _ in 0..calls {
            let now = self.world.now();
            self.world.ledger.prune(now, Retention::default()).unwrap();
        }
    }

    fn meter(&mut self, worker: u32, added: u128, restart: bool) {
        let (mut epoch, mut total) = self.model.meters.get(&worker).copied().unwrap_or((0, 0));
        let credited = if restart || epoch == 0 { 0 } else { added };
        if restart || epoch == 0 {
            (epoch, total) = (epoch + 1, 0);
        }
        total += added;
        self.model.meters.insert(worker, (epoch, total));
        self.model.energy += credited;
        let reading = Reading {
            worker: WorkerId::new(worker),
            meter: "model".to_owned(),
            kind: "model".to_owned(),
            scope: "rig".to_owned(),
            tier: 5,
            epoch,
            total: MicroJoules::new(total),
            hashes_total: None,
            credited: MicroJoules::new(credited),
            gap: std::time::Duration::ZERO,
            counted: true,
            coverage_ppm: 1_000_000,
            uncertainty_ppm: 500_000,
            at: self.world.now(),
        };
        self.world.ledger.record_reading(&reading).unwrap();
    }

    fn check(self) {
        let reader = self.world.reader();
        let totals = reader.totals().unwrap();
        assert_eq!(usize::try_from(totals.shares).unwrap(), self.model.shares.len());
        let work: u128 = self.model.shares.iter().map(|(_, work)| work).sum();
        assert_eq!(totals.work.get(), work);
        assert_eq!(totals.energy.get(), self.model.energy);
        let id = |name: &str| name.strip_prefix('a').map_or(FEE_ACCOUNT, |id| id.parse().unwrap());
        let (mut immature, mut mature) = (BTreeMap::new(), BTreeMap::new());
        for balance in reader.balances().unwrap() {
            immature.insert(id(&balance.account), balance.immature.to_sat());
            mature.insert(id(&balance.account), balance.balance.to_sat());
        }
        immature.retain(|_, sats| *sats > 0);
        mature.retain(|_, sats| *sats > 0);
        assert_eq!(immature, self.model.money(self.scheme, BlockState::OnChain));
        assert_eq!(mature, self.model.money(self.scheme, BlockState::Mature));
        assert_eq!(totals.immature.to_sat(), immature.values().sum::<u64>());
        assert_eq!(totals.balance.to_sat(), mature.values().sum::<u64>());
        let path = self.world.path();
        assert_sound(&path);
        let World { dir, ledger, .. } = self.world;
        drop((ledger, reader));
        let live = tables(&path);
        spoil_projections(&path);
        drop(Ledger::open(&path, settings(self.scheme)).unwrap());
        assert_eq!(tables(&path), live, "the log gives the same tables again");
        drop(dir);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_life_agrees_with_the_model(
        steps in prop::collection::vec(step(), 1..60),
        scheme in prop_oneof![
            4 => (1_u32..300).prop_map(pplns),
            1 => Just(Scheme::Solo),
        ],
    ) {
        let run = steps.into_iter().fold(Run::new(scheme), Run::step);
        run.check();
    }
}
