//! One writer at a time, by a lock that the operating system drops with the process.
//!
//! The lock is an exclusive transaction, held open for ever, on an empty database beside the
//! ledger: `NAME.lock`. The ledger's own file cannot be locked so, because that would shut out
//! its readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use defences::{Defence, stands};
use rusqlite::{Connection, ErrorCode};

use crate::error::LedgerError;

/// Held while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _conn: Connection,
}

impl Lock {
    /// Takes the writer's lock of the ledger at `path`, or says who has it.
    pub(super) fn take(path: &Path) -> Result<Self, LedgerError> {
        let conn = Connection::open(lock_path(path))?;
        conn.busy_timeout(Duration::ZERO)?;
        let begin = if stands(Defence::OneWriter) { "BEGIN EXCLUSIVE" } else { "BEGIN" };
        match conn.execute_batch(begin) {
            Ok(()) => Ok(Self { _conn: conn }),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                Err(LedgerError::Locked { path: path.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
