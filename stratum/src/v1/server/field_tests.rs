//! How miners in the field write: anything that can be understood is understood.

use super::tests::{Bench, XN1, YES, submit_line};
use super::*;

#[test]
fn a_greeting_may_be_pipelined_in_any_order() {
    let lines = [
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#,
        r#"{"id":2,"method":"mining.subscribe","params":["field/1"]}"#,
        r#"{"id":3,"method":"mining.authorize","params":["good","x"]}"#,
        r#"{"id":4,"method":"mining.suggest_difficulty","params":[0.5]}"#,
        r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#,
    ];
    for turn in 0..120 {
        let mut order = lines.to_vec();
        let mut rest = turn;
        for last in (1..order.len()).rev() {
            order.swap(last, rest % (last + 1));
            rest /= last + 1;
        }
        let mut bench = Bench::new();
        bench.set_job(1, 1);
        let text = order.join("\n") + "\n";
        bench.session.receive(text.as_bytes(), bench.now).unwrap();
        let answer = bench.read();
        for id in 1..=5 {
            let ok = answer.lines().any(|line| {
                line.starts_with(&format!("{{\"id\":{id},\"result\":"))
                    && line.ends_with("\"error\":null}")
            });
            assert!(ok, "{id} in {order:?}: {answer}");
        }
        let work = answer.find("mining.notify\",\"params").unwrap();
        let difficulty = answer.find(r#""mining.set_difficulty","params":[0.5]}"#).unwrap();
        assert!(difficulty < work, "{answer}");
        let rolled = submit_line("1", 5).replace("\"00000005\"", "\"00000005\",\"00002000\"");
        assert!(bench.say(&rolled).contains("[23,"), "judged with the mask: {order:?}");
    }
}

#[test]
fn identifiers_are_echoed_whatever_they_are() {
    let mut bench = Bench::at_work();
    for (line, id) in [
        (r#"{"id":7,"method":"mining.ping"}"#, "7"),
        (r#"{"id":"7","method":"mining.ping"}"#, "\"7\""),
        (r#"{"id":null,"method":"mining.ping"}"#, "null"),
        (r#"{"method":"mining.ping"}"#, "null"),
        (r#"{"id":-1.5,"method":"mining.ping","params":null}"#, "-1.5"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"mining.ping","params":[],"x":{"y":[1]}}"#, "1"),
        ("\u{feff}{\"id\":1,\"method\":\"mining.ping\"}", "1"),
        ("  {\"id\":1,\"method\":\"mining.ping\"}\t\r", "1"),
    ] {
        let answer = bench.say(line);
        assert_eq!(
            answer,
            format!("{{\"id\":{id},\"result\":\"pong\",\"error\":null}}\n"),
            "{line}"
        );
    }
    let share = submit_line("1", 1).replace("\"id\":9", "\"id\":null");
    assert_eq!(bench.say(&share), YES.replace("\"id\":9", "\"id\":null"));
}

/// One miner says these ahead of `mining.subscribe` and takes the first line for its answer.
#[test]
fn a_hint_without_an_identifier_is_taken_and_not_answered() {
    let hints = [
        r#"{"id": null, "method": "mining.suggest_target", "params": ["000003e7fffcffffffffffffffffffffffffffffffffffffffffffffffffffff"]}"#,
        r#"{"id": null, "method": "mining.suggest_difficulty", "params": [0.5]}"#,
        r#"{"method":"mining.suggest_difficulty","params":["much"]}"#,
        r#"{"id":null,"method":"mining.capabilities","params":[{"notify":[],"set_difficulty":{}}]}"#,
    ];
    for hint in hints {
        assert_eq!(Bench::new().say(hint), "", "{hint}");
    }
    let mut bench = Bench::new();
    bench.set_job(1, 1);
    let greeting = [
        hints[1],
        r#"{"id":2,"method":"mining.subscribe","params":["field/1"]}"#,
        r#"{"id":3,"method":"mining.authorize","params":["good","x"]}"#,
    ];
    let answer = bench.say(&greeting.join("\n"));
    assert!(answer.starts_with("{\"id\":2,\"result\":[["), "{answer}");
    assert!(answer.contains(r#""mining.set_difficulty","params":[0.5]}"#), "{answer}");
}

#[test]
fn shares_are_read_as_miners_write_them() {
    let mut bench = Bench::at_work();
    let mut say = |xn2: &str, rest: &str| {
        bench.say(&format!(
            r#"{{"id":9,"method":"mining.submit","params":["good","1","{xn2}",{rest}]}}"#
        ))
    };
    let zero = "0000000000000000";
    assert_eq!(say(zero, r#""495fab29","0000000a""#), YES);
    // The same header in other spellings: each is understood, and none is credited again.
    for same in [
        r#""495FAB29","0000000A""#,
        r#""0x495fab29","0x0000000a""#,
        r#""0X495FAB29","0XA""#,
        r#""495fab29","a""#,
        r#""495fab29","0000000a",null"#,
        r#""495fab29","0000000a","00000000""#,
        r#""495fab29","0000000a","0""#,
        r#""495fab29","0000000a","00000001""#,
        r#""495fab29","0000000a","0x1""#,
    ] {
        assert!(say(zero, same).contains("[22,"), "{same}");
    }
    assert!(say(&format!("0x{zero}"), r#""495fab29","a""#).contains("[22,"));
    assert_eq!(say("00000000000000Ff", r#""495fab29","a""#), YES);
    assert!(say("0x00000000000000fF", r#""495fab29","a""#).contains("[22,"));
    for (xn2, bad) in [
        (zero, r#""495fab29","""#),
        (zero, r#""495fab29","0x""#),
        (zero, r#""495fab29","0x0x1""#),
        (zero, r#""495fab29","000000001""#),
        (zero, r#""495fab29","-1""#),
        (zero, r#""495fab29""#),
        (zero, r#""495fab29",10"#),
        ("00", r#""495fab29","a""#),
        ("0x00000000000000", r#""495fab29","a""#),
        (zero, r#""495fab29","a","00002000""#),
        (zero, r#""495fab29","a","0","0""#),
    ] {
        assert!(say(xn2, bad).contains("[20,"), "{xn2} {bad}");
    }
}

#[test]
fn difficulties_are_suggested_in_any_form() {
    let target = |difficulty: f64| {
        hex::encode(Target::from_difficulty(Difficulty::new(difficulty).unwrap()).to_be_bytes())
    };
    let (half, digits) = (target(0.5), target(0.5).trim_start_matches('0').to_owned());
    for (method, params) in [
        ("mining.suggest_difficulty", "[0.5]".to_owned()),
        ("mining.suggest_difficulty", "[\"0.5\"]".to_owned()),
        ("mining.suggest_difficulty", "[\" 5e-1 \"]".to_owned()),
        ("mining.suggest_difficulty", "[0.5,\"more\"]".to_owned()),
        ("mining.suggest_target", format!("[\"{half}\"]")),
        ("mining.suggest_target", format!("[\"0x{}\"]", half.to_uppercase())),
        ("mining.suggest_target", format!("[\"{digits}\"]")),
        (
            "mining.configure",
            r#"[["minimum-difficulty"],{"minimum-difficulty.value":"0.5"}]"#.to_owned(),
        ),
    ] {
        let mut bench = Bench::new();
        let answer = bench.say(&format!(r#"{{"id":1,"method":"{method}","params":{params}}}"#));
        assert!(answer.contains("true"), "{method} {params}: {answer}");
        let got = bench.session.difficulty().get();
        assert!((got - 0.5).abs() < 1e-9, "{method} {params}: {got}");
    }
}

#[test]
fn methods_of_vendors_end_nothing() {
    let mut bench = Bench::at_work();
    for method in [
        "mining.multi_version",
        "mining.get_work",
        "mining.capabilities",
        "mining.hashrate",
        "eth_submitHashrate",
        "mining.suggest_difficulty(much)",
        "",
    ] {
        for params in ["[4]", "{\"a\":1}", "null"] {
            let line = format!(r#"{{"id":4,"method":"{method}","params":{params}}}"#);
            assert_eq!(
                bench.say(&line),
                "{\"id\":4,\"result\":null,\"error\":[20,\"unknown method\",null]}\n"
            );
        }
    }
    assert!(bench.say(r#"{"id":null,"method":"x.y","z":true}"#).contains("\"id\":null"));
    assert_eq!(bench.submit("1", 1), YES, "the connection is as it was");
}

#[test]
fn users_are_known_by_their_names_without_what_surrounds_them() {
    let mut bench = Bench::new();
    bench.set_job(1, 1);
    bench.say(r#"{"id":1,"method":"mining.subscribe"}"#);
    for user in ["\u{feff}good.a", " good.a ", "good.a\\r\\n", "good.a\\u0000", "good.a"] {
        for password in ["", ",\"\"", ",\"x\"", ",null", ",5"] {
            let line =
                format!(r#"{{"id":2,"method":"mining.authorize","params":["{user}"{password}]}}"#);
            assert!(bench.say(&line).contains("\"result\":true"), "{line}");
        }
    }
    bench.say(r#"{"id":2,"method":"mining.authorize","params":["good.b"]}"#);
    let mut names: Vec<&str> = bench.session.workers().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["good.a", "good.b"], "several on a connection, each once");
    for (nonce, user) in ["good.b", "good.a", "\u{feff}good.a ", "good.b\\t"].iter().enumerate() {
        let line = submit_line("1", u32::try_from(nonce).unwrap())
            .replace("\"good\"", &format!("\"{user}\""));
        assert_eq!(bench.say(&line), YES, "{user}");
    }
    assert!(bench.say(&submit_line("1", 9).replace("\"good\"", "\"good .a\"")).contains("[24,"));
    assert!(bench.say(r#"{"id":2,"method":"mining.authorize","params":[" "]}"#).contains("[24,"));
}

#[test]
fn lines_may_end_as_on_other_systems() {
    let mut bench = Bench::with(Settings::default(), XN1);
    let text = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a\"]}\r\n\r\n\
                {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"good\",\"x\"]}\r\n";
    bench.session.receive(text.as_bytes(), bench.now).unwrap();
    assert_eq!(bench.read().lines().count(), 2);
    assert!(bench.session.is_ready());
}
