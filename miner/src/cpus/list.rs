//! Lists of CPUs, as Linux writes them and as people do: `0-3,8`.
//!
//! Read [`CpuList`]. It is a set: the order in which CPUs are written means nothing. It deliberately
//! does not know which of them exist or may be used here; that is [`super::Cpus`]'.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The highest number that a CPU can have: Linux is built for 8192 of them at most.
pub const NUMBER_MAX: usize = 8191;

/// Some CPUs, by the numbers that the system gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CpuList(BTreeSet<usize>);

/// Why a text is no list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// There is nothing in it, or nothing between two commas.
    #[error("a CPU's number is missing")]
    Missing,
    /// A part is neither a number nor two with a hyphen.
    #[error("{0:?} is neither a CPU's number nor a range such as 0-3")]
    NotANumber(String),
    /// A range ends before it begins.
    #[error("{0:?} runs backwards")]
    Backwards(String),
    /// A number is too high.
    #[error("no CPU has a number above {NUMBER_MAX}, as in {0:?}")]
    TooHigh(String),
    /// A CPU is there twice.
    #[error("CPU {0} is named twice")]
    Twice(usize),
}

impl CpuList {
    /// The CPUs from 0 up, so many.
    #[must_use]
    pub fn first(count: usize) -> Self {
        (0..count).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// The one with the lowest number.
    #[must_use]
    pub fn lowest(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// Their numbers, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// Those that are here and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }
}

impl FromIterator<usize> for CpuList {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl FromStr for CpuList {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let mut cpus = BTreeSet::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = range(part)?;
            for cpu in first..=last {
                if !cpus.insert(cpu) {
                    return Err(ListError::Twice(cpu));
                }
            }
        }
        Ok(Self(cpus))
    }
}

fn range(part: &str) -> Result<(usize, usize), ListError> {
    if part.is_empty() {
        return Err(ListError::Missing);
    }
    let number = |text: &str| {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ListError::NotANumber(part.to_owned()));
        }
        let number = text.parse().ok().filter(|number| *number <= NUMBER_MAX);
        number.ok_or_else(|| ListError::TooHigh(part.to_owned()))
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    if last < first {
        return Err(ListError::Backwards(part.to_owned()));
    }
    Ok((first, last))
}

/// As Linux writes it, neighbours drawn together; two neighbours too.
impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_ranges_are_taken_in_any_order() {
        for (text, shown) in [
            ("0", "0"),
            ("0,1", "0-1"),
            ("0-3,8\n", "0-3,8"),
            ("8, 0-3", "0-3,8"),
            ("2-2", "2"),
            ("0,2,4-5", "0,2,4-5"),
            ("8191", "8191"),
        ] {
            assert_eq!(text.parse::<CpuList>().unwrap().to_string(), shown, "{text:?}");
        }
        assert_eq!(CpuList::first(4), "0-3".parse().unwrap());
    }

    #[test]
    fn every_mistake_says_what_is_wrong() {
        for (text, said) in [
            ("", "missing"),
            ("0,,1", "missing"),
            ("0,", "missing"),
            ("all", "\"all\" is neither"),
            ("0-", "\"0-\" is neither"),
            ("-3", "\"-3\" is neither"),
            ("+1", "\"+1\" is neither"),
            ("0x3", "\"0x3\" is neither"),
            ("0-1-2", "\"0-1-2\" is neither"),
            ("3-0", "\"3-0\" runs backwards"),
            ("8192", "above 8191"),
            ("0-99999999999999999999", "above 8191"),
            ("0-3,2", "CPU 2 is named twice"),
        ] {
            let wrong = text.parse::<CpuList>().unwrap_err().to_string();
            assert!(wrong.contains(said), "{text:?}: {wrong}");
            assert!(!wrong.contains('\n'), "{text:?}: {wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            numbers in proptest::collection::btree_set(0..=NUMBER_MAX, 1..40),
        ) {
            let list = CpuList(numbers);
            prop_assert_eq!(list.to_string().parse::<CpuList>(), Ok(list));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9,\\- x]{0,24}") {
            if let Ok(list) = text.parse::<CpuList>() {
                prop_assert!(!list.is_empty());
                prop_assert_eq!(list.to_string().parse::<CpuList>(), Ok(list));
            }
        }
    }
}
