//! Sessions handed to another process at any moment, beside one that never was: both give the same
//! answers.

use proptest::prelude::*;

use super::tests::{Bench, submit_line};
use super::*;
use crate::job::Listing;
use crate::jobs::SavedJobs;
use crate::known_blocks::GENESIS;

const HELLO: [&str; 2] = [
    r#"{"id":2,"method":"mining.subscribe","params":["a/1"]}"#,
    r#"{"id":3,"method":"mining.authorize","params":["good","x"]}"#,
];
const RESUME: &str =
    r#"{"id":2,"method":"mining.subscribe","params":["a/1","07070707070707070707070707070707"]}"#;
const ID: SubscriptionId = SubscriptionId::new([7; 16]);

/// One thing that happens to a connection.
#[derive(Debug, Clone)]
enum Step {
    Say(String),
    /// A job of this epoch or the next, which the connection hears of now or later.
    Job {
        new_block: bool,
        heard: bool,
    },
    Withdraw,
    Write,
    /// The pool's verdicts on what is in flight.
    Answer {
        recorded: bool,
    },
    /// Milliseconds.
    Wait(u64),
    NewXn1(u8),
    /// The one connection changes its process, if it may; everybody may hear of the newest job then.
    HandOver {
        told: bool,
    },
}

/// A session, its clock, and what was seen of it.
struct Side {
    session: Session,
    /// This process's clock runs ahead of the other's by so much.
    ahead: Duration,
    open: Vec<ShareToken>,
    /// What an earlier connection left.
    kept: Option<Kept>,
    seen: Vec<String>,
}

fn settings() -> Arc<Settings> {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    settings.limits.max_jobs_kept = 4;
    settings.limits.max_seen = 12;
    Arc::new(settings)
}

fn job(id: u64, epoch: u64) -> Arc<Job> {
    let mut template = GENESIS.template();
    // Every third is on a block that was undone and is built on anew.
    template.prev_hash[0] = u8::try_from(epoch % 3).unwrap();
    if id.is_multiple_of(4) {
        template.network_target = Target::MAX;
    }
    let mut job = Job::new(id, template, true, epoch, 0);
    if id.is_multiple_of(3) {
        job.version_mask = 0x1fff_0000;
    }
    job.transactions = Listing::Json("[\"00\"]".into());
    Arc::new(job)
}

impl Side {
    fn new(jobs: &Arc<Jobs>, now: Moment) -> Self {
        let ahead = Duration::ZERO;
        let session = Session::new(settings(), [1, 2, 3, 4], now).resumable(ID);
        let mut side = Self { session, ahead, open: Vec::new(), kept: None, seen: Vec::new() };
        // An earlier connection, whose subscription may be asked for.
        for line in HELLO {
            side.take(&Step::Say(format!("{line}\n")), jobs, now);
        }
        side.session.set_jobs(Arc::clone(jobs), now);
        side.take(&Step::Write, jobs, now);
        side.take(&Step::Say(submit_line("1", 9) + "\n"), jobs, now);
        side.kept = side.session.end().kept;
        assert!(side.kept.as_ref().is_some_and(|kept| kept.headers() == 1));
        side.open.clear();
        let id = SubscriptionId::new([8; 16]);
        side.session = Session::new(settings(), [5; 4], now).resumable(id);
        side
    }

    fn now(&self, now: Moment) -> Moment {
        Moment { mono: now.mono + self.ahead, ..now }
    }

