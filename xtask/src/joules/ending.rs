//! What has to agree when all is over: the pool's figures with the reports that it took, the reports
//! with what the counters have shown, the gaps with when a miner was away, each row with itself, the
//! metrics with the rows, and the ledger with its own event log.
//!
//! Read [`Told::settle`]. It deliberately reads nothing: everything was told before.
//!
//! Units: microjoules where no name says otherwise.

use std::fmt::Write as _;

use crate::demo::decimal::Decimal;
use crate::demo::{exposition, ledger};
use crate::failure::Failure;
use crate::joules::books::{self, Account, Epoch, Life, joules};
use crate::joules::events::Event;
use crate::joules::history::Shown;
use crate::joules::programs::{FARM, MINER, Programs, Which};
use crate::joules::prometheus;
use crate::joules::rows::Row;
use crate::joules::scene::{of, user};
use crate::joules::tap::{Report, Verdict};
use crate::joules::tree;

/// The pool's metric of joules, by the kind of meter.
const JOULES: &str = "wattproof_energy_joules_total";

/// Everything that is known when all is over.
#[derive(Debug)]
pub(crate) struct Told {
    /// Of the miner and of the farm.
    pub(crate) rows: [Result<Row, String>; 2],
    /// The pool's.
    pub(crate) metrics: String,
    pub(crate) reports: Vec<Report>,
    /// The miner's lives, and what its counter has shown.
    pub(crate) miner: (Vec<Life>, Vec<Shown>),
    /// The seconds of its meter's gap that the pool showed after each but the last.
    pub(crate) gaps: Vec<f64>,
    /// The agent's from its first to its last, and what its plug has answered.
    pub(crate) agent: (Life, Vec<Shown>),
}

/// What was found to agree.
#[derive(Debug)]
pub(crate) struct Ending {
    miner: Account,
    farm: Account,
    rows: [Row; 2],
    /// The seconds that the miner was not there, at least, each time.
    away: Vec<f64>,
    reports: usize,
    refused: Vec<String>,
    tool: bool,
}

/// Has Prometheus' tool look at what the three programs serve; false where there is none.
///
/// # Errors
/// What it said.
pub(crate) fn check_metrics(programs: &Programs) -> Result<bool, Failure> {
    if !prometheus::is_there() {
        println!("promtool is not on the path: the form of the metrics is not checked");
        return Ok(false);
    }
    for which in [Which::Agent, Which::Miner, Which::Pool] {
        prometheus::check(which.name(), &programs.metrics(which)?)?;
    }
    Ok(true)
}

/// Has the pool's ledger verified from its event log.
///
/// # Errors
/// The problems that were found.
pub(crate) fn verify(programs: &Programs) -> Result<(), Failure> {
    let verified = ledger::verify(programs.pool(), &programs.data())?;
    if verified.ok {
        return Ok(());
    }
    Err(Failure::new(format!("verify ledger: {}", verified.problems.join("; "))))
}

impl Told {
    /// Holds everything against everything.
    ///
    /// # Errors
    /// The first two figures that do not agree.
    pub(crate) fn settle(self, tool: bool) -> Result<Ending, Failure> {
        self.agree(tool).map_err(Failure::new)
    }

    fn agree(self, tool: bool) -> Result<Ending, String> {
        let Self { rows: [miner_row, farm_row], metrics, reports, miner, gaps, agent } = self;
        let (miner_row, farm_row) = (miner_row?, farm_row?);
        for (row, worker) in [(&miner_row, MINER), (&farm_row, FARM)] {
            let meter = row.meter()?.id.as_str();
            let of_worker = reports.iter().filter(|report| report.worker == user(worker));
            if let Some(other) = of_worker.map(|report| &report.meter).find(|id| *id != meter) {
                return Err(format!(
                    "{worker}: reports of {meter} alone are expected, found {other}"
                ));
            }
        }
        let (lives, counter) = miner;
        let miner = account(&miner_row, &of(&reports, MINER), &lives, &counter)?;
        let farm = account(&farm_row, &of(&reports, FARM), &[agent.0], &agent.1)?;
        let away = away(&lives);
        for (kind, account) in [("rapl", &miner), ("plug", &farm)] {
            let expected = joules(account.credited);
            let found = exposition::sum(&metrics, JOULES, &[("kind", kind)])?;
            if found != expected {
                return Err(format!(
                    "/metrics: {expected} J of {kind} are expected, found {found}"
                ));
            }
        }
        no_gap(&farm_row)?;
        gaps_of_kills(&away, &gaps)?;
        let refused = |report: &Report| match &report.verdict {
            Verdict::Refused(why) => Some(format!("{}: {why}", report.worker)),
            Verdict::Open | Verdict::Taken => None,
        };
        let refused = reports.iter().filter_map(refused).collect();
        let rows = [miner_row, farm_row];
        Ok(Ending { miner, farm, rows, away, reports: reports.len(), refused, tool })
    }
}

