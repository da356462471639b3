//! One file per instruction set, each a [`Kernel`].
//!
//! Availability is a value: a kernel that needs an instruction set holds a proof that was made by
//! detecting it, so having the kernel means that this processor can run it. With
//! `--cfg force_portable` only the portable one is built.

mod portable;
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
mod x86;

use crate::Kernel;
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
use crate::{
    Backend, Shape, Tile,
    limit::{Core, Operations},
};

/// The kernel that runs everywhere.
pub(crate) fn portable() -> Box<dyn Kernel> {
    Box::new(portable::Portable::new())
}

/// The kernel on x86's SHA instructions, or what it lacks.
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
pub(crate) fn shani() -> Result<Box<dyn Kernel>, &'static str> {
    let proof = x86::shani::ShaNi::detect()
        .ok_or("this processor lacks one of the instruction sets sha, avx, ssse3 and sse4.1")?;
    Ok(Box::new(x86::shani::Kernel::new(proof)))
}

/// The kernel on AVX2, or what it lacks.
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
pub(crate) fn avx2() -> Result<Box<dyn Kernel>, &'static str> {
    let proof = x86::avx2::Avx2::detect().ok_or("this processor lacks the instruction set avx2")?;
    Ok(Box::new(x86::avx2::Kernel::new(proof)))
}

/// The kernel on AVX-512, or what it lacks.
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
pub(crate) fn avx512(shape: Shape) -> Result<Box<dyn Kernel>, &'static str> {
    let proof =
        x86::avx512::Avx512::detect().ok_or("this processor lacks the instruction set avx512f")?;
    Ok(Box::new(x86::avx512::Kernel::new(proof, shape)))
}

/// What this core does, measured.
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
pub(crate) fn probe(clock: &dyn Fn() -> core::time::Duration) -> Option<Core> {
    Some(x86::probe::measure(clock))
}

/// The operations of one hash of a tile's code.
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
pub(crate) fn operations(tile: Tile, versions: usize) -> Option<Operations> {
    let code = match tile.backend {
        Backend::Avx512 => x86::avx512::code(tile.shape),
        Backend::Avx2 => x86::avx2::code(),
        Backend::Portable | Backend::ShaNi | Backend::Wgpu => return None,
    };
    Some(code.operations(versions))
}

/// Without x86's instruction sets there is none of their kernels.
#[cfg(not(all(target_arch = "x86_64", not(force_portable))))]
mod without {
    const WHY: &str = "this build is for another processor or was made with force_portable";
    type Missing = Result<Box<dyn crate::Kernel>, &'static str>;

    pub(crate) fn shani() -> Missing {
        Err(WHY)
    }

    pub(crate) fn avx2() -> Missing {
        Err(WHY)
    }

    pub(crate) fn avx512(_shape: crate::Shape) -> Missing {
        Err(WHY)
    }

    pub(crate) fn probe(_: &dyn Fn() -> core::time::Duration) -> Option<crate::limit::Core> {
        None
    }

    pub(crate) fn operations(_: crate::Tile, _: usize) -> Option<crate::limit::Operations> {
        None
    }
}
#[cfg(not(all(target_arch = "x86_64", not(force_portable))))]
pub(crate) use without::{avx2, avx512, operations, probe, shani};
