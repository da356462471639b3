//! Keeps what graphics drivers say on stderr out of the log: they look for a display on machines
//! that have none, and call it an error.
//!
//! While [`hushed`] works the process's stderr leads elsewhere, so it is for the start, before other
//! threads have anything to say. What was said is logged for those who look for it.

/// Does this, and logs what anybody meanwhile wrote to stderr, at the level of debugging.
#[cfg(target_os = "linux")]
pub(crate) fn hushed<T>(work: impl FnOnce() -> T) -> T {
    let Ok(turned) = linux::Turned::away() else { return work() };
    let done = work();
    for line in turned.back().lines() {
        tracing::debug!("a graphics driver says: {line}");
    }
    done
}

/// Does this.
#[cfg(not(target_os = "linux"))]
pub(crate) fn hushed<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::{self, Read as _, Seek as _};
    use std::os::fd::OwnedFd;

    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::stdio::{dup2_stderr, stderr};

    /// The most that is read of what was said.
    const SAID_MAX: u64 = 16 << 10;

    /// Stderr leads to memory until this is dropped, in a panic too.
    pub(super) struct Turned {
        before: OwnedFd,
        said: File,
    }

    impl Turned {
        pub(super) fn away() -> io::Result<Self> {
            let before = rustix::io::dup(stderr())?;
            let said = memfd_create("said", MemfdFlags::CLOEXEC)?;
            dup2_stderr(&said)?;
            Ok(Self { before, said: File::from(said) })
        }

        /// Turns it back and gives what was said.
        pub(super) fn back(mut self) -> String {
            let mut said = Vec::new();
            let read = self.said.rewind().and_then(|()| {
                let said_file: &mut File = &mut self.said;
                said_file.take(SAID_MAX).read_to_end(&mut said)
            });
            if read.is_err() {
                return String::new();
            }
            String::from_utf8_lossy(&said).into_owned()
        }
    }

    impl Drop for Turned {
        fn drop(&mut self) {
            // It led there a moment ago; where it cannot any more, nobody can be told.
            let _restored = dup2_stderr(&self.before);
        }
    }
}
