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
    /// x86's AVX2: eight nonces at a time.
    Avx2,
    /// x86's AVX-512: sixteen nonces at a time.
    Avx512,
    /// A GPU through wgpu: its kernels are the package `gpu`'s, and [`build`] makes none.
    Wgpu,
}

/// What a backend runs side by side. Which is the fastest depends on the processor; the answers
/// are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// One vector of hashes after the other, or the only shape there is.
    Plain,
    /// The second hash of one vector beside the first hash of the next.
    Interleaved,
    /// The same for two versions at once.
    Double,
}

/// A backend in one of its shapes: what is measured, chosen and built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// The backend.
    pub backend: Backend,
    /// Its shape, one of [`Backend::shapes`].
    pub shape: Shape,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Interleaved, Self::Double];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Interleaved => "interleaved",
            Self::Double => "double",
        }
    }
}

/// The backend in its usual shape.
impl From<Backend> for Tile {
    fn from(backend: Backend) -> Self {
        Self { backend, shape: backend.shapes()[0] }
    }
}

/// As `avx512/double`; the shape is left out where there is but one.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.backend.shapes().len() == 1 {
            return self.backend.fmt(f);
        }
        f.pad(&format!("{}/{}", self.backend.name(), self.shape.name()))
    }
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
    /// A CPU was asked for what only a GPU has.
    #[error("backend wgpu is a GPU's; a CPU's are portable, sha-ni, avx2, avx512")]
    Gpus,
    /// No backend was ever called this.
    #[error("{name:?} names no backend; there are portable, sha-ni, avx2, avx512, wgpu")]
    Unknown {
        /// The name as given.
        name: String,
    },
}

impl Backend {
    /// All of a CPU, the one that runs everywhere first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::ShaNi, Self::Avx2, Self::Avx512];

    /// Its name on command lines, in reports and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::ShaNi => "sha-ni",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Wgpu => "wgpu",
        }
    }

    /// The shapes that it comes in, the usual one first.
    #[must_use]
    pub const fn shapes(self) -> &'static [Shape] {
        match self {
            Self::Portable | Self::ShaNi | Self::Avx2 | Self::Wgpu => &[Shape::Plain],
            Self::Avx512 => &[Shape::Double, Shape::Interleaved, Shape::Plain],
        }
    }

    /// How many versions a [`crate::Slice`] needs for this backend's full speed; more bring
    /// nothing. With one version every backend works, some of them slower.
    #[must_use]
    pub const fn versions_per_slice(self) -> usize {
        match self {
            Self::Portable | Self::Wgpu => 1,
            Self::Avx2 => 16,
            Self::ShaNi | Self::Avx512 => 64,
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
            "avx2" => Ok(Self::Avx2),
            "avx512" => Ok(Self::Avx512),
            "wgpu" => Ok(Self::Wgpu),
            _ => Err(BackendError::Unknown { name: name.to_owned() }),
        }
    }
}

/// The backends that this machine can run, in the order of [`Backend::ALL`]; never none.
#[must_use]
pub fn available() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| build(*backend).is_ok()).collect()
}

/// Every tile that this machine can run.
#[must_use]
pub fn tiles() -> Vec<Tile> {
    let shapes = |backend: Backend| {
        backend.shapes().iter().map(move |shape| Tile { backend, shape: *shape })
    };
    available().into_iter().flat_map(shapes).collect()
}

/// Makes a kernel, for one thread to own; of a backend alone, in its usual shape.
///
/// # Errors
/// When this machine or this build cannot run the backend.
pub fn build(tile: impl Into<Tile>) -> Result<Box<dyn Kernel>, BackendError> {
    let Tile { backend, shape } = tile.into();
    match backend {
        Backend::Portable => Ok(arch::portable()),
        Backend::ShaNi => arch::shani().map_err(|why| BackendError::Missing { backend, why }),
        Backend::Avx2 => arch::avx2().map_err(|why| BackendError::Missing { backend, why }),
        Backend::Avx512 => {
            arch::avx512(shape).map_err(|why| BackendError::Missing { backend, why })
        }
        Backend::Wgpu => Err(BackendError::Gpus),
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
    fn a_tile_names_its_shape_where_there_are_several() {
        assert_eq!(Tile::from(Backend::ShaNi).to_string(), "sha-ni");
        assert_eq!(Tile::from(Backend::Avx512).to_string(), "avx512/double");
        for tile in tiles() {
            assert!(tile.backend.shapes().contains(&tile.shape), "{tile}");
        }
    }

    #[test]
    fn says_which_names_are_a_gpus_and_which_are_wrong() {
        assert_eq!("wgpu".parse(), Ok(Backend::Wgpu));
        let message = build(Backend::Wgpu).unwrap_err().to_string();
        assert!(message.contains("wgpu is a GPU's"), "{message}");
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
