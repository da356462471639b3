//! The shaders, and in which sizes they run.

use core::fmt;

use crate::generated::{INTERLEAVED, NONCE_MAJOR, VERSION_MAJOR};

/// Operations of one hash on 32-bit words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operations {
    pub(crate) add: u32,
    pub(crate) rotate: u32,
    pub(crate) shift: u32,
    /// Of three words.
    pub(crate) logic: u32,
}

/// What an invocation of the shader runs through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Nonces of one version, each with a schedule of its own.
    NonceMajor,
    /// The same, with the second hash of a nonce beside the first of the next: for adapters whose
    /// lanes wait for their own results, which those in software do.
    Interleaved,
    /// Nonces whose schedules were worked out before, for all versions at once.
    VersionMajor,
}

/// A shader in its sizes: what is measured, chosen and built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Which shader.
    pub method: Method,
    /// Invocations of a workgroup: 32 to 256.
    pub workgroup: u32,
    /// Nonces that an invocation runs through, a power of two up to 256. Interleaved, one more than
    /// these is begun.
    pub nonces: u32,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NonceMajor, Self::Interleaved, Self::VersionMajor];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NonceMajor => "nonce-major",
            Self::Interleaved => "interleaved",
            Self::VersionMajor => "version-major",
        }
    }

    /// How many versions a slice needs for its full speed, as a power of two; more bring little.
    #[must_use]
    pub const fn versions_log2(self) -> u32 {
        match self {
            Self::NonceMajor | Self::Interleaved => 0,
            Self::VersionMajor => 12,
        }
    }
}

impl Tile {
    /// Nonces that a slice should be a multiple of: others would be searched all the same.
    #[must_use]
    pub const fn step(self) -> u32 {
        match self.method {
            Method::NonceMajor | Method::Interleaved => self.workgroup * self.nonces,
            Method::VersionMajor => self.nonces,
        }
    }

    /// The tile that most adapters like; what is not measured runs in it.
    #[must_use]
    pub const fn usual(method: Method) -> Self {
        match method {
            Method::NonceMajor => Self { method, workgroup: 64, nonces: 64 },
            Method::Interleaved => Self { method, workgroup: 64, nonces: 256 },
            Method::VersionMajor => Self { method, workgroup: 64, nonces: 16 },
        }
    }

    /// What is worth measuring, the usual ones first.
    pub const ALL: [Self; 7] = [
        Self::usual(Method::NonceMajor),
        Self::usual(Method::Interleaved),
        Self::usual(Method::VersionMajor),
        Self { method: Method::NonceMajor, workgroup: 256, nonces: 256 },
        Self { method: Method::NonceMajor, workgroup: 128, nonces: 16 },
        Self { method: Method::Interleaved, workgroup: 256, nonces: 256 },
        Self { method: Method::VersionMajor, workgroup: 256, nonces: 64 },
    ];
}

/// As `nonce-major/64x64`: invocations of a workgroup, nonces of each.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}x{}", self.method.name(), self.workgroup, self.nonces))
    }
}

/// Tells shaders of different versions of this program apart.
#[must_use]
pub fn fingerprint() -> u64 {
    // FNV-1a: what it tells apart is not chosen by anybody else.
    let bytes = NONCE_MAJOR.bytes().chain(INTERLEAVED.bytes()).chain(VERSION_MAJOR.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
