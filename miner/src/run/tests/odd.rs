//! Pools of other people's kind, each line of theirs written out: extranonces of any size, no
//! extensions, and settings that change under way. The pool rebuilds each header by itself and
//! says what is wrong with it; it knows no job as stale.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use stratum::job::{header, merkle_root, sha256d};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::sleep;
use units::{Difficulty, Target};

use super::mine_until;
use crate::clock::Clock;
use crate::testing::doors::{self, Door};
use crate::upstream::status::Verdict;

/// About 4,300 hashes a share.
const EASY: f64 = 1e-6;
const NTIME: u32 = 1_700_000_000;
const VERSION: u32 = 0x2000_0000;

/// What the pool makes of `mining.configure`.
#[derive(Debug, Clone, Copy)]
enum Configure {
    Grants(u32),
    Refuses,
    Ignores,
}

/// Something that the pool says.
#[derive(Debug, Clone, Copy)]
enum Say {
    Difficulty(f64),
    Mask(u32),
    Extranonce(&'static str, usize),
    /// A job of this name, whose coinbase begins with this byte, so many seconds later than the
    /// first; clean.
    Job(&'static str, u8, u32),
}

#[derive(Debug, Clone)]
struct Manners {
    configure: Configure,
    xn2_size: usize,
    /// Said at the beginning, and then one after so many good shares.
    says: &'static [&'static [Say]],
    shares_each: u64,
}

#[derive(Debug, Default)]
struct Diary {
    shares: u64,
    /// Of shares since the pool said its last thing.
    latest: Vec<Share>,
    wrong: Vec<String>,
    headers: HashSet<[u8; 80]>,
}

#[derive(Debug, Clone)]
struct Share {
    job: String,
    xn2: Vec<u8>,
    has_bits: bool,
}

/// A job with all that was in force when it was given out.
#[derive(Debug, Clone)]
struct Issued {
    first: u8,
    ntime: u32,
    at: Duration,
    xn1: Vec<u8>,
    xn2_size: usize,
    mask: u32,
    target: Target,
}

/// One connection's state.
struct Counter {
    clock: Clock,
    issued: HashMap<String, Vec<Issued>>,
    xn1: String,
    xn2_size: usize,
    mask: u32,
    target: Target,
}

impl Counter {
    fn say(&mut self, say: Say) -> Value {
        let line =
            |method: &str, params: Value| json!({"id": null, "method": method, "params": params});
        match say {
            Say::Difficulty(value) => {
                self.target = Target::from_difficulty(Difficulty::new(value).unwrap());
                line("mining.set_difficulty", json!([value]))
            }
            Say::Mask(mask) => {
                self.mask = mask;
                line("mining.set_version_mask", json!([format!("{mask:08x}")]))
            }
            Say::Extranonce(xn1, size) => {
                (self.xn1, self.xn2_size) = (xn1.to_owned(), size);
                line("mining.set_extranonce", json!([xn1, size]))
            }
            Say::Job(name, first, later) => {
                let ntime = NTIME + later;
                let issued = Issued {
                    first,
                    ntime,
                    at: self.clock.elapsed(),
                    xn1: hex::decode(&self.xn1).unwrap(),
                    xn2_size: self.xn2_size,
                    mask: self.mask,
                    target: self.target,
                };
                self.issued.entry(name.to_owned()).or_default().push(issued);
                let coinbase = hex::encode([first; 50]);
                let params = json!([
                    name,
                    "0".repeat(64),
                    coinbase,
                    "0202",
                    [hex::encode([3; 32])],
                    format!("{VERSION:08x}"),
                    "1d00ffff",
                    format!("{ntime:08x}"),
                    true
                ]);
                line("mining.notify", params)
            }
        }
    }

