//! The running pool as miners meet it line by line: subscriptions that outlive their connection,
//! extranonces that change, notices, and where miners are sent when the pool stops.
//!
//! Read [`pool::Pool`] and [`miner::Raw`], then the tests. What a session decides on its own is
//! tested in `stratum`; it does not belong here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod energy;
mod miner;
mod pool;
mod retention;

use std::{collections::HashSet, thread, time::Duration};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use self::{miner::Raw, pool::Pool};

/// A millionth of difficulty 1: a share each 4,300 hashes.
const EASY: &str = "0.000001";

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_resumed_with_all_that_belongs_to_it() {
    let pool = Pool::start(EASY, "").await;
    block_in_place(|| {
        let mut before = Raw::connect(pool.stratum);
        let (id, xn1) = before.subscribe(&json!(["raw/1"]));
        assert!(id.len() == 32 && id != "0".repeat(32), "{id}");
        before.authorize();
        let work = before.work();
        let mut shares = work.shares();
        let mut next = || shares.next().unwrap();
        let (first, second, third) = (next(), next(), next());
        assert_eq!(before.submit(&first)["result"], true);

        // A living connection's subscription is nobody else's, whoever knows its id.
        let mut thief = Raw::connect(pool.stratum);
        let (other_id, other) = thief.subscribe(&json!(["raw/1", id]));
        assert!(other_id != id && other != xn1, "{other_id} {other}");

        // The connection ends with a share on its way.
        before.send("mining.submit", &second);
        drop(before);
        let mut tries = 0;
        let mut after = loop {
            let mut after = Raw::connect(pool.stratum);
            let (new_id, new) = after.subscribe(&json!(["raw/1", id.to_uppercase()]));
            if new == xn1 {
                assert_eq!(new_id, id, "the next time it is asked for under the same name");
                break after;
            }
            // The pool has not seen the end of the last connection yet.
            tries += 1;
            assert!(tries < 500, "it is not resumed");
            thread::sleep(Duration::from_millis(10));
        };
        after.authorize();
        let again = after.work();
        assert_eq!(again.xn1, xn1);
        assert_ne!(again.name, work.name, "a miner that starts over repeats nothing");
        for share in [&first, &second] {
            let answer = after.submit(share);
            assert_eq!(answer["error"][0], 22, "credited on the connection before: {answer}");
        }
        let answer = after.submit(&third);
        assert_eq!(answer["result"], true, "found while there was no connection: {answer}");
        let fourth = again.shares().next().unwrap();
        assert_eq!(after.submit(&fourth)["result"], true);

        let mut thief = Raw::connect(pool.stratum);
        assert_ne!(thief.subscribe(&json!(["raw/1", id])).1, xn1, "it is in use again");
    });
    assert_eq!(pool.stop().await, 4, "each share is in the ledger once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_fills_the_memory_gets_another_extranonce() {
    // Every fourth hash is a share.
    let pool = Pool::start("0.000000001", "").await;
    let credited = block_in_place(|| {
        let mut miner = Raw::connect(pool.stratum);
        let (_, xn1) = miner.subscribe(&json!(["raw/1"]));
        assert_eq!(miner.ask("mining.extranonce.subscribe", &json!([]))["result"], true);
        miner.authorize();
        let work = miner.work();
        let mut shares = work.shares();
        let (mut sent, mut answered) = (0_u64, 0_u64);
        // Until three quarters of the headers that a session remembers.
        while !miner.was_told("mining.set_extranonce") {
            assert!(sent < 60_000, "no other extranonce came");
            for share in shares.by_ref().take(200) {
                miner.send("mining.submit", &share);
                sent += 1;
            }
            while answered < sent {
                let answer = miner.answer();
                assert_eq!(answer["result"], true, "after {answered}: {answer}");
                answered += 1;
            }
        }
        assert!(sent > 49_000, "{sent}");
        let told = miner.told("mining.set_extranonce");
        let new = told["params"][0].as_str().unwrap().to_owned();
        assert!(new != xn1 && told["params"][1] == 8, "{told}");
        let mut next = miner.work();
        while next.xn1 != new {
            next = miner.work();
        }
        assert!(next.clean, "the first with another extranonce asks to drop earlier work");
        let share = next.shares().next().unwrap();
        assert_eq!(miner.submit(&share)["result"], true);
        assert_eq!(miner.submit(&share)["error"][0], 22);
        let late = shares.next().unwrap();
        assert_eq!(miner.submit(&late)["result"], true, "the job before keeps its extranonce");
        sent + 2
    });
    assert_eq!(pool.stop().await, credited);
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_are_sent_on_when_the_pool_stops() {
    let hosts = "reconnect = [\"a.example:3333\", \"b.example:3334\"]\n";
    let pool = Pool::start(EASY, hosts).await;
    let (mut miners, mut stranger) = block_in_place(|| {
        let miners: Vec<Raw> = (0..6)
            .map(|_| {
                let mut miner = Raw::connect(pool.stratum);
                miner.subscribe(&json!(["raw/1"]));
                miner.authorize();
                miner.work();
                miner
            })
            .collect();
        let mut stranger = Raw::connect(pool.stratum);
        assert_eq!(stranger.ask("mining.ping", &json!([]))["result"], "pong");
        (miners, stranger)
    });
    pool.stop().await;
    let mut places = HashSet::new();
    block_in_place(|| {
        for miner in &mut miners {
            let last = miner.rest().pop().unwrap();
            assert_eq!(last["method"], "client.reconnect", "{last}");
            let params = &last["params"];
            assert!(params[2].as_u64().unwrap() < 10, "{params}");
            places.insert(format!("{}:{}", params[0].as_str().unwrap(), params[1]));
        }
        assert_eq!(stranger.rest(), Vec::<Value>::new(), "who has not subscribed goes nowhere");
    });
    let both = ["a.example:3333", "b.example:3334"].map(str::to_owned);
    assert_eq!(places, HashSet::from(both));

    let pool = Pool::start(EASY, "").await;
    let mut miner = block_in_place(|| {
        let mut miner = Raw::connect(pool.stratum);
        miner.subscribe(&json!(["raw/1"]));
        miner.authorize();
        miner.work();
        miner
    });
    pool.stop().await;
    let sent_on = |line: &Value| line["method"] == "client.reconnect";
    assert!(!block_in_place(|| miner.rest()).iter().any(sent_on));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_miner_is_shown_a_notice_once() {
    let mut pool = Pool::start(EASY, "").await;
    let mut early = block_in_place(|| {
        let mut early = Raw::connect(pool.stratum);
        early.subscribe(&json!(["raw/1"]));
        early.authorize();
        early.work();
        early
    });
    pool.lose_the_node().await;
    block_in_place(|| {
        // Before the first job there may have been another.
        let mut shown = early.told("client.show_message");
        while !shown["params"][0].as_str().unwrap().contains("no new work") {
            shown = early.told("client.show_message");
        }
        let mut late = Raw::connect(pool.stratum);
        late.subscribe(&json!(["raw/1"]));
        for _ in 0..3 {
            assert_eq!(late.ask("mining.ping", &json!([]))["result"], "pong");
        }
        assert!(!late.was_told("client.show_message"), "not before it is authorized");
        late.authorize();
        assert_eq!(late.told("client.show_message")["params"], shown["params"]);
        for miner in [&mut early, &mut late] {
            assert_eq!(miner.ask("mining.ping", &json!([]))["result"], "pong");
            assert!(!miner.was_told("client.show_message"), "once");
        }
    });
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_told_in_full_once_and_a_nameless_miner_is_asked_for_its_name() {
    let pool = Pool::start(EASY, "").await;
    block_in_place(|| {
        let mut miner = Raw::connect(pool.stratum);
        miner.subscribe(&json!([]));
        miner.authorize();
        let work = miner.work();
        let question = miner.told("client.get_version");
        miner.write(&json!({"id": question["id"], "result": "raw/2", "error": null}));
        let list = |miner: &mut Raw| miner.ask("mining.get_transactions", &json!([work.name]));
        assert_eq!(list(&mut miner)["result"], json!([]), "the chain's mempool is empty");
        assert_eq!(list(&mut miner)["error"][0], 20);
        assert!(!miner.was_told("client.get_version"));
    });
    pool.stop().await;
}
