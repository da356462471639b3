//! The generator against a pool in this process: real sessions, crumbs of lines, refusals, hang-ups.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use serde_json::Value;

use super::*;

const NOTIFY: &str = concat!(
    r#"{"id":null,"method":"mining.notify","params":["1","#,
    r#""ab02cd818b9e567ee21793cddef299feb29ad444a41b85b8000008a300000000","#,
    r#""0100","0200",[],"20000000","1703a30c","6a001234",true]}"#
);

/// What a pool in a test does with its connections.
#[derive(Clone, Copy, PartialEq)]
enum Temper {
    /// Everything is right, written in crumbs.
    Kind,
    /// Every tenth share is stale.
    Strict,
    /// Nobody may mine.
    Closed,
    /// Hangs up after this many lines.
    Short(usize),
}

/// Answers each connection on a thread of its own until the miner hangs up.
fn pool(temper: Temper) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap(), temper));
        }
    });
    address
}

fn serve(mut stream: TcpStream, temper: Temper) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for (count, line) in lines.map_while(Result::ok).enumerate() {
        if matches!(temper, Temper::Short(most) if count >= most) {
            return;
        }
        let answer = answer(&serde_json::from_str(&line).unwrap(), temper, count);
        // Whoever has hung up wants no answer.
        let crumbs = if count < 4 { 7 } else { answer.len() };
        for crumb in answer.as_bytes().chunks(crumbs) {
            if stream.write_all(crumb).is_err() {
                return;
            }
        }
    }
}

fn answer(call: &Value, temper: Temper, count: usize) -> String {
    let id = &call["id"];
    let method = call["method"].as_str().unwrap();
    match method {
        "mining.subscribe" => format!("{{\"id\":{id},\"result\":[[],\"aabbccdd\",4]}}\n"),
        _ if temper == Temper::Closed => {
            format!("{{\"id\":{id},\"result\":null,\"error\":[24,\"not here\",null]}}\n")
        }
        "mining.authorize" => format!(
            "{{\"id\":{id},\"result\":true}}\n\
             {{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[1e-9]}}\n{NOTIFY}\n"
        ),
        _ if temper == Temper::Strict && count % 10 == 9 => {
            format!("{{\"id\":{id},\"result\":null,\"error\":[21,\"stale job\",null]}}\n")
        }
        _ => format!("{{\"id\":{id},\"result\":true,\"error\":null}}\n"),
    }
}

fn short(temper: Temper) -> Options {
    let usual = Options::usual(pool(temper));
    Options { connections: 3, in_flight: 5, seconds: 0.2, warm_up: 0.05, ..usual }
}

#[test]
fn everything_that_is_sent_is_answered_and_counted() {
    for rate in [None, Some(500.0)] {
        for roll in [false, true] {
            let options = Options { rate, roll, ..short(Temper::Kind) };
            let report = run(&options, &crate::clock::read()).unwrap();
            let counted = u64::try_from(report.window.delays.len()).unwrap();
            assert!(report.window.accepted > 0 && counted == report.window.accepted, "{report:?}");
            assert!(report.accepted >= report.window.accepted && report.refused.is_empty());
            assert_eq!((report.unanswered, report.lost.len()), (0, 0));
        }
    }
}

#[test]
fn refusals_are_told_apart_and_idle_miners_send_nothing() {
    let report = run(&short(Temper::Strict), &crate::clock::read()).unwrap();
    let refused = &report.refused[&(21, "stale job".to_owned())];
    assert!((5..20).contains(&(report.accepted / refused)), "{report:?}");
    assert!(report.text().contains("21 stale job"), "{}", report.text());

    let options = Options { idle: true, ..short(Temper::Short(2)) };
    let report = run(&options, &crate::clock::read()).unwrap();
    assert_eq!((report.accepted, report.lost.len()), (0, 0), "a share would have been the end");
}

#[test]
fn who_gets_no_work_says_why_and_who_loses_it_is_counted() {
    let error = run(&short(Temper::Closed), &crate::clock::read()).unwrap_err().to_string();
    assert!(error.contains("mining.authorize: 24 \"not here\""), "{error}");
    let error = run(&short(Temper::Short(1)), &crate::clock::read()).unwrap_err().to_string();
    assert!(error.contains("lost before it had work"), "{error}");
    let report = run(&short(Temper::Short(30)), &crate::clock::read()).unwrap();
    assert_eq!(report.lost.values().sum::<u64>(), 3);
}

#[test]
fn too_many_connections_for_the_files_are_refused_beforehand() {
    let limit = process::file_limit().unwrap();
    let error = enough_files(u32::try_from(limit).unwrap()).unwrap_err().to_string();
    assert!(error.contains(&format!("the limit is {limit}")), "{error}");
    assert!(enough_files(1).is_ok());
}

#[test]
fn the_json_has_the_figures() {
    let pid = Some(std::process::id());
    let report = run(&Options { pid, ..short(Temper::Kind) }, &crate::clock::read()).unwrap();
    let object = report.json();
    assert_eq!(object["accepted_total"], report.accepted);
    assert!(object["accepted_per_second"].as_f64().unwrap() > 0.0);
    assert!(object["cpu_us_per_share"].as_f64().is_some(), "{object}");
    assert!(object["bytes_per_connection"].as_f64().is_some(), "{object}");
    assert_eq!(object["bursts"], serde_json::json!([]));
}