    /// The header of a share that is right for its job, under any of the ways it was given out.
    fn judge(&self, params: &Value) -> Result<([u8; 80], Share), String> {
        let text = |at: usize| params[at].as_str().unwrap_or_default();
        let word = |at: usize| u32::from_str_radix(text(at), 16).map_err(|e| format!("{at}: {e}"));
        let (job, xn2) = (text(1).to_owned(), hex::decode(text(2)).map_err(|e| e.to_string())?);
        let (ntime, nonce) = (word(3)?, word(4)?);
        let bits = if params[5].is_null() { None } else { Some(word(5)?) };
        let ways = self.issued.get(&job).ok_or("no such job")?;
        let mut why = String::new();
        for way in ways {
            match way.check(&xn2, ntime, nonce, bits, self.clock.elapsed()) {
                Ok(header) => return Ok((header, Share { job, xn2, has_bits: bits.is_some() })),
                Err(wrong) => why = wrong.to_owned(),
            }
        }
        Err(format!("{params}: {why}"))
    }
}

impl Issued {
    fn check(
        &self,
        xn2: &[u8],
        ntime: u32,
        nonce: u32,
        bits: Option<u32>,
        now: Duration,
    ) -> Result<[u8; 80], &'static str> {
        if xn2.len() != self.xn2_size {
            return Err("an extranonce2 of another size");
        }
        let latest = u64::from(self.ntime) + (now - self.at).as_secs();
        if ntime < self.ntime || u64::from(ntime) > latest {
            return Err("a time ahead of the seconds elapsed");
        }
        if bits.is_some() != (self.mask != 0) || bits.unwrap_or(0) & !self.mask != 0 {
            return Err("version bits that were not granted");
        }
        let coinbase = [&[self.first; 50], self.xn1.as_slice(), xn2, &[2, 2]].concat();
        let root = merkle_root(sha256d(&coinbase), &[[3; 32]]);
        let version = VERSION & !self.mask | bits.unwrap_or(0);
        let header = header(version, &[0; 32], &root, ntime, 0x1d00_ffff, nonce);
        let met = self.target.is_met_by(&sha256d(&header));
        met.then_some(header).ok_or("above the target")
    }
}

async fn open(manners: Manners) -> (Door, Arc<Mutex<Diary>>) {
    let diary = Arc::new(Mutex::new(Diary::default()));
    let shared = Arc::clone(&diary);
    let door = doors::open(move |stream| serve(stream, manners.clone(), Arc::clone(&shared))).await;
    (door, diary)
}

async fn serve(stream: TcpStream, manners: Manners, diary: Arc<Mutex<Diary>>) -> Option<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut says = manners.says.iter();
    let mut counter = Counter {
        clock: Clock::start(),
        issued: HashMap::new(),
        xn1: "aabb".to_owned(),
        xn2_size: manners.xn2_size,
        mask: 0,
        target: Target::difficulty_one(),
    };
    let mut good = 0;
    while let Some(line) = lines.next_line().await.ok()? {
        let asked: Value = serde_json::from_str(&line).unwrap();
        let mut speaks = false;
        let answer = match asked["method"].as_str().unwrap() {
            "mining.configure" => match manners.configure {
                Configure::Grants(mask) => {
                    counter.mask = mask;
                    json!({"version-rolling": true, "version-rolling.mask": format!("{mask:08x}")})
                }
                Configure::Refuses => json!([20, "Unknown method", null]),
                Configure::Ignores => continue,
            },
            "mining.subscribe" => json!([[], "aabb", manners.xn2_size]),
            "mining.authorize" => {
                speaks = true;
                json!(true)
            }
            "mining.submit" => match counter.judge(&asked["params"]) {
                Ok((header, share)) => {
                    let mut diary = diary.lock().unwrap();
                    if !diary.headers.insert(header) {
                        diary.wrong.push(format!("{}: came twice", asked["params"]));
                    }
                    good += 1;
                    diary.shares += 1;
                    diary.latest.push(share);
                    speaks = good % manners.shares_each == 0;
                    json!(true)
                }
                Err(why) => {
                    diary.lock().unwrap().wrong.push(why);
                    json!(false)
                }
            },
            other => panic!("{other} is not for an old pool"),
        };
        let refused = matches!(manners.configure, Configure::Refuses) && answer[0] == 20;
        let answer = match refused {
            true => json!({"id": asked["id"], "result": null, "error": answer}),
            false => json!({"id": asked["id"], "result": answer, "error": null}),
        };
        let mut out = format!("{answer}\n");
        if speaks && let Some(says) = says.next() {
            diary.lock().unwrap().latest.clear();
            for say in *says {
                out.push_str(&format!("{}\n", counter.say(*say)));
            }
        }
        writer.write_all(out.as_bytes()).await.ok()?;
    }
    Some(())
}

