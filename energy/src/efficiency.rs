//! The band that claimed joules are held against.
//!
//! Work is proven, joules are claimed: the direction in which to cheat is downwards. No device
//! needs less energy per hash than the best one sold, so a claim below that floor is impossible,
//! and [`ratio_to_floor`] below 1 flags it. Deliberately no verdict above: processors and old
//! devices take a thousand times more, honestly.
//!
//! The floor comes from `data/asic_efficiency.csv`: nameplates, not measurements. So do the bands of
//! models that an operator names ([`device`]): what is judged by them is in [`crate::plausibility`].
//!
//! Units: joules per terahash (10^12 hashes).

use units::JoulesPerTerahash;

use crate::table;

const DEVICES: &str = include_str!("../data/asic_efficiency.csv");

/// A device by its nameplate.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Joules per terahash.
    pub joules_per_terahash: f64,
    /// Which device.
    pub model: String,
}

/// The lowest nameplate figure of the table.
///
/// # Panics
/// Never: the table ships with this crate, and a test reads all of it.
#[must_use]
pub fn floor() -> Device {
    table()
        .into_iter()
        .min_by(|a, b| a.joules_per_terahash.total_cmp(&b.joules_per_terahash))
        .expect("the shipped table is not empty: a test says so")
}

/// How many times the floor a claim is: the plausibility ratio. Below 1 no device can do it.
#[must_use]
pub fn ratio_to_floor(claimed: JoulesPerTerahash) -> f64 {
    claimed.value_f64() / floor().joules_per_terahash
}

/// The device of that name, whatever the case of its letters; `None` where the table has none.
///
/// # Panics
/// Never, as [`floor`].
#[must_use]
pub fn device(model: &str) -> Option<Device> {
    table().into_iter().find(|device| device.model.eq_ignore_ascii_case(model))
}

/// The names of all devices of the table, in its order.
///
/// # Panics
/// Never, as [`floor`].
#[must_use]
pub fn models() -> Vec<String> {
    table().into_iter().map(|device| device.model).collect()
}

fn table() -> Vec<Device> {
    devices().expect("the shipped table is well formed: a test reads all of it")
}

fn devices() -> Result<Vec<Device>, String> {
    let columns = ["model", "terahash_per_second", "watts", "joules_per_terahash", "note"];
    let rows = table::rows(DEVICES, columns)?.into_iter();
    rows.map(|(line, [model, _, _, figure, _])| {
        let figure = figure.parse::<f64>().ok().filter(|figure| (1.0..1e6).contains(figure));
        let joules_per_terahash = figure.ok_or_else(|| format!("line {line}: no figure"))?;
        Ok(Device { joules_per_terahash, model })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use units::{MicroJoules, Work};

    use super::*;

    #[test]
    fn the_floor_is_the_best_device_of_the_table() {
        assert_eq!(devices().unwrap().len(), 31);
        assert_eq!(
            floor(),
            Device { joules_per_terahash: 11.0, model: "Antminer S21 XP+ Hyd".to_owned() }
        );
    }

    #[test]
    fn devices_are_found_by_name() {
        let found = device("antminer s19 pro").unwrap();
        assert_eq!((found.model.as_str(), found.joules_per_terahash), ("Antminer S19 Pro", 29.5));
        assert_eq!(device("Antminer S19 Pro "), None);
        assert_eq!(models().len(), 31);
    }

    #[test]
    fn a_claim_below_the_floor_shows() {
        let claim = |joules: u128| {
            let energy = MicroJoules::new(joules * 1_000_000);
            ratio_to_floor(JoulesPerTerahash::of(energy, Work::new(1_000_000_000_000)).unwrap())
        };
        assert!((claim(22) - 2.0).abs() < 1e-9);
        assert!(claim(10) < 1.0 && claim(11) >= 1.0 - 1e-9);
    }
}
