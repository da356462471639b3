//! `SQLite` on simulated disks: the VFS that every connection of this test program uses.
//!
//! A path's folder says which disk it is on, and each is a [`Disk`] of its own. Locks and the shared index of the write-ahead log are kept here, since
//! they are memory and no disk has them: they go with [`Disks::put`], as they do with a process.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use sqlite_vfs::wip::{WalIndex, WalIndexLock};
use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs};

use crate::disk::{Dice, Disk};

/// Bytes of one region of the log's index, as `SQLite` has it.
const REGION: usize = 32_768;

/// All disks. There is one of these, since `SQLite` knows a VFS by its name alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disks(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    disks: BTreeMap<String, Disk>,
    locks: BTreeMap<String, Lock>,
    indices: BTreeMap<String, Index>,
    next: u64,
    dice: Dice,
}

/// Who has which lock on a file.
#[derive(Debug, Default)]
struct Lock {
    shared: BTreeSet<u64>,
    writer: Option<(u64, bool)>,
}

/// The index of a write-ahead log, as all connections share it.
#[derive(Debug, Default)]
struct Index {
    regions: BTreeMap<u32, Vec<u8>>,
    shared: BTreeMap<u8, BTreeSet<u64>>,
    exclusive: BTreeMap<u8, u64>,
}

/// One open file.
#[derive(Debug)]
pub(crate) struct Handle {
    all: Disks,
    path: String,
    id: u64,
    lock: LockKind,
}

/// One connection's view of an index.
#[derive(Debug)]
pub(crate) struct View {
    all: Disks,
    path: String,
    id: u64,
    /// What was last read or written, so that changes alone are passed on.
    known: BTreeMap<u32, Vec<u8>>,
}

impl Disks {
    /// The disks of this program; `SQLite` uses them from now on, and nothing else.
    pub(crate) fn get() -> &'static Self {
        static DISKS: OnceLock<Disks> = OnceLock::new();
        DISKS.get_or_init(|| {
            let disks = Self::default();
            sqlite_vfs::register("power", disks.clone(), true).unwrap();
            disks
        })
    }

    /// Puts a disk in, and says where a ledger would be on it. The folder is a real one: the
    /// ledger asks the file system, and not `SQLite`, whether there is a ledger at all.
    pub(crate) fn put(&self, disk: Disk) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::Builder::new().prefix("power-").tempdir().unwrap();
        let path = folder.path().join("pool.sqlite");
        std::fs::create_dir(&path).unwrap();
        self.inner().disks.insert(folder.path().to_str().unwrap().to_owned(), disk);
        (folder, path)
    }

    /// Does something with the disk in `folder`.
    pub(crate) fn with<T>(
        &self,
        folder: &tempfile::TempDir,
        act: impl FnOnce(&mut Disk) -> T,
    ) -> T {
        let mut inner = self.inner();
        act(inner.disks.get_mut(folder.path().to_str().unwrap()).unwrap())
    }

    /// A disk as a loss of power leaves it now, with what the test calls answered.
    pub(crate) fn take(&self, folder: &tempfile::TempDir) -> Disk {
        self.inner().disks.remove(folder.path().to_str().unwrap()).unwrap()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    /// The disk that a path is on, and the file's name there.
    fn disk<'a>(&mut self, path: &'a str) -> io::Result<(&mut Disk, &'a str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let disk = self.disks.get_mut(folder).ok_or(ErrorKind::NotFound)?;
        Ok((disk, name))
    }
}

impl Vfs for Disks {
    type Handle = Handle;

    fn open(&self, path: &str, opts: OpenOptions) -> io::Result<Handle> {
        let mut inner = self.inner();
        let (disk, name) = inner.disk(path)?;
        match opts.access {
            OpenAccess::Create => disk.create(name)?,
            OpenAccess::CreateNew if disk.has(name) => return Err(ErrorKind::AlreadyExists.into()),
            OpenAccess::CreateNew => disk.create(name)?,
            OpenAccess::Read | OpenAccess::Write if !disk.has(name) => {
                return Err(ErrorKind::NotFound.into());
            }
            OpenAccess::Read | OpenAccess::Write => {}
        }
        inner.next += 1;
        let id = inner.next;
        Ok(Handle { all: self.clone(), path: path.to_owned(), id, lock: LockKind::None })
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let (disk, name) = inner.disk(path)?;
        disk.remove(name)
    }

    /// As on Unix, an empty file is none: that is how `SQLite` knows a journal to be of no use.
    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.inner().disk(path).is_ok_and(|(disk, name)| !disk.bytes(name).is_empty()))
    }

    fn temporary_name(&self) -> String {
        "/no temporary files are wanted".to_owned()
    }

    fn random(&self, buffer: &mut [i8]) {
        let mut inner = self.inner();
        for byte in buffer {
            *byte = i8::from_le_bytes([inner.dice.next().to_le_bytes()[0]]);
        }
    }

    fn sleep(&self, duration: Duration) -> Duration {
        std::thread::sleep(duration);
        duration
    }

    fn full_pathname<'a>(&self, path: &'a str) -> io::Result<Cow<'a, str>> {
        Ok(path.into())
    }
}

impl Handle {
    fn on_disk<T>(&self, act: impl FnOnce(&mut Disk, &str) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.all.inner();
        let (disk, name) = inner.disk(&self.path)?;
        act(disk, name)
    }
}

impl DatabaseHandle for Handle {
    type WalIndex = View;

    fn size(&self) -> io::Result<u64> {
        self.on_disk(|disk, name| Ok(u64::try_from(disk.bytes(name).len()).unwrap()))
    }

