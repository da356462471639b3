//! A tap on the line between pool and miners: hands every line on as it is, and notes the reports of
//! energy, what the pool says to each, and when.
//!
//! Read [`Tap::start`], then [`Side`]. It is how this check knows exactly what was reported, whatever
//! becomes of either side. On request it loses an answer: the pool has taken a report, the line breaks,
//! and who reported does not know. Where the pool is away the line breaks at once, as without a tap.
//! It deliberately changes no line and makes up none.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clock;
use crate::failure::Failure;
use crate::joules::repeat::{Again, Repeat};

/// Connections in a run.
const LINES_MAX: usize = 256;
/// The longest line.
const LINE_MAX: u64 = 1 << 20;
/// Reports kept.
const REPORTS_MAX: usize = 20_000;
/// How often somebody who knocks is noticed.
const LOOK: Duration = Duration::from_millis(5);
/// How often a silent line is left to see whether it is still wanted.
const SILENCE: Duration = Duration::from_millis(100);
/// How long taking a line may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The request that reports energy.
const METHOD: &str = "mining.report_energy";

/// The tap.
#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    notes: Notes,
    accepting: Repeat,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    reports: Vec<Report>,
    lines: usize,
    /// Whether the next answer that takes a report is to be lost.
    lose_next: bool,
    lost: Option<Report>,
}

/// One meter of a report.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// When it came by.
    pub(crate) at: Instant,
    /// For whom.
    pub(crate) worker: String,
    pub(crate) meter: String,
    pub(crate) epoch: u64,
    /// In microjoules.
    pub(crate) total: u128,
    pub(crate) verdict: Verdict,
    line: usize,
    id: Value,
}

/// What the pool said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Open,
    Taken,
    Refused(String),
}

/// One direction of one connection.
#[derive(Debug)]
struct Side {
    from: BufReader<TcpStream>,
    to: TcpStream,
    partial: Vec<u8>,
    line: usize,
    from_pool: bool,
    notes: Notes,
}

impl Tap {
    /// Listens, and hands on to the pool at `pool`.
    ///
    /// # Errors
    /// Where there is no port for it.
    pub(crate) fn start(pool: SocketAddr) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::new(format!("the tap cannot listen: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let notes = Notes::default();
        let book = notes.clone();
        let mut sides: Vec<Repeat> = Vec::new();
        let accepting = Repeat::start(LOOK, move || {
            sides.retain(|side| !side.is_over());
            match listener.accept() {
                Ok((miner, _)) => sides.extend(connect(miner, pool, &book)?),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(format!("the tap cannot accept: {e}")),
            }
            Ok(Again::Yes)
        });
        Ok(Self { address, notes, accepting })
    }

    /// Where miners connect.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every report so far, in the order in which they came by.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.notes.book().reports.clone()
    }

    /// From now on waits for an answer that takes a report, to lose it.
    pub(crate) fn lose_an_answer(&self) {
        let mut book = self.notes.book();
        (book.lose_next, book.lost) = (true, None);
    }

    /// Whose answer was lost since then.
    pub(crate) fn lost(&self) -> Option<Report> {
        self.notes.book().lost.clone()
    }

    /// Nothing while it works.
    ///
    /// # Errors
    /// Why it no longer does.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.accepting.check()
    }
}

#[cfg(test)]
impl Report {
    /// A report as it would have come by.
    pub(crate) fn noted(
        at: Instant,
        worker: &str,
        epoch: u64,
        total: u128,
        verdict: Verdict,
    ) -> Self {
        let (worker, meter) = (worker.to_owned(), "rapl:psys".to_owned());
        Self { at, worker, meter, epoch, total, verdict, line: 1, id: Value::Null }
    }
}

/// Both directions of a connection; none where the pool is away, and the miner sees its line break.
fn connect(miner: TcpStream, pool: SocketAddr, notes: &Notes) -> Result<Vec<Repeat>, String> {
    let line = {
        let mut book = notes.book();
        book.lines += 1;
        book.lines
    };
    if line > LINES_MAX {
        return Err(format!("more than {LINES_MAX} connections"));
    }
    let Ok(pool) = TcpStream::connect_timeout(&pool, PATIENCE) else { return Ok(Vec::new()) };
    let side = |from: &TcpStream, to: &TcpStream, from_pool| -> io::Result<Side> {
        from.set_nonblocking(false)?;
        from.set_nodelay(true)?;
        from.set_read_timeout(Some(SILENCE))?;
        from.set_write_timeout(Some(PATIENCE))?;
        let (from, to) = (BufReader::new(from.try_clone()?), to.try_clone()?);
        Ok(Side { from, to, partial: Vec::new(), line, from_pool, notes: notes.clone() })
    };
    let sides = [side(&miner, &pool, false), side(&pool, &miner, true)];
    let sides: io::Result<Vec<Side>> = sides.into_iter().collect();
    // A line that broke at once is as one that was never there.
    let sides = sides.unwrap_or_default().into_iter();
    Ok(sides.map(|mut side| Repeat::start(Duration::ZERO, move || side.act())).collect())
}

impl Side {
    /// Hands one line on, or ends both directions.
    fn act(&mut self) -> Result<Again, String> {
        match self.hand_on() {
            Ok(true) => Ok(Again::Yes),
            Ok(false) => {
                for end in [self.from.get_ref(), &self.to] {
                    // It may have gone by itself.
                    let _gone = end.shutdown(Shutdown::Both);
                }
                Ok(Again::Done)
            }
            Err(why) => Err(why),
        }
    }

