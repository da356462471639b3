//! What work that no reading covers would use: a table's figure times that work.
//!
//! It is an estimate, and nothing else: kind `model`, tier 5, at least ±30 %. The operator says which
//! workers are which device (`energy.profiles` of `pool.toml`); that is believed, and shown beside
//! the figure. Deliberately never a part of a sum of reported joules; of a worker that reports, the
//! figure is also what its report is held against ([`crate::plausibility`]).
//!
//! Units: microjoules per terahash, hashes, microjoules rounded down.

use units::{MicroJoules, U256, Work};

use crate::{
    efficiency::Device,
    meter::{Kind, Tier},
};

/// Where such a figure comes from.
pub const KIND: Kind = Kind::Model;
/// How good it is: a table times work.
pub const TIER: Tier = Tier::TABLE;
/// How far it may be off, in parts per million (two standard deviations): the least of its kind.
pub const UNCERTAINTY_PPM: u32 = KIND.least_uncertainty_ppm();

/// Some workers, and which device they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Which workers: see [`Profile::names`].
    pub worker: String,
    /// What they are.
    pub figure: Figure,
}

/// What a worker is held to use.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A device of the table.
    Model(Device),
    /// The operator's own figure, in joules per terahash.
    Stated(f64),
}

/// Profiles in the operator's order: the first that names a worker counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles(pub Vec<Profile>);

impl Figure {
    /// Joules per terahash.
    #[must_use]
    pub const fn joules_per_terahash(&self) -> f64 {
        match self {
            Self::Model(device) => device.joules_per_terahash,
            Self::Stated(figure) => *figure,
        }
    }

    /// For people: the model, or whose figure it is.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Model(device) => &device.model,
            Self::Stated(_) => "stated by the operator",
        }
    }

    /// The table's device, where it is one.
    #[must_use]
    pub const fn device(&self) -> Option<&Device> {
        match self {
            Self::Model(device) => Some(device),
            Self::Stated(_) => None,
        }
    }

    /// What that much work would take.
    #[must_use]
    pub fn energy_of(&self, work: Work) -> MicroJoules {
        let product = U256::product(work.get(), self.microjoules_per_terahash().into());
        let whole = product.div_rem(U256::from(1_000_000_000_000_u64)).map(|(whole, _)| whole);
        MicroJoules::new(whole.and_then(U256::to_u128).unwrap_or(u128::MAX))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a figure of at most 10^9 J/TH, rounded to the sixth decimal on purpose"
    )]
    fn microjoules_per_terahash(&self) -> u64 {
        (self.joules_per_terahash() * 1e6).round() as u64
    }
}

impl Profile {
    /// Whether it is about this worker: its name is that of the account (all of its workers), or of
    /// one worker, `ACCOUNT.worker`; a `*` stands for any characters, none included.
    #[must_use]
    pub fn names(&self, account: &str, worker: &str) -> bool {
        match self.worker.split_once('.') {
            None => matches(&self.worker, account),
            Some((whose, which)) => matches(whose, account) && matches(which, worker),
        }
    }
}

impl Profiles {
    /// The figure of a worker; `None` where no profile names it.
    #[must_use]
    pub fn of(&self, account: &str, worker: &str) -> Option<&Figure> {
        let mut profiles = self.0.iter();
        profiles.find(|profile| profile.names(account, worker)).map(|profile| &profile.figure)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether `text` is as `pattern` has it. O(pattern x text).
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = Vec::from_iter(parts);
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efficiency::device;

    fn stated(worker: &str, figure: f64) -> Profile {
        Profile { worker: worker.to_owned(), figure: Figure::Stated(figure) }
    }

    #[test]
    fn a_pattern_is_what_it_looks_like() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*", "abc"),
            ("a*", "a"),
            ("a*c", "abbc"),
            ("*b*b*", "abcb"),
            ("a*b*c", "a-b-b-c"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a", "ab"), ("a", ""), ("a*a", "a"), ("a*c", "abcb"), ("*b*b*", "abc"), ("", "a")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_profile_that_names_a_worker_counts() {
        let profiles = Profiles(vec![
            stated("bc1qa.rig7", 1.0),
            stated("bc1qa.rig*", 2.0),
            stated("bc1qa", 3.0),
            stated("*.s19", 4.0),
        ]);
        let of = |account, worker| profiles.of(account, worker).map(Figure::joules_per_terahash);
        assert_eq!(of("bc1qa", "rig7"), Some(1.0));
        assert_eq!(of("bc1qa", "rig71"), Some(2.0));
        assert_eq!(of("bc1qa", ""), Some(3.0));
        assert_eq!(of("bc1qb", "s19"), Some(4.0));
        assert_eq!(of("bc1qb", "rig7"), None);
    }

    #[test]
    fn an_estimate_is_the_figure_times_the_work_rounded_down() {
        let model = Figure::Model(device("Antminer S19 Pro").unwrap());
        assert_eq!(model.energy_of(Work::new(2_000_000_000_000)).joules(), "59.000000");
        assert_eq!(model.energy_of(Work::new(1)).get(), 0);
        assert_eq!(Figure::Stated(1e-6).energy_of(Work::new(1_999_999_999_999)).get(), 1);
        assert_eq!(Figure::Stated(1e9).energy_of(Work::new(u128::MAX)).get(), u128::MAX);
        assert!(UNCERTAINTY_PPM >= 300_000 && TIER.get() == 5);
        assert_eq!((model.name(), model.device().is_some()), ("Antminer S19 Pro", true));
    }
}
