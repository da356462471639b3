//! What a stranger may try with a pool's session, one test for each: `docs/threats.md` lists them
//! with what keeps each out. Every test ends by itself also where nothing is kept out.
//!
//! What is not here: limits that only the session's own tests can see (`hostile_tests`), and what
//! the pool decides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use stratum::v1::Fatal;
use stratum::v1::server::{Event, Session, Settings, WorkerKey};
use stratum::{Job, JobTemplate};
use units::{Difficulty, Moment, Target, UnixMillis};

const NTIME: u32 = 1_700_000_000;

/// A session, a clock, and a pool that takes every worker and every share.
struct Bench {
    session: Session,
    now: Moment,
    credited: u32,
    agents: Vec<String>,
    reports: u32,
    closed: Option<String>,
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    // Every hash is a share.
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    settings
}

impl Bench {
    fn with(settings: Settings) -> Self {
        let unix = UnixMillis::new(u64::from(NTIME) * 1000);
        let now = Moment { mono: Duration::from_secs(1000), unix };
        let session = Session::new(Arc::new(settings), [1, 2, 3, 4], now);
        Self { session, now, credited: 0, agents: Vec::new(), reports: 0, closed: None }
    }

    /// Subscribed, authorized as `good`, and at work on job 1.
    fn at_work() -> Self {
        let mut bench = Self::with(settings());
        bench.say(r#"{"id":1,"method":"mining.subscribe","params":["bench/1"]}"#);
        bench.say(r#"{"id":2,"method":"mining.authorize","params":["good","x"]}"#);
        bench.set_job(1, 1);
        bench
    }

    /// A job on the block number `block`.
    fn set_job(&mut self, id: u64, block: u8) {
        self.set_job_of_epoch(id, block, block.into());
    }

    fn set_job_of_epoch(&mut self, id: u64, block: u8, epoch: u64) {
        let template = JobTemplate {
            height: 7,
            version: 0x2000_0000,
            prev_hash: [block; 32],
            nbits: 0x1d00_ffff,
            ntime: NTIME,
            min_ntime: NTIME,
            coinbase1: vec![1; 60],
            coinbase2: vec![2; 80],
            branch: vec![[3; 32]],
            network_target: Target::difficulty_one(),
        };
        self.session.set_job(Arc::new(Job::new(id, template, true, epoch, 0)), self.now);
        self.read();
    }

    /// One line in, and what comes back.
    fn say(&mut self, line: &str) -> String {
        self.try_say(line).unwrap()
    }

    fn try_say(&mut self, line: &str) -> Result<String, Fatal> {
        self.session.receive(format!("{line}\n").as_bytes(), self.now)?;
        Ok(self.read())
    }

    /// `mining.submit` with these parameters after the worker's name.
    fn submit(&mut self, params: &str) -> String {
        self.say(&format!(r#"{{"id":9,"method":"mining.submit","params":["good",{params}]}}"#))
    }

    /// Does the pool's part, then takes what is to be written.
    fn read(&mut self) -> String {
        self.handle();
        let mut out = Vec::new();
        self.session.transmit(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn handle(&mut self) {
        while let Some(event) = self.session.poll() {
            if let Event::Authorize { token, .. } = &event {
                self.session.authorize(*token, Ok(WorkerKey::new(7)), self.now);
            } else if let Event::Share { token, .. } = &event {
                self.credited += 1;
                self.session.acknowledge(*token, Ok(()));
            } else if let Event::Energy { token, .. } = &event {
                self.reports += 1;
                self.session.answer_energy(*token, Ok(()));
            } else if let Event::Subscribed { agent, .. } = event {
                self.agents.push(agent);
            } else if let Event::Close { reason } = event {
                self.closed = Some(reason);
            }
        }
    }

    /// What ends the connection after so many seconds in which nothing is said.
    fn after(mut self, seconds: u64) -> Option<String> {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.session.timeout(self.now);
        self.read();
        self.closed
    }
}

const SHARE: &str = r#""1","00000000000000ab","6553f100","000000cd""#;

#[test]
fn a_share_sent_twice_is_credited_once() {
    let mut bench = Bench::at_work();
    assert!(bench.submit(SHARE).contains("true"));
    assert!(bench.submit(SHARE).contains("[22,"));
    assert_eq!(bench.credited, 1);
}

#[test]
fn a_share_spelled_otherwise_is_the_same_share() {
    let mut bench = Bench::at_work();
    bench.submit(SHARE);
    for spelled in [
        r#""1","00000000000000AB","6553F100","000000CD""#,
        r#""1","00000000000000ab","6553f100","cd""#,
        r#""1","00000000000000ab","6553f100","000000cd",null"#,
        r#""1","00000000000000ab","6553f100","000000cd","00000000""#,
        r#""01","00000000000000ab","6553f100","000000cd""#,
    ] {
        assert!(bench.submit(spelled).contains("[22,"), "{spelled}");
    }
    assert_eq!(bench.credited, 1);
}

#[test]
fn a_share_is_the_same_under_another_jobs_name() {
    let mut bench = Bench::at_work();
    bench.submit(SHARE);
    bench.set_job(2, 1);
    assert!(bench.submit(&SHARE.replace("\"1\"", "\"2\"")).contains("[22,"));
    assert_eq!(bench.credited, 1);
}

#[test]
fn a_share_is_remembered_while_blocks_come_and_go() {
    let mut bench = Bench::at_work();
    bench.submit(SHARE);
    bench.set_job(2, 2);
    // The block is undone, and jobs build on the one before again.
    bench.set_job_of_epoch(3, 1, 3);
    assert!(bench.submit(&SHARE.replace("\"1\"", "\"3\"")).contains("[22,"));
    assert_eq!(bench.credited, 1);
}

#[test]
fn a_share_on_a_block_that_has_a_successor_is_stale() {
    let mut bench = Bench::at_work();
    bench.set_job(2, 2);
    let answer = bench.submit(SHARE);
    assert!(answer.contains("[21,\"stale job\""), "{answer}");
    assert_eq!(bench.credited, 0);
}

#[test]
fn a_job_that_was_overtaken_is_not_given_out() {
    let mut bench = Bench::at_work();
    bench.set_job(3, 3);
    bench.set_job(2, 2);
    assert!(bench.submit(&SHARE.replace("\"1\"", "\"2\"")).contains("[21,"));
    assert!(bench.submit(&SHARE.replace("\"1\"", "\"3\"")).contains("true"));
}

#[test]
fn an_easier_target_asked_for_later_is_not_that_of_the_job_before() {
    let mut bench = Bench::with(Settings::default());
    bench.say(r#"{"id":1,"method":"mining.subscribe"}"#);
    bench.say(r#"{"id":2,"method":"mining.authorize","params":["good","x"]}"#);
    bench.set_job(1, 1);
    // From difficulty 1 to a billionth of it, and the old job's shares with it.
    let answer = bench.say(r#"{"id":3,"method":"mining.suggest_difficulty","params":[1e-9]}"#);
    assert!(answer.contains("mining.notify"), "{answer}");
    for nonce in 0..200 {
        let params = format!(r#""1","00000000000000ab","6553f100","{nonce:08x}""#);
        assert!(bench.submit(&params).contains("[23,"), "{nonce}");
    }
    assert_eq!(bench.credited, 0);
}

#[test]
fn an_extranonce2_of_another_length_is_refused() {
    let mut bench = Bench::at_work();
    for xn2 in ["", "ab", "000000000000ab", "0000000000000000ab"] {
        let answer = bench.submit(&SHARE.replace("00000000000000ab", xn2));
        assert!(answer.contains("[20,\"extranonce2"), "{xn2}: {answer}");
    }
    assert_eq!(bench.credited, 0);
}

#[test]
fn a_worker_of_another_connection_gets_no_share() {
    let mut bench = Bench::at_work();
    let line = format!(r#"{{"id":9,"method":"mining.submit","params":["else",{SHARE}]}}"#);
    assert!(bench.say(&line).contains("[24,"));
    assert_eq!(bench.credited, 0);
}

#[test]
fn a_worker_of_another_connection_gets_no_report() {
    let mut bench = Bench::at_work();
    let answer = bench
        .say(r#"{"id":7,"method":"mining.report_energy","params":[{"worker":"else","at":5}]}"#);
    assert!(answer.contains("[24,"), "{answer}");
    assert_eq!(bench.reports, 0);
}

#[test]
fn a_share_before_the_subscription_is_refused() {
    let mut bench = Bench::with(settings());
    bench.set_job(1, 1);
    assert!(bench.submit(SHARE).contains("[25,"));
}

#[test]
fn who_says_nothing_is_let_go() {
    assert_eq!(Bench::with(settings()).after(9), None);
    let closed = Bench::with(settings()).after(10);
    assert_eq!(closed.as_deref(), Some("no subscription came in time"));
}

#[test]
fn who_authorizes_nobody_is_let_go() {
    let mut bench = Bench::with(settings());
    bench.say(r#"{"id":1,"method":"mining.subscribe"}"#);
    assert_eq!(bench.after(30).as_deref(), Some("no worker was authorized in time"));
}

#[test]
fn who_falls_silent_is_let_go() {
    let closed = Bench::at_work().after(3600);
    assert_eq!(closed.as_deref(), Some("nothing was heard for too long"));
}

#[test]
fn lines_that_are_no_json_are_borne_ten_times() {
    let mut bench = Bench::at_work();
    for _ in 0..10 {
        assert!(bench.say("GET / HTTP/1.1").contains("not a JSON request"));
    }
    assert_eq!(bench.try_say("GET / HTTP/1.1").unwrap_err(), Fatal::Garbage(11));
}

#[test]
fn requests_that_bring_nothing_are_borne_only_so_often() {
    let mut bench = Bench::at_work();
    let ping = r#"{"id":1,"method":"mining.ping"}"#;
    let borne = (0..2000).take_while(|_| bench.try_say(ping).is_ok()).count();
    assert!((900..=1000).contains(&borne), "{borne}");
    assert_eq!(bench.try_say(ping).unwrap_err(), Fatal::Closed);
}

#[test]
fn refused_shares_are_borne_only_so_often() {
    let mut bench = Bench::at_work();
    let line = r#"{"id":1,"method":"mining.submit","params":["good","9","00","0","0"]}"#;
    let borne = (0..2000).take_while(|_| bench.try_say(line).is_ok()).count();
    assert!((900..=1000).contains(&borne), "{borne}");
}

#[test]
fn who_never_reads_is_let_go() {
    let mut settings = settings();
    settings.limits.nuisance_burst = 1_000_000;
    let mut bench = Bench::with(settings);
    bench.say(r#"{"id":1,"method":"mining.subscribe"}"#);
    let line = b"{\"id\":1,\"method\":\"mining.subscribe\"}\n";
    let mut ended = None;
    for _ in 0..3000 {
        ended = ended.or_else(|| bench.session.receive(line, bench.now).err());
        bench.handle();
    }
    assert!(matches!(ended, Some(Fatal::NotReading(_))), "{ended:?}");
}

#[test]
fn a_user_name_has_an_end() {
    let mut bench = Bench::at_work();
    let ask =
        |name: &str| format!(r#"{{"id":3,"method":"mining.authorize","params":["{name}","x"]}}"#);
    assert!(bench.say(&ask(&"a".repeat(256))).contains("true"));
    assert!(bench.say(&ask(&"b".repeat(257))).contains("[24,"));
}

#[test]
fn a_miners_name_brings_no_second_line_into_the_log() {
    let mut bench = Bench::with(settings());
    let forged = r"rig\n2026-11-22 ERROR the ledger is gone\u001b[2J";
    bench.say(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["{forged}"]}}"#));
    assert_eq!(bench.agents.len(), 1);
    assert!(!bench.agents[0].contains(char::is_control), "{:?}", bench.agents);
}
