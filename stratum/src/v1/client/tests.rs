//! A client against a pool that is a transcript.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Job;
use crate::known_blocks::{BLOCK_125552, GENESIS};

const HELLO: [&str; 5] = [
    r#"{"id":1,"method":"mining.configure","params":[["subscribe-extranonce","version-rolling","energy-report"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2,"energy-report.version":1}]}"#,
    r#"{"id":2,"method":"mining.subscribe","params":["rig/1"]}"#,
    r#"{"id":3,"method":"mining.authorize","params":["addr.rig1","x"]}"#,
    r#"{"id":4,"method":"mining.suggest_difficulty","params":[0.5]}"#,
    "",
];
const CONFIGURED: &str = r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"00ffe000","energy-report":true,"energy-report.interval":5},"error":null}"#;
const SUBSCRIBED: &str = r#"{"id":2,"result":[[["mining.notify","s"]],"aabbccdd",8],"error":null}"#;
const AUTHORIZED: &str = r#"{"id":3,"result":true,"error":null}"#;

fn moment(seconds: u64) -> Moment {
    Moment {
        mono: Duration::from_secs(seconds),
        unix: units::UnixMillis::new(1_800_000_000_000 + seconds * 1000),
    }
}

fn settings() -> ClientSettings {
    ClientSettings {
        user: "addr.rig1".to_owned(),
        password: "x".to_owned(),
        agent: "rig/1".to_owned(),
        version_mask: 0x1fff_e000,
        suggest_difficulty: Some(Difficulty::new(0.5).unwrap()),
        energy: true,
    }
}

fn connect() -> ClientSession {
    let mut session = ClientSession::new(settings(), moment(0));
    assert_eq!(sent(&mut session), HELLO.join("\n"));
    session
}

/// Configured, subscribed, authorized.
fn ready() -> ClientSession {
    let mut session = connect();
    for line in [CONFIGURED, SUBSCRIBED, AUTHORIZED] {
        hear(&mut session, line);
    }
    session
}

fn sent(session: &mut ClientSession) -> String {
    let mut out = Vec::new();
    session.transmit(&mut out);
    String::from_utf8(out).unwrap()
}

fn hear(session: &mut ClientSession, line: &str) -> Vec<ClientEvent> {
    session.receive(format!("{line}\n").as_bytes(), moment(1)).unwrap();
    events(session)
}