/// A worker's books, with the pool's row of it.
fn account(
    row: &Row,
    epochs: &[Epoch],
    lives: &[Life],
    counter: &[Shown],
) -> Result<Account, String> {
    let worker = &row.name;
    row.agrees_with_itself()?;
    let account =
        books::settle(epochs, lives, counter).map_err(|why| format!("{worker}: {why}"))?;
    let shown = &row.meter()?.joules;
    let truth = joules(account.to.saturating_sub(account.from).saturating_sub(account.lost()));
    if *shown == truth {
        return Ok(account);
    }
    let (went, lost) = (joules(account.to.saturating_sub(account.from)), joules(account.lost()));
    Err(format!(
        "{worker}: its counter went on by {went} J, of which {lost} J are lost; {truth} J are expected, \
         and the pool has credited {shown} J"
    ))
}

/// The seconds from the end of each life to the beginning of the next.
fn away(lives: &[Life]) -> Vec<f64> {
    let each = lives.windows(2).map(|two| two[1].started.saturating_duration_since(two[0].ended));
    each.map(|away| away.as_secs_f64()).collect()
}

/// Where nothing is lost there is no gap.
fn no_gap(row: &Row) -> Result<(), String> {
    let found = row.meter()?.gap_seconds;
    if found > 0.0 {
        return Err(format!("{}: no gap is expected, and {found} s are shown", row.name));
    }
    Ok(())
}

/// Whether the pool's gap of the miner's meter, as it was shown after each time that it was away, has
/// grown by so much at least.
fn gaps_of_kills(away: &[f64], shown: &[f64]) -> Result<(), String> {
    let before = std::iter::once(&0.0).chain(shown);
    for ((expected, shown), before) in away.iter().zip(shown).zip(before) {
        let found = shown - before;
        if found < *expected {
            return Err(format!(
                "{MINER}: a gap of {expected:.3} s at least is expected, for which it was away after a \
                 kill, and {found:.3} s more are shown"
            ));
        }
    }
    Ok(())
}

impl Ending {
    /// All of it, for people.
    pub(crate) fn summary(&self, events: &[Event]) -> String {
        let mut text = String::new();
        let mut line = |name: &str, says: String| {
            // Writing to a string does not fail.
            let _written = writeln!(text, "  {name:<16}{says}");
        };
        let kills = events.iter().filter(|event| event.kills_the_miner()).count();
        line("events", format!("{}, the miner killed {kills} times", events.len()));
        line("reports", format!("{}, refused {}", self.reports, self.refused.len()));
        for why in &self.refused {
            line("", why.clone());
        }
        for (account, row) in [(&self.miner, &self.rows[0]), (&self.farm, &self.rows[1])] {
            let went = joules(account.to.saturating_sub(account.from));
            let (credited, lost) = (joules(account.credited), joules(account.lost()));
            line(&row.name, format!("counter {went} J = credited {credited} J + lost {lost} J"));
            line("", format!("{} J/TH, of its own figures", ratio(row)));
        }
        let wraps = tree::wraps(self.miner.from, self.miner.to);
        line("wraps", format!("{wraps}, of {MINER}'s counter"));
        for loss in &self.miner.losses {
            line("lost at a kill", format!("{} of {} J", joules(loss.joules), joules(loss.most)));
        }
        let shown = self.rows[0].meters.iter().map(|meter| meter.gap_seconds).sum::<f64>();
        line("gap shown", format!("{shown:.3} s, away {:.3} s", self.away.iter().sum::<f64>()));
        let checked = if self.tool { "agent, miner, pool" } else { "not checked" };
        line("promtool", checked.to_owned());
        line("ledger", "verified from its event log".to_owned());
        text
    }
}

fn ratio(row: &Row) -> String {
    row.energy.joules_per_terahash.as_ref().map_or_else(|| "no".to_owned(), Decimal::to_string)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn a_gap_is_held_against_each_time_away_and_none_makes_up_for_another() {
        let begun = clock::now();
        let at = |second| begun + Duration::from_secs(second);
        let life = |started, ended| Life { started: at(started), ended: at(ended) };
        let away = away(&[life(0, 5), life(7, 9), life(10, 11)]);
        assert_eq!(away, [2.0, 1.0]);
        gaps_of_kills(&away, &[2.5, 3.5]).unwrap();
        let why = gaps_of_kills(&away, &[9.0, 9.008]).unwrap_err();
        assert!(why.contains("1.000 s at least") && why.contains("0.008 s more"), "{why}");
    }
}
