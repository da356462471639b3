//! Windows of the week, by a clock that stands a fixed way off UTC, and what applies in each.
//!
//! Read [`Schedule::at`]. A window begins on its days and may run over midnight; where it ends when
//! it begins, it lasts a day. In several windows at once all of them apply. The offset is fixed:
//! there is deliberately no database of time zones here, so whoever's clock changes in spring
//! changes the key, or has windows that bear an hour. Minutes of a week that begins on Monday.

use std::fmt;
use std::str::FromStr;

use units::UnixMillis;

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
const MINUTE_MILLIS: u64 = 60_000;
/// The epoch was a Thursday.
const EPOCH: i64 = 3 * 24 * 60;
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// All windows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schedule {
    /// The clock that they go by.
    pub offset: Offset,
    /// The windows.
    pub windows: Vec<Window>,
}

/// One window, and what applies in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The days on which it begins.
    pub days: Days,
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends: on the next day where that is not after `from`.
    pub to: TimeOfDay,
    /// What applies.
    pub rule: Rule,
}

/// What applies in a window; at least one of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rule {
    /// Nothing is hashed.
    pub pause: bool,
    /// The rig may draw so much, in watts.
    pub cap_watts: Option<f64>,
    /// So much of the time is hashed, in thousandths.
    pub duty: Option<u16>,
}

/// Minutes ahead of UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset(i16);

/// Days of the week, Monday the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u8);

/// Minutes since midnight, 24:00 included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(u16);

/// What applies at an instant, and when that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Now<'a> {
    /// The windows that the instant is in.
    pub windows: Vec<&'a Window>,
    /// When others apply, and which; `None` where that never happens.
    pub next: Option<(UnixMillis, Vec<&'a Window>)>,
}

impl Schedule {
    /// What applies at this instant.
    #[must_use]
    pub fn at(&self, at: UnixMillis) -> Now<'_> {
        let minutes = at.get() / MINUTE_MILLIS;
        let here =
            i64::try_from(minutes).unwrap_or(i64::MAX / 2) + EPOCH + i64::from(self.offset.0);
        let minute = u32::try_from(here.rem_euclid(i64::from(WEEK))).unwrap_or(0);
        let windows = self.within(minute);
        let mut ahead: Vec<u32> = self.windows.iter().flat_map(Window::edges).collect();
        for edge in &mut ahead {
            *edge = (*edge + WEEK - minute - 1) % WEEK + 1;
        }
        ahead.sort_unstable();
        let next = ahead.into_iter().find_map(|ahead| {
            let then = self.within((minute + ahead) % WEEK);
            let unix = UnixMillis::new((minutes + u64::from(ahead)) * MINUTE_MILLIS);
            (then != windows).then_some((unix, then))
        });
        Now { windows, next }
    }

    fn within(&self, minute: u32) -> Vec<&Window> {
        self.windows.iter().filter(|window| window.holds(minute)).collect()
    }
}

impl Window {
    fn length(&self) -> u32 {
        let (from, to) = (u32::from(self.from.0), u32::from(self.to.0));
        if to > from { to - from } else { to + DAY - from }
    }

    fn starts(&self) -> impl Iterator<Item = u32> {
        let (days, from) = (self.days, u32::from(self.from.0));
        (0..7).filter(move |day| days.0 >> day & 1 == 1).map(move |day| (day * DAY + from) % WEEK)
    }

    fn holds(&self, minute: u32) -> bool {
        self.starts().any(|start| (minute + WEEK - start) % WEEK < self.length())
    }

    fn edges(&self) -> impl Iterator<Item = u32> {
        let length = self.length();
        self.starts().flat_map(move |start| [start, (start + length) % WEEK])
    }
}

/// As "mon-fri 22:00-06:00".
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", self.days, self.from, self.to)
    }
}

/// What is said of it: "pause", "at most 80 W", "30 % of the time".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pause {
            return f.write_str("pause");
        }
        let cap = self.cap_watts.map(|watts| format!("at most {watts} W"));
        let duty = self.duty.map(|duty| format!("{} % of the time", f64::from(duty) / 10.0));
        f.write_str(&cap.into_iter().chain(duty).collect::<Vec<_>>().join(", "))
    }
}

/// `+08:00`, `-03:30`, and `UTC` for none; at most 14 hours either way.
impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "write hours and minutes with their sign, from -14:00 to +14:00".to_owned();
        if text == "UTC" {
            return Ok(Self(0));
        }
        let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(rest), _) => (1, rest),
            (_, Some(rest)) => (-1, rest),
            (None, None) => return Err(wrong()),
        };
        let minutes = minutes(rest).filter(|minutes| *minutes <= 14 * 60).ok_or_else(wrong)?;
        i16::try_from(minutes).map(|minutes| Self(sign * minutes)).map_err(|_| wrong())
    }
}

/// As "+08:00".
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, minutes) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// "all", or days and ranges of them: "mon-fri", "sat,sun", "fri-mon".
impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self(0x7f));
        }
        let day = |name: &str| {
            let found = NAMES.iter().position(|known| *known == name.trim());
            found.ok_or_else(|| format!("{:?} is none of {}", name.trim(), NAMES.join(", ")))
        };
        let mut days = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (mut at, last) = (day(first)?, day(last)?);
            days |= 1 << at;
            while at != last {
                at = (at + 1) % NAMES.len();
                days |= 1 << at;
            }
        }
        Ok(Self(days))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0x7f {
            return f.write_str("every day");
        }
        let named = NAMES.iter().enumerate().filter(|(day, _)| self.0 >> day & 1 == 1);
        f.write_str(&named.map(|(_, name)| *name).collect::<Vec<_>>().join(","))
    }
}

