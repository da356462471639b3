//! An opened GPU, and what is known of its end.

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

fn note(loss: &Mutex<Option<String>>, why: String) -> String {
    // A driver's messages run over lines; a log has one for each event.
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut loss = loss.lock().unwrap_or_else(PoisonError::into_inner);
    loss.get_or_insert(line).clone()
}
