//! The schemes' names, and the rule that each puts into a candidate's terms.
//!
//! Read [`Rule`]: what a settlement needs to know of a scheme. Who shares what by it is in
//! `settle.rs`, what a window is in `store/window.rs`, and what the rules mean, with an example of
//! each worked out by hand, in `docs/schemes.md`.

use crate::error::LedgerError;
use crate::types::Scheme;

/// How a block's reward is divided, as it stands with the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The finder gets it.
    Finder,
    /// The reserve gets it: shares were paid for as they came.
    Reserve,
    /// By work in the slices that no other block was paid for.
    Round,
    /// By scores in a window of so many hundredths of a block.
    Scores { hundredths: u32 },
    /// By work accepted in the last so many milliseconds.
    Time { millis: u64 },
    /// By work in a window of so many hundredths of the block's network work: PPLNS as logs of
    /// the first two formats have it.
    Work { hundredths: u32 },
}

/// Hundredths of a block in TIDES' window.
const TIDES_HUNDREDTHS: u32 = 800;

impl Scheme {
    /// The name that is stored, shown and configured.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fpps => "fpps",
            Self::Pplns { .. } => "pplns",
            Self::Pplnt { .. } => "pplnt",
            Self::Pps => "pps",
            Self::Prop => "prop",
            Self::Solo => "solo",
            Self::Tides => "tides",
        }
    }

    /// Whether shares are paid for as they come, out of a reserve.
    #[must_use]
    pub const fn pays_per_share(self) -> bool {
        matches!(self, Self::Fpps | Self::Pps)
    }

    /// The window in hundredths of a block; 0 where it is none of that kind.
    pub(crate) const fn window_hundredths(self) -> u32 {
        match self {
            Self::Pplns { window_hundredths } => window_hundredths,
            Self::Tides => TIDES_HUNDREDTHS,
            Self::Fpps | Self::Pplnt { .. } | Self::Pps | Self::Prop | Self::Solo => 0,
        }
    }

    /// The window in milliseconds; 0 where it is none of that kind.
    pub(crate) fn window_millis(self) -> u64 {
        match self {
            Self::Pplnt { window } => u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            Self::Fpps | Self::Pplns { .. } | Self::Pps | Self::Prop | Self::Solo | Self::Tides => {
                0
            }
        }
    }
}

impl Rule {
    /// The rule of a candidate: the scheme's name, which the first two formats do not have, and
    /// the lengths of its window.
    ///
    /// # Errors
    /// Where nobody knows the name.
    pub(crate) fn of(
        scheme: Option<&str>,
        hundredths: u32,
        millis: u64,
    ) -> Result<Self, LedgerError> {
        Ok(match scheme {
            None if hundredths == 0 => Self::Finder,
            None => Self::Work { hundredths },
            Some("solo") => Self::Finder,
            Some("pplns" | "tides") => Self::Scores { hundredths },
            Some("pplnt") => Self::Time { millis },
            Some("prop") => Self::Round,
            Some("pps" | "fpps") => Self::Reserve,
            Some(other) => {
                return Err(LedgerError::damaged(format!("{other:?} is no scheme")));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_scheme_has_its_rule() {
        let window = Duration::from_millis(1_500);
        for (scheme, rule) in [
            (Scheme::Solo, Rule::Finder),
            (Scheme::Prop, Rule::Round),
            (Scheme::Pps, Rule::Reserve),
            (Scheme::Fpps, Rule::Reserve),
            (Scheme::Pplns { window_hundredths: 200 }, Rule::Scores { hundredths: 200 }),
            (Scheme::Pplnt { window }, Rule::Time { millis: 1_500 }),
            (Scheme::Tides, Rule::Scores { hundredths: 800 }),
        ] {
            let (hundredths, millis) = (scheme.window_hundredths(), scheme.window_millis());
            assert_eq!(Rule::of(Some(scheme.as_str()), hundredths, millis).unwrap(), rule);
        }
        assert_eq!(Rule::of(None, 0, 0).unwrap(), Rule::Finder);
        assert_eq!(Rule::of(None, 200, 0).unwrap(), Rule::Work { hundredths: 200 });
        assert!(Rule::of(Some("ppsl"), 1, 1).is_err());
    }
}
