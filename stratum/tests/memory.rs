//! What a connection costs in memory while nothing is under way: counted by the allocator, the
//! session itself included. A pool that holds thousands of idle connections pays this for each.
//!
//! One test alone in its program, so that nobody else allocates.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use stratum::v1::server::{Event, Kept, Session, Settings, SubscriptionId, WorkerKey};
use stratum::{Job, JobTemplate, Jobs};
use units::{Difficulty, Moment, Target, UnixMillis};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NTIME: u32 = 1_795_309_039;
const SESSIONS: usize = 100;
/// Bytes of a connection that is ready and has one job.
const IDLE: usize = 700;
/// Bytes of one after 40 jobs on four blocks, and 20 shares.
const USED: usize = 1200;
/// Bytes of a subscription that waits for its miner after that.
const KEPT: usize = 1000;
const USER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig12";
const REQUESTS: &str = concat!(
    r#"{"id":1,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],{"version-rolling.mask":"ffffffff","version-rolling.min-bit-count":2}]}"#,
    "\n",
    r#"{"id":2,"method":"mining.subscribe","params":["a-miner/1.0"]}"#,
    "\n",
    r#"{"id":3,"method":"mining.authorize","params":["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig12","x"]}"#,
    "\n"
);

/// Some sessions that share their settings and jobs, as those of a pool do.
struct Pool {
    sessions: Vec<Session>,
    settings: Arc<Settings>,
    now: Moment,
    out: Vec<u8>,
}

impl Pool {
    fn new() -> Self {
        let mut settings = Settings::default();
        // Every hash is a share.
        settings.difficulty.min = Difficulty::new(1e-12).unwrap();
        settings.difficulty.start = settings.difficulty.min;
        let unix = UnixMillis::new(u64::from(NTIME) * 1000);
        Self {
            sessions: Vec::with_capacity(SESSIONS),
            settings: Arc::new(settings),
            now: Moment { mono: Duration::from_secs(1000), unix },
            // So that it never grows.
            out: Vec::with_capacity(1 << 20),
        }
    }

    fn connect(&mut self) {
        for number in 0..SESSIONS {
            let xn1 = u32::try_from(number).unwrap().to_be_bytes();
            let id = SubscriptionId::new([7; 16]);
            let session = Session::new(Arc::clone(&self.settings), xn1, self.now);
            let session = session.resumable(id);
            self.sessions.push(session);
        }
        self.say(REQUESTS);
    }

    /// Everybody says this, and the pool does its part.
    fn say(&mut self, lines: &str) {
        for session in &mut self.sessions {
            let (now, mut answered) = (self.now, 0);
            // Cut where it hurts: a line in two parts.
            for part in lines.as_bytes().chunks(100) {
                session.receive(part, now).unwrap();
                while let Some(event) = session.poll() {
                    if let Event::Authorize { token, .. } = event {
                        session.authorize(token, Ok(WorkerKey::new(0)), now);
                    } else if let Event::Share { token, .. } = event {
                        session.acknowledge(token, Ok(()));
                        answered += 1;
                    }
                }
                session.transmit(&mut self.out);
                self.out.clear();
            }
            assert_eq!(answered, lines.matches("mining.submit").count(), "each share holds");
        }
    }

    /// Everybody gets the newest of these.
    fn set_jobs(&mut self, jobs: &Arc<Jobs>) {
        for session in &mut self.sessions {
            session.set_jobs(Arc::clone(jobs), self.now);
            session.transmit(&mut self.out);
            assert!(self.out.ends_with(b"]}\n"), "the job was written");
            self.out.clear();
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        for session in &mut self.sessions {
            session.timeout(self.now);
            session.transmit(&mut self.out);
            self.out.clear();
        }
    }
}

#[test]
fn a_connection_at_rest_takes_little() {
    let mut pool = Pool::new();
    // Everybody's, so they are there before anything is counted, and stay.
    let lists = lists(&pool.settings);
    let region = Region::new(ALLOCATOR);
    let heap = || {
        let change = region.change();
        (change.bytes_allocated - change.bytes_deallocated) / SESSIONS
    };
    pool.connect();
    pool.set_jobs(&lists[0]);
    let idle = heap() + size_of::<Session>();

    work(&mut pool, &lists[1..]);
    let used = heap() + size_of::<Session>();
    pool.say("{\"id\":1,\"method\":\"mining.sub");
    assert!(heap() + size_of::<Session>() > used, "the count counts half a line");
    pool.say("mit\"}\n");
    assert_eq!(heap() + size_of::<Session>(), used, "nothing stays behind");

    let mut kept: Vec<Kept> = Vec::with_capacity(SESSIONS);
    kept.extend(pool.sessions.iter_mut().map(|session| session.end().kept.unwrap()));
    pool.sessions.clear();
    let waiting = heap();
    assert!(kept.iter().all(|kept| kept.headers() == 20));

    let found = format!("{idle} bytes idle, {used} used, {waiting} kept");
    assert!(idle <= IDLE && used <= USED && waiting <= KEPT, "{found}");
}

/// The list of each of 41 jobs, on four blocks.
fn lists(settings: &Settings) -> Vec<Arc<Jobs>> {
    let mut lists = vec![Arc::new(Jobs::default())];
    for id in 0..41 {
        let epoch = u64::div_ceil(id, 10);
        let template = JobTemplate {
            height: 900_000,
            version: 0x2000_0000,
            prev_hash: [u8::try_from(epoch).unwrap(); 32],
            nbits: 0x1703_0ecd,
            ntime: NTIME,
            min_ntime: NTIME - 600,
            coinbase1: vec![1; 86],
            coinbase2: vec![2; 152],
            branch: vec![[3; 32]; 12],
            network_target: Target::from_compact(0x1703_0ecd).unwrap(),
        };
        let job = Arc::new(Job::new(id, template, true, epoch, 0));
        lists.push(Arc::new(lists[lists.len() - 1].with(job, &settings.limits)));
    }
    lists.split_off(1)
}

/// A job each 30 s and a share on every other.
fn work(pool: &mut Pool, lists: &[Arc<Jobs>]) {
    for jobs in lists {
        pool.set_jobs(jobs);
        let id = jobs.newest().unwrap().id.get();
        if id.is_multiple_of(2) {
            pool.say(&format!(
                "{{\"id\":9,\"method\":\"mining.submit\",\"params\":[\"{USER}\",\"{id:x}\",\
                 \"0000000000000000\",\"{NTIME:08x}\",\"{id:08x}\",\"00002000\"]}}\n"
            ));
        }
        pool.wait(30);
    }
}
