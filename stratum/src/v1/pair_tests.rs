//! Both sides together, in one thread, on a virtual clock, over a wire that takes its time; the
//! miner hashes for real.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use units::{Difficulty, Moment, UnixMillis, Work};

use super::client::{ClientEvent, ClientJob, ClientSession, ClientSettings, Solution};
use super::server::{AcceptedShare, Event, Kept, Session, Settings, SubscriptionId, WorkerKey};
use crate::job::{rolled_version, sha256d};
use crate::known_blocks::{BLOCK_125552, GENESIS, KnownBlock};
use crate::{Job, JobTemplate};

const TICK: Duration = Duration::from_millis(50);

struct Pair {
    now: Moment,
    server: Session,
    client: ClientSession,
    /// Bytes under way, with the moment of arrival.
    to_server: VecDeque<(Duration, Vec<u8>)>,
    to_client: VecDeque<(Duration, Vec<u8>)>,
    latency: Duration,
    miner: Miner,
    shares: Vec<AcceptedShare>,
    verdicts: u32,
    refused: Vec<String>,
    energy: u32,
    others: Vec<String>,
    /// What a pool keeps of connections that ended.
    kept: Option<Kept>,
    extranonces: u8,
}

/// Hashes its newest job from where it stands.
#[derive(Default)]
struct Miner {
    job: Option<Arc<ClientJob>>,
    counter: u64,
    version_bits: u32,
}

impl Pair {
    fn new(settings: Settings, xn1: [u8; 4], latency: Duration) -> Self {
        let now = Moment {
            mono: Duration::from_secs(5),
            unix: UnixMillis::new(u64::from(GENESIS.ntime) * 1000),
        };
        let client = ClientSettings {
            user: "addr.rig1".to_owned(),
            password: "x".to_owned(),
            agent: "rig/1".to_owned(),
            version_mask: 0x1fff_e000,
            suggest_difficulty: None,
            energy: true,
        };
        Self {
            now,
            server: Session::new(Arc::new(settings), xn1, now),
            client: ClientSession::new(client, now),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            latency,
            miner: Miner::default(),
            shares: Vec::new(),
            verdicts: 0,
            refused: Vec::new(),
            energy: 0,
            others: Vec::new(),
            kept: None,
            extranonces: 0,
        }
    }

    /// The connection breaks, and with it what was under way; the miner connects again and asks
    /// for the subscription `id`.
    fn break_off(&mut self, settings: Settings, id: &str) {
        let (ended, now) = (self.server.end().kept, self.now);
        self.kept = ended;
        (self.to_server, self.to_client) = (VecDeque::new(), VecDeque::new());
        let fresh = SubscriptionId::new([0xff; 16]);
        self.server = Session::new(Arc::new(settings), [0xff; 4], now).resumable(fresh);
        let client = ClientSettings {
            user: "addr.rig1".to_owned(),
            password: "x".to_owned(),
            agent: "rig/1".to_owned(),
            version_mask: 0x1fff_e000,
            suggest_difficulty: None,
            energy: false,
        };
        self.client = ClientSession::new(client, now);
        let mut hello = Vec::new();
        self.client.transmit(&mut hello);
        let hello = String::from_utf8(hello).unwrap();
        let resuming = hello.replace("[\"rig/1\"]", &format!("[\"rig/1\",\"{id}\"]"));
        assert_ne!(hello, resuming);
        self.to_server.push_back((now.mono + self.latency, resuming.into_bytes()));
    }

