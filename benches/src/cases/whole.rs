//! The whole miner: its own hashing threads, as they mine, without a pool.
//!
//! Read [`Workers`], then [`rate`] (what is left of the bare kernel's rate when everything around
//! it is there) and [`job_change`] (how long new work waits). The jobs are a pool's in everything
//! but their contents, which are fixed: the same hashes on every machine.

mod job_change;
mod rate;

use std::{sync::Arc, time::Duration};

use kernels::Tile;
use miner::{
    clock::Clock,
    cpus::plan::Plan,
    device::Device,
    hands::{Crew, Ends, Found, Orders},
    space::Layout,
    work::{Book, Work},
    workers,
};
use stratum::v1::client::ClientJob;
use tokio::{runtime::Runtime, time::timeout};
use units::{Moment, Target};

use super::{CaseError, Choices, Finding};
use crate::measure::{Meter, WrongAnswer};

/// Longest wait for something that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait between two looks at something that hashing threads do.
const LOOK: Duration = Duration::from_micros(50);
/// The version bits of BIP 320.
const MASK: u32 = 0x1fff_e000;

/// The backend that is named in its usual shape, or the fastest tile here: its rate, then its
/// delays.
pub(super) fn run(meter: &Meter, choices: &Choices) -> Result<Vec<Finding>, CaseError> {
    let tile = match choices.backend {
        Some(backend) => backend.into(),
        None => fastest(meter),
    };
    let mut findings = Vec::new();
    for threads in choices.threads_or(&[super::usable_threads()]) {
        findings.push(Finding::Pairs(rate::run(meter, tile, threads, choices.pairs)?));
        findings.push(Finding::Delays(job_change::run(tile, threads, choices.changes)?));
    }
    Ok(findings)
}

fn fastest(meter: &Meter) -> Tile {
    let (fastest, _) = kernels::chooser::choose(&kernels::tiles(), &|| meter.now());
    fastest.expect("the portable backend is always there")
}

/// The miner's hashing threads, at rest until they are given orders.
struct Workers {
    runtime: Runtime,
    clock: Clock,
    device: Arc<Device>,
    layout: Layout,
    ends: Ends,
}

impl Workers {
    fn start(tile: Tile, plan: &Plan) -> Result<Self, CaseError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| CaseError::Workers(error.to_string()))?;
        let clock = Clock::start();
        let device = Arc::new(Device::new("cpu", tile, plan.threads()));
        let (crew, ends) = Crew::new(clock, runtime.handle());
        workers::start(&crew, &device, 0, tile, plan)
            .map_err(|error| CaseError::Workers(error.to_string()))?;
        Ok(Self { runtime, clock, device, layout: Layout::of_cpu(tile.backend), ends })
    }

    /// An empty book, dealing claims as the miner's does.
    fn book(&self) -> Book {
        Book::new(vec![self.layout])
    }

    fn order(&self, orders: Orders) {
        self.ends.orders.send_replace(orders);
    }

    /// Everything that is found within this time.
    fn listen(&mut self, time: Duration) -> Vec<Found> {
        let found = &mut self.ends.found;
        self.runtime.block_on(async {
            let mut heard = Vec::new();
            let until = tokio::time::sleep(time);
            tokio::pin!(until);
            loop {
                tokio::select! {
                    Some(one) = found.recv() => heard.push(one),
                    () = &mut until => return heard,
                }
            }
        })
    }

    /// The next that is found.
    fn next_found(&mut self) -> Result<Found, WrongAnswer> {
        let found = &mut self.ends.found;
        let next = self.runtime.block_on(async { timeout(PATIENCE, found.recv()).await });
        next.ok().flatten().ok_or_else(|| nothing("a hit"))
    }

    /// No hit has failed to hash again.
    fn check(&self) -> Result<(), WrongAnswer> {
        WrongAnswer::unless_equal("hardware errors", &0, &self.device.hardware_errors())
    }
}

/// The threads end when they are told to, which a test of the miner's holds.
impl Drop for Workers {
    fn drop(&mut self) {
        self.order(Orders::Stop);
    }
}

/// Something that did not come although there was all the time in the world.
fn nothing(what: &str) -> WrongAnswer {
    let expected = format!("within {} s", PATIENCE.as_secs());
    WrongAnswer { what: what.to_owned(), expected, got: "nothing".to_owned() }
}

/// The header of a hit, as it is submitted.
fn header_of(found: &Found) -> [u8; 80] {
    let header = found.work.job.header(&found.xn2, found.ntime, found.version);
    kernels::with_version_and_nonce(&header, found.version, found.nonce)
}

/// A main chain's job: twelve levels of branch, a coinbase of 250 bytes or so. Each number's
/// headers are its own.
fn job(number: u32, target: Target, now: Moment) -> Arc<ClientJob> {
    let mut coinbase1 = vec![1; 82];
    coinbase1.extend(number.to_be_bytes());
    Arc::new(ClientJob {
        id: number.to_string(),
        prev_hash: [0x5a; 32],
        coinbase1,
        coinbase2: vec![2; 152],
        branch: (0..12).map(|level| [level; 32]).collect(),
        version: 0x2000_0000,
        nbits: 0x1703_0ecd,
        ntime: 1_795_309_039,
        clean: true,
        target,
        network_target: Target::from_compact(0x1703_0ecd).expect("a main chain's bits"),
        version_mask: MASK,
        xn1: vec![0, 0, 0, 1],
        xn2_size: 8,
        received: now,
        generation: u64::from(number),
        continues: false,
    })
}

/// How many hold this work: whoever has it here, the orders, and each thread that searches it.
fn holders(work: &Arc<Work>) -> usize {
    Arc::strong_count(work)
}
