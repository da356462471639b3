//! A real Bitcoin Core under the demo: a private signet of its own, and the `pool.toml` of a pool
//! on it.
//!
//! The signet's challenge is `OP_TRUE`: blocks need no signature, only their proof of work, at the
//! difficulty that signets begin with (0.0011, about 4.8 million hashes a block). The chain is
//! fresh, has no peers, and goes with the demo's folder. This module deliberately does not check
//! what the node says: `coinbases.rs` does.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::demo::children::Running;
use crate::demo::coinbases::Mined;
use crate::demo::interrupt::Interrupt;
use crate::demo::rpc::Rpc;
use crate::failure::Failure;
use crate::node::Core;

/// The pool's own address: the P2WSH example of BIP 173, for signet.
pub(crate) const POOL_ADDRESS: &str =
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7";
/// The longest that the node may take until it answers, and until it has stopped.
const LIMIT: Duration = Duration::from_secs(60);
/// How the node is started, besides its places: alone, on a chain of its own.
const ARGUMENTS: &[&str] = &[
    "-signet",
    "-signetchallenge=51",
    "-server=1",
    "-listen=0",
    "-connect=0",
    "-dnsseed=0",
    "-discover=0",
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1",
    "-printtoconsole=0",
];

/// A node that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Signet {
    running: Running,
    rpc: Rpc,
    url: String,
    cookie: PathBuf,
}

/// `getblockchaininfo`, as far as it is read here.
#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u32,
    bestblockhash: String,
}

impl Signet {
    /// Starts a node with its data in `folder` and waits until it answers.
    ///
    /// # Errors
    /// Fails where it cannot be started, ends, or does not answer in time.
    pub(crate) fn start(
        core: &Core,
        folder: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let data = folder.join("node");
        let refused = |e| Failure::new(format!("{} cannot be made: {e}", data.display()));
        fs::create_dir(&data).map_err(refused)?;
        let cookie = data.join("cookie");
        let port = free_port()?;
        let mut command = Command::new(&core.bitcoind);
        command.current_dir(folder).args(ARGUMENTS);
        command.arg(option("-datadir=", &data)).arg(option("-rpccookiefile=", &cookie));
        command.arg(format!("-rpcport={port}"));
        let mut running = Running::start("node", command, folder)?;
        let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        let rpc = Rpc::new(url.clone(), cookie.clone());
        let ask = || rpc.call::<ChainInfo>("getblockchaininfo", &json!([]));
        let info = running.ready(LIMIT, interrupt, ask)?;
        if (info.chain.as_str(), info.blocks) != ("signet", 0) {
            let found = format!("the chain {} at height {}", info.chain, info.blocks);
            return Err(Failure::new(format!("the node is not on a fresh signet but on {found}")));
        }
        Ok(Self { running, rpc, url, cookie })
    }

    /// Where the node's RPC is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Nothing while the node runs.
    ///
    /// # Errors
    /// As [`Running::check_alive`].
    pub(crate) fn check_alive(&mut self) -> Result<(), Failure> {
        self.running.check_alive()
    }