    /// One tick: what has arrived is taken in, both sides act, what they say is sent off.
    fn tick(&mut self) {
        self.now = self.now.after(TICK);
        let (now, latency) = (self.now, self.latency);
        while let Some(bytes) = arrived(&mut self.to_server, now.mono) {
            self.server.receive(&bytes, now).unwrap();
            self.serve();
        }
        while let Some(bytes) = arrived(&mut self.to_client, now.mono) {
            self.client.receive(&bytes, now).unwrap();
            self.react();
        }
        if self.server.next_timeout().is_some_and(|at| at <= now.mono) {
            self.server.timeout(now);
        }
        if self.client.next_timeout().is_some_and(|at| at <= now.mono) {
            self.client.timeout(now);
        }
        self.serve();
        self.react();
        let mut out = Vec::new();
        self.server.transmit(&mut out);
        self.to_client.push_back((now.mono + latency, std::mem::take(&mut out)));
        self.client.transmit(&mut out);
        self.to_server.push_back((now.mono + latency, out));
    }

    /// The pool's part.
    fn serve(&mut self) {
        while let Some(event) = self.server.poll() {
            match event {
                Event::Authorize { token, user, .. } => {
                    assert_eq!(user, "addr.rig1");
                    self.server.authorize(token, Ok(WorkerKey::new(1)), self.now);
                }
                Event::Energy { token, report, .. } => {
                    assert!(report.get().contains("addr.rig1"));
                    self.energy += 1;
                    self.server.answer_energy(token, Ok(()));
                }
                Event::Share { token, share } => {
                    self.shares.push(share);
                    self.server.acknowledge(token, Ok(()));
                }
                Event::Rejected { reason, .. } => self.refused.push(format!("{reason:?}")),
                Event::Close { reason } => panic!("{reason}"),
                Event::Subscribed { agent, .. } => assert_eq!(agent, "rig/1"),
                Event::Agent { agent, .. } => panic!("{agent} was not asked for"),
                Event::StaleBlock { share } => panic!("no share here is a block: {share:?}"),
                Event::Resume { token, id } => {
                    let kept = self.kept.take_if(|kept| kept.id() == id);
                    self.server.resume(token, kept, self.now);
                }
                Event::Extranonce => {
                    self.extranonces += 1;
                    self.server.set_extranonce([0xee, 0, 0, self.extranonces]);
                }
            }
        }
    }

    /// The miner's part but hashing.
    fn react(&mut self) {
        while let Some(event) = self.client.poll() {
            match event {
                ClientEvent::Job(job) => self.miner.take(job),
                ClientEvent::Verdict { result: Ok(()), latency, .. } => {
                    assert!(latency >= 2 * self.latency);
                    self.verdicts += 1;
                }
                ClientEvent::Verdict { result: Err(error), .. } => {
                    self.refused.push(error.to_string());
                }
                ClientEvent::EnergyAccepted { .. } => {
                    let report = serde_json::json!({"worker": "addr.rig1"});
                    self.client.report_energy(report, self.now);
                }
                other @ (ClientEvent::AuthorizationFailed { .. }
                | ClientEvent::Authorized
                | ClientEvent::Closed { .. }
                | ClientEvent::EnergyVerdict { .. }
                | ClientEvent::WorkerVerdict { .. }
                | ClientEvent::Message(_)
                | ClientEvent::Notice(_)
                | ClientEvent::Reconnect { .. }) => self.others.push(format!("{other:?}")),
            }
        }
    }

    fn mine(&mut self, hashes: u32) {
        for _ in 0..hashes {
            if let Some(solution) = self.miner.hash() {
                self.client.submit(&solution, self.now);
            }
        }
    }
}

impl Miner {
    fn take(&mut self, job: Arc<ClientJob>) {
        if !job.continues {
            self.counter = 0;
        }
        self.version_bits = job.version_mask & 0x0055_4000;
        self.job = Some(job);
    }

