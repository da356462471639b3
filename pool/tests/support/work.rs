//! The pool's way from a node to its jobs, without connections and ledger: the watcher, the task
//! that makes jobs, and a miner that solves them.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::ScriptBuf;
use ledger::SliceHead;
use pool::clock::Clock;
use pool::coinbase::{Payee, assemble_block};
use pool::config::JobsConfig;
use pool::direct::Payroll;
use pool::jobs::{Announcement, JobMaker, JobState};
use pool::ledger_task::LedgerHandle;
use pool::metrics::Metrics;
use pool::node::{
    NodeSettings, NodeStatus, Nodes, Seen, TemplateSink, WatchSettings, watch_templates,
};
use stratum::Job;
use stratum::job::{coinbase, header, merkle_root, sha256d};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use units::BasisPoints;

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Jobs are renewed by nothing but the chain.
pub(crate) fn rarely() -> JobsConfig {
    let hour = Duration::from_secs(3600);
    JobsConfig { refresh: hour, fee_growth: BasisPoints::new(1000).unwrap(), poll: hour }
}

/// The tasks, and what they say. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Work {
    announced: watch::Receiver<Option<Arc<Announcement>>>,
    origins: mpsc::Receiver<(u64, Arc<Seen>)>,
    pub(crate) templates: watch::Receiver<Option<Arc<Seen>>>,
    pub(crate) status: watch::Receiver<NodeStatus>,
    pub(crate) nodes: Arc<Nodes>,
    _tasks: JoinSet<()>,
}

/// A job with the template that it was made of.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) announcement: Arc<Announcement>,
    pub(crate) seen: Arc<Seen>,
}

impl Work {
    pub(crate) fn start(
        node: NodeSettings,
        backups: Vec<NodeSettings>,
        jobs: JobsConfig,
        clock: Clock,
    ) -> Self {
        let nodes = Arc::new(Nodes::new(node, backups).unwrap());
        let (templates_in, templates) = watch::channel(None);
        let (status_in, status) = watch::channel(NodeStatus::Starting);
        let (announce, announced) = watch::channel(None);
        let (notice, _) = watch::channel(None);
        let (origins_in, origins) = mpsc::channel(256);
        let (ledger, queue) = LedgerHandle::new(clock);
        let mut tasks = JoinSet::new();
        let hour = Duration::from_secs(3600);
        let settings = WatchSettings { poll: jobs.poll, look: hour, max_age: hour };
        let sink = TemplateSink { templates: templates_in, status: status_in };
        let (watched, now) = (Arc::clone(&nodes), Arc::new(move || clock.now()));
        tasks.spawn(watch_templates(watched, settings, now, sink, CancellationToken::new()));
        let maker = JobMaker {
            run_mark: [0; 4],
            templates: templates.clone(),
            ledger,
            payee: Payee { script: ScriptBuf::from_bytes(vec![0x51]), tag: b"test".to_vec() },
            settings: jobs,
            writers: 1,
            slice: hour,
            wages: None,
            max_age: hour,
            announce,
            notice,
            origins: origins_in,
            resume: JobState::default(),
            direct: None,
            committed: (SliceHead::NONE, Payroll::default()),
            reading: JoinSet::new(),
            clock,
            metrics: Metrics::new().unwrap().jobs,
        };
        tasks.spawn(async move {
            let _queue = queue;
            let _ended = maker.run(CancellationToken::new()).await;
        });
        Self { announced, origins, templates, status, nodes, _tasks: tasks }
    }

    /// The next job; one that was overtaken meanwhile is left out.
    pub(crate) async fn next(&mut self) -> Given {
        let next = async {
            let (mut id, mut seen) = self.origins.recv().await.unwrap();
            let is_it = |one: &Option<Arc<Announcement>>| {
                one.as_ref().is_some_and(|one| one.job.id.get() >= id)
            };
            let announcement = self.announced.wait_for(is_it).await.unwrap().clone().unwrap();
            while announcement.job.id.get() > id {
                (id, seen) = self.origins.recv().await.unwrap();
            }
            Given { announcement, seen }
        };
        timeout(PATIENCE, next).await.expect("there is a job")
    }

    /// Whether a job is there that was not looked at.
    pub(crate) fn has_next(&self) -> bool {
        !self.origins.is_empty()
    }
}

impl Given {
    pub(crate) fn job(&self) -> &Job {
        &self.announcement.job
    }

    /// Height, whether it is an empty block's, whether earlier work is to be dropped, and epoch.
    pub(crate) fn is(&self) -> (u32, bool, bool, u64) {
        let job = self.job();
        assert_eq!(job.template.prev_hash, self.seen.template.prev_hash);
        (job.template.height, self.seen.empty, job.clean, job.epoch)
    }

    /// A block of this job, as a miner finds it and the pool hands it in.
    pub(crate) fn solve(&self) -> Vec<u8> {
        let (job, xn1, xn2) = (&self.job().template, [1; 4], [2; 8]);
        let coinbase = coinbase(job, &xn1, &xn2);
        let root = merkle_root(sha256d(&coinbase), &job.branch);
        let header =
            |nonce| header(job.version, &job.prev_hash, &root, job.ntime, job.nbits, nonce);
        let target = job.network_target;
        let is_block = |header: &[u8; 80]| target.is_met_by(&sha256d(header));
        let header = (0..1_000_000).map(header).find(is_block).expect("a chain for tests is easy");
        assemble_block(&header, &coinbase, &self.seen.template).unwrap()
    }
}
