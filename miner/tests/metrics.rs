//! The shipped Prometheus rules and Grafana dashboard against a running miner, which mines for a
//! small pool on a real socket and reads an energy counter that starts over: every metric that
//! they name is served, and promtool takes `/metrics`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../config/prometheus/check.rs"]
mod check;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime},
};

use stratum::{
    DifficultySettings, Job, JobTemplate,
    v1::server::{Event, Session, Settings, WorkerKey},
};
use units::{Difficulty, Moment, Target, UnixMillis};

use self::check::{promtool, shipped, unmatched};

const JOB: &str = "wattproof-miner";
const PATIENCE: Duration = Duration::from_secs(60);
/// Between writes of the counter: a fraction of the miner's second between readings.
const COUNTER_EVERY: Duration = Duration::from_millis(100);
/// What the counter rises by each time: 50 W.
const COUNTER_STEP: u64 = 5_000_000;

/// What a miner serves once it has had shares accepted, energy counted and a gap in it.
fn served() -> &'static str {
    static SERVED: OnceLock<String> = OnceLock::new();
    SERVED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut counter = Counter::open(folder.path());
        let miner = Miner::start(open_pool(), folder.path());
        let start = now();
        let mut has_started_over = false;
        loop {
            counter.rise();
            let metrics = miner.metrics();
            let sample = |start: &str| metrics.lines().find(|line| line.starts_with(start));
            let accepted = sample("wattproof_miner_shares_total{verdict=\"accepted\"} ");
            let power = sample("wattproof_energy_power_watts").filter(|line| !line.ends_with(" 0"));
            let gap = sample("wattproof_energy_gap_seconds_total");
            if accepted.is_some_and(|line| !line.ends_with(" 0")) && power.is_some() {
                if gap.is_some() {
                    return metrics;
                }
                if !has_started_over {
                    counter.start_over();
                    has_started_over = true;
                }
            }
            assert!(start.elapsed() < PATIENCE, "no share, power or gap in:\n{metrics}");
            thread::sleep(COUNTER_EVERY);
        }
    })
}

/// A processor's counter, as Linux shows it, in a folder of our own.
struct Counter {
    zone: std::path::PathBuf,
    microjoules: u64,
}

impl Counter {
    fn open(root: &Path) -> Self {
        let zone = root.join("class/powercap/intel-rapl:0");
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
        let counter = Self { zone, microjoules: 100_000_000_000 };
        counter.write();
        counter
    }

    fn rise(&mut self) {
        self.microjoules += COUNTER_STEP;
        self.write();
    }

    /// As after a suspend: the counter stands far below where it was.
    fn start_over(&mut self) {
        self.microjoules = 0;
        self.write();
    }

    /// At once, so that no reading finds half of it.
    fn write(&self) {
        let beside = self.zone.join("beside");
        fs::write(&beside, format!("{}\n", self.microjoules)).unwrap();
        fs::rename(&beside, self.zone.join("energy_uj")).unwrap();
    }
}

/// The binary, mining on one thread.
struct Miner {
    child: Child,
    api: SocketAddr,
}

impl Miner {
    fn start(pool: SocketAddr, folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wattproof-miner"))
            .args(["-o", &format!("stratum+tcp://{pool}"), "-u", "u", "-q"])
            .args(["-t", "1", "--cpu", "portable", "--api", "127.0.0.1:0"])
            .env("XDG_STATE_HOME", folder)
            .env("WATTPROOF_MINER_ENERGY_SYSFS", folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let api = line.trim().strip_prefix("api      http://").expect("the API's address");
        let api = api.trim_end_matches('/').parse().unwrap();
        Self { child, api }
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.api).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: miner\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }
}

/// A failed test leaves no process behind.
impl Drop for Miner {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Takes one miner, gives it one job and takes its shares and reports.
fn open_pool() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener.accept().unwrap().0));
    address
}

/// Until the miner has gone.
fn serve(mut stream: &TcpStream) {
    let start = now();
    let mut session = Session::new(Arc::new(settings()), [0, 0, 0, 1], moment(start));
    session.set_job(Arc::new(job()), moment(start));
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut input = [0; 65_536];
    loop {
        match stream.read(&mut input) {
            Ok(0) => return,
            Ok(length) => session.receive(&input[..length], moment(start)).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        while let Some(event) = session.poll() {
            match event {
                Event::Authorize { token, .. } => {
                    session.authorize(token, Ok(WorkerKey::new(1)), moment(start));
                }
                Event::Share { token, .. } => session.acknowledge(token, Ok(())),
                Event::Energy { token, .. } => session.answer_energy(token, Ok(())),
                Event::Agent { .. }
                | Event::Extranonce
                | Event::Rejected { .. }
                | Event::Resume { .. }
                | Event::StaleBlock { .. }
                | Event::Subscribed { .. } => {}
                Event::Close { reason } => panic!("the pool would hang up: {reason}"),
            }
        }
        let mut output = Vec::new();
        session.transmit(&mut output);
        if stream.write_all(&output).is_err() {
            return;
        }
    }
}

fn settings() -> Settings {
    let difficulty = |value| Difficulty::new(value).unwrap();
    Settings {
        difficulty: DifficultySettings {
            start: difficulty(1e-4),
            min: difficulty(1e-9),
            max: difficulty(1.0),
            shares_per_minute: 600.0,
            vardiff: false,
        },
        energy_interval: Some(Duration::from_secs(1)),
        ..Settings::default()
    }
}

fn job() -> Job {
    let ntime = u32::try_from(moment(now()).unix.seconds()).unwrap();
    let template = JobTemplate {
        height: 1,
        version: 0x2000_0000,
        prev_hash: [7; 32],
        nbits: 0x1d00_ffff,
        ntime,
        min_ntime: ntime,
        coinbase1: vec![1; 60],
        coinbase2: vec![2; 80],
        branch: vec![[3; 32]; 3],
        network_target: Target::difficulty_one(),
    };
    Job::new(1, template, true, 1, 0)
}

#[expect(clippy::disallowed_methods, reason = "a test of a process runs on the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a test of a process runs on the machine's clock")]
fn moment(start: Instant) -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Moment { mono: start.elapsed(), unix: UnixMillis::new(unix.as_millis().try_into().unwrap()) }
}

#[test]
fn every_metric_of_the_rules_and_the_dashboard_is_served() {
    let missing = unmatched(JOB, served());
    assert!(missing.is_empty(), "{missing:#?}\n{}", served());
}

#[test]
fn promtool_takes_what_the_miner_serves() {
    let test = "promtool_takes_what_the_miner_serves";
    assert_eq!(promtool(test, &["check", "metrics"], served()), None);
}

#[test]
fn the_miner_is_scraped() {
    let configuration = fs::read_to_string(shipped("prometheus/prometheus.yml")).unwrap();
    assert!(configuration.lines().any(|line| line == format!("  - job_name: {JOB}")));
}
