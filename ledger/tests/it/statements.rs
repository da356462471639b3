//! Lists of blocks and credits, and statements: what they leave out, and that they add up.

use ledger::{
    BlockFilter, BlockId, BlockState, BlockView, LedgerError, PayoutFilter, Refusal, Statement,
    StatementItem,
};
use units::UnixMillis;

use crate::support::{REWARD, World, pplns, refused};

const ALWAYS: (UnixMillis, UnixMillis) = (UnixMillis::new(0), UnixMillis::new(u64::MAX));

/// Alice and bob, who find a mature, an orphaned, an immature and another mature block.
fn world() -> (World, Vec<BlockId>) {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(alice, 300), (bob, 100)]);
    world.close();
    let finders = [alice, bob, alice, bob];
    let blocks: Vec<_> =
        (0..).zip(finders).map(|(n, finder)| world.find(finder, 1, REWARD + n * 400)).collect();
    world.on_chain(blocks[1], 1);
    world.on_chain(blocks[0], 100);
    world.on_chain(blocks[2], 1);
    world.orphan(blocks[1]);
    world.on_chain(blocks[3], 1);
    world.on_chain(blocks[3], 100);
    (world, blocks)
}

fn statement(world: &World, account: &str, (from, to): (UnixMillis, UnixMillis)) -> Statement {
    world.reader().statement(account, from, to, 100).unwrap().unwrap()
}

/// Block, state, change and balance of each line.
fn lines(statement: &Statement) -> Vec<(BlockId, BlockState, i64, i64)> {
    let line = |line: &ledger::StatementLine| match &line.item {
        StatementItem::Credit(credit) => (credit.block, credit.state, line.change, line.balance),
        StatementItem::Payout(_) | StatementItem::Slice(_) => panic!("{line:?}"),
    };
    statement.lines.iter().map(line).collect()
}

#[test]
fn a_statement_sums_to_the_balance() {
    let (world, blocks) = world();
    let whole = statement(&world, "alice", ALWAYS);
    let part = |n: u64| i64::try_from((REWARD + n * 400) / 100 * 99 / 4 * 3).unwrap();
    assert_eq!(
        lines(&whole),
        [
            (blocks[0], BlockState::Mature, part(0), part(0)),
            (blocks[2], BlockState::OnChain, 0, part(0)),
            (blocks[1], BlockState::Orphaned, 0, part(0)),
            (blocks[3], BlockState::Mature, part(3), part(0) + part(3)),
        ]
    );
    let (immature, balance) = world.money("alice");
    assert_eq!((whole.opening, u64::try_from(whole.closing).unwrap()), (0, balance));
    assert_eq!(whole.immature.to_sat(), immature);
    assert_eq!((whole.credited.to_sat(), whole.paid.to_sat()), (balance, 0));
    assert_eq!(i64::try_from(whole.reversed.to_sat()).unwrap(), part(1));
}

#[test]
fn a_statement_of_a_time_begins_with_what_was_before() {
    let (world, blocks) = world();
    let whole = statement(&world, "bob", ALWAYS);
    let (second, last) = (whole.lines[1].at, whole.lines[3].at);
    let middle = statement(&world, "bob", (second, last));
    assert_eq!(middle.opening, whole.lines[0].balance);
    assert_eq!(lines(&middle), lines(&whole)[1..3]);
    assert_eq!(middle.closing, whole.lines[2].balance);
    let rest = statement(&world, "bob", (last, ALWAYS.1));
    assert_eq!((rest.opening, rest.closing), (middle.closing, whole.closing));
    assert_eq!(lines(&rest)[0].0, blocks[3]);
}

#[test]
fn a_statement_is_of_an_account_that_there_is_and_no_longer_than_asked() {
    let (world, _) = world();
    let reader = world.reader();
    assert_eq!(reader.statement("nobody", ALWAYS.0, ALWAYS.1, 100).unwrap(), None);
    assert!(reader.statement("bob", ALWAYS.0, ALWAYS.1, 4).unwrap().is_some());
    let error = reader.statement("bob", ALWAYS.0, ALWAYS.1, 3).unwrap_err();
    assert_eq!(refused(error), Refusal::StatementTooLong { most: 3 });
}

#[test]
fn a_balance_that_nothing_accounts_for_is_no_statement() {
    let (world, _) = world();
    let conn = rusqlite::Connection::open(world.path()).unwrap();
    conn.execute("UPDATE account SET balance = balance + 1 WHERE name = 'bob'", []).unwrap();
    let error = world.reader().statement("bob", ALWAYS.0, ALWAYS.1, 100).unwrap_err();
    assert!(matches!(&error, LedgerError::Damaged(what) if what.contains("\"bob\"")), "{error}");
}

#[test]
fn blocks_are_listed_by_state_finder_and_time_and_page_by_page() {
    let (world, blocks) = world();
    let reader = world.reader();
    let list = |filter: BlockFilter| -> Vec<_> {
        let hash = |block: BlockView| block.hash;
        let limit = filter.limit.max(1);
        reader
            .blocks_where(&BlockFilter { limit, ..filter })
            .unwrap()
            .into_iter()
            .map(hash)
            .collect()
    };
    let all = || BlockFilter { limit: 9, ..BlockFilter::default() };
    assert_eq!(list(all()), [blocks[3], blocks[2], blocks[1], blocks[0]]);
    let mature = BlockFilter { state: Some(BlockState::Mature), ..all() };
    assert_eq!(list(mature), [blocks[3], blocks[0]]);
    let account = Some("bob".to_owned());
    assert_eq!(list(BlockFilter { account, ..all() }), [blocks[3], blocks[1]]);
    let found_at = |place: usize| {
        let found = reader.blocks(4).unwrap().into_iter().find(|one| one.hash == blocks[place]);
        found.unwrap().found_at
    };
    let some = BlockFilter { from: Some(found_at(1)), to: Some(found_at(3)), ..all() };
    assert_eq!(list(some), [blocks[2], blocks[1]]);
    let page = BlockFilter { limit: 2, before: Some(blocks[3]), ..all() };
    assert_eq!(list(page), [blocks[2], blocks[1]]);
    let unknown = BlockFilter { before: Some([1; 32]), ..all() };
    let error = reader.blocks_where(&unknown).unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownBlock([1; 32]));
}

#[test]
fn credits_come_newest_first_and_no_page_parts_a_block() {
    let (mut world, blocks) = world();
    // The fee account mines too, so that it has two credits of a block.
    let pool = world.worker("pool", "r");
    world.commit(&[(pool, 512)]);
    world.close();
    let newest = world.find(pool, 2, REWARD);
    world.on_chain(newest, 1);
    let reader = world.reader();
    let page = |before: Option<&BlockId>, limit| -> Vec<_> {
        let credits = reader.credits("pool", before, limit).unwrap().unwrap();
        credits.into_iter().map(|credit| (credit.block, credit.kind.as_str())).collect()
    };
    assert_eq!(page(None, 2), [(newest, "fee"), (newest, "share"), (blocks[3], "fee")]);
    assert_eq!(page(Some(&blocks[3]), 2), [(blocks[2], "fee"), (blocks[1], "fee")]);
    assert_eq!(page(Some(&blocks[0]), 2), []);
    assert_eq!(reader.credits("nobody", None, 2).unwrap(), None);
    let error = reader.credits("pool", Some(&[1; 32]), 2).unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownBlock([1; 32]));
    let filter = PayoutFilter { limit: 9, ..PayoutFilter::default() };
    assert_eq!(reader.account_payouts(&filter).unwrap(), []);
}
