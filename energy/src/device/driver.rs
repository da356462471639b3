//! The devices by name: what to ask each, and how to read it.
//!
//! Deliberately without addresses, passwords and sockets: those belong to whoever asks.

use super::{
    Answers, Request, Telemetry, Unreadable, antminer, auradine, avalon, bitaxe, braiins, epic,
    luxos, sealminer, vnish, whatsminer, whatsminer_v3,
};

/// A kind of device, by the interface that it is spoken to over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Driver {
    /// Antminer with its maker's firmware, and what is made after it (Hiveon).
    Antminer,
    /// Auradine.
    Auradine,
    /// Avalon.
    Avalon,
    /// `LuxOS`.
    Luxos,
    /// Sealminer.
    Sealminer,
    /// Whatsminer, first and second protocol.
    Whatsminer,
    /// Whatsminer, third protocol.
    WhatsminerV3,
    /// Braiins OS 25.07 and later.
    Braiins,
    /// Braiins OS 25.05 and earlier.
    BraiinsGraphql,
    /// Vnish's firmware.
    Vnish,
    /// ePIC's firmware.
    Epic,
    /// Bitaxe and others with ESP-Miner.
    Bitaxe,
}

impl Driver {
    /// Every driver.
    pub const ALL: [Self; 12] = [
        Self::Antminer,
        Self::Auradine,
        Self::Avalon,
        Self::Luxos,
        Self::Sealminer,
        Self::Whatsminer,
        Self::WhatsminerV3,
        Self::Braiins,
        Self::BraiinsGraphql,
        Self::Vnish,
        Self::Epic,
        Self::Bitaxe,
    ];

