//! What strangers send: nothing may panic, grow without bound or be credited.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::known_blocks::GENESIS;
use crate::v1::message::difficulty_json;

fn moment(seconds: u64) -> Moment {
    let unix = UnixMillis::new((u64::from(GENESIS.ntime) + seconds) * 1000);
    Moment { mono: Duration::from_secs(seconds), unix }
}

fn session() -> Session {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    let session = Session::new(Arc::new(settings), [1, 2, 3, 4], moment(0));
    session.resumable(SubscriptionId::new([5; 16]))
}

fn at_work() -> Session {
    let mut session = session();
    let hello = concat!(
        r#"{"id":1,"method":"mining.subscribe"}"#,
        "\n",
        r#"{"id":2,"method":"mining.authorize","params":["good"]}"#,
        "\n"
    );
    session.receive(hello.as_bytes(), moment(0)).unwrap();
    authorize_all(&mut session);
    session.set_job(Arc::new(Job::new(1, GENESIS.template(), true, 1, 0)), moment(0));
    session.transmit(&mut Vec::new());
    session
}

fn authorize_all(session: &mut Session) {
    while let Some(event) = session.poll() {
        if let Event::Authorize { token, .. } = event {
            session.authorize(token, Ok(WorkerKey::new(1)), moment(0));
        } else if let Event::Resume { token, .. } = event {
            session.resume(token, None, moment(0));
        }
    }
}

/// Feeds one line until the session gives up, and says after how many.
fn lines_until_fatal(session: &mut Session, line: &str) -> (u32, Fatal) {
    for count in 0..1_000_000 {
        if let Err(fatal) = session.receive(format!("{line}\n").as_bytes(), moment(1)) {
            return (count, fatal);
        }
        while session.poll().is_some() {}
        session.transmit(&mut Vec::new());
    }
    panic!("{line} is borne for ever");
}

#[test]
fn lines_have_a_limit_and_a_lower_one_for_strangers() {
    let long = |length: usize| [vec![b' '; length], vec![b'\n']].concat();
    assert!(session().receive(&long(1024), moment(1)).is_ok());
    assert_eq!(session().receive(&long(1025), moment(1)), Err(Fatal::LineTooLong(1024)));
    assert_eq!(session().receive(&vec![b'x'; 1025], moment(1)), Err(Fatal::LineTooLong(1024)));
    assert!(at_work().receive(&long(8192), moment(1)).is_ok());
    assert_eq!(at_work().receive(&long(8193), moment(1)), Err(Fatal::LineTooLong(8192)));
}

#[test]
fn what_brings_nothing_is_borne_only_so_long() {
    assert_eq!(lines_until_fatal(&mut at_work(), "garbage"), (10, Fatal::Garbage(11)));
    let nuisances = [
        "",
        "{}",
        r#"{"id":1,"result":true}"#,
        r#"{"id":1,"method":"mining.ping"}"#,
        r#"{"id":1,"method":"mining.subscribe"}"#,
        r#"{"id":1,"method":"mining.suggest_difficulty","params":[1e-12]}"#,
        r#"{"id":1,"method":"mining.submit","params":[]}"#,
        r#"{"id":1,"method":"mining.submit","params":["good","9","0000000000000000","0","0"]}"#,
        r#"{"id":1,"method":"mining.authorize","params":["good"]}"#,
    ];
    for line in nuisances {
        let (count, fatal) = lines_until_fatal(&mut at_work(), line);
        assert_eq!(fatal, Fatal::Nuisance, "{line}");
        assert!((900..=1010).contains(&count), "{line}: {count}");
    }
}

#[test]
fn who_never_reads_is_dropped() {
    let mut session = at_work();
    let line = format!("{{\"id\":1,\"method\":\"mining.{}\"}}\n", "subscribe");
    let mut most = 0;
    let fatal = loop {
        most = most.max(session.outbox.len());
        // A patient pool, so that only the outbox is at stake.
        session.patience = Patience::new(1000, moment(1).mono);
        if let Err(fatal) = session.receive(line.as_bytes(), moment(1)) {
            break fatal;
        }
    };
    assert!(matches!(fatal, Fatal::NotReading(_)), "{fatal}");
    assert!(most <= session.settings.limits.max_outbox);
    assert!(!session.wants_input());
}

#[test]
fn workers_and_waiting_requests_are_bounded() {
    let mut session = at_work();
    let ask =
        |n: usize| format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"w{n}\"]}}\n");
    for n in 0..20 {
        session.receive(ask(n).as_bytes(), moment(1)).unwrap();
    }
    assert_eq!(session.waiting.len(), session.settings.limits.max_waiting);
    authorize_all(&mut session);
    for n in 0..200 {
        session.receive(ask(n).as_bytes(), moment(1)).unwrap();
        authorize_all(&mut session);
    }
    assert_eq!(session.workers.len(), session.settings.limits.max_workers);
    let mut out = Vec::new();
    session.transmit(&mut out);
    assert!(String::from_utf8(out).unwrap().contains(TOO_MANY_WORKERS));
}

