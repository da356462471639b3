//! Subscriptions that are resumed, as transcripts of the connections before and after.

use super::tests::{Bench, XN1, YES, submit_line};
use super::*;

pub(super) const ID: &str = "000102030405060708090a0b0c0d0e0f";
const OTHER_ID: &str = "ffffffffffffffffffffffffffffffff";

fn id(first: u8) -> SubscriptionId {
    let bytes: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    SubscriptionId::new(bytes.map(|byte| byte ^ first))
}

pub(super) fn resumable() -> Bench {
    let mut bench = Bench::new();
    let now = bench.now;
    let settings = Arc::clone(&bench.session.settings);
    bench.session = Session::new(settings, XN1, now).resumable(id(0));
    bench
}

/// The miner's next connection, which asks for the subscription of its last one.
pub(super) fn again(before: &Bench) -> Bench {
    let mut bench = Bench::new();
    bench.now = before.now;
    let settings = Arc::clone(&before.session.settings);
    bench.session = Session::new(settings, [9; 4], before.now).resumable(id(1));
    bench
}

/// Subscribes with `earlier` and answers with what `kept` holds for it.
pub(super) fn subscribe_with(bench: &mut Bench, earlier: &str, kept: Option<Kept>) -> String {
    let line = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a/1\",\"{earlier}\"]}}\n"
    );
    bench.session.receive(line.as_bytes(), bench.now).unwrap();
    let mut kept = kept;
    let mut out = Vec::new();
    while let Some(event) = bench.session.poll() {
        if let Event::Resume { token, id } = event {
            let found = kept.take_if(|kept| kept.id() == id);
            bench.session.transmit(&mut out);
            assert_eq!(out, b"", "no answer before the pool's");
            bench.session.resume(token, found, bench.now);
            bench.session.resume(token, None, bench.now);
        }
    }
    bench.read()
}

pub(super) const AUTHORIZE: &str = r#"{"id":2,"method":"mining.authorize","params":["good","x"]}"#;