    fn take(&mut self, step: &Step, jobs: &Arc<Jobs>, now: Moment) {
        let now = self.now(now);
        match step {
            Step::Say(line) => {
                let heard = self.session.receive(line.as_bytes(), now);
                self.seen.push(format!("{heard:?}"));
            }
            Step::Job { heard: true, .. } => self.session.set_jobs(Arc::clone(jobs), now),
            Step::Withdraw => self.session.withdraw_job(),
            Step::Write => {
                let mut out = Vec::new();
                self.session.transmit(&mut out);
                self.seen.push(String::from_utf8(out).unwrap());
            }
            Step::Answer { recorded } => {
                let verdict = if *recorded { Ok(()) } else { Err(Reason::LedgerUnavailable) };
                for token in self.open.drain(..) {
                    self.session.acknowledge(token, verdict);
                }
            }
            Step::Wait(_) => self.session.timeout(now),
            Step::NewXn1(byte) => {
                self.session.set_extranonce([*byte; 4]);
            }
            Step::HandOver { .. } | Step::Job { heard: false, .. } => {}
        }
        while let Some(event) = self.session.poll() {
            self.event(event, now);
        }
        let timeout = self.session.next_timeout().map(|at| at.saturating_sub(self.ahead));
        let (deadline, why) = self.session.deadline();
        self.seen.push(format!("{:?} {why}", deadline.saturating_sub(self.ahead)));
        let state = (timeout, self.session.wants_input(), self.session.is_ready());
        self.seen.push(format!("{state:?} {:?}", self.session.difficulty()));
    }

    fn event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Authorize { token, user, .. } => {
                self.session.authorize(token, Ok(key(&user)), now);
            }
            Event::Resume { token, .. } => {
                self.session.resume(token, self.kept.take(), now);
            }
            Event::Share { token, share } => {
                self.open.push(token);
                self.seen.push(format!("{:?} {:?} {:?}", share.worker, share.judged, share.target));
            }
            Event::StaleBlock { share } => self.seen.push(format!("block {:?}", share.judged)),
            // A new process asks again.
            Event::Extranonce => {}
            Event::Agent { .. }
            | Event::Close { .. }
            | Event::Energy { .. }
            | Event::Rejected { .. }
            | Event::Subscribed { .. } => self.seen.push(format!("{event:?}")),
        }
    }

    /// Goes on in a process whose clock is further ahead, with all that crosses as text.
    fn hand_over(&mut self, jobs: &Arc<Jobs>, now: Moment, further: Duration) {
        let Some(saved) = self.session.save(self.now(now)) else { return };
        let saved = serde_json::to_string(&saved).unwrap();
        let saved: SavedSession = serde_json::from_str(&saved).unwrap();
        let jobs = serde_json::to_string(&jobs.save()).unwrap();
        let jobs: SavedJobs = serde_json::from_str(&jobs).unwrap();
        self.ahead += further;
        let now = self.now(now);
        let jobs = Arc::new(jobs.restore());
        self.session = Session::restore(settings(), saved, &jobs, key, now).unwrap();
    }
}

fn key(user: &str) -> WorkerKey {
    WorkerKey::new(u32::try_from(user.len()).unwrap())
}

