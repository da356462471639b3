//! Emission factors of electricity: whose figure, of where, of what year, of which gas.
//!
//! Read [`FactorPack`]. The tables ship as they were published (`data/factors`, each with its
//! licence beside it) and never become code. A figure without publisher, vintage, gas and basis is
//! no factor; and publishers are never mixed or substituted for one another: what is not in the
//! table is an error that says what is near.
//!
//! The mass is energy times intensity ([`units::CarbonIntensity::mass_of`]), by the location-based
//! method: the grid's average where the meter stands. Deliberately not here: market-based
//! instruments, hourly factors, and anything fetched.
//!
//! Units: grams per kilowatt hour, kept in milligrams.

use std::fmt;

use units::CarbonIntensity;

use crate::table;

/// Who published a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Publisher {
    /// Ember: countries, lifecycle.
    Ember,
    /// Electricity Maps: zones, lifecycle, consumption-based.
    ElectricityMaps,
    /// The US Environmental Protection Agency's eGRID: subregions.
    Epa,
    /// China's Ministry of Ecology and Environment: provinces, regions, national bases.
    Mee,
}

impl Publisher {
    /// Every publisher.
    pub const ALL: [Self; 4] = [Self::Ember, Self::ElectricityMaps, Self::Epa, Self::Mee];

    /// The word for configuration, metrics and statements.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ember => "ember",
            Self::ElectricityMaps => "electricity-maps",
            Self::Epa => "epa",
            Self::Mee => "mee",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Ember => include_str!("../data/factors/ember-yearly.csv"),
            Self::ElectricityMaps => include_str!("../data/factors/electricity-maps-2025.csv"),
            Self::Epa => include_str!("../data/factors/us-epa-egrid2022.csv"),
            Self::Mee => include_str!("../data/factors/cn-mee-nbs.csv"),
        }
    }
}

impl std::str::FromStr for Publisher {
    type Err = FactorError;

    fn from_str(text: &str) -> Result<Self, FactorError> {
        let found = Self::ALL.into_iter().find(|publisher| publisher.as_str() == text);
        found.ok_or_else(|| FactorError::UnknownPublisher(text.to_owned()))
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a factor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gas {
    /// Carbon dioxide alone.
    Co2,
    /// Carbon dioxide and other greenhouse gases by their weight in it.
    Co2e,
}

impl Gas {
    /// The label: `CO2` or `CO2e`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Co2 => "CO2",
            Self::Co2e => "CO2e",
        }
    }
}

/// One emission factor with everything that makes it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Who published it.
    pub publisher: Publisher,
    /// The publisher's code of the place.
    pub zone: String,
    /// The place by name.
    pub name: String,
    /// Grams of `gas` per kilowatt hour.
    pub intensity: CarbonIntensity,
    /// The year that the data describe.
    pub vintage: u16,
    /// Which gas.
    pub gas: Gas,
    /// Gas and basis in the publisher's words, such as "`CO2e` lifecycle consumption-based".
    pub basis: String,
    /// The publication, by name.
    pub publication: String,
    /// Where the figure was taken from.
    pub source: String,
    /// How direct that source is: A, A- or B.
    pub grade: String,
}

impl fmt::Display for Factor {
    /// As in `ember CHN 2024 557.5 g/kWh`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grams = self.intensity.grams_per_kwh();
        write!(f, "{} {} {} {grams} g/kWh", self.publisher, self.zone, self.vintage)
    }
}

/// Every factor that ships.
#[derive(Clone, Debug)]
pub struct FactorPack {
    factors: Vec<Factor>,
}

/// A factor that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactorError {
    /// Nobody of that name.
    #[error("unknown publisher {0:?}: it is one of ember, electricity-maps, epa, mee")]
    UnknownPublisher(String),
    /// The publisher has no such figure in the pack.
    #[error("{publisher} has no factor for zone {zone:?} of {vintage}{}", hint(near))]
    NotFound {
        /// Whose.
        publisher: Publisher,
        /// Of where.
        zone: String,
        /// Of what year.
        vintage: u16,
        /// What comes near, as zone and year: other years of that zone, or zones like it.
        near: Vec<String>,
    },
}

impl FactorPack {
    /// The tables that ship with this crate.
    ///
    /// # Panics
    /// Never: a test reads every row of them.
    #[must_use]
    pub fn embedded() -> Self {
        let tables = Publisher::ALL.into_iter().map(|publisher| {
            read(publisher).expect("the shipped tables are well formed: a test reads every row")
        });
        Self { factors: tables.flatten().collect() }
    }

    /// Every factor.
    #[must_use]
    pub fn factors(&self) -> &[Factor] {
        &self.factors
    }

    /// The one factor of that publisher (by its word), zone and year.
    ///
    /// # Errors
    /// When there is none: what comes near. Nothing is ever substituted.
    pub fn find(&self, publisher: &str, zone: &str, vintage: u16) -> Result<Factor, FactorError> {
        let publisher: Publisher = publisher.parse()?;
        let found = self.of(publisher).find(|f| f.zone == zone && f.vintage == vintage);
        found.cloned().ok_or_else(|| FactorError::NotFound {
            publisher,
            zone: zone.to_owned(),
            vintage,
            near: self.near(publisher, zone),
        })
    }

