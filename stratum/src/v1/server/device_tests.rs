//! Sessions of particular kinds of miners: where their difficulty starts, below which it never
//! goes, and which jobs they are given.

use super::tests::Bench;
use super::*;
use crate::device::DeviceClass;
use crate::known_blocks::GENESIS;

/// A port for everybody, as it is set up unless an operator says otherwise.
fn bench() -> Bench {
    Bench::with(Settings::default(), [1, 2, 3, 4])
}

fn subscribe(bench: &mut Bench, agent: &str) {
    bench.say(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["{agent}"]}}"#));
}

fn authorize(bench: &mut Bench, password: &str) -> String {
    bench.say(&format!(r#"{{"id":2,"method":"mining.authorize","params":["good","{password}"]}}"#))
}

fn suggest(bench: &mut Bench, difficulty: &str) -> String {
    bench
        .say(&format!(r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{difficulty}]}}"#))
}

fn job(id: u64, coinbase: usize) -> Job {
    let mut template = GENESIS.template();
    // Without the 4 and 8 bytes of the extranonces.
    template.coinbase2 = vec![0; coinbase - 12 - template.coinbase1.len()];
    Job::new(id, template, true, 1, 0)
}

#[test]
fn small_and_large_devices_start_where_their_kind_does() {
    for (agent, start) in [("NerdMinerV2", 1e-5), ("bitaxe/BM1370", 64.0), ("new thing", 1.0)] {
        let mut bench = bench();
        subscribe(&mut bench, agent);
        assert_eq!(bench.session.difficulty().get(), start, "{agent}");
    }
    let mut late = bench();
    late.set_job(1, 1);
    subscribe(&mut late, "");
    assert!(authorize(&mut late, "x").contains("client.get_version"));
    late.say(r#"{"id":1,"result":"NerdMinerV2","error":null}"#);
    assert_eq!(late.session.difficulty().get(), 1e-5, "the name comes with the answer");
}

#[test]
fn what_a_miner_or_an_operator_says_comes_before_its_kind() {
    let mut wished = bench();
    suggest(&mut wished, "7");
    subscribe(&mut wished, "NerdMinerV2");
    assert_eq!(wished.session.difficulty().get(), 7.0);
    suggest(&mut wished, "8");
    assert_eq!(wished.session.difficulty().get(), 8.0);
    let answer = wished.say(r#"{"id":4,"method":"mining.suggest_difficulty(16)","params":[]}"#);
    assert!(answer.contains(r#""result":true"#), "{answer}");
    assert_eq!(wished.session.difficulty().get(), 16.0);

    let mut settings = Settings::default();
    settings.difficulty.vardiff = false;
    let mut fixed = Bench::with(settings.clone(), [1, 2, 3, 4]);
    subscribe(&mut fixed, "NerdMinerV2");
    assert_eq!(fixed.session.difficulty().get(), 1.0);
    settings.difficulty.vardiff = true;
    settings.difficulty.min = Difficulty::new(0.5).unwrap();
    let mut bounded = Bench::with(settings, [1, 2, 3, 4]);
    subscribe(&mut bounded, "NerdMinerV2");
    assert_eq!(bounded.session.difficulty().get(), 0.5);
}

#[test]
fn rented_hash_rate_gets_no_easier_shares_than_it_takes() {
    let least = DeviceClass::of("NiceHash/1.0.0").minimum.unwrap();
    for ask in ["[1]", "[1e-9]"] {
        let mut bench = bench();
        subscribe(&mut bench, "NiceHash/1.0.0");
        bench.say(&format!(r#"{{"id":3,"method":"mining.suggest_difficulty","params":{ask}}}"#));
        assert_eq!(bench.session.difficulty().get(), least, "{ask}");
        authorize(&mut bench, "d=4");
        assert_eq!(bench.session.difficulty().get(), least, "a password");
    }
    let mut early = bench();
    suggest(&mut early, "2");
    subscribe(&mut early, "NiceHash/1.0.0");
    assert_eq!(early.session.difficulty().get(), least, "asked for before it said what it is");
    let floor = r#"{"id":3,"method":"mining.configure","params":[["minimum-difficulty"],{"minimum-difficulty.value":1}]}"#;
    early.say(floor);
    suggest(&mut early, "2");
    assert_eq!(early.session.difficulty().get(), least, "its own floor is below");
    // Nothing comes for ten minutes: it is lowered no further.
    early.set_job(1, 1);
    authorize(&mut early, "x");
    for _ in 0..300 {
        early.now = early.now.after(Duration::from_secs(2));
        early.session.timeout(early.now);
    }
    assert_eq!(early.session.difficulty().get(), least);
}

#[test]
fn a_suggestion_below_the_minimum_gets_the_minimum() {
    let mut settings = Settings::default();
    settings.difficulty.min = Difficulty::new(1024.0).unwrap();
    settings.difficulty.start = Difficulty::new(4096.0).unwrap();
    let mut bench = Bench::with(settings, [1, 2, 3, 4]);
    subscribe(&mut bench, "rig/1");
    suggest(&mut bench, "0.5");
    assert_eq!(bench.session.difficulty().get(), 1024.0);
    let target = "f".repeat(64);
    bench.say(&format!(r#"{{"id":3,"method":"mining.suggest_target","params":["{target}"]}}"#));
    assert_eq!(bench.session.difficulty().get(), 1024.0);
    bench.say(r#"{"id":3,"method":"mining.suggest_difficulty(1e-9)"}"#);
    assert_eq!(bench.session.difficulty().get(), 1024.0);
    let answer = authorize(&mut bench, "d=1");
    assert!(answer.starts_with(r#"{"id":2,"result":true"#), "{answer}");
    let said = r#""client.show_message","params":["difficulty 1 is out of this port's range: it is 1024"]"#;
    assert!(answer.contains(said), "{answer}");
    assert!(!authorize(&mut bench, "d=2048").contains("show_message"), "within the range");
}

#[test]
fn a_coinbase_too_long_for_a_device_is_not_given_to_it() {
    for (agent, longest) in [("NerdMinerV2", 512), ("SparkMiner", 256), ("new thing", 750)] {
        for (length, fits) in [(longest, true), (longest + 1, false)] {
            let mut bench = bench();
            subscribe(&mut bench, agent);
            authorize(&mut bench, "x");
            assert_eq!(job(1, length).coinbase_length(8), length);
            bench.session.set_job(Arc::new(job(1, length)), bench.now);
            let written = bench.read();
            assert_eq!(written.contains("mining.notify"), fits, "{agent} {length}: {written}");
            assert_eq!(written.contains("client.show_message"), !fits, "{written}");
            assert_eq!(written.contains(&format!("{length} bytes")), !fits, "{written}");
            assert_eq!(bench.read(), "", "said once");
        }
    }
}

#[test]
fn a_smaller_job_takes_the_place_of_one_that_is_too_long() {
    let mut large = job(1, 900);
    let mut middle = job(2, 600);
    middle.smaller = Some(Arc::new(job(3, 300)));
    large.smaller = Some(Arc::new(middle));
    let large = Arc::new(large);
    for (agent, name) in [("bitaxe", "1"), ("new thing", "2"), ("NerdMinerV2", "3")] {
        let mut bench = Bench::new();
        subscribe(&mut bench, agent);
        // Every hash is a share.
        authorize(&mut bench, "d=1e-12");
        bench.session.set_job(Arc::clone(&large), bench.now);
        let written = bench.read();
        assert!(written.contains(&format!("mining.notify\",\"params\":[\"{name}\"")), "{written}");
        for other in ["1", "2", "3"] {
            let answer = bench.submit(other, 7);
            assert_eq!(answer.contains(r#""result":true"#), other == name, "{agent}: {answer}");
        }
        assert_eq!(bench.shares[0].job.id.to_string(), name);
        assert_eq!(bench.shares[0].coinbase().len(), bench.shares[0].job.coinbase_length(8));
    }
}

#[test]
fn an_extranonce2_too_short_for_a_kind_is_said() {
    let settings = Settings { xn2_size: 3, ..Settings::default() };
    let mut bench = Bench::with(settings, [1, 2, 3, 4]);
    let line = r#"{"id":1,"method":"mining.subscribe","params":["NiceHash/1.0.0"]}"#;
    assert!(bench.say(line).contains("extranonce2 of this port is too short"));
}

#[test]
fn a_miner_is_told_where_the_extranonce2_is_too_short_for_it() {
    for (size, told) in [(3, true), (4, false)] {
        let settings = Settings { xn2_size: size, ..Settings::default() };
        let mut bench = Bench::with(settings, [1, 2, 3, 4]);
        let line = r#"{"id":1,"method":"mining.subscribe","params":["nicehash/1.0"]}"#;
        assert_eq!(bench.say(line).contains("extranonce2 of this port is too short"), told);
    }
}
