//! Whether the machine runs on a battery, as Linux shows its power supplies.
//!
//! Read [`source`]. What is asked is where the power comes from, and not how full anything is. A
//! machine without supplies is a desktop, and one whose supplies cannot be read is taken for one: a
//! rig must not stand still for want of a file. A supply for a mouse is not the machine's.

use energy::tree::Tree;

use super::heat::text;

const FOLDER: &str = "class/power_supply";

/// Where the power comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The mains, as far as anybody says.
    Mains,
    /// This battery.
    Battery(String),
}

#[derive(Debug)]
struct Supply {
    name: String,
    kind: String,
    /// Whether an outer supply gives power; `None` where that is not said.
    online: Option<bool>,
    status: Option<String>,
}

impl Supply {
    fn read(tree: &dyn Tree, name: String) -> Option<Self> {
        let file = |file: &str| text(tree, &format!("{FOLDER}/{name}/{file}"));
        if file("scope").as_deref() == Some("Device") {
            return None;
        }
        let kind = file("type")?;
        // 2 is said by supplies that can be set.
        let online = file("online").map(|online| online != "0");
        Some(Self { kind, online, status: file("status"), name })
    }

    fn is_battery(&self) -> bool {
        self.kind == "Battery"
    }

    fn is_outer(&self) -> bool {
        self.kind == "Mains" || self.kind.starts_with("USB") || self.kind == "Wireless"
    }

    fn is_discharging(&self) -> bool {
        self.status.as_deref() == Some("Discharging")
    }
}

/// Where this machine's power comes from.
///
/// An uninterruptible supply that discharges says that the mains are gone, whatever else is on.
/// Else one outer supply that is on is enough: a weak charger leaves the battery discharging, and
/// the machine is plugged in all the same. With outer supplies that are all off, a battery feeds it,
/// unless that charges or there is none: a desktop's USB-C ports are supplies that are off.
#[must_use]
pub fn source(tree: &dyn Tree) -> Source {
    let names = tree.list(FOLDER).unwrap_or_default();
    let supplies: Vec<Supply> =
        names.into_iter().filter_map(|name| Supply::read(tree, name)).collect();
    let battery = |supply: &Supply| Source::Battery(supply.name.clone());
    if let Some(ups) = supplies.iter().find(|s| s.kind == "UPS" && s.is_discharging()) {
        return battery(ups);
    }
    let mut outer = supplies.iter().filter(|supply| supply.is_outer());
    if outer.any(|supply| supply.online == Some(true)) {
        return Source::Mains;
    }
    let all_off = supplies.iter().any(|supply| supply.is_outer() && supply.online == Some(false));
    let charges = |supply: &&Supply| supply.status.as_deref() == Some("Charging");
    let mut batteries = supplies.iter().filter(|supply| supply.is_battery());
    if let Some(discharging) = batteries.clone().find(|supply| supply.is_discharging()) {
        return battery(discharging);
    }
    match batteries.next() {
        Some(first) if all_off && !batteries.chain([first]).any(|b| charges(&b)) => battery(first),
        Some(_) | None => Source::Mains,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restraint::testing;

    /// Supplies as name, type, online and status; what is empty is no file.
    fn of(supplies: &[(&str, &str, &str, &str)]) -> Source {
        let mut files = Vec::new();
        for (name, kind, online, status) in supplies {
            for (file, text) in [("type", kind), ("online", online), ("status", status)] {
                if !text.is_empty() {
                    files.push((format!("{FOLDER}/{name}/{file}"), format!("{text}\n")));
                }
            }
        }
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        source(&testing::tree(&files))
    }

    #[test]
    fn a_laptop_is_on_its_battery_when_its_adapter_is_off() {
        let battery = Source::Battery("BAT0".to_owned());
        let with =
            |online, status| of(&[("AC", "Mains", online, ""), ("BAT0", "Battery", "", status)]);
        assert_eq!(with("0", "Discharging"), battery);
        assert_eq!(with("0", "Unknown"), battery, "some say this for the first seconds");
        assert_eq!(with("1", "Charging"), Source::Mains);
        assert_eq!(with("1", "Full"), Source::Mains);
        assert_eq!(with("1", "Discharging"), Source::Mains, "a weak adapter is one");
    }

    #[test]
    fn one_usb_supply_of_many_is_enough() {
        let ports = |one, other| {
            of(&[
                ("ucsi-source-psy-1", "USB", one, ""),
                ("ucsi-source-psy-2", "USB", other, ""),
                ("BAT0", "Battery", "", if one == "0" { "Discharging" } else { "Charging" }),
            ])
        };
        assert_eq!(ports("1", "0"), Source::Mains);
        assert_eq!(ports("0", "0"), Source::Battery("BAT0".to_owned()));
    }

    #[test]
    fn a_desktop_is_on_the_mains() {
        assert_eq!(of(&[]), Source::Mains);
        assert_eq!(of(&[("ucsi-source-psy-1", "USB", "0", "")]), Source::Mains);
    }

    #[test]
    fn an_uninterruptible_supply_tells_when_the_mains_are_gone() {
        let ups = |status| of(&[("AC", "Mains", "1", ""), ("ups", "UPS", "", status)]);
        assert_eq!(ups("Discharging"), Source::Battery("ups".to_owned()));
        assert_eq!(ups("Full"), Source::Mains);
    }

    #[test]
    fn a_battery_alone_tells_by_its_status() {
        let alone = |status| of(&[("BAT1", "Battery", "", status)]);
        assert_eq!(alone("Discharging"), Source::Battery("BAT1".to_owned()));
        for status in ["Charging", "Full", "Not charging", "Unknown", ""] {
            assert_eq!(alone(status), Source::Mains, "{status}");
        }
    }

    #[test]
    fn a_mouses_battery_is_not_the_machines() {
        let files = [
            ("class/power_supply/hidpp_battery_0/type", "Battery\n"),
            ("class/power_supply/hidpp_battery_0/scope", "Device\n"),
            ("class/power_supply/hidpp_battery_0/status", "Discharging\n"),
        ];
        assert_eq!(source(&testing::tree(&files)), Source::Mains);
    }
}
