//! The programs and the counters together, and what happens to them: each event ends when both sides
//! have reported again, and the pool shows exactly what it owes for what it took.
//!
//! Read [`Scene::perform`]. Whatever fails on the way, all programs are gone before this is. It
//! deliberately gives no program a second chance: where one does not come back, that is the failure.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::demo::interrupt::Interrupt;
use crate::failure::Failure;
use crate::joules::books::{self, Epoch, Life, joules};
use crate::joules::ending::{self, Ending, Told};
use crate::joules::events::Event;
use crate::joules::plug::Plug;
use crate::joules::programs::{ACCOUNT, FARM, MINER, Places, Programs, Which, quiet_port};
use crate::joules::random::Random;
use crate::joules::rows::{self, Row};
use crate::joules::tap::{Report, Tap, Verdict};
use crate::joules::tree::Tree;
use crate::workspace::Binaries;

/// The longest that may pass until somebody has reported: an interval of 5 s, and lines that broke.
const REPORT_LIMIT: Duration = Duration::from_secs(20);
/// The longest that the pool may take to show what it took.
const SHOW_LIMIT: Duration = Duration::from_secs(5);
/// How often anything is looked at.
const NAP: Duration = Duration::from_millis(25);
/// Milliseconds between two events.
const QUIET: (u64, u64) = (300, 2_500);
/// The same before all are asked to stop: a pool takes four reports at once and then one each half
/// interval, 2.5 s, and whoever begins anew sends two. A last report that it does not take is said by
/// the next run, and here is none.
const CALM: (u64, u64) = (3_000, 4_500);
/// Milliseconds that a killed program is away.
const AWAY: (u64, u64) = (200, 1_200);

/// Everything. Fields drop in order: the programs end first.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    programs: Programs,
    tap: Tap,
    plug: Plug,
    tree: Tree,
    random: Random,
    begun: Instant,
    /// The miner's lives that are over.
    lives: Vec<Life>,
    /// The seconds of its meter's gap that the pool showed after each of them.
    gaps: Vec<f64>,
    miner_started: Instant,
    agent_started: Instant,
    interrupt: &'a Interrupt,
}

impl<'a> Scene<'a> {
    /// Starts everything; ends when both sides have reported.
    ///
    /// # Errors
    /// Where something cannot be started, or somebody does not report.
    pub(crate) fn begin(
        binaries: Binaries,
        folder: &Path,
        mut random: Random,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let begun = clock::now();
        let stratum = quiet_port(&mut random)?;
        let tap = Tap::start(stratum)?;
        let tree = Tree::start(folder.join("sys"), random.part())?;
        let plug = Plug::start(random.part())?;
        let programs = Programs::new(Places {
            binaries,
            folder: folder.to_owned(),
            stratum,
            tap: tap.address(),
            plug: plug.address(),
            sensors: tree.root().to_owned(),
        })?;
        let (lives, miner_started, agent_started) = (Vec::new(), begun, begun);
        let mut scene = Self {
            programs,
            tap,
            plug,
            tree,
            random,
            begun,
            lives,
            gaps: Vec::new(),
            miner_started,
            agent_started,
            interrupt,
        };
        scene.begin_to_report()?;
        Ok(scene)
    }

    fn begin_to_report(&mut self) -> Result<(), Failure> {
        self.programs.start(Which::Pool, self.interrupt)?;
        self.programs.start(Which::Rig, self.interrupt)?;
        // A pool takes a worker's energy once it has proven work.
        self.wait("a share of the rig", REPORT_LIMIT, |scene| {
            let row = scene.row(FARM)?;
            if row.shares > 0 { Ok(()) } else { Err("it has no shares".to_owned()) }
        })?;
        self.miner_started = self.programs.start(Which::Miner, self.interrupt)?;
        self.agent_started = self.programs.start(Which::Agent, self.interrupt)?;
        self.await_reports(&[MINER, FARM], self.begun)?;
        self.balance("all of it begins")
    }

