//! What a connection was given, against a plain list of it; and extranonces that nobody used.

use proptest::prelude::*;

use super::given::{Given, Name, SavedGiven, Terms};
use super::resume_tests::{AUTHORIZE, ID, again, resumable, subscribe_with};
use super::tests::{Bench, YES};
use super::*;
use crate::known_blocks::GENESIS;

const KEPT: usize = 5;

fn limits() -> Limits {
    Limits { max_jobs_kept: KEPT, late_epochs: 1, ..Limits::default() }
}

fn terms(mask: u32) -> Terms {
    let (difficulty, target) = (Difficulty::ONE, Target::MAX);
    Terms { difficulty, target, work: target.work(), mask, xn1: [0; 4] }
}

proptest! {
    /// Jobs that are written or skipped, given out again or not, of one block or the next.
    #[test]
    fn runs_know_what_a_list_would(
        steps in proptest::collection::vec((0..10_u8, 0..3_u32), 1..120),
    ) {
        let (mut given, mut jobs) = (Given::default(), Jobs::default());
        // Each name with its terms, the newest last, and the numbers that are stale.
        let (mut present, mut late) = (Vec::<(Name, u32)>::new(), Vec::<(u64, Name, u32)>::new());
        let mut stale: Vec<u64> = Vec::new();
        let (mut id, mut epoch) = (0, 1);
        for (what, mask) in steps {
            let repeat = what < 3 && present.last().is_some_and(|(name, _)| name.id == id);
            if !repeat {
                id += 1;
                let new_block = what == 9;
                epoch += u64::from(new_block);
                let job = Job::new(id, GENESIS.template(), true, epoch, 0);
                jobs = jobs.with(Arc::new(job), &limits());
                if new_block {
                    given.retire(&jobs, &limits());
                    stale.extend(present.iter().map(|(name, _)| name.id));
                    stale.dedup();
                    stale.drain(..stale.len().saturating_sub(KEPT));
                    late.extend(present.drain(..).map(|(name, mask)| (epoch - 1, name, mask)));
                    late.retain(|(of, ..)| *of + 1 >= epoch);
                    late.drain(..late.len().saturating_sub(KEPT));
                }
            }
            // One in four is replaced before it is written.
            if repeat || what != 4 {
                let again = present.last().filter(|_| repeat).map_or(0, |(name, _)| name.again + 1);
                if present.len() >= KEPT {
                    present.remove(0);
                }
                present.push((Name { id, again }, mask));
                given.push(Name { id, again }, terms(mask), KEPT);
            }
            for id in 0..=id + 1 {
                for again in 0..4 {
                    let name = Name { id, again };
                    let known = present.iter().rev().find(|(other, _)| *other == name);
                    let found = given.find(name).map(|terms| terms.mask);
                    prop_assert_eq!(found, known.map(|(_, mask)| *mask), "{:?}", name);
                    let known = late.iter().rev().find(|(_, other, _)| *other == name);
                    let known = known.filter(|_| jobs.find(id).is_some());
                    let found = given.find_late(name).filter(|_| jobs.find(id).is_some());
                    prop_assert_eq!(found.map(|terms| terms.mask), known.map(|(.., mask)| *mask));
                }
                prop_assert_eq!(given.is_stale(id), stale.contains(&id), "{}", id);
            }
            let last = given.last().map(|(name, terms)| (name, terms.mask));
            prop_assert_eq!(last, present.last().copied());
            prop_assert_eq!(given.is_empty(), present.is_empty());
            let text = serde_json::to_string(&given.save()).unwrap();
            given = serde_json::from_str::<SavedGiven>(&text).unwrap().restore().unwrap();
        }
    }
}

