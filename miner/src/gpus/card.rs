//! A GPU's engines, and their return after a loss.
//!
//! Read [`Card::returning`]. Both shaders stay open, so that a pool that grants other versions than
//! before costs nothing; a lost GPU is opened again by a thread of its own, since drivers may take
//! seconds to say no, and closed by one, since some never answer at all.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use gpu::{Adapter, Engine, OpenError};

use super::Shaders;

/// Pauses before a lost GPU is opened again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// One GPU with its engines, or without while it is lost.
#[derive(Debug)]
pub(super) struct Card {
    adapter: Adapter,
    shaders: Shaders,
    engines: Option<Engines>,
    /// How long the next pause is, and when the present one is over.
    pause: Duration,
    reopen_at: Duration,
    opening: Option<Receiver<Result<(Adapter, Engines), OpenError>>>,
}

/// The engine that searches, and the one that would with more or fewer versions.
#[derive(Debug)]
struct Engines {
    active: Engine,
    other: Option<Engine>,
}

/// How the return of a lost GPU stands.
#[derive(Debug)]
pub(super) enum Returning {
    /// Nothing happens for so long.
    After(Duration),
    /// It is there again.
    Returned,
    /// It could not be opened, for this reason; the next time is after so long.
    Failed(OpenError, Duration),
}

impl Card {
    pub(super) fn open(adapter: Adapter, shaders: Shaders) -> Result<Self, OpenError> {
        let engines = Engines::open(&adapter, shaders)?;
        let (pause, reopen_at) = (PAUSES.0, Duration::ZERO);
        let engines = Some(engines);
        Ok(Self { adapter, shaders, engines, pause, reopen_at, opening: None })
    }

    /// The engine that searches; `None` while the GPU is lost.
    pub(super) fn engine(&mut self) -> Option<&mut Engine> {
        self.engines.as_mut().map(|engines| &mut engines.active)
    }

    /// Whether the engine that searches is the one for so many versions.
    pub(super) fn suits(&self, versions: usize) -> bool {
        let Shaders { many, few } = self.shaders;
        let tile = if versions < 1 << many.method.versions_log2() { few } else { many };
        self.engines.as_ref().is_none_or(|engines| engines.active.tile() == tile)
    }

    /// Has the other engine search.
    pub(super) fn change(&mut self) {
        if let Some(Engines { active, other: Some(other) }) = &mut self.engines {
            std::mem::swap(active, other);
        }
    }

    /// It did what it was asked: the next loss is a first one.
    pub(super) fn worked(&mut self) {
        self.pause = PAUSES.0;
    }

    /// It is lost; gives the time until it is opened again.
    pub(super) fn lose(&mut self, now: Duration) -> Duration {
        if let Some(engines) = self.engines.take() {
            close(engines);
        }
        let pause = self.pause;
        self.reopen_at = now + pause;
        self.pause = (pause * 2).min(PAUSES.1);
        pause
    }

    /// Sees to the return of a lost GPU, without waiting for it.
    pub(super) fn returning(&mut self, now: Duration) -> Returning {
        /// How often a GPU that is being opened is asked whether it is.
        const ASK: Duration = Duration::from_millis(50);
        let Some(opening) = &self.opening else {
            let left = self.reopen_at.saturating_sub(now);
            if left.is_zero() {
                self.opening = Some(reopen(self.adapter.clone(), self.shaders));
                return Returning::After(ASK);
            }
            return Returning::After(left);
        };
        let opened = match opening.try_recv() {
            Ok(opened) => opened,
            Err(TryRecvError::Empty) => return Returning::After(ASK),
            Err(TryRecvError::Disconnected) => {
                Err(OpenError::Refused("its driver ended the thread that opened it".to_owned()))
            }
        };
        self.opening = None;
        match opened {
            Ok((adapter, engines)) => {
                (self.adapter, self.engines) = (adapter, Some(engines));
                Returning::Returned
            }
            Err(error) => Returning::Failed(error, self.lose(now)),
        }
    }

    /// Leaves it as it is: to close a GPU is to wait for it, and the process ends.
    pub(super) fn leave(self) {
        std::mem::forget(self.engines);
    }

    #[cfg(test)]
    pub(super) fn breakers(&self) -> Vec<gpu::Breaker> {
        let each = |engines: &Engines| {
            let other = engines.other.iter().map(Engine::breaker);
            std::iter::once(engines.active.breaker()).chain(other).collect()
        };
        self.engines.as_ref().map(each).unwrap_or_default()
    }
}

impl Engines {
    fn open(adapter: &Adapter, shaders: Shaders) -> Result<Self, OpenError> {
        let active = Engine::open(adapter, shaders.many)?;
        let differ = shaders.few != shaders.many;
        let other = differ.then(|| Engine::open(adapter, shaders.few)).transpose()?;
        Ok(Self { active, other })
    }
}

/// Opens it again, as a new one: what it was may be gone for good.
fn reopen(adapter: Adapter, shaders: Shaders) -> Receiver<Result<(Adapter, Engines), OpenError>> {
    let (tell, told) = sync_channel(1);
    let open = move || {
        let opened = match adapter.found_again() {
            Some(found) => Engines::open(&found, shaders).map(|engines| (found, engines)),
            None => Err(OpenError::Refused("this machine has no such GPU any more".to_owned())),
        };
        // Where nobody listens any more, the miner is ending.
        let _told = tell.send(opened);
    };
    // A thread that cannot be made hangs up, which is heard as a failure.
    let _thread = thread::Builder::new().name("gpu-open".to_owned()).spawn(open);
    told
}

/// Closes a lost GPU, on a thread that nobody waits for.
fn close(engines: Engines) {
    let engines = std::mem::ManuallyDrop::new(engines);
    let drop_them = move || drop(std::mem::ManuallyDrop::into_inner(engines));
    // Without a thread they are left as they are.
    let _thread = thread::Builder::new().name("gpu-close".to_owned()).spawn(drop_them);
}
