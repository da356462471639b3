//! The shipped file, mistakes by name, ports, and what a running pool takes.

use stratum::vardiff::DifficultySettings;

use super::*;

fn read(text: &str) -> Result<Config, Errors> {
    Config::read_with(Source::new("pool.toml", text), []).map(|(config, _)| config)
}

#[test]
fn the_shipped_file_reads_as_it_is_and_with_every_default_switched_on() {
    let shipped = read(config::POOL_TOML).unwrap();
    let text = config::uncomment(config::POOL_TOML).replace("\ncookie", "\n#cookie");
    let uncommented = read(&text).unwrap();
    assert_eq!(format!("{shipped:?}"), format!("{uncommented:?}"));
}

#[test]
fn every_mistake_is_named_at_once() {
    let errors = read(
        "[node]\nurl = 5\nauth = \"nocolon\"\nnetwork = \"regtest\"\n\
         [payout]\naddress = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\nscheme = \"ppx\"\n\
         [energy]\nfactor = { publisher = \"ember\", zone = \"XXX\", vintage = 2024 }\n\
         [limits]\nper_adress = 3\n",
    )
    .unwrap_err()
    .to_string();
    for part in
        ["node.url", "node.auth", "another network", "one of solo, prop", "XXX", "per_address"]
    {
        assert!(errors.contains(part), "{part} in\n{errors}");
    }
    assert!(!errors.contains("nocolon"), "secrets are not shown\n{errors}");
}

