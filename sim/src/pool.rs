//! The pool of the simulated world: real sessions and the real ledger, driven by hand instead of
//! by tasks, so that it can be killed between any two steps.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ledger::{
    BlockId, Candidate, Ledger, LedgerError, Scheme, Settings, Share, SliceIndex, WorkerId,
};
use stratum::{
    DifficultySettings,
    job::{Job, JobTemplate},
    v1::server::{AcceptedShare, Event, Session, ShareToken, WorkerKey},
};
use units::{BasisPoints, Difficulty, Moment, Sats, Target};

use crate::{miner::Miner, rng::Rng};

/// Confirmations at which a simulated reward matures.
pub(crate) const MATURITY: u32 = 5;
/// What each block pays.
pub(crate) const REWARD: u64 = 5_000_000_000;
const FEE_ACCOUNT: &str = "the-pool";
/// Every 4096th hash is a block, so that blocks come and go within a run.
const NETWORK_BITS: u32 = 0x1f0f_ffff;

/// A pool between two of its steps.
pub(crate) struct Pool {
    ledger: Ledger,
    path: PathBuf,
    settings: Arc<stratum::v1::server::Settings>,
    sessions: HashMap<usize, Session>,
    queue: Vec<(usize, ShareToken, AcceptedShare)>,
    /// Stale shares that are blocks: to be written down, and not credited.
    late: Vec<AcceptedShare>,
    job: Option<Arc<Job>>,
    jobs_made: u64,
    epoch: u64,
    /// Shares answered with `true`; outlives the pool's death.
    pub(crate) answered: u64,
    /// Headers credited; a second time is a bug.
    credited: HashSet<[u8; 80]>,
    /// Blocks found and written down, with their heights.
    pub(crate) found: Vec<(BlockId, u32)>,
    height: u32,
}

impl Pool {
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            ledger: Ledger::open(path, settings())?,
            path: path.to_owned(),
            settings: Arc::new(sessions()),
            sessions: HashMap::new(),
            queue: Vec::new(),
            late: Vec::new(),
            job: None,
            jobs_made: 0,
            epoch: 0,
            answered: 0,
            credited: HashSet::new(),
            found: Vec::new(),
            height: 1,
        })
    }

    /// The pool dies at this instant. What its disk holds is copied (with bytes of a write that
    /// never finished behind the log), and a new pool starts on the copy.
    pub(crate) fn crash(self, to: &Path, rng: &mut Rng) -> Result<Self, LedgerError> {
        let Self { ledger, path, answered, credited, found, height, jobs_made, epoch, .. } = self;
        copy_disk(&path, to, rng);
        drop(ledger);
        let mut pool = Self::open(to)?;
        pool.answered = answered;
        pool.credited = credited;
        pool.found = found;
        (pool.height, pool.jobs_made, pool.epoch) = (height, jobs_made, epoch);
        Ok(pool)
    }

    /// The chain's tip moved, to `height` - 1: everybody gets new work.
    pub(crate) fn new_block(&mut self, height: u32, rng: &mut Rng, now: Moment) {
        self.epoch += 1;
        self.height = height;
        self.new_job(rng.bytes(), true, now);
    }

    /// Closes the open slice and gives out work that commits to it.
    pub(crate) fn new_slice(&mut self, now: Moment) -> Result<(), LedgerError> {
        self.ledger.close_slice(now.unix)?;
        if let Some(job) = self.job.clone() {
            self.new_job(job.template.prev_hash, false, now);
        }
        Ok(())
    }

    pub(crate) fn connect(&mut self, miner: usize, now: Moment) -> Result<(), LedgerError> {
        let lease = self.ledger.lease_extranonces(1, now.unix)?;
        let xn1 = lease.start.to_be_bytes();
        let mut session = Session::new(Arc::clone(&self.settings), xn1, now);
        if let Some(job) = &self.job {
            session.set_job(Arc::clone(job), now);
        }
        self.sessions.insert(miner, session);
        Ok(())
    }

    /// Reads what a miner sent, and gives what is to be sent back.
    pub(crate) fn serve(
        &mut self,
        index: usize,
        miner: &mut Miner,
        now: Moment,
    ) -> Result<Vec<u8>, String> {
        let Some(session) = self.sessions.get_mut(&index) else { return Ok(Vec::new()) };
        let arrived = miner.up.receive(now.mono);
        session.receive(&arrived, now).map_err(|fatal| format!("miner {index}: {fatal}"))?;
        session.timeout(now);
        while let Some(event) = session.poll() {
            match event {
                Event::Authorize { token, user, .. } => {
                    let worker = self.ledger.worker(&user, "", now.unix);
                    let worker = worker.map_err(|error| error.to_string())?;
                    session.authorize(token, Ok(WorkerKey::new(worker.get())), now);
                }
                Event::Share { token, share } => self.queue.push((index, token, share)),
                Event::Close { reason } => return Err(format!("miner {index}: {reason}")),
                Event::Energy { token, .. } => session.answer_energy(token, Ok(())),
                Event::Agent { .. }
                | Event::Extranonce
                | Event::Rejected { .. }
                | Event::Resume { .. }
                | Event::Subscribed { .. } => {}
                Event::StaleBlock { share } => self.late.push(share),
            }
        }
        let mut out = Vec::new();
        session.transmit(&mut out);
        Ok(out)
    }

    /// Commits what has gathered; only then is it answered.
    pub(crate) fn commit(&mut self) -> Result<(), String> {
        let gathered = core::mem::take(&mut self.queue);
        let shares: Vec<Share> = gathered.iter().map(|(_, _, share)| record(share)).collect();
        for share in &shares {
            if !self.credited.insert(share.header) {
                return Err("a header is credited twice".to_owned());
            }
        }
        let sum = |error: LedgerError| error.to_string();
        self.ledger.commit(&shares).map_err(sum)?;
        let late = core::mem::take(&mut self.late);
        let shares = gathered.iter().map(|(_, _, share)| share);
        for share in shares.filter(|share| share.judged.is_block).chain(&late) {
            let candidate = self.candidate(share);
            self.ledger.candidate(&candidate).map_err(sum)?;
            self.found.push((candidate.hash, candidate.height));
        }
        for (index, token, _) in gathered {
            if let Some(session) = self.sessions.get_mut(&index) {
                session.acknowledge(token, Ok(()));
                self.answered += 1;
            }
        }
        Ok(())
    }

    /// The chain says where each found block is: on it at some depth, or not.
    pub(crate) fn sight(
        &mut self,
        tip: u32,
        on_chain: impl Fn(&BlockId) -> bool,
        now: Moment,
    ) -> Result<(), LedgerError> {
        for block in self.ledger.unresolved()? {
            if on_chain(&block.hash) {
                let depth = (tip + 1).saturating_sub(block.height).max(1);
                self.ledger.on_chain(block.hash, depth, now.unix)?;
            } else {
                self.ledger.orphaned(block.hash, now.unix)?;
            }
        }
        Ok(())
    }

    /// The ledger's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many headers were credited.
    pub(crate) fn credited(&self) -> usize {
        self.credited.len()
    }

    fn new_job(&mut self, prev_hash: [u8; 32], clean: bool, now: Moment) {
        self.jobs_made += 1;
        let slice = self.ledger.newest_slice();
        let ntime = u32::try_from(now.unix.seconds()).unwrap_or(u32::MAX);
        let template = JobTemplate {
            height: self.height,
            version: 0x2000_0000,
            prev_hash,
            nbits: NETWORK_BITS,
            ntime,
            min_ntime: ntime.saturating_sub(600),
            coinbase1: coinbase_start(self.height, self.jobs_made, &slice.root),
            coinbase2: coinbase_end(),
            branch: Vec::new(),
            network_target: network_target(),
        };
        let job =
            Arc::new(Job::new(self.jobs_made, template, clean, self.epoch, slice.index.get()));
        for session in self.sessions.values_mut() {
            session.set_job(Arc::clone(&job), now);
        }
        self.job = Some(job);
    }

    fn candidate(&self, share: &AcceptedShare) -> Candidate {
        Candidate {
            hash: share.judged.hash,
            height: share.job.template.height,
            reward: Sats::from_sat(REWARD).unwrap_or(Sats::ZERO),
            network_work: network_target().work(),
            finder: WorkerId::new(share.worker.get()),
            committed_slice: SliceIndex::new(share.job.tag),
            block: [&share.judged.header[..], &[1], &share.coinbase()].concat(),
            at: share.at,
        }
    }
}

