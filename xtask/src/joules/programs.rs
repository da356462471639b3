//! The programs of this check: the pool on its development chain, a miner with a meter, a miner
//! without one that stands for a farm's rig, and the agent that reads that rig's plug.
//!
//! Read [`Programs`]. Each can be killed and started again on what it had kept: the pool's data and its
//! port, keys, the agent's state. Each start has a folder of its own for what the program prints. It
//! deliberately does not know why anybody would do that: `events.rs` does.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::clock;
use crate::demo::api::Reader;
use crate::demo::children::Running;
use crate::demo::interrupt::Interrupt;
use crate::demo::signet::toml_text;
use crate::failure::Failure;
use crate::joules::random::Random;
use crate::workspace::Binaries;

/// The P2WPKH example of BIP 173, whose key is everybody's, on the development chain.
pub(crate) const ACCOUNT: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// Whom the miner with the meter mines and reports for.
pub(crate) const MINER: &str = "rig1";
/// Whom the other miner mines for, and the agent reports for.
pub(crate) const FARM: &str = "farm1";
/// The longest that a program may take to announce itself.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest that it may take to stop when it is asked.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Ports that no outgoing connection is given: one that is left for a moment is not taken.
const PORTS: (u64, u64) = (20_000, 32_000);
/// How many are tried.
const PORTS_TRIED: u32 = 100;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Miner,
    Agent,
    Rig,
    Pool,
}

/// What they are started with.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) binaries: Binaries,
    pub(crate) folder: PathBuf,
    /// Where the pool takes miners.
    pub(crate) stratum: SocketAddr,
    /// Where the miner and the agent find it.
    pub(crate) tap: SocketAddr,
    pub(crate) plug: SocketAddr,
    /// The root of the miner's sensors.
    pub(crate) sensors: PathBuf,
}

/// The programs while they run. Fields drop in order: the pool ends last.
#[derive(Debug)]
pub(crate) struct Programs {
    miner: Option<Running>,
    agent: Option<Running>,
    rig: Option<Running>,
    pool: Option<Running>,
    places: Places,
    starts: u32,
    /// Where the miner and the agent serve what they know of themselves.
    apis: [Option<String>; 2],
    reader: Reader,
}

impl Which {
    /// What a person calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Agent => "agent",
            Self::Rig => "rig",
            Self::Pool => "pool",
        }
    }
}

impl Programs {
    /// Writes what they are set up with; nothing runs yet.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub(crate) fn new(places: Places) -> Result<Self, Failure> {
        for (name, text) in [
            ("miner.toml", miner_toml(&places, true)),
            ("rig.toml", miner_toml(&places, false)),
            ("agent.toml", agent_toml(&places)),
        ] {
            let file = places.folder.join(name);
            let failed = |e| Failure::new(format!("{} cannot be written: {e}", file.display()));
            fs::write(&file, text).map_err(failed)?;
        }
        let reader = Reader::new("", "");
        let (miner, agent, rig, pool) = (None, None, None, None);
        Ok(Self { miner, agent, rig, pool, places, starts: 0, apis: [None, None], reader })
    }

    /// Starts one and waits until it has announced itself; says when it began.
    ///
    /// # Errors
    /// Where it cannot be started, ends, or says nothing in time.
    pub(crate) fn start(
        &mut self,
        which: Which,
        interrupt: &Interrupt,
    ) -> Result<Instant, Failure> {
        self.starts += 1;
        let name = which.name();
        let prints = self.places.folder.join(format!("{:02}-{name}", self.starts));
        let failed = |e| Failure::new(format!("{} cannot be made: {e}", prints.display()));
        fs::create_dir(&prints).map_err(failed)?;
        let begun = clock::now();
        let mut running = Running::start(name, self.command(which), &prints)?;
        match which {
            Which::Pool => {
                let page = running.announced("page", START_LIMIT, interrupt)?;
                self.reader = Reader::new(&page, "");
            }
            Which::Miner | Which::Agent => {
                let api = running.announced("api", START_LIMIT, interrupt)?;
                self.apis[usize::from(which == Which::Agent)] = Some(api);
            }
            Which::Rig => {}
        }
        *self.slot(which) = Some(running);
        Ok(begun)
    }

    /// Kills one on the spot; says right before when.
    ///
    /// # Errors
    /// Where it has ended before.
    pub(crate) fn kill(&mut self, which: Which) -> Result<Instant, Failure> {
        let mut running = self.take(which)?;
        running.check_alive()?;
        let at = clock::now();
        running.crash()?;
        Ok(at)
    }

    /// Asks one to stop, as a service manager does, and waits; says right before when.
    ///
    /// # Errors
    /// Where it does not end well.
    pub(crate) fn stop(&mut self, which: Which, interrupt: &Interrupt) -> Result<Instant, Failure> {
        let mut running = self.take(which)?;
        let at = clock::now();
        running.terminate(STOP_LIMIT, interrupt)?;
        Ok(at)
    }

    /// Nothing while all that were started run.
    ///
    /// # Errors
    /// Names the one that has ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), Failure> {
        let all = [&mut self.miner, &mut self.agent, &mut self.rig, &mut self.pool];
        all.into_iter().flatten().try_for_each(Running::check_alive)
    }

    /// What the pool says of the account's workers.
    ///
    /// # Errors
    /// Where it says nothing.
    pub(crate) fn workers(&self) -> Result<String, Failure> {
        self.reader.pool_text(&format!("/api/v1/accounts/{ACCOUNT}/workers"))
    }

    /// What one serves to Prometheus.
    ///
    /// # Errors
    /// Where it serves nothing.
    pub(crate) fn metrics(&self, which: Which) -> Result<String, Failure> {
        let api = match which {
            Which::Pool => return self.reader.pool_text("/metrics"),
            Which::Miner => &self.apis[0],
            Which::Agent => &self.apis[1],
            Which::Rig => &None,
        };
        let none = || Failure::new(format!("the {} serves nothing", which.name()));
        let api = api.as_ref().ok_or_else(none)?;
        self.reader.text(&format!("{}/metrics", api.trim_end_matches('/')))
    }

    /// The pool's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.places.folder.join("data")
    }

    /// The pool's program.
    pub(crate) fn pool(&self) -> &Path {
        &self.places.binaries.pool
    }

    fn slot(&mut self, which: Which) -> &mut Option<Running> {
        match which {
            Which::Miner => &mut self.miner,
            Which::Agent => &mut self.agent,
            Which::Rig => &mut self.rig,
            Which::Pool => &mut self.pool,
        }
    }

    fn take(&mut self, which: Which) -> Result<Running, Failure> {
        let missing = || Failure::new(format!("the {} does not run", which.name()));
        self.slot(which).take().ok_or_else(missing)
    }

    fn command(&self, which: Which) -> Command {
        let Places { binaries, folder, stratum, .. } = &self.places;
        let mut command = match which {
            Which::Pool => Command::new(&binaries.pool),
            Which::Miner | Which::Agent | Which::Rig => Command::new(&binaries.miner),
        };
        command.current_dir(folder);
        match which {
            Which::Pool => {
                command.arg("demo").arg("--data").arg(self.data());
                command.args(["--stratum", &stratum.to_string(), "--http", "127.0.0.1:0"]);
            }
            Which::Agent => {
                command.arg("agent").arg("-c").arg(folder.join("agent.toml"));
            }
            Which::Miner => {
                command.arg("-c").arg(folder.join("miner.toml"));
            }
            Which::Rig => {
                command.arg("-c").arg(folder.join("rig.toml"));
            }
        }
        command
    }
}