/// Mines there until `enough`; nothing may have been wrong. Gives what was mined.
async fn mine(manners: Manners, enough: u64) -> (Vec<Share>, u64) {
    let (door, diary) = open(manners).await;
    let url = format!("stratum+tcp://{}", door.address);
    let last = mine_until(&[url], async |_| {
        while diary.lock().unwrap().shares < enough && diary.lock().unwrap().wrong.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let diary = diary.lock().unwrap();
    assert_eq!(diary.wrong, [""; 0]);
    assert_eq!(last.upstream.shares.of(Verdict::Accepted), diary.shares);
    assert_eq!(last.upstream.shares.rejected(), 0);
    (diary.latest.clone(), diary.shares)
}

const ONE_JOB: &[&[Say]] = &[&[Say::Difficulty(EASY), Say::Job("only", 1, 0)]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extranonce2_of_any_size_is_filled_and_never_repeated() {
    for xn2_size in 0..=8 {
        let configure = Configure::Grants(0x0000_2000);
        let manners = Manners { configure, xn2_size, says: ONE_JOB, shares_each: 1000 };
        let (shares, _) = mine(manners, 20).await;
        assert!(shares.iter().all(|share| share.xn2.len() == xn2_size && share.has_bits));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_without_extensions_gets_shares_without_version_bits() {
    for configure in [Configure::Refuses, Configure::Ignores] {
        let manners = Manners { configure, xn2_size: 4, says: ONE_JOB, shares_each: 1000 };
        let (shares, _) = mine(manners, 20).await;
        assert!(shares.iter().all(|share| !share.has_bits), "{configure:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_under_way_counts_from_the_next_job_on() {
    let says: &[&[Say]] = &[
        &[Say::Difficulty(3.7e-6), Say::Job("a", 1, 0)],
        // Easier, another mask, another extranonce: but only from the next job on.
        &[Say::Difficulty(1.3e-6), Say::Mask(0x0000_6000), Say::Extranonce("010203", 2)],
        &[Say::Job("b", 1, 0)],
        &[Say::Mask(0)],
        &[Say::Job("c", 2, 0)],
        &[Say::Extranonce("", 1), Say::Mask(0x1fff_e000), Say::Job("d", 2, 1)],
    ];
    let configure = Configure::Grants(0x1fff_e000);
    let manners = Manners { configure, xn2_size: 4, says, shares_each: 15 };
    let (shares, _) = mine(manners, 120).await;
    let last = shares.last().unwrap();
    assert_eq!((last.job.as_str(), last.xn2.len(), last.has_bits), ("d", 1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_comes_again_is_never_searched_again() {
    const AGAIN: &[Say] = &[Say::Job("a", 1, 0)];
    let says: &[&[Say]] = &[
        &[Say::Difficulty(EASY), Say::Job("a", 1, 0)],
        AGAIN,
        &[Say::Difficulty(EASY / 2.0), Say::Job("a", 1, 0)],
        // Under another name, with another job in between, and at a later time.
        &[Say::Job("b", 1, 0)],
        &[Say::Job("c", 2, 0), Say::Job("a", 1, 0)],
        &[Say::Job("a", 1, 1)],
        &[Say::Mask(0x0000_e000), Say::Job("a", 1, 0)],
        AGAIN,
    ];
    for xn2_size in [0, 1, 4] {
        let configure = Configure::Grants(0x1fff_e000);
        let manners = Manners { configure, xn2_size, says, shares_each: 25 };
        let (_, shares) = mine(manners, 250).await;
        assert!(shares >= 250);
    }
}