#[test]
fn hosts_to_send_miners_to_are_read_or_named() {
    let read = |text: &str| text.parse::<HostPort>();
    let good = |host: &str, port| Ok(HostPort { host: host.to_owned(), port });
    assert_eq!(read("B.example.org:3333"), good("b.example.org", 3333));
    assert_eq!(read("192.0.2.7:1"), good("192.0.2.7", 1));
    assert_eq!(read("[2001:db8::1]:65535"), good("2001:db8::1", 65535));
    for bad in [
        "b.example",
        "b.example:0",
        "b.example:65536",
        "b.example:x",
        ":3333",
        "a b:3333",
        "stratum+tcp://b:3333",
        "::1:3333",
        "[::1:3333",
        "-b.example:1",
        "b..example:1",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let text = config::POOL_TOML.replace("[stratum]", "[stratum]\nreconnect = [\"b\"]");
    let text = text.replace("[limits]", "[limits]\ntotal = 0");
    let errors = Config::read_with(Source::new("pool.toml", text), []).unwrap_err().to_string();
    assert!(errors.contains("stratum.reconnect") && errors.contains("limits.total"), "{errors}");
}

/// The shipped file with something put behind the heading of a section.
fn with(section: &str, text: &str) -> String {
    let heading = format!("[{section}]\n");
    assert!(config::POOL_TOML.contains(&heading), "{section}");
    config::POOL_TOML.replacen(&heading, &format!("{heading}{text}\n"), 1)
}

fn mistakes(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

const TLS: &str = "\n[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";

#[test]
fn the_examples_of_the_shipped_file_are_read() {
    let of_a_port = |line: &&str| {
        ["[[stratum.port", "listen = \"127.0.0.1:3", "tls =", "difficulty = { start = 1e6"]
            .iter()
            .chain(&["proxy_protocol = [\"10", "[tls]", "certificate =", "key ="])
            .any(|start| line.strip_prefix("# ").is_some_and(|line| line.starts_with(start)))
    };
    let count = config::POOL_TOML.lines().filter(of_a_port).count();
    assert_eq!(count, 10);
    let text: Vec<&str> = config::POOL_TOML
        .lines()
        .map(|line| if of_a_port(&line) { &line[2..] } else { line })
        .collect();
    let config = read(&text.join("\n")).unwrap();
    let ports = config.stratum.all_ports();
    let seen: Vec<_> =
        ports.iter().map(|port| (port.listen.port(), port.tls, &*port.key)).collect();
    let keys = ["stratum.listen", "stratum.port.0.listen", "stratum.port.1.listen"];
    assert_eq!(seen, [(3333, false, keys[0]), (3443, true, keys[1]), (3334, false, keys[2])]);
    assert!(ports.iter().all(|port| port.listen.ip().is_loopback()), "nothing is open by itself");
    assert_eq!(ports[0].difficulty, ports[1].difficulty);
    let (base, rented) = (ports[0].difficulty, ports[2].difficulty);
    assert_eq!((rented.start.get(), rented.min.get()), (1e6, 5e5));
    assert_eq!((rented.max, rented.vardiff), (base.max, base.vardiff), "the rest is inherited");
    assert_eq!(config.tls.unwrap().certificate.file_name().unwrap(), "fullchain.pem");
}

#[test]
fn a_port_has_what_it_does_not_say_from_the_section() {
    let text = with("stratum", "proxy_protocol = [\"10.0.0.0/8\"]")
        .replace("start = 1.0, min = 0.000000001", "start = 8.0, min = 2.0")
        + "\n[[stratum.port]]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\
           difficulty = { vardiff = false }\n";
    let config = read(&text).unwrap();
    let ports = config.stratum.all_ports();
    assert_eq!(ports.len(), 3);
    let expected = DifficultySettings { vardiff: false, ..config.stratum.difficulty };
    assert_eq!((ports[1].difficulty, ports[2].difficulty), (expected, expected));
    assert_eq!(expected.start.get(), 8.0);
    assert_eq!(ports[0].proxy_protocol.len(), 1);
    assert!(ports[1].proxy_protocol.is_empty(), "trust is said for each port");
    let never: Vec<String> = config.never_banned().iter().map(ToString::to_string).collect();
    assert_eq!(never, ["::1", "10.0.0.0/8", "127.0.0.0/8"]);
}

#[test]
fn every_mistake_about_ports_is_named_at_once() {
    let ports = "\n[[stratum.port]]\nlisten = \"127.0.0.1:3333\"\n\
                 [[stratum.port]]\nlisten = \"0.0.0.0:8080\"\ntls = true\n\
                 [[stratum.port]]\ndifficulty = { start = 1e-12 }\n\
                 [[stratum.port]]\nlisten = [\"[::]:4000\", \"10.0.0.1:4000\"]\nltls = true\n\
                 [tls]\nkey = \"k.pem\"\n";
    let text = mistakes(&(with("stratum", "proxy_protocol = [\"10.0.0.1\"]") + ports));
    for part in [
        "stratum.proxy_protocol",
        "stratum.port.0.listen = \"127.0.0.1:3333\": expected an address that is free: \
         127.0.0.1:3333 is taken by stratum.listen",
        "http.listen = \"127.0.0.1:8080\": expected an address that is free: 127.0.0.1:8080 is \
         taken by stratum.port.1.listen",
        "stratum.port.2.listen: missing",
        "stratum.port.2.difficulty.start",
        "10.0.0.1:4000 is there twice",
        "stratum.port.3.ltls",
        "tls.certificate: missing",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let port = "\n[[stratum.port]]\nlisten = \"127.0.0.1:3443\"\ntls = true\n";
    let text = mistakes(&(config::POOL_TOML.to_owned() + port));
    assert!(text.contains("stratum.port.0.tls") && text.contains("[tls]"), "{text}");
    let read = read(&(config::POOL_TOML.to_owned() + port + TLS)).unwrap();
    assert!(read.stratum.ports[0].tls, "with both it is fine");
}

#[test]
fn any_free_port_may_be_asked_for_twice_and_families_are_kept_apart() {
    let ports =
        |text: &str| read(&with("stratum", text).replace("listen = [\"127.0.0.1:3333\"]\n", ""));
    assert!(ports("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").is_ok());
    assert!(ports("listen = [\"127.0.0.1:5\", \"127.0.0.2:5\", \"[::1]:5\"]").is_ok());
    assert!(ports("listen = [\"0.0.0.0:5\", \"[::1]:5\"]").is_ok());
    for both in ["\"0.0.0.0:5\", \"127.0.0.1:5\"", "\"127.0.0.1:5\", \"[::]:5\""] {
        assert!(ports(&format!("listen = [{both}]")).is_err(), "{both}");
    }
}

#[test]
fn everybody_is_no_network_of_proxies() {
    for network in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
        let text = mistakes(&with("stratum", &format!("proxy_protocol = [\"{network}\"]")));
        assert!(text.contains("stratum.proxy_protocol") && text.contains("anybody"), "{text}");
    }
}

#[test]
fn the_defaults_of_limits_are_those_of_the_code() {
    assert_eq!(read(config::POOL_TOML).unwrap().limits, Limits::default());
}

const PORT: &str = "\n[[stratum.port]]\nlisten = \"127.0.0.1:3443\"\ntls = true\n";

#[test]
fn what_may_change_while_the_pool_runs_is_taken_and_named() {
    let text = config::POOL_TOML.to_owned() + PORT + TLS;
    let old = read(&text).unwrap();
    assert_eq!(old.reload(old.clone()).unwrap().changed, [""; 0]);
    let text = text
        .replace("start = 1.0, ", "start = 2.0, ")
        .replace("#version_mask = \"1fffe000\"", "version_mask = \"1fffffe0\"")
        .replace("#reconnect = []", "reconnect = [\"b.example:3333\"]")
        .replace("#total = 100000", "total = 20000")
        .replace("#subnet_accepts_per_second = 100", "subnet_accepts_per_second = 7")
        .replace("\"c.pem\"", "\"d.pem\"")
        .replace(PORT, &format!("{PORT}proxy_protocol = [\"10.0.0.0/8\"]\n"));
    let reloaded = old.reload(read(&text).unwrap()).unwrap();
    assert_eq!(
        reloaded.changed,
        [
            "stratum.difficulty",
            "stratum.version_mask",
            "stratum.reconnect",
            "stratum.port.0.difficulty",
            "stratum.port.0.proxy_protocol",
            "limits.total",
            "limits.subnet_accepts_per_second",
            "tls.certificate",
        ]
    );
    assert_eq!(reloaded.config.limits.total, 20_000);
}

#[test]
fn what_needs_a_restart_is_refused_key_by_key_and_changes_nothing() {
    let old = read(config::POOL_TOML).unwrap();
    let text = config::POOL_TOML
        .replace("127.0.0.1:18443", "127.0.0.1:18444")
        .replace("user:password\"", "user:other\"")
        .replace("[\"127.0.0.1:3333\"]", "[\"127.0.0.1:3335\"]")
        .replace("scheme = \"pplns\"", "scheme = \"solo\"")
        .replace("fee_percent = \"1.0\"", "fee_percent = \"2.0\"")
        .replace("data/pool.sqlite", "data/other.sqlite")
        .replace("\"127.0.0.1:8080\"", "\"127.0.0.1:8081\"")
        .replace("#interval_seconds = 60", "interval_seconds = 61")
        .replace("#profiles = []", "profiles = [{ worker = \"*\", joules_per_terahash = 30 }]")
        .replace("#refresh_seconds = 30", "refresh_seconds = 31")
        .replace("#per_address = 64", "per_address = 65");
    let errors = old.reload(read(&(text + PORT + TLS)).unwrap()).unwrap_err();
    let keys: Vec<&str> = errors.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "node.url",
            "node.auth or node.cookie",
            "stratum.listen",
            "stratum.port (listen, tls)",
            "jobs.refresh_seconds",
            "payout.scheme or its window",
            "payout.fee_percent",
            "ledger.path",
            "http.listen",
            "energy.interval_seconds",
            "energy.profiles",
        ]
    );
    assert!(errors.iter().all(|line| line.ends_with("restart the pool")), "{errors:?}");
    assert!(!errors.concat().contains("other"), "no secret in it");
}

