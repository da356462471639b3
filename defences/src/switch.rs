//! Whether a defence stands: always, but for the build that tests the tests.
//!
//! It deliberately cannot switch anything on or off while a program runs: a test that could would
//! change its neighbours.

use crate::Defence;

/// The environment variable that names the defences to leave out, with commas between them. It is
/// read in a build with the feature `switchable` and in no other.
pub const WITHOUT: &str = "WATTPROOF_WITHOUT";

/// Whether a defence stands: always.
#[cfg(not(feature = "switchable"))]
#[must_use]
#[inline]
pub const fn stands(_defence: Defence) -> bool {
    true
}

/// Whether a defence stands: unless [`WITHOUT`] names it.
///
/// # Panics
/// When the variable names something that is no defence.
#[cfg(feature = "switchable")]
#[must_use]
pub fn stands(defence: Defence) -> bool {
    use std::sync::OnceLock;

    static SWITCHED_OFF: OnceLock<Vec<Defence>> = OnceLock::new();
    let switched_off = SWITCHED_OFF.get_or_init(|| {
        let names = std::env::var(WITHOUT).unwrap_or_default();
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(named).collect()
    });
    !switched_off.contains(&defence)
}

#[cfg(feature = "switchable")]
fn named(name: &str) -> Defence {
    name.parse().unwrap_or_else(|error| panic!("{WITHOUT}: {error}"))
}
