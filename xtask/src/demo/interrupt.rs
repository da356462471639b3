//! Ctrl-C (and a plain `kill`, and a closed terminal) as a flag that the demo looks at between
//! its steps. It deliberately does not act in the handler: ending takes several steps, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::Failure;

/// Whether somebody asked this program to stop since it was last looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    /// Fails where the system refuses a handler.
    pub(crate) fn install() -> Result<Self, Failure> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))
                .map_err(|e| Failure::new(format!("signal {signal} cannot be caught: {e}")))?;
        }
        Ok(interrupt)
    }

    /// Whether it was asked; the asking is used up, so that a second one can be told apart.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Whether it was asked; the asking stays.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// As if a signal had come.
    #[cfg(test)]
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
