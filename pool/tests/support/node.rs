//! A Bitcoin Core of our own: on a chain of its own, in an empty directory, with no peers, gone with the
//! value that stands for it.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pool::node::{Auth, Network, NodeClient, NodeSettings};
use serde_json::json;

/// What is said where there is no node to compare with.
const LEFT_OUT: &str = "left out: no bitcoind (cargo xtask node builds one)";
/// Ports are taken by chance, so another may be quicker.
const STARTS: usize = 5;
/// Looks at a starting node, and the time between them: a minute.
const LOOKS: usize = 1_200;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest that a call may take; a block of 4 MB on a busy machine is the slowest.
const LIMIT: Duration = Duration::from_secs(60);

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    pub(crate) client: NodeClient,
    /// Where its RPC answers.
    pub(crate) port: u16,
    /// How others prove that they may ask.
    pub(crate) cookie: PathBuf,
    _dir: tempfile::TempDir,
}

impl Node {
    /// Starts a node whose clock stands at `time` (Unix seconds), or goes on the machine's; `None`
    /// where none is installed.
    pub(crate) async fn start(time: Option<u64>) -> Option<Self> {
        Self::start_on("regtest", time).await
    }

    /// The same on the chain of this name.
    pub(crate) async fn start_on(chain: &str, time: Option<u64>) -> Option<Self> {
        let Some(program) = find() else {
            assert!(
                env::var_os("WATTPROOF_STRICT").is_none_or(|strict| strict != "1"),
                "{LEFT_OUT}"
            );
            // Past the capture of a test's output: a test left out should be seen.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "{LEFT_OUT}").unwrap();
            return None;
        };
        for _ in 0..STARTS {
            if let Some(node) = Self::try_start(&program, chain, time).await {
                return Some(node);
            }
        }
        panic!("{} does not start", program.display());
    }

    /// `None` where the node ended at once, as it does when its port is taken.
    async fn try_start(program: &Path, chain: &str, time: Option<u64>) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let stderr = dir.path().join("stderr");
        let child = Command::new(program)
            .args(arguments(chain, dir.path(), port, time))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        // The main chain's files are at the top of the directory.
        let folder = if chain == "main" { "" } else { chain };
        let cookie = dir.path().join(folder).join(".cookie");
        let client = NodeClient::new(NodeSettings {
            url: format!("http://127.0.0.1:{port}"),
            auth: Auth::Cookie(cookie.clone()),
            network: Network::Regtest,
            timeout: LIMIT,
        });
        let mut node = Self { child, client: client.unwrap(), port, cookie, _dir: dir };
        for _ in 0..LOOKS {
            if let Some(status) = node.child.try_wait().unwrap() {
                let words = fs::read_to_string(&stderr).unwrap();
                let mut out = std::io::stderr();
                writeln!(out, "bitcoind: {status}: {words}").unwrap();
                return None;
            }
            let answer = node.client.call_within("getblockcount", json!([]), LIMIT).await;
            if answer.is_ok() {
                return Some(node);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("bitcoind answers nothing: {}", fs::read_to_string(&stderr).unwrap());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing of it is kept: no need to end well, but it must have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(chain: &str, dir: &Path, port: u16, time: Option<u64>) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "-server",
        "-listen=0",
        "-connect=0",
        "-dnsseed=0",
        "-fixedseeds=0",
        "-natpmp=0",
        "-rpcbind=127.0.0.1",
        "-rpcallowip=127.0.0.1",
        "-printtoconsole=0",
        // Scripts are judged after all else in a block, as they are with more than one thread.
        "-par=2",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("-chain={chain}"));
    if chain == "regtest" {
        // The development chain has no policy and no deployments, not even the dummy's.
        arguments.extend(["-acceptnonstdtxn=1", "-vbparams=testdummy:-2:0"].map(str::to_owned));
    }
    arguments.push(format!("-datadir={}", dir.display()));
    arguments.push(format!("-rpcport={port}"));
    arguments.extend(time.map(|time| format!("-mocktime={time}")));
    arguments
}

/// The node that `cargo xtask node` would take: the one named, on the PATH, or built before.
fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("BITCOIND") {
        return Some(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        env::split_paths(&path).map(|folder| folder.join("bitcoind")).collect();
    places.extend(built());
    places.into_iter().find(|place| place.is_file())
}

/// Nodes in the user's cache directory, the newest version first.
fn built() -> Vec<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let Some(cache) = cache.map(PathBuf::from).or(home) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(cache.join("wattproof")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("bitcoin-core-"))
        })
        .map(|folder| folder.join("bin/bitcoind"))
        .collect();
    found.sort();
    found.reverse();
    found
}
