//! NVIDIA's management library, loaded at run time where there is one.
//!
//! It comes with NVIDIA's driver. Where it is missing the miner does without: that is no error, and
//! said only where a board is left without a meter. Read [`Library`]; what its answers mean is in
//! [`energy::nvml`]. Deliberately only asked, never told: nothing of a board is set here.

use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;

use energy::nvml::{Board, Fault};
use energy::pci::PciAddress;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// The loaded library.
#[derive(Clone)]
pub struct Library(Arc<Nvml>);

/// One board, by its address on the PCI bus.
struct Card {
    library: Library,
    bus_id: String,
}

impl Library {
    /// Loads the library from where the system keeps it.
    ///
    /// # Errors
    /// Why it can't be had, in a line.
    pub fn load() -> Result<Self, String> {
        Self::of(Nvml::init())
    }

    /// Loads the library from this file.
    ///
    /// # Errors
    /// Why it can't be had, in a line.
    pub fn load_from(path: &OsStr) -> Result<Self, String> {
        Self::of(Nvml::builder().lib_path(path).init())
    }

    fn of(loaded: Result<Nvml, NvmlError>) -> Result<Self, String> {
        match loaded {
            Ok(nvml) => Ok(Self(Arc::new(nvml))),
            Err(NvmlError::LibloadingError(_)) => {
                Err("NVIDIA's management library is not installed".to_owned())
            }
            Err(error) => Err(format!("NVIDIA's management library: {error}")),
        }
    }

    /// The board at that address; whether there is one shows when it is asked.
    #[must_use]
    pub fn board(&self, address: PciAddress) -> Box<dyn Board + Send> {
        Box::new(Card { library: self.clone(), bus_id: address.with_long_domain() })
    }
}

impl Card {
    /// Asks the board. It is looked up each time: a handle does not outlive the board's absence.
    fn ask<T>(&self, question: impl Fn(&Device<'_>) -> Result<T, NvmlError>) -> Result<T, Fault> {
        let device = self.library.0.device_by_pci_bus_id(self.bus_id.as_str());
        device.and_then(|device| question(&device)).map_err(|error| fault(&error))
    }
}

impl Board for Card {
    fn energy(&self) -> Result<u64, Fault> {
        self.ask(|device| device.total_energy_consumption())
    }

    fn power(&self) -> Result<u32, Fault> {
        self.ask(|device| device.power_usage())
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's other words are passed on")]
fn fault(error: &NvmlError) -> Fault {
    match error {
        // An old library lacks the younger questions.
        NvmlError::NotSupported
        | NvmlError::FunctionNotFound
        | NvmlError::FailedToLoadSymbol(_) => Fault::NotSupported,
        NvmlError::GpuLost
        | NvmlError::ResetRequired
        | NvmlError::NotFound
        | NvmlError::DriverNotLoaded
        | NvmlError::Uninitialized => Fault::Lost,
        NvmlError::NoPermission | NvmlError::OperatingSystem => Fault::Permission,
        other => Fault::Failed(other.to_string()),
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Card").field(&self.bus_id).finish()
    }
}

#[cfg(test)]
mod tests;
