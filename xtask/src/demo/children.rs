//! The programs the demo starts: started apart from the terminal's Ctrl-C, watched, asked to end,
//! and never left behind.
//!
//! Each child has its own process group, so that Ctrl-C reaches this program alone and the ending
//! keeps its order (miner first, pool after, node last). What a child prints goes to two files
//! beside its data, `NAME.out` and `NAME.log`; the lines it announces itself with are read back
//! from there. Our variables of the user's environment (`WATTPROOF_…`) are kept from them: they set
//! up the user's own pool and miner. Where this program is killed on the spot, a guard ends each child in its place.
//! This module deliberately knows nothing of what the programs do.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::demo::guard::Guard;
use crate::demo::interrupt::Interrupt;
use crate::failure::Failure;

/// How often a child is looked at while something is awaited.
const LOOK: Duration = Duration::from_millis(25);
/// How long a child that is dropped on the way out of a failure may take before it is killed.
const DROP_LIMIT: Duration = Duration::from_secs(10);
/// How many lines of a dead child's log are shown.
const LOG_LINES: usize = 15;

/// A started program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    out: PathBuf,
    log: PathBuf,
    ended: Option<ExitStatus>,
    /// `None` once the child has ended, or where the system gave none.
    guard: Option<Guard>,
}

impl Running {
    /// Starts `command` with its output going to files in `folder`.
    ///
    /// # Errors
    /// Fails where a file cannot be made or the program cannot be started.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let out = folder.join(format!("{name}.out"));
        let log = folder.join(format!("{name}.log"));
        let create = |path: &Path| {
            File::create(path)
                .map_err(|e| Failure::new(format!("{} cannot be written: {e}", path.display())))
        };
        forget_our_variables(&mut command, env::vars_os().map(|(name, _)| name));
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&out)?)
            .stderr(create(&log)?)
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::new(format!("the {name} cannot be started: {e}")))?;
        let guard = Guard::over(&child);
        if let Err(e) = &guard {
            eprintln!("the {name} has no guard: {e}");
        }
        Ok(Self { name, child, out, log, ended: None, guard: guard.ok() })
    }

    /// Waits for the line `KEY  VALUE` on the child's stdout and returns the value.
    ///
    /// # Errors
    /// Fails where the child ends first, `limit` passes, or somebody asks to stop.
    pub(crate) fn announced(
        &mut self,
        key: &str,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<String, Failure> {
        let out = self.out.clone();
        self.ready(limit, interrupt, || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let silent = || format!("it did not print its `{key}` line");
            announcement(&text, key).map(str::to_owned).ok_or_else(silent)
        })
    }

    /// Asks `look` again and again until it brings something, which it returns.
    ///
    /// # Errors
    /// Fails where the child ends first, `limit` passes (with what `look` said last), or somebody
    /// asks to stop.
    pub(crate) fn ready<T>(
        &mut self,
        limit: Duration,
        interrupt: &Interrupt,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, Failure> {
        let begun = clock::now();
        loop {
            let why = match look() {
                Ok(found) => return Ok(found),
                Err(why) => why,
            };
            self.check_alive()?;
            if interrupt.is_set() {
                return Err(Failure::new(format!("stopped while the {} was starting", self.name)));
            }
            if begun.elapsed() > limit {
                let limit = limit.as_secs();
                let why = format!("the {} was not ready in {limit} s: {why}", self.name);
                return Err(Failure::new(why).with(&self.last_words()));
            }
            thread::sleep(LOOK);
        }
    }

    /// Nothing while the child runs.
    ///
    /// # Errors
    /// Names the exit status and the end of the log where it has ended unasked.
    pub(crate) fn check_alive(&mut self) -> Result<(), Failure> {
        match self.look()? {
            None => Ok(()),
            Some(status) => {
                let why = format!("the {} ended unasked ({status})", self.name);
                Err(Failure::new(why).with(&self.last_words()))
            }
        }
    }

    /// Sends SIGINT and waits for the end; kills it after `limit`, or at once when somebody asks
    /// to stop a second time.
    ///
    /// # Errors
    /// Fails where the child had to be killed, or ended with another exit status than 0.
    pub(crate) fn stop(&mut self, limit: Duration, interrupt: &Interrupt) -> Result<(), Failure> {
        self.stop_by("INT", limit, interrupt)
    }

    /// As [`Self::stop`], by SIGTERM, as a service manager does it.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub(crate) fn terminate(
        &mut self,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        self.stop_by("TERM", limit, interrupt)
    }

    /// Kills it on the spot, as a machine short of memory would.
    ///
    /// # Errors
    /// Fails where it has ended before, or stays.
    pub(crate) fn crash(&mut self) -> Result<(), Failure> {
        self.check_alive()?;
        self.kill();
        match self.ended {
            Some(_) => Ok(()),
            None => Err(Failure::new(format!("the {} cannot be killed", self.name))),
        }
    }

    fn stop_by(
        &mut self,
        signal: &str,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        self.check_alive()?;
        self.send(signal);
        match self.await_end(limit, interrupt)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                let why = format!("the {} was asked to stop and ended with {status}", self.name);
                Err(Failure::new(why).with(&self.last_words()))
            }
            None => {
                self.kill();
                let why = format!("the {} did not stop when asked and was killed", self.name);
                Err(Failure::new(why).with(&self.last_words()))
            }
        }
    }

    /// The end of the child's log, as lines to put under a failure.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        tail.iter().map(|line| format!("\n  {}: {line}", self.name)).collect()
    }

    fn await_end(
        &mut self,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<ExitStatus>, Failure> {
        let begun = clock::now();
        loop {
            if let Some(status) = self.look()? {
                return Ok(Some(status));
            }
            if begun.elapsed() > limit || interrupt.take() {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    /// The exit status where the child has ended. Reaps it.
    fn look(&mut self) -> Result<Option<ExitStatus>, Failure> {
        if self.ended.is_none() {
            self.ended = self
                .child
                .try_wait()
                .map_err(|e| Failure::new(format!("waiting for the {}: {e}", self.name)))?;
        }
        if self.ended.is_some() {
            self.guard = None;
        }
        Ok(self.ended)
    }

    /// Sends a signal by the shell's own `kill`, which every POSIX system has. The process was not
    /// reaped yet, so its number cannot belong to another. A child that misses it meets its limit.
    fn send(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &pid])
            .stdin(Stdio::null())
            .status();
        if !sent.is_ok_and(|status| status.success()) {
            eprintln!("the {} (process {pid}) could not be sent SIG{signal}", self.name);
        }
    }

    fn kill(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        match killed {
            Ok(status) => {
                self.ended = Some(status);
                self.guard = None;
            }
            Err(e) => eprintln!("the {} (process {}) stays: {e}", self.name, self.child.id()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.look(), Ok(Some(_))) {
            return;
        }
        self.send("INT");
        if !matches!(self.await_end(DROP_LIMIT, &Interrupt::default()), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// Takes away what the user has set for our programs, but for what `command` sets itself; `names`
/// are those of the user's variables.
fn forget_our_variables(command: &mut Command, names: impl Iterator<Item = OsString>) {
    let own: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        if name.as_encoded_bytes().starts_with(b"WATTPROOF_") && !own.contains(&name) {
            command.env_remove(name);
        }
    }
}

/// The value of the first whole line that starts with the word `key`.
fn announcement<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .filter_map(|line| line.split_once(char::is_whitespace))
        .find(|(word, _)| *word == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str, folder: &Path) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start("pool", command, folder).unwrap()
    }

    #[test]
    fn an_announcement_is_a_whole_line() {
        let text = "stratum  stratum+tcp://127.0.0.1:3333\npage     http://127.0.0.1:80";
        assert_eq!(announcement(text, "stratum"), Some("stratum+tcp://127.0.0.1:3333"));
        assert_eq!(announcement(text, "page"), None);
        assert_eq!(announcement(&format!("{text}80/\n"), "page"), Some("http://127.0.0.1:8080/"));
        assert_eq!(announcement(text, "strat"), None);
    }

    #[test]
    fn what_the_user_set_for_our_programs_is_kept_from_a_child() {
        let mut command = Command::new("sh");
        command.env("WATTPROOF_MINER_ENERGY_KEY", "the demo's");
        let users = ["WATTPROOF_MINER_CPU_THREADS", "WATTPROOF_MINER_ENERGY_KEY", "HOME", "WATT"];
        forget_our_variables(&mut command, users.map(OsString::from).into_iter());
        let changes: Vec<_> = command.get_envs().collect();
        let kept = Some("the demo's".as_ref());
        let expected: [(&OsStr, Option<&OsStr>); 2] = [
            ("WATTPROOF_MINER_CPU_THREADS".as_ref(), None),
            ("WATTPROOF_MINER_ENERGY_KEY".as_ref(), kept),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_child_announces_itself_and_stops_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'exit 0' INT; echo 'page  http://here/'; while :; do sleep 0.05; done";
        let mut child = shell(script, folder.path());
        let quiet = Interrupt::default();
        assert_eq!(child.announced("page", LIMIT, &quiet).unwrap(), "http://here/");
        child.check_alive().unwrap();
        child.stop(LIMIT, &quiet).unwrap();
        assert!(child.ended.unwrap().success());
    }

    #[test]
    fn a_child_that_dies_is_named_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell("echo 'no such port' >&2; exit 3", folder.path());
        let failure = child.announced("page", LIMIT, &Interrupt::default()).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("the pool ended unasked"), "{text}");
        assert!(text.contains("pool: no such port"), "{text}");
    }

    #[test]
    fn a_deaf_child_is_killed_after_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap '' INT; echo 'page  x'; while :; do sleep 0.05; done";
        let mut child = shell(script, folder.path());
        let quiet = Interrupt::default();
        child.announced("page", LIMIT, &quiet).unwrap();
        let failure = child.stop(Duration::from_millis(200), &quiet).unwrap_err();
        assert!(failure.to_string().contains("was killed"), "{failure}");
        assert!(child.ended.is_some());
    }

    #[test]
    fn a_second_interrupt_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap '' INT; echo 'page  x'; while :; do sleep 0.05; done";
        let mut child = shell(script, folder.path());
        let interrupt = Interrupt::default();
        child.announced("page", LIMIT, &interrupt).unwrap();
        interrupt.raise();
        let begun = clock::now();
        child.stop(Duration::from_secs(60), &interrupt).unwrap_err();
        assert!(begun.elapsed() < LIMIT);
    }

    #[test]
    fn a_child_is_terminated_or_killed_on_the_spot() {
        let folder = tempfile::tempdir().unwrap();
        let script =
            "trap '' INT; trap 'exit 0' TERM; echo 'page  x'; while :; do sleep 0.05; done";
        let quiet = Interrupt::default();
        let mut child = shell(script, folder.path());
        child.announced("page", LIMIT, &quiet).unwrap();
        child.terminate(LIMIT, &quiet).unwrap();
        let mut child = shell(script, folder.path());
        child.announced("page", LIMIT, &quiet).unwrap();
        child.crash().unwrap();
        assert!(!child.ended.unwrap().success());
        assert!(child.crash().unwrap_err().to_string().contains("ended unasked"));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("ended");
        let script = format!(
            "trap 'touch {}; exit 0' INT; echo 'page  x'; while :; do sleep 0.05; done",
            mark.display()
        );
        let mut child = shell(&script, folder.path());
        child.announced("page", LIMIT, &Interrupt::default()).unwrap();
        drop(child);
        assert!(mark.exists());
    }
}
