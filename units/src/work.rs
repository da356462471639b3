//! Counts of hashes: those proven by shares, and those that a device claims.

macro_rules! count_of_hashes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u128);

        impl $name {
            /// None.
            pub const ZERO: Self = Self(0);

            /// This many hashes.
            #[must_use]
            pub const fn new(hashes: u128) -> Self {
                Self(hashes)
            }

            /// The number of hashes.
            #[must_use]
            pub const fn get(self) -> u128 {
                self.0
            }

            /// The sum, or `None` past `u128::MAX`.
            #[must_use]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, or `None` below zero.
            #[must_use]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// The sum, stopping at `u128::MAX`: for displays, never for accounts.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// As a float, for gauges and people.
            #[must_use]
            #[expect(clippy::cast_precision_loss, reason = "a gauge is an approximation")]
            pub const fn as_f64(self) -> f64 {
                self.0 as f64
            }
        }
    };
}

count_of_hashes! {
    /// Hashes proven by shares: the expected number for the targets that the shares' jobs were
    /// issued at ([`crate::Target::work`]). With N shares its relative standard error as a
    /// measurement of hashes done is 1/sqrt(N).
    Work
}

count_of_hashes! {
    /// Hashes that a device says it did. Never credited; compared with [`Work`].
    Hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_checked() {
        assert_eq!(Work::new(1).checked_add(Work::new(2)), Some(Work::new(3)));
        assert_eq!(Work::new(u128::MAX).checked_add(Work::new(1)), None);
        assert_eq!(Hashes::ZERO.checked_sub(Hashes::new(1)), None);
        assert_eq!(Hashes::new(u128::MAX).saturating_add(Hashes::new(1)).get(), u128::MAX);
    }
}