fn lines() -> impl Strategy<Value = String> {
    let fixed = [
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#,
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],{"version-rolling.mask":"00006000","minimum-difficulty.value":1e-11}]}"#,
        r#"{"id":2,"method":"mining.subscribe","params":[]}"#,
        RESUME,
        r#"{"id":3,"method":"mining.authorize","params":["good","x"]}"#,
        r#"{"id":3,"method":"mining.authorize","params":["second","d=1e-11"]}"#,
        r#"{"id":4,"method":"mining.suggest_difficulty","params":[2e-11]}"#,
        r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#,
        r#"{"id":1,"result":"a/1","error":null}"#,
        "garbage",
    ];
    let name = prop_oneof![
        4 => (1..30_u64).prop_map(|id| format!("{id:x}")),
        1 => (1..30_u64, 1..3_u8).prop_map(|(id, again)| format!("{id:x}-{again}")),
    ];
    let list = |name: &str| {
        format!(r#"{{"id":6,"method":"mining.get_transactions","params":["{name}"]}}"#)
    };
    let line = prop_oneof![
        2 => proptest::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        4 => (name.clone(), 0..6_u32).prop_map(|(name, nonce)| submit_line(&name, nonce)),
        1 => name.prop_map(move |name| list(&name)),
    ];
    // Whole, or cut anywhere: the rest of a line may never come.
    (line, 0..8_usize).prop_map(|(line, cut)| match cut {
        0 => line[..line.len() / 3].to_owned(),
        1 => line[line.len() / 2..].to_owned() + "\n",
        _ => line + "\n",
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Handed over between any two lines.
    let greeting = |lines: &[&str]| {
        let say = |line: &&str| [Step::HandOver { told: true }, Step::Say(format!("{line}\n"))];
        lines.iter().flat_map(say).collect::<Vec<_>>()
    };
    let greetings = [
        Vec::new(),
        greeting(&HELLO),
        greeting(&[RESUME, HELLO[1]]),
        greeting(&[r#"{"id":4,"method":"mining.suggest_difficulty","params":[2e-11]}"#, RESUME]),
    ];
    let step = prop_oneof![
        8 => lines().prop_map(Step::Say),
        4 => (any::<bool>(), 0..4_u8)
            .prop_map(|(new_block, heard)| Step::Job { new_block, heard: heard > 0 }),
        1 => Just(Step::Withdraw),
        6 => Just(Step::Write),
        3 => (0..4_u8).prop_map(|verdict| Step::Answer { recorded: verdict > 0 }),
        2 => (0..20_000_u64).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::NewXn1),
        4 => any::<bool>().prop_map(|told| Step::HandOver { told }),
    ];
    let steps = proptest::collection::vec(step, 1..80);
    (0..4_usize, steps).prop_map(move |(hello, steps)| [greetings[hello].clone(), steps].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_miner_notices_nothing_of_a_new_process(steps in steps(), further in 0..1_000_000_u64) {
        compare(steps, further);
    }
}

/// Takes the same steps in one process and in several.
fn compare(steps: Vec<Step>, further: u64) {
    let unix = UnixMillis::new(u64::from(GENESIS.ntime) * 1000);
    let mut now = Moment { mono: Duration::from_secs(4000), unix };
    let (mut id, mut epoch) = (1, 1);
    let mut jobs = Arc::new(Jobs::default().with(job(id, epoch), &settings().limits));
    let (mut stays, mut moves) = (Side::new(&jobs, now), Side::new(&jobs, now));
    let mut heard = Arc::clone(&jobs);
    for step in steps {
        if let Step::Job { new_block, .. } = step {
            (id, epoch) = (id + 1, epoch + u64::from(new_block));
            jobs = Arc::new(jobs.with(job(id, epoch), &settings().limits));
        }
        if let Step::Wait(millis) = step {
            now = now.after(Duration::from_millis(millis));
        }
        stays.take(&step, &jobs, now);
        moves.take(&step, &jobs, now);
        if let Step::Job { heard: true, .. } = step {
            heard = Arc::clone(&jobs);
        }
        if let Step::HandOver { told } = step {
            let list = if told { &jobs } else { &heard };
            moves.hand_over(list, now, Duration::from_millis(further));
            if told {
                heard = Arc::clone(&jobs);
                stays.session.set_jobs(Arc::clone(&jobs), stays.now(now));
                moves.session.set_jobs(Arc::clone(&jobs), moves.now(now));
            }
        }
        assert_eq!(&stays.seen, &moves.seen, "after {step:?}");
        stays.seen.clear();
        moves.seen.clear();
    }
    let kept = |side: &mut Side| {
        let Ended { kept, unused_xn1 } = side.session.end();
        (kept.map(|kept| (kept.xn1(), kept.headers(), kept.unused_xn1())), unused_xn1)
    };
    assert_eq!(kept(&mut stays), kept(&mut moves));
}

#[test]
fn what_was_resumed_while_work_was_withdrawn_is_as_stale_in_a_new_process() {
    let steps = vec![
        Step::Job { new_block: true, heard: false },
        Step::Job { new_block: false, heard: true },
        Step::Withdraw,
        Step::Say(format!("{RESUME}\n")),
        Step::HandOver { told: false },
    ];
    compare(steps, 0);
}

#[test]
fn who_waits_for_the_pool_is_not_handed_over() {
    let mut bench = Bench::at_work();
    assert!(bench.session.save(bench.now).is_some());
    bench.acknowledge = false;
    bench.submit("1", 0);
    assert!(bench.session.save(bench.now).is_none(), "a share is in flight");
    let mut bench = Bench::at_work();
    let line = "{\"id\":3,\"method\":\"mining.authorize\",\"params\":[\"w\"]}\n";
    bench.session.receive(line.as_bytes(), bench.now).unwrap();
    assert!(bench.session.save(bench.now).is_none(), "events wait");
    let token = bench.session.poll();
    assert!(bench.session.save(bench.now).is_none(), "a request waits");
    drop(token);
    let mut bench = Bench::at_work();
    let line = submit_line("9", 0) + "\n";
    bench.session.receive(line.as_bytes(), bench.now).unwrap();
    assert!(bench.session.save(bench.now).is_none(), "the pool has not heard of a refusal");
    let mut bench = Bench::at_work();
    bench.session.close();
    assert!(bench.session.save(bench.now).is_none(), "it has ended");
}

#[test]
fn no_log_shows_the_subscription() {
    let bench = resume_tests::resumable();
    let saved = bench.session.save(bench.now).unwrap();
    assert!(!format!("{saved:?}").contains("3, 4, 5, 6"));
}

#[test]
fn other_settings_are_named() {
    let bench = Bench::at_work();
    let saved = bench.session.save(bench.now).unwrap();
    let mut settings = Settings::clone(&bench.session.settings);
    settings.xn2_size = 4;
    let jobs = Arc::new(Jobs::default());
    let error = Session::restore(Arc::new(settings), saved, &jobs, key, bench.now).unwrap_err();
    assert_eq!(error, RestoreError::Extranonce2Size { saved: 8, set: 4 });
    assert_eq!(error.to_string(), "the miner's extranonce 2 has 8 bytes, and 4 are set");
}

/// The same session in another process.
fn moved(bench: &Bench) -> Session {
    let saved = bench.session.save(bench.now).unwrap();
    let settings = Arc::clone(&bench.session.settings);
    let jobs = bench.session.board.jobs.clone().unwrap_or_default();
    Session::restore(settings, saved, &jobs, key, bench.now).unwrap()
}

#[test]
fn a_token_of_the_old_process_names_nothing_in_the_new_one() {
    let mut bench = Bench::at_work();
    let share = |bench: &mut Bench, nonce| {
        let line = submit_line("1", nonce) + "\n";
        bench.session.receive(line.as_bytes(), bench.now).unwrap();
        let Some(Event::Share { token, .. }) = bench.session.poll() else { panic!("no share") };
        token
    };
    let request = |bench: &mut Bench| {
        let line = format!("{}\n", HELLO[1]);
        bench.session.receive(line.as_bytes(), bench.now).unwrap();
        let Some(Event::Authorize { token, .. }) = bench.session.poll() else { panic!("nothing") };
        token
    };
    let (mut shares, mut requests) = (Vec::new(), Vec::new());
    for nonce in 0..4 {
        let (one, other) = (share(&mut bench, nonce), request(&mut bench));
        assert!(!shares.contains(&one) && !requests.contains(&other));
        bench.session.acknowledge(one, Ok(()));
        bench.session.authorize(other, Ok(WorkerKey::new(7)), bench.now);
        shares.push(one);
        requests.push(other);
        bench.read();
        bench.session = moved(&bench);
    }
}

#[test]
fn a_miners_kind_goes_with_it() {
    let mut bench = Bench::new();
    bench.say(r#"{"id":1,"method":"mining.subscribe","params":["NerdMinerV2"]}"#);
    let class = bench.session.class.name;
    assert_ne!(class, DeviceClass::unknown().name);
    assert_eq!(moved(&bench).class.name, class);
}

#[test]
fn work_that_is_newer_than_what_was_handed_over_is_taken() {
    let bench = Bench::at_work();
    let saved = bench.session.save(bench.now).unwrap();
    let settings = Arc::clone(&bench.session.settings);
    let jobs = bench.session.board.jobs.clone().unwrap();
    let jobs = Arc::new(jobs.with(job(2, 2), &settings.limits));
    let mut after = Bench::new();
    after.session = Session::restore(settings, saved, &jobs, key, bench.now).unwrap();
    assert!(after.read().contains(r#""params":["2","#));
    after.submit("2", 0);
    assert_eq!((after.shares.len(), &after.rejected[..]), (1, &[][..]));
}