/// A loopback port that is free now, and that stays so while nobody listens there.
///
/// # Errors
/// Where none of those tried is.
pub(crate) fn quiet_port(random: &mut Random) -> Result<SocketAddr, Failure> {
    let any = || {
        let port = u16::try_from(random.between(PORTS.0, PORTS.1)).unwrap_or(u16::MAX);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    };
    let found = std::iter::repeat_with(any).take(PORTS_TRIED as usize);
    let mut free = found.filter(|address| TcpListener::bind(address).is_ok());
    free.next().ok_or_else(|| Failure::new(format!("no free port from {} to {}", PORTS.0, PORTS.1)))
}

/// A miner of one thread: with a meter and by the tap, or without and straight to the pool.
fn miner_toml(places: &Places, metered: bool) -> String {
    let Places { folder, stratum, tap, sensors, .. } = places;
    let (pool, worker) = if metered { (tap, MINER) } else { (stratum, FARM) };
    let (sensors, key) = (toml_text(sensors), toml_text(&folder.join("miner.key")));
    let energy = match metered {
        true => format!("sysfs = {sensors}\nkey = {key}\n"),
        false => "report = false\n".to_owned(),
    };
    let api = if metered { "127.0.0.1:0" } else { "off" };
    format!(
        "[[pool]]\nurl = \"stratum+tcp://{pool}\"\nuser = \"{ACCOUNT}.{worker}\"\n\
         [cpu]\nthreads = 1\naffinity = \"off\"\n\
         [gpu]\ndevices = \"off\"\n\
         [energy]\n{energy}\
         [api]\nlisten = \"{api}\"\n"
    )
}

/// The agent with the plug, asked once a second.
fn agent_toml(places: &Places) -> String {
    let Places { folder, tap, plug, .. } = places;
    let (state, key) = (folder.join("agent.json"), folder.join("agent.key"));
    let (state, key) = (toml_text(&state), toml_text(&key));
    let (host, port) = (plug.ip(), plug.port());
    format!(
        "[agent]\ninterval_seconds = 1\npatience_seconds = 2\nstate = {state}\nkey = {key}\n\
         listen = \"127.0.0.1:0\"\n\
         [[pool]]\nurl = \"stratum+tcp://{tap}\"\n\
         [[device]]\nname = \"plug\"\ndriver = \"tasmota\"\nhost = \"{host}\"\nport = {port}\n\
         worker = \"{ACCOUNT}.{FARM}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_port_is_none_of_those_that_connections_are_given() {
        let mut random = Random::new(5);
        let first = quiet_port(&mut random).unwrap();
        let taken = TcpListener::bind(first).unwrap();
        let again = quiet_port(&mut Random::new(5)).unwrap();
        assert!(again != first && (20_000..=32_000).contains(&again.port()), "{again}");
        drop(taken);
    }

    #[test]
    fn the_one_miner_reports_by_the_tap_and_the_other_does_not() {
        let places = Places {
            binaries: Binaries { pool: PathBuf::new(), miner: PathBuf::new() },
            folder: PathBuf::from("/tmp/x"),
            stratum: "127.0.0.1:20000".parse().unwrap(),
            tap: "127.0.0.1:20001".parse().unwrap(),
            plug: "127.0.0.1:20002".parse().unwrap(),
            sensors: PathBuf::from("/tmp/x/sys"),
        };
        let metered = miner_toml(&places, true);
        assert!(metered.contains(":20001\"\n") && metered.contains("sysfs = \"/tmp/x/sys\""));
        let rig = miner_toml(&places, false);
        assert!(rig.contains(":20000\"\n") && rig.contains("report = false"));
        assert!(agent_toml(&places).contains("port = 20002\n"));
    }
}