    fn of(&self, publisher: Publisher) -> impl Iterator<Item = &Factor> {
        self.factors.iter().filter(move |factor| factor.publisher == publisher)
    }

    /// The zone's other years; or zones whose code begins alike or whose name holds the text.
    fn near(&self, publisher: Publisher, zone: &str) -> Vec<String> {
        let shown = |factor: &Factor| format!("{} {}", factor.zone, factor.vintage);
        let wanted = zone.to_lowercase();
        let years: Vec<String> =
            self.of(publisher).filter(|f| f.zone.to_lowercase() == wanted).map(shown).collect();
        if !years.is_empty() || wanted.is_empty() {
            return years;
        }
        let start: String = wanted.chars().take(2).collect();
        let alike = |factor: &&Factor| {
            factor.zone.to_lowercase().starts_with(&start)
                || factor.name.to_lowercase().contains(&wanted)
        };
        self.of(publisher).filter(alike).map(shown).take(8).collect()
    }
}

fn hint(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; it has {}", near.join(", ")) }
}

fn read(publisher: Publisher) -> Result<Vec<Factor>, String> {
    let columns =
        ["zone", "name", "g_per_kwh", "data_year", "gas_basis", "publisher", "source", "grade"];
    table::rows(publisher.table(), columns)?
        .into_iter()
        .map(|(line, fields)| {
            factor(publisher, fields).map_err(|what| format!("{publisher}, line {line}: {what}"))
        })
        .collect()
}

fn factor(publisher: Publisher, fields: [String; 8]) -> Result<Factor, String> {
    let [zone, name, grams, year, basis, publication, source, grade] = fields;
    let intensity = CarbonIntensity::parse_grams_per_kwh(&grams).map_err(|e| e.to_string())?;
    let gas = match basis.split_whitespace().next() {
        Some("CO2") => Gas::Co2,
        Some("CO2e") => Gas::Co2e,
        _ => return Err(format!("{basis:?} names no gas")),
    };
    Ok(Factor {
        publisher,
        zone,
        name,
        intensity,
        vintage: year.parse().map_err(|_| format!("{year:?} is no year"))?,
        gas,
        basis,
        publication,
        source,
        grade,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use units::MicroJoules;

    use super::*;

    #[test]
    fn every_row_that_ships_is_a_factor_and_there_is_one_of_each() {
        let mut count = 0;
        for publisher in Publisher::ALL {
            count += read(publisher).unwrap().len();
        }
        let pack = FactorPack::embedded();
        assert_eq!((count, pack.factors().len()), (245, 245));
        let keys: BTreeSet<_> =
            pack.factors().iter().map(|f| (f.publisher, &f.zone, f.vintage)).collect();
        assert_eq!(keys.len(), 245);
        for factor in pack.factors() {
            assert!((2021..=2025).contains(&factor.vintage), "{factor}");
            assert!(["A", "A-", "B"].contains(&factor.grade.as_str()), "{factor}");
            assert!(!factor.source.is_empty() && !factor.publication.is_empty(), "{factor}");
            let found = pack.find(factor.publisher.as_str(), &factor.zone, factor.vintage);
            assert_eq!(found.as_ref(), Ok(factor));
        }
    }

    #[test]
    fn figures_are_as_published() {
        let pack = FactorPack::embedded();
        for (publisher, zone, vintage, shown, gas) in [
            ("ember", "CHN", 2024, "ember CHN 2024 557.5 g/kWh", "CO2e"),
            ("electricity-maps", "CN", 2025, "electricity-maps CN 2025 485 g/kWh", "CO2e"),
            ("mee", "CN-SD", 2022, "mee CN-SD 2022 641 g/kWh", "CO2"),
            ("epa", "US-EGRID-CAMX", 2022, "epa US-EGRID-CAMX 2022 226.5 g/kWh", "CO2e"),
        ] {
            let factor = pack.find(publisher, zone, vintage).unwrap();
            assert_eq!((factor.to_string().as_str(), factor.gas.as_str()), (shown, gas));
        }
        let kilowatt_hour = MicroJoules::new(3_600_000_000_000);
        let factor = pack.find("ember", "CHN", 2024).unwrap();
        assert_eq!(factor.intensity.mass_of(kilowatt_hour).grams(), "557.500000");
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is_near() {
        let pack = FactorPack::embedded();
        let said = |publisher: &str, zone: &str, vintage: u16| {
            pack.find(publisher, zone, vintage).unwrap_err().to_string()
        };
        assert_eq!(
            said("ember", "CHN", 2019),
            "ember has no factor for zone \"CHN\" of 2019; it has CHN 2024"
        );
        assert_eq!(
            said("ember", "China", 2024),
            "ember has no factor for zone \"China\" of 2024; it has CHN 2024, HKG 2023, \
             TWN 2024, CHE 2024, CHL 2024"
        );
        assert_eq!(said("mee", "ZZ", 2022), "mee has no factor for zone \"ZZ\" of 2022");
        assert_eq!(
            said("IEA", "CHN", 2024),
            "unknown publisher \"IEA\": it is one of ember, electricity-maps, epa, mee"
        );
    }
}