    /// Every block from the tip down to the first after the genesis block.
    ///
    /// # Errors
    /// Names the call that failed.
    pub(crate) fn blocks(&self) -> Result<Vec<Mined>, Failure> {
        let info: ChainInfo =
            self.rpc.call("getblockchaininfo", &json!([])).map_err(Failure::new)?;
        let mut blocks = Vec::new();
        let mut hash = info.bestblockhash;
        for _ in 0..info.blocks {
            let block: Mined =
                self.rpc.call("getblock", &json!([hash, 2])).map_err(Failure::new)?;
            hash.clone_from(&block.previousblockhash);
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Asks the node to stop and waits until it has.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub(crate) fn stop(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        self.running.stop(LIMIT, interrupt)
    }

    /// Writes the `pool.toml` of a pool on this node that keeps its ledger in `data` and listens
    /// at the two addresses. Shares and reports come quicker than on a real pool, so that a minute
    /// shows something, as in the pool's own demo.
    ///
    /// # Errors
    /// Fails where the file or the folder cannot be made.
    pub(crate) fn write_config(
        &self,
        file: &Path,
        data: &Path,
        stratum: &str,
        http: &str,
    ) -> Result<(), Failure> {
        let (url, cookie) = (&self.url, toml_text(&self.cookie));
        let ledger = toml_text(&data.join("pool.sqlite"));
        let text = format!(
            "[node]\nurl = \"{url}\"\ncookie = {cookie}\nnetwork = \"signet\"\n\
             [stratum]\nlisten = [\"{stratum}\"]\n\
             difficulty = {{ start = 0.0001, shares_per_minute = 600 }}\n\
             [payout]\nscheme = \"pplns\"\naddress = \"{POOL_ADDRESS}\"\n\
             [ledger]\npath = {ledger}\nslice_seconds = 1\n\
             [http]\nlisten = \"{http}\"\n\
             [energy]\ninterval_seconds = 5\n"
        );
        let failed = |e| Failure::new(format!("{} cannot be written: {e}", file.display()));
        fs::create_dir_all(data).and_then(|()| fs::write(file, text)).map_err(failed)
    }
}

/// A loopback port that is free now. Another program may take it before the node does; the node
/// then says so and ends.
fn free_port() -> Result<u16, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| Failure::new(format!("no free port for the node: {e}")))
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// A path as a TOML string; JSON's escapes are TOML's.
pub(crate) fn toml_text(path: &Path) -> String {
    json!(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::scripts::script;

    #[test]
    fn a_path_is_quoted_as_toml_has_it() {
        assert_eq!(toml_text(Path::new(r#"/tmp/a "b"\c"#)), r#""/tmp/a \"b\"\\c""#);
    }

    #[test]
    fn a_node_that_ends_at_once_is_named_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let bitcoind = script(folder.path(), "bitcoind", "echo 'Error: no space' >&2; exit 1");
        let core = Core { bitcoind, bitcoin_cli: None, version: String::new() };
        let failure = Signet::start(&core, folder.path(), &Interrupt::default()).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("the node ended unasked"), "{text}");
        assert!(text.contains("node: Error: no space"), "{text}");
    }

    /// A Bitcoin Core, or a line that says that the test is left out, past the harness that keeps
    /// what a passing test prints; a failure where `WATTPROOF_STRICT` is 1.
    fn node() -> Option<Core> {
        let found = crate::node::find().unwrap();
        if found.is_none() {
            let strict = std::env::var("WATTPROOF_STRICT").is_ok_and(|value| value == "1");
            assert!(!strict, "no Bitcoin Core (cargo xtask node builds one)");
            writeln!(std::io::stderr(), "\nleft out: no Bitcoin Core (cargo xtask node)").unwrap();
        }
        found
    }

    #[test]
    fn a_real_node_mines_is_read_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let quiet = Interrupt::default();
        let Some(core) = node() else { return };
        let mut signet = Signet::start(&core, folder.path(), &quiet).unwrap();
        assert_eq!(signet.blocks().unwrap(), []);
        let few_tries = json!([1, "raw(51)", 1_000_000]);
        while signet.rpc.call::<Vec<String>>("generatetodescriptor", &few_tries).unwrap().is_empty()
        {
        }
        let [block] = signet.blocks().unwrap().try_into().unwrap();
        assert_eq!(block.pays(POOL_ADDRESS), (0, 5_000_000_000));
        signet.check_alive().unwrap();
        signet.stop(&quiet).unwrap();
        assert!(!signet.cookie.exists(), "a node that ends in order takes its cookie along");
    }

    #[test]
    fn a_real_node_ends_in_order_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let Some(core) = node() else { return };
        let signet = Signet::start(&core, folder.path(), &Interrupt::default()).unwrap();
        let cookie = signet.cookie.clone();
        assert!(cookie.exists());
        drop(signet);
        assert!(!cookie.exists());
    }
}