/// "06:30"; "24:00" is the end of a day.
impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = minutes(text).filter(|minutes| *minutes <= 24 * 60).map(Self);
        found.ok_or_else(|| "write hours and minutes, from 00:00 to 24:00".to_owned())
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// `HH:MM`, two digits each.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    };
    let minutes = number(minutes).filter(|minutes| *minutes < 60)?;
    Some(number(hours)? * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;
    /// A Monday, 00:00 UTC.
    const MONDAY: u64 = 1_767_571_200_000;

    fn window(days: &str, from: &str, to: &str) -> Window {
        let rule = Rule { pause: true, ..Rule::default() };
        let (days, from, to) = (days.parse().unwrap(), from.parse().unwrap(), to.parse().unwrap());
        Window { days, from, to, rule }
    }

    fn schedule(offset: &str, windows: Vec<Window>) -> Schedule {
        Schedule { offset: offset.parse().unwrap(), windows }
    }

    /// Whether any window applies so many hours after that Monday began, and in how many hours that
    /// changes.
    fn at(schedule: &Schedule, hours: f64) -> (bool, Option<f64>) {
        let hour = f64::from(u32::try_from(HOUR).unwrap());
        let millis = crate::restraint::testing::whole(hours * hour);
        let now = schedule.at(UnixMillis::new(MONDAY + millis));
        let next = now
            .next
            .map(|(next, _)| f64::from(u32::try_from(next.get() - MONDAY).unwrap()) / hour - hours);
        (!now.windows.is_empty(), next)
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        let nights = schedule("UTC", vec![window("mon-fri", "22:00", "06:00")]);
        assert_eq!(at(&nights, 0.0), (false, Some(22.0)), "Sunday's night is none");
        assert_eq!(at(&nights, 22.0), (true, Some(8.0)));
        assert_eq!(at(&nights, 29.5), (true, Some(0.5)));
        assert_eq!(at(&nights, 30.0), (false, Some(16.0)));
        assert_eq!(at(&nights, 24.0 * 5.0 + 5.0), (true, Some(1.0)), "Friday's");
        assert_eq!(at(&nights, 24.0 * 5.0 + 23.0), (false, Some(47.0)), "and none on Saturday");
    }

    #[test]
    fn the_clock_is_the_owners() {
        let in_china = schedule("+08:00", vec![window("mon", "00:00", "24:00")]);
        assert_eq!(at(&in_china, 15.5), (true, Some(0.5)));
        assert_eq!(at(&in_china, 16.0), (false, Some(144.0)));
        let west = schedule("-03:30", vec![window("mon", "00:00", "01:00")]);
        assert_eq!(at(&west, 3.5), (true, Some(1.0)));
        assert_eq!(at(&west, 3.4), (false, Some(3.5 - 3.4)));
    }

    #[test]
    fn what_never_changes_has_no_next_change() {
        let always = schedule("UTC", vec![window("all", "07:00", "07:00")]);
        assert_eq!(at(&always, 5.0), (true, None));
        assert_eq!(at(&schedule("UTC", Vec::new()), 5.0), (false, None));
        let sundays = schedule("UTC", vec![window("sun", "12:00", "12:00")]);
        assert_eq!(at(&sundays, 11.0), (true, Some(1.0)), "into Monday, over the week's end");
    }

    #[test]
    fn days_and_times_are_read_as_people_write_them() {
        let shown = |days: &str| days.parse::<Days>().unwrap().to_string();
        assert_eq!(shown("mon-fri"), "mon,tue,wed,thu,fri");
        assert_eq!(shown("fri-mon, wed"), "mon,wed,fri,sat,sun");
        assert_eq!(shown("mon-sun"), "every day");
        assert_eq!(window("sat,sun", "08:05", "24:00").to_string(), "sat,sun 08:05-24:00");
        for wrong in ["", "monday", "mon-", "mon;tue", "Mon"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong}");
        }
        for wrong in ["", "8:00", "08:60", "24:01", "08.00", "+8:00", "08:000", "8"] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
        for wrong in ["", "08:00", "+8:00", "+14:01", "CET", "+08:00:00", "--08:00"] {
            assert!(wrong.parse::<Offset>().is_err(), "{wrong}");
        }
        assert_eq!("-03:30".parse::<Offset>().unwrap().to_string(), "-03:30");
    }

    proptest! {
        /// Until the next change the same windows apply, and then others.
        #[test]
        fn the_next_change_is_the_next(
            windows in proptest::collection::vec((1_u8..128, 0_u16..1440, 0_u16..=1440), 0..4),
            offset in -840_i16..=840,
            minute in 0_u64..20_000,
        ) {
            let window = |(days, from, to)| Window {
                days: Days(days),
                from: TimeOfDay(from),
                to: TimeOfDay(to),
                rule: Rule::default(),
            };
            let windows: Vec<Window> = windows.into_iter().map(window).collect();
            let schedule = Schedule { offset: Offset(offset), windows };
            let at = |minute: u64| schedule.at(UnixMillis::new(MONDAY + minute * MINUTE_MILLIS));
            let now = at(minute);
            let next = now.next.as_ref().map(|(next, _)| (next.get() - MONDAY) / MINUTE_MILLIS);
            for later in minute..next.unwrap_or_else(|| minute + u64::from(WEEK)) {
                prop_assert_eq!(&at(later).windows, &now.windows);
            }
            if let Some((_, then)) = &now.next {
                prop_assert_ne!(then, &now.windows);
                prop_assert_eq!(&at(next.unwrap()).windows, then);
            }
        }
    }
}
