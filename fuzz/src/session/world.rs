//! What sessions need around them: settings, jobs, a clock.

use std::sync::Arc;
use std::time::Duration;

use stratum::{
    Job, JobTemplate, Jobs,
    job::Listing,
    v1::server::{Event, Limits, Session, Settings, SubscriptionId, WorkerKey},
};
use units::{Difficulty, Moment, Target, UnixMillis};

/// When everything begins: Unix second 1,700,000,000.
pub(crate) const NOW: Moment =
    Moment { mono: Duration::from_secs(1000), unix: UnixMillis::new(1_700_000_000_000) };
/// Half of all hashes are blocks.
const NETWORK: u32 = 0x207f_ffff;

/// Every hash is a share, and limits are near.
pub(crate) fn settings() -> Arc<Settings> {
    let mut settings = Settings::default();
    let least = Difficulty::new(1e-12).expect("it is more than zero");
    (settings.difficulty.start, settings.difficulty.min) = (least, least);
    settings.limits = Limits {
        max_workers: 4,
        max_in_flight: 16,
        max_waiting: 4,
        max_jobs_kept: 4,
        max_seen: 32,
        max_outbox: 16_384,
        ..Limits::default()
    };
    Arc::new(settings)
}

/// A job on the block `block`, the first of its epoch where it is clean.
pub(crate) fn job(id: u64, epoch: u64, block: u8, clean: bool) -> Arc<Job> {
    let template = JobTemplate {
        height: 7,
        version: 0x2000_0000,
        prev_hash: [block; 32],
        nbits: NETWORK,
        ntime: 1_700_000_000,
        min_ntime: 1_699_999_000,
        coinbase1: id.to_be_bytes().to_vec(),
        coinbase2: vec![block; 3],
        branch: vec![[block; 32]; usize::from(block % 3)],
        network_target: Target::from_compact(NETWORK).expect("it is a target"),
    };
    let mut job = Job::new(id, template, clean, epoch, id);
    job.transactions = Listing::of([[block; 5].as_slice()].into_iter());
    Arc::new(job)
}

/// A session with a worker `w`, and work.
pub(crate) fn ready(subscription: u8) -> Session {
    let id = SubscriptionId::new([subscription; 16]);
    let mut session = Session::new(settings(), [0, 0, 0, subscription], NOW).resumable(id);
    let hello = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"fuzz\"]}\n\
                  {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\"]}\n";
    session.receive(hello, NOW).expect("nothing is wrong with it");
    while let Some(event) = session.poll() {
        if let Event::Authorize { token, .. } = event {
            session.authorize(token, Ok(WorkerKey::new(0)), NOW);
        }
    }
    let jobs = Jobs::default().with(job(1, 1, 1, true), &Limits::default());
    session.set_jobs(Arc::new(jobs), NOW);
    session.transmit(&mut Vec::new());
    session
}
