//! Flags, variables and the shipped file, and what is said of mistakes in each.

use std::fs;

use super::*;

const POOL: &str = "stratum+tcp://127.0.0.1:3333";

fn args(line: &str) -> RunArgs {
    let words = std::iter::once("m").chain(line.split_whitespace()).map(Into::into);
    match crate::cli::parse(words).unwrap() {
        crate::cli::Parsed::Cli(cli) => cli.run,
        crate::cli::Parsed::Text(text) => panic!("{text}"),
    }
}

fn loaded(line: &str) -> Result<Config, Failure> {
    load(&args(line), []).map(|(config, _)| config)
}

fn refusal(line: &str) -> String {
    let failure = loaded(line).unwrap_err();
    assert!(matches!(failure, Failure::Usage(_)), "{failure:?}");
    failure.to_string()
}

#[test]
fn a_pool_and_a_user_are_enough() {
    let config = loaded(&format!("-o {POOL} -u someone.rig1")).unwrap();
    assert_eq!(config.pools.len(), 1);
    assert_eq!(config.pools[0].user, "someone.rig1");
    assert_eq!(config.pools[0].password.expose(), "x");
    assert_eq!(config.cpu, Cpu::Auto);
    assert_eq!(config.plan, Plan::new(&config.cpus, &Wishes::default()));
    assert_eq!(config.version_mask, 0x1fff_e000);
    assert_eq!(config.api, Some("127.0.0.1:4068".parse().unwrap()));
    assert!(config.energy.is_some());
    assert_eq!(config.gpus, Wanted::Auto { software: false });
}

#[test]
fn several_pools_keep_their_order_and_their_users() {
    let config = loaded("-o stratum+tcp://a:1 -u one -o stratum+tcp://b:2 -u two -p x").unwrap();
    let pools: Vec<_> = config.pools.iter().map(|p| (p.url.host(), p.user.as_str())).collect();
    assert_eq!(pools, [("a", "one"), ("b", "two")]);
    let shared = loaded("-o stratum+tcp://a:1 -o stratum+tcp://b:2 -O me:d=1").unwrap();
    assert!(shared.pools.iter().all(|p| p.user == "me" && p.password.expose() == "d=1"));
}

#[test]
fn pins_and_proxies_are_taken_from_flags_and_from_the_file() {
    let pin = "ab".repeat(32);
    let line = "-o stratum+ssl://a:1 -o stratum+tcp://b:2 -u me -x socks5://127.0.0.1:9050";
    let config = loaded(&format!("{line} --tls-fingerprint {pin}")).unwrap();
    let shown = |pool: &Pool| pool.fingerprint.map(|pin| pin.to_string());
    assert_eq!(config.pools.iter().map(shown).collect::<Vec<_>>(), [Some(pin.clone()), None]);
    assert!(config.pools.iter().all(|pool| pool.proxy.as_ref().unwrap().port() == 9050));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("miner.toml");
    let text = |keys: &str| format!("[[pool]]\nurl = \"stratum+ssl://f:1\"\nuser = \"u\"\n{keys}");
    let login = "proxy = \"socks5://p:2\"\nproxy_user = \"me\"\nproxy_password = \"hunter2\"\n";
    fs::write(&file, text(&format!("tls_fingerprint = \"{pin}\"\n{login}"))).unwrap();
    let (config, effective) = load(&args(&format!("-c {}", file.display())), []).unwrap();
    let proxy = config.pools[0].proxy.as_ref().unwrap();
    assert_eq!(proxy.login().unwrap().password().expose(), "hunter2");
    assert_eq!(shown(&config.pools[0]), Some(pin));
    assert!(!effective.to_string().contains("hunter2"), "{effective}");

    let plain = text("tls_fingerprint = \"00\"\n").replace("+ssl", "+tcp");
    let pinned = plain.replace("\"00\"", &format!("\"{}\"", "00".repeat(32)));
    for (text, named) in [
        (text("proxy_user = \"me\"\n"), "pool.0.proxy"),
        (text("proxy = \"socks5://p:2\"\nproxy_user = \"me\"\n"), "belong together"),
        (text("proxy = \"socks5://me:hunter2@p:2\"\n"), "pool.0.proxy"),
        (text("tls_fingerprint = \"00\"\n"), "64 hexadecimal digits"),
        (pinned, "pool.0.tls_fingerprint"),
    ] {
        fs::write(&file, &text).unwrap();
        let said = refusal(&format!("-c {}", file.display()));
        assert!(said.contains(named), "{text}: {said}");
        assert_eq!(said.lines().count(), 1, "{text}: {said}");
    }
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("miner.toml");
    let text = "[[pool]]\nurl = \"stratum+tcp://f:1\"\nuser = \"file\"\n\
                [cpu]\nthreads = 3\n[api]\nlisten = \"off\"\n";
    fs::write(&file, text).unwrap();
    let base = format!("-c {}", file.display());
    let variables = [("WATTPROOF_MINER_CPU_THREADS".to_owned(), "5".to_owned())];

    let plain = loaded(&base).unwrap();
    assert_eq!((plain.plan.threads(), plain.api), (3, None));
    assert_eq!(plain.pools[0].user, "file");
    let (with_variable, _) = load(&args(&base), variables.clone()).unwrap();
    assert_eq!(with_variable.plan.threads(), 5);
    let (with_flag, effective) = load(&args(&format!("{base} -t 7 -u flag")), variables).unwrap();
    assert_eq!((with_flag.plan.threads(), with_flag.pools[0].user.as_str()), (7, "flag"));
    assert!(effective.to_string().contains("cpu.threads = "), "{effective}");
}

