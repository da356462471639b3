//! What a stranger, or a node that is not the operator's, may try with the pool itself: rows of
//! `docs/threats.md` that no test within a module can show. Every test ends by itself also where
//! nothing is kept out.
//!
//! What is not here: the protocol's own (`stratum/tests/threats.rs`), and blocks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{self, Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::ScriptBuf;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, Lines};
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use config::Secret;
use ledger::{SliceHead, WorkerId};
use pool::clock::Clock;
use pool::coinbase::Payee;
use pool::config::{Ack, JobsConfig};
use pool::direct::Payroll;
use pool::front::{
    Front, Shared,
    door::Rules,
    mail::{Mail, Mailbox},
    ports::Port,
};
use pool::jobs::{Announcement, JobMaker, JobState};
use pool::ledger_task::{Command, Credit, LedgerHandle};
use pool::limits::Limits;
use pool::metrics::Metrics;
use pool::node::{Auth, Network, NodeClient, NodeError, NodeSettings};
use pool::node::{Seen, Template, TemplateError};
use stratum::v1::server::Settings;
use units::{BasisPoints, Difficulty};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// `wattproof-pool demo` on free ports. Dropping it ends it.
struct Pool {
    child: Child,
    stratum: SocketAddr,
    /// Held, so that the pool can write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Pool {
    fn start(data: &Path) -> Self {
        let mut child = process::Command::new(env!("CARGO_BIN_EXE_wattproof-pool"))
            .args(["demo", "--stratum", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("WATTPROOF_POOL_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().unwrap().parse();
        Self { child, stratum: address.unwrap(), _stdout: stdout }
    }

    /// The extranonce 1 that a new connection is given, and the connection.
    fn subscribe(&self) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.stratum).unwrap();
        stream.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        (answer["result"][1].as_str().unwrap().to_owned(), stream)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn each_connection_has_an_extranonce_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let pool = Pool::start(data.path());
        let miners: Vec<_> = (0..4).map(|_| pool.subscribe()).collect();
        seen.extend(miners.iter().map(|(xn1, _)| xn1.clone()));
    }
    assert!(seen.iter().all(|xn1| xn1.len() == 8), "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8, "an extranonce 1 was given out twice: {seen:?}");
}

/// A template with so many transactions.
fn template(count: usize) -> Result<Template, TemplateError> {
    let transaction = json!({"data": "00", "txid": "00".repeat(32)});
    Template::from_json(
        &json!({
            "version": 0x2000_0000, "height": 101, "bits": "207fffff", "curtime": 1_700_000_000,
            "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64,
            "previousblockhash": "00".repeat(32), "transactions": vec![transaction; count],
        })
        .to_string(),
    )
}

/// Answers the first request with a body of at most `length` bytes, for as long as it is read.
fn answers_without_end(listener: &TcpListener, length: usize) {
    let (mut stream, _) = listener.accept().unwrap();
    let _asked = stream.read(&mut [0; 4096]).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..length / chunk.len() {
        if stream.write_all(&chunk).is_err() {
            return; // the client has had enough
        }
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let node = std::thread::spawn(move || answers_without_end(&listener, 80 << 20));
    let client = NodeClient::new(NodeSettings {
        url: url.clone(),
        auth: Auth::UserPassword("pool".to_owned(), Secret::new("hunter2")),
        network: Network::Regtest,
        timeout: Duration::from_secs(60),
    });
    let error = client.unwrap().call("getblocktemplate", json!([])).await.unwrap_err();
    assert!(matches!(error, NodeError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
    node.join().unwrap();
}

#[tokio::test]
async fn a_node_that_is_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = NodeClient::new(NodeSettings {
        url: format!("http://{}", listener.local_addr().unwrap()),
        auth: Auth::UserPassword("pool".to_owned(), Secret::new("hunter2")),
        network: Network::Regtest,
        timeout: Duration::from_millis(100),
    })
    .unwrap();
    let asked = client.call("getblockchaininfo", json!([]));
    let answer = timeout(Duration::from_secs(10), asked).await;
    let error = answer.expect("it gives up by itself").unwrap_err();
    assert!(matches!(error, NodeError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn work_on_an_old_template_is_taken_back() {
    let clock = Clock::start();
    let (ledger, _queue) = LedgerHandle::new(clock);
    let Work { mut announced, notice: mut told, _tasks } =
        work(clock, ledger, Duration::from_secs(1));
    let first = timeout(PATIENCE, announced.wait_for(Option::is_some)).await;
    assert!(first.is_ok_and(|first| first.is_ok()), "there is work on a new template");
    let gone =
        timeout(PATIENCE, announced.wait_for(Option::is_none)).await.map(|gone| gone.is_ok());
    assert_eq!(gone, Ok(true), "it is taken back");
    let said = timeout(PATIENCE, told.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    assert!(said.unwrap().contains("use your backup pool"));
}

/// A task that makes jobs of one template, and what it says. It ends with this.
struct Work {
    announced: watch::Receiver<Option<Arc<Announcement>>>,
    notice: watch::Receiver<Option<Arc<str>>>,
    _tasks: JoinSet<()>,
}

fn work(clock: Clock, ledger: LedgerHandle, max_age: Duration) -> Work {
    let template = template(0).unwrap();
    let (node, templates) = watch::channel(Some(Arc::new(Seen::new(template, clock.now()))));
    let (announce, announced) = watch::channel(None);
    let (notice_in, notice) = watch::channel(None);
    let (origins, mut blocks) = mpsc::channel(8);
    let jobs = JobMaker {
        templates,
        ledger,
        payee: Payee { script: ScriptBuf::new(), tag: Vec::new() },
        run_mark: [0; 4],
        settings: JobsConfig {
            refresh: Duration::from_secs(30),
            fee_growth: BasisPoints::new(1000).unwrap(),
            poll: Duration::from_secs(5),
        },
        writers: 1,
        slice: Duration::from_secs(3600),
        wages: None,
        max_age,
        announce,
        notice: notice_in,
        origins,
        direct: None,
        committed: (SliceHead::NONE, Payroll::default()),
        reading: JoinSet::new(),
        resume: JobState::default(),
        clock,
        metrics: Metrics::new().unwrap().jobs,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _node = node;
        let _ended = jobs.run(CancellationToken::new()).await;
    });
    tasks.spawn(async move { while blocks.recv().await.is_some() {} });
    Work { announced, notice, _tasks: tasks }
}

/// A ledger that registers everybody, and hands on shares and never answers them.
async fn silent_ledger(
    mut queue: mpsc::Receiver<Command>,
    waiting: mpsc::Sender<(Vec<Credit>, Mailbox)>,
) {
    while let Some(command) = queue.recv().await {
        if let Command::LeaseExtranonces(count, reply) = command {
            reply.send(Ok(0..count)).unwrap();
        } else if let Command::Register { reply, .. } = command {
            reply.send(Ok(WorkerId::new(1))).unwrap();
        } else if let Command::Shares { list, home } = command {
            waiting.send((list, home)).await.unwrap();
        }
    }
}

/// A front of one thread on one port.
fn front(shared: Shared, limits: Limits, settings: Settings, address: SocketAddr) -> Front {
    let (settings, proxies) = (Arc::new(settings), Vec::new());
    let ports = Arc::from([Port { address, settings, tls: false, proxies }]);
    let (never_banned, reconnect) = (Vec::new(), Arc::from([]));
    Front {
        shared,
        rules: Rules { limits, never_banned, ports, reconnect, tls: None },
        tls: None,
        threads: NonZeroUsize::MIN,
        changes: watch::channel(None).1,
        taken: Vec::new(),
        jobs: Arc::default(),
        freeze: CancellationToken::new(),
    }
}

#[tokio::test]
async fn a_share_is_answered_once_the_ledger_has_it() {
    let clock = Clock::start();
    let (ledger, queue) = LedgerHandle::new(clock);
    let (waiting, mut shares) = mpsc::channel(8);
    let work = work(clock, ledger.clone(), Duration::from_secs(3600));
    let (found, _blocks) = mpsc::channel(8);
    let mut settings = Settings::default();
    // Every hash is a share.
    settings.difficulty.min = Difficulty::new(1e-12).unwrap();
    settings.difficulty.start = settings.difficulty.min;
    let shared = Shared {
        network: bitcoin::Network::Regtest,
        ack: Ack::Durable,
        jobs: work.announced.clone(),
        notice: work.notice.clone(),
        reconnect: Arc::from([]),
        ledger,
        found,
        clock,
        metrics: Metrics::new().unwrap().stratum,
    };
    let all = 10_000;
    let limits = Limits {
        per_address: all,
        per_subnet: all,
        total: all,
        accepts_per_second: all,
        subnet_accepts_per_second: all,
        exempt: Vec::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let front = front(shared, limits, settings, address);
    let mut tasks = JoinSet::new();
    tasks.spawn(silent_ledger(queue, waiting));
    tasks.spawn(async move {
        let _ended = front.run(vec![listener], CancellationToken::new()).await;
    });

    let miner = tokio::net::TcpStream::connect(address).await.unwrap();
    let (reader, mut writer) = miner.into_split();
    let mut lines = tokio::io::BufReader::new(reader).lines();
    let hello = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"test\"]}}\n\
         {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{ADDRESS}\"]}}\n"
    );
    writer.write_all(hello.as_bytes()).await.unwrap();
    let params = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        if said["method"] == "mining.notify" {
            break said["params"].clone();
        }
    };
    let share = json!([ADDRESS, params[0], "0000000000000000", params[7], "00000001"]);
    let submit = json!({"id": 9, "method": "mining.submit", "params": share});
    writer.write_all(format!("{submit}\n").as_bytes()).await.unwrap();

    let (list, home) = timeout(PATIENCE, shares.recv()).await.unwrap().unwrap();
    let early = timeout(Duration::from_millis(300), answer_to_share(&mut lines)).await;
    assert!(early.is_err(), "answered before it was on disk: {early:?}");
    home.post(Mail::Shares(list, Ok(())));
    let answer = timeout(PATIENCE, answer_to_share(&mut lines)).await.unwrap();
    assert_eq!(answer["result"], true);
}

/// What comes back for the request numbered 9.
async fn answer_to_share(lines: &mut Lines<tokio::io::BufReader<OwnedReadHalf>>) -> Value {
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        if said["id"] == 9 {
            return said;
        }
    }
}

#[test]
fn a_template_that_fits_no_block_is_refused() {
    assert!(template(16_667).is_ok());
    assert_eq!(template(16_668), Err(TemplateError::TooMany(16_668)));
}
