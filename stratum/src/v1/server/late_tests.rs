//! Shares whose block has a successor: refused whatever they are, and handed on where they are
//! blocks.

use super::resume_tests::{AUTHORIZE, ID, again, resumable, subscribe_with};
use super::tests::{Bench, YES};
use super::*;
use crate::known_blocks::GENESIS;

/// A job on the block number `epoch`, where either every hash is a block or none is.
fn set_job(bench: &mut Bench, id: u64, epoch: u64, all_are_blocks: bool) {
    let mut template = GENESIS.template();
    template.prev_hash[0] = u8::try_from(epoch).unwrap();
    if all_are_blocks {
        template.network_target = Target::MAX;
    }
    bench.session.set_job(Arc::new(Job::new(id, template, true, epoch, 0)), bench.now);
    bench.read();
}

/// At work on job 1 of epoch 1.
fn at_work(all_are_blocks: bool) -> Bench {
    let mut bench = Bench::new();
    bench.handshake();
    set_job(&mut bench, 1, 1, all_are_blocks);
    bench
}

#[test]
fn a_stale_share_that_is_a_block_is_refused_and_handed_on_once() {
    let mut bench = at_work(true);
    let difficulty = bench.session.difficulty();
    set_job(&mut bench, 2, 2, false);
    assert!(bench.submit("1", 5).contains("[21,\"stale job\",null]"));
    assert!(bench.submit("1", 5).contains("[21,"), "again, and not as a duplicate");
    assert!(bench.submit("01", 5).contains("[21,"));
    assert_eq!(bench.rejected, [Reason::StaleJob; 3]);
    let [block] = &bench.stale_blocks[..] else { panic!("{:?}", bench.stale_blocks) };
    assert!(block.judged.is_block);
    assert_eq!((block.job.id.get(), block.worker), (1, WorkerKey::new(7)));
    assert_eq!(crate::job::sha256d(&block.judged.header), block.judged.hash);
    // Another is another.
    bench.submit("1", 6);
    assert_eq!(bench.stale_blocks.len(), 2);
    assert!(bench.shares.is_empty() && bench.session.in_flight() == 0, "no credit");
    assert_eq!(bench.session.difficulty(), difficulty);
}

#[test]
fn a_block_is_taken_however_many_shares_wait() {
    let mut bench = at_work(true);
    bench.acknowledge = false;
    let limit = u32::try_from(bench.session.settings.limits.max_in_flight).unwrap();
    for nonce in 0..=limit {
        assert!(!bench.submit("1", nonce).contains("\"id\":9"), "no answer yet, and no refusal");
    }
    assert!(bench.shares.iter().all(|share| share.judged.is_block));
    assert_eq!(bench.shares.len(), usize::try_from(limit).unwrap() + 1);
    assert!(bench.rejected.is_empty());
}

#[test]
fn a_block_that_was_credited_in_time_is_not_handed_on_again() {
    let mut bench = at_work(true);
    assert_eq!(bench.submit("1", 5), YES);
    set_job(&mut bench, 2, 2, true);
    assert!(bench.submit("1", 5).contains("[21,"));
    assert!(bench.stale_blocks.is_empty());
}

#[test]
fn a_stale_share_that_is_no_block_leaves_nothing() {
    let mut bench = at_work(false);
    set_job(&mut bench, 2, 2, true);
    for nonce in 0..20 {
        assert!(bench.submit("1", nonce).contains("[21,"));
    }
    assert!(bench.stale_blocks.is_empty());
    assert_eq!(bench.session.board.remembered(), 0);
}

#[test]
fn a_stale_share_that_could_be_no_block_is_not_handed_on() {
    let mut bench = at_work(true);
    set_job(&mut bench, 2, 2, false);
    let early = tests::submit_line("1", 5).replace("495fab29", "00000001");
    assert!(bench.say(&early).contains("[21,"), "its time is out of range");
    let other = tests::submit_line("1", 5).replace("\"good\"", "\"other\"");
    assert!(bench.say(&other).contains("[24,"), "its worker is not known here");
    assert!(bench.stale_blocks.is_empty());
}

#[test]
fn blocks_are_looked_for_in_the_epoch_before_and_no_further_back() {
    let mut bench = at_work(true);
    set_job(&mut bench, 2, 2, true);
    set_job(&mut bench, 3, 3, true);
    assert!(bench.submit("1", 5).contains("[21,\"stale job\",null]"));
    assert!(bench.stale_blocks.is_empty());
    bench.submit("2", 5);
    assert_eq!(bench.stale_blocks.len(), 1);
    // Epochs that this connection had no job of are epochs all the same.
    set_job(&mut bench, 9, 9, true);
    bench.submit("3", 5);
    assert_eq!(bench.stale_blocks.len(), 1);
}

#[test]
fn jobs_of_the_epoch_before_are_bounded() {
    let mut bench = at_work(true);
    let kept = bench.session.settings.limits.max_jobs_kept;
    let settings = Arc::make_mut(&mut bench.session.settings);
    settings.limits.late_epochs = 1000;
    for epoch in 2..200 {
        set_job(&mut bench, epoch, epoch, true);
        let late = (1..epoch).filter(|id| bench.session.board.late(&format!("{id:x}")).is_some());
        assert_eq!(late.count(), kept.min(usize::try_from(epoch - 1).unwrap()));
    }
    assert!(bench.session.board.late("c6").is_some(), "the newest are kept");
}

#[test]
fn a_flood_of_stale_shares_is_borne_only_so_long() {
    let mut bench = at_work(false);
    set_job(&mut bench, 2, 2, false);
    let burst = bench.session.settings.limits.nuisance_burst;
    let flood = (0..100_000).find_map(|nonce| {
        let line = tests::submit_line("1", nonce) + "\n";
        let fatal = bench.session.receive(line.as_bytes(), bench.now).err()?;
        Some((nonce, fatal))
    });
    // The subscription and the authorization were two.
    assert_eq!(flood, Some((burst - 2, Fatal::Nuisance)));
}

#[test]
fn a_block_is_looked_for_on_the_miners_next_connection_too() {
    let mut before = resumable();
    before.handshake();
    set_job(&mut before, 1, 1, true);
    let kept = before.session.end().kept;
    let mut after = again(&before);
    set_job(&mut after, 2, 2, false);
    subscribe_with(&mut after, ID, kept);
    after.say(AUTHORIZE);
    assert!(after.submit("1", 5).contains("[21,"));
    assert_eq!(after.stale_blocks.len(), 1);
}

#[test]
fn no_block_is_lost_to_a_full_memory() {
    let mut bench = at_work(false);
    Arc::make_mut(&mut bench.session.settings).limits.max_seen = 3;
    for nonce in 0..4 {
        bench.submit("1", nonce);
    }
    assert_eq!(bench.rejected, [Reason::Busy]);
    let mut template = GENESIS.template();
    template.prev_hash[0] = 1;
    template.network_target = Target::MAX;
    bench.session.set_job(Arc::new(Job::new(2, template, false, 1, 0)), bench.now);
    bench.read();
    assert_eq!(bench.submit("2", 9), YES);
    assert!(bench.shares[3].judged.is_block);
    set_job(&mut bench, 3, 2, false);
    bench.submit("2", 10);
    bench.submit("2", 9);
    assert_eq!(bench.stale_blocks.len(), 1);
}
