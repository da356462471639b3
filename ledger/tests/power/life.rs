//! A ledger's life on a simulated disk: shares, slices, blocks that mature or lose, and what was
//! answered on the way.

use std::path::{Path, PathBuf};

use ledger::{BlockId, Ledger, LedgerError, Retention, Share, WorkerId, verify};
use tempfile::TempDir;

use crate::disk::{Dice, Disk, Loss};
use crate::oracle;
use crate::support::{Forge, REWARD, pplns, settings};
use crate::vfs::Disks;

/// Times that something is tried again while the disk is full, before the pool gives up; some
/// more than a disk is full for.
const PATIENCE: usize = 40;
/// Times that it is tried at all.
const TRIES: usize = 100;

/// Something that a pool asks of its ledger.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Workers,
    Shares(Vec<Share>),
    Close,
    /// A block with this reward.
    Found(u64),
    /// How deep the block with this number is.
    OnChain(usize, u32),
    Orphaned(usize),
    Lease,
    /// Headers that no block needs are dropped, in so many calls.
    Prune(usize),
    /// The pool ends in order and starts again, which writes the write-ahead log back.
    Restart,
}

/// A share that was handed in.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    header: [u8; 80],
    at: u64,
    /// Whether it was answered as taken.
    answered: bool,
}

impl Handed {
    /// Whether this is what the log has of it, with its header or without.
    pub(crate) fn is(&self, share: &[u8; 80]) -> bool {
        *share == self.header || *share == oracle::bare(self.at)
    }
}

/// A ledger, its disk, and what whoever asked was told.
#[derive(Debug)]
pub(crate) struct Life {
    disks: &'static Disks,
    folder: TempDir,
    path: PathBuf,
    ledger: Option<Ledger>,
    forge: Forge,
    /// All shares that were handed in.
    pub(crate) shares: Vec<Handed>,
    /// Blocks that were said to be kept.
    pub(crate) blocks: Vec<BlockId>,
    /// How many of them there were when the pool started last.
    opened: usize,
    /// Those that were refused by a pool that took others afterwards.
    gone: Vec<Handed>,
    /// Deaths on the way.
    pub(crate) deaths: u32,
}

/// The steps of a life, with batches of at most so many shares: the same from the same seed.
pub(crate) fn steps(seed: u64, count: usize, batch: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let mut forge = Forge::starting_at(seed % 4_000 * 1_000_000);
    let (mut closed, mut open, mut found) = (false, false, 0);
    let mut steps = vec![Step::Workers];
    while steps.len() < count {
        let step = match dice.below(14) {
            0..5 => {
                open = true;
                let last = dice.below(batch);
                let share = |_| {
                    let worker = WorkerId::new(if dice.one_in(3) { 2 } else { 1 });
                    forge.share(worker, 1 + u128::try_from(dice.below(9)).unwrap())
                };
                Step::Shares((0..=last).map(share).collect())
            }
            5..8 if open => {
                (open, closed) = (false, true);
                Step::Close
            }
            8 if closed => {
                found += 1;
                Step::Found(REWARD + u64::try_from(steps.len()).unwrap())
            }
            9 | 10 if found > 0 => {
                let block = dice.below(found);
                Step::OnChain(block, if dice.one_in(3) { 100 } else { 1 })
            }
            11 if found > 0 => Step::Orphaned(dice.below(found)),
            12 => Step::Restart,
            13 => Step::Prune(1 + dice.below(6)),
            _ => Step::Lease,
        };
        steps.push(step);
    }
    steps
}

/// Slices that nobody needs any more, and their end.
pub(crate) fn pruning() -> Vec<Step> {
    let mut forge = Forge::starting_at(77_000_000);
    let mut shares = || {
        let workers = [1, 2, 1].map(WorkerId::new);
        Step::Shares(workers.iter().map(|worker| forge.share(*worker, 20)).collect())
    };
    let mut steps = vec![Step::Workers];
    for _ in 0..8 {
        steps.extend([shares(), shares(), Step::Close]);
    }
    steps.extend([Step::Prune(5), shares(), Step::Prune(20), Step::Restart, shares(), Step::Close]);
    steps.extend([Step::Prune(20), shares()]);
    steps
}

