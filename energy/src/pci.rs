//! Where a board sits on the PCI bus: what ties an adapter that computes to the meter of its joules.
//!
//! Everyone writes the address in a way of their own: `0000:65:00.0` (Linux, Vulkan),
//! `00000000:65:00.0` (NVIDIA's library), in capitals or not. [`PciAddress`] reads them all.
//! Deliberately without names or classes of devices.

use std::{fmt, str::FromStr};

/// A device's function on the PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// A text that is no PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PCI address, such as 0000:65:00.0")]
pub struct NoPciAddress(String);

impl PciAddress {
    /// The address as NVIDIA's library writes it, with eight digits for the domain.
    #[must_use]
    pub fn with_long_domain(&self) -> String {
        let Self { domain, bus, device, function } = self;
        format!("{domain:08X}:{bus:02X}:{device:02X}.{function:X}")
    }
}

/// As Linux writes it: four digits for the domain, or as many as it takes.
impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

impl FromStr for PciAddress {
    type Err = NoPciAddress;

    fn from_str(text: &str) -> Result<Self, NoPciAddress> {
        parse(text).ok_or_else(|| NoPciAddress(text.to_owned()))
    }
}

/// `domain:bus:device.function`: four to eight digits, two, two (up to 1f), one (up to 7).
fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.split_once('.')?;
    let mut parts = rest.split(':');
    let (domain, bus, device) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(4..=8).contains(&domain.len()) {
        return None;
    }
    let domain = hexadecimal(domain)?;
    let short = |text: &str, digits: usize, most: u8| {
        let number = hexadecimal(text).filter(|_| text.len() == digits)?;
        u8::try_from(number).ok().filter(|number| *number <= most)
    };
    let (bus, device) = (short(bus, 2, u8::MAX)?, short(device, 2, 0x1f)?);
    Some(PciAddress { domain, bus, device, function: short(function, 1, 7)? })
}

/// Digits alone: a sign is none.
fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_the_same() {
        let address: PciAddress = "0000:65:00.0".parse().unwrap();
        for same in ["00000000:65:00.0", "00000:65:00.0"] {
            assert_eq!(same.parse(), Ok(address), "{same}");
        }
        assert_eq!(address.to_string(), "0000:65:00.0");
        assert_eq!(address.with_long_domain(), "00000000:65:00.0");
        let other: PciAddress = "0001:AF:1f.7".parse().unwrap();
        assert_eq!("00000001:af:1F.7".parse(), Ok(other));
        assert_eq!(other.to_string(), "0001:af:1f.7");
        assert_eq!(other.with_long_domain(), "00000001:AF:1F.7");
        assert_ne!(other, address);
    }

    #[test]
    fn domains_beyond_four_digits_keep_them() {
        let behind_a_bridge: PciAddress = "10000:e1:00.0".parse().unwrap();
        assert_eq!(behind_a_bridge.to_string(), "10000:e1:00.0");
        assert_eq!(behind_a_bridge.with_long_domain(), "00010000:E1:00.0");
        let last: PciAddress = "ffffffff:ff:1f.7".parse().unwrap();
        assert_eq!(last.to_string().parse(), Ok(last));
    }

    #[test]
    fn nothing_else_is_an_address() {
        for wrong in [
            "",
            "65:00.0",
            "000:65:00.0",
            "000000000:65:00.0",
            "0000:65:00",
            "0000:65:00.8",
            "0000:65:20.0",
            "0000:165:00.0",
            "0000:65:0.0",
            "0000:65:00.00",
            "0000:65:00.0 ",
            "0000:00:65:00.0",
            "+000:65:00.0",
            "0000:+5:00.0",
            "0000:6g:00.0",
            "0000.65.00.0",
        ] {
            let error = wrong.parse::<PciAddress>().unwrap_err();
            assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
