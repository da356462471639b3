//! A thread that does one thing again and again, until that is done, fails, or is no longer wanted.
//! It deliberately knows no schedule: it pauses for as long as it is told between two times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::failure::Failure;

/// The thread. Dropping it waits until it has ended.
#[derive(Debug)]
pub(crate) struct Repeat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    unwanted: AtomicBool,
    failure: Mutex<Option<String>>,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// After the pause, once more.
    Yes,
    /// There is nothing more to do.
    Done,
}

impl Repeat {
    /// Begins: `act`, a pause, `act`, and so on.
    pub(crate) fn start(
        pause: Duration,
        mut act: impl FnMut() -> Result<Again, String> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !theirs.unwanted.load(Ordering::SeqCst) {
                match act() {
                    Ok(Again::Yes) => thread::sleep(pause),
                    Ok(Again::Done) => return,
                    Err(why) => {
                        *theirs.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                        return;
                    }
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Nothing while all goes well.
    ///
    /// # Errors
    /// Why it failed, if it did.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().map_or(Ok(()), |why| Err(Failure::new(why.clone())))
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        self.shared.unwanted.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            eprintln!("a thread of this check has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn it_repeats_until_it_is_done_fails_or_is_dropped() {
        let mut times = 0;
        let until = Repeat::start(SOON, move || {
            times += 1;
            Ok(if times < 3 { Again::Yes } else { Again::Done })
        });
        let failing = Repeat::start(SOON, || Err("no more".to_owned()));
        let endless = Repeat::start(SOON, || Ok(Again::Yes));
        while !until.is_over() || !failing.is_over() {
            thread::sleep(SOON);
        }
        until.check().unwrap();
        assert_eq!(failing.check().unwrap_err().to_string(), "no more");
        assert!(!endless.is_over());
        drop(endless);
    }
}
