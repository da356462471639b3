//! Integers printed as decimals with a fixed number of places, and read back, with no float.

/// `value` x 10^-places, with exactly `places` digits after the point.
pub(crate) fn print(value: u128, places: u32) -> String {
    let unit = 10_u128.pow(places);
    let width = usize::try_from(places).expect("a few places");
    format!("{}.{:0width$}", value / unit, value % unit)
}

/// Reads "12", "12.3" and so on as an integer of 10^-places; more places than that only when
/// they are zeros. `None` for anything else, signs and exponents included.
pub(crate) fn parse(text: &str, places: u32) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let width = usize::try_from(places).ok()?;
    let (kept, beyond) = fraction.split_at(fraction.len().min(width));
    if beyond.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let scaled_whole = whole.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(places)?)?;
    let scaled_fraction: u128 = format!("{kept:0<width$}").parse().unwrap_or(0);
    scaled_whole.checked_add(scaled_fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_every_place() {
        assert_eq!(print(0, 6), "0.000000");
        assert_eq!(print(1_000_001, 6), "1.000001");
        assert_eq!(print(5, 1), "0.5");
    }

    #[test]
    fn reads_back_and_refuses_the_rest() {
        assert_eq!(parse("557.5", 3), Some(557_500));
        assert_eq!(parse("485", 3), Some(485_000));
        assert_eq!(parse("1.500000", 3), Some(1_500));
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "1.0001", "1,5", " 1"] {
            assert_eq!(parse(bad, 3), None, "{bad:?}");
        }
    }
}
