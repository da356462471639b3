//! A miner that writes its lines itself, and hashes what it is given.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use stratum::job::{header, merkle_root, sha256d, swap_words};
use units::{Difficulty, Target};

pub(crate) const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// No wait in these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One connection. What comes unasked waits until it is asked for.
#[derive(Debug)]
pub(crate) struct Raw {
    lines: BufReader<TcpStream>,
    unasked: VecDeque<Value>,
    xn1: String,
    difficulty: f64,
}

/// One job with what it is hashed with.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) xn1: String,
    pub(crate) clean: bool,
    params: Value,
    target: Target,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(stream);
        Self { lines, unasked: VecDeque::new(), xn1: String::new(), difficulty: 0.0 }
    }

    pub(crate) fn write(&mut self, line: &Value) {
        self.write_all(std::slice::from_ref(line));
    }

    /// Several lines in one packet.
    pub(crate) fn write_all(&mut self, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.lines.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn send(&mut self, method: &str, params: &Value) {
        self.write(&json!({"id": 7, "method": method, "params": params}));
    }

    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.send(method, params);
        self.answer()
    }

    /// The next line that is an answer.
    pub(crate) fn answer(&mut self) -> Value {
        loop {
            let line = self.line().expect("the connection was closed");
            if line.get("method").is_none() {
                return line;
            }
            self.unasked.push_back(line);
        }
    }

    /// The subscription's id and extranonce 1.
    pub(crate) fn subscribe(&mut self, params: &Value) -> (String, String) {
        let answer = self.ask("mining.subscribe", params);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.xn1 = text(&answer["result"][1]);
        (text(&answer["result"][0][1][1]), self.xn1.clone())
    }

    pub(crate) fn authorize(&mut self) {
        let answer = self.ask("mining.authorize", &json!([format!("{ADDRESS}.raw"), "x"]));
        assert_eq!(answer["result"], true, "{answer}");
    }

    pub(crate) fn submit(&mut self, share: &Value) -> Value {
        self.ask("mining.submit", share)
    }

    /// Takes everything up to the next job, as a miner does.
    pub(crate) fn work(&mut self) -> Work {
        let mut others = VecDeque::new();
        loop {
            let line = match self.unasked.pop_front() {
                Some(line) => line,
                None => self.line().expect("the connection was closed"),
            };
            let params = line["params"].clone();
            match line["method"].as_str().unwrap() {
                "mining.set_difficulty" => self.difficulty = params[0].as_f64().unwrap(),
                "mining.set_extranonce" => self.xn1 = params[0].as_str().unwrap().to_owned(),
                "mining.notify" => {
                    let target = Target::from_difficulty(Difficulty::new(self.difficulty).unwrap());
                    let name = params[0].as_str().unwrap().to_owned();
                    let clean = params[8] == true;
                    others.append(&mut self.unasked);
                    self.unasked = others;
                    return Work { name, xn1: self.xn1.clone(), clean, params, target };
                }
                _ => others.push_back(line),
            }
        }
    }

    /// The line that says `method`, which need not have come yet; it stays for [`Raw::work`].
    pub(crate) fn told(&mut self, method: &str) -> Value {
        loop {
            let found = self.unasked.iter().position(|line| line["method"] == method);
            if let Some(at) = found {
                let line = self.unasked[at].clone();
                if method.starts_with("client.") {
                    self.unasked.remove(at);
                }
                return line;
            }
            let line = self.line().expect("the connection was closed");
            self.unasked.push_back(line);
        }
    }

    /// Whether a line that says `method` has come and was not taken.
    pub(crate) fn was_told(&self, method: &str) -> bool {
        self.unasked.iter().any(|line| line["method"] == method)
    }

    /// All that is left until the pool closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        let mut rest: Vec<Value> = self.unasked.drain(..).collect();
        rest.extend(std::iter::from_fn(|| self.line()));
        rest
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0).then(|| serde_json::from_str(&line).unwrap())
    }
}

impl Work {
    /// The parameters of `mining.submit` for the shares of this job, found as they are asked for.
    pub(crate) fn shares(&self) -> impl Iterator<Item = Value> + use<'_> {
        self.headers().map(|(_, share)| share)
    }

    /// The same with their headers.
    pub(crate) fn headers(&self) -> impl Iterator<Item = ([u8; 80], Value)> + use<'_> {
        let bytes = |at: usize| hex::decode(self.params[at].as_str().unwrap()).unwrap();
        let number =
            |at: usize| u32::from_str_radix(self.params[at].as_str().unwrap(), 16).unwrap();
        let hash =
            |value: &Value| <[u8; 32]>::try_from(hex::decode(value.as_str().unwrap()).unwrap());
        let prev_hash = swap_words(hash(&self.params[1]).unwrap());
        let branch: Vec<[u8; 32]> =
            self.params[4].as_array().unwrap().iter().map(|value| hash(value).unwrap()).collect();
        let coinbase1 = [bytes(2), hex::decode(&self.xn1).unwrap()].concat();
        let coinbase2 = bytes(3);
        let (version, nbits, ntime) = (number(5), number(6), number(7));
        (0_u64..).flat_map(move |xn2| {
            let coinbase = [&coinbase1[..], &xn2.to_be_bytes(), &coinbase2].concat();
            let root = merkle_root(sha256d(&coinbase), &branch);
            (0..10_000_u32).filter_map(move |nonce| {
                let header = header(version, &prev_hash, &root, ntime, nbits, nonce);
                self.target.is_met_by(&sha256d(&header)).then(|| {
                    let share = json!([
                        format!("{ADDRESS}.raw"),
                        self.name,
                        format!("{xn2:016x}"),
                        format!("{ntime:08x}"),
                        format!("{nonce:08x}"),
                    ]);
                    (header, share)
                })
            })
        })
    }
}