    /// One hash: 64 nonces to an extranonce 2.
    fn hash(&mut self) -> Option<Solution> {
        let job = self.job.as_ref()?;
        let xn2 = (self.counter / 64).to_be_bytes()[8 - job.xn2_size..].to_vec();
        let nonce = u32::try_from(self.counter % 64).unwrap();
        self.counter += 1;
        let version = rolled_version(job.version, job.version_mask, self.version_bits);
        let mut header = job.header(&xn2, job.ntime, version);
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let version_bits = (job.version_mask != 0).then_some(self.version_bits);
        let (job_id, ntime) = (job.id.clone(), job.ntime);
        job.target.is_met_by(&sha256d(&header)).then_some(Solution {
            job_id,
            xn2,
            ntime,
            nonce,
            version_bits,
        })
    }
}

fn arrived(wire: &mut VecDeque<(Duration, Vec<u8>)>, now: Duration) -> Option<Vec<u8>> {
    let due = wire.front().is_some_and(|(at, _)| *at <= now);
    due.then(|| wire.pop_front().map(|(_, bytes)| bytes)).flatten()
}

fn settings(start: f64, shares_per_minute: f64) -> Settings {
    let mut settings = Settings::default();
    settings.difficulty.start = Difficulty::new(start).unwrap();
    settings.difficulty.shares_per_minute = shares_per_minute;
    settings
}

/// A real block, from the pool's template over both sessions and back to a block.
fn check_known_block(block: &KnownBlock) {
    let mut pair = Pair::new(Settings::default(), block.xn1(), TICK);
    pair.now.unix = UnixMillis::new(u64::from(block.ntime) * 1000);
    pair.server.set_job(Arc::new(Job::new(1, block.template(), true, 1, 9)), pair.now);
    for _ in 0..10 {
        pair.tick();
    }
    let job = pair.miner.job.clone().expect("work has come");
    let mut header = job.header(&block.xn2(), job.ntime, job.version);
    header[76..].copy_from_slice(&block.nonce.to_le_bytes());
    assert_eq!(sha256d(&header), block.hash());
    let solution = Solution {
        job_id: job.id.clone(),
        xn2: block.xn2(),
        ntime: job.ntime,
        nonce: block.nonce,
        version_bits: Some(0),
    };
    pair.client.submit(&solution, pair.now);
    for _ in 0..10 {
        pair.tick();
    }
    let [share] = &pair.shares[..] else { panic!("{:?}", pair.refused) };
    assert_eq!((share.judged.hash, share.judged.header), (block.hash(), header));
    assert!(share.judged.is_block);
    assert_eq!((share.job.tag, pair.verdicts), (9, 1));
    assert_eq!((pair.refused.len(), pair.energy), (0, 1));
    let [authorized, energy] = &pair.others[..] else { panic!("{:?}", pair.others) };
    assert_eq!(authorized, "Authorized");
    assert!(energy.starts_with("EnergyVerdict") && energy.contains("Ok(())"), "{energy}");
}

#[test]
fn real_blocks_go_there_and_back() {
    check_known_block(&GENESIS);
    check_known_block(&BLOCK_125552);
}

/// Mines `hashes_per_tick` for so many ticks, a new job each 10 s, and checks that nothing honest
/// is refused while difficulty moves.
fn check_honest(start: f64, hashes_per_tick: u32, latency: Duration) -> Pair {
    // A share each second; network difficulty 1 never comes into it.
    let mut pair = Pair::new(settings(start, 60.0), [1, 2, 3, 4], latency);
    for tick in 0..6000_u32 {
        if tick % 200 == 0 {
            let mut template = GENESIS.template();
            template.ntime += tick / 20;
            let job = Job::new((tick / 200).into(), template, tick % 400 == 0, 1, 0);
            pair.server.set_job(Arc::new(job), pair.now);
        }
        pair.tick();
        pair.mine(hashes_per_tick);
    }
    pair
}

