//! The backends by name: which exist, which this machine can run, and how to get one.

use core::{fmt, str::FromStr};

use crate::{Kernel, arch};

/// A way to search that this version contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// The `sha2` crate, which uses a processor's SHA instructions where it has them.
    Portable,
    /// x86's SHA instructions, several hashes interleaved.
    ShaNi,
}

/// Why there is no such backend here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// This machine, or this build, cannot run it.
    #[error("backend {backend} is not available: {why}")]
    Missing {
        /// Which one.
        backend: Backend,
        /// What it would need.
        why: &'static str,
    },
    /// A name kept for a backend that this version does not contain.
    #[error("backend {name} is not built into this version; it has portable and sha-ni")]
    NotBuilt {
        /// The name as given.
        name: String,
    },
    /// No backend was ever called this.
    #[error("{name:?} names no backend; this version has portable and sha-ni")]
    Unknown {
        /// The name as given.
        name: String,
    },
}

impl Backend {
    /// All, the one that runs everywhere first.
    pub const ALL: [Self; 2] = [Self::Portable, Self::ShaNi];

    /// Its name on command lines, in reports and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::ShaNi => "sha-ni",
        }
    }

    /// How many versions a [`crate::Slice`] needs for this backend's full speed; more bring
    /// nothing. With one version every backend works, some of them slower.
    #[must_use]
    pub const fn versions_per_slice(self) -> usize {
        match self {
            Self::Portable => 1,
            Self::ShaNi => 64,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        match name {
            "portable" => Ok(Self::Portable),
            "sha-ni" => Ok(Self::ShaNi),
            "avx2" | "avx512" | "wgpu" => Err(BackendError::NotBuilt { name: name.to_owned() }),
            _ => Err(BackendError::Unknown { name: name.to_owned() }),
        }
    }
}

/// The backends that this machine can run, in the order of [`Backend::ALL`]; never none.
#[must_use]
pub fn available() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| build(*backend).is_ok()).collect()
}

/// Makes a kernel, for one thread to own.
///
/// # Errors
/// When this machine or this build cannot run the backend.
pub fn build(backend: Backend) -> Result<Box<dyn Kernel>, BackendError> {
    match backend {
        Backend::Portable => Ok(arch::portable()),
        Backend::ShaNi => arch::shani().map_err(|why| BackendError::Missing { backend, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
    }

    #[test]
    fn says_which_names_are_for_later_and_which_are_wrong() {
        for name in ["avx2", "avx512", "wgpu"] {
            let message = name.parse::<Backend>().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("not built"), "{message}");
        }
        let message = "shani".parse::<Backend>().unwrap_err().to_string();
        assert!(message.contains("\"shani\" names no backend"), "{message}");
    }

    #[test]
    fn builds_exactly_what_is_available() {
        let available = available();
        assert!(available.contains(&Backend::Portable));
        for backend in Backend::ALL {
            match build(backend) {
                Ok(kernel) => assert_eq!(kernel.backend(), backend),
                Err(error) => assert!(error.to_string().contains(backend.name()), "{error}"),
            }
            assert_eq!(build(backend).is_ok(), available.contains(&backend));
        }
    }

    #[test]
    #[cfg(force_portable)]
    fn force_portable_leaves_one() {
        assert_eq!(available(), [Backend::Portable]);
    }
}