#[test]
fn jobs_given_out_again_and_again_are_bounded() {
    let mut session = at_work();
    let mut notifies = 0;
    for n in 0..60_u32 {
        let difficulty = f64::from(n + 1) * 1e-6;
        let line = json!({"id": 1, "method": "mining.suggest_difficulty", "params": [difficulty]});
        session.receive(format!("{line}\n").as_bytes(), moment(1)).unwrap();
        let mut out = Vec::new();
        session.transmit(&mut out);
        notifies += String::from_utf8(out).unwrap().matches("mining.notify").count();
    }
    assert_eq!(notifies, 15, "later changes wait for the next job");
    session.set_job(Arc::new(Job::new(2, GENESIS.template(), false, 1, 0)), moment(1));
    let mut out = Vec::new();
    session.transmit(&mut out);
    let last = difficulty_json(session.difficulty());
    assert!(String::from_utf8(out).unwrap().contains(&format!("\"params\":[{last}]")));
}

#[test]
fn jobs_kept_are_bounded() {
    let mut session = at_work();
    let kept = session.settings.limits.max_jobs_kept;
    for id in 2..200 {
        session.set_job(Arc::new(Job::new(id, GENESIS.template(), false, 1, 0)), moment(1));
        session.transmit(&mut Vec::new());
    }
    let alive = (0..200).filter(|id| session.board.find(&format!("{id:x}")).is_ok()).count();
    assert_eq!(alive, kept, "the newest are taken shares for");
    assert!(session.board.find("c7").is_ok());
    assert_eq!(session.board.find("1").err(), Some(Reason::UnknownJob));
    for epoch in 2..200 {
        let job = Job::new(1000 + epoch, GENESIS.template(), true, epoch, 0);
        session.set_job(Arc::new(job), moment(1));
        session.transmit(&mut Vec::new());
    }
    let stale = (0..1200)
        .filter(|id| session.board.find(&format!("{id:x}")).err() == Some(Reason::StaleJob))
        .count();
    assert_eq!(stale, kept, "and as many are remembered as stale");
}

#[test]
fn headers_remembered_are_bounded() {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    settings.difficulty.vardiff = false;
    settings.limits.max_seen = 3;
    let mut session = at_work();
    session.settings = Arc::new(settings);
    session.vardiff = Vardiff::new(&session.settings.difficulty, Duration::ZERO);
    let mut verdicts = Vec::new();
    for nonce in [0, 1, 2, 3, 2] {
        let line = format!(
            r#"{{"id":1,"method":"mining.submit","params":["good","1","0000000000000000","495fab29","{nonce:08x}"]}}"#
        );
        session.receive(format!("{line}\n").as_bytes(), moment(1)).unwrap();
        match session.poll().unwrap() {
            Event::Rejected { reason, .. } => verdicts.push(Some(reason)),
            Event::Share { .. } => verdicts.push(None),
            Event::Agent { .. }
            | Event::Authorize { .. }
            | Event::Close { .. }
            | Event::Energy { .. }
            | Event::Extranonce
            | Event::Resume { .. }
            | Event::StaleBlock { .. }
            | Event::Subscribed { .. } => panic!("no verdict on {line}"),
        }
    }
    assert_eq!(verdicts, [None, None, None, Some(Reason::Busy), Some(Reason::Duplicate)]);
}

/// JSON that looks like what a miner sends, wrong in every way that a type can be.
fn request() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec![
        "mining.authorize",
        "mining.configure",
        "mining.extranonce.subscribe",
        "mining.get_transactions",
        "mining.report_energy",
        "mining.submit",
        "mining.subscribe",
        "mining.suggest_difficulty",
        "mining.suggest_target",
        "other",
    ]);
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!("good")),
        Just(json!("1")),
        Just(json!("0000000000000000")),
        Just(json!("495fab29")),
        Just(json!("version-rolling")),
        Just(json!("00".repeat(16))),
        Just(json!({"version-rolling.mask": 5, "minimum-difficulty.value": 1e308})),
        Just(json!({"worker": "good"})),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,20}".prop_map(|text| json!(text)),
    ];
    let value = leaf.prop_recursive(3, 20, 6, |inner| {
        prop::collection::vec(inner, 0..7).prop_map(|list| json!(list))
    });
    (method, prop::collection::vec(value.clone(), 0..8), value).prop_map(|(method, params, id)| {
        json!({"id": id, "method": method, "params": params}).to_string()
    })
}