#[test]
fn the_id_is_given_with_the_subscription() {
    let mut bench = resumable();
    let answer = bench.say(r#"{"id":1,"method":"mining.subscribe","params":["a/1"]}"#);
    let expected = format!(
        "{{\"id\":1,\"result\":[[[\"mining.set_difficulty\",\"{ID}\"],[\"mining.notify\",\"{ID}\"]],\"aabbccdd\",8],\"error\":null}}\n"
    );
    assert_eq!(answer, expected);
    assert_eq!(format!("{:?}", id(0)), "SubscriptionId(secret)");
    assert!(!format!("{:?}", bench.session).contains("03, 04"), "no log shows it");
}

#[test]
fn a_resumed_subscription_goes_on_where_it_was() {
    let mut before = resumable();
    before.handshake();
    before.set_job(1, 1);
    before.read();
    assert_eq!(before.submit("1", 0), YES);
    // One more is under way to the ledger when the connection ends.
    before.acknowledge = false;
    before.submit("1", 1);
    let kept = before.session.end().kept.unwrap();
    assert_eq!((kept.xn1(), kept.headers()), (XN1, 2));
    assert!(before.session.end().kept.is_none(), "there is one of it");

    let mut after = again(&before);
    after.set_job(1, 1);
    let answer = subscribe_with(&mut after, ID, Some(kept));
    assert!(answer.contains(&format!("\"{ID}\"]],\"aabbccdd\",8]")), "{answer}");
    let answer = after.say(AUTHORIZE);
    // The same job again, told as a new one, so that a miner that starts over repeats nothing.
    assert!(answer.contains("mining.set_difficulty"), "{answer}");
    assert!(answer.contains(r#""params":["1-1","#), "{answer}");
    assert!(after.submit("1", 0).contains("[22,"), "credited before");
    assert!(after.submit("1", 1).contains("[22,"), "in flight is credited");
    assert_eq!(after.submit("1", 2), YES, "found while there was no connection");
    assert_eq!(after.submit("1-1", 3), YES);
    assert_eq!(after.shares[0].xn1, XN1);
}

#[test]
fn what_was_missed_is_caught_up_with() {
    let mut before = resumable();
    before.handshake();
    before.set_job(1, 1);
    before.read();
    let kept = before.session.end().kept.unwrap();
    // A block came while nobody was connected, and work was set before the subscription.
    let mut after = again(&before);
    after.set_job(2, 2);
    subscribe_with(&mut after, ID, Some(kept));
    assert!(after.say(AUTHORIZE).contains(r#""params":["2","#));
    assert!(after.submit("1", 0).contains("[21,\"stale job\""));

    // Without any work set there is none to give, not even what was new then.
    let kept = after.session.end().kept.unwrap();
    let mut last = again(&after);
    subscribe_with(&mut last, ID, Some(kept));
    assert!(!last.say(AUTHORIZE).contains("mining.notify"));
    assert_eq!(last.submit("2", 0), YES);
    last.set_job(3, 2);
    assert!(last.read().contains(r#""params":["3","#));
}

#[test]
fn what_is_withdrawn_when_a_subscription_goes_on_stays_so_and_old_work_is_stale() {
    let mut before = resumable();
    before.handshake();
    before.set_job(1, 1);
    before.read();
    assert_eq!(before.submit("1", 0), YES);
    let kept = before.session.end().kept.unwrap();
    let mut after = again(&before);
    after.set_job(2, 2);
    after.session.withdraw_job();
    subscribe_with(&mut after, ID, Some(kept));
    let answer = after.say(AUTHORIZE);
    assert!(!answer.contains("mining.notify"), "{answer}");
    assert!(after.submit("1", 1).contains("[21,"), "its block has a successor");
    after.set_job(3, 2);
    assert!(after.read().contains("mining.notify"));
}

#[test]
fn unknown_ids_begin_afresh() {
    let mut bench = resumable();
    bench.set_job(1, 1);
    let answer = subscribe_with(&mut bench, OTHER_ID, None);
    assert!(answer.contains(&format!("\"{ID}\"]],\"aabbccdd\"")), "{answer}");
    // What is no id is not looked for.
    for odd in ["", "null", "aabbccdd", &ID[1..], "zz0102030405060708090a0b0c0d0e0f"] {
        let mut bench = resumable();
        let answer = bench.say(&format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a\",\"{odd}\"]}}"
        ));
        assert!(answer.contains("aabbccdd\",8]"), "{odd}: {answer}");
    }
    // Nor by a pool that keeps none.
    let mut bench = Bench::new();
    let answer = bench
        .say(&format!("{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a\",\"{ID}\"]}}"));
    assert!(answer.contains("\"aabbccdd\"]],\"aabbccdd\",8]"), "{answer}");
    bench.say(AUTHORIZE);
    bench.set_job(1, 1);
    bench.read();
    assert!(bench.session.end().kept.is_none());
}

#[test]
fn a_subscription_is_chosen_once() {
    let mut bench = resumable();
    let line =
        format!("{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a\",\"{OTHER_ID}\"]}}\n");
    bench.session.receive(line.repeat(2).as_bytes(), bench.now).unwrap();
    let asked = |bench: &mut Bench| {
        let mut tokens = Vec::new();
        while let Some(event) = bench.session.poll() {
            if let Event::Resume { token, .. } = event {
                tokens.push(token);
            }
        }
        tokens
    };
    let tokens = asked(&mut bench);
    assert_eq!(tokens.len(), 1);
    assert!(bench.read().contains("[20,"), "the second waits for no answer of its own");
    bench.session.resume(tokens[0], None, bench.now);
    assert!(bench.read().contains("aabbccdd\",8]"));
    bench.session.receive(line.as_bytes(), bench.now).unwrap();
    assert_eq!(asked(&mut bench), [], "the subscription stays as it is");
    assert!(bench.read().contains("aabbccdd\",8]"));
}

#[test]
fn without_work_there_is_nothing_to_keep() {
    let mut bench = resumable();
    bench.set_job(1, 1);
    bench.say(r#"{"id":1,"method":"mining.subscribe"}"#);
    assert!(bench.session.end().kept.is_none());
    assert_eq!(bench.session.receive(b"\n", bench.now), Err(Fatal::Closed));
}

#[test]
fn difficulty_and_mask_are_kept_unless_asked_for_anew() {
    let configure = r#"{"id":5,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#;
    let ended = || {
        let mut before = resumable();
        before.say(configure);
        before.handshake();
        before.say(r#"{"id":6,"method":"mining.suggest_difficulty","params":[0.25]}"#);
        before.set_job(1, 1);
        before.read();
        let kept = before.session.end().kept;
        (before, kept)
    };
    let (before, kept) = ended();
    let mut after = again(&before);
    after.set_job(1, 1);
    subscribe_with(&mut after, ID, kept);
    let answer = after.say(AUTHORIZE);
    assert!(answer.contains(r#""mining.set_difficulty","params":[0.25]}"#), "{answer}");
    assert!(answer.contains(r#""mining.set_version_mask","params":["1fffe000"]}"#), "{answer}");

    let (before, kept) = ended();
    let mut after = again(&before);
    after.set_job(1, 1);
    after.say(&configure.replace("1fffe000", "00006000"));
    after.say(r#"{"id":6,"method":"mining.suggest_difficulty","params":[0.5]}"#);
    subscribe_with(&mut after, ID, kept);
    let answer = after.say(AUTHORIZE);
    assert!(answer.contains(r#""mining.set_difficulty","params":[0.5]}"#), "{answer}");
    assert!(!answer.contains("mining.set_version_mask"), "{answer}");
    let rolled = |bits| submit_line("1-1", 3).replace("\"00000003\"", &format!("\"3\",\"{bits}\""));
    assert!(after.say(&rolled("00008000")).contains("version bits outside"));
    assert!(after.say(&rolled("00006000")).contains("[23,"), "within the mask it is judged");
}

#[test]
fn a_miner_that_comes_back_again_and_again_keeps_getting_work() {
    let mut bench = resumable();
    bench.handshake();
    bench.set_job(1, 1);
    bench.read();
    for turn in 0..40_u32 {
        let kept = bench.session.end().kept;
        bench = again(&bench);
        bench.set_job(1, 1);
        subscribe_with(&mut bench, ID, kept);
        let answer = bench.say(AUTHORIZE);
        assert!(answer.contains("mining.notify\",\"params\":[\"1-"), "{turn}: {answer}");
        assert_eq!(bench.submit("1", turn), YES);
        assert!(bench.submit("1", turn / 2).contains("[22,"));
    }
}

#[test]
fn an_earlier_subscription_is_asked_for_only_where_there_is_one_and_room() {
    let ask = |bench: &mut Bench, earlier: &str| {
        let line = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a/1\",\"{earlier}\"]}}\n"
        );
        bench.session.receive(line.as_bytes(), bench.now).unwrap();
        bench.session.subscribed
    };
    assert!(!ask(&mut resumable(), OTHER_ID), "the pool is asked");
    assert!(ask(&mut resumable(), ID), "it is this connection's own");
    let mut full = resumable();
    let most = full.session.settings.limits.max_waiting;
    for _ in 0..most {
        full.session.receive(format!("{AUTHORIZE}\n").as_bytes(), full.now).unwrap();
    }
    assert!(ask(&mut full, OTHER_ID), "no more requests wait");
    assert_eq!(full.session.waiting.len(), most);
}

#[test]
fn who_takes_another_extranonce_takes_it_on_the_next_connection() {
    let line = r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#;
    for (first, second) in [(true, false), (false, true), (false, false)] {
        let mut before = resumable();
        before.handshake();
        before.set_job(1, 1);
        before.read();
        if first {
            before.say(line);
        }
        let kept = before.session.end().kept;
        let mut after = again(&before);
        if second {
            after.say(line);
        }
        subscribe_with(&mut after, ID, kept);
        let taken = after.session.set_extranonce([5; 4]).is_none();
        assert_eq!(taken, first || second, "{first} {second}");
    }
}
