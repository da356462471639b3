//! One miner of the generator: what it says, and that its shares hold.

use std::collections::HashSet;

use stratum::{Extranonce2, Issued, Job as PoolJob, JobTemplate, Reason, Submit, judge};
use units::UnixMillis;

use super::*;

const XN1: [u8; 4] = [0xaa, 0xbb, 0xcc, 0xdd];
const NTIME: u32 = 1_795_309_039;
const PLAIN: Manner = Manner { roll: false, tries: 1 << 20 };
const ROLLED: Manner = Manner { roll: true, tries: 1 << 20 };

/// A pool's job and a miner who has heard of it, as of everything before.
struct Bench {
    miner: Miner,
    jobs: Jobs,
    job: PoolJob,
    target: Target,
}

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pool_job(id: u64, branch: u8) -> PoolJob {
    let nbits = 0x1703_0ecd;
    let template = JobTemplate {
        height: 900_000,
        version: 0x2000_0000,
        prev_hash: std::array::from_fn(|i| u8::try_from(i).unwrap()),
        nbits,
        ntime: NTIME,
        min_ntime: NTIME - 600,
        coinbase1: vec![1; 86],
        coinbase2: vec![2; 152],
        branch: (0..branch).map(|level| [level; 32]).collect(),
        network_target: Target::from_compact(nbits).unwrap(),
    };
    PoolJob::new(id, template, true, 1, 0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Bench {
    fn new(difficulty: f64) -> Self {
        let target = Target::from_difficulty(Difficulty::new(difficulty).unwrap());
        let (miner, jobs) = (Miner::new("a.w0".to_owned()), Jobs::default());
        let mut bench = Self { miner, jobs, job: pool_job(1, 12), target };
        bench.hear(r#"{"id":1,"result":[[["mining.notify","s"]],"aabbccdd",8],"error":null}"#);
        bench.hear(r#"{"id":2,"result":true,"error":null}"#);
        bench.announce(difficulty);
        assert!(!bench.miner.is_ready());
        bench.notify();
        assert!(bench.miner.is_ready());
        bench
    }

    fn hear(&mut self, line: &str) -> News {
        self.miner.hear(line.as_bytes(), at(100), &mut self.jobs).unwrap()
    }

    fn announce(&mut self, difficulty: f64) {
        let line =
            format!(r#"{{"id":null,"method":"mining.set_difficulty","params":[{difficulty}]}}"#);
        self.hear(&line);
    }

    fn notify(&mut self) {
        let line = text(self.job.notify_line());
        let News::Job(_) = self.hear(line.trim_end()) else { panic!("{line}") };
    }

    fn shares(&mut self, count: usize, manner: Manner) -> Vec<String> {
        let mut out = Vec::new();
        assert_eq!(self.miner.add_shares(count, manner, at(0), &mut out), Ok(count));
        text(&out).lines().map(str::to_owned).collect()
    }

    /// What the pool makes of a line: its name of the job, and the header that it credits.
    fn judged(&self, line: &str) -> (String, Result<[u8; 80], Reason>) {
        let call: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&call["method"], &call["params"][0]),
            (&"mining.submit".into(), &"a.w0".into())
        );
        let param = |place: usize| call["params"][place].as_str().unwrap();
        let word = |place: usize| u32::from_str_radix(param(place), 16).unwrap();
        let submit = Submit {
            xn2: Extranonce2::new(&hex::decode(param(2)).unwrap()).unwrap(),
            ntime: word(3),
            nonce: word(4),
            version_bits: None,
        };
        let (job, target, work) = (&self.job, self.target, self.target.work());
        let issued = Issued { job, target, work, version_mask: 0x1fff_e000, xn1: XN1 };
        let judged = judge(&issued, &submit, UnixMillis::new(u64::from(NTIME) * 1000));
        (param(1).to_owned(), judged.map(|judged| judged.header))
    }
}

#[test]
fn the_judge_takes_every_share_and_each_is_another() {
    for (manner, difficulty) in [(PLAIN, 1e-9), (ROLLED, 1e-9), (PLAIN, 2e-8), (ROLLED, 2e-8)] {
        let mut bench = Bench::new(difficulty);
        let mut headers = HashSet::new();
        for line in bench.shares(500, manner) {
            let (job, header) = bench.judged(&line);
            assert_eq!(job, "1");
            headers.insert(header.unwrap());
        }
        assert_eq!(headers.len(), 500, "{manner:?} at {difficulty}");
        let roots: HashSet<_> = headers.iter().map(|header| &header[36..68]).collect();
        assert_eq!(roots.len(), if manner.roll { 500 } else { 1 });
    }
}

#[test]
fn no_share_that_would_do_is_passed_over() {
    let mut bench = Bench::new(1e-9);
    let shares = bench.shares(100, PLAIN);
    let nonces: Vec<u32> = shares
        .iter()
        .map(|line| u32::from_str_radix(&line[line.len() - 11..line.len() - 3], 16).unwrap())
        .collect();
    let mut header = bench.judged(&shares[0]).1.unwrap();
    let met: Vec<u32> = (0..=nonces[99])
        .filter(|nonce| {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            bench.target.is_met_by(&kernels::hash_header(&header))
        })
        .collect();
    assert_eq!(nonces, met);
}

#[test]
fn shares_are_for_the_newest_job_and_never_the_same_again() {
    let mut bench = Bench::new(1e-9);
    let first = bench.shares(3, PLAIN);
    // The same line again changes nothing: nonces go on.
    bench.notify();
    let second = bench.shares(3, PLAIN);
    assert_eq!(first.iter().chain(&second).collect::<HashSet<_>>().len(), 6);
    let xn2 = |line: &str| bench_param(line, 2);
    assert_eq!(xn2(&first[0]), xn2(&second[2]));

    // The same work under another name gets another extranonce 2, so other headers.
    bench.job = pool_job(0xabc, 12);
    bench.notify();
    for line in bench.shares(3, PLAIN) {
        assert_eq!(bench.judged(&line).0, "abc");
        assert!(bench.judged(&line).1.is_ok());
        assert_ne!(xn2(&line), xn2(&first[0]));
    }
}

fn bench_param(line: &str, place: usize) -> String {
    let call: serde_json::Value = serde_json::from_str(line).unwrap();
    call["params"][place].as_str().unwrap().to_owned()
}

#[test]
fn a_rise_holds_at_once_and_a_fall_from_the_next_job() {
    let mut bench = Bench::new(1e-8);
    let (easy, middle) = (bench.target, Bench::new(1e-7).target);
    bench.announce(1e-7);
    bench.target = middle;
    assert!(bench.shares(50, PLAIN).iter().all(|line| bench.judged(line).1.is_ok()));
    bench.announce(1e-8);
    assert!(bench.shares(50, PLAIN).iter().all(|line| bench.judged(line).1.is_ok()));
    bench.job = pool_job(2, 0);
    bench.notify();
    let shares = bench.shares(50, PLAIN);
    let low = shares.iter().filter(|line| bench.judged(line).1 == Err(Reason::LowDifficulty));
    assert!(low.count() > 20, "most meet no more than the easier target");
    bench.target = easy;
    assert!(shares.iter().all(|line| bench.judged(line).1.is_ok()));
}

#[test]
fn answers_are_matched_by_number_in_any_order() {
    let mut bench = Bench::new(1e-9);
    bench.shares(3, PLAIN);
    let no = r#"{"id":5,"result":null,"error":[21,"stale job",null]}"#;
    assert_eq!(bench.hear(no), News::Refused(at(100), 21, "stale job".to_owned()));
    assert_eq!(bench.miner.unanswered(), 2);
    let yes = r#"{"id":3,"result":true,"error":null}"#;
    assert_eq!(bench.hear(yes), News::Accepted(at(100)));
    let again = bench.miner.hear(yes.as_bytes(), at(100), &mut bench.jobs).unwrap_err();
    assert!(again.to_string().contains("nothing unanswered"), "{again}");
}

#[test]
fn tries_have_a_limit_and_go_on_where_they_stopped() {
    let mut bench = Bench::new(1e-9);
    let all = bench.shares(20, PLAIN);
    let mut slow = Bench::new(1e-9);
    let (mut out, mut turns) = (Vec::new(), 0);
    while slow.miner.unanswered() < 20 {
        let wanted = 20 - slow.miner.unanswered();
        let manner = Manner { roll: false, tries: 1 };
        slow.miner.add_shares(wanted, manner, at(0), &mut out).unwrap();
        turns += 1;
    }
    assert_eq!(text(&out).lines().collect::<Vec<_>>(), all);
    assert!(turns > 20, "{turns}");
}

#[test]
fn a_refused_miner_says_so_and_a_short_extranonce_ends() {
    let mut miner = Miner::new("a.w0".to_owned());
    let line = br#"{"id":2,"result":null,"error":[24,"no such address",null]}"#;
    let error = miner.hear(line, at(0), &mut Jobs::default()).unwrap_err().to_string();
    assert_eq!(error, "the pool refused mining.authorize: 24 \"no such address\"");

    let mut bench = Bench::new(1e-9);
    bench.hear(r#"{"id":1,"result":[[],"aabbccdd",1],"error":null}"#);
    let made = bench.miner.add_shares(257, ROLLED, at(0), &mut Vec::new());
    assert_eq!(made, Err(MinerError::UsedUp(1)));
    assert_eq!(bench.miner.unanswered(), 256);
}