fn check_output(session: &mut Session) {
    let mut out = Vec::new();
    session.transmit(&mut out);
    for line in out.split_inclusive(|&byte| byte == b'\n') {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert!(value.is_object());
        assert!(line.ends_with(b"\n"));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
    ) {
        for mut session in [session(), at_work()] {
            for chunk in &chunks {
                if session.receive(chunk, moment(1)).is_err() {
                    break;
                }
            }
            check_output(&mut session);
        }
    }

    #[test]
    fn no_request_makes_it_panic_or_write_nonsense(lines in prop::collection::vec(request(), 1..12)) {
        for mut session in [session(), at_work()] {
            for line in &lines {
                if session.receive(format!("{line}\n").as_bytes(), moment(1)).is_err() {
                    break;
                }
                authorize_all(&mut session);
                check_output(&mut session);
            }
        }
    }

    #[test]
    fn cutting_the_stream_changes_nothing(lines in prop::collection::vec(request(), 1..6), cut in 1_usize..64) {
        let text = lines.join("\n") + "\n";
        let run = |chunk: usize| {
            let mut session = at_work();
            for part in text.as_bytes().chunks(chunk) {
                if session.receive(part, moment(1)).is_err() {
                    break;
                }
            }
            let mut out = Vec::new();
            session.transmit(&mut out);
            out
        };
        prop_assert_eq!(run(cut), run(text.len()));
    }
}

/// Authorizes by this name, and says whether the pool was asked and what came back.
fn authorize(session: &mut Session, user: &str) -> (bool, String) {
    let line = format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{user}\"]}}\n");
    session.receive(line.as_bytes(), moment(1)).unwrap();
    let asked = session.waiting.len() > 0;
    authorize_all(session);
    let mut out = Vec::new();
    session.transmit(&mut out);
    (asked, String::from_utf8(out).unwrap())
}

#[test]
fn a_full_connection_knows_its_own_workers_and_asks_for_no_others() {
    let mut session = at_work();
    Arc::make_mut(&mut session.settings).limits.max_workers = 1;
    let (asked, answer) = authorize(&mut session, "good");
    assert!(asked && answer.contains("true"), "{answer}");
    let (asked, answer) = authorize(&mut session, "more");
    assert!(!asked && answer.contains(TOO_MANY_WORKERS), "{answer}");
}

#[test]
fn workers_asked_for_at_once_are_bounded_by_the_answers() {
    let mut session = session();
    Arc::make_mut(&mut session.settings).limits.max_workers = 1;
    for user in ["a", "b", "a"] {
        let line =
            format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{user}\"]}}\n");
        session.receive(line.as_bytes(), moment(1)).unwrap();
    }
    authorize_all(&mut session);
    assert_eq!(session.workers().collect::<Vec<_>>(), [("a", WorkerKey::new(1))]);
    let mut out = Vec::new();
    session.transmit(&mut out);
    let out = String::from_utf8(out).unwrap();
    assert_eq!((out.matches("true").count(), out.matches(TOO_MANY_WORKERS).count()), (2, 1));
}

#[test]
fn answers_may_pile_up_to_the_limit_and_input_waits_from_half_of_it() {
    let ping = b"{\"id\":1,\"method\":\"mining.ping\"}\n";
    let mut session = at_work();
    session.receive(ping, moment(1)).unwrap();
    let one = session.outbox.len();
    Arc::make_mut(&mut session.settings).limits.max_outbox = 4 * one;
    for answers in 2..=4 {
        assert!(session.wants_input() == (answers <= 3), "{answers}");
        assert_eq!(session.receive(ping, moment(1)), Ok(()));
    }
    assert_eq!(session.outbox.len(), 4 * one);
    assert_eq!(session.receive(ping, moment(1)), Err(Fatal::NotReading(5 * one)));
}

#[test]
fn no_flood_is_seen_where_the_operator_set_the_difficulty() {
    let mut settings = Settings::default();
    settings.difficulty.vardiff = false;
    settings.limits.share_burst = 0;
    let session = Session::new(Arc::new(settings), [1, 2, 3, 4], moment(0));
    assert!(session.wants_input());
}

#[test]
fn who_waits_for_the_pools_answer_has_the_longer_time() {
    let mut session = session();
    let line = b"{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"good\"]}\n";
    session.receive(line, moment(0)).unwrap();
    let limits = &session.settings.limits;
    assert_ne!(limits.subscribe_within, limits.authorize_within);
    assert_eq!(session.deadline().0, limits.authorize_within);
}

#[test]
fn a_session_says_what_the_pool_asks_of_it() {
    let mut session = at_work();
    assert_eq!(session.workers().collect::<Vec<_>>(), [("good", WorkerKey::new(1))]);
    assert_eq!(WorkerKey::new(7).get(), 7);
    let line = tests::submit_line("1", 0) + "\n";
    session.receive(line.as_bytes(), moment(1)).unwrap();
    assert_eq!(session.in_flight(), 1);
    // What was withdrawn is not given out; what is out is taken.
    session.set_job(Arc::new(Job::new(2, GENESIS.template(), true, 1, 0)), moment(1));
    session.withdraw_job();
    let mut out = Vec::new();
    session.transmit(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "");
    let line = tests::submit_line("1", 1) + "\n";
    session.receive(line.as_bytes(), moment(1)).unwrap();
    assert_eq!(session.in_flight(), 2);
}
