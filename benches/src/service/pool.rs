//! The pool as a process of its own, in a directory of its own, beside a node of ours.
//!
//! Read [`Pool::start`] and [`Pool::finish`]. It deliberately knows the pool by its command line
//! only, so that another version of it is measured in the same way.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{broadcasts::Broadcasts, node::Node};

/// Longest wait until it has work, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A pool that runs.
#[derive(Debug)]
pub(super) struct Pool {
    binary: PathBuf,
    child: Child,
    stratum: SocketAddr,
    page: SocketAddr,
    folder: tempfile::TempDir,
}

/// What went wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("{what}: {error}")]
    System { what: String, error: io::Error },
    #[error("the pool {what}; it said: {said}")]
    Pool { what: String, said: String },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> PoolError {
    let what = what.into();
    move |error| PoolError::System { what, error }
}

impl Pool {
    /// Starts it under `dir` and waits until it has work.
    pub(super) fn start(binary: &Path, dir: &Path, node: &Node) -> Result<Self, PoolError> {
        // It is started in a directory of its own.
        let binary = std::path::absolute(binary).map_err(system(binary.display().to_string()))?;
        let folder = tempfile::tempdir_in(dir)
            .map_err(system(format!("a directory under {}", dir.display())))?;
        let settings = folder.path().join("pool.toml");
        fs::write(&settings, configuration(node.address()))
            .map_err(system(settings.display().to_string()))?;
        let log = File::create(folder.path().join("log")).map_err(system("the pool's log"))?;
        let mut child = Command::new(&binary)
            .current_dir(folder.path())
            .args(["run", "-c", "pool.toml"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(system(binary.display().to_string()))?;
        let lines = BufReader::new(child.stdout.take().expect("it was asked for"));
        let unknown = SocketAddr::from(([0; 4], 0));
        let (stratum, page) = (unknown, unknown);
        let mut pool = Self { binary, child, stratum, page, folder };
        let (stratum, page) = addresses(lines).ok_or_else(|| pool.failed("did not start"))?;
        (pool.stratum, pool.page) = (stratum, page);
        pool.wait_for_work()?;
        Ok(pool)
    }

    pub(super) const fn stratum(&self) -> SocketAddr {
        self.stratum
    }

    /// What it says of new work so far.
    pub(super) fn broadcasts(&self) -> Broadcasts {
        Broadcasts::read(&ask(self.page, "/metrics").unwrap_or_default())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for_work(&mut self) -> Result<(), PoolError> {
        let mut waited = Duration::ZERO;
        while !is_ready(self.page) {
            if waited > PATIENCE {
                return Err(self.failed("has no work"));
            }
            self.still_runs()?;
            thread::sleep(LOOK);
            waited += LOOK;
        }
        Ok(())
    }

    fn still_runs(&mut self) -> Result<(), PoolError> {
        match self.child.try_wait().map_err(system("the pool's state"))? {
            Some(status) => Err(self.failed(&format!("ended with {status}"))),
            None => Ok(()),
        }
    }

    /// Where its ledger is.
    pub(super) fn ledger(&self) -> PathBuf {
        self.folder.path().join("pool.sqlite")
    }

    /// Leaves its directory behind when it is dropped, and says where.
    pub(super) fn keep_folder(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Asks it to stop, waits until it has, and gives the shares in its ledger, which must hold.
    /// It must not have panicked, and must end with success.
    pub(super) fn finish(&mut self) -> Result<u64, PoolError> {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().map_err(system("kill"))?;
        let mut waited = Duration::ZERO;
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(system("the pool's state"))? {
                break status;
            }
            if waited > PATIENCE {
                return Err(self.failed("does not stop"));
            }
            thread::sleep(LOOK);
            waited += LOOK;
        };
        let log = self.log();
        if let Some(panic) = log.lines().find(|line| line.contains("panicked")) {
            return Err(PoolError::Pool { what: "panicked".to_owned(), said: panic.to_owned() });
        }
        if !status.success() {
            return Err(self.failed(&format!("was asked to stop and ended with {status}")));
        }
        let output = Command::new(&self.binary)
            .current_dir(self.folder.path())
            .args(["verify", "ledger", "--json", "-c", "pool.toml"])
            .output()
            .map_err(system(self.binary.display().to_string()))?;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let shares = report["shares"].as_u64().filter(|_| report["ok"] == true);
        shares.ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            PoolError::Pool { what: "does not stand by its ledger".to_owned(), said }
        })
    }

    /// What it said.
    fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// With the end of its log.
    fn failed(&self, what: &str) -> PoolError {
        let said = self.log();
        let said = said.lines().last().unwrap_or("nothing").to_owned();
        PoolError::Pool { what: what.to_owned(), said }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(node: SocketAddr) -> String {
    format!(
        "[node]\nurl = \"http://{node}\"\nauth = \"bench:bench\"\nnetwork = \"regtest\"\n\
         [stratum]\nlisten = [\"127.0.0.1:0\"]\n\
         difficulty = {{ start = 1e-9, min = 1e-9, max = 1e12, shares_per_minute = 10, \
         vardiff = false }}\n\
         [payout]\nscheme = \"pplns\"\n\
         address = \"bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry\"\n\
         fee_percent = \"1.0\"\n\
         [ledger]\npath = \"pool.sqlite\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\ntotal = 100000\naccepts_per_second = 100000\n"
    )
}

/// Where it says that miners connect and that its page is.
fn addresses(lines: impl BufRead) -> Option<(SocketAddr, SocketAddr)> {
    let mut stratum = None;
    for line in lines.lines() {
        let line = line.ok()?;
        let (what, address) = line.split_once("://")?;
        if what.starts_with("stratum") {
            stratum = address.parse().ok();
        } else if what.starts_with("page") {
            return Some((stratum?, address.trim_end_matches('/').parse().ok()?));
        }
    }
    None
}

fn is_ready(page: SocketAddr) -> bool {
    ask(page, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The answer with its head.
fn ask(page: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(page)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: pool\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_those_that_the_pool_prints() {
        let text = "stratum  stratum+tcp://127.0.0.1:4001\npage     http://127.0.0.1:4002/\n";
        let expected = (([127, 0, 0, 1], 4001).into(), ([127, 0, 0, 1], 4002).into());
        assert_eq!(addresses(text.as_bytes()), Some(expected));
        assert_eq!(addresses(&b"wattproof-pool: no\n"[..]), None);
    }
}