/// What `[cpu]` comes to on a machine of four cores with two threads each, CPUs 0 to 7.
fn on_eight_cpus(keys: &str) -> Result<Plan, config::Errors> {
    let pool = "[[pool]]\nurl = \"stratum+tcp://f:1\"\nuser = \"u\"\n";
    let source = Source::new("miner.toml", format!("{pool}[cpu]\n{keys}\n"));
    let mut reader = Reader::new(source)?;
    let siblings = |cpu| Some(format!("{},{}", cpu % 4, cpu % 4 + 4));
    let config = read(&mut reader, Cpus::new(CpuList::first(8), siblings, None));
    reader.finish(config).map(|(config, _)| config.plan)
}

#[test]
fn the_cpu_section_says_how_many_threads_run_where_and_how_nicely() {
    for (keys, threads, last, nice) in [
        ("", 8, Some("7"), 10),
        ("threads = \"auto\"\nsmt = \"all\"\nnice = 0", 8, Some("7"), 0),
        ("smt = \"cores\"\nnice = 19", 4, Some("3"), 19),
        ("threads = 2\naffinity = \"off\"\nnice = -20", 2, None, -20),
        ("affinity = \"1-2,5\"", 3, Some("5"), 10),
        ("affinity = \"6\"\nthreads = 2", 2, Some("6"), 10),
        ("threads = 9", 9, None, 10),
    ] {
        let plan = on_eight_cpus(keys).unwrap();
        let cpus = plan.cpus_of(threads - 1).map(|cpus| cpus.to_string());
        let found = (plan.threads(), cpus.as_deref(), plan.nice());
        assert_eq!(found, (threads, last, nice), "{keys}");
        assert_eq!(
            plan.warnings().is_empty(),
            threads < 9 && keys != "affinity = \"6\"\nthreads = 2"
        );
    }
}

#[test]
fn every_mistake_about_the_cpus_is_one_clear_line() {
    for (keys, said) in [
        (
            "affinity = \"0-9\"",
            "cpu.affinity = \"0-9\": expected auto, off or a list of CPUs such as \
          0-3,8 (this process may use 0-7, and not 8-9)",
        ),
        ("affinity = \"3-0\"", "runs backwards"),
        ("affinity = \"0,0\"", "CPU 0 is named twice"),
        ("affinity = \"\"", "a CPU's number is missing"),
        ("affinity = \"cores\"", "auto, off or a list"),
        ("affinity = 3", "auto, off or a list"),
        ("affinity = [0, 1]", "auto, off or a list"),
        ("smt = \"half\"", "\"auto\", \"all\", \"cores\""),
        ("nice = 20", "a whole number from -20 to 19"),
        ("nice = -21", "a whole number from -20 to 19"),
        ("nice = 1.5", "a whole number from -20 to 19"),
        ("nice = \"very\"", "a whole number from -20 to 19"),
        ("threads = 0", "auto, or a whole number from 1 to 1024"),
        ("threads = 1025", "auto, or a whole number from 1 to 1024"),
    ] {
        let text = on_eight_cpus(keys).unwrap_err().to_string();
        assert!(text.contains(said), "{keys}: {text}");
        assert!(text.contains("miner.toml:5") && !text.trim_end().contains('\n'), "{keys}: {text}");
    }
}

