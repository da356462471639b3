//! Instants as text: `2026-11-28T07:15:26.000Z`, and what people type for one.
//!
//! The calendar is the Gregorian one, carried on as far as it goes; the day's count is Howard
//! Hinnant's (`chrono-Compatible Low-Level Date Algorithms`, `days_from_civil`). It deliberately knows
//! no time zone but UTC and no leap second, as Unix time does.

use units::UnixMillis;

const DAY: u64 = 86_400_000;
/// Days before 1970-01-01 since the era's beginning, 0000-03-01.
const EPOCH: u64 = 719_468;
/// Days in 400 years.
const ERA: u64 = 146_097;
/// The last year that is written: four digits.
const YEAR_MAX: u64 = 9999;

/// What [`parse`] takes, for messages.
pub(crate) const EXPECTED: &str = "a day such as 2026-11-28 (UTC), an instant such as 2026-11-28T07:15:26Z, or milliseconds \
     since 1970";

/// The instant in ISO 8601, UTC, with milliseconds; past the year 9999 its milliseconds alone.
pub(crate) fn shown(at: UnixMillis) -> String {
    let (days, rest) = (at.get() / DAY + EPOCH, at.get() % DAY);
    let (era, of_era) = (days / ERA, days % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin with March here, so that a leap day is the last.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    if year > YEAR_MAX {
        return at.get().to_string();
    }
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millis) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// An instant as people write it: see [`EXPECTED`].
pub(crate) fn parse(text: &str) -> Option<UnixMillis> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(UnixMillis::new);
    }
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let millis = days(day)?.checked_mul(DAY)?.checked_add(of_day(time.strip_suffix('Z')?)?)?;
    Some(UnixMillis::new(millis))
}

/// For the command line.
pub(crate) fn argument(text: &str) -> Result<UnixMillis, String> {
    parse(text).ok_or_else(|| format!("expected {EXPECTED}"))
}

/// Days since 1970 of `YYYY-MM-DD`.
fn days(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let mut part = |width| number(parts.next()?, width);
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let march_year = if month <= 2 { year.checked_sub(1)? } else { year };
    let march_month = (month + 9) % 12;
    let (era, of_era) = (march_year / 400, march_year % 400);
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let days = era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(EPOCH)?;
    // A day that the month has not is another day when it is written again.
    let again = days.checked_mul(DAY).map(|millis| shown(UnixMillis::new(millis)));
    again.is_some_and(|again| again.starts_with(text)).then_some(days)
}

/// Milliseconds of `HH:MM`, `HH:MM:SS` or `HH:MM:SS.mmm`.
fn of_day(text: &str) -> Option<u64> {
    let (text, millis) = match text.split_once('.') {
        Some((text, millis)) => (text, number(millis, 3)?),
        None => (text, 0),
    };
    let mut parts = text.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    let fits = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    fits.then_some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

fn number(text: &str, width: usize) -> Option<u64> {
    let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    #[test]
    fn known_instants_go_both_ways() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_231_006_505_000, "2009-01-03T18:15:05.000Z"),
            (1_795_309_039_123, "2026-11-22T00:57:19.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(shown(at(millis)), text);
            assert_eq!(parse(text), Some(at(millis)), "{text}");
        }
        assert_eq!(shown(at(253_402_300_800_000)), "253402300800000");
    }

    #[test]
    fn people_may_leave_out_what_is_zero() {
        assert_eq!(parse("2009-01-03"), Some(at(1_230_940_800_000)));
        assert_eq!(parse("2009-01-03T18:15Z"), Some(at(1_231_006_500_000)));
        assert_eq!(parse("1231006505000"), Some(at(1_231_006_505_000)));
        for bad in [
            "",
            "yesterday",
            "2026-02-29",
            "2026-13-01",
            "2026-04-31",
            "2026-4-1",
            "1969-12-31",
            "2026-11-28T07:15:26",
            "2026-11-28T24:00:00Z",
            "2026-11-28T07:15:26+01:00",
            "2026-11-28T07:15:26.1Z",
            "-5",
            "99999999999999999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert!(argument("2026").is_ok(), "milliseconds");
        assert!(argument("now").unwrap_err().contains("2026-11-28"));
    }

    proptest! {
        #[test]
        fn any_instant_reads_back(millis in 0_u64..253_402_300_800_000) {
            prop_assert_eq!(parse(&shown(at(millis))), Some(at(millis)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZ:.-]{0,30}|\\PC{0,12}", millis: u64) {
            let _ = parse(&text);
            let _ = shown(at(millis));
        }
    }
}