#[test]
fn a_job_that_was_never_written_is_not_taken() {
    let mut bench = Bench::at_work();
    let mut jobs = Jobs::default();
    for id in 1..=4 {
        let mut template = GENESIS.template();
        template.prev_hash[0] = 1;
        let job = Arc::new(Job::new(id, template, true, 1, 0));
        jobs = jobs.with(job, &bench.session.settings.limits);
        bench.session.set_jobs(Arc::new(jobs.clone()), bench.now);
        if id != 3 {
            bench.read();
        }
    }
    assert_eq!(bench.submit("2", 0), YES);
    assert!(bench.submit("3", 0).contains("[21,\"job not found\""), "it was replaced in time");
    assert_eq!(bench.submit("4", 1), YES);
}

#[test]
fn one_list_serves_all_and_each_is_judged_by_its_own_terms() {
    let mut benches = [Bench::new(), Bench::new()];
    let jobs =
        Jobs::default().with(Arc::new(Job::new(1, GENESIS.template(), true, 1, 0)), &limits());
    let jobs = Arc::new(jobs);
    for (bench, wish) in benches.iter_mut().zip(["d=1", "x"]) {
        bench.say(r#"{"id":1,"method":"mining.subscribe","params":["bench/1"]}"#);
        bench.say(&AUTHORIZE.replace("\"x\"", &format!("\"{wish}\"")));
        bench.session.set_jobs(Arc::clone(&jobs), bench.now);
        bench.read();
    }
    assert!(benches[0].submit("1", 5).contains("[23,"));
    assert_eq!(benches[1].submit("1", 5), YES);
    assert_eq!(Arc::strong_count(&jobs), 3, "no session has a list of its own");
}

#[test]
fn a_job_by_a_number_that_was_used_before_is_hashed_anew() {
    let mut bench = Bench::at_work();
    assert_eq!(bench.submit("1", 0), YES);
    let mut template = GENESIS.template();
    template.prev_hash[0] = 1;
    template.coinbase2.push(0);
    bench.session.set_job(Arc::new(Job::new(1, template, true, 1, 0)), bench.now);
    bench.read();
    assert_eq!(bench.submit("1", 0), YES);
    let [before, after] = &bench.shares[..] else { panic!("two shares") };
    assert_ne!(before.judged.header[36..68], after.judged.header[36..68], "the Merkle root");
}

#[test]
fn an_extranonce_that_nobody_was_credited_under_is_free_again() {
    let ended = |bench: &mut Bench| {
        let Ended { kept, unused_xn1 } = bench.session.end();
        (kept.map(|kept| kept.unused_xn1()), unused_xn1)
    };
    // A stranger that says nothing, one that subscribes, one that works in vain.
    let mut bench = Bench::new();
    assert_eq!(ended(&mut bench), (None, Some(tests::XN1)));
    assert_eq!(ended(&mut bench), (None, None), "it is said once");
    let mut bench = Bench::at_work();
    assert!(bench.submit("2", 0).contains("[21,"));
    assert_eq!(ended(&mut bench), (None, Some(tests::XN1)));
    // A share that was credited, also one that was not recorded after all.
    let mut bench = Bench::at_work();
    assert_eq!(bench.submit("1", 0), YES);
    assert_eq!(ended(&mut bench), (None, None));
    let mut bench = Bench::at_work();
    bench.acknowledge = false;
    bench.submit("1", 0);
    assert_eq!(ended(&mut bench), (None, None));
    // A block that came too late.
    let mut bench = Bench::new();
    bench.handshake();
    let mut template = GENESIS.template();
    template.network_target = Target::MAX;
    bench.session.set_job(Arc::new(Job::new(1, template, true, 1, 0)), bench.now);
    bench.read();
    bench.set_job(2, 2);
    bench.read();
    bench.submit("1", 0);
    assert_eq!(bench.stale_blocks.len(), 1);
    assert_eq!(ended(&mut bench), (None, None));
    // The memory of it may be gone; the credit is not.
    let mut bench = Bench::at_work();
    assert_eq!(bench.submit("1", 0), YES);
    for epoch in 2..10 {
        bench.set_job(epoch, epoch);
        bench.read();
    }
    assert_eq!((bench.session.board.remembered(), ended(&mut bench)), (0, (None, None)));
}

#[test]
fn what_a_resumed_subscription_leaves_over_is_free_again() {
    let mut before = resumable();
    before.handshake();
    before.set_job(1, 1);
    before.read();
    let Ended { kept, unused_xn1 } = before.session.end();
    assert_eq!((unused_xn1, before.session.end().unused_xn1), (None, None), "it is kept");
    let kept = kept.unwrap();
    assert_eq!(kept.unused_xn1(), Some(tests::XN1), "once it is dropped");

    // What the new connection brought is not needed.
    let mut after = again(&before);
    let line = format!(r#"{{"id":1,"method":"mining.subscribe","params":["a","{ID}"]}}"#);
    after.session.receive(format!("{line}\n").as_bytes(), after.now).unwrap();
    let token = std::iter::from_fn(|| after.session.poll())
        .find_map(|event| if let Event::Resume { token, .. } = event { Some(token) } else { None });
    let free = after.session.resume(token.unwrap(), Some(kept), after.now);
    assert_eq!(free, Some([9; 4]));
    assert_eq!(after.session.resume(token.unwrap(), None, after.now), None);
    after.say(AUTHORIZE);
    after.set_job(1, 1);
    after.read();
    assert_eq!(after.submit("1", 0), YES);
    let kept = after.session.end().kept.unwrap();
    assert_eq!(kept.unused_xn1(), None);
    // Credited on an earlier connection is credited.
    let mut last = again(&after);
    subscribe_with(&mut last, ID, Some(kept));
    assert_eq!(last.session.end().unused_xn1, None);
}

#[test]
fn another_extranonce_is_taken_or_comes_back() {
    let mut bench = Bench::at_work();
    assert_eq!(bench.session.set_extranonce([5; 4]), Some([5; 4]), "it was not asked for");
    bench.say(r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#);
    assert_eq!(bench.submit("1", 0), YES);
    assert_eq!(bench.session.set_extranonce([5; 4]), None);
    assert_eq!(bench.session.end().unused_xn1, Some([5; 4]), "the first is used, this one is not");
}

#[test]
fn what_is_given_out_and_stale_is_held_in_few_runs() {
    let (mut given, mut jobs) = (Given::default(), Jobs::default());
    for id in 1..=4 {
        jobs = jobs.with(Arc::new(Job::new(id, GENESIS.template(), true, 1, 0)), &limits());
        given.push(Name { id, again: 0 }, terms(0), KEPT);
    }
    let held = |given: &Given, what: &str| {
        let saved = serde_json::to_value(given.save()).unwrap();
        saved[what].as_array().unwrap().len()
    };
    assert_eq!(held(&given, "runs"), 1);
    // Every second number is skipped, so that no range touches the next.
    for epoch in 2..20 {
        let id = 2 * epoch + 4;
        jobs = jobs.with(Arc::new(Job::new(id, GENESIS.template(), true, epoch, 0)), &limits());
        given.retire(&jobs, &limits());
        given.push(Name { id, again: 0 }, terms(0), KEPT);
        assert!(held(&given, "stale") <= KEPT, "{epoch}");
    }
}

#[test]
fn jobs_listed_are_remembered_as_long_as_they_are_given_out() {
    let mut given = Given::default();
    let listed = |given: &Given| (1..=9).filter(|id| given.is_listed(*id)).collect::<Vec<u64>>();
    for id in 1..=3 {
        given.push(Name { id, again: 0 }, terms(0), KEPT);
        given.list(id);
    }
    given.list(2);
    assert_eq!(listed(&given), [1, 2, 3]);
    let saved = serde_json::to_value(given.save()).unwrap();
    assert_eq!(saved["listed"].as_array().unwrap().len(), 3, "each once");
    for id in 4..=7 {
        given.push(Name { id, again: 0 }, terms(0), KEPT);
    }
    given.list(7);
    assert_eq!(listed(&given), [3, 7], "1 and 2 are given out no more");
}