#[test]
fn mistakes_name_the_flag_or_the_key() {
    let pool = format!("-o {POOL} -u u");
    for (line, named) in [
        ("", "no pool"),
        (&format!("{pool} --tls-fingerprint 00"), "64 hexadecimal digits"),
        (
            &format!("{pool} --tls-fingerprint {}", "00".repeat(32)),
            "none of the pools is a stratum+ssl one",
        ),
        (&format!("{pool} -x 9050"), "-x 9050: not a proxy; write socks5://HOST:PORT"),
        (&format!("{pool} -x socks5://a:1 -x socks5://b:2"), "-x: given 2 times for 1 pools"),
        ("-o a:1 -u u", "stratum+tcp://HOST:PORT"),
        (&format!("-o {POOL}"), "-u USER"),
        ("-o stratum+tcp://a:1 -o stratum+tcp://b:2 -o stratum+tcp://c:3 -u u -u v", "-u: given 2"),
        (&format!("{pool} -a scrypt"), "-a scrypt"),
        (&format!("{pool} --gpu 0,"), "--gpu"),
        (&format!("{pool} --cpu off --gpu off"), "the CPU and all GPUs are off"),
        (&format!("{pool} --cpu wgpu"), "wgpu is a GPU's"),
        (&format!("{pool} --cpu shani"), "shani"),
        (&format!("{pool} --tui"), "--tui"),
        (&format!("{pool} -t 0"), "-t"),
        (&format!("{pool} -t 1025"), "auto, or a whole number from 1 to 1024"),
        (&format!("{pool} -t many"), "auto, or a whole number from 1 to 1024"),
        (&format!("{pool} --api nowhere"), "--api"),
        ("-O nocolon", "USER:PASS"),
        ("-c /nonexistent/miner.toml", "/nonexistent/miner.toml"),
    ] {
        let text = refusal(line);
        assert!(text.contains(named), "{line}: {text}");
        assert!(!text.contains('\n'), "{line}: {text}");
    }
}

#[test]
fn every_mistake_of_a_file_is_reported_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    let text = "[[pool]]\nurl = \"http://f:1\"\nuser = \"\"\n[cpu]\nbackend = \"fast\"\n\
                [mining]\ndifficulty = 0\n[energy]\nuncertainty = 0.1\n[apy]\nlisten = 1\n";
    fs::write(&file, text).unwrap();
    let text = refusal(&format!("-c {}", file.display()));
    for key in [
        "pool.0.url",
        "pool.0.user",
        "cpu.backend",
        "mining.difficulty",
        "energy.uncertainty",
        "apy",
    ] {
        assert!(text.lines().any(|line| line.contains(key)), "{key} is not in:\n{text}");
    }
}

#[test]
fn the_shipped_file_loads_as_it_is_and_with_everything_switched_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("miner.toml");
    let full = config::uncomment(config::MINER_TOML);
    for text in [config::MINER_TOML, &full] {
        fs::write(&file, text).unwrap();
        let shown = check(&file, []).unwrap().to_string();
        assert!(shown.contains("pool.0.url"), "{shown}");
    }
    let defaults = check_text(&folder, config::MINER_TOML);
    let switched_on = check_text(&folder, &full);
    for key in defaults.keys() {
        let (before, after) = (defaults.get(key), switched_on.get(key));
        if let (Some((before, _)), Some((after, _))) = (before, after) {
            assert_eq!(before, after, "{key}: the default shown is not the default in force");
        }
    }
}

fn check_text(folder: &tempfile::TempDir, text: &str) -> Effective {
    let file = folder.path().join("miner.toml");
    fs::write(&file, text).unwrap();
    check(&file, []).unwrap()
}

#[test]
fn a_password_is_not_read_from_the_environment_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("miner.toml");
    let text = "[[pool]]\nurl = \"stratum+tcp://f:1\"\nuser = \"u\"\npassword = \"hunter2\"\n";
    fs::write(&file, text).unwrap();
    assert!(!check(&file, []).unwrap().to_string().contains("hunter2"));
    let variable = ("WATTPROOF_MINER_POOL_0_PASSWORD".to_owned(), "hunter3".to_owned());
    let refused = check(&file, [variable]).unwrap_err().to_string();
    assert!(refused.contains("POOL_0_PASSWORD") && !refused.contains("hunter"), "{refused}");
}

