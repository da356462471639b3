//! The chain's file: every accepted block and every operator's verdict, in the order in which
//! they came, each durable before its answer.
//!
//! Layout: 8 bytes of magic and one of mode, then records of `length (u32) | kind (u8) | arrival
//! (u64, Unix ms) | payload | first 8 bytes of SHA-256 over kind, arrival and payload`, numbers
//! little-endian, `length` being the payload's. A last record that is incomplete was never
//! answered and is cut off at open; damage anywhere else is an error that names the place.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use defences::{Defence, stands};
use sha2::{Digest as _, Sha256};
use units::UnixMillis;

const MAGIC: [u8; 8] = *b"WPCHAIN1";
const FILE: &str = "devchain.blocks";
/// Magic and mode.
const HEAD: u64 = 9;
/// Length, kind and arrival.
const RECORD_HEAD: usize = 13;
const CHECKSUM: usize = 8;
/// No record is longer: a block is at most 4,000,000 bytes.
const MAX_PAYLOAD: u32 = 8 << 20;

/// The chain's file cannot be used. The message names the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{path}: cannot {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{0}: another process is using this chain")]
    InUse(PathBuf),
    /// It is no chain's file.
    #[error("{0}: not a development chain's file")]
    Foreign(PathBuf),
    /// It was made with other rules.
    #[error("{path}: made with retargeting {was}, and asked for with retargeting {wanted}")]
    OtherRules {
        /// The file.
        path: PathBuf,
        /// `on` or `off`.
        was: &'static str,
        /// `on` or `off`.
        wanted: &'static str,
    },
    /// Damage before the end.
    #[error("{path}: damaged at byte {offset}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record starts.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A block was accepted; the payload is the block.
    Block,
    /// An operator called `invalidateblock`; the payload is a hash.
    Invalidate,
    /// An operator called `reconsiderblock`; the payload is a hash.
    Reconsider,
    /// A caller of `preciousblock` preferred a block; the payload is a hash.
    Prefer,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Block => 1,
            Self::Invalidate => 2,
            Self::Reconsider => 3,
            Self::Prefer => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Block, Self::Invalidate, Self::Reconsider, Self::Prefer];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where a payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    length: u32,
}

/// One record, as found at open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) at: UnixMillis,
    pub(super) place: Place,
}

/// The open file; its lock lasts as long as it.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
    end: u64,
    /// Set when the file's end is not known any more; nothing is appended then.
    broken: bool,
}

impl Store {
    /// Opens or creates the file in `dir`; lists its records in order.
    pub(super) fn open(dir: &Path, retarget: bool) -> Result<(Self, Vec<Record>), StoreError> {
        let path = dir.join(FILE);
        let fail = |what| io_error(&path, what);
        std::fs::create_dir_all(dir).map_err(fail("create its directory"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail("open it"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path)),
            Err(TryLockError::Error(source)) => return Err(fail("lock it")(source)),
        }
        let length = file.metadata().map_err(fail("measure it"))?.len();
        let mut store = Self { file, path: path.clone(), end: HEAD, broken: false };
        if length < HEAD {
            store.begin(retarget)?;
            return Ok((store, Vec::new()));
        }
        store.check_head(retarget)?;
        let records = store.scan(length)?;
        if store.end < length {
            tracing::warn!(path = %path.display(), from = store.end, to = length, "cut a torn record");
            store.file.set_len(store.end).map_err(fail("cut its torn end"))?;
            store.file.sync_data().map_err(fail("sync it"))?;
        }
        Ok((store, records))
    }

