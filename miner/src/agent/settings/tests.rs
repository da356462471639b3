//! The shipped file, defaults, and every mistake by name.

use config::AGENT_TOML;
use energy::device::modbus::Table;

use super::*;

fn read_text(text: &str) -> Result<(Config, Effective), String> {
    let source = Source::new("agent.toml", text);
    let mut reader = Reader::new(source).map_err(|error| error.to_string())?;
    let config = read(&mut reader);
    reader.finish(config).map_err(|errors| errors.to_string())
}

fn mistakes(text: &str) -> String {
    read_text(text).unwrap_err()
}

const DEVICE: &str = "[[device]]\nname = \"a\"\ndriver = \"tasmota\"\nhost = \"h\"\n";

#[test]
fn the_shipped_file_is_read_as_it_is_and_with_all_its_examples() {
    let (config, _) = read_text(AGENT_TOML).unwrap();
    assert_eq!(config.pool.unwrap().url.to_string(), "stratum+tcp://127.0.0.1:3333");
    let [plug, rig, hall] = &config.devices[..] else { panic!() };
    assert_eq!((plug.interface.as_str(), plug.place.port), ("shelly", 80));
    assert!(plug.counts && plug.worker.as_deref().unwrap().ends_with(".rig1"));
    assert!(!rig.counts && rig.place.port == 4028 && rig.place.web_port == 80);
    // It is for no worker, so that it counts for none.
    assert!(!hall.counts && hall.place.port == 502);
    assert_eq!(config.sites[0].behind, ["plug-1"]);
    assert_eq!(config.sites[0].tolerance_ppm, 50_000);
    assert_eq!(config.interval, Duration::from_secs(30));

    let all = config::uncomment(AGENT_TOML);
    let (config, effective) = read_text(&all).unwrap();
    assert_eq!(config.devices[0].wiring.interval, Duration::from_secs(10));
    assert_eq!(config.devices[1].wiring.calibration.as_ref().unwrap().slope_ppm, 1_087_000);
    assert!(!effective.to_string().contains("secret"), "{effective}");
}

#[test]
fn defaults_are_those_that_the_shipped_file_shows() {
    let (bare, _) = read_text(DEVICE).unwrap();
    assert!(bare.pool.is_none() && bare.sites.is_empty());
    let (shown, _) = read_text(&format!(
        "[agent]\ninterval_seconds = 30\npatience_seconds = 5\nstate = \"wattproof-agent.json\"\n\
         listen = \"127.0.0.1:4069\"\n{DEVICE}port = 80\nchannel = 0\ntls = false\n"
    ))
    .unwrap();
    assert_eq!(format!("{bare:?}"), format!("{shown:?}"));
    let (off, _) = read_text(&format!("[agent]\nlisten = \"off\"\n{DEVICE}")).unwrap();
    assert_eq!(off.api, None);
}

#[test]
fn registers_of_its_own_serve_where_a_meter_has_no_name_here() {
    let with = |registers: &str| {
        format!(
            "[[device]]\nname = \"m\"\ndriver = \"modbus\"\nhost = \"h\"\n\
             [device.registers]\n{registers}"
        )
    };
    let (config, _) = read_text(&with(
        "name = \"Meter 9\"\n\
         power = { address = 12, table = \"input\", form = \"f32\", unit = \"kW\", negative = true }\n\
         energy = { address = 72, form = \"u32\", words = \"low-first\", unit = \"Wh\", numerator = 10 }\n",
    ))
    .unwrap();
    let Interface::Modbus(map) = &config.devices[0].interface else { panic!() };
    let (power, energy) = (map.power.unwrap(), map.energy.unwrap());
    assert_eq!((power.table, power.address, power.numerator), (Table::Input, 12, -1));
    assert_eq!((energy.numerator, map.model.as_str()), (10, "Meter 9"));
    assert!(mistakes(&with("name = \"x\"\n")).contains("registers.power"));
    assert!(
        mistakes(&with("power = { address = 1, form = \"u16\", unit = \"Wh\" }\n"))
            .contains("unit")
    );
    let bare = "[[device]]\nname = \"m\"\ndriver = \"modbus\"\nhost = \"h\"\n";
    assert!(mistakes(bare).contains("device.0.model"));
}

#[test]
fn every_mistake_is_named() {
    for (text, named) in [
        ("", "device"),
        ("[[device]]\nname = \"a\"\ndriver = \"tasmota\"\n", "device.0.host"),
        (&DEVICE.repeat(2), "another device has that name"),
        (&format!("{DEVICE}worker = \"a b\"\n"), "device.0.worker"),
        (&format!("{DEVICE}tls_fingerprint = \"{}\"\n", "0".repeat(64)), "tls = true"),
        (&format!("{DEVICE}calibration = {{ slope = 9.0 }}\n"), "calibration.slope"),
        (
            &format!(
                "{DEVICE}calibration = {{ slope = 1.1, residual = 0.01, reference = 0.02 }}\n"
            ),
            "only what a mining device says",
        ),
        (
            "[[device]]\nname = \"a\"\ndriver = \"luxos\"\nhost = \"h\"\ntls = true\n",
            "not asked over HTTP",
        ),
        (
            &format!("{DEVICE}[[site]]\nname = \"s\"\nmeter = \"a\"\ndevices = [\"a\"]\n"),
            "not behind itself",
        ),
        (&format!("{}{DEVICE}", "[[pool]]\nurl = \"stratum+tcp://a:1\"\n".repeat(2)), "one pool"),
    ] {
        let told = mistakes(text);
        assert!(told.contains(named), "{named} is not in {told}");
    }
    let many: String = (0..=METERS_OF_A_WORKER)
        .map(|n| DEVICE.replace("\"a\"", &format!("\"a{n}\"")) + "worker = \"w\"\ncounts = true\n")
        .collect();
    assert!(mistakes(&many).contains("64 at most"));
    let two = format!(
        "{DEVICE}worker = \"w\"\ncounts = true\n{}worker = \"w\"\n",
        DEVICE.replace("\"a\"", "\"b\"")
    );
    assert!(mistakes(&two).contains("counts = true or false in b"), "{}", mistakes(&two));
    assert!(read_text(&format!("{two}counts = true\n")).is_ok());
    assert!(read_text(&format!("{two}counts = false\n")).is_ok());
}
