//! What a meter is: its name, kind, scope, tier and uncertainty, as they go over the wire.
//!
//! Deliberately without readings: those are the business of [`crate::counter`] and of the sources.

use std::fmt;

/// One millionth parts in a whole: coverage and uncertainty are counted in them.
pub const PPM: u32 = 1_000_000;

/// What kind of device or method a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A processor's own energy counters (RAPL).
    Rapl,
    /// An NVIDIA board's counter or power reading.
    Nvml,
    /// A hardware monitor chip of the kernel's hwmon tree.
    Hwmon,
    /// A mining device's power supply.
    AsicPsu,
    /// A mining device's firmware model.
    AsicModel,
    /// A metering plug.
    Plug,
    /// A metering power distribution unit.
    Pdu,
    /// A meter spoken to over Modbus.
    Modbus,
    /// A server's management controller (Redfish).
    Redfish,
    /// A table or a configured figure times running time.
    Model,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Rapl,
        Self::Nvml,
        Self::Hwmon,
        Self::AsicPsu,
        Self::AsicModel,
        Self::Plug,
        Self::Pdu,
        Self::Modbus,
        Self::Redfish,
        Self::Model,
    ];

    /// The word on the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rapl => "rapl",
            Self::Nvml => "nvml",
            Self::Hwmon => "hwmon",
            Self::AsicPsu => "asic-psu",
            Self::AsicModel => "asic-model",
            Self::Plug => "plug",
            Self::Pdu => "pdu",
            Self::Modbus => "modbus",
            Self::Redfish => "redfish",
            Self::Model => "model",
        }
    }

    /// The best tier that such a source can have; a claim of a better one is not believed.
    #[must_use]
    pub const fn best_tier(self) -> Tier {
        match self {
            Self::Modbus => Tier::REVENUE_GRADE,
            Self::AsicPsu | Self::Plug | Self::Pdu | Self::Redfish => Tier::METERED,
            // A firmware's model as good as a sensor is one that was calibrated against a plug.
            Self::Rapl | Self::Nvml | Self::Hwmon | Self::AsicModel => Tier::DEVICE_REPORTED,
            Self::Model => Tier::TABLE,
        }
    }

    /// The least uncertainty that such a source can have, in parts per million; a claim of a
    /// smaller one is not believed.
    #[must_use]
    pub const fn least_uncertainty_ppm(self) -> u32 {
        match self {
            Self::Modbus => 10_000,
            Self::AsicPsu | Self::Plug | Self::Pdu | Self::Redfish => 20_000,
            Self::Rapl | Self::Nvml | Self::Hwmon | Self::AsicModel => 50_000,
            Self::Model => 300_000,
        }
    }

    /// What such a source is off by at the most where nothing is wrong with it, in parts per
    /// million: a verdict believes no larger claim, or whoever states a large one could never be
    /// judged.
    #[must_use]
    pub const fn usual_uncertainty_ppm(self) -> u32 {
        match self {
            Self::Modbus => 20_000,
            Self::Plug | Self::Pdu | Self::Redfish => 40_000,
            Self::AsicPsu | Self::Rapl | Self::Nvml | Self::Hwmon => 100_000,
            Self::AsicModel | Self::Model => 300_000,
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How much a meter sees. Ordered: a wider scope includes the narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One device of a rig: a processor, a board.
    Device,
    /// A whole rig at its plug.
    Rig,
    /// Everything behind a site's meter.
    Site,
}

impl Scope {
    /// Every scope, narrowest first.
    pub const ALL: [Self; 3] = [Self::Device, Self::Rig, Self::Site];

    /// The word on the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Rig => "rig",
            Self::Site => "site",
        }
    }

    /// The scope of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// How good a figure's source is, from 1 (a revenue-grade meter) to 5 (a table times work or time).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(u8);

impl Tier {
    /// A revenue-grade meter.
    pub const REVENUE_GRADE: Self = Self(1);
    /// Metered alternating current.
    pub const METERED: Self = Self(2);
    /// What a device's own sensors report.
    pub const DEVICE_REPORTED: Self = Self(3);
    /// What a firmware's model estimates.
    pub const FIRMWARE_MODEL: Self = Self(4);
    /// A table or a configured figure.
    pub const TABLE: Self = Self(5);

    /// The tier of that number, if it is one of 1 to 5.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            1..=5 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number, 1 to 5.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number as a word, for labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            1 => "1",
            2 => "2",
            3 => "3",
            4 => "4",
            _ => "5",
        }
    }
}

/// A meter's name within its rig: 1 to 64 characters of `A-Z a-z 0-9 . _ : / + -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterId(String);

impl MeterId {
    /// A name may be this long, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// Takes a name that keeps to the rule.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/+-".contains(&b));
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name of ours, written in the code.
    pub(crate) fn known(text: &'static str) -> Self {
        Self::new(text).expect("a name written in the code keeps to the rule, and its test runs it")
    }
}

impl fmt::Display for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a meter before its first reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterSpec {
    /// Its name within the rig.
    pub id: MeterId,
    /// Where its figures come from.
    pub kind: Kind,
    /// What it sees.
    pub scope: Scope,
    /// How good that is.
    pub tier: Tier,
    /// How far a figure may be off, in parts per million of it (two standard deviations).
    pub uncertainty_ppm: u32,
    /// In words, for people: which zones, whose table, whose figure.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            assert!(kind.usual_uncertainty_ppm() >= kind.least_uncertainty_ppm());
        }
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Kind::parse("RAPL"), None);
        assert_eq!(Scope::parse("rack"), None);
        assert!(Scope::Device < Scope::Rig && Scope::Rig < Scope::Site);
        for number in 0..=u8::MAX {
            let tier = Tier::new(number);
            assert_eq!(tier.is_some(), (1..=5).contains(&number));
            assert!(tier.is_none_or(|tier| tier.as_str() == number.to_string()));
        }
    }

    #[test]
    fn names_keep_to_the_rule() {
        for right in ["rapl:psys", "a", "plug/kitchen-1", "rapl:package+dram", &"x".repeat(64)] {
            assert_eq!(MeterId::new(right).unwrap().as_str(), right);
        }
        for wrong in ["", " a", "a b", "a\n", "é", "\"", &"x".repeat(65)] {
            assert_eq!(MeterId::new(wrong), None, "{wrong:?}");
        }
    }
}