    /// Appends a record and waits until it is on disk.
    pub(super) fn append(
        &mut self,
        kind: Kind,
        at: UnixMillis,
        payload: &[u8],
    ) -> Result<Place, StoreError> {
        let fail = |what| io_error(&self.path, what);
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= MAX_PAYLOAD);
        let Some(length) = length.filter(|_| !self.broken) else {
            return Err(fail("append to it")(io::Error::other("an earlier write failed")));
        };
        let record = encode(kind, at, length, payload);
        let written = (&self.file)
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| (&self.file).write_all(&record))
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.broken = self.file.set_len(self.end).is_err();
            return Err(io_error(&self.path, "append to it")(source));
        }
        let offset = self.end.saturating_add(as_u64(RECORD_HEAD));
        self.end = self.end.saturating_add(as_u64(record.len()));
        Ok(Place { offset, length })
    }

    /// Reads a payload back.
    pub(super) fn read(&self, place: Place) -> Result<Vec<u8>, StoreError> {
        let mut payload = vec![0; usize::try_from(place.length).unwrap_or(usize::MAX)];
        (&self.file)
            .seek(SeekFrom::Start(place.offset))
            .and_then(|_| (&self.file).read_exact(&mut payload))
            .map_err(io_error(&self.path, "read from it"))?;
        Ok(payload)
    }

    /// Bytes in the file.
    pub(super) const fn size(&self) -> u64 {
        self.end
    }

    fn begin(&self, retarget: bool) -> Result<(), StoreError> {
        let mut head = MAGIC.to_vec();
        head.push(u8::from(retarget));
        (&self.file)
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).write_all(&head))
            .and_then(|()| self.file.sync_all())
            .map_err(io_error(&self.path, "begin it"))?;
        // The file's name, too; not every system can sync a directory.
        if let Some(dir) = self.path.parent().and_then(|dir| File::open(dir).ok()) {
            let _ = dir.sync_all();
        }
        Ok(())
    }

    fn check_head(&self, retarget: bool) -> Result<(), StoreError> {
        let mut head = [0; 9];
        (&self.file).read_exact(&mut head).map_err(io_error(&self.path, "read its head"))?;
        let [magic @ .., mode] = head;
        if magic != MAGIC || mode > 1 {
            return Err(StoreError::Foreign(self.path.clone()));
        }
        if mode == u8::from(retarget) {
            return Ok(());
        }
        let name = |on: bool| if on { "on" } else { "off" };
        let (was, wanted) = (name(mode == 1), name(retarget));
        Err(StoreError::OtherRules { path: self.path.clone(), was, wanted })
    }

    /// A record that is sound but makes no sense in this chain.
    pub(super) fn damaged(&self, record: &Record, reason: String) -> StoreError {
        Failure::Damage(reason).named(&self.path, record.place.offset)
    }

    /// Finds every whole record; `end` is then where the next one goes.
    fn scan(&mut self, length: u64) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        while let Some((record, next)) = read_record(&mut reader, self.end, length)
            .map_err(|failure| failure.named(&self.path, self.end))?
        {
            records.push(record);
            self.end = next;
        }
        Ok(records)
    }
}

/// What can stop a scan, before the file has been named.
enum Failure {
    Io(io::Error),
    Damage(String),
}

impl Failure {
    fn named(self, path: &Path, offset: u64) -> StoreError {
        match self {
            Self::Io(source) => io_error(path, "read it")(source),
            Self::Damage(reason) => StoreError::Damaged { path: path.to_owned(), offset, reason },
        }
    }
}