/// What `[power]` comes to.
fn power(keys: &str) -> Result<restraint::Settings, config::Errors> {
    let pool = "[[pool]]\nurl = \"stratum+tcp://f:1\"\nuser = \"u\"\n";
    let source = Source::new("miner.toml", format!("{pool}{keys}\n"));
    let mut reader = Reader::new(source)?;
    let config = read(&mut reader, Cpus::new(CpuList::first(2), |_| None, None));
    reader.finish(config).map(|(config, _)| config.power)
}

#[test]
fn the_power_section_says_what_holds_the_miner_back() {
    assert_eq!(power("").unwrap(), restraint::Settings::none());
    let all = power(
        "[power]\ncap_watts = 80.5\nduty_percent = 33.3\ngovernor = \"efficiency\"\n\
         pause_on_battery = true\npause_when_active = true\nidle_seconds = 60\nmax_celsius = 85\n\
         utc_offset = \"+08:00\"\n\
         [[power.schedule]]\nfrom = \"22:00\"\nto = \"06:00\"\npause = true\n\
         [[power.schedule]]\ndays = \"sat,sun\"\nfrom = \"00:00\"\nto = \"24:00\"\ncap_watts = 40\n\
         duty_percent = 50\n",
    );
    let all = all.unwrap();
    assert_eq!((all.cap_watts, all.duty, all.governor), (Some(80.5), 333, true));
    assert_eq!(all.pause_when_active, Some(std::time::Duration::from_secs(60)));
    assert!(all.pause_on_battery && all.max_celsius == Some(85.0));
    assert_eq!(all.schedule.offset.to_string(), "+08:00");
    let windows: Vec<String> =
        all.schedule.windows.iter().map(|w| format!("{w}: {}", w.rule)).collect();
    assert_eq!(
        windows,
        ["every day 22:00-06:00: pause", "sat,sun 00:00-24:00: at most 40 W, 50 % of the time"]
    );
}

#[test]
fn every_mistake_about_power_is_reported_at_once() {
    let text = power(
        "[power]\ncap_watts = 0\nduty_percent = 0.5\ngovernor = \"on\"\npause_on_battery = 1\n\
         idle_seconds = 1\nmax_celsius = 20\nutc_offset = \"CET\"\nmax_celcius = 80\n\
         [[power.schedule]]\ndays = \"monday\"\nfrom = \"8:00\"\npause = true\n\
         [[power.schedule]]\nfrom = \"08:00\"\nto = \"09:00\"\n",
    );
    let text = text.unwrap_err().to_string();
    for said in [
        "power.cap_watts = 0: expected a number from 1 to",
        "power.duty_percent = 0.5: expected a number from 1 to 100",
        "power.governor = \"on\": expected one of \"off\", \"efficiency\"",
        "power.pause_on_battery = 1",
        "power.idle_seconds = 1: expected a number from 10 to 86400, in seconds",
        "power.max_celsius = 20: expected a number from 30 to 120",
        "power.utc_offset = \"CET\"",
        "did you mean \"max_celsius\"?",
        "power.schedule.0.days = \"monday\"",
        "power.schedule.0.from = \"8:00\"",
        "power.schedule.0.to: missing; expected a time such as",
        "a window needs pause = true, a cap_watts or a duty_percent",
    ] {
        assert!(text.contains(said), "{said} is not in:\n{text}");
    }
    for keys in ["cap_watts = 80", "governor = \"efficiency\""] {
        let text = power(&format!("[energy]\nreport = false\n[power]\n{keys}\n"));
        let text = text.unwrap_err().to_string();
        assert!(text.contains("needs a meter, and energy.report is false"), "{text}");
    }
}

#[test]
fn flags_set_the_cap_and_the_duty() {
    let config = loaded(&format!("-o {POOL} -u u --power-cap 80 --duty 30")).unwrap();
    assert_eq!((config.power.cap_watts, config.power.duty), (Some(80.0), 300));
    for (flag, named) in [("--power-cap much", "--power-cap"), ("--duty 0", "--duty")] {
        let said = refusal(&format!("-o {POOL} -u u {flag}"));
        assert!(said.contains(named), "{said}");
    }
}
