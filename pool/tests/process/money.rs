//! Money and luck by every way to ask for them: the API's pages and statements, the command line.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    count,
    support::{ADDRESS, Miner, Pool},
};

/// The command line beside a running demo, whose ledger is in `data`.
fn command(data: &Path, arguments: &[&str]) -> Output {
    let config = data.join("beside.toml");
    let ledger = data.join("pool.sqlite");
    let text = format!(
        "[node]\nurl = \"http://127.0.0.1:1\"\nauth = \"a:b\"\nnetwork = \"regtest\"\n\
         [payout]\naddress = \"{ADDRESS}\"\n[ledger]\npath = {ledger:?}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"));
    command.args(arguments).arg("--config").arg(&config).output().unwrap()
}

fn said(data: &Path, arguments: &[&str]) -> String {
    let output = command(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(data, arguments)).unwrap()
}

/// A pool that has found two blocks or more, all of them settled.
fn pool(data: &Path) -> Pool {
    let pool = Pool::start(data);
    let mut miner = Miner::connect(pool.stratum);
    let mut wanted = 100;
    while count(&pool.json("/api/v1/pool")["blocks"]["found"]) < 2 {
        assert!(miner.mine(|miner| miner.accepted >= wanted));
        wanted += 50;
    }
    miner.settle();
    drop(miner);
    pool.wait_until("every block on the chain", |pool| count(&pool["blocks"]["unresolved"]) == 0);
    pool
}

#[test]
fn every_way_to_ask_for_money_gives_the_same() {
    let data = tempfile::tempdir().unwrap();
    let pool = pool(data.path());
    let account = pool.json(&format!("/api/v1/accounts/{ADDRESS}"));
    let blocks = pool.json("/api/v1/blocks?state=immature");
    let blocks = blocks.as_array().unwrap();
    assert!(blocks.len() >= 2, "{blocks:?}");

    // Page by page, as in one.
    let first = pool.json("/api/v1/blocks?limit=1");
    assert_eq!(first[0]["hash"], blocks[0]["hash"]);
    let hash = blocks[0]["hash"].as_str().unwrap();
    let second = pool.json(&format!("/api/v1/blocks?limit=1&before={hash}"));
    assert_eq!(second[0]["hash"], blocks[1]["hash"]);
    let path = format!("/api/v1/accounts/{ADDRESS}/credits?limit=1&before={hash}");
    assert!(
        pool.json(&path).as_array().unwrap().iter().all(|one| one["hash"] == second[0]["hash"])
    );

    // All credits are in the statement, and their sums are the account's.
    let statement = pool.json(&format!("/api/v1/accounts/{ADDRESS}/statement"));
    let credits = pool.json(&format!("/api/v1/accounts/{ADDRESS}/credits"));
    let lines = statement["lines"].as_array().unwrap();
    assert_eq!(lines.len(), credits.as_array().unwrap().len());
    let sum: u64 = lines.iter().map(|line| count(&line["satoshis"])).sum();
    assert_eq!(sum, count(&account["satoshis"]["immature"]));
    assert_eq!(statement["satoshis"]["immature"], account["satoshis"]["immature"]);
    assert_eq!(statement["satoshis"]["closing"], account["satoshis"]["balance"]);
    assert_eq!(pool.json("/api/v1/payouts"), serde_json::json!([]));

    // The command line says the same.
    let statement_command = ["statement", "--account", ADDRESS, "--format"];
    let of = |format| said(data.path(), &[&statement_command[..], &[format]].concat());
    let from_file: Value = serde_json::from_str(&of("json")).unwrap();
    assert_eq!(from_file, statement);
    let csv = pool.get(&format!("/api/v1/accounts/{ADDRESS}/statement?format=csv"));
    assert_eq!(of("csv"), csv);
    assert_eq!(csv.lines().count(), lines.len() + 3, "names, opening and closing: {csv}");
    let listed = json(data.path(), &["blocks", "--json", "--state", "immature"]);
    assert_eq!(listed.as_array().unwrap().len(), blocks.len());
    assert_eq!(
        json(data.path(), &["blocks", "--json", "--until", "2009-01-03"]),
        Value::Array(vec![])
    );
    let balances = json(data.path(), &["balances", "--json", "--account", ADDRESS]);
    assert_eq!(
        balances[0]["immature"].to_string(),
        account["satoshis"]["immature"].as_str().unwrap()
    );
    let accounts = json(data.path(), &["accounts", "--json", "--account", ADDRESS]);
    assert_eq!(accounts[0]["blocks_found"], account["luck"]["blocks_found"]);
    assert_eq!(accounts[0]["suspected"], false);
    assert_eq!(said(data.path(), &["payouts"]), "(none)\n");
    assert!(pool.stop());
}

