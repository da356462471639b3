//! Copies of a ledger that a pool can go on with: made while it runs, put back when its disk is
//! gone.
//!
//! Read [`backup`], then [`restore`]. A copy is what the ledger was at one instant: a reader's
//! transaction holds it still, in the write-ahead log's own way, and nobody waits. A file appears
//! under its name when it is whole, audited and on disk, and not before. Neither function
//! replaces what may be worth more than the copy.
//!
//! It deliberately knows nothing of the money that went out since a copy was made: `docs/backup.md`
//! says what to do about that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::lock::Lock;
use super::log::{self, LogRow};
use super::reader::open_read_only;
use super::{schema, wal_path};
use crate::error::LedgerError;
use crate::verify::{self, VerifyReport};

/// All pages at once: the copy is of one transaction in any case.
const ALL: i32 = -1;

/// Copies the ledger at `from` to the new file `to`, and audits the copy. The pool may go on using
/// the ledger.
///
/// # Errors
/// When there is a file at `to`, when the ledger cannot be read or the copy not written, and when
/// the audit finds anything. There is no file at `to` then.
pub fn backup(from: &Path, to: &Path) -> Result<VerifyReport, LedgerError> {
    if to.exists() {
        return Err(LedgerError::Exists { path: to.to_owned() });
    }
    let doing = format!("copying {} to {}", from.display(), to.display());
    let source = open_read_only(from).map_err(|error| error.while_doing(&doing))?;
    copy_audited(&source, to).map_err(|error| error.while_doing(&doing))
}

/// Puts the copy `from` in the place of the ledger at `to`, which may be missing, or a ledger of
/// which the copy has every event.
///
/// # Errors
/// When a pool runs on the ledger at `to`, when that has events that the copy lacks, when the copy
/// is not sound, and when files cannot be read or written. The ledger is as it was then.
pub fn restore(from: &Path, to: &Path) -> Result<VerifyReport, LedgerError> {
    let doing = format!("restoring {} from {}", to.display(), from.display());
    restore_inner(from, to).map_err(|error| error.while_doing(&doing))
}

fn restore_inner(from: &Path, to: &Path) -> Result<VerifyReport, LedgerError> {
    let copy = open_read_only(from)?;
    schema::create_folder_of(to)?;
    let _lock = Lock::take(to)?;
    if to.exists() {
        refuse_newer(&copy, to)?;
    }
    let whole = beside(to, ".restored");
    remove(&whole)?;
    let report = copy_audited(&copy, &whole)?;
    // Of the old ledger's files the log goes first: it must not be taken for the new one's.
    remove(&wal_path(to))?;
    remove(&beside(to, "-shm"))?;
    put_in_place(&whole, to)?;
    Ok(report)
}

/// The ledger that is there has nothing that the copy has not.
fn refuse_newer(copy: &Connection, to: &Path) -> Result<(), LedgerError> {
    let path = to.to_owned();
    let there = open_read_only(to)?;
    let (has, copied) = (log::newest(&there)?, log::newest(copy)?);
    if has > copied {
        return Err(LedgerError::BeyondCopy { path, has, copied });
    }
    let mut same = copy.prepare("SELECT seq, at, kind, body, data FROM event WHERE seq = ?1")?;
    log::for_each(&there, |row| {
        let other = same.query_row([row.seq], LogRow::read)?;
        if row == other { Ok(()) } else { Err(LedgerError::AnotherLedger { path: path.clone() }) }
    })
}

/// Writes all of `source` to a new file at `to`.
fn copy_audited(source: &Connection, to: &Path) -> Result<VerifyReport, LedgerError> {
    let part = beside(to, ".part");
    remove(&part)?;
    let copied = copy(source, &part).and_then(|()| {
        let report = verify::ledger(&part)?;
        if report.ok { Ok(report) } else { Err(unsound(&report)) }
    });
    match copied {
        Ok(report) => {
            put_in_place(&part, to)?;
            Ok(report)
        }
        Err(error) => {
            // What the copy is not is said by the first error.
            let _ = remove(&part);
            Err(error)
        }
    }
}

fn unsound(report: &VerifyReport) -> LedgerError {
    let first = report.problems.first().cloned().unwrap_or_default();
    LedgerError::damaged(format!("its audit finds {} problems: {first}", report.problems.len()))
}

fn copy(source: &Connection, part: &Path) -> Result<(), LedgerError> {
    // Held open so that what is committed meanwhile does not make the copy begin anew.
    let still = source.unchecked_transaction()?;
    log::newest(&still)?;
    let mut target = Connection::open(part)?;
    target.execute_batch("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON")?;
    let done = Backup::new(&still, &mut target)?.step(ALL)?;
    if !matches!(done, StepResult::Done) {
        return Err(LedgerError::damaged(format!("the copy was not finished: {done:?}")));
    }
    still.finish()?;
    // One file and no other, until a pool opens it.
    target.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    target.close().map_err(|(_, error)| error.into())
}

/// Renames a file that is on disk, and sees that its new name is on disk too.
#[expect(clippy::disallowed_types, reason = "the store has files, and a folder is synced as one")]
fn put_in_place(part: &Path, to: &Path) -> Result<(), LedgerError> {
    let failed = |error| file_error(to, &error);
    fs::File::open(part).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(part, to).map_err(failed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::File::open(folder.unwrap_or_else(|| Path::new("."))).map_err(failed)?;
    folder.sync_all().map_err(failed)
}

fn remove(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path, &error)),
        _ => Ok(()),
    }
}

fn file_error(path: &Path, error: &io::Error) -> LedgerError {
    let reason = format!("{}: {error}", path.display());
    LedgerError::Store { doing: String::new(), passing: false, reason }
}

/// The file of that name with something behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
