//! A metering plug with Tasmota's firmware, as far as the agent asks one: a tiny HTTP server on this
//! machine, whose counter a thread raises by random amounts and whose every answer is known.
//!
//! It answers one question after the other, each on a connection of its own. Deliberately not here:
//! whatever else such a plug does.
//!
//! Units: steps of the counter, which are hundred-thousandths of a kilowatt-hour, 36 J: the most
//! decimals that such a plug shows.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::clock;
use crate::failure::Failure;
use crate::joules::history::History;
use crate::joules::random::Random;
use crate::joules::repeat::{Again, Repeat};

/// Microjoules of a step.
pub(crate) const STEP: u128 = 36_000_000;
/// Steps of a kilowatt-hour.
const STEPS: u64 = 100_000;
/// What it had counted before.
const BEGINNING: u64 = 1_234_567;
/// How often it rises.
const EVERY: Duration = Duration::from_millis(50);
/// By how many steps: 0.7 to 3.6 kW, where nothing holds the thread up.
const RISE: (u64, u64) = (1, 5);
/// What it says that it carries: the middle of that, in watts.
const POWER: u64 = 2_160;
/// How often somebody who knocks is noticed.
const LOOK: Duration = Duration::from_millis(5);
/// How long a question, and taking its answer, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest question.
const QUESTION_MAX: usize = 4096;

/// The plug.
#[derive(Debug)]
pub(crate) struct Plug {
    address: SocketAddr,
    answered: History,
    threads: [Repeat; 2],
}

impl Plug {
    /// Switches it on.
    ///
    /// # Errors
    /// Where there is no port for it.
    pub(crate) fn start(mut random: Random) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::new(format!("the plug cannot listen: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (steps, answered) = (Arc::new(AtomicU64::new(BEGINNING)), History::default());
        let (raised, notes) = (Arc::clone(&steps), answered.clone());
        let raising = Repeat::start(EVERY, move || {
            raised.fetch_add(random.between(RISE.0, RISE.1), Ordering::SeqCst);
            Ok(Again::Yes)
        });
        let serving = Repeat::start(LOOK, move || match listener.accept() {
            Ok((stream, _)) => serve(stream, &steps, &notes).map(|()| Again::Yes),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Again::Yes),
            Err(e) => Err(format!("the plug cannot accept: {e}")),
        });
        Ok(Self { address, answered, threads: [raising, serving] })
    }

    /// Where it answers.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its counter stood at in each of its answers, in microjoules.
    pub(crate) const fn answered(&self) -> &History {
        &self.answered
    }

    /// Nothing while it works.
    ///
    /// # Errors
    /// Why it no longer does.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.threads.iter().try_for_each(Repeat::check)
    }
}

/// Answers one question. Who hangs up, says nothing or says too much gets none, as from a plug.
fn serve(mut stream: TcpStream, steps: &AtomicU64, answered: &History) -> Result<(), String> {
    let Ok(path) = question(&mut stream) else { return Ok(()) };
    let steps = steps.load(Ordering::SeqCst);
    let answer = match path.as_str() {
        "/cm?cmnd=Status%208" => {
            answered.note(clock::now(), u128::from(steps) * STEP)?;
            found(&sensors(steps))
        }
        "/cm?cmnd=Status%202" => found(&firmware()),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    // The agent may have been killed meanwhile: that is what this is about.
    let _gone = stream.write_all(answer.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write));
    Ok(())
}

/// The path of a GET.
fn question(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut bytes = [0; QUESTION_MAX];
    let mut length = 0;
    while !bytes[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut bytes[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    let text = String::from_utf8_lossy(&bytes[..length]);
    let path = text.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    path.map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn found(body: &str) -> String {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    format!("{head}Content-Length: {length}\r\n\r\n{body}")
}

/// `Status 8`, where the counter is written out as the firmware does: with all of its decimals.
fn sensors(steps: u64) -> String {
    let total = kilowatt_hours(steps);
    format!(
        r#"{{"StatusSNS":{{"Time":"2026-11-28T12:00:00","ENERGY":{{"TotalStartTime":"2026-01-01T00:00:00","Total":{total},"Yesterday":1.49500,"Today":0.53700,"Period":0,"Power":{POWER},"ApparentPower":{POWER},"ReactivePower":0,"Factor":1.00,"Voltage":230,"Current":9.391}}}}}}"#
    )
}

/// `Status 2`.
fn firmware() -> String {
    json!({ "StatusFWR": { "Version": "13.1.0(tasmota)", "Hardware": "ESP8266EX" } }).to_string()
}

fn kilowatt_hours(steps: u64) -> String {
    format!("{}.{:05}", steps / STEPS, steps % STEPS)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_counter_has_five_decimals_and_no_more() {
        assert_eq!(kilowatt_hours(BEGINNING), "12.34567");
        assert_eq!(kilowatt_hours(1), "0.00001");
        assert_eq!(kilowatt_hours(300_000), "3.00000");
        assert_eq!(u128::from(STEPS) * STEP, 3_600_000_000_000, "a kilowatt-hour");
    }

    #[test]
    fn the_sensors_are_json_with_the_counter_in_its_place() {
        let answer: serde_json::Value = serde_json::from_str(&sensors(BEGINNING)).unwrap();
        let energy = &answer["StatusSNS"]["ENERGY"];
        assert_eq!(
            (energy["Total"].as_f64(), energy["Power"].as_u64()),
            (Some(12.34567), Some(POWER))
        );
    }

    fn ask(plug: &Plug, question: &[u8]) -> String {
        let mut stream = TcpStream::connect(plug.address()).unwrap();
        stream.write_all(question).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn every_answer_is_noted_and_nonsense_is_no_answer() {
        let plug = Plug::start(Random::new(3)).unwrap();
        let answer = ask(&plug, b"GET /cm?cmnd=Status%208 HTTP/1.1\r\nHost: x\r\n\r\n");
        let [shown] = plug.answered().all().try_into().unwrap();
        let steps = u64::try_from(shown.value / STEP).unwrap();
        assert!(answer.ends_with(&sensors(steps)), "{answer}");
        let answer = ask(&plug, b"GET /cm?cmnd=Status%202 HTTP/1.1\r\n\r\n");
        assert!(answer.contains("13.1.0(tasmota)"), "{answer}");
        assert!(ask(&plug, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert_eq!(ask(&plug, b"PUT / HTTP/1.1\r\n\r\n"), "");
        assert_eq!(plug.answered().all().len(), 1);
        plug.check().unwrap();
    }
}
