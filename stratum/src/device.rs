//! Kinds of devices, told apart by what their software calls itself: where a connection's
//! difficulty starts, how easy it may become, and how long a coinbase the firmware can hold.
//!
//! Read [`DeviceClass::of`]; the table below it is the whole of what is known. A session looks its
//! class up once, with the subscription. What an operator's settings or the miner itself say of
//! the difficulty comes before what is said here.
//!
//! It deliberately trusts no name with anything but the miner's own comfort: whoever calls itself
//! something else gets another start and nothing more.

/// What is known of one kind of device or software.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceClass {
    /// For logs and for a metric's label: lower-case letters and hyphens.
    pub name: &'static str,
    /// What a connection starts at, as difficulty; the operator's start where it is unknown.
    pub start: Option<f64>,
    /// The easiest difficulty that it takes, where it is particular.
    pub minimum: Option<f64>,
    /// Longest coinbase transaction that it takes, bytes without witness, extranonces included.
    pub longest_coinbase: usize,
    /// Fewest bytes of extranonce 2 that it takes.
    pub least_extranonce2: usize,
    /// What its name begins with, or has in it after `*`; lower case.
    names: &'static [&'static str],
}

/// What an unknown device takes: a stock Antminer's coinbase, which is the shortest that a
/// full-sized machine is known to be limited to.
static UNKNOWN: DeviceClass = class("unknown", None, 750, &[]);

/// The first row that fits counts. Sources are public: each device's firmware, reports in its
/// project's issues, and what pools have learned of them.
///
/// A start is set for about eight times the share rate usually aimed at, 10 a minute, at the kind's
/// slowest common hash rate, so that the measurement at the start needs no step before it. A class
/// of many speeds has none.
static TABLE: &[DeviceClass] = &[
    // Rented hash rate: its order is refused below difficulty 500,000 (pools send 2^19), with an
    // extranonce 2 of fewer than 4 bytes, or with a coinbase of more than 500 bytes.
    DeviceClass {
        minimum: Some(524_288.0),
        least_extranonce2: 4,
        ..class("nicehash", Some(524_288.0), 500, &["nicehash", "excavator"])
    },
    // Big rented orders pass through proxies: they ask for a hard port.
    DeviceClass {
        minimum: Some(65_536.0),
        least_extranonce2: 4,
        ..class("rental", Some(524_288.0), 750, &["miningrigrentals", "mrr"])
    },
    // The largest coinbase that BitMaker's NerdMiner holds is 512 bytes (its issue 807); an ESP32
    // hashes 30 to 400 kH/s: a share in 6 s at difficulty 0.00004 to 0.0006.
    class("nerdminer", Some(1e-5), 512, &["nerdminer", "nminer", "*han_solo"]),
    // SparkMiner holds 256 bytes (its issue 25), on the same chips; so do their kin.
    class("esp32", Some(1e-5), 256, &["sparkminer", "leafminer", "*esp32", "*esp8266", "arduino"]),
    // One to four ASICs behind an ESP32 with more memory, 0.4 to 5 TH/s: 6,500 bytes.
    class(
        "bitaxe",
        Some(64.0),
        6500,
        &["bitaxe", "nerdaxe", "nerdqaxe", "nerdoctaxe", "*esp-miner"],
    ),
    // A CPU, 1 to 500 MH/s; the transaction is built in memory.
    class("cpuminer", Some(0.0001), 16_000, &["cpuminer", "minerd"]),
    // This project's own miner, on anything.
    class("wattproof", None, 16_000, &["wattproof-miner"]),
    // An S21's stock firmware takes 2,250 bytes; older ones 750. 190 TH/s and 13 to 140.
    class("antminer-s21", Some(16_384.0), 2250, &["antminer s21"]),
    class("antminer", Some(1024.0), 750, &["antminer", "bmminer"]),
    // Braiins OS on Antminers: 2,250.
    class("bosminer", Some(1024.0), 2250, &["bosminer", "braiins", "bos/"]),
    // From 40 TH/s on: 6,500.
    class("whatsminer", Some(4096.0), 6500, &["whatsminer", "btminer"]),
    // ePIC's boards and firmware, and xminer: 16,000.
    class("epic", Some(4096.0), 16_000, &["powerplay-bm"]),
    class("xminer", Some(1024.0), 16_000, &["xminer"]),
    // USB sticks to Avalons: every speed, and the library's own buffers hold the coinbase.
    class("cgminer", None, 750, &["cgminer", "bfgminer", "sgminer"]),
];

