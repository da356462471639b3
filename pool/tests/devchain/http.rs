//! The chain's HTTP server and the pool's node client, over a real loopback socket.

use std::time::Duration;

use bitcoin::Block;
use bitcoin::consensus::encode::serialize;
use pool::devchain::Options;
use pool::node::{Network, NodeError, SubmitAnswer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::rig::{FIXED, seal};
use super::served::{SOON, Server, mine, next_block, soon};

#[tokio::test]
async fn a_miner_lives_on_the_rpc_and_a_restart_changes_nothing() {
    let server = Server::start(FIXED).await;
    let client = server.client();
    let mut hashes = Vec::new();
    for _ in 0..20 {
        server.hand.forward(Duration::from_millis(500));
        hashes.push(mine(&client).await);
    }
    let info = client.check_network().await.unwrap();
    assert_eq!((info.blocks, info.best_block), (20, hashes[19]));
    assert_eq!(client.block_hash(1).await.unwrap(), Some(hashes[0]));
    assert_eq!(client.block_hash(21).await.unwrap(), None);
    assert_eq!(client.block_header(&[7; 32]).await.unwrap(), None);
    let (dir, address, hand) = server.stop().await;
    let server = Server::start_in(dir, address, hand, FIXED).await;
    // The same client: its kept connections are gone, and it does not mind.
    let position = client.block_header(&hashes[0]).await.unwrap().unwrap();
    assert_eq!((position.confirmations, position.height), (20, 1));
    server.stop().await;
}

#[tokio::test]
async fn submissions_are_answered_in_types() {
    let server = Server::start(FIXED).await;
    let client = server.client();
    mine(&client).await;
    let block = next_block(&client).await;
    let submit = |block: &Block| {
        let bytes = serialize(block);
        let client = &client;
        async move { client.submit_block(&bytes).await.unwrap() }
    };
    let mut rival = block.clone();
    rival.header.time += 1;
    seal(&mut rival);
    let mut greedy = block.clone();
    greedy.txdata[0].output[0].value += bitcoin::Amount::ONE_SAT;
    seal(&mut greedy);
    assert_eq!(submit(&greedy).await, SubmitAnswer::Rejected("bad-cb-amount".to_owned()));
    assert_eq!(submit(&greedy).await, SubmitAnswer::DuplicateInvalid);
    assert_eq!(submit(&block).await, SubmitAnswer::Accepted);
    assert_eq!(submit(&block).await, SubmitAnswer::Duplicate);
    assert_eq!(submit(&rival).await, SubmitAnswer::Inconclusive);
    let error = client.submit_block(&[1, 2, 3]).await.unwrap_err();
    assert_eq!(error.rpc_code(), Some(-22));
    server.stop().await;
}

#[tokio::test]
async fn wrong_credentials_wrong_network_and_no_node_are_named() {
    let server = Server::start(FIXED).await;
    let error = server.client_as("wrong", Network::Regtest).blockchain_info().await.unwrap_err();
    assert!(matches!(error, NodeError::Unauthorized { .. }), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let error = server.client_as("hunter2", Network::Signet).check_network().await.unwrap_err();
    assert!(matches!(error, NodeError::WrongNetwork { .. }), "{error}");
    let client = server.client();
    let error = client.call("nosuchmethod", json!([])).await.unwrap_err();
    assert_eq!(error.rpc_code(), Some(-32_601));
    let address = server.address.to_string();
    server.stop().await;
    let error = client.blockchain_info().await.unwrap_err();
    let text = error.to_string();
    assert!(error.is_passing() && text.contains(&address) && text.contains("getblockchaininfo"));
}

#[tokio::test]
async fn a_long_poll_wakes_with_the_next_block_and_with_an_easier_target() {
    let server = Server::start(Options { start_work: 4, ..Options::default() }).await;
    let (waiter, miner) = (server.client(), server.client());
    let genesis = waiter.get_block_template(None).await.unwrap();
    let wait = Some((genesis.longpollid.as_str(), SOON));
    let (template, hash) = tokio::join!(waiter.get_block_template(wait), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        mine(&miner).await
    });
    let first = template.unwrap();
    assert_eq!(first.prev_hash, hash);
    for _ in 0..60 {
        mine(&miner).await;
    }
    let hard = waiter.get_block_template(None).await.unwrap();
    let wait = Some((hard.longpollid.as_str(), SOON));
    let (eased, ()) = tokio::join!(waiter.get_block_template(wait), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.hand.forward(Duration::from_secs(11));
    });
    let eased = eased.unwrap();
    assert!(eased.prev_hash == hard.prev_hash && eased.target > hard.target);
    server.stop().await;
}

#[tokio::test]
async fn waitfornewblock_answers_at_the_block_at_the_limit_or_at_once() {
    let server = Server::start(FIXED).await;
    let (waiter, miner) = (server.client(), server.client());
    let old = waiter.blockchain_info().await.unwrap().best_block;
    let still = waiter.wait_for_new_block(50, None).await.unwrap();
    assert_eq!((still.hash, still.height), (old, 0));
    let (position, hash) = tokio::join!(waiter.wait_for_new_block(60_000, Some(&old)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        mine(&miner).await
    });
    assert_eq!(position.unwrap().hash, hash);
    let at_once = soon(waiter.wait_for_new_block(60_000, Some(&old))).await.unwrap();
    assert_eq!(at_once.hash, hash);
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_those_who_wait() {
    let server = Server::start(FIXED).await;
    let client = server.client();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { client.wait_for_new_block(60_000, None).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    soon(server.stop()).await;
    let answer = soon(waiting.join_next()).await.unwrap().unwrap();
    assert_eq!(answer.unwrap_err().rpc_code(), Some(-9));
}

/// One raw HTTP exchange; returns the head and the body.
async fn raw(server: &Server, request: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn post(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic cG9vbDpodW50ZXIy\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_wire_looks_like_cores() {
    let server = Server::start(FIXED).await;
    let (head, _) = raw(&server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    let bare = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (head, _) = raw(&server, bare).await;
    assert!(head.starts_with("HTTP/1.1 401") && head.contains("www-authenticate"), "{head}");
    let (head, body) =
        raw(&server, &post(r#"{"method":"getblockhash","params":[9],"id":"a"}"#)).await;
    assert!(head.starts_with("HTTP/1.1 500"), "{head}");
    let expected = json!({
        "result": null, "id": "a",
        "error": {"code": -8, "message": "Block height out of range"},
    });
    assert_eq!(body.parse::<Value>().unwrap(), expected);
    let second = r#"[{"jsonrpc":"2.0","method":"getblockcount","id":1},{"method":"x","id":2}]"#;
    let (head, body) = raw(&server, &post(second)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body = body.parse::<Value>().unwrap();
    assert_eq!(body[0], json!({"jsonrpc": "2.0", "result": 0, "id": 1}));
    assert_eq!(body[1]["error"]["code"], json!(-32_601));
    let (head, body) = raw(&server, &post("{")).await;
    assert!(head.starts_with("HTTP/1.1 500") && body.contains("-32700"), "{head} {body}");
    server.stop().await;
}