#[test]
fn honest_shares_are_never_refused_while_difficulty_moves() {
    for (start, latency) in [(1e-9, TICK), (1e-9, 20 * TICK), (1e-6, TICK), (1e-3, TICK)] {
        let mut pair = check_honest(start, 50, latency);
        pair.miner.job = None;
        for _ in 0..100 {
            pair.tick();
        }
        assert_eq!(pair.refused, Vec::<String>::new(), "from {start}");
        assert_eq!(usize::try_from(pair.verdicts).unwrap(), pair.shares.len());
        // 1,000 hashes a second, a share a second: difficulty 2.3e-7.
        let difficulty = pair.server.difficulty().get();
        assert!((1e-7..6e-7).contains(&difficulty), "from {start}: {difficulty}");
    }
}

/// A machine that sleeps, is throttled and comes back, at three distances: 75 s each, so that the
/// difficulty goes up and down by orders of magnitude with shares on their way.
#[test]
fn honest_shares_are_never_refused_while_a_rate_rises_and_falls() {
    for latency in [TICK, 6 * TICK, 20 * TICK] {
        let mut pair = Pair::new(settings(1e-9, 60.0), [1, 2, 3, 4], latency);
        let (mut before, mut rises, mut falls) = (pair.server.difficulty(), 0, 0);
        for tick in 0..9000_u32 {
            if tick % 200 == 0 {
                let job = Job::new((tick / 200).into(), later(tick / 20), tick % 400 == 0, 1, 0);
                pair.server.set_job(Arc::new(job), pair.now);
            }
            pair.tick();
            pair.mine([50, 0, 2, 60, 1, 20][usize::try_from(tick / 1500).unwrap()]);
            let now = pair.server.difficulty();
            rises += u32::from(now > before);
            falls += u32::from(now < before);
            before = now;
        }
        for _ in 0..100 {
            pair.tick();
        }
        assert_eq!(pair.refused, Vec::<String>::new(), "{latency:?} away");
        assert!(rises >= 4 && falls >= 4, "{rises} rises, {falls} falls, {latency:?} away");
        assert!(pair.shares.len() > 300, "{} shares", pair.shares.len());
    }
}

#[test]
fn credited_work_is_what_was_hashed() {
    let pair = check_honest(1e-9, 50, TICK);
    let credited = pair
        .shares
        .iter()
        .map(|share| share.judged.work)
        .fold(Work::ZERO, |sum, work| sum.checked_add(work).unwrap());
    // 6,000 ticks of 50 hashes. About 350 shares, most of them of one size: 5 % or so either way.
    let ratio = u32::try_from(credited.get()).map(f64::from).unwrap() / 300_000.0;
    assert!((0.8..1.2).contains(&ratio), "{ratio}");
}

#[test]
fn a_new_epoch_makes_what_is_under_way_stale() {
    let mut pair = Pair::new(settings(1e-9, 60.0), [1, 2, 3, 4], TICK);
    pair.server.set_job(Arc::new(Job::new(1, GENESIS.template(), true, 1, 0)), pair.now);
    for _ in 0..10 {
        pair.tick();
    }
    pair.mine(100);
    let mut template = GENESIS.template();
    template.prev_hash = [7; 32];
    pair.server.set_job(Arc::new(Job::new(2, template, true, 2, 0)), pair.now);
    for _ in 0..10 {
        pair.tick();
    }
    assert!(pair.shares.is_empty());
    assert!(pair.refused.contains(&"StaleJob".to_owned()));
    assert!(pair.refused.contains(&"stale job (code 21)".to_owned()));
    assert_eq!(pair.miner.job.as_ref().map(|job| job.prev_hash), Some([7; 32]));
}

#[test]
fn a_miner_that_fills_its_memory_moves_on_without_a_refusal() {
    let mut settings = settings(1e-9, 60.0);
    settings.limits.max_seen = 40;
    let mut pair = Pair::new(settings, [1, 2, 3, 4], TICK);
    let wish = b"{\"id\":null,\"method\":\"mining.extranonce.subscribe\"}\n";
    pair.server.receive(wish, pair.now).unwrap();
    for tick in 0..4000_u32 {
        if tick % 600 == 0 {
            let job = Job::new((tick / 600).into(), later(tick / 20), tick == 0, 1, 0);
            pair.server.set_job(Arc::new(job), pair.now);
        }
        pair.tick();
        pair.mine(50);
    }
    assert_eq!(pair.refused, Vec::<String>::new());
    assert!(pair.extranonces >= 3, "{} changes", pair.extranonces);
    let mut spaces: Vec<[u8; 4]> = pair.shares.iter().map(|share| share.xn1).collect();
    spaces.dedup();
    spaces.sort_unstable();
    assert_eq!(spaces.len(), 1 + usize::from(pair.extranonces), "one after the other");
}

