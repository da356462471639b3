//! The chain behind its HTTP server, on a loopback socket, and the node client that asks it.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::Block;
use bitcoin::consensus::encode::serialize;
use bitcoin::hashes::Hash as _;
use config::Secret;
use pool::devchain::{Credentials, DevChain, Options, serve};
use pool::node::{Auth, Clock, Network, NodeClient, NodeSettings, SubmitAnswer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::rig::{Hand, assemble, seal};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A development chain behind its HTTP server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    pub(crate) hand: Hand,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir, "127.0.0.1:0".parse().unwrap(), Hand::new(), options).await
    }

    pub(crate) async fn start_in(
        dir: tempfile::TempDir,
        address: SocketAddr,
        hand: Hand,
        options: Options,
    ) -> Self {
        let clock = hand.clock();
        Self::start_by(dir, address, (hand, clock), options).await
    }

    /// The same by another clock than the hand's.
    pub(crate) async fn start_by(
        dir: tempfile::TempDir,
        address: SocketAddr,
        (hand, clock): (Hand, Clock),
        options: Options,
    ) -> Self {
        let chain = DevChain::open(dir.path(), options, clock).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let credentials = Credentials::new("pool".to_owned(), Secret::new("hunter2"));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, chain, credentials, cancel.clone()));
        Self { address, cancel, tasks, hand, dir }
    }

    pub(crate) fn client(&self) -> NodeClient {
        self.client_as("hunter2", Network::Regtest)
    }

    pub(crate) fn client_as(&self, password: &str, network: Network) -> NodeClient {
        NodeClient::new(NodeSettings { network, ..self.settings(password) }).unwrap()
    }

    pub(crate) fn settings(&self, password: &str) -> NodeSettings {
        NodeSettings {
            url: format!("http://{}", self.address),
            auth: Auth::UserPassword("pool".to_owned(), Secret::new(password)),
            network: Network::Regtest,
            timeout: SOON,
        }
    }

    pub(crate) async fn stop(mut self) -> (tempfile::TempDir, SocketAddr, Hand) {
        self.cancel.cancel();
        let ended = timeout(SOON, self.tasks.join_next()).await.unwrap();
        ended.unwrap().unwrap();
        (self.dir, self.address, self.hand)
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it does not take that long")
}

pub(crate) async fn next_block(client: &NodeClient) -> Block {
    let mut block = assemble(&client.get_block_template(None).await.unwrap());
    seal(&mut block);
    block
}

pub(crate) async fn mine(client: &NodeClient) -> [u8; 32] {
    let block = next_block(client).await;
    let answer = client.submit_block(&serialize(&block)).await.unwrap();
    assert_eq!(answer, SubmitAnswer::Accepted);
    block.block_hash().to_byte_array()
}
