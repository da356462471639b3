//! A session as transcripts: what a miner sends, what it gets, what the pool is told.

use super::*;
use crate::job::JobTemplate;
use crate::known_blocks::{BLOCK_125552, GENESIS};

pub(super) const XN1: [u8; 4] = [0xaa, 0xbb, 0xcc, 0xdd];

/// A session, a clock, and a pool that says yes to `good` and records what it is asked to.
pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) now: Moment,
    pub(super) acknowledge: bool,
    pub(super) shares: Vec<AcceptedShare>,
    pub(super) rejected: Vec<Reason>,
    pub(super) stale_blocks: Vec<AcceptedShare>,
    pub(super) closed: Option<String>,
    pub(super) energy: Vec<(WorkerKey, String)>,
    pub(super) agents: Vec<String>,
    /// How often the pool was asked for another.
    pub(super) extranonces: u32,
}

impl Bench {
    /// Every hash is a share: what is not about proof of work needs none.
    pub(super) fn new() -> Self {
        let mut settings = Settings::default();
        settings.difficulty.min = Difficulty::new(1e-12).unwrap();
        settings.difficulty.start = settings.difficulty.min;
        Self::with(settings, XN1)
    }

    pub(super) fn with(settings: Settings, xn1: [u8; 4]) -> Self {
        let now = Moment {
            mono: Duration::from_secs(1000),
            unix: UnixMillis::new(u64::from(GENESIS.ntime) * 1000),
        };
        Self {
            session: Session::new(Arc::new(settings), xn1, now),
            now,
            acknowledge: true,
            shares: Vec::new(),
            rejected: Vec::new(),
            stale_blocks: Vec::new(),
            closed: None,
            energy: Vec::new(),
            agents: Vec::new(),
            extranonces: 0,
        }
    }

    /// Subscribed, authorized as `good`, and at work on job 1.
    pub(super) fn at_work() -> Self {
        let mut bench = Self::new();
        bench.handshake();
        bench.set_job(1, 1);
        bench.read();
        bench
    }