    /// Its name in configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Antminer => "antminer",
            Self::Auradine => "auradine",
            Self::Avalon => "avalon",
            Self::Luxos => "luxos",
            Self::Sealminer => "sealminer",
            Self::Whatsminer => "whatsminer",
            Self::WhatsminerV3 => "whatsminer-v3",
            Self::Braiins => "braiins",
            Self::BraiinsGraphql => "braiins-graphql",
            Self::Vnish => "vnish",
            Self::Epic => "epic",
            Self::Bitaxe => "bitaxe",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.as_str() == text)
    }

    /// The TCP port that its devices listen on unless configured.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::WhatsminerV3 => 4433,
            Self::Epic
            | Self::Antminer
            | Self::Auradine
            | Self::Avalon
            | Self::Luxos
            | Self::Sealminer
            | Self::Whatsminer => 4028,
            Self::Braiins | Self::BraiinsGraphql | Self::Vnish | Self::Bitaxe => 80,
        }
    }

    /// Whether that port is of pages, by HTTP.
    #[must_use]
    pub const fn is_web(self) -> bool {
        match self {
            Self::Braiins | Self::BraiinsGraphql | Self::Vnish | Self::Epic | Self::Bitaxe => true,
            Self::Antminer
            | Self::Auradine
            | Self::Avalon
            | Self::Luxos
            | Self::Sealminer
            | Self::Whatsminer
            | Self::WhatsminerV3 => false,
        }
    }

    /// What to ask.
    #[must_use]
    pub fn requests(self) -> Vec<Request> {
        match self {
            Self::Antminer => antminer::requests(),
            Self::Auradine => auradine::requests(),
            Self::Avalon => avalon::requests(),
            Self::Luxos => luxos::requests(),
            Self::Sealminer => sealminer::requests(),
            Self::Whatsminer => whatsminer::requests(),
            Self::WhatsminerV3 => whatsminer_v3::requests(),
            Self::Braiins => braiins::requests(),
            Self::BraiinsGraphql => braiins::graphql_requests(),
            Self::Vnish => vnish::requests(),
            Self::Epic => epic::requests(),
            Self::Bitaxe => bitaxe::requests(),
        }
    }

    /// What the answers say.
    ///
    /// # Errors
    /// Where nothing came, and where what came is no answer of such a device or a refusal.
    pub fn read(self, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
        match self {
            Self::Antminer => antminer::read(answers),
            Self::Auradine => auradine::read(answers),
            Self::Avalon => avalon::read(answers),
            Self::Luxos => luxos::read(answers),
            Self::Sealminer => sealminer::read(answers),
            Self::Whatsminer => whatsminer::read(answers),
            Self::WhatsminerV3 => whatsminer_v3::read(answers),
            Self::Braiins => braiins::read(answers),
            Self::BraiinsGraphql => braiins::read_graphql(answers),
            Self::Vnish => vnish::read(answers),
            Self::Epic => epic::read(answers),
            Self::Bitaxe => bitaxe::read(answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::device::Quantity;
    use crate::meter::MeterId;

    /// Recorded answers of each device, and one written after the description where none is recorded.
    fn recorded(driver: Driver) -> Vec<Vec<u8>> {
        let files: &[&[u8]] = match driver {
            Driver::Antminer => &[
                include_bytes!("../../fixtures/asic/antminer-bmminer/stats.json"),
                include_bytes!("../../fixtures/asic/antminer-bmminer/summary.json"),
                include_bytes!("../../fixtures/asic/antminer-bmminer/version.json"),
            ],
            Driver::Auradine => &[
                include_bytes!("../../fixtures/asic/auradine/psu.json"),
                include_bytes!("../../fixtures/asic/auradine/summary.json"),
                include_bytes!("../../fixtures/asic/auradine/version.json"),
                include_bytes!("../../fixtures/asic/auradine/ipreport.json"),
            ],
            Driver::Avalon => &[
                include_bytes!("../../fixtures/asic/avalon/a_stats.json"),
                include_bytes!("../../fixtures/asic/avalon/stats.json"),
                include_bytes!("../../fixtures/asic/avalon/version.json"),
            ],
            Driver::Luxos => &[
                include_bytes!("../../fixtures/asic/luxos/power.json"),
                include_bytes!("../../fixtures/asic/luxos/summary.json"),
                include_bytes!("../../fixtures/asic/luxos/version.json"),
            ],
            Driver::Sealminer => &[
                include_bytes!("../../fixtures/asic/sealminer/stats.json"),
                include_bytes!("../../fixtures/asic/sealminer/summary.json"),
                br#"{"VERSION":[{"BDMiner":"4.11.1"}]}"#,
                include_bytes!("../../fixtures/asic/sealminer/miner_psu_status.json"),
            ],
            Driver::Whatsminer => &[
                include_bytes!("../../fixtures/asic/whatsminer-v1/summary.json"),
                include_bytes!("../../fixtures/asic/whatsminer-v1/get_version.json"),
                include_bytes!("../../fixtures/asic/whatsminer-v1/get_psu.json"),
                br#"{"DEVDETAILS":[{"Model":"M30S+_VE40"}]}"#,
            ],
            Driver::WhatsminerV3 => &[
                include_bytes!("../../fixtures/asic/whatsminer-v3/get_miner_status_summary.json"),
                include_bytes!("../../fixtures/asic/whatsminer-v3/get_device_info.json"),
            ],
            Driver::Braiins => &[
                include_bytes!("../../fixtures/asic/braiins-25.07/miner_stats.json"),
                include_bytes!("../../fixtures/asic/braiins-25.07/miner_details.json"),
                include_bytes!("../../fixtures/asic/braiins-25.07/performance_tuner_state.json"),
            ],
            Driver::BraiinsGraphql => {
                &[include_bytes!("../../fixtures/asic/braiins-25.05/gql_system.json")]
            }
            Driver::Vnish => &[
                br#"{"miner":{"hr_realtime":54478.543,"power_consumption":2631,"power_usage":2631}}"#,
                br#"{"fw_version":"1.2.6","hr_measure":"GH/s"}"#,
            ],
            Driver::Epic => &[
                include_bytes!("../../fixtures/asic/epic/summary.json"),
                include_bytes!("../../fixtures/asic/epic/capabilities.json"),
            ],
            Driver::Bitaxe => {
                &[include_bytes!("../../fixtures/asic/bitaxe/system_info.json")]
            }
        };
        files.iter().map(|file| file.to_vec()).collect()
    }

    /// What holds of every telemetry, whatever the bytes were.
    fn believable(driver: Driver, answers: &[Vec<u8>]) -> usize {
        let answers: Vec<_> = answers.iter().map(|bytes| Some(bytes.as_slice())).collect();
        let Ok(telemetry) = driver.read(&answers) else { return 0 };
        let most = if driver == Driver::Bitaxe { 400_000 } else { 25_000_000 };
        let mut meters = BTreeSet::new();
        for figure in &telemetry.figures {
            let Quantity::Power(power) = figure.quantity else { panic!("{figure:?}") };
            assert!((1..=most).contains(&power.get()), "{figure:?}");
            assert!(figure.tier >= figure.kind.best_tier(), "{figure:?}");
            assert!(figure.uncertainty_ppm >= figure.kind.least_uncertainty_ppm(), "{figure:?}");
            assert!(MeterId::new(&figure.meter).is_some() && meters.insert(&figure.meter));
            assert!(!figure.meaning.is_empty() && !figure.field.is_empty());
        }
        for refused in &telemetry.refused {
            assert!(refused.text.chars().count() <= 64 && !refused.reason.is_empty());
        }
        telemetry.figures.len()
    }

    fn driver() -> impl Strategy<Value = Driver> {
        prop::sample::select(Driver::ALL.to_vec())
    }

    #[test]
    fn names_go_both_ways_and_every_device_is_asked_something() {
        for driver in Driver::ALL {
            assert_eq!(Driver::parse(driver.as_str()), Some(driver));
            assert_eq!(recorded(driver).len(), driver.requests().len());
            assert!(driver.port() > 0);
            // Neither has a figure: one says no power, the other has just started.
            let none = matches!(driver, Driver::Bitaxe | Driver::Antminer);
            let figures = if none { 0 } else { 1 };
            assert!(believable(driver, &recorded(driver)) >= figures, "{driver:?}");
        }
        assert_eq!(Driver::parse("Bitaxe"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            driver in driver(),
            answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        ) {
            believable(driver, &answers);
        }

        #[test]
        fn a_changed_answer_gives_no_power_that_no_device_draws(
            driver in driver(),
            changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..6),
        ) {
            let mut answers = recorded(driver);
            for (answer, place, byte) in changes {
                let answer = answer.get_mut(&mut answers);
                let place = place.index(answer.len());
                answer[place] = byte;
            }
            believable(driver, &answers);
        }

        // Bytes changed at random rarely leave JSON behind; this puts other numbers into it.
        #[test]
        fn other_numbers_give_no_power_that_no_device_draws(
            driver in driver(),
            number in prop_oneof![
                any::<f64>().prop_filter_map("JSON has no infinity", serde_json::Number::from_f64),
                any::<i64>().prop_map(serde_json::Number::from),
                (-2.0..30_000.0).prop_filter_map("finite", serde_json::Number::from_f64),
            ],
            text in any::<bool>(),
            place in any::<Index>(),
        ) {
            let mut value = serde_json::Value::from(number);
            if text {
                value = value.to_string().into();
            }
            let mut answers = recorded(driver);
            let mut first: serde_json::Value = serde_json::from_slice(&answers[0]).unwrap();
            let mut leaves = Vec::new();
            collect(&mut first, &mut leaves);
            let place = place.index(leaves.len());
            *leaves.swap_remove(place) = value;
            answers[0] = first.to_string().into_bytes();
            believable(driver, &answers);
        }
    }

    /// Every value of a tree that is no object and no list.
    fn collect<'a>(value: &'a mut serde_json::Value, leaves: &mut Vec<&'a mut serde_json::Value>) {
        match value {
            serde_json::Value::Object(map) => map.values_mut().for_each(|one| collect(one, leaves)),
            serde_json::Value::Array(list) => list.iter_mut().for_each(|one| collect(one, leaves)),
            leaf @ (serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_)) => leaves.push(leaf),
        }
    }
}