#[test]
fn how_long_headers_are_kept_is_read_strictly() {
    let kept = |keys: &str| read(&with("ledger", keys)).unwrap().ledger.retention;
    let day = Duration::from_secs(86_400);
    assert_eq!(kept(""), Retention { all: false, at_least: day });
    assert_eq!(kept("keep_days = 0"), Retention::default());
    assert_eq!(kept("keep_days = 36500"), Retention { all: false, at_least: day * 36_500 });
    assert_eq!(kept("keep_all = true\nkeep_days = 7"), Retention { all: true, at_least: day * 7 });
    for keys in ["keep_days = 36501", "keep_days = -1", "keep_days = 0.5", "keep_days = \"7\""] {
        assert!(mistakes(&with("ledger", keys)).contains("ledger.keep_days"), "{keys}");
    }
    assert!(mistakes(&with("ledger", "keep_all = 1")).contains("ledger.keep_all"));
    let old = read(config::POOL_TOML).unwrap();
    let new = read(&with("ledger", "keep_all = true\nkeep_days = 7")).unwrap();
    let refused = old.reload(new).unwrap_err().join("\n");
    assert!(refused.contains("ledger.keep_days: ") && refused.contains("ledger.keep_all: "));
}

#[test]
fn which_workers_are_which_device_is_read_strictly() {
    let profiles = |text: &str| {
        read(&with("energy", &format!("profiles = {text}"))).map(|config| config.energy.profiles)
    };
    let read = profiles(
        "[{ worker = \"a.rig*\", model = \"antminer s19 pro\" },
          { worker = \"a\", joules_per_terahash = 31.5 }]",
    )
    .unwrap();
    let figures = Vec::from_iter(
        ["rig1", "other"].map(|worker| read.of("a", worker).unwrap().joules_per_terahash()),
    );
    assert_eq!(figures, [29.5, 31.5]);
    assert_eq!(read.of("a", "rig1").unwrap().name(), "Antminer S19 Pro");
    for (text, named) in [
        ("[{ worker = \"a\", model = \"Antminer S99\" }]", "Antminer S21"),
        ("[{ worker = \"a\" }]", "either a model"),
        ("[{ worker = \"a\", model = \"Antminer S9\", joules_per_terahash = 98 }]", "either"),
        ("[{ worker = \"a\", joules_per_terahash = 0.5 }]", "joules_per_terahash"),
        ("[{ worker = \"a b\", joules_per_terahash = 30 }]", "energy.profiles.0.worker"),
        ("[{ model = \"Antminer S9\" }]", "energy.profiles.0.worker"),
        ("7", "energy.profiles"),
    ] {
        let mistakes = profiles(text).unwrap_err().to_string();
        assert!(mistakes.contains(named), "{named} in {mistakes}");
    }
    let many = "{ worker = \"a\", joules_per_terahash = 30 },".repeat(257);
    assert!(profiles(&format!("[{many}]")).unwrap_err().to_string().contains("at most 256"));
}