    /// Whether the line goes on.
    fn hand_on(&mut self) -> Result<bool, String> {
        let room = LINE_MAX.saturating_sub(u64::try_from(self.partial.len()).unwrap_or(u64::MAX));
        match self.from.by_ref().take(room).read_until(b'\n', &mut self.partial) {
            Ok(_) if self.partial.ends_with(b"\n") => {}
            Ok(_) => return Ok(false),
            Err(e) if is_silence(&e) => return Ok(true),
            Err(_) => return Ok(false),
        }
        let line = std::mem::take(&mut self.partial);
        let go_on = if self.from_pool {
            self.notes.answer(self.line, &line)
        } else {
            self.notes.request(self.line, &line)?;
            true
        };
        Ok(go_on && self.to.write_all(&line).is_ok())
    }
}

/// Whether nothing was said for a moment.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [Interrupted, TimedOut, WouldBlock].contains(&error.kind())
}

impl Notes {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, if it is a report.
    fn request(&self, line: usize, text: &[u8]) -> Result<(), String> {
        let reports = parse(line, text);
        let mut book = self.book();
        book.reports.extend(reports);
        match book.reports.len() {
            0..=REPORTS_MAX => Ok(()),
            _ => Err(format!("more than {REPORTS_MAX} reports")),
        }
    }

    /// Notes an answer, if it is one to a report; whether it is to be handed on.
    fn answer(&self, line: usize, text: &[u8]) -> bool {
        let mut book = self.book();
        let waits =
            |report: &Report| report.line == line && matches!(report.verdict, Verdict::Open);
        if !book.reports.iter().any(waits) {
            return true;
        }
        let Ok(answer) = serde_json::from_slice::<Value>(text) else { return true };
        let verdict = verdict(&answer);
        let mut taken = None;
        for report in book.reports.iter_mut().filter(|report| waits(report)) {
            if report.id == answer["id"] {
                report.verdict = verdict.clone();
                taken = (verdict == Verdict::Taken).then(|| report.clone());
            }
        }
        if taken.is_some() && std::mem::take(&mut book.lose_next) {
            book.lost = taken;
            return false;
        }
        true
    }
}

/// The meters of a report, if it is one.
fn parse(line: usize, text: &[u8]) -> Vec<Report> {
    if !text.windows(METHOD.len()).any(|part| part == METHOD.as_bytes()) {
        return Vec::new();
    }
    let request: Value = serde_json::from_slice(text).unwrap_or_default();
    let report = &request["params"][0];
    let meters = report["meters"].as_array().into_iter().flatten();
    let meter = |meter: &Value| {
        Some(Report {
            at: clock::now(),
            worker: report["worker"].as_str()?.to_owned(),
            meter: meter["id"].as_str()?.to_owned(),
            epoch: meter["epoch"].as_u64()?,
            total: meter["microjoules_total"].as_str()?.parse().ok()?,
            verdict: Verdict::Open,
            line,
            id: request["id"].clone(),
        })
    };
    meters.filter_map(meter).collect()
}

fn verdict(answer: &Value) -> Verdict {
    if answer["result"] == Value::Bool(true) {
        return Verdict::Taken;
    }
    Verdict::Refused(answer["error"].to_string())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const REPORT: &str = r#"{"id":7,"method":"mining.report_energy","params":[{"worker":"a.rig1","at":9,"meters":[{"id":"rapl:psys","epoch":5,"microjoules_total":"123"}]}]}"#;

    /// A pool that takes reports and says nothing to anything else.
    fn pool() -> (SocketAddr, Repeat) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let pool = Repeat::start(LOOK, move || {
            let Ok((stream, _)) = listener.accept() else { return Ok(Again::Yes) };
            stream.set_nonblocking(false).unwrap();
            let mut line = String::new();
            let mut lines = BufReader::new(&stream);
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.contains(METHOD) {
                    (&stream).write_all(b"{\"id\":7,\"result\":true,\"error\":null}\n").unwrap();
                }
                line.clear();
            }
            Ok(Again::Yes)
        });
        (address, pool)
    }

    fn say(tap: &Tap, line: &str) -> String {
        let mut stream = TcpStream::connect(tap.address()).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap_or_default();
        answer
    }

    #[test]
    fn reports_are_noted_with_their_verdicts_and_an_answer_can_be_lost() {
        let (address, pool) = pool();
        let tap = Tap::start(address).unwrap();
        assert!(say(&tap, REPORT).contains("true"));
        let [report] = tap.reports().try_into().unwrap();
        assert_eq!((report.worker.as_str(), report.meter.as_str()), ("a.rig1", "rapl:psys"));
        assert_eq!((report.epoch, report.total, report.verdict), (5, 123, Verdict::Taken));
        tap.lose_an_answer();
        assert_eq!(say(&tap, REPORT), "", "the line broke");
        assert_eq!(tap.lost().unwrap().total, 123);
        assert_eq!(tap.reports()[1].verdict, Verdict::Taken, "but the pool took it");
        assert!(say(&tap, REPORT).contains("true"), "once");
        tap.check().unwrap();
        drop(tap);
        drop(pool);
    }

    #[test]
    fn where_the_pool_is_away_the_line_breaks() {
        let (address, pool) = pool();
        drop(pool);
        let tap = Tap::start(address).unwrap();
        assert_eq!(say(&tap, REPORT), "");
        thread::sleep(LOOK);
        assert!(tap.reports().is_empty());
        tap.check().unwrap();
    }

    #[test]
    fn a_refusal_is_one() {
        let answer = serde_json::json!({ "id": 1, "result": null, "error": [20, "no", null] });
        assert_eq!(verdict(&answer), Verdict::Refused("[20,\"no\",null]".to_owned()));
        assert!(parse(1, br#"{"id":1,"method":"mining.submit","params":["a"]}"#).is_empty());
    }
}
