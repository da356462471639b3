//! A GPU as a [`Kernel`]: one slice at a time, for whoever wants answers and no speed.

use kernels::{Backend, Hit, Kernel, Slice};
use units::Hashes;

use crate::engine::{Finished, PATIENCE};
use crate::program::VERSIONS_MAX;
use crate::{Engine, Lost};

/// An engine that searches slice by slice.
#[derive(Debug)]
pub struct GpuKernel {
    engine: Engine,
    lost: Option<Lost>,
}

impl GpuKernel {
    /// Searches with this engine, none of whose dispatches is under way.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine, lost: None }
    }

    /// Why it answers nothing any more.
    #[must_use]
    pub const fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    fn try_scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Result<Hashes, Lost> {
        let last = slice.nonces.checked_sub(1).map(|more| slice.first_nonce.checked_add(more));
        assert!(last != Some(None), "nonces end at u32::MAX");
        let mut hashes = Hashes::ZERO;
        for versions in slice.versions.chunks(VERSIONS_MAX) {
            let mut done = 0;
            while done < slice.nonces {
                let nonces = (slice.nonces - done).min(self.engine.nonces_max());
                let first_nonce = slice.first_nonce + done;
                self.engine.submit(&Slice { versions, first_nonce, nonces, ..*slice })?;
                match self.engine.finish(hits, PATIENCE)? {
                    Finished::Done(part) => hashes = hashes.saturating_add(part.hashes),
                    Finished::NotYet | Finished::Nothing => {
                        return Err(Lost("it does not answer".to_owned()));
                    }
                }
                done += nonces;
            }
        }
        Ok(hashes)
    }
}

impl Kernel for GpuKernel {
    fn backend(&self) -> Backend {
        Backend::Wgpu
    }

    /// As every kernel's; a GPU that is lost counts no hashes, and says why in [`Self::lost`].
    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        let scanned = self.try_scan(slice, hits);
        scanned.unwrap_or_else(|lost| {
            self.lost = Some(lost);
            Hashes::ZERO
        })
    }

    fn faults(&self) -> u64 {
        self.engine.faults()
    }
}
