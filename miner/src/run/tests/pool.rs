//! A small pool on a real socket: stratum's server session, jobs of its own making, and a diary.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use energy::report::{EnergyReport, verify};
use stratum::v1::server::{Event, Session, Settings, WorkerKey};
use stratum::{DifficultySettings, Job, JobTemplate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use units::{Difficulty, Target, Work};

use crate::clock::Clock;

/// How the pool behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    /// Hang up on whoever begins with `mining.configure`.
    pub(super) hates_configure: bool,
    /// Refuse every user name.
    pub(super) refuses_users: bool,
    /// Never answer a share.
    pub(super) leaves_shares_unanswered: bool,
    /// Hang up after this many shares on a connection.
    pub(super) shares_per_connection: usize,
    /// A new block, and so a clean job, this often.
    pub(super) block_every: Duration,
    /// The network's target, as a header has it.
    pub(super) nbits: u32,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pub(super) connections: u32,
    pub(super) headers: HashSet<[u8; 80]>,
    pub(super) shares: u64,
    pub(super) work: Work,
    pub(super) rejected: Vec<&'static str>,
    /// Of jobs that had been replaced.
    pub(super) stale_blocks: usize,
    /// Each report with the number of shares before it.
    pub(super) reports: Vec<(u64, EnergyReport)>,
    pub(super) users: HashSet<String>,
}

pub(super) struct Pool {
    pub(super) address: SocketAddr,
    pub(super) diary: Arc<Mutex<Diary>>,
    _tasks: JoinSet<()>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            hates_configure: false,
            refuses_users: false,
            leaves_shares_unanswered: false,
            shares_per_connection: usize::MAX,
            block_every: Duration::from_millis(400),
            nbits: 0x1d00_ffff,
        }
    }
}

impl Pool {
    /// Opens on a free port of the loopback.
    pub(super) async fn open(manners: Manners) -> Self {
        Self::open_at("127.0.0.1:0".parse().unwrap(), manners).await
    }

    /// Opens at this address.
    pub(super) async fn open_at(address: SocketAddr, manners: Manners) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let diary = Arc::new(Mutex::new(Diary::default()));
        let shared = Arc::clone(&diary);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let clock = Clock::start();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let diary = Arc::clone(&shared);
                connections.spawn(serve(stream, manners, diary, clock));
            }
        });
        Self { address, diary, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("stratum+tcp://{}", self.address)
    }
}

fn settings() -> Settings {
    let difficulty = |value| Difficulty::new(value).unwrap();
    Settings {
        difficulty: DifficultySettings {
            start: difficulty(1e-5),
            min: difficulty(1e-9),
            max: difficulty(1.0),
            shares_per_minute: 1000.0,
            vardiff: false,
        },
        energy_interval: Some(Duration::from_secs(1)),
        ..Settings::default()
    }
}

/// Names differ over all connections, so that no two jobs of the pool are alike.
fn next_job(nbits: u32, clock: Clock) -> Arc<Job> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let ntime = u32::try_from(clock.now().unix.seconds()).unwrap();
    let mut prev_hash = [0; 32];
    prev_hash[..4].copy_from_slice(&number.to_le_bytes());
    let template = JobTemplate {
        height: number,
        version: 0x2000_0000,
        prev_hash,
        nbits,
        ntime,
        min_ntime: ntime,
        coinbase1: vec![1; 60],
        coinbase2: vec![2; 80],
        branch: vec![[3; 32]; 3],
        network_target: Target::from_compact(nbits).unwrap(),
    };
    Arc::new(Job::new(number.into(), template, true, number.into(), 0))
}

async fn serve(mut stream: TcpStream, manners: Manners, diary: Arc<Mutex<Diary>>, clock: Clock) {
    let connection = {
        let mut diary = diary.lock().unwrap();
        diary.connections += 1;
        diary.connections
    };
    let mut session = Session::new(Arc::new(settings()), connection.to_be_bytes(), clock.now());
    session.set_job(next_job(manners.nbits, clock), clock.now());
    let mut block = tokio::time::interval(manners.block_every);
    let mut input = Vec::new();
    let mut shares = 0;
    loop {
        input.clear();
        tokio::select! {
            read = stream.read_buf(&mut input) => {
                let hates = manners.hates_configure && input.starts_with(b"{\"id\":1,\"method\":\"mining.configure\"");
                if matches!(read, Ok(0) | Err(_)) || hates {
                    return;
                }
                session.receive(&input, clock.now()).unwrap();
            }
            _ = block.tick() => session.set_job(next_job(manners.nbits, clock), clock.now()),
        }
        while let Some(event) = session.poll() {
            shares += usize::from(matches!(event, Event::Share { .. }));
            note(event, &mut session, manners, &diary, clock);
        }
        let mut output = Vec::new();
        session.transmit(&mut output);
        if stream.write_all(&output).await.is_err() || shares >= manners.shares_per_connection {
            return;
        }
    }
}

fn note(event: Event, session: &mut Session, manners: Manners, diary: &Mutex<Diary>, clock: Clock) {
    let mut diary = diary.lock().unwrap();
    match event {
        Event::Authorize { token, user, .. } => {
            let answer = match manners.refuses_users {
                true => Err("nobody is known here".to_owned()),
                false => Ok(WorkerKey::new(1)),
            };
            diary.users.insert(user);
            session.authorize(token, answer, clock.now());
        }
        Event::Share { token, share } => {
            assert!(diary.headers.insert(share.judged.header), "a header came twice");
            diary.shares += 1;
            diary.work = diary.work.saturating_add(share.judged.work);
            if !manners.leaves_shares_unanswered {
                session.acknowledge(token, Ok(()));
            }
        }
        Event::Rejected { reason, .. } => diary.rejected.push(reason.label()),
        Event::Energy { token, report, .. } => {
            let report = verify(report.get()).expect("reports are signed").report().clone();
            let shares = diary.shares;
            diary.reports.push((shares, report));
            session.answer_energy(token, Ok(()));
        }
        Event::Close { reason } => panic!("the pool would hang up: {reason}"),
        other @ (Event::Agent { .. } | Event::Extranonce | Event::Resume { .. }) => {
            panic!("not of this miner: {other:?}")
        }
        Event::StaleBlock { .. } => diary.stale_blocks += 1,
        Event::Subscribed { agent, .. } => {
            assert!(agent.starts_with("wattproof-miner/"), "{agent}");
        }
    }
}