    fn read_exact_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = place(offset);
        self.on_disk(|disk, name| {
            let bytes = disk.bytes(name);
            let from = bytes.len().min(offset);
            let there = buf.len().min(bytes.len() - from);
            buf[..there].copy_from_slice(&bytes[from..from + there]);
            // SQLite wants the rest of a short read to be zeros.
            buf[there..].fill(0);
            if there < buf.len() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        })
    }

    fn write_all_at(&mut self, buf: &[u8], offset: u64) -> io::Result<()> {
        let offset = place(offset);
        self.on_disk(|disk, name| disk.write(name, offset, buf))
    }

    fn sync(&mut self, _data_only: bool) -> io::Result<()> {
        self.on_disk(Disk::sync)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        let size = place(size);
        self.on_disk(|disk, name| disk.set_length(name, size))
    }

    fn lock(&mut self, lock: LockKind) -> io::Result<bool> {
        let mut inner = self.all.inner();
        let granted = inner.locks.entry(self.path.clone()).or_default().change(self.id, lock);
        if granted {
            self.lock = lock;
        }
        Ok(granted)
    }

    fn reserved(&mut self) -> io::Result<bool> {
        Ok(self.all.inner().locks.get(&self.path).is_some_and(|lock| lock.writer.is_some()))
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        Ok(self.lock)
    }

    fn wal_index(&self, _readonly: bool) -> io::Result<View> {
        let (all, path) = (self.all.clone(), self.path.clone());
        Ok(View { all, path, id: self.id, known: BTreeMap::new() })
    }
}

/// A place in a file; files here are far shorter than memory.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(lock) = self.all.inner().locks.get_mut(&self.path) {
            lock.change(self.id, LockKind::None);
        }
    }
}

impl Lock {
    /// As `SQLite`'s documentation of its locks has it. The flag of the writer is whether it waits
    /// for readers to leave, or has seen them leave.
    fn change(&mut self, id: u64, wanted: LockKind) -> bool {
        let others = self.writer.is_some_and(|(writer, _)| writer != id);
        match wanted {
            LockKind::None => {
                self.shared.remove(&id);
                self.writer = self.writer.filter(|(writer, _)| *writer != id);
                true
            }
            LockKind::Shared => {
                if others && self.writer.is_some_and(|(_, waits)| waits) {
                    return false;
                }
                self.writer = self.writer.filter(|(writer, _)| *writer != id);
                self.shared.insert(id);
                true
            }
            LockKind::Reserved if others => false,
            LockKind::Reserved => {
                self.writer = Some((id, false));
                true
            }
            LockKind::Pending | LockKind::Exclusive if others => false,
            LockKind::Pending | LockKind::Exclusive => {
                self.writer = Some((id, true));
                self.shared.iter().all(|reader| *reader == id)
            }
        }
    }
}

impl WalIndex for View {
    fn map(&mut self, region: u32) -> io::Result<[u8; REGION]> {
        let mut bytes = [0; REGION];
        self.pull(region, &mut bytes)?;
        Ok(bytes)
    }

    fn lock(&mut self, locks: Range<u8>, wanted: WalIndexLock) -> io::Result<bool> {
        let mut inner = self.all.inner();
        let index = inner.indices.entry(self.path.clone()).or_default();
        if !locks.clone().all(|place| index.grants(place, self.id, wanted)) {
            return Ok(false);
        }
        for place in locks {
            index.exclusive.retain(|at, holder| *at != place || *holder != self.id);
            let shared = index.shared.entry(place).or_default();
            shared.remove(&self.id);
            match wanted {
                WalIndexLock::None => {}
                WalIndexLock::Shared => {
                    shared.insert(self.id);
                }
                WalIndexLock::Exclusive => {
                    index.exclusive.insert(place, self.id);
                }
            }
        }
        Ok(true)
    }

    fn delete(self) -> io::Result<()> {
        self.all.inner().indices.remove(&self.path);
        Ok(())
    }

    fn pull(&mut self, region: u32, data: &mut [u8; REGION]) -> io::Result<()> {
        let mut inner = self.all.inner();
        let index = inner.indices.entry(self.path.clone()).or_default();
        let shared = index.regions.entry(region).or_insert_with(|| vec![0; REGION]);
        data.copy_from_slice(shared);
        self.known.insert(region, shared.clone());
        Ok(())
    }

    fn push(&mut self, region: u32, data: &[u8; REGION]) -> io::Result<()> {
        let mut inner = self.all.inner();
        let index = inner.indices.entry(self.path.clone()).or_default();
        let shared = index.regions.entry(region).or_insert_with(|| vec![0; REGION]);
        let known = self.known.entry(region).or_insert_with(|| vec![0; REGION]);
        for ((shared, known), new) in shared.iter_mut().zip(known.iter_mut()).zip(data) {
            if known != new {
                (*shared, *known) = (*new, *new);
            }
        }
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(index) = self.all.inner().indices.get_mut(&self.path) {
            index.exclusive.retain(|_, holder| *holder != self.id);
            for shared in index.shared.values_mut() {
                shared.remove(&self.id);
            }
        }
    }
}

impl Index {
    fn grants(&self, place: u8, id: u64, wanted: WalIndexLock) -> bool {
        let no_writer = self.exclusive.get(&place).is_none_or(|holder| *holder == id);
        let no_reader =
            || self.shared.get(&place).is_none_or(|all| all.iter().all(|holder| *holder == id));
        match wanted {
            WalIndexLock::None => true,
            WalIndexLock::Shared => no_writer,
            WalIndexLock::Exclusive => no_writer && no_reader(),
        }
    }
}
