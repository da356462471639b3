//! What the pool says unasked, and the bounds of what it gives for little.

use super::tests::{Bench, XN1, YES, submit_line};
use super::*;
use crate::job::Listing;
use crate::known_blocks::GENESIS;

fn job(id: u64, epoch: u64, change: impl FnOnce(&mut Job)) -> Arc<Job> {
    let mut template = GENESIS.template();
    template.prev_hash[0] = u8::try_from(epoch).unwrap();
    let mut job = Job::new(id, template, false, epoch, 0);
    change(&mut job);
    Arc::new(job)
}

/// At work with room for few credited headers, and no variable difficulty that would move.
fn cramped(room: usize) -> Bench {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    settings.difficulty.vardiff = false;
    settings.limits.max_seen = room;
    let mut bench = Bench::with(settings, XN1);
    bench.handshake();
    bench.set_job(1, 1);
    bench.read();
    bench
}

const SUBSCRIBE: &str = r#"{"id":3,"method":"mining.extranonce.subscribe","params":[]}"#;

#[test]
fn a_full_memory_moves_the_miner_to_another_extranonce() {
    let mut bench = cramped(8);
    bench.say(SUBSCRIBE);
    for nonce in 0..7 {
        assert_eq!(bench.submit("1", nonce), YES);
        assert_eq!(bench.extranonces, 0);
    }
    assert_eq!(bench.submit("1", 7), YES);
    assert_eq!(bench.extranonces, 1);
    assert!(bench.submit("1", 8).contains("[20,"), "the old space is full");
    assert_eq!(bench.extranonces, 1, "asked once");

    bench.session.set_extranonce([1, 2, 3, 4]);
    assert_eq!(bench.session.xn1(), [1, 2, 3, 4]);
    let written = bench.read();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[0], r#"{"id":null,"method":"mining.set_extranonce","params":["01020304",8]}"#);
    assert!(lines[1].contains(r#""params":["1-1","#) && lines[1].ends_with("true]}"), "{written}");
    assert_eq!(lines.len(), 2);
    assert_eq!(bench.submit("1-1", 0), YES, "the same nonce is another header");
    assert_eq!(bench.shares.last().unwrap().xn1, [1, 2, 3, 4]);
    assert!(bench.submit("1", 3).contains("[22,"), "the old job keeps its extranonce and memory");
    assert!(bench.submit("1-1", 0).contains("[22,"));
    for nonce in 1..8 {
        assert_eq!(bench.submit("1-1", nonce), YES);
    }
    assert_eq!(bench.extranonces, 2, "and so on");
    // The next job needs no word about it.
    bench.session.set_job(job(2, 1, |_| {}), bench.now);
    let written = bench.read();
    assert!(written.contains(r#""params":["2","#) && !written.contains("set_extranonce"));
    assert!(written.ends_with("false]}\n"));
}

#[test]
fn shares_on_a_job_issued_before_keep_their_extranonce() {
    let mut bench = cramped(100);
    bench.say(SUBSCRIBE);
    bench.session.set_extranonce([1, 2, 3, 4]);
    bench.read();
    assert_eq!(bench.submit("1", 0), YES);
    assert_eq!(bench.submit("1-1", 0), YES);
    assert_eq!([bench.shares[0].xn1, bench.shares[1].xn1], [XN1, [1, 2, 3, 4]]);
    assert!(bench.submit("1", 0).contains("[22,"));
    // A job that asks for no fresh start asks for one with a new extranonce.
    bench.session.set_extranonce([5; 4]);
    bench.session.set_job(job(2, 1, |_| {}), bench.now);
    let written = bench.read();
    assert!(written.contains(r#""params":["05050505",8]"#), "{written}");
    assert!(written.contains(r#""params":["2","#) && written.ends_with("true]}\n"), "{written}");
    // Four spaces are remembered; what is older is refused rather than credited twice.
    for byte in 6..9 {
        bench.session.set_extranonce([byte; 4]);
        bench.read();
    }
    assert!(bench.submit("1", 0).contains("[21,"));
    assert!(bench.submit("1-1", 0).contains("[21,"));
    assert_eq!(bench.submit("2", 0), YES);
}

#[test]
fn a_miner_that_takes_no_extranonce_is_refused_as_before() {
    let mut bench = cramped(3);
    for nonce in 0..3 {
        assert_eq!(bench.submit("1", nonce), YES);
    }
    assert!(bench.submit("1", 3).contains("[20,"));
    assert_eq!(bench.extranonces, 0);
    bench.session.set_extranonce([1, 2, 3, 4]);
    assert_eq!((bench.session.xn1(), bench.read().as_str()), (XN1, ""));
    // BIP 310's extension is the same wish.
    bench.say(r#"{"id":3,"method":"mining.configure","params":[["subscribe-extranonce"],{}]}"#);
    assert!(bench.submit("1", 4).contains("[20,"));
    assert_eq!(bench.extranonces, 1, "a memory that was full already is seen");
    bench.session.set_extranonce([1, 2, 3, 4]);
    bench.read();
    assert_eq!(bench.submit("1-1", 4), YES);
}

#[test]
fn a_job_carries_the_version_bits_that_it_permits() {
    let mut bench = Bench::new();
    bench.say(r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"00ffe000"}]}"#);
    bench.handshake();
    bench.session.set_job(job(1, 1, |_| {}), bench.now);
    assert!(!bench.read().contains("set_version_mask"), "what was granted needs no word");
    bench.session.set_job(job(2, 1, |job| job.version_mask = !0x2000), bench.now);
    let written = bench.read();
    let first = written.lines().next().unwrap();
    assert_eq!(first, r#"{"id":null,"method":"mining.set_version_mask","params":["00ffc000"]}"#);
    let rolled = |name: &str, bits| {
        submit_line(name, 3).replace("\"00000003\"", &format!("\"3\",\"{bits}\""))
    };
    assert_eq!(bench.say(&rolled("1", "00002000")), YES, "as it was issued");
    assert!(bench.say(&rolled("2", "00002000")).contains("version bits outside"));
    assert_eq!(bench.say(&rolled("2", "00004000")), YES);
    bench.session.set_job(job(3, 1, |_| {}), bench.now);
    assert!(bench.read().contains(r#""mining.set_version_mask","params":["00ffe000"]}"#));
    assert_eq!(bench.say(&rolled("3", "00006000")), YES);

    let mut plain = Bench::at_work();
    plain.session.set_job(job(2, 1, |job| job.version_mask = !0x2000), plain.now);
    assert!(!plain.read().contains("set_version_mask"), "who rolls nothing is told nothing");
}

#[test]
fn miners_are_sent_on_only_once_they_have_subscribed() {
    let mut bench = Bench::new();
    let wait = Duration::from_millis(7900);
    bench.session.reconnect("b.example", 3333, wait);
    assert_eq!(bench.read(), "");
    bench.handshake();
    bench.session.reconnect("b.example", 3333, wait);
    bench.session.close();
    assert_eq!(
        bench.read(),
        "{\"id\":null,\"method\":\"client.reconnect\",\"params\":[\"b.example\",3333,7]}\n"
    );
}

const QUESTION: &str = "{\"id\":1,\"method\":\"client.get_version\",\"params\":[]}\n";

#[test]
fn a_miner_without_a_name_is_asked_for_it_once() {
    for subscribe in [
        r#"{"id":1,"method":"mining.subscribe"}"#,
        r#"{"id":1,"method":"mining.subscribe","params":[null,null]}"#,
        r#"{"id":1,"method":"mining.subscribe","params":[" "]}"#,
    ] {
        let mut bench = Bench::new();
        assert!(!bench.say(subscribe).contains("get_version"), "not before it is at work");
        bench.say(r#"{"id":1,"result":"too early","error":null}"#);
        let answer = bench.say(r#"{"id":2,"method":"mining.authorize","params":["good","x"]}"#);
        assert!(!answer.contains("get_version"), "work comes first");
        bench.set_job(1, 1);
        let written = bench.read();
        assert!(written.ends_with(QUESTION), "{written}");
        bench.set_job(2, 1);
        assert!(!bench.read().contains("get_version"));
        assert_eq!(bench.say(r#"{"id":7,"result":"not asked","error":null}"#), "");
        let long = "x".repeat(200);
        let line = format!(r#"{{"id":1,"result":"a\u0007\n{long}","error":null}}"#);
        assert_eq!(bench.say(&line), "");
        assert_eq!(bench.say(r#"{"id":1,"result":"again","error":null}"#), "");
        assert_eq!(bench.agents, [format!("a{}", &long[..127])], "once, bounded and readable");
    }
    let mut named = Bench::at_work();
    assert_eq!(named.say(r#"{"id":1,"result":"other","error":null}"#), "");
    assert!(named.agents.is_empty());
    let mut odd = Bench::new();
    odd.say(r#"{"id":1,"method":"mining.subscribe"}"#);
    odd.set_job(1, 1);
    assert!(
        odd.say(r#"{"id":2,"method":"mining.authorize","params":["good"]}"#).ends_with(QUESTION)
    );
    odd.say(r#"{"id":1,"result":{"version":5},"error":null}"#);
    assert!(odd.agents.is_empty(), "what is no text is no name");
}

fn ask_for(bench: &mut Bench, name: &str) -> String {
    bench.say(&format!(r#"{{"id":8,"method":"mining.get_transactions","params":["{name}"]}}"#))
}

#[test]
fn transactions_are_listed_once_for_each_job() {
    let listed = |id| job(id, 1, |job| job.transactions = Listing::Json(r#"["00ff"]"#.into()));
    let mut bench = Bench::at_work();
    assert!(ask_for(&mut bench, "1").contains("[20,\"the job's transactions are not known\""));
    bench.session.set_job(listed(2), bench.now);
    bench.read();
    assert_eq!(ask_for(&mut bench, "2"), "{\"id\":8,\"result\":[\"00ff\"],\"error\":null}\n");
    assert!(ask_for(&mut bench, "2").contains("[20,\"the job's transactions were sent already\""));
    bench.say(r#"{"id":5,"method":"mining.suggest_difficulty","params":["0.000000001"]}"#);
    assert!(ask_for(&mut bench, "2-1").contains("sent already"), "the same job by another name");
    assert!(ask_for(&mut bench, "3").contains("[20,\"job not found\""));
    bench.session.set_job(listed(3), bench.now);
    bench.read();
    assert!(ask_for(&mut bench, "3").contains("00ff"));
    let line = r#"{"id":8,"method":"mining.get_transactions"}"#;
    assert!(bench.say(line).contains("[20,\"job not found\""));
}

#[test]
fn a_long_list_is_no_weapon() {
    let mut bench = Bench::at_work();
    let long = job(2, 1, |job| job.transactions = Listing::TooLong(2_000_000));
    bench.session.set_job(long, bench.now);
    bench.read();
    assert!(ask_for(&mut bench, "2").contains("2000000 bytes of transactions; at most 32768"));

    // Lists of many jobs asked for at once: no more than a connection may leave unread.
    let bytes = vec![7; Listing::MAX_BYTES];
    let mut asked = String::new();
    for id in 3..40 {
        let list = Listing::of(std::iter::once(&bytes[..]));
        bench.session.set_job(job(id, 1, |job| job.transactions = list), bench.now);
        bench.read();
        asked += &format!(
            "{{\"id\":8,\"method\":\"mining.get_transactions\",\"params\":[\"{id:x}\"]}}\n"
        );
    }
    bench.session.receive(asked.as_bytes(), bench.now).unwrap();
    let written = bench.read();
    assert!(written.len() <= bench.session.settings.limits.max_outbox, "{}", written.len());
    assert_eq!(written.matches("0707").count() / (Listing::MAX_BYTES / 2), 1);
    assert_eq!(written.matches("too many unanswered requests").count(), 36);
    let refused = ask_for(&mut bench, "4");
    assert!(refused.contains("0707"), "what was refused may be asked for again");

    let mut turns = 0;
    let fatal = loop {
        let line = b"{\"id\":8,\"method\":\"mining.get_transactions\",\"params\":[\"3\"]}\n";
        match bench.session.receive(line, bench.now) {
            Ok(()) => turns += 1,
            Err(fatal) => break fatal,
        }
        bench.read();
    };
    assert_eq!(fatal, Fatal::Nuisance);
    assert!(turns <= 1000, "{turns}");
}

#[test]
fn a_list_leaves_room_for_the_answers_after_it() {
    let mut bench = Bench::at_work();
    let list: Arc<str> = format!("[\"{}\"]", "0".repeat(10_000)).into();
    let length = list.len();
    let listed = job(2, 1, |job| job.transactions = Listing::Json(list));
    bench.session.set_job(listed, bench.now);
    bench.read();
    for (room, fits) in [(length - 1, false), (length, true)] {
        Arc::make_mut(&mut bench.session.settings).limits.max_outbox = 16_384 + room;
        assert_eq!(ask_for(&mut bench, "2").contains("0000"), fits);
    }
}
