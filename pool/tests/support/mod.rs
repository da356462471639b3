//! What the process tests need: a demo pool as a child process, and a miner that talks Stratum to
//! it over a real socket and finds real shares.

#![expect(clippy::disallowed_methods, reason = "tests of processes run on the machine's clock")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use stratum::{
    job::sha256d,
    v1::client::{ClientEvent, ClientJob, ClientSession, ClientSettings, Solution, SubmitToken},
};
use units::{Moment, UnixMillis};

pub(crate) mod node;

pub(crate) const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// No wait in these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Nonces that a miner tries between looks at its socket.
const SLICE: u32 = 20_000;

/// A pool as a process of its own, on free ports.
#[derive(Debug)]
pub(crate) struct Pool {
    child: Child,
    pub(crate) stratum: SocketAddr,
    pub(crate) http: SocketAddr,
    stdout: BufReader<ChildStdout>,
}

impl Pool {
    pub(crate) fn start(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"));
        command
            .args(["demo", "--stratum", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
            .arg(data);
        Self::run_by(&mut command)
    }

    /// `wattproof-pool run` with a configuration whose ports are free ones.
    pub(crate) fn run(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"));
        Self::run_by(command.args(["run", "-c"]).arg(config))
    }

    /// The same, with so many ports; the first is the one that is named.
    pub(crate) fn run_with_ports(config: &Path, ports: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-pool"));
        Self::run_on(command.args(["run", "-c"]).arg(config), ports)
    }

    /// A command that ends in running a pool.
    pub(crate) fn run_by(command: &mut Command) -> Self {
        Self::run_on(command, 1)
    }

    fn run_on(command: &mut Command, ports: usize) -> Self {
        let mut child =
            command.env("WATTPROOF_POOL_LOG", "warn").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut next = |name: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let (key, value) = line.trim().split_once(' ').unwrap_or((&line, ""));
            assert_eq!(key, name, "{line:?}");
            value.trim().to_owned()
        };
        let stratum = next("stratum").trim_start_matches("stratum+tcp://").parse().unwrap();
        for _ in 1..ports {
            next("stratum");
        }
        let http =
            next("page").trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        Self { child, stratum, http, stdout }
    }

    /// As SIGKILL would have it: no handler runs, nothing is flushed.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Sends a signal: `HUP`, `USR2`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// What the system keeps of the process under this name.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_process(&self, name: &str) -> String {
        let text = std::fs::read(format!("/proc/{}/{name}", self.child.id())).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until another image of the pool has said where it serves.
    pub(crate) fn wait_for_another_image(&mut self) {
        let mut line = String::new();
        for name in ["stratum", "page"] {
            line.clear();
            self.stdout.read_line(&mut line).unwrap();
            assert!(line.starts_with(name), "{line:?}");
        }
    }

    /// SIGTERM, and the exit status that follows.
    pub(crate) fn stop(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().unwrap().success()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let (head, body) = self.ask(path);
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        body
    }

    /// The head and the body of an answer.
    pub(crate) fn ask(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: pool\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Polls `/readyz` until it says no for this reason.
    pub(crate) fn wait_until_not_ready(&self, reason: &str) {
        let start = Instant::now();
        loop {
            let (head, body) = self.ask("/readyz");
            if head.starts_with("HTTP/1.1 503") && body.contains(reason) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{reason:?} was not said: {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).unwrap()
    }

    /// Polls `/api/v1/pool` until `holds`.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let pool = self.json("/api/v1/pool");
            if holds(&pool) {
                return pool;
            }
            assert!(start.elapsed() < PATIENCE, "{what} did not come: {pool}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A failed test leaves no process behind.
impl Drop for Pool {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// A miner on a blocking socket: hashes between looks at the socket.
#[derive(Debug)]
pub(crate) struct Miner {
    stream: TcpStream,
    session: ClientSession,
    start: Instant,
    job: Option<Arc<ClientJob>>,
    xn2: u64,
    /// Shares without a verdict, each with its header where it is known.
    pending: HashMap<SubmitToken, Option<[u8; 80]>>,
    /// Headers of shares that were accepted.
    pub(crate) taken: Vec<[u8; 80]>,
    pub(crate) accepted: u64,
    pub(crate) rejected: Vec<String>,
    /// What the pool wanted shown.
    pub(crate) messages: Vec<String>,
}

impl Miner {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_as(address, &format!("{ADDRESS}.test"))
    }

    pub(crate) fn connect_as(address: SocketAddr, user: &str) -> Self {
        // A millionth of difficulty 1: a share each 4,300 hashes.
        Self::connect_with(address, user, "d=0.000001")
    }

    /// A miner that asks for no difficulty.
    pub(crate) fn connect_plainly(address: SocketAddr) -> Self {
        Self::connect_with(address, &format!("{ADDRESS}.plain"), "x")
    }

    /// Whether the pool keeps the connection.
    pub(crate) fn stays(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            if !self.exchange() {
                return false;
            }
        }
        true
    }

    fn connect_with(address: SocketAddr, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let start = Instant::now();
        let settings = ClientSettings {
            user: user.to_owned(),
            password: password.to_owned(),
            agent: "test".to_owned(),
            version_mask: 0,
            suggest_difficulty: None,
            energy: false,
        };
        let session = ClientSession::new(settings, moment(start));
        Self {
            stream,
            session,
            start,
            job: None,
            xn2: 0,
            pending: HashMap::new(),
            taken: Vec::new(),
            accepted: 0,
            rejected: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Mines until `enough`, or until the pool has gone (`false`).
    pub(crate) fn mine(&mut self, mut enough: impl FnMut(&Self) -> bool) -> bool {
        let start = Instant::now();
        while !enough(self) {
            assert!(start.elapsed() < PATIENCE, "accepted {}, {:?}", self.accepted, self.rejected);
            self.hash();
            if !self.exchange() {
                return false;
            }
        }
        true
    }

    /// Waits for the answers that are still out.
    pub(crate) fn settle(&mut self) {
        let start = Instant::now();
        while !self.pending.is_empty() && start.elapsed() < PATIENCE && self.exchange() {}
    }

    fn hash(&mut self) {
        let Some(job) = self.job.clone() else { return };
        if self.pending.len() > 200 {
            return;
        }
        for solution in self.solutions(&job, SLICE, usize::MAX) {
            self.submit(&solution);
        }
    }

    /// Sends so many shares of the newest job, where there is one and no more are unanswered than
    /// that, and takes what the pool says. Whether the pool is there.
    pub(crate) fn burst(&mut self, shares: usize) -> bool {
        if let Some(job) = self.job.clone()
            && self.pending.len() <= shares
        {
            for solution in self.solutions(&job, SLICE, shares) {
                self.submit(&solution);
            }
        }
        self.exchange()
    }

    /// Waits for work other than `than`.
    pub(crate) fn next_job(&mut self, than: Option<&str>) -> Arc<ClientJob> {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "no new work came");
            assert!(self.exchange(), "the pool has gone");
            if let Some(job) = self.job.clone().filter(|job| Some(job.id.as_str()) != than) {
                return job;
            }
        }
    }

    /// Asks for another difficulty, and listens for as long as an answer may take.
    pub(crate) fn suggest_difficulty(&mut self, difficulty: f64) {
        let line = format!(
            "{{\"id\":\"s\",\"method\":\"mining.suggest_difficulty\",\"params\":[{difficulty}]}}\n"
        );
        self.stream.write_all(line.as_bytes()).unwrap();
        self.listen();
    }

    /// Takes what the pool has to say, for as long as that may take, and hashes nothing.
    pub(crate) fn listen(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            assert!(self.exchange(), "the pool has gone");
        }
    }

    /// Whether a job has come.
    pub(crate) fn has_work(&self) -> bool {
        self.job.is_some()
    }

    /// Waits until the pool has shown a message with these words.
    pub(crate) fn wait_for_message(&mut self, words: &str) {
        let start = Instant::now();
        while !self.messages.iter().any(|message| message.contains(words)) {
            assert!(start.elapsed() < PATIENCE, "{words:?} was not shown: {:?}", self.messages);
            assert!(self.exchange(), "the pool has gone");
        }
    }

    /// One share of a job, not sent.
    pub(crate) fn solve(&mut self, job: &ClientJob) -> Solution {
        let found = (0..1_000).find_map(|_| self.solutions(job, SLICE, 1).pop());
        found.expect("a share in twenty million hashes")
    }

    /// Sends one share and waits for its verdict.
    pub(crate) fn send(&mut self, solution: &Solution) -> Result<(), String> {
        let (accepted, rejected) = (self.accepted, self.rejected.len());
        self.submit(solution);
        self.settle();
        match self.rejected.get(rejected) {
            Some(reason) => Err(reason.clone()),
            None if self.accepted > accepted => Ok(()),
            None => panic!("the share was not answered"),
        }
    }

    fn submit(&mut self, solution: &Solution) {
        let header = self.job.as_ref().filter(|job| job.id == solution.job_id).map(|job| {
            let mut header = job.header(&solution.xn2, solution.ntime, job.version);
            header[76..].copy_from_slice(&solution.nonce.to_le_bytes());
            header
        });
        self.pending.insert(self.session.submit(solution, moment(self.start)), header);
    }

    /// The first shares among the first nonces of the next extranonce 2.
    fn solutions(&mut self, job: &ClientJob, nonces: u32, most: usize) -> Vec<Solution> {
        self.xn2 += 1;
        let xn2 = self.xn2.to_be_bytes().to_vec();
        let mut header = job.header(&xn2, job.ntime, job.version);
        let meets = |nonce: &u32| {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            job.target.is_met_by(&sha256d(&header))
        };
        let found = (0..nonces).filter(meets).take(most);
        found
            .map(|nonce| Solution {
                job_id: job.id.clone(),
                xn2: xn2.clone(),
                ntime: job.ntime,
                nonce,
                version_bits: None,
            })
            .collect()
    }

    pub(crate) fn exchange(&mut self) -> bool {
        let mut out = Vec::new();
        self.session.transmit(&mut out);
        if self.stream.write_all(&out).is_err() {
            return false;
        }
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => self.session.receive(&buffer[..length], moment(self.start)).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        while let Some(event) = self.session.poll() {
            self.take(event);
        }
        true
    }

    fn take(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Job(job) => self.job = Some(job),
            ClientEvent::Verdict { token, result, .. } => {
                let header = self.pending.remove(&token).expect("a share is answered once");
                match result {
                    Ok(()) => {
                        self.accepted += 1;
                        self.taken.extend(header);
                    }
                    Err(error) => self.rejected.push(error.to_string()),
                }
            }
            ClientEvent::AuthorizationFailed { message } => panic!("not authorized: {message}"),
            ClientEvent::Closed { reason } => panic!("closed: {reason}"),
            ClientEvent::Message(text) => self.messages.push(text),
            ClientEvent::Authorized
            | ClientEvent::EnergyAccepted { .. }
            | ClientEvent::EnergyVerdict { .. }
            | ClientEvent::WorkerVerdict { .. }
            | ClientEvent::Notice(_)
            | ClientEvent::Reconnect { .. } => {}
        }
    }
}

fn moment(start: Instant) -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Moment { mono: start.elapsed(), unix: UnixMillis::new(unix.as_millis().try_into().unwrap()) }
}