impl Life {
    /// On this disk, which may fail.
    pub(crate) fn begin(disk: Disk) -> Self {
        let disks = Disks::get();
        let (folder, path) = disks.put(disk);
        let mut life = Self {
            disks,
            folder,
            path,
            ledger: None,
            forge: Forge::starting_at(0),
            shares: Vec::new(),
            blocks: Vec::new(),
            opened: 0,
            gone: Vec::new(),
            deaths: 0,
        };
        life.open();
        life
    }

    /// Does the steps as a pool does: what was refused for want of room is asked for again but
    /// for shares, whose miners are told; where the disk fails the pool dies and starts anew.
    pub(crate) fn live(&mut self, steps: &[Step], loss: Loss) {
        for step in steps {
            if let Step::Shares(shares) = step {
                let handed = shares.iter().map(|share| Handed {
                    header: share.header,
                    at: share.at.get(),
                    answered: false,
                });
                self.shares.extend(handed);
            }
            let mut tries = 0;
            while let Err(error) = self.take(step) {
                tries += 1;
                assert!(tries < TRIES, "{step:?}: {error}");
                let passing = matches!(error, LedgerError::Store { passing: true, .. });
                if !passing || tries == PATIENCE {
                    self.die(loss);
                }
                if matches!(step, Step::Shares(_)) {
                    break;
                }
            }
        }
    }

    /// One step; what it answers is put down.
    fn take(&mut self, step: &Step) -> Result<(), LedgerError> {
        if matches!(step, Step::Restart) {
            self.ledger = None;
            self.open();
            return Ok(());
        }
        let ledger = self.ledger.as_mut().unwrap();
        let now = self.forge.now();
        match step {
            Step::Workers => {
                let ids = ledger.workers(&[("alice", "r"), ("bob", "r")], now)?;
                assert_eq!(ids, [WorkerId::new(1), WorkerId::new(2)]);
            }
            Step::Shares(shares) => {
                ledger.commit(shares)?;
                let count = self.shares.len();
                // What failed before lay in the write-ahead log where this lies now.
                let before = &self.shares[self.opened..count - shares.len()];
                let refused = before.iter().filter(|share| !share.answered);
                self.gone.extend(refused.cloned());
                for share in &mut self.shares[count - shares.len()..] {
                    share.answered = true;
                }
                self.disks.with(&self.folder, |disk| disk.answered = count);
            }
            Step::Close => {
                ledger.close_slice(now)?;
            }
            Step::Found(reward) => {
                // Of the slices that are left: a death may have taken some.
                let newest = ledger.newest_slice();
                let slice = newest.index.get();
                self.forge.roots.insert(slice, newest.root);
                let candidate = self.forge.candidate(WorkerId::new(1), slice, *reward);
                ledger.candidate(&candidate)?;
                self.blocks.push(candidate.hash);
            }
            Step::OnChain(block, depth) => {
                forgive(ledger.on_chain(self.blocks[*block], *depth, now).map(drop))?;
            }
            Step::Orphaned(block) => {
                forgive(ledger.orphaned(self.blocks[*block], now).map(drop))?;
            }
            Step::Lease => {
                ledger.lease_extranonces(16, now)?;
            }
            Step::Prune(calls) => {
                for _ in 0..*calls {
                    ledger.prune(now, Retention::default())?;
                }
            }
            Step::Restart => {}
        }
        Ok(())
    }

    /// The machine or the process ends, and the pool starts on what is left.
    fn die(&mut self, loss: Loss) {
        self.lose_power(loss);
        self.open();
    }

    fn lose_power(&mut self, loss: Loss) {
        self.deaths += 1;
        // First, since a ledger that is closed in order tidies up.
        let left = self.disks.with(&self.folder, |disk| disk.after_power_loss(loss));
        self.ledger = None;
        self.disks.take(&self.folder);
        (self.folder, self.path) = self.disks.put(left);
    }