const fn class(
    name: &'static str,
    start: Option<f64>,
    longest_coinbase: usize,
    names: &'static [&'static str],
) -> DeviceClass {
    DeviceClass { name, start, minimum: None, longest_coinbase, least_extranonce2: 1, names }
}

impl DeviceClass {
    /// The class of what calls itself `agent`; [`DeviceClass::unknown`] where no row fits.
    #[must_use]
    pub fn of(agent: &str) -> &'static Self {
        let agent = agent.trim().as_bytes();
        TABLE
            .iter()
            .find(|class| class.names.iter().any(|name| fits(agent, name)))
            .unwrap_or(&UNKNOWN)
    }

    /// What is taken for granted of a device that nothing is known of.
    #[must_use]
    pub fn unknown() -> &'static Self {
        &UNKNOWN
    }

    /// Every class, for metrics: the unknown one first.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        std::iter::once(&UNKNOWN).chain(TABLE)
    }
}

/// Whether a name begins like that or, after `*`, has it anywhere; in either case.
fn fits(agent: &[u8], name: &str) -> bool {
    let same = |part: &[u8], name: &str| part.eq_ignore_ascii_case(name.as_bytes());
    match name.strip_prefix('*') {
        Some(name) => agent.windows(name.len()).any(|part| same(part, name)),
        None => agent.get(..name.len()).is_some_and(|part| same(part, name)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use units::Difficulty;

    use super::*;

    #[test]
    fn names_as_the_field_has_them() {
        for (agent, class) in [
            ("NiceHash/1.0.0", "nicehash"),
            ("MiningRigRentals/1.0", "rental"),
            ("NerdMinerV2", "nerdminer"),
            ("HAN_SOLOminer", "nerdminer"),
            ("SparkMiner/1.2", "esp32"),
            ("bitaxe/BM1368/v2.4.0", "bitaxe"),
            ("NerdQAxe++/1.0", "bitaxe"),
            ("cpuminer/2.5.1", "cpuminer"),
            ("wattproof-miner/0.1.0", "wattproof"),
            ("Antminer S21/Fri Mar 1", "antminer-s21"),
            ("Antminer S19j Pro/", "antminer"),
            ("bmminer/2.0.0", "antminer"),
            ("bosminer-plus-tuner 0.9", "bosminer"),
            ("whatsminer/v1.1", "whatsminer"),
            ("btminer 3.4", "whatsminer"),
            ("PowerPlay-BM/1.3", "epic"),
            ("xminer-1.2", "xminer"),
            ("cgminer/4.11.1", "cgminer"),
            ("  CGMiner", "cgminer"),
            ("", "unknown"),
            ("nice", "unknown"),
            ("my nicehash", "unknown"),
            ("\u{fc}berminer", "unknown"),
        ] {
            assert_eq!(DeviceClass::of(agent).name, class, "{agent}");
        }
    }

    #[test]
    fn the_table_holds_what_a_session_can_use() {
        let names: HashSet<_> = DeviceClass::all().map(|class| class.name).collect();
        assert_eq!(names.len(), DeviceClass::all().count(), "labels differ");
        for class in DeviceClass::all() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(class.name.chars().all(plain), "{}", class.name);
            let start = class.start.map(|start| Difficulty::new(start).unwrap());
            let minimum = class.minimum.map(|minimum| Difficulty::new(minimum).unwrap());
            assert!(minimum.is_none() || start >= minimum, "{}", class.name);
            assert!((256..=16_000).contains(&class.longest_coinbase), "{}", class.name);
            assert!((1..=8).contains(&class.least_extranonce2), "{}", class.name);
            for name in class.names {
                assert_eq!(*name, name.to_lowercase(), "{}", class.name);
                assert!(name.len() > 2);
                let full = name.trim_start_matches('*');
                assert_eq!(
                    DeviceClass::of(full).name,
                    class.name,
                    "{full} is found in another row"
                );
            }
        }
    }

    #[test]
    fn rented_hash_rate_is_never_given_less_than_it_takes() {
        let class = DeviceClass::of("NiceHash/1.0.0");
        assert!(class.minimum >= Some(500_000.0));
        assert!(class.longest_coinbase <= 500 && class.least_extranonce2 >= 4);
    }
}
