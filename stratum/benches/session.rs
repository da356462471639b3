//! What a share costs in a session: from the bytes of its line to the bytes of its answer.
//!
//! `cargo bench -p stratum` prints the best of several rounds, in nanoseconds of CPU a share, for
//! one share at a time and for batches of 32; with nonces rolled under one extranonce 2 and with
//! one extranonce 2 each; without transactions and with twelve branches. Every answer is checked.
//!
//! It deliberately has no socket and no ledger: `benches` measures those.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use stratum::v1::server::{Event, Session, Settings, ShareToken, WorkerKey};
use stratum::{Job, JobTemplate};
use units::{Difficulty, Moment, Target, UnixMillis};

const NTIME: u32 = 1_795_309_039;
/// Shares on one tip: a round short enough that some go by undisturbed.
const SHARES: u32 = 2000;
const ROUNDS: u64 = 200;
const YES: &str = ",\"result\":true,\"error\":null}\n";

fn main() {
    for branches in [0, 12] {
        for rolled in [false, true] {
            for batch in [1, 32] {
                let best = measure(branches, rolled, batch);
                let xn2 = if rolled { "new extranonce2" } else { "nonces rolled" };
                println!(
                    "{branches:>2} branches, {xn2:<15}, {batch:>2} at once: {best:>6} ns a share"
                );
            }
        }
    }
}

/// Nanoseconds a share, of the best round.
fn measure(branches: u8, rolled: bool, batch: usize) -> u128 {
    let mut now =
        Moment { mono: Duration::from_secs(1000), unix: UnixMillis::new(u64::from(NTIME) * 1000) };
    let mut session = Session::new(Arc::new(settings()), [1, 2, 3, 4], now);
    greet(&mut session, now);
    (1..=ROUNDS)
        .map(|round| {
            now = now.after(Duration::from_secs(200));
            session
                .set_job(Arc::new(Job::new(round, template(round, branches), true, round, 0)), now);
            session.transmit(&mut Vec::new());
            pass(&mut session, &lines(round, rolled, batch), now)
        })
        .min()
        .unwrap_or(0)
}

fn pass(session: &mut Session, reads: &[Vec<u8>], now: Moment) -> u128 {
    let (mut out, mut tokens, mut answered) = (Vec::new(), Vec::<ShareToken>::new(), 0);
    let began = clock();
    for read in reads {
        session.receive(read, now).expect("shares that hold");
        while let Some(event) = session.poll() {
            if let Event::Share { token, .. } = event {
                tokens.push(token);
            }
        }
        for token in tokens.drain(..) {
            session.acknowledge(token, Ok(()));
        }
        out.clear();
        session.transmit(&mut out);
        answered += out.len();
    }
    let took = began.elapsed();
    let last = String::from_utf8(out).expect("JSON is text");
    assert!(last.ends_with(YES), "{last}");
    let each = "{\"id\":1000000".len() + YES.len();
    assert_eq!(answered, each * usize::try_from(SHARES).expect("few"), "every share holds");
    took.as_nanos() / u128::from(SHARES)
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    // Every hash is a share, and however many come.
    let easiest = Difficulty::new(1e-12).expect("a difficulty");
    settings.difficulty.min = easiest;
    settings.difficulty.start = easiest;
    settings.difficulty.max = easiest;
    settings.limits.share_burst = u32::MAX;
    settings
}

fn greet(session: &mut Session, now: Moment) {
    let lines = concat!(
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#,
        "\n",
        r#"{"id":2,"method":"mining.subscribe","params":["bench/1"]}"#,
        "\n",
        r#"{"id":3,"method":"mining.authorize","params":["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig1","x"]}"#,
        "\n"
    );
    session.receive(lines.as_bytes(), now).expect("what every miner says");
    while let Some(event) = session.poll() {
        if let Event::Authorize { token, .. } = event {
            session.authorize(token, Ok(WorkerKey::new(0)), now);
        }
    }
    session.transmit(&mut Vec::new());
}

fn lines(job: u64, rolled: bool, batch: usize) -> Vec<Vec<u8>> {
    let line = |number: u32| {
        let xn2 = if rolled { u64::from(number) } else { job };
        let (bits, id) = ((number << 13) & 0x1fff_e000, 1_000_000 + number);
        let nonce = number.rotate_left(16);
        format!(
            "{{\"id\":{id},\"method\":\"mining.submit\",\"params\":[\
             \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig1\",\"{job:x}\",\"{xn2:016x}\",\
             \"{NTIME:08x}\",\"{nonce:08x}\",\"{bits:08x}\"]}}\n"
        )
    };
    let all: Vec<String> = (0..SHARES).map(line).collect();
    all.chunks(batch).map(|some| some.concat().into_bytes()).collect()
}

/// A coinbase of 250 bytes or so, as a pool with a commitment and one payout output makes it.
fn template(round: u64, branches: u8) -> JobTemplate {
    JobTemplate {
        height: 900_000,
        version: 0x2000_0000,
        prev_hash: [round.to_le_bytes(); 4].as_flattened().try_into().expect("32 bytes"),
        nbits: 0x1703_0ecd,
        ntime: NTIME,
        min_ntime: NTIME - 600,
        coinbase1: vec![1; 86],
        coinbase2: vec![2; 152],
        branch: (0..branches).map(|level| [level; 32]).collect(),
        network_target: Target::from_compact(0x1703_0ecd).expect("a main chain's bits"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