#[test]
fn luck_is_the_same_on_every_surface_once_slices_are_closed() {
    let data = tempfile::tempdir().unwrap();
    let pool = pool(data.path());
    pool.wait_until("a closed slice", |pool| pool["luck"]["ratio"].is_number());
    // Slices go on closing: some look falls between two of them.
    let (now, metrics) = (0..100)
        .map(|_| (pool.json("/api/v1/pool"), pool.get("/metrics")))
        .find(|(before, _)| before["luck"] == pool.json("/api/v1/pool")["luck"])
        .unwrap();
    let luck = &now["luck"];
    assert_eq!(luck["blocks_found"], now["blocks"]["found"]);
    assert_eq!(luck["withholding"]["suspects_total"], 0, "{luck}");
    let expected = luck["blocks_expected"].as_str().unwrap();
    for line in [
        "wattproof_pool_withholding_suspects 0".to_owned(),
        "wattproof_pool_withholding_threshold 0.0001".to_owned(),
        format!("wattproof_pool_blocks_expected_total {expected}"),
        format!("wattproof_pool_luck_ratio {}", luck["ratio"]),
    ] {
        assert!(metrics.lines().any(|served| served == line), "{line} in\n{metrics}");
    }
    let name = format!("wattproof_account_withholding_probability{{account=\"{ADDRESS}\"}} ");
    assert!(metrics.contains(&name), "{metrics}");
    let account = pool.json(&format!("/api/v1/accounts/{ADDRESS}"));
    assert_eq!(account["luck"]["blocks_found"], luck["blocks_found"]);
    assert!(account["luck"]["suspected"].is_null());
    assert!(pool.get("/").contains("Luck (blocks found over expected)"));
    assert!(pool.stop());
}

#[test]
fn who_reads_the_beginning_of_a_table_alone_sees_no_failure() {
    let data = tempfile::tempdir().unwrap();
    let pool = pool(data.path());
    command(data.path(), &["blocks"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"))
        .args(["statement", "--account", ADDRESS, "--config"])
        .arg(data.path().join("beside.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(pool.stop());
}

#[test]
fn what_the_best_headers_show_stands_beside_the_claim() {
    let data = tempfile::tempdir().unwrap();
    let pool = pool(data.path());
    pool.wait_until("a closed slice", |pool| pool["luck"]["ratio"].is_number());
    let shown = pool.json(&format!("/api/v1/accounts/{ADDRESS}/work?slices=100"));
    let last = count(&shown["last_slice"]);
    assert!(last > 0 && count(&shown["first_slice"]) == 1, "{shown}");
    let figure = |key| shown["estimate"][key].as_str().unwrap().parse::<u128>().unwrap();
    assert!(figure("claimed") > 0 && figure("low") <= figure("estimated"), "{shown}");
    assert!(figure("estimated") <= figure("high"), "{shown}");
    let newest = pool.json(&format!("/api/v1/accounts/{ADDRESS}/work?slices=1"));
    assert_eq!(newest["first_slice"], newest["last_slice"]);
    assert!(count(&newest["last_slice"]) >= last, "{newest}");
    assert!(pool.stop());
}

#[test]
fn what_cannot_be_asked_for_is_named() {
    let data = tempfile::tempdir().unwrap();
    let pool = Pool::start(data.path());
    for (path, status, part) in [
        ("/api/v1/blocks?limit=201", 400, "limit: expected a whole number from 1 to 200"),
        ("/api/v1/blocks?page=2", 400, "there is no \\\"page\\\" here"),
        ("/api/v1/blocks?state=lost", 400, "state: expected one of candidate"),
        ("/api/v1/payouts?from=now", 400, "from: expected a day"),
        ("/api/v1/accounts/x/statement", 404, "no such account"),
        ("/api/v1/accounts/x/credits", 404, "no such account"),
        ("/api/v1/accounts/x/statement?format=xml", 400, "format: expected json or csv"),
        ("/api/v1/accounts/x/balance", 404, "nothing at this path"),
        ("/api/v1/accounts/x/work", 404, "no such account"),
        ("/api/v1/accounts/x/work?slices=0", 400, "slices: expected a whole number from 1 to 100"),
    ] {
        let (head, body) = pool.ask(path);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head}");
        assert!(body.contains(part), "{path}: {body}");
    }
    let unknown = format!("/api/v1/blocks?before={}", "0".repeat(64));
    let (head, body) = pool.ask(&unknown);
    assert!(head.starts_with("HTTP/1.1 400") && body.contains("is unknown"), "{head} {body}");

    for (arguments, status, part) in [
        (&["statement", "--account", "nobody"][..], 1, "it has no account \"nobody\""),
        (&["accounts", "--account", "nobody"], 1, "it has no account \"nobody\""),
        (&["blocks", "--state", "lost"], 2, "--state \"lost\": expected one of candidate"),
        (&["blocks", "--since", "now"], 2, "expected a day such as 2026-11-28"),
    ] {
        let output = command(data.path(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    assert!(pool.stop());
}
