//! The real node and the development chain, fed alike.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::{Block, OutPoint, Transaction};
use config::Secret;
use pool::devchain::{Credentials, DevChain, serve};
use pool::node::{Auth, Network, NodeClient, NodeError, NodeSettings, Template};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::node::Node;
use super::rig::{FIXED, Hand, assemble, commit, seal};

const LIMIT: Duration = Duration::from_secs(60);

/// An output that anyone may spend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coin {
    pub(crate) point: OutPoint,
    pub(crate) sats: u64,
}

/// Both, and what was learnt on the way.
pub(crate) struct Pair {
    pub(crate) core: Node,
    pub(crate) dev: NodeClient,
    hand: Hand,
    /// Coinbases' outputs that were not given out yet, the oldest first.
    coins: VecDeque<Coin>,
    kinds: BTreeSet<String>,
    _server: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Pair {
    /// Starts both at the genesis block; `None` where no real node is installed.
    pub(crate) async fn start() -> Option<Self> {
        let hand = Hand::new();
        let core = Node::start(Some(seconds(&hand))).await?;
        let dir = tempfile::tempdir().unwrap();
        let chain = DevChain::open(dir.path(), FIXED, hand.clock()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let credentials = Credentials::new("pool".to_owned(), Secret::new("hunter2"));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, chain, credentials, CancellationToken::new()));
        let auth = Auth::UserPassword("pool".to_owned(), Secret::new("hunter2"));
        let settings = NodeSettings { url, auth, network: Network::Regtest, timeout: LIMIT };
        let dev = NodeClient::new(settings).unwrap();
        let (coins, kinds) = (VecDeque::new(), BTreeSet::new());
        Some(Self { core, dev, hand, coins, kinds, _server: server, _dir: dir })
    }

    /// Moves both clocks.
    pub(crate) async fn forward(&self, by: u64) {
        self.hand.forward(Duration::from_secs(by));
        self.core.client.call("setmocktime", json!([seconds(&self.hand)])).await.unwrap();
    }

    /// What both clocks say, Unix seconds.
    pub(crate) fn now(&self) -> u32 {
        seconds(&self.hand).try_into().unwrap()
    }

    /// One call to both; errors as their code and words.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> (Answer, Answer) {
        let (core, dev) = tokio::join!(
            self.core.client.call(method, params.clone()),
            self.dev.call(method, params)
        );
        (core.map_err(words), dev.map_err(words))
    }

    /// One call to both, whose answers must be equal.
    pub(crate) async fn same(&self, method: &str, params: Value) -> Answer {
        let (core, dev) = self.ask(method, params.clone()).await;
        assert_eq!(dev, core, "{method} {params}: the development chain (left) says otherwise");
        core
    }

    /// The next block's template, on which both agree in all that a miner needs.
    pub(crate) async fn template(&self) -> Template {
        let (core, dev) = tokio::join!(
            self.core.client.get_block_template(None),
            self.dev.get_block_template(None)
        );
        let (mut core, dev) = (core.unwrap(), dev.unwrap());
        core.longpollid.clone_from(&dev.longpollid);
        assert_eq!(dev, core, "the templates differ (left: the development chain's)");
        dev
    }

    /// The template's block after `change`, solved.
    pub(crate) async fn block(&self, change: impl FnOnce(&mut Block)) -> Block {
        let mut block = assemble(&self.template().await);
        change(&mut block);
        seal(&mut block);
        block
    }

    /// The template's block with `transactions`, committed to and solved.
    pub(crate) async fn block_with(&self, transactions: &[Transaction]) -> Block {
        self.block(|block| {
            block.txdata.extend_from_slice(transactions);
            commit(block);
        })
        .await
    }

    /// Hands a block to both; their verdicts and their tips must be equal.
    pub(crate) async fn submit(&mut self, block: &Block) -> String {
        self.submit_bytes(&serialize(block)).await
    }

    /// As [`Self::submit`], for bytes that may be no block.
    pub(crate) async fn submit_bytes(&mut self, bytes: &[u8]) -> String {
        let (core, dev) =
            tokio::join!(self.core.client.submit_block(bytes), self.dev.submit_block(bytes));
        let core = core.map_or_else(words, |answer| answer.as_str().to_owned());
        let dev = dev.map_or_else(words, |answer| answer.as_str().to_owned());
        assert_eq!(dev, core, "the development chain (left) judges a block otherwise");
        self.same("getbestblockhash", json!([])).await.unwrap();
        let kind = core.split(['(', ' ']).next().unwrap_or(&core);
        if !["accepted", "duplicate", "inconclusive", "error"].contains(&kind) {
            self.kinds.insert(kind.to_owned());
        }
        core
    }

    /// The verdict on the template's block after `change`.
    pub(crate) async fn verdict(&mut self, change: impl FnOnce(&mut Block)) -> String {
        let block = self.block(change).await;
        self.submit(&block).await
    }

    /// The verdict on the template's block with `transactions`.
    pub(crate) async fn verdict_with(&mut self, transactions: &[Transaction]) -> String {
        let block = self.block_with(transactions).await;
        self.submit(&block).await
    }

    /// Mines `count` blocks, a second apart.
    pub(crate) async fn grow(&mut self, count: usize) {
        for _ in 0..count {
            self.forward(1).await;
            let block = self.block(|_| {}).await;
            assert_eq!(self.submit(&block).await, "accepted");
            let point = OutPoint { txid: block.txdata[0].compute_txid(), vout: 0 };
            self.coins.push_back(Coin { point, sats: block.txdata[0].output[0].value.to_sat() });
        }
    }

    /// A coinbase's output that may be spent and was not given out before.
    pub(crate) async fn ripe_coin(&mut self) -> Coin {
        let coin = self.coins.pop_front().unwrap();
        while self.confirmations(&coin.point).await < 100 {
            self.grow(1).await;
        }
        coin
    }

    /// The newest coinbase's output, which may not be spent yet.
    pub(crate) fn green_coin(&self) -> Coin {
        *self.coins.back().unwrap()
    }

    /// What both say of an output.
    pub(crate) async fn output(&self, point: &OutPoint) -> Value {
        let request = json!([point.txid.to_string(), point.vout]);
        let (core, dev) = self.ask("gettxout", request).await;
        let mut core = core.unwrap();
        if let Some(script) = core.get_mut("scriptPubKey").and_then(Value::as_object_mut) {
            // The readable forms, which the development chain leaves out.
            script.retain(|key, _| key != "asm" && key != "desc");
        }
        assert_eq!(dev.unwrap(), core, "{point}: the development chain (left) says otherwise");
        core
    }

    async fn confirmations(&self, point: &OutPoint) -> u64 {
        self.output(point).await["confirmations"].as_u64().unwrap()
    }

    /// The reasons that both gave so far, without what follows them in brackets.
    pub(crate) const fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }
}

/// A call's result, or the error's code and words.
pub(crate) type Answer = Result<Value, String>;

fn words(error: NodeError) -> String {
    let NodeError::Rpc { code, message, .. } = error else { panic!("{error}") };
    format!("error {code}: {message}")
}

fn seconds(hand: &Hand) -> u64 {
    (hand.clock())().unix.seconds()
}
