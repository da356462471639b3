//! An opened GPU, and what is known of its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use wgpu::{DeviceDescriptor, Features, MemoryHints};

use crate::Adapter;

/// The GPU is gone, or what was asked of it went wrong: nothing more can be had from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the GPU is lost: {0}")]
pub struct Lost(pub String);

/// Why a GPU cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its driver refused.
    #[error("cannot open it: {0}")]
    Refused(String),
    /// It was lost while the shaders were built.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// A device with its queue.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) handle: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Nanoseconds of a tick, where it can time its own work.
    pub(crate) tick: Option<f32>,
    /// The first thing that went wrong.
    loss: Arc<Mutex<Option<String>>>,
}

impl Device {
    pub(crate) fn open(adapter: &Adapter) -> Result<Self, OpenError> {
        let features = adapter.handle.features() & Features::TIMESTAMP_QUERY;
        let descriptor = DeviceDescriptor {
            label: Some("wattproof"),
            required_features: features,
            memory_hints: MemoryHints::MemoryUsage,
            ..DeviceDescriptor::default()
        };
        let (handle, queue) = pollster::block_on(adapter.handle.request_device(&descriptor))
            .map_err(|error| OpenError::Refused(error.to_string()))?;
        let loss = Arc::new(Mutex::new(None));
        // Without a handler an error would end the process.
        let noted = Arc::clone(&loss);
        handle.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            note(&noted, error.to_string());
        }));
        let noted = Arc::clone(&loss);
        handle.set_device_lost_callback(move |reason, message| {
            note(&noted, format!("{reason:?}: {message}"));
        });
        let tick =
            features.contains(Features::TIMESTAMP_QUERY).then(|| queue.get_timestamp_period());
        Ok(Self { handle, queue, tick, loss })
    }

    /// Whether all went well so far.
    ///
    /// # Errors
    /// With the first thing that did not.
    pub(crate) fn check(&self) -> Result<(), Lost> {
        let loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        loss.clone().map_or(Ok(()), |why| Err(Lost(why)))
    }

    /// It went wrong, for this reason unless there was one before.
    pub(crate) fn lose(&self, why: impl Into<String>) -> Lost {
        Lost(note(&self.loss, why.into()))
    }
}

/// Does this; a panic in it is a loss. That is how wgpu answers a driver that loses its card while
/// somebody waits for it.
pub(crate) fn guarded<T, E: From<Lost>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Lost(one_line(text.unwrap_or("its driver ended in a panic"))).into())
    })
}

/// A driver's messages run over lines; a log has one for each event.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn note(loss: &Mutex<Option<String>>, why: String) -> String {
    let line = one_line(&why);
    let mut loss = loss.lock().unwrap_or_else(PoisonError::into_inner);
    loss.get_or_insert(line).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_loss_in_one_line() {
        let lost = guarded(|| -> Result<(), Lost> { panic!("a driver\nis {}", "gone") });
        assert_eq!(lost, Err(Lost("a driver is gone".to_owned())));
        assert_eq!(guarded(|| Ok::<_, Lost>(7)), Ok(7));
    }
}