/// A coinbase up to its extranonces: version, one input from nowhere, and a script of the height,
/// the job's number, the slice's root and the 12 bytes of both extranonces.
fn coinbase_start(height: u32, job: u64, root: &[u8; 32]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend([0; 32]);
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.push(5 + 9 + 33 + 13);
    bytes.push(4);
    bytes.extend(height.to_le_bytes());
    bytes.push(8);
    bytes.extend(job.to_le_bytes());
    bytes.push(32);
    bytes.extend(root);
    bytes.push(12);
    bytes
}

/// The rest: sequence, one output of the whole reward to anybody, lock time.
fn coinbase_end() -> Vec<u8> {
    let mut bytes = u32::MAX.to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend(REWARD.to_le_bytes());
    bytes.extend([1, 0x51]);
    bytes.extend(0_u32.to_le_bytes());
    bytes
}

fn record(share: &AcceptedShare) -> Share {
    Share {
        worker: WorkerId::new(share.worker.get()),
        work: share.judged.work,
        network_work: share.job.template.network_target.work(),
        at: share.at,
        header: share.judged.header,
    }
}

/// Shares thirty times easier than blocks, and many of them.
fn sessions() -> stratum::v1::server::Settings {
    let difficulty = |value| Difficulty::new(value).unwrap_or(Difficulty::ONE);
    stratum::v1::server::Settings {
        difficulty: DifficultySettings {
            start: difficulty(4e-8),
            min: difficulty(1e-9),
            max: Difficulty::ONE,
            shares_per_minute: 600.0,
            vardiff: true,
        },
        ..Default::default()
    }
}

fn settings() -> Settings {
    Settings {
        scheme: Scheme::Pplns { window_hundredths: 200 },
        fee: BasisPoints::new(150).unwrap_or_default(),
        fee_account: FEE_ACCOUNT.to_owned(),
        maturity: MATURITY,
    }
}

fn network_target() -> Target {
    Target::from_compact(NETWORK_BITS).unwrap_or(Target::MAX)
}

/// The database and its log as they are now, the log with a torn write behind its end.
fn copy_disk(from: &Path, to: &Path, rng: &mut Rng) {
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    let database = fs::read(from).unwrap_or_default();
    let mut tail = fs::read(log(from)).unwrap_or_default();
    for _ in 0..rng.below(200) {
        tail.extend(rng.bytes());
    }
    let wrote = fs::write(to, database).and_then(|()| fs::write(log(to), tail));
    wrote.expect("the test's own directory takes a copy");
}