    /// Lets something happen, and holds the pool to what it owes after it.
    ///
    /// # Errors
    /// Where somebody does not come back, or the pool shows anything else.
    pub(crate) fn perform(&mut self, event: Event) -> Result<(), Failure> {
        self.rest(QUIET)?;
        match event {
            Event::Miner => {
                self.kill_miner()?;
                self.rest(AWAY)?;
                let since = self.start_miner()?;
                self.await_reports(&[MINER], since)?;
            }
            Event::Agent => {
                self.programs.kill(Which::Agent)?;
                self.rest(AWAY)?;
                let since = self.programs.start(Which::Agent, self.interrupt)?;
                self.await_reports(&[FARM], since)?;
            }
            Event::Pool => {
                self.programs.kill(Which::Pool)?;
                self.rest(AWAY)?;
                let since = self.programs.start(Which::Pool, self.interrupt)?;
                self.await_reports(&[MINER, FARM], since)?;
            }
            Event::Answer => self.lose_an_answer()?,
            Event::Everything => self.kill_everything()?,
        }
        self.balance(&event.to_string())?;
        if event.kills_the_miner() {
            let row = self.row(MINER).map_err(Failure::new)?;
            self.gaps.push(row.meter().map_err(Failure::new)?.gap_seconds);
        }
        Ok(())
    }

    fn lose_an_answer(&mut self) -> Result<(), Failure> {
        self.tap.lose_an_answer();
        let lost = self.wait("an answer to lose", REPORT_LIMIT, |scene| {
            scene.tap.lost().ok_or_else(|| "no report came by".to_owned())
        })?;
        let of = |worker: &str| lost.worker == user(worker);
        let worker = if of(MINER) { MINER } else { FARM };
        self.await_reports(&[worker], clock::now())
    }

    fn kill_everything(&mut self) -> Result<(), Failure> {
        self.programs.kill(Which::Pool)?;
        self.rest(AWAY)?;
        self.kill_miner()?;
        self.programs.kill(Which::Agent)?;
        self.rest(AWAY)?;
        let since = self.programs.start(Which::Pool, self.interrupt)?;
        self.start_miner()?;
        self.programs.start(Which::Agent, self.interrupt)?;
        self.await_reports(&[MINER, FARM], since)
    }

    fn kill_miner(&mut self) -> Result<(), Failure> {
        let ended = self.programs.kill(Which::Miner)?;
        self.lives.push(Life { started: self.miner_started, ended });
        Ok(())
    }

    fn start_miner(&mut self) -> Result<Instant, Failure> {
        self.miner_started = self.programs.start(Which::Miner, self.interrupt)?;
        Ok(self.miner_started)
    }

    /// Asks everybody to stop, in order, and settles the books.
    ///
    /// # Errors
    /// Where a figure is not the one that is expected.
    pub(crate) fn finish(mut self) -> Result<Ending, Failure> {
        self.rest(CALM)?;
        let tool = ending::check_metrics(&self.programs)?;
        let ended = self.programs.stop(Which::Miner, self.interrupt)?;
        self.lives.push(Life { started: self.miner_started, ended });
        let ended = self.programs.stop(Which::Agent, self.interrupt)?;
        let agent = Life { started: self.agent_started, ended };
        self.programs.stop(Which::Rig, self.interrupt)?;
        self.balance("SIGTERM to miner and agent")?;
        let told = Told {
            rows: [MINER, FARM].map(|worker| self.row(worker)),
            metrics: self.programs.metrics(Which::Pool)?,
            reports: self.tap.reports(),
            miner: (self.lives.clone(), self.tree.history().all()),
            gaps: self.gaps.clone(),
            agent: (agent, self.plug.answered().all()),
        };
        self.programs.stop(Which::Pool, self.interrupt)?;
        ending::verify(&self.programs)?;
        told.settle(tool)
    }

