//! How numbers are stored, and how the store's errors become the ledger's.

use rusqlite::ErrorCode;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use units::{Sats, UnixMillis};

use crate::error::LedgerError;

/// A number that may pass 2^63, as 16 bytes, most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide(pub(super) u128);

/// An amount, as an integer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount(pub(super) Sats);

/// An instant, as an integer of milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant(pub(super) UnixMillis);

impl ToSql for Wide {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_be_bytes().to_vec()))
    }
}

impl FromSql for Wide {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

impl ToSql for Amount {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0.to_sat())
            .map(ToSqlOutput::from)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

impl FromSql for Amount {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let sats = u64::column_result(value)?;
        Sats::from_sat(sats).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for Instant {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // Past the year 292 million, a clock is broken and the exact value tells nobody anything.
        Ok(ToSqlOutput::from(i64::try_from(self.0.get()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Instant {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u64::column_result(value).map(|millis| Self(UnixMillis::new(millis)))
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        let passing = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
            )
        );
        Self::Store { doing: String::new(), passing, reason: error.to_string() }
    }
}

impl LedgerError {
    /// Says what was being done, where that is not said yet.
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        if let Self::Store { doing, .. } = &mut self
            && doing.is_empty()
        {
            what.clone_into(doing);
        }
        self
    }
}
