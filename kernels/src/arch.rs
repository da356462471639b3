//! One file per instruction set, each a [`Kernel`].
//!
//! Availability is a value: a kernel that needs an instruction set holds a proof that was made by
//! detecting it, so having the kernel means that this processor can run it. With
//! `--cfg force_portable` only the portable one is built.

mod portable;
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
mod x86;

use crate::Kernel;

/// The kernel that runs everywhere.
pub(crate) fn portable() -> Box<dyn Kernel> {
    Box::new(portable::Portable::new())
}

/// The kernel on x86's SHA instructions, or what it lacks.
#[cfg(all(target_arch = "x86_64", not(force_portable)))]
pub(crate) fn shani() -> Result<Box<dyn Kernel>, &'static str> {
    let proof = x86::shani::ShaNi::detect()
        .ok_or("this processor lacks one of the instruction sets sha, ssse3 and sse4.1")?;
    Ok(Box::new(x86::shani::Kernel::new(proof)))
}

/// The kernel on x86's SHA instructions, or what it lacks.
#[cfg(not(all(target_arch = "x86_64", not(force_portable))))]
pub(crate) fn shani() -> Result<Box<dyn Kernel>, &'static str> {
    Err("this build is for another processor or was made with force_portable")
}