    /// Waits until these have reported since then, each under the epoch that it should be at.
    fn await_reports(&mut self, workers: &[&str], since: Instant) -> Result<(), Failure> {
        let epochs = |worker: &str| if worker == MINER { self.lives.len() + 1 } else { 1 };
        let awaited: Vec<(&str, usize)> =
            workers.iter().map(|worker| (*worker, epochs(worker))).collect();
        self.wait("reports that the pool takes", REPORT_LIMIT, |scene| {
            let reports = scene.tap.reports();
            let mut missing = awaited.iter().filter(|(worker, epochs)| {
                let found = of(&reports, worker);
                let newest = found.last().map(|epoch| epoch.last.at);
                found.len() < *epochs || newest.is_none_or(|newest| newest < since)
            });
            match missing.next() {
                None => Ok(()),
                Some((worker, _)) => Err(missed(&reports, worker)),
            }
        })
    }

    /// Holds what the pool shows to what it owes for the reports that it took.
    fn balance(&mut self, after: &str) -> Result<(), Failure> {
        let begun = clock::now();
        let owed =
            self.wait(&format!("the pool's figures, after: {after}"), SHOW_LIMIT, |scene| {
                let shown = [MINER, FARM].map(|worker| scene.row(worker));
                let reports = scene.tap.reports();
                let mut owed = [0; 2];
                for ((owed, row), worker) in owed.iter_mut().zip(shown).zip([MINER, FARM]) {
                    *owed = books::credited(&of(&reports, worker));
                    let (expected, found) = (joules(*owed), row?.meter()?.joules.clone());
                    if expected != found {
                        return Err(format!(
                            "{worker}: {expected} J are expected, {found} J are shown"
                        ));
                    }
                }
                Ok(owed)
            })?;
        let (seconds, [miner, farm]) = ((begun - self.begun).as_secs_f64(), owed.map(joules));
        println!("{seconds:5.1} s  {after:<27}  {MINER} {miner} J  {FARM} {farm} J");
        Ok(())
    }

    fn row(&self, worker: &str) -> Result<Row, String> {
        let answer = self.programs.workers().map_err(|failure| failure.to_string())?;
        rows::find(&answer, worker)
    }

    /// Sleeps for so many milliseconds as the seed decides, and sees that all is well meanwhile.
    fn rest(&mut self, (least, most): (u64, u64)) -> Result<(), Failure> {
        let end = clock::now() + Duration::from_millis(self.random.between(least, most));
        while clock::now() < end {
            self.check()?;
            thread::sleep(NAP);
        }
        Ok(())
    }

    /// Looks again and again until there is what is waited for.
    fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let begun = clock::now();
        loop {
            self.check()?;
            let why = match look(self) {
                Ok(found) => return Ok(found),
                Err(why) => why,
            };
            if begun.elapsed() > limit {
                let limit = limit.as_secs();
                return Err(Failure::new(format!(
                    "{what}: not as expected within {limit} s: {why}"
                )));
            }
            thread::sleep(NAP);
        }
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.interrupt.is_set() {
            return Err(Failure::new("stopped before its end"));
        }
        self.tap.check()?;
        self.plug.check()?;
        self.tree.check()?;
        self.programs.check_alive()
    }
}

/// A worker's name to the pool.
pub(crate) fn user(worker: &str) -> String {
    format!("{ACCOUNT}.{worker}")
}

/// The epochs of a worker.
pub(crate) fn of(reports: &[Report], worker: &str) -> Vec<Epoch> {
    books::epochs(reports, &user(worker))
}

/// Why a worker has not reported, as far as that is known.
fn missed(reports: &[Report], worker: &str) -> String {
    let newest = reports.iter().rfind(|report| report.worker == user(worker));
    match newest.map(|report| &report.verdict) {
        None => format!("{worker} has reported nothing"),
        Some(Verdict::Open) => format!("{worker}'s report was not answered"),
        Some(Verdict::Taken) => format!("{worker} has not reported since"),
        Some(Verdict::Refused(why)) => format!("{worker}'s report was refused: {why}"),
    }
}