fn events(session: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn notify(id: u64, clean: bool) -> String {
    let job = Job::new(id, GENESIS.template(), clean, 1, 0);
    String::from_utf8(job.notify_line().to_vec()).unwrap().trim_end().to_owned()
}

fn job(events: &[ClientEvent]) -> Arc<ClientJob> {
    match events {
        [ClientEvent::Job(job)] => Arc::clone(job),
        other => panic!("no job but {other:?}"),
    }
}

fn solution() -> Solution {
    Solution { job_id: "1".to_owned(), xn2: vec![0; 8], ntime: 1, nonce: 2, version_bits: None }
}

#[test]
fn a_handshake_and_a_share() {
    let mut session = connect();
    assert!(matches!(
        hear(&mut session, CONFIGURED)[..],
        [ClientEvent::EnergyAccepted { interval }] if interval == Duration::from_secs(5)
    ));
    assert!(hear(&mut session, SUBSCRIBED).is_empty());
    assert!(matches!(hear(&mut session, AUTHORIZED)[..], [ClientEvent::Authorized]));
    hear(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[0.25]}"#);
    let job = job(&hear(&mut session, &notify(1, true)));
    assert_eq!(job.target, Target::from_difficulty(Difficulty::new(0.25).unwrap()));
    assert_eq!(job.network_target, Target::difficulty_one());
    assert_eq!((job.version_mask, job.xn2_size, job.clean), (0x00ff_e000, 8, true));
    assert_eq!((job.generation, job.continues), (1, false));

    let token = session.submit(&Solution { version_bits: Some(0x2000), ..solution() }, moment(1));
    assert_eq!(
        sent(&mut session),
        concat!(
            r#"{"id":5,"method":"mining.submit","params":["addr.rig1","1","#,
            r#""0000000000000000","00000001","00000002","00002000"]}"#,
            "\n"
        )
    );
    session.receive(b"{\"id\":5,\"result\":true}\n", moment(3)).unwrap();
    assert!(matches!(
        events(&mut session)[..],
        [ClientEvent::Verdict { token: of, result: Ok(()), latency }]
            if of == token && latency == Duration::from_secs(2)
    ));
    session.submit(&solution(), moment(3));
    assert!(sent(&mut session).ends_with("\"00000001\",\"00000002\"]}\n"), "no bits, no member");
}

#[test]
fn headers_of_known_blocks_come_from_their_notify_lines() {
    for block in [GENESIS, BLOCK_125552] {
        let mut session = connect();
        let xn1 = hex::encode(block.xn1());
        hear(&mut session, &SUBSCRIBED.replace("aabbccdd", &xn1));
        let line = Job::new(1, block.template(), true, 1, 0).notify_line().to_vec();
        session.receive(&line, moment(1)).unwrap();
        let job = job(&events(&mut session));
        let mut header = job.header(&block.xn2(), job.ntime, job.version);
        header[76..].copy_from_slice(&block.nonce.to_le_bytes());
        assert_eq!(crate::job::sha256d(&header), block.hash(), "{}", block.name);
    }
}

#[test]
fn what_a_pool_changes_counts_from_the_next_job_on() {
    let mut session = ready();
    hear(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[1]}"#);
    let first = job(&hear(&mut session, &notify(1, true)));
    for line in [
        r#"{"id":null,"method":"mining.set_difficulty","params":["2"]}"#,
        r#"{"id":null,"method":"mining.set_version_mask","params":["0000e000"]}"#,
        r#"{"id":null,"method":"mining.set_extranonce","params":["0102",4]}"#,
    ] {
        assert!(hear(&mut session, line).is_empty(), "{line}");
    }
    assert_eq!((first.version_mask, first.xn2_size), (0x00ff_e000, 8));
    let second = job(&hear(&mut session, &notify(2, false)));
    assert_eq!(second.target, Target::from_difficulty(Difficulty::new(2.0).unwrap()));
    assert_eq!((second.version_mask, second.xn2_size), (0xe000, 4));
    assert_eq!((second.xn1.as_slice(), second.generation), (&[1, 2][..], 2));
    assert!(!second.continues);
}

#[test]
fn a_repeated_job_is_not_begun_again() {
    let mut session = ready();
    hear(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[1]}"#);
    job(&hear(&mut session, &notify(1, true)));
    assert!(hear(&mut session, &notify(1, true)).is_empty(), "nothing new");
    hear(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[2]}"#);
    let again = job(&hear(&mut session, &notify(1, true)));
    assert!(again.continues);
    assert!(!again.clean, "it must not drop its own shares");
}

#[test]
fn a_name_given_to_another_job_ends_the_first() {
    let mut session = ready();
    hear(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[1]}"#);
    job(&hear(&mut session, &notify(1, true)));
    let later = notify(1, false).replace("495fab29", "495fab2a");
    assert!(!job(&hear(&mut session, &later)).clean, "the same job at a later time");
    let other = later.replace("00000001", "00000002");
    assert!(job(&hear(&mut session, &other)).clean, "another job");
}

#[test]
fn work_before_the_subscription_waits_and_a_first_difficulty_after_it_applies() {
    let mut session = connect();
    assert!(hear(&mut session, &notify(1, true)).is_empty());
    let first = job(&hear(&mut session, SUBSCRIBED));
    assert_eq!((first.target, first.version_mask), (Target::difficulty_one(), 0));
    let late = hear(&mut session, r#"{"id":null,"method":"mining.set_difficulty","params":[4]}"#);
    let second = job(&late);
    assert!(second.continues);
    assert_eq!(second.target, Target::from_difficulty(Difficulty::new(4.0).unwrap()));
}

#[test]
fn a_pool_without_extensions_is_mined_on_without_rolling() {
    for answer in [
        r#"{"id":1,"result":null,"error":[20,"unknown method",null]}"#,
        r#"{"id":1,"result":{"version-rolling":false},"error":null}"#,
        r#"{"id":1,"result":null,"error":null}"#,
    ] {
        let mut session = connect();
        assert!(matches!(hear(&mut session, answer)[..], [ClientEvent::Notice(_)]), "{answer}");
        hear(&mut session, SUBSCRIBED);
        assert_eq!(job(&hear(&mut session, &notify(1, true))).version_mask, 0);
        session.report_energy(json!({}), moment(1));
        assert!(matches!(
            events(&mut session)[..],
            [ClientEvent::EnergyVerdict { result: Err(_), .. }]
        ));
    }
    let plain =
        ClientSettings { version_mask: 0, energy: false, suggest_difficulty: None, ..settings() };
    let mut session = ClientSession::new(plain, moment(0));
    assert!(sent(&mut session).starts_with(r#"{"id":1,"method":"mining.subscribe""#));
}

#[test]
fn refusals_in_every_shape() {
    let mut session = ready();
    let mut verdict = |answer: &str| {
        session.submit(&solution(), moment(1));
        let line = sent(&mut session);
        let id = line.split([':', ',']).nth(1).unwrap().to_owned();
        match hear(&mut session, &answer.replace('@', &id)).pop() {
            Some(ClientEvent::Verdict { result, .. }) => result.map_err(|e| (e.code, e.message)),
            other => panic!("{other:?}"),
        }
    };
    let error = |code, words: &str| Err((code, words.to_owned()));
    assert_eq!(verdict(r#"{"id":"@","result":true,"error":null}"#), Ok(()), "a quoted number");
    let low = r#"{"id":@,"result":null,"error":[23,"low difficulty share",null]}"#;
    assert_eq!(verdict(low), error(23, "low difficulty share"));
    let object = r#"{"id":@,"error":{"code":21,"message":"stale"}}"#;
    assert_eq!(verdict(object), error(21, "stale"));
    assert_eq!(verdict(r#"{"id":@,"error":"above target"}"#), error(20, "above target"));
    let none = error(20, "refused without a reason");
    assert_eq!(verdict(r#"{"id":@,"result":false,"error":null}"#), none);
    assert_eq!(verdict(r#"{"id":@,"result":null,"error":null}"#), none);
}

#[test]
fn more_workers_are_let_in_each_by_its_own_answer() {
    let mut session = ready();
    let (first, second) =
        (session.authorize_too("addr.rig2", moment(10)), session.authorize_too("b\"d", moment(10)));
    let mut sent = Vec::new();
    session.transmit(&mut sent);
    let sent = String::from_utf8(sent).unwrap();
    let asked: Vec<Value> = sent.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., two, three] = &asked[..] else { panic!("{sent}") };
    assert_eq!((&two["params"][0], &three["params"][0]), (&json!("addr.rig2"), &json!("b\"d")));
    let refused = format!("{{\"id\":{},\"error\":[24,\"no address\",null]}}\n", three["id"]);
    let taken = format!("{{\"id\":{},\"result\":true}}\n", two["id"]);
    session.receive((refused + &taken).as_bytes(), moment(11)).unwrap();
    assert!(matches!(
        events(&mut session)[..],
        [
            ClientEvent::WorkerVerdict { token: a, result: Err(_) },
            ClientEvent::WorkerVerdict { token: b, result: Ok(()) },
        ] if (a, b) == (second, first)
    ));
    let late = session.authorize_too("addr.rig4", moment(12));
    session.timeout(moment(42));
    assert!(matches!(
        events(&mut session)[..],
        [ClientEvent::WorkerVerdict { token, result: Err(_) }] if token == late
    ));
}

#[test]
fn what_is_never_answered_is_given_up() {
    let mut session = ready();
    let token = session.submit(&solution(), moment(10));
    session.report_energy(json!({"worker": "addr.rig1"}), moment(11));
    assert_eq!(session.next_timeout(), Some(Duration::from_secs(30)), "the suggestion");
    session.timeout(moment(40));
    assert!(matches!(
        events(&mut session)[..],
        [ClientEvent::Verdict { token: of, result: Err(_), .. }] if of == token
    ));
    session.timeout(moment(41));
    assert!(matches!(
        events(&mut session)[..],
        [ClientEvent::EnergyVerdict { result: Err(_), .. }]
    ));
    assert_eq!((session.next_timeout(), session.unanswered_requests()), (None, 0));

    let mut silent = connect();
    silent.timeout(moment(30));
    let events = events(&mut silent);
    assert!(
        matches!(&events[..], [ClientEvent::Notice(_), ClientEvent::Closed { reason }]
        if reason.contains("mining.subscribe")),
        "{events:?}"
    );
    assert_eq!(silent.receive(b"\n", moment(31)), Err(Fatal::Closed));
}

#[test]
fn refused_subscriptions_end_and_refused_users_are_told() {
    for answer in [
        r#"{"id":2,"result":null,"error":[20,"full",null]}"#,
        r#"{"id":2,"result":true,"error":null}"#,
        r#"{"id":2,"result":[[],"zz",8],"error":null}"#,
        r#"{"id":2,"result":[[],"aabbccdd",33],"error":null}"#,
        r#"{"id":2,"result":[[],"aabbccdd",-1],"error":null}"#,
    ] {
        let events = hear(&mut connect(), answer);
        assert!(matches!(events[..], [ClientEvent::Closed { .. }]), "{answer}: {events:?}");
    }
    let refused = r#"{"id":3,"result":null,"error":[24,"no such address",null]}"#;
    let events = hear(&mut connect(), refused);
    assert!(matches!(&events[..], [ClientEvent::AuthorizationFailed { message }]
        if message == "no such address (code 24)"));
}

#[test]
fn messages_and_questions_of_a_pool() {
    let mut session = ready();
    let reconnect =
        r#"{"id":null,"method":"client.reconnect","params":["b.example","3334",90000]}"#;
    assert!(matches!(&hear(&mut session, reconnect)[..],
        [ClientEvent::Reconnect { host: Some(host), port: Some(3334), wait }]
            if host == "b.example" && *wait == Duration::from_secs(3600)));
    let nowhere = r#"{"id":null,"method":"client.reconnect","params":[]}"#;
    assert!(matches!(
        hear(&mut session, nowhere)[..],
        [ClientEvent::Reconnect { host: None, port: None, wait: Duration::ZERO }]
    ));
    let message = r#"{"id":null,"method":"client.show_message","params":["a\u0007b"]}"#;
    assert!(matches!(&hear(&mut session, message)[..], [ClientEvent::Message(m)] if m == "ab"));
    for (method, answer) in [
        ("client.get_version", r#""result":"rig/1""#),
        ("mining.ping", r#""result":"pong""#),
        ("mining.make_coffee", "[20,"),
    ] {
        hear(&mut session, &format!(r#"{{"id":"q","method":"{method}","params":[]}}"#));
        assert!(sent(&mut session).contains(answer), "{method}");
    }
    hear(&mut session, r#"{"id":null,"method":"mining.make_coffee","params":[]}"#);
    assert_eq!(sent(&mut session), "");
}

#[test]
fn nonsense_is_borne_ten_times() {
    let good = notify(1, true);
    let bad_jobs = [
        good.replace("1d00ffff", "00000000"),
        good.replace("495fab29", "495fab2900"),
        good.replace("[]", "[\"00\"]"),
        good.replace("true]", "5]"),
        good.replace("[]", &json!(vec!["00".repeat(32); 33]).to_string()),
        r#"{"method":"mining.notify","params":["1"]}"#.to_owned(),
        r#"{"method":"mining.set_difficulty","params":[0]}"#.to_owned(),
        r#"{"method":"mining.set_extranonce","params":[1,2]}"#.to_owned(),
        r#"{"method":"mining.set_version_mask","params":["+fffe000"]}"#.to_owned(),
        "no JSON".to_owned(),
    ];
    let mut session = ready();
    for line in &bad_jobs {
        let events = hear(&mut session, line);
        assert!(matches!(events[..], [ClientEvent::Notice(_)]), "{line}: {events:?}");
    }
    assert_eq!(session.receive(b"no JSON\n", moment(1)), Err(Fatal::Garbage(11)));
    let long = vec![b' '; MAX_LINE + 1];
    assert_eq!(ready().receive(&long, moment(1)), Err(Fatal::LineTooLong(MAX_LINE)));
}

#[test]
fn shares_past_the_limit_are_refused_here() {
    let mut session = ready();
    while session.requests.has_room() {
        session.submit(&solution(), moment(1));
    }
    let token = session.submit(&solution(), moment(1));
    assert!(matches!(
        events(&mut session)[..],
        [ClientEvent::Verdict { token: of, result: Err(_), .. }] if of == token
    ));
    session.timeout(moment(31));
    let lost = events(&mut session).len();
    assert_eq!(session.unanswered_requests(), 0);
    assert_ne!(session.submit(&solution(), moment(31)), token);
    assert!(lost > 4000);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
    ) {
        for mut session in [connect(), ready()] {
            for chunk in &chunks {
                if session.receive(chunk, moment(1)).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn no_message_makes_it_panic(
        method in prop::sample::select(vec![
            "mining.notify", "mining.set_difficulty", "mining.set_extranonce",
            "mining.set_version_mask", "client.reconnect", "client.show_message", "x",
        ]),
        texts in prop::collection::vec("[0-9a-f]{0,70}|.{0,8}", 0..11),
        number in any::<f64>(),
        at in 0_usize..11,
        id in 0_u64..8,
    ) {
        let mut params: Vec<Value> = texts.into_iter().map(Value::from).collect();
        params.insert(at.min(params.len()), json!(number));
        let mut session = connect();
        for line in [
            json!({"id": null, "method": method, "params": params}),
            json!({"id": id, "result": params, "error": null}),
            json!({"id": id, "result": null, "error": params}),
        ] {
            let _ = session.receive(format!("{line}\n").as_bytes(), moment(1));
        }
        let mut out = Vec::new();
        session.transmit(&mut out);
        for line in out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            prop_assert!(Message::parse(line).is_some());
        }
    }
}
