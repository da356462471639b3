//! The binary as scripts use it: exit status, one line on stderr for what is wrong, the API's
//! address on stdout, and a graceful end on a signal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

const MINER: &str = env!("CARGO_BIN_EXE_wattproof-miner");

#[test]
fn mistakes_end_with_status_2_and_one_line_that_names_the_thing() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&[], "no pool"),
        (&["-o", "stratum+ssl://pool.example", "-u", "u"], "stratum+ssl://HOST:PORT"),
        (&["-o", "stratum+tcp://a:1", "-u", "u", "--cpu", "wgpu"], "--cpu"),
        (&["-o", "stratum+tcp://a:1", "-u", "u", "-t", "1025"], "from 1 to 1024"),
        (&["-o", "stratum+tcp://a:1", "-u", "u", "--gpu", "no such card"], "no such card"),
        (&["-c", "/nonexistent/miner.toml"], "/nonexistent/miner.toml"),
        (&["check", "-c", "/nonexistent/miner.toml"], "/nonexistent/miner.toml"),
        (&["bench", "--device", "gpu:99"], "gpu:99"),
    ] {
        let output = Command::new(MINER).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert!(text.starts_with("wattproof-miner: ") && text.contains(named), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_version_and_selftest_end_well() {
    for (arguments, printed) in
        [("--help", "Usage: wattproof-miner"), ("-V", "wattproof-miner"), ("selftest", "portable")]
    {
        let output = Command::new(MINER).arg(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(printed), "{arguments}");
    }
}

#[test]
#[cfg(unix)]
fn a_taken_api_address_ends_with_status_1_and_names_it() {
    let state = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(MINER)
        .args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "-q", "--api", &address])
        .env("XDG_STATE_HOME", state.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&address) && text.lines().count() == 1, "{text}");
}

#[test]
#[cfg(unix)]
fn a_signal_ends_it_with_status_0_and_a_summary() {
    for signal in ["-INT", "-TERM"] {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(MINER)
            .args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "-t", "1"])
            .args(["--cpu", "portable", "--api", "127.0.0.1:0"])
            .env("XDG_STATE_HOME", state.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("api      http://127.0.0.1:"), "{line}");
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}: {text}");
        assert!(text.contains("0 hashes in"), "{signal}: {text}");
        assert!(state.path().join("wattproof/miner.key").exists());
    }
}

/// A machine without a graphics driver: its loader is told of none.
#[cfg(target_os = "linux")]
fn without_drivers() -> Command {
    let mut miner = Command::new(MINER);
    miner.args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "--api", "off"]);
    miner.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
    miner
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_gpu_it_says_so_in_one_line_and_mines_on_the_cpu() {
    let state = tempfile::tempdir().unwrap();
    let mut child = without_drivers()
        .args(["--cpu", "portable", "-t", "1"])
        .env("XDG_STATE_HOME", state.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut before = Vec::new();
    for line in lines {
        let mines = line.contains(" cpu: ");
        before.push(line);
        if mines {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let about: Vec<&String> = before.iter().filter(|line| line.contains("gpu")).collect();
    assert_eq!(about.len(), 1, "{before:?}");
    assert!(about[0].contains("none to mine with"), "{before:?}");
    assert!(before.last().unwrap().contains("1 thread"), "{before:?}");

    let output = without_drivers().args(["--cpu", "off", "-q"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("the CPU is off, and no GPU mines"), "{text}");
}

/// A thread of a process, as Linux shows it.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Thread {
    name: String,
    cpus: String,
    nice: i32,
}

/// A miner without a pool, with these keys set, once its threads are where they are to be; its
/// threads and the line that says where. It has ended when this returns.
#[cfg(target_os = "linux")]
fn threads_of_a_miner(keys: &[(&str, &str)]) -> (Vec<Thread>, String) {
    let state = tempfile::tempdir().unwrap();
    let mut child = Command::new(MINER)
        .args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "--cpu", "portable", "--api", "off"])
        .env("XDG_STATE_HOME", state.path())
        .envs(keys.iter().map(|(key, value)| (format!("WATTPROOF_MINER_CPU_{key}"), value)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains(" cpu: ")).unwrap();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let threads = tasks.map(|task| thread(&task.unwrap().path())).collect();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    (threads, line)
}

#[cfg(target_os = "linux")]
fn thread(task: &std::path::Path) -> Thread {
    let read = |file: &str| std::fs::read_to_string(task.join(file)).unwrap();
    let status = read("status");
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    // proc(5): the name in parentheses is field 2, nice is field 19.
    let stat = read("stat");
    let nice = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap();
    Thread {
        name: read("comm").trim().to_owned(),
        cpus: cpus.trim().to_owned(),
        nice: nice.parse().unwrap(),
    }
}

#[test]
#[cfg(target_os = "linux")]
fn each_hashing_thread_is_kept_to_its_cpu_and_is_nice_and_no_other_is() {
    let own = thread(std::path::Path::new("/proc/thread-self"));
    let printed = Command::new(MINER).args(["devices", "--json"]).output().unwrap().stdout;
    let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    let numbers = printed["devices"][0]["cpus"].as_array().unwrap();
    let mut cpus: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    cpus.sort();

    // A list of all of them, so that it is the same where a quota holds.
    let (threads, line) = threads_of_a_miner(&[("AFFINITY", &cpus.join(","))]);
    let (hashing, rest): (Vec<_>, Vec<_>) =
        threads.into_iter().partition(|thread| thread.name.starts_with("hash-"));
    assert!(rest.len() >= 3, "the main thread and those of the runtime: {rest:?}");
    for thread in rest {
        assert_eq!((&thread.cpus, thread.nice), (&own.cpus, own.nice), "{thread:?}");
    }
    assert!(hashing.iter().all(|thread| thread.nice == own.nice.max(10)), "{hashing:?}");
    let mut kept: Vec<_> = hashing.into_iter().map(|thread| thread.cpus).collect();
    kept.sort();
    kept.dedup();
    assert!(!kept.is_empty() && kept.iter().all(|cpu| cpus.contains(cpu)), "{kept:?} of {cpus:?}");
    let count = printed["devices"][0]["threads"].as_u64().unwrap();
    assert_eq!(u64::try_from(kept.len()).unwrap(), count, "a CPU each: {kept:?}");
    let said = format!("nice {}", own.nice.max(10));
    assert!(line.contains("backend portable") && line.contains(&said), "{line}");

    // Left to the system, on request, and as nice as asked for.
    let keys = [("AFFINITY", "off"), ("NICE", "19"), ("THREADS", "3")];
    let (threads, line) = threads_of_a_miner(&keys);
    let hashing: Vec<_> =
        threads.iter().filter(|thread| thread.name.starts_with("hash-")).collect();
    assert_eq!(hashing.len(), 3);
    assert!(
        hashing.iter().all(|thread| thread.cpus == own.cpus && thread.nice == 19),
        "{hashing:?}"
    );
    assert!(line.contains("3 threads on any of CPU") && line.contains("nice 19"), "{line}");
}

#[test]
#[cfg(unix)]
fn what_is_no_key_file_ends_with_status_2_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, said) in [(pipe.as_path(), "a pipe"), (folder.path(), "a directory")] {
        let output = Command::new(MINER)
            .args(["-o", "stratum+tcp://127.0.0.1:1", "-u", "u", "-q", "--api", "off"])
            .env("WATTPROOF_MINER_ENERGY_KEY", path)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(said) && text.lines().count() == 1, "{text}");
    }
}