    pub(super) fn handshake(&mut self) {
        self.say(r#"{"id":1,"method":"mining.subscribe","params":["bench/1"]}"#);
        self.say(r#"{"id":2,"method":"mining.authorize","params":["good","x"]}"#);
    }

    pub(super) fn set_job(&mut self, id: u64, epoch: u64) {
        let mut template = GENESIS.template();
        template.prev_hash[0] = u8::try_from(epoch).unwrap();
        self.session.set_job(Arc::new(Job::new(id, template, true, epoch, 0)), self.now);
    }

    /// One line in, and what comes back.
    pub(super) fn say(&mut self, line: &str) -> String {
        self.session.receive(format!("{line}\n").as_bytes(), self.now).unwrap();
        self.read()
    }

    pub(super) fn submit(&mut self, job: &str, nonce: u32) -> String {
        self.say(&submit_line(job, nonce))
    }

    /// Does the pool's part, then takes what is to be written.
    pub(super) fn read(&mut self) -> String {
        while let Some(event) = self.session.poll() {
            match event {
                Event::Authorize { token, user, .. } => {
                    let answer = if user.starts_with("good") {
                        Ok(WorkerKey::new(7))
                    } else {
                        Err("no such account".to_owned())
                    };
                    self.session.authorize(token, answer, self.now);
                }
                Event::Close { reason } => self.closed = Some(reason),
                Event::Energy { token, worker, report } => {
                    self.energy.push((worker, report.get().to_owned()));
                    self.session.answer_energy(token, Ok(()));
                }
                Event::Rejected { reason, .. } => self.rejected.push(reason),
                Event::Share { token, share } => {
                    self.shares.push(share);
                    if self.acknowledge {
                        self.session.acknowledge(token, Ok(()));
                    }
                }
                Event::Agent { agent, .. } => self.agents.push(agent),
                Event::Extranonce => self.extranonces += 1,
                Event::Resume { token, .. } => {
                    self.session.resume(token, None, self.now);
                }
                Event::StaleBlock { share } => self.stale_blocks.push(share),
                Event::Subscribed { .. } => {}
            }
        }
        let mut out = Vec::new();
        self.session.transmit(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.session.timeout(self.now);
    }
}

pub(super) fn submit_line(job: &str, nonce: u32) -> String {
    let ntime = GENESIS.ntime;
    format!(
        r#"{{"id":9,"method":"mining.submit","params":["good","{job}","0000000000000000","{ntime:08x}","{nonce:08x}"]}}"#
    )
}

pub(super) const YES: &str = "{\"id\":9,\"result\":true,\"error\":null}\n";

#[test]
fn a_whole_session() {
    let mut bench = Bench::new();
    bench.set_job(0x1f, 1);
    assert_eq!(
        bench.say(r#"{"id":1,"method":"mining.subscribe","params":["bench/1",null]}"#),
        concat!(
            r#"{"id":1,"result":[[["mining.set_difficulty","aabbccdd"],"#,
            r#"["mining.notify","aabbccdd"]],"aabbccdd",8],"error":null}"#,
            "\n"
        )
    );
    let answer = bench.say(r#"{"id":"two","method":"mining.authorize","params":["good","x"]}"#);
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], r#"{"id":"two","result":true,"error":null}"#);
    let easiest = crate::v1::message::difficulty_json(Target::MAX.difficulty());
    let announced =
        format!(r#"{{"id":null,"method":"mining.set_difficulty","params":[{easiest}]}}"#);
    assert_eq!(lines[1], announced);
    assert!(lines[2].starts_with(r#"{"id":null,"method":"mining.notify","params":["1f","#));
    assert_eq!(lines.len(), 3);

    assert_eq!(bench.submit("1f", 1), YES);
    let share = &bench.shares[0];
    assert_eq!(share.worker, WorkerKey::new(7));
    assert_eq!(share.judged.work.get(), 1);
    assert_eq!(
        share.coinbase(),
        [&share.job.template.coinbase1[..], &XN1, &[0; 8], &share.job.template.coinbase2].concat()
    );
    assert_eq!(bench.session.workers().collect::<Vec<_>>(), [("good", WorkerKey::new(7))]);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn authorizing_first_works_and_work_waits_for_both() {
    let mut bench = Bench::new();
    bench.set_job(1, 1);
    let answer = bench.say(r#"{"id":1,"method":"mining.authorize","params":["good","x"]}"#);
    assert_eq!(answer, "{\"id\":1,\"result\":true,\"error\":null}\n");
    let answer = bench.say(r#"{"id":2,"method":"mining.subscribe","params":[]}"#);
    assert!(answer.contains("mining.notify\",\"params"), "{answer}");
}

#[test]
fn a_refused_worker_is_told_why_and_gets_no_work() {
    let mut bench = Bench::new();
    bench.set_job(1, 1);
    bench.say(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    let answer = bench.say(r#"{"id":2,"method":"mining.authorize","params":["bad","x"]}"#);
    assert_eq!(answer, "{\"id\":2,\"result\":null,\"error\":[24,\"no such account\",null]}\n");
    for params in ["[]", "[\"\"]", "[5]", "{}"] {
        let line = format!(r#"{{"id":3,"method":"mining.authorize","params":{params}}}"#);
        assert!(bench.say(&line).contains("[24,"), "{params}");
    }
}

#[test]
fn real_blocks_go_through_as_they_were_mined() {
    for block in [GENESIS, BLOCK_125552] {
        let settings = Settings::default();
        let mut bench = Bench::with(settings, block.xn1());
        bench.now.unix = UnixMillis::new(u64::from(block.ntime) * 1000);
        bench.handshake();
        bench.session.set_job(Arc::new(Job::new(1, block.template(), true, 1, 0)), bench.now);
        assert!(bench.read().contains(r#""mining.set_difficulty","params":[1]}"#));
        let line = format!(
            r#"{{"id":9,"method":"mining.submit","params":["good","1","{}","{:08X}","{:08X}"]}}"#,
            hex::encode_upper(block.xn2()),
            block.ntime,
            block.nonce
        );
        assert_eq!(bench.say(&line), YES, "{}", block.name);
        let share = &bench.shares[0];
        assert_eq!(share.judged.hash, block.hash());
        assert!(share.judged.is_block);
        assert_eq!(share.judged.work.get(), 4_295_032_833);
        assert_eq!(crate::job::sha256d(&share.judged.header), block.hash());
    }
}

#[test]
fn each_reason_is_met_and_told() {
    let mut bench = Bench::at_work();
    let check = |bench: &mut Bench, answer: String, reason: Reason| {
        let error = format!("[{},\"{}\",null]", reason.code(), reason.message());
        assert!(answer.contains(&error), "{answer} for {reason:?}");
        assert_eq!(bench.rejected.pop(), Some(reason));
        assert!(bench.rejected.is_empty());
    };
    assert_eq!(bench.submit("1", 0), YES);
    let answer = bench.submit("1", 0);
    check(&mut bench, answer, Reason::Duplicate);
    let answer = bench.submit("2", 0);
    check(&mut bench, answer, Reason::UnknownJob);
    for name in
        ["", "x", "1-", "-1", "1-1", "1-0-0", "+1", "11111111111111111", "00000000000000001"]
    {
        let answer = bench.submit(name, 0);
        check(&mut bench, answer, Reason::UnknownJob);
    }
    let line = submit_line("1", 5);
    let answer = bench.say(&line.replace("\"good\"", "\"other\""));
    check(&mut bench, answer, Reason::Unauthorized);
    let answer = bench.say(&line.replace("0000000000000000", "00"));
    let malformed = Reason::Malformed("extranonce2 is not hexadecimal of the agreed length");
    check(&mut bench, answer, malformed);
    let answer = bench.say(r#"{"id":9,"method":"mining.submit"}"#);
    check(&mut bench, answer, Reason::Malformed("submit takes 5 or 6 strings"));
    let answer = bench.say(&line.replace("495fab29", "00000001"));
    check(&mut bench, answer, Reason::NtimeOutOfRange);
    let answer = bench.say(&line.replace("\"00000005\"", "\"00000005\",\"00002000\""));
    check(&mut bench, answer, Reason::VersionOutsideMask);
    bench.set_job(2, 2);
    let answer = bench.submit("1", 6);
    check(&mut bench, answer, Reason::StaleJob);

    let mut stranger = Bench::new();
    let answer = stranger.submit("1", 0);
    check(&mut stranger, answer, Reason::NotSubscribed);

    let mut hard = Bench::with(Settings::default(), XN1);
    hard.handshake();
    hard.set_job(1, 1);
    hard.read();
    let answer = hard.submit("1", 0);
    check(&mut hard, answer, Reason::LowDifficulty);
}

#[test]
fn a_share_that_was_not_recorded_may_be_sent_again() {
    let mut bench = Bench::at_work();
    bench.session.receive(format!("{}\n", submit_line("1", 0)).as_bytes(), bench.now).unwrap();
    let Some(Event::Share { token, .. }) = bench.session.poll() else { panic!("no share") };
    bench.session.acknowledge(token, Err(Reason::LedgerUnavailable));
    bench.session.acknowledge(token, Ok(()));
    assert_eq!(
        bench.read(),
        "{\"id\":9,\"result\":null,\"error\":[20,\"the pool could not record the share\",null]}\n"
    );
    assert_eq!(bench.submit("1", 0), YES);
    assert!(bench.submit("1", 0).contains("[22,"));
}

#[test]
fn busy_past_the_shares_in_flight() {
    let mut bench = Bench::at_work();
    bench.acknowledge = false;
    let limit = u32::try_from(bench.session.settings.limits.max_in_flight).unwrap();
    for nonce in 0..limit {
        assert_eq!(bench.session.wants_input(), nonce <= limit / 2);
        assert!(!bench.submit("1", nonce).contains("\"id\":9"), "no answer yet");
    }
    assert!(bench.submit("1", limit).contains("too many unanswered"));
    assert_eq!(bench.rejected, [Reason::Busy]);
}

#[test]
fn one_header_counts_once_whatever_the_job_is_called() {
    let mut bench = Bench::at_work();
    assert_eq!(bench.submit("1", 0), YES);
    bench.set_job(2, 1);
    bench.read();
    assert!(bench.submit("2", 0).contains("[22,"), "the same template under another name");
    assert_eq!(bench.submit("1", 1), YES, "an older job of the same epoch is alive");
    // Two blocks on, and the chain comes back to the first.
    bench.set_job(3, 2);
    bench.read();
    assert_eq!(bench.submit("3", 0), YES);
    let mut template: JobTemplate = GENESIS.template();
    template.prev_hash[0] = 1;
    bench.session.set_job(Arc::new(Job::new(4, template, true, 3, 0)), bench.now);
    bench.read();
    assert!(bench.submit("4", 1).contains("[22,"), "remembered across a reorganisation");
    assert_eq!(bench.submit("4", 2), YES);
}

#[test]
fn an_older_epoch_never_replaces_a_newer_one() {
    let mut bench = Bench::at_work();
    bench.set_job(3, 3);
    bench.set_job(2, 2);
    assert!(bench.read().contains(r#""params":["3","#));
    assert!(bench.submit("2", 0).contains("job not found"));
}

#[test]
fn unread_work_is_replaced_and_was_never_given_out() {
    let mut bench = Bench::at_work();
    bench.set_job(2, 1);
    bench.set_job(3, 1);
    let written = bench.read();
    assert_eq!(written.lines().count(), 1);
    assert!(written.contains(r#""params":["3","#));
    assert!(bench.submit("2", 0).contains("job not found"));
    assert_eq!(bench.read(), "", "nothing is written twice");
}

#[test]
fn a_new_difficulty_gives_the_job_out_again() {
    let mut bench = Bench::at_work();
    assert_eq!(bench.submit("1", 0), YES);
    let answer =
        bench.say(r#"{"id":5,"method":"mining.suggest_difficulty","params":["0.000000001"]}"#);
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], r#"{"id":5,"result":true,"error":null}"#);
    assert_eq!(lines[1], r#"{"id":null,"method":"mining.set_difficulty","params":[1e-9]}"#);
    assert!(lines[2].contains(r#""params":["1-1","#));
    // One second later, so that a miner that starts over finds other headers.
    assert!(lines[2].ends_with(r#""495fab2a",false]}"#));
    let harder = Target::from_difficulty(Difficulty::new(1e-9).unwrap());
    assert_eq!(bench.submit("1", 1), YES, "the old name is judged as it was issued");
    assert_eq!(bench.shares[1].judged.work.get(), 1);
    for nonce in 10..100 {
        bench.submit("1-1", nonce);
    }
    assert!(bench.rejected.contains(&Reason::LowDifficulty));
    let last = bench.shares.last().unwrap();
    assert_eq!((last.target, last.judged.work), (harder, harder.work()));
}

#[test]
fn variable_difficulty_raises_a_flood() {
    let mut bench = Bench::at_work();
    let mut written = String::new();
    for nonce in 0..20 {
        written += &bench.submit("1", nonce);
    }
    assert!(written.contains("mining.set_difficulty"), "{written}");
    assert!(bench.session.difficulty() > Target::MAX.difficulty());
    assert_eq!(bench.rejected, []);
}

#[test]
fn a_flood_is_read_slowly() {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    settings.limits.share_burst = 10;
    settings.limits.shares_per_second = 3;
    let mut bench = Bench::with(settings, XN1);
    bench.handshake();
    bench.set_job(1, 1);
    bench.read();
    for nonce in 0..10 {
        assert!(bench.session.wants_input());
        assert!(bench.submit("1", nonce).starts_with(YES));
    }
    assert!(!bench.session.wants_input());
    assert!(bench.submit("1", 10).contains("[20,"));
    let wake = bench.session.next_timeout().unwrap();
    assert_eq!(wake, bench.now.mono + Duration::from_secs(1));
    bench.wait(1);
    assert!(bench.session.wants_input());
    assert!(bench.submit("1", 10).starts_with(YES));
}

#[test]
fn extensions_are_negotiated_by_name() {
    let mut bench = Bench::new();
    let answer = bench.say(concat!(
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling","minimum-difficulty","#,
        r#""subscribe-extranonce","info","energy-report","a \"new\" one"],"#,
        r#"{"version-rolling.mask":"00FFFFFF","version-rolling.min-bit-count":2,"#,
        r#""minimum-difficulty.value":0.5,"energy-report.version":1}]}"#
    ));
    assert_eq!(
        answer,
        concat!(
            r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"00ffe000","#,
            r#""minimum-difficulty":true,"subscribe-extranonce":true,"info":true,"#,
            r#""energy-report":true,"energy-report.interval":60,"a \"new\" one":false},"#,
            r#""error":null}"#,
            "\n"
        )
    );
    assert_eq!(bench.session.difficulty().get(), 0.5);
    let answer = bench.say(
        r#"{"id":2,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],{"version-rolling.mask":"zz","minimum-difficulty.value":-1}]}"#,
    );
    assert!(answer.contains(r#""version-rolling":"the mask is"#), "{answer}");
    assert!(answer.contains(r#""minimum-difficulty":false"#), "{answer}");
    assert!(bench.say(r#"{"id":3,"method":"mining.configure","params":[]}"#).contains("[20,"));
}

#[test]
fn a_mask_granted_late_applies_to_the_job_given_out_again() {
    let mut bench = Bench::at_work();
    let answer = bench.say(
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}"#,
    );
    assert!(answer.contains(r#""version-rolling.mask":"1fffe000""#));
    assert!(answer.contains(r#""params":["1-1","#));
    let rolled = |job| submit_line(job, 3).replace("\"00000003\"", "\"00000003\",\"1fffe000\"");
    assert!(bench.say(&rolled("1")).contains("version bits outside"));
    assert_eq!(bench.say(&rolled("1-1")), YES);
    assert_eq!(bench.shares[0].judged.header[..4], 0x1fff_e001_u32.to_le_bytes());
}

#[test]
fn small_requests_are_answered_and_unknown_ones_refused() {
    let mut bench = Bench::at_work();
    let mut ask = |method: &str, params: &str| {
        bench.say(&format!(r#"{{"id":4,"method":"{method}","params":{params}}}"#))
    };
    assert!(ask("mining.ping", "[]").contains(r#""result":"pong""#));
    assert!(ask("mining.extranonce.subscribe", "[]").contains(r#""result":true"#));
    assert!(ask("mining.get_transactions", "[\"1\"]").contains("[20,"));
    assert!(ask("mining.make_coffee", "[]").contains("[20,\"unknown method\",null]"));
    let target = format!("[\"{}\"]", "0".repeat(11) + &"f".repeat(53));
    assert!(ask("mining.suggest_target", &target).contains(r#""result":true"#));
    for bad in ["[]", "[0]", "[-1]", "[null]", "[\"x\"]", "5"] {
        assert!(ask("mining.suggest_difficulty", bad).contains("[20,"), "{bad}");
        assert!(ask("mining.suggest_target", bad).contains("[20,"), "{bad}");
    }
    assert_eq!(bench.say(r#"{"id":1,"result":"x","error":null}"#), "", "an answer is no request");
    assert!(bench.say(r#"{"id":[],"method":"mining.ping"}"#).contains("id must be"));
    assert_eq!(bench.say(" \r"), "");
    bench.session.show_message("hello \"miner\"");
    assert_eq!(
        bench.read(),
        "{\"id\":null,\"method\":\"client.show_message\",\"params\":[\"hello \\\"miner\\\"\"]}\n"
    );
}

#[test]
fn energy_reports_are_for_workers_of_this_connection() {
    let mut bench = Bench::at_work();
    let line = |worker: &str| {
        format!(
            r#"{{"id":7,"method":"mining.report_energy","params":[{{"worker":"{worker}","at": 5 }}]}}"#
        )
    };
    assert_eq!(bench.say(&line("good")), "{\"id\":7,\"result\":true,\"error\":null}\n");
    assert_eq!(bench.energy, [(WorkerKey::new(7), r#"{"worker":"good","at": 5 }"#.to_owned())]);
    assert!(bench.say(&line("another")).contains("[24,"));
    assert!(
        bench.say(r#"{"id":7,"method":"mining.report_energy","params":[{}]}"#).contains("[20,")
    );
    assert!(bench.say(r#"{"id":7,"method":"mining.report_energy"}"#).contains("[20,"));
    let twice = line("good").replace("\"at\"", "\"worker\":\"another\",\"at\"");
    assert!(bench.say(&twice).contains("[20,"), "a name must not be given twice");
    assert_eq!(bench.energy.len(), 1);

    let settings = Settings { energy_interval: None, ..Settings::default() };
    let mut without = Bench::with(settings, XN1);
    without.handshake();
    assert!(without.say(&line("good")).contains("[20,\"energy reports are not taken here\""));
    let configure = r#"{"id":1,"method":"mining.configure","params":[["energy-report"],{}]}"#;
    assert!(without.say(configure).contains(r#""energy-report":false"#));
}

#[test]
fn passwords_set_the_difficulty_once_authorized() {
    let with = |password: &str| {
        let mut bench = Bench::with(Settings::default(), XN1);
        bench.set_job(1, 1);
        bench.say(r#"{"id":1,"method":"mining.subscribe"}"#);
        let line =
            format!(r#"{{"id":2,"method":"mining.authorize","params":["good","{password}"]}}"#);
        bench.say(&line)
    };
    assert!(with("d=0.25").contains(r#""mining.set_difficulty","params":[0.25]}"#));
    // A job is never harder than its block, and the genesis block's difficulty is 1.
    assert!(with("d=4").contains(r#""mining.set_difficulty","params":[1]}"#));
    // 10 kH/s at a share every 6 s.
    assert!(with("th=0.00000001").contains(r#""mining.set_difficulty","params":[0.000014]}"#));
}

#[test]
fn deadlines_end_a_connection_that_does_nothing() {
    let closed_after = |lines: &[&str]| {
        let mut bench = Bench::new();
        for line in lines {
            bench.say(line);
        }
        let start = bench.now.mono;
        while bench.closed.is_none() {
            let next = bench.session.next_timeout().unwrap();
            bench.now.mono = next;
            bench.session.timeout(bench.now);
            bench.read();
        }
        assert_eq!(bench.session.next_timeout(), None);
        assert_eq!(bench.session.receive(b"\n", bench.now), Err(Fatal::Closed));
        ((bench.now.mono - start).as_secs(), bench.closed.unwrap())
    };
    let subscribe = r#"{"id":1,"method":"mining.subscribe"}"#;
    let authorize = r#"{"id":1,"method":"mining.authorize","params":["good","x"]}"#;
    assert_eq!(closed_after(&[]), (10, "no subscription came in time".to_owned()));
    assert_eq!(closed_after(&[subscribe]).0, 30);
    assert_eq!(closed_after(&[authorize]).0, 30);
    assert_eq!(closed_after(&[subscribe, authorize]).0, 3600);
}

#[test]
fn a_silent_miner_is_lowered_by_the_clock_alone() {
    let mut bench = Bench::with(Settings::default(), XN1);
    bench.handshake();
    bench.wait(600);
    bench.set_job(1, 1);
    bench.read();
    let before = bench.session.difficulty();
    let end = bench.now.mono + Duration::from_secs(120);
    while bench.now.mono < end {
        bench.now.mono = bench.session.next_timeout().unwrap();
        bench.session.timeout(bench.now);
    }
    assert!(bench.session.difficulty() < before);
    assert!(bench.read().contains("mining.set_difficulty"), "and is told so");
}

#[test]
fn an_easy_network_is_seen_by_the_clock_alone() {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    let mut bench = Bench::with(settings, XN1);
    bench.handshake();
    let mut template = GENESIS.template();
    template.network_target = Target::MAX;
    bench.session.set_job(Arc::new(Job::new(1, template, true, 1, 0)), bench.now);
    bench.read();
    let before = bench.session.difficulty();
    while bench.session.difficulty() == before {
        assert!(bench.now.mono < Duration::from_secs(2000), "nothing is lowered");
        bench.now.mono = bench.session.next_timeout().unwrap();
        bench.session.timeout(bench.now);
    }
    assert_eq!(bench.session.difficulty(), Target::MAX.difficulty());
}
