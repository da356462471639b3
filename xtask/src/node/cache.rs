//! Where a built Bitcoin Core is kept: a folder of its own in the user's cache directory, beside
//! it the folder that it is built in and a lock for whoever builds. The finished folder appears by
//! one rename, so whoever sees it sees it whole. This module deliberately does not build.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

use super::source::VERSION;

/// The place of one version.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    /// The project's folder in the cache directory.
    folder: PathBuf,
}

impl Cache {
    /// In the cache directory of whoever runs this.
    ///
    /// # Errors
    /// Fails where neither `XDG_CACHE_HOME` nor `HOME` names a directory.
    pub(crate) fn of_user() -> Result<Self, Failure> {
        let folder = user_cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
            .ok_or_else(|| Failure::new("no cache directory: set XDG_CACHE_HOME or HOME"))?;
        Ok(Self { folder: folder.join("wattproof") })
    }

    /// Where the finished programs are, in `bin/`.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join(format!("bitcoin-core-{VERSION}"))
    }

    /// The finished `bitcoind`.
    pub(crate) fn bitcoind(&self) -> PathBuf {
        self.home().join("bin/bitcoind")
    }

    /// Whether the programs are there.
    pub(crate) fn is_built(&self) -> bool {
        self.bitcoind().is_file()
    }

    /// Where it is built. What an interrupted build left there is taken up by the next one.
    pub(crate) fn staging(&self) -> PathBuf {
        self.folder.join(format!("bitcoin-core-{VERSION}.building"))
    }

    /// Waits until nobody else builds. The lock holds while the file, or a copy of it that a
    /// child process has, is open; the system takes it back however they end.
    ///
    /// # Errors
    /// Fails where the folder or the file cannot be made or locked.
    pub(crate) fn lock(&self) -> Result<File, Failure> {
        let path = self.folder.join(format!("bitcoin-core-{VERSION}.lock"));
        let failed = |e| Failure::new(format!("{} cannot be locked: {e}", path.display()));
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(failed(e)),
            Err(TryLockError::WouldBlock) => {
                eprintln!("another build holds {}; waiting for it", path.display());
                file.lock().map_err(failed)?;
            }
        }
        Ok(file)
    }

    /// Makes `finished`, a folder in the staging folder, the home, and removes the rest.
    ///
    /// # Errors
    /// Fails where the file system refuses.
    pub(crate) fn publish(&self, finished: &Path) -> Result<(), Failure> {
        let home = self.home();
        let failed = |e| Failure::new(format!("{} cannot be made: {e}", home.display()));
        // A home without its programs is no home; nothing of it is worth keeping.
        if home.exists() {
            fs::remove_dir_all(&home).map_err(failed)?;
        }
        fs::rename(finished, &home).map_err(failed)?;
        let staging = self.staging();
        fs::remove_dir_all(&staging)
            .map_err(|e| Failure::new(format!("{} cannot be removed: {e}", staging.display())))
    }

    /// For tests: a cache in a folder of theirs.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }
}

/// The cache directory by the XDG base directory specification: a relative path counts as unset.
fn user_cache(
    xdg: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let xdg = xdg.map(PathBuf::from).filter(absolute);
    xdg.or_else(|| home.map(PathBuf::from).filter(absolute).map(|home| home.join(".cache")))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_cache_directory_follows_the_specification() {
        let of = |xdg: Option<&str>, home: Option<&str>| {
            user_cache(xdg.map(Into::into), home.map(Into::into))
        };
        assert_eq!(of(Some("/var/c"), Some("/home/a")), Some("/var/c".into()));
        assert_eq!(of(Some("c"), Some("/home/a")), Some("/home/a/.cache".into()));
        assert_eq!(of(Some(""), Some("/home/a")), Some("/home/a/.cache".into()));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn a_second_builder_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path());
        let first = cache.lock().unwrap();
        let (sender, receiver) = mpsc::sync_channel(1);
        let second = thread::spawn(move || {
            let lock = cache.lock().unwrap();
            sender.send(()).unwrap();
            drop(lock);
        });
        receiver.recv_timeout(Duration::from_millis(200)).unwrap_err();
        drop(first);
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        second.join().unwrap();
    }

    #[test]
    fn what_is_published_is_whole_and_replaces_a_torn_home() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path());
        fs::create_dir_all(cache.home().join("bin")).unwrap();
        assert!(!cache.is_built());
        let finished = cache.staging().join("finished");
        fs::create_dir_all(finished.join("bin")).unwrap();
        fs::write(finished.join("bin/bitcoind"), "program").unwrap();
        cache.publish(&finished).unwrap();
        assert!(cache.is_built());
        assert!(!cache.staging().exists());
    }
}