/// The record at `start` and where the next one starts; `None` at the end or at a torn record.
fn read_record(
    reader: &mut impl io::Read,
    start: u64,
    length: u64,
) -> Result<Option<(Record, u64)>, Failure> {
    let mut head = [0; RECORD_HEAD];
    if start.saturating_add(as_u64(RECORD_HEAD)) > length {
        return Ok(None);
    }
    reader.read_exact(&mut head).map_err(Failure::Io)?;
    let [l0, l1, l2, l3, code, at @ ..] = head;
    let size = u32::from_le_bytes([l0, l1, l2, l3]);
    let whole = as_u64(RECORD_HEAD + CHECKSUM).saturating_add(u64::from(size));
    let next = start.saturating_add(whole);
    if next > length {
        return Ok(None);
    }
    let mut rest = vec![0; usize::try_from(size).unwrap_or(usize::MAX).saturating_add(CHECKSUM)];
    reader.read_exact(&mut rest).map_err(Failure::Io)?;
    let payload = rest.get(..rest.len() - CHECKSUM).unwrap_or_default();
    let sound = rest.ends_with(&checksum(&head, payload));
    let kind = Kind::from_code(code).filter(|_| sound && size <= MAX_PAYLOAD);
    let Some(kind) = kind else {
        // The last record, or a tail that the system extended but never filled: torn.
        let blank = head == [0; RECORD_HEAD] && only_zeros(reader).map_err(Failure::Io)?;
        if stands(Defence::TornRecord) && (next == length || blank) {
            return Ok(None);
        }
        return Err(Failure::Damage("the checksum does not match".to_owned()));
    };
    let place = Place { offset: start.saturating_add(as_u64(RECORD_HEAD)), length: size };
    let at = UnixMillis::new(u64::from_le_bytes(at));
    Ok(Some((Record { kind, at, place }, next)))
}

fn only_zeros(reader: &mut impl io::Read) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok(true);
        }
        if buffer.iter().take(count).any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
}

fn encode(kind: Kind, at: UnixMillis, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(payload.len() + RECORD_HEAD + CHECKSUM);
    record.extend_from_slice(&length.to_le_bytes());
    record.push(kind.code());
    record.extend_from_slice(&at.get().to_le_bytes());
    let sum = checksum(&record, payload);
    record.extend_from_slice(payload);
    record.extend_from_slice(&sum);
    record
}

/// Over the record's head but its length, and the payload.
fn checksum(head: &[u8], payload: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Sha256::new();
    hasher.update(head.get(4..).unwrap_or_default());
    hasher.update(payload);
    let mut sum = [0; CHECKSUM];
    for (out, byte) in sum.iter_mut().zip(hasher.finalize()) {
        *out = byte;
    }
    sum
}

fn io_error(path: &Path, what: &'static str) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { path: path.clone(), what, source }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Result<(Store, Vec<Vec<u8>>), StoreError> {
        let (store, records) = Store::open(dir, true)?;
        let seen =
            records.iter().map(|record| store.read(record.place)).collect::<Result<_, _>>()?;
        Ok((store, seen))
    }

    fn filled(dir: &Path) -> PathBuf {
        let (mut store, _) = open(dir).unwrap();
        for payload in [b"one".as_slice(), b"two", b"three"] {
            let place = store.append(Kind::Block, UnixMillis::new(5), payload).unwrap();
            assert_eq!(store.read(place).unwrap(), payload);
        }
        dir.join(FILE)
    }

    #[test]
    fn every_torn_tail_is_cut_and_the_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let last = whole.len() - RECORD_HEAD - CHECKSUM - 5;
        for cut in last..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut store, seen) = open(dir.path()).unwrap();
            assert_eq!(seen, [b"one".to_vec(), b"two".to_vec()], "cut at {cut}");
            store.append(Kind::Block, UnixMillis::new(6), b"four").unwrap();
            drop(store);
            assert_eq!(open(dir.path()).unwrap().1.len(), 3);
        }
        let mut zeros = whole;
        zeros.extend([0; 10_000]);
        std::fs::write(&path, &zeros).unwrap();
        assert_eq!(open(dir.path()).unwrap().1.len(), 3);
    }

    #[test]
    fn damage_before_the_end_is_an_error_that_names_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9 + RECORD_HEAD] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("byte 9") && error.contains(FILE), "{error}");
    }

    #[test]
    fn one_user_and_one_set_of_rules_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path()).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::InUse(_))));
        drop(store);
        let error = Store::open(dir.path(), false).unwrap_err();
        assert!(error.to_string().contains("retargeting on"), "{error}");
        std::fs::write(dir.path().join(FILE), b"something else").unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::Foreign(_))));
    }
}