    /// Opens the ledger. A disk that is full is waited for, one that stays broken is replaced by
    /// what can be read of it.
    fn open(&mut self) {
        for tries in 1..TRIES {
            match Ledger::open(&self.path, settings(pplns(10))) {
                Ok(ledger) => {
                    self.opened = self.shares.len();
                    self.ledger = Some(ledger);
                    return;
                }
                Err(LedgerError::Store { passing, .. }) if passing && tries != PATIENCE => {}
                Err(LedgerError::Store { .. }) => self.lose_power(Loss::All),
                Err(error) => panic!("the ledger does not open: {error}"),
            }
        }
        panic!("the ledger never opens");
    }

    /// How many shares have lost their headers by now.
    pub(crate) fn without_header(&self) -> usize {
        let shares = oracle::read(&self.path).shares;
        let bare = |share: &&[u8; 80]| self.shares.iter().all(|handed| handed.header != **share);
        shares.iter().filter(bare).count()
    }

    /// Where its disk is.
    pub(crate) const fn folder(&self) -> &TempDir {
        &self.folder
    }

    /// Ends the pool in order and audits what it leaves. Without a death, what was refused is not
    /// there if the same pool took something afterwards. (What it refused last may be: where the sync
    /// failed, it was written, and the next start finds it. Its miner has heard of no credit, and
    /// cannot send it again, since no extranonce outlives a start.)
    pub(crate) fn check(mut self) {
        self.disks.with(&self.folder, Disk::mend);
        if let Some(ledger) = &mut self.ledger {
            while ledger.prune(self.forge.now(), Retention::default()).is_ok_and(|done| done.more) {
            }
        }
        self.ledger = None;
        let said = sound(&self.path);
        assert_eq!(left_behind(&self.path), 0, "batches with headers in slices that are done with");
        if self.deaths == 0 {
            let gone = |share: &&[u8; 80]| self.gone.iter().any(|handed| handed.is(share));
            assert_eq!(
                said.shares.iter().filter(gone).count(),
                0,
                "shares that were refused are there"
            );
        }
        // In the order in which they were handed in, none of them missing that was answered.
        let mut there = said.shares.iter().peekable();
        for handed in &self.shares {
            if there.next_if(|share| handed.is(share)).is_none() {
                assert!(!handed.answered, "a share that was answered is lost");
            }
        }
        assert_eq!(there.next(), None, "a share that nobody handed in");
        for block in &self.blocks {
            assert!(said.blocks.contains_key(&shown(block)), "a block that was answered is lost");
        }
    }
}

/// Batches that still have headers in slices whose pruning was announced.
fn left_behind(path: &Path) -> u64 {
    let sql = "SELECT count(*) FROM event WHERE kind = 'shares' AND seq <
               (SELECT max(close_event) FROM slice JOIN pruned ON pruned.slice = slice.idx)";
    rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// That the ledger at `path` opens, is sound by its own audit, and is what its log says.
pub(crate) fn sound(path: &Path) -> oracle::Said {
    audit(path).unwrap_or_else(|why| panic!("{why}"));
    oracle::read(path)
}

/// Opens the ledger at `path` and audits it.
pub(crate) fn audit(path: &Path) -> Result<(), String> {
    Ledger::open(path, settings(pplns(10))).map_err(|error| error.to_string())?;
    let report = verify::ledger(path).map_err(|error| error.to_string())?;
    if report.ok { Ok(()) } else { Err(format!("{:#?}", report.problems)) }
}

/// What a later step asks of a block in vain, because an earlier one was refused, is no fault.
fn forgive(result: Result<(), LedgerError>) -> Result<(), LedgerError> {
    match result {
        Err(LedgerError::Refused(_)) => Ok(()),
        other => other,
    }
}

fn shown(hash: &BlockId) -> String {
    let mut hash = *hash;
    hash.reverse();
    hex::encode(hash)
}