#[test]
fn a_mask_that_changes_is_followed_without_a_refusal() {
    let mut pair = Pair::new(settings(1e-9, 60.0), [1, 2, 3, 4], TICK);
    for tick in 0..1200_u32 {
        if tick % 100 == 0 {
            let mut job = Job::new((tick / 100).into(), later(tick / 20), tick == 0, 1, 0);
            // Half of the time a bit that the miner rolls must stay as it is.
            job.version_mask = if tick % 200 == 0 { !0x4000 } else { u32::MAX };
            pair.server.set_job(Arc::new(job), pair.now);
        }
        pair.tick();
        pair.mine(50);
    }
    assert_eq!(pair.refused, Vec::<String>::new());
    let rolled = |share: &&AcceptedShare| share.judged.header[1] & 0x40 != 0;
    let with = pair.shares.iter().filter(rolled).count();
    assert!(with > 10 && pair.shares.len() - with > 10, "{with} of {}", pair.shares.len());
    let kept = |share: &AcceptedShare| share.job.version_mask & 0x4000 == 0;
    assert!(!pair.shares.iter().any(|share| kept(share) && rolled(&share)));
}

#[test]
fn shares_found_while_the_connection_was_broken_count_and_none_counts_twice() {
    let mut pair = Pair::new(settings(1e-9, 60.0), [1, 2, 3, 4], TICK);
    let id = SubscriptionId::new([7; 16]);
    pair.server =
        Session::new(Arc::new(settings(1e-9, 60.0)), [1, 2, 3, 4], pair.now).resumable(id);
    let mut job = 0_u32;
    let mut found = Vec::new();
    for round in 0..5 {
        job += 1;
        pair.server.set_job(Arc::new(Job::new(job.into(), later(100 * job), true, 1, 0)), pair.now);
        for _ in 0..20 {
            pair.tick();
        }
        // Shares sent and credited, whose answers are lost with the connection.
        while found.len() < 3 * (round + 1) {
            found.extend(pair.miner.hash());
        }
        for solution in &found[3 * round..] {
            pair.client.submit(solution, pair.now);
        }
        pair.tick();
        pair.tick();
        let credited = pair.shares.len();
        pair.break_off(settings(1e-9, 60.0), &"07".repeat(16));
        pair.server.set_job(Arc::new(Job::new(job.into(), later(100 * job), true, 1, 0)), pair.now);
        let mut offline = None;
        while offline.is_none() {
            offline = pair.miner.hash();
        }
        for _ in 0..6 {
            pair.tick();
        }
        assert_eq!(pair.refused, Vec::<String>::new());
        pair.client.submit(&offline.unwrap(), pair.now);
        for solution in &found[3 * round..] {
            pair.client.submit(solution, pair.now);
        }
        for _ in 0..6 {
            pair.tick();
        }
        assert_eq!(pair.shares.len(), credited + 1, "the one that was found while it was broken");
        assert_eq!(pair.refused.iter().filter(|why| *why == "Duplicate").count(), 3);
        pair.refused.clear();
        assert_eq!(pair.server.xn1(), [1, 2, 3, 4]);
    }
}

/// The genesis block's template with a time that is later by so many seconds: other headers.
fn later(seconds: u32) -> JobTemplate {
    let mut template = GENESIS.template();
    template.ntime += seconds;
    template
}
