//! What a guest does wrong on purpose, and the only answers that are right then.
//!
//! Each offence is a request with a number of its own above [`FIRST`], so that its answer is not
//! taken for a share's; a line that is no JSON has no number, and the pool's answer to it has none
//! either.

use super::dice::Dice;

/// Numbers of offences; shares stay far below.
pub(super) const FIRST: u64 = 1 << 40;

/// One kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Offence {
    /// The same share once more.
    Duplicate,
    /// A method that there is not.
    UnknownMethod,
    /// A share without parameters.
    Malformed,
    /// A share on a job that nobody was given.
    UnknownJob,
    /// A share in the name of somebody who is not authorized here.
    Stranger,
    /// A line that is no JSON.
    Garbage,
}

impl Offence {
    const ALL: [Self; 6] = [
        Self::Duplicate,
        Self::UnknownMethod,
        Self::Malformed,
        Self::UnknownJob,
        Self::Stranger,
        Self::Garbage,
    ];

    /// Duplicates are a third of all: they are the ones that could be credited.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let place = usize::try_from(dice.below(8)).unwrap_or(0);
        Self::ALL.get(place).copied().unwrap_or(Self::Duplicate)
    }

    /// For the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "the same share again",
            Self::UnknownMethod => "an unknown method",
            Self::Malformed => "a share without parameters",
            Self::UnknownJob => "a share on no job",
            Self::Stranger => "a share of a stranger's",
            Self::Garbage => "a line that is no JSON",
        }
    }

    /// Whether a refusal with this code is right. A job may be over by the time that it is used
    /// again.
    pub(super) const fn deserves(self, code: i64) -> bool {
        match self {
            Self::Duplicate => matches!(code, 21 | 22),
            Self::UnknownMethod | Self::Malformed | Self::Garbage => code == 20,
            Self::UnknownJob => code == 21,
            Self::Stranger => code == 24,
        }
    }

    /// The line, with its end. `share` is that of an earlier share, without which some offences
    /// cannot be done.
    pub(super) fn line(self, number: u64, share: &[u8]) -> Option<Vec<u8>> {
        let call = |method: &str, params: &str| {
            format!("{{\"id\":{number},\"method\":\"{method}\",\"params\":{params}}}\n")
                .into_bytes()
        };
        let zeros = "\"0000000000000000\",\"00000000\",\"00000000\"";
        match self {
            Self::Duplicate => {
                let rest = share.iter().position(|byte| *byte == b',')?;
                Some([format!("{{\"id\":{number}").as_bytes(), &share[rest..]].concat())
            }
            Self::UnknownMethod => Some(call("mining.take_it_easy", "[]")),
            Self::Malformed => Some(call("mining.submit", "[]")),
            Self::UnknownJob => {
                let share = std::str::from_utf8(share).ok()?;
                let user = share.split("\"params\":[\"").nth(1)?.split('"').next()?;
                Some(call("mining.submit", &format!("[\"{user}\",\"ffffffffff\",{zeros}]")))
            }
            Self::Stranger => Some(call("mining.submit", &format!("[\"nobody\",\"1\",{zeros}]"))),
            Self::Garbage => Some(b"\x00\xffGET / HTTP/1.1\n".to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: &[u8] =
        b"{\"id\":12,\"method\":\"mining.submit\",\"params\":[\"a.w1\",\"7\",\"00\",\"11\",\"22\"]}\n";

    #[test]
    fn a_duplicate_differs_in_its_number_alone() {
        let line = Offence::Duplicate.line(FIRST, SHARE).unwrap();
        let text = String::from_utf8(line).unwrap();
        let share = std::str::from_utf8(SHARE).unwrap();
        assert_eq!(text, share.replace(":12,", ":1099511627776,"));
        assert_eq!(Offence::Duplicate.line(FIRST, b""), None);
        let line = String::from_utf8(Offence::UnknownJob.line(FIRST, SHARE).unwrap()).unwrap();
        assert!(line.contains("[\"a.w1\",\"ffffffffff\","), "{line}");
    }

    #[test]
    fn every_kind_is_drawn_and_none_deserves_a_yes() {
        let mut dice = Dice::new(3);
        let drawn: Vec<Offence> = (0..300).map(|_| Offence::draw(&mut dice)).collect();
        for offence in Offence::ALL {
            assert!(drawn.contains(&offence), "{offence:?}");
            assert!(!offence.deserves(0) && !offence.deserves(23), "{offence:?}");
        }
        assert!(Offence::Duplicate.deserves(22) && !Offence::Malformed.deserves(22));
    }
}
